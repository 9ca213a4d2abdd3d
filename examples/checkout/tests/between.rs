//! Another server acts between any two looks that a call takes at the book: the answer is the same.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rpc::async_trait;
use tokio::sync::watch;

use super::{Time, desk_with, key, order, token, usd};
use crate::api::{Event, Operation};
use crate::card::Secret;
use crate::desk::Desk;
use crate::domain::audit::{Book, audit};
use crate::domain::charge::Charge;
use crate::domain::record::{Answer, KeyRecord};
use crate::domain::{Change, Millis};
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::network::Network;
use crate::network::journal::Local;
use crate::store::memory::MemoryStore;
use crate::store::{Committed, Store, StoreError};
use crate::vault::Card;

type Act = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A store that lets somebody else act before its nth use.
struct Between {
    inner: Arc<dyn Store>,
    used: AtomicUsize,
    at: usize,
    act: Mutex<Option<Act>>,
}

impl Between {
    async fn use_of(&self) {
        if self.used.fetch_add(1, Ordering::AcqRel) == self.at {
            let act = self.act.lock().unwrap().take();
            act.expect("it acts once").await;
        }
    }
}

#[async_trait]
impl Store for Between {
    async fn commit(&self, change: Change) -> Result<Committed, StoreError> {
        self.use_of().await;
        self.inner.commit(change).await
    }

    async fn key(&self, key: &IdempotencyKey) -> Result<Option<KeyRecord>, StoreError> {
        self.use_of().await;
        self.inner.key(key).await
    }

    async fn charge(&self, order: &OrderId) -> Result<Option<Charge>, StoreError> {
        self.use_of().await;
        self.inner.charge(order).await
    }

    async fn card(&self, token: &CardToken) -> Result<Option<Card>, StoreError> {
        self.use_of().await;
        self.inner.card(token).await
    }

    async fn charges(&self, after: Option<&OrderId>, limit: usize) -> Result<Vec<Charge>, StoreError> {
        self.inner.charges(after, limit).await
    }

    async fn due_charges(&self, now: Millis) -> Result<Vec<Result<Charge, StoreError>>, StoreError> {
        self.inner.due_charges(now).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.inner.events(after, limit).await
    }

    async fn last_event(&self) -> Result<u64, StoreError> {
        self.inner.last_event().await
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.inner.news()
    }

    async fn failure(&self) -> StoreError {
        self.inner.failure().await
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn vault_key(&self) -> Secret<Vec<u8>> {
        self.inner.vault_key()
    }

    async fn forget_keys(&self, now: Millis) -> Result<u64, StoreError> {
        self.inner.forget_keys(now).await
    }

    async fn book(&self) -> Result<Book, StoreError> {
        self.inner.book().await
    }
}

async fn call(desk: &Desk, operation: Operation, card: &CardToken) -> Answer {
    match operation {
        Operation::Pay | Operation::Authorize => desk.authorize(operation, key("call"), order("new"), usd(500), card).await,
        Operation::ConfirmChallenge => desk.confirm(key("call"), order("challenged"), &Secret::new("123456".into())).await,
        Operation::Capture => desk.capture(key("call"), order("held"), usd(500)).await,
        Operation::Void => desk.void(key("call"), order("held")).await,
        Operation::Refund => desk.refund(key("call"), order("taken"), usd(100)).await,
    }
}

#[tokio::test]
async fn a_call_that_another_server_makes_in_between_gets_one_answer_and_moves_money_once() {
    use Operation::*;
    for operation in [Pay, Authorize, ConfirmChallenge, Capture, Void, Refund] {
        // The nth use of the book, until there is no nth.
        for at in 0.. {
            let (inner, time, journal) = (Arc::new(MemoryStore::new().unwrap()), Time::new(), Arc::new(Local::default()));
            let network = || Network::new(Box::new(journal.clone()), 0, std::time::Duration::ZERO);
            let other = Arc::new(desk_with(inner.clone(), &time, network()));
            let (good, challenged) = (token(&other, "4242424242424242").await, token(&other, "4000000000003220").await);
            for (name, card) in [("held", &good), ("challenged", &challenged)] {
                other.authorize(Authorize, key(name), order(name), usd(500), card).await.unwrap();
            }
            other.authorize(Pay, key("taken"), order("taken"), usd(500), &good).await.unwrap();

            let (theirs, their_card) = (other.clone(), good.clone());
            let act: Act = Box::pin(async move { drop(call(&theirs, operation, &their_card).await) });
            let between = Between { inner: inner.clone(), used: AtomicUsize::new(0), at, act: Mutex::new(Some(act)) };
            let between = Arc::new(between);
            let ours = desk_with(between.clone(), &time, network());
            let answer = tokio::time::timeout(std::time::Duration::from_secs(20), async {
                // Once ours has begun, the other waits for it: they take turns then, as two servers do.
                call(&ours, operation, &good).await
            });
            let answer = answer.await.unwrap_or_else(|_| panic!("{operation}, before use {at}: they wait for each other"));
            if between.used.load(Ordering::Acquire) <= at {
                assert!(at >= 3, "{operation} looks at the book");
                break;
            }
            assert!(answer.is_ok(), "{operation}, before use {at}: {answer:?}");
            let again = call(&other, operation, &good).await;
            assert_eq!(answer, again, "{operation}, before use {at}");
            assert_eq!(audit(&inner.book().await.unwrap()).faults, [""; 0], "{operation}, before use {at}");
        }
    }
}
