//! The embedded book on a disk that fails: a crash after any write, a sync that fails, no space left.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use redb::{BackendError, StorageBackend};

use super::{Random, Time, desk, key, order, token, usd};
use crate::api::{Operation, PayError, PaymentState, Unavailable};
use crate::domain::audit::audit;
use crate::network::Reference;
use crate::store::Store;
use crate::store::embedded::EmbeddedStore;

/// A disk in memory that notes all that is done to it, and fails on demand.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: Mutex<Vec<u8>>,
    done: Mutex<Vec<Done>>,
    fails_to_sync: AtomicBool,
    is_full: AtomicBool,
}

#[derive(Clone, Debug)]
enum Done {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
    /// Not the disk's doing: a caller was told that a payment was captured.
    Acknowledged(u64),
}

impl Disk {
    fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Inner { bytes: Mutex::new(bytes), ..Inner::default() }))
    }

    fn note(&self, done: Done) {
        self.0.done.lock().unwrap().push(done);
    }
}

fn apply(bytes: &mut Vec<u8>, done: &Done) {
    match done {
        Done::Write(offset, data) => {
            let from = usize::try_from(*offset).unwrap();
            let to = from + data.len();
            bytes.resize(bytes.len().max(to), 0);
            bytes[from..to].copy_from_slice(data);
        }
        Done::Length(length) => bytes.resize(usize::try_from(*length).unwrap(), 0),
        Done::Sync | Done::Acknowledged(_) => {}
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let (bytes, from) = (self.0.bytes.lock().unwrap(), usize::try_from(offset).unwrap());
        let found = bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        if self.0.is_full.load(Ordering::Acquire) && length > self.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        apply(&mut self.0.bytes.lock().unwrap(), &Done::Length(length));
        self.note(Done::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        if self.0.fails_to_sync.load(Ordering::Acquire) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.note(Done::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        if self.0.is_full.load(Ordering::Acquire) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let done = Done::Write(offset, data.to_vec());
        apply(&mut self.0.bytes.lock().unwrap(), &done);
        self.note(done);
        Ok(())
    }

    // A level that redb knows: no locks at all, for one opener.
    fn try_lock_range(&self, _: std::ops::Bound<u64>, _: std::ops::Bound<u64>) -> Result<bool, BackendError> {
        Err(BackendError::Unsupported)
    }
}

/// M7 and M9: after any write, whatever of the unsynced ones a crash has let through, the book opens, balances, and has every
/// payment that was acknowledged before.
#[tokio::test]
async fn a_crash_at_any_write_leaves_a_book_with_everything_that_was_acknowledged() {
    let disk = Disk::default();
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::on(disk.clone()).unwrap());
    let made = disk.0.done.lock().unwrap().len();
    let desk = desk(store, &Time::new());
    let card = token(&desk, "4242424242424242").await;
    for n in 0..12 {
        desk.authorize(Operation::Pay, key(&format!("k{n}")), order(&format!("o{n}")), usd(100 + n), &card).await.unwrap();
        disk.note(Done::Acknowledged(n));
    }
    let done = disk.0.done.lock().unwrap().clone();
    drop(desk);
    println!("{} writes and syncs, {made} of them to make the book", done.len());
    assert!(done.len() > made + 12 * 4);
    let mut random = Random(9);
    for cut in made..=done.len() {
        let acknowledged = done[..cut].iter().filter_map(|done| if let Done::Acknowledged(n) = done { Some(*n) } else { None }).max();
        // All of what was synced; of what came after, all or a random part, as a real disk would.
        for lossy in [false, true] {
            let synced = done[..cut].iter().rposition(|done| matches!(done, Done::Sync)).map_or(0, |at| at + 1);
            let mut bytes = Vec::new();
            for (at, done) in done[..cut].iter().enumerate() {
                // A file's length is not lost among its data: filesystems order it before what lies beyond.
                if at < synced || !lossy || matches!(done, Done::Length(_)) || random.below(2) == 0 {
                    apply(&mut bytes, done);
                }
            }
            let store = EmbeddedStore::on(Disk::holding(bytes)).unwrap_or_else(|error| panic!("cut at {cut}, lossy: {lossy}: {error}"));
            let book = store.book().await.unwrap();
            let report = audit(&book);
            assert_eq!(report.faults, [""; 0], "cut at {cut}, lossy: {lossy}");
            let captured: BTreeMap<_, _> = report.charges.iter().map(|charge| (charge.order.to_string(), charge.captured)).collect();
            for n in 0..=acknowledged.unwrap_or_default() {
                let found = captured.get(&format!("o{n}")).copied();
                assert!(acknowledged.is_none() || found == Some(100 + n), "cut at {cut}, lossy: {lossy}: payment {n} is {found:?}");
            }
        }
    }
}

/// M8: neither a full disk nor a sync that fails is ever a success.
#[tokio::test]
async fn a_disk_that_is_full_or_fails_to_sync_takes_no_payment() {
    for (fault, name) in [(true, "sync"), (false, "full")] {
        let disk = Disk::default();
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::on(disk.clone()).unwrap());
        let desk = desk(store.clone(), &Time::new());
        let card = token(&desk, "4242424242424242").await;
        desk.authorize(Operation::Authorize, key("a"), order("a"), usd(500), &card).await.unwrap();
        let before = disk.0.bytes.lock().unwrap().clone();
        if fault {
            disk.0.fails_to_sync.store(true, Ordering::Release)
        } else {
            disk.0.is_full.store(true, Ordering::Release)
        }

        let refused = desk.authorize(Operation::Pay, key("b"), order("b"), usd(500), &card).await;
        assert_eq!(refused, Err(PayError::Unavailable(Unavailable)), "{name}: nothing was charged");
        assert_eq!(desk.network.find(&Reference::of(&key("b"), &order("b"), 1)).await.unwrap(), None, "{name}: the network was not asked");
        let unknown = desk.capture(key("c"), order("a"), usd(500)).await;
        assert_eq!(unknown, Err(PayError::Unresolved), "{name}: what was on its way to the disk is not known");
        // Well again, and still nothing: only a new start can say what the disk holds.
        disk.0.fails_to_sync.store(false, Ordering::Release);
        disk.0.is_full.store(false, Ordering::Release);
        let refused = desk.authorize(Operation::Pay, key("d"), order("d"), usd(500), &card).await;
        assert!(matches!(refused, Err(PayError::Unavailable(_) | PayError::Unresolved)), "{name}: {refused:?}");
        assert_eq!(desk.network.find(&Reference::of(&key("d"), &order("d"), 1)).await.unwrap(), None, "{name}: the network was not asked");
        // An earlier call with this key was captured or not: who cannot read that does not say that nothing was charged.
        let unknown = desk.authorize(Operation::Authorize, key("a"), order("a"), usd(500), &card).await;
        assert!(matches!(unknown, Ok(_) | Err(PayError::Unresolved)), "{name}: {unknown:?}");
        drop((desk, store));

        let store = EmbeddedStore::on(Disk::holding(before)).unwrap();
        assert_eq!(audit(&store.book().await.unwrap()).faults, [""; 0]);
        assert_eq!(store.charge(&order("a")).await.unwrap().unwrap().state, PaymentState::Authorized);
    }
}
