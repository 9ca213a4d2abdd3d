//! The whole server, in this process.

use std::sync::Arc;
use std::time::Duration;

use rpc::async_trait;
use tokio::sync::{oneshot, watch};

use super::{Time, desk, desk_with, key, order, token, usd};
use crate::api::{Checkout, CheckoutClient, Operation, PayError, Status};
use crate::commands::card;
use crate::commands::server::{Options, Place, Ready, Tls};
use crate::network::journal::{Journal, JournalError};
use crate::network::{Answer, Hold, Network, Reference};
use crate::service::Counter;
use crate::store::memory::MemoryStore;

fn options() -> Options {
    Options { addr: "127.0.0.1:0".into(), place: Place::default(), api_keys: None, network_ms: 0, network_seed: 0, tls: Tls::default() }
}

#[tokio::test]
async fn a_drain_ends_an_event_stream_normally_after_its_last_event() {
    let server = Ready::start(&options()).await.unwrap();
    let shop = CheckoutClient::connect(server.bound.local_addr()).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move { server.serve_until(async { drop(stopped.await) }).await.map_err(|error| error.to_string()) });

    let mut events = shop.events(0).await.unwrap();
    let token = shop.tokenize(card("4242424242424242")).await.unwrap().token;
    shop.pay(key("k"), order("o"), usd(500), token).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().sequence, 1);
    stop.send(()).unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().sequence, 2);
    assert!(events.next().await.is_none());
    // Long before the grace that a stream without an end would take.
    tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
}

/// Between a call's beginning and its first line in the book.
#[tokio::test]
async fn a_key_whose_call_has_begun_is_pending_before_the_book_knows_of_it() {
    let desk = Arc::new(desk(Arc::new(MemoryStore::new().unwrap()), &Time::new()));
    let (_closing, closed) = watch::channel(false);
    let counter = Counter::new(desk.clone(), closed);
    let turn = desk.turns.enter(&key("k"));
    assert_eq!(counter.status(&key("k")).await, Ok(Status::Pending));
    drop(turn);
    assert_eq!(counter.status(&key("k")).await, Ok(Status::NotFound));
}

/// A network that does not even say what it knows.
struct Mute;

#[async_trait]
impl Journal for Mute {
    async fn record(&self, _: Hold) -> Result<Hold, JournalError> {
        std::future::pending().await
    }

    async fn change(&self, _: &Reference, _: &[Answer], _: Answer) -> Result<Option<Hold>, JournalError> {
        std::future::pending().await
    }

    async fn find(&self, _: &Reference) -> Result<Option<Hold>, JournalError> {
        std::future::pending().await
    }

    async fn holds(&self) -> Result<Vec<Hold>, JournalError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_network_that_says_nothing_at_all_is_waited_for_no_longer_than_a_slow_one() {
    let network = Network::new(Box::new(Mute), 0, Duration::ZERO);
    let desk = desk_with(Arc::new(MemoryStore::new().unwrap()), &Time::new(), network).patience(Duration::from_millis(1));
    let card = token(&desk, "4242424242424242").await;
    let paying = desk.authorize(Operation::Pay, key("k"), order("o"), usd(500), &card);
    let answer = tokio::time::timeout(Duration::from_secs(20), paying).await;
    assert_eq!(answer.expect("a network has only so long"), Err(PayError::Unresolved));
}
