//! What the rules, the book and the desk promise together, in one process. Real processes are killed in
//! `examples/tests/checkout/`.

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "a panic is a failed test")]

mod between;
#[cfg(all(unix, feature = "postgres"))]
#[path = "../../tests/support/cluster.rs"]
mod cluster;
mod crash_points;
mod model;
mod recovery;
mod serving;
mod stores;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::card::{Expiry, NewCard, Secret};
use crate::desk::Desk;
use crate::domain::Millis;
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::money::{Currency, Money};
use crate::network::Network;
use crate::network::journal::Local;
use crate::store::Store;

/// SplitMix64: the same numbers for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

/// A clock that goes when it is told to.
#[derive(Clone)]
pub struct Time(Arc<AtomicU64>);

impl Time {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_800_000_000_000)))
    }

    pub fn now(&self) -> Millis {
        self.0.load(Ordering::Acquire)
    }

    pub fn pass(&self, millis: Millis) {
        self.0.fetch_add(millis, Ordering::AcqRel);
    }
}

/// A desk over this book, with a network that answers at once.
pub fn desk(store: Arc<dyn Store>, time: &Time) -> Desk {
    desk_with(store, time, Network::new(Box::new(Local::default()), 0, Duration::ZERO))
}

pub fn desk_with(store: Arc<dyn Store>, time: &Time, network: Network) -> Desk {
    let time = time.clone();
    Desk::new(store, network, Arc::new(move || time.now())).unwrap()
}

pub fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

pub fn order(text: &str) -> OrderId {
    text.parse().unwrap()
}

pub fn usd(minor: u64) -> Money {
    Money::new(minor, Currency::Usd)
}

pub async fn token(desk: &Desk, number: &str) -> CardToken {
    let card = NewCard { number: Secret::new(number.into()), expiry: Expiry { year: 2099, month: 1 }, cvc: Secret::new("123".into()) };
    desk.save(&card).await.unwrap().token
}
