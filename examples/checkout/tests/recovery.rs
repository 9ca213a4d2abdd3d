//! The sweep and the event stream, over a book and a network of which some do not answer or cannot be read.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use rpc::async_trait;
use tokio::sync::watch;

use super::{Time, desk_with, key, order, token, usd};
use crate::api::{Checkout, Event, Operation, PaymentState};
use crate::card::Secret;
use crate::desk::Desk;
use crate::domain::audit::Book;
use crate::domain::charge::Charge;
use crate::domain::record::{Call, KeyRecord};
use crate::domain::{Change, Millis};
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::network::journal::{Journal, JournalError, Local};
use crate::network::{Answer as Said, Hold, Network, NetworkToken, Reference};
use crate::recovery;
use crate::service::Counter;
use crate::store::memory::MemoryStore;
use crate::store::{Committed, Store, StoreError};
use crate::vault::Card;

/// What does not answer, by the name of the function that is called.
#[derive(Clone, Default)]
struct Hung(Arc<Mutex<HashSet<&'static str>>>);

impl Hung {
    fn set(&self, what: &[&'static str]) {
        *self.0.lock().unwrap() = what.iter().copied().collect();
    }

    async fn or(&self, what: &'static str) {
        let hung = self.0.lock().unwrap().contains(what);
        if hung {
            std::future::pending::<()>().await;
        }
    }
}

/// A book that hangs where it is told to, and cannot read the keys that it is told of.
struct Faulty {
    inner: Arc<MemoryStore>,
    hung: Hung,
    unreadable: Mutex<HashSet<IdempotencyKey>>,
    events_unreadable: AtomicBool,
}

#[async_trait]
impl Store for Faulty {
    async fn commit(&self, change: Change) -> Result<Committed, StoreError> {
        self.hung.or("commit").await;
        self.inner.commit(change).await
    }

    async fn key(&self, key: &IdempotencyKey) -> Result<Option<KeyRecord>, StoreError> {
        self.hung.or("key").await;
        if self.unreadable.lock().unwrap().contains(key) {
            return Err(StoreError("on purpose".into()));
        }
        self.inner.key(key).await
    }

    async fn charge(&self, order: &OrderId) -> Result<Option<Charge>, StoreError> {
        self.hung.or("charge").await;
        self.inner.charge(order).await
    }

    async fn card(&self, token: &CardToken) -> Result<Option<Card>, StoreError> {
        self.inner.card(token).await
    }

    async fn charges(&self, after: Option<&OrderId>, limit: usize) -> Result<Vec<Charge>, StoreError> {
        self.inner.charges(after, limit).await
    }

    async fn due_charges(&self, now: Millis) -> Result<Vec<Result<Charge, StoreError>>, StoreError> {
        self.hung.or("due_charges").await;
        self.inner.due_charges(now).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        if self.events_unreadable.load(Ordering::Acquire) {
            return Err(StoreError("on purpose".into()));
        }
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
        false
    }

    fn vault_key(&self) -> Secret<Vec<u8>> {
        self.inner.vault_key()
    }

    async fn forget_keys(&self, now: Millis) -> Result<u64, StoreError> {
        self.hung.or("forget_keys").await;
        self.inner.forget_keys(now).await
    }

    async fn book(&self) -> Result<Book, StoreError> {
        self.inner.book().await
    }
}

/// The network's part of it.
struct Wire(Local, Hung);

#[async_trait]
impl Journal for Wire {
    async fn record(&self, hold: Hold) -> Result<Hold, JournalError> {
        self.0.record(hold).await
    }

    async fn change(&self, reference: &Reference, from: &[Said], to: Said) -> Result<Option<Hold>, JournalError> {
        self.1.or("change").await;
        self.0.change(reference, from, to).await
    }

    async fn find(&self, reference: &Reference) -> Result<Option<Hold>, JournalError> {
        self.1.or("find").await;
        self.0.find(reference).await
    }

    async fn holds(&self) -> Result<Vec<Hold>, JournalError> {
        self.1.or("holds").await;
        self.0.holds().await
    }
}

struct Shop {
    desk: Desk,
    store: Arc<Faulty>,
    hung: Hung,
    time: Time,
}

fn shop() -> Shop {
    let (hung, time) = (Hung::default(), Time::new());
    let store = Arc::new(Faulty {
        inner: Arc::new(MemoryStore::new().unwrap()),
        hung: hung.clone(),
        unreadable: Mutex::default(),
        events_unreadable: AtomicBool::new(false),
    });
    let network = Network::new(Box::new(Wire(Local::default(), hung.clone())), 0, Duration::ZERO);
    let desk = desk_with(store.clone(), &time, network).patience(Duration::from_millis(1));
    Shop { desk, store, hung, time }
}

impl Shop {
    /// A payment that the network has approved, by a process that was killed before it wrote that down.
    async fn leave_open(&self, name: &str) {
        let token = token(&self.desk, "4242424242424242").await;
        let card = self.store.card(&token).await.unwrap().unwrap();
        let call = Call {
            key: key(name),
            operation: Operation::Pay,
            order: order(name),
            fingerprint: Call::fingerprint(Operation::Pay, &order(name), Some(usd(500)), Some(&card.fingerprint)),
            owner: "killed".into(),
            now: self.time.now(),
        };
        self.store.commit(Charge::begin(None, &call, usd(500), &card).unwrap()).await.unwrap();
        self.desk.network.authorize(&Reference::of(&key(name), &order(name), 1), &order(name), card.network, usd(500)).await.unwrap();
    }

    async fn state(&self, name: &str) -> PaymentState {
        self.store.inner.charge(&order(name)).await.unwrap().unwrap().state
    }
}

/// Ends, whatever hangs.
async fn ends<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap_or_else(|_| panic!("it waits for ever: {what}"))
}

#[tokio::test]
async fn a_sweep_ends_whatever_hangs_and_the_next_one_finds_what_it_left() {
    for what in ["due_charges", "key", "find", "charge", "commit"] {
        let shop = shop();
        shop.leave_open("open").await;
        shop.hung.set(&[what]);
        drop(ends(what, recovery::sweep(&shop.desk)).await);
        assert_eq!(shop.state("open").await, PaymentState::Processing, "{what}");
        shop.hung.set(&[]);
        recovery::sweep(&shop.desk).await.unwrap();
        assert_eq!(shop.state("open").await, PaymentState::Captured, "{what}");
    }
}

#[tokio::test]
async fn settling_ends_whatever_hangs_and_the_next_time_does_what_it_left() {
    let (captured, stray) = (Reference::of(&key("captured"), &order("captured"), 1), Reference::of(&key("stray"), &order("stray"), 1));
    for what in ["forget_keys", "holds", "charge", "change"] {
        let shop = shop();
        let card = token(&shop.desk, "4242424242424242").await;
        shop.desk.authorize(Operation::Pay, key("captured"), order("captured"), usd(500), &card).await.unwrap();
        shop.desk.network.authorize(&stray, &order("stray"), NetworkToken::Approves, usd(500)).await.unwrap();
        shop.hung.set(&[what]);
        ends(what, recovery::at_start(&shop.desk)).await.unwrap();
        shop.hung.set(&[]);
        recovery::at_start(&shop.desk).await.unwrap();
        assert_eq!(shop.desk.network.find(&captured).await.unwrap(), Some(Said::Collected), "{what}");
        assert_eq!(shop.desk.network.find(&stray).await.unwrap(), Some(Said::Reversed), "{what}");
    }
}

#[tokio::test]
async fn a_hold_that_ends_is_ended_though_the_network_hears_nothing_of_it() {
    let shop = shop();
    let card = token(&shop.desk, "4242424242424242").await;
    shop.desk.authorize(Operation::Authorize, key("held"), order("held"), usd(500), &card).await.unwrap();
    shop.time.pass(crate::domain::charge::HOLD_LIFE);
    shop.hung.set(&["change"]);
    drop(ends("change", recovery::sweep(&shop.desk)).await);
    assert_eq!(shop.state("held").await, PaymentState::Canceled);
}

#[tokio::test]
async fn a_payment_that_cannot_be_looked_at_keeps_no_other_waiting() {
    let shop = shop();
    for name in ["a", "b", "c"] {
        shop.leave_open(name).await;
    }
    shop.store.unreadable.lock().unwrap().insert(key("a"));
    let failed = recovery::sweep(&shop.desk).await;
    assert_eq!((shop.state("b").await, shop.state("c").await), (PaymentState::Captured, PaymentState::Captured));
    assert_eq!((shop.state("a").await, failed.unwrap()), (PaymentState::Processing, 1));
    shop.store.unreadable.lock().unwrap().clear();
    assert_eq!(recovery::sweep(&shop.desk).await.unwrap(), 0);
    assert_eq!(shop.state("a").await, PaymentState::Captured);
}

const EXPIRING: [&str; 3] = ["damaged-a", "damaged-b", "damaged-c"];

async fn hold_them(desk: &Desk) {
    let card = token(desk, "4242424242424242").await;
    for name in EXPIRING {
        desk.authorize(Operation::Authorize, key(name), order(name), usd(500), &card).await.unwrap();
    }
}

/// The first of them is no payment any more in the book; the others are looked at all the same.
async fn the_others_expire(store: Arc<dyn Store>, time: &Time) {
    time.pass(crate::domain::charge::HOLD_LIFE);
    let desk = super::desk(store.clone(), time);
    let due = store.due_charges(time.now()).await.unwrap();
    let errors: Vec<_> = due.iter().filter_map(|charge| charge.as_ref().err()).collect();
    assert!(matches!(errors[..], [error] if error.to_string().contains("damaged-a")), "{errors:?}");
    assert_eq!(recovery::sweep(&desk).await.unwrap(), 1);
    assert!(store.charge(&order("damaged-a")).await.is_err());
    for name in ["damaged-b", "damaged-c"] {
        assert_eq!(store.charge(&order(name)).await.unwrap().unwrap().state, PaymentState::Canceled, "{name}");
    }
    recovery::at_start(&desk).await.expect("one damaged payment keeps no server from its start");
}

#[tokio::test]
async fn a_payment_that_cannot_be_decoded_in_a_file_keeps_no_other_waiting() {
    use crate::store::embedded::EmbeddedStore;
    let path = std::env::temp_dir().join(format!("checkout-recovery-{}.redb", std::process::id()));
    std::fs::remove_file(&path).ok();
    let time = Time::new();
    hold_them(&super::desk(Arc::new(EmbeddedStore::open(&path).unwrap()), &time)).await;
    {
        let database = redb::Database::open(&path).unwrap();
        let damage = database.begin_write().unwrap();
        let charges = redb::TableDefinition::<&str, &[u8]>::new("charges");
        damage.open_table(charges).unwrap().insert("damaged-a", b"{}".as_slice()).unwrap();
        damage.commit().unwrap();
    }
    the_others_expire(Arc::new(EmbeddedStore::open(&path).unwrap()), &time).await;
    std::fs::remove_file(&path).unwrap();
}

#[cfg(all(unix, feature = "postgres"))]
#[tokio::test]
async fn a_payment_that_cannot_be_decoded_in_a_database_keeps_no_other_waiting() {
    use crate::store::postgres::{PostgresStore, session::Link};
    let Some(cluster) = super::cluster::Cluster::start("recovery") else { return };
    let (store, time) = (Arc::new(PostgresStore::open(&cluster.url()).await.unwrap()), Time::new());
    hold_them(&super::desk(store.clone(), &time)).await;
    let session = Link::to(&cluster.url()).unwrap().session().await.unwrap();
    session.batch(r#"update checkout_charges set charge = '{}' where "order" = 'damaged-a'"#).await.unwrap();
    the_others_expire(store, &time).await;
}

#[tokio::test]
async fn events_that_end_because_the_book_cannot_be_read_go_on_after_the_last_one_seen() {
    let Shop { desk, store, .. } = shop();
    let card = token(&desk, "4242424242424242").await;
    let (_closing, closed) = watch::channel(false);
    let desk = Arc::new(desk);
    let counter = Counter::new(desk.clone(), closed);
    desk.authorize(Operation::Authorize, key("seen"), order("o"), usd(500), &card).await.unwrap();
    let mut stream = Box::pin(counter.events(0));
    let seen = stream.next().await.unwrap().sequence;
    desk.capture(key("unseen"), order("o"), usd(500)).await.unwrap();
    store.events_unreadable.store(true, Ordering::Release);
    assert_eq!(ends("the stream", stream.next()).await, None, "there is another event, and it cannot be read");
    store.events_unreadable.store(false, Ordering::Release);
    let mut again = Box::pin(counter.events(seen));
    assert_eq!(ends("the stream", again.next()).await.unwrap().sequence, seen + 1);
}
