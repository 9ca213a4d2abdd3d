//! Emptied buffers wait here for the next message of the same thread, so that a steady load allocates none; large ones for that of
//! any thread, as an allocator gives those back to the system, which makes each of their pages anew at its first use: that takes
//! longer than to copy a message.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// How many wait in one thread: for every call in flight between two busy ends there are two.
const KEPT: usize = 512;
/// Bytes of all that wait in one thread.
const KEPT_BYTES: usize = 2 << 20;
/// Larger ones are for all threads.
pub(crate) const LARGEST: usize = 64 << 10;
/// What a new one begins with.
const FIRST: usize = 256;

/// Still larger ones go back to the allocator: a call that moves so much is rare, or its time does not matter.
const LARGE_MOST: usize = 4 << 20;
/// Bytes of all large ones that wait: four messages of 1 MiB, in and out, at both ends.
const LARGE_BYTES: usize = 16 << 20;
/// And so long after the last one came, if a connection looks; at the latest until the last connection ends.
const LARGE_FOR: Duration = Duration::from_secs(10);

struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

thread_local!(static KEPT_HERE: RefCell<Kept> = const { RefCell::new(Kept { buffers: Vec::new(), bytes: 0 }) });

/// An empty buffer, used before if there is one. Whoever takes one may take another before giving it back.
pub(crate) fn buffer() -> Vec<u8> {
    // While the thread ends there are no thread-locals, but user code that encodes may still run.
    let kept = KEPT_HERE.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        let buffer = kept.buffers.pop()?;
        kept.bytes -= buffer.capacity();
        Some(buffer)
    });
    kept.ok().flatten().unwrap_or_else(|| Vec::with_capacity(FIRST))
}

/// Gives a buffer back; what it holds is forgotten.
pub(crate) fn recycle(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 {
        return;
    }
    if buffer.capacity() > LARGEST {
        return recycle_large(buffer);
    }
    buffer.clear();
    // When it cannot be kept it is dropped: after the borrow, or with the closure.
    let _ = KEPT_HERE.try_with(move |kept| {
        let mut kept = kept.borrow_mut();
        if kept.buffers.len() < KEPT && kept.bytes + buffer.capacity() <= KEPT_BYTES {
            kept.bytes += buffer.capacity();
            kept.buffers.push(buffer);
        }
    });
}

struct Large {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
    /// When the last one came.
    came: Option<Instant>,
}

impl Large {
    const fn new() -> Self {
        Self { buffers: Vec::new(), bytes: 0, came: None }
    }

    /// Keeps it, unless it is too large. Those that have waited longest make room for it: they are of a length that no message has now.
    /// What is given back is to be dropped without the lock.
    fn put(&mut self, buffer: Vec<u8>, now: Instant) -> Vec<Vec<u8>> {
        if buffer.capacity() > LARGE_MOST {
            return vec![buffer];
        }
        let mut too_many = 0;
        while self.bytes + buffer.capacity() > LARGE_BYTES {
            self.bytes -= self.buffers[too_many].capacity();
            too_many += 1;
        }
        let dropped = self.buffers.drain(..too_many).collect();
        self.bytes += buffer.capacity();
        self.buffers.push(buffer);
        self.came = Some(now);
        dropped
    }

    /// The smallest that has room for so many bytes, and for few more.
    fn find(&self, wanted: usize) -> Option<usize> {
        let most = wanted + wanted / 4;
        let fits = self.buffers.iter().enumerate().filter(|(_, buffer)| (wanted..=most).contains(&buffer.capacity()));
        fits.min_by_key(|(_, buffer)| buffer.capacity()).map(|(place, _)| place)
    }

    fn remove(&mut self, place: usize) -> Vec<u8> {
        let buffer = self.buffers.remove(place);
        self.bytes -= buffer.capacity();
        buffer
    }

    fn take(&mut self, wanted: usize) -> Option<Vec<u8>> {
        self.find(wanted).map(|place| self.remove(place))
    }

    /// As [`take`](Self::take), if so many more bytes may be lent. One that may not be stays where it is: to be refused is no use of it.
    fn lend(&mut self, wanted: usize, lent: &AtomicUsize) -> Option<Vec<u8>> {
        let place = self.find(wanted)?;
        let bytes = self.buffers[place].capacity();
        let more = |lent| Some(lent + bytes).filter(|lent| *lent <= LARGE_BYTES);
        lent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(self.remove(place))
    }

    /// All of them, if none has come for a while.
    fn let_go(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if self.came.is_none_or(|came| now.saturating_duration_since(came) < LARGE_FOR) {
            return Vec::new();
        }
        self.bytes = 0;
        std::mem::take(&mut self.buffers)
    }
}

static LARGE: Mutex<Large> = Mutex::new(Large::new());

/// `Large::bytes`, for who would find nothing.
static LARGE_WAIT: AtomicUsize = AtomicUsize::new(0);

fn with_large<R>(change: impl FnOnce(&mut Large) -> R) -> R {
    let mut large = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
    let result = change(&mut large);
    LARGE_WAIT.store(large.bytes, Ordering::Relaxed);
    result
}

#[cold]
fn recycle_large(mut buffer: Vec<u8>) {
    buffer.clear();
    let now = Instant::now();
    // The last connection has given all of them back; what is still with a user then goes where it came from.
    drop(with_large(|large| if CONNECTIONS.load(Ordering::Relaxed) == 0 { vec![buffer] } else { large.put(buffer, now) }));
}

/// None that waits has room for so many bytes.
fn is_in_vain(wanted: usize) -> bool {
    wanted <= LARGEST || LARGE_WAIT.load(Ordering::Relaxed) < wanted
}

/// An empty buffer that has room for so many bytes and a quarter more at most, if one waits.
pub(crate) fn large(wanted: usize) -> Option<Vec<u8>> {
    if is_in_vain(wanted) { None } else { with_large(|large| large.take(wanted)) }
}

/// Bytes of large ones that are lent to messages of which not all has come.
static LARGE_LENT: AtomicUsize = AtomicUsize::new(0);

/// A large buffer is with a message of which not all has come: its sender, who may be anybody, has not paid for it with as many bytes.
pub(crate) struct Lent(usize);

impl Drop for Lent {
    fn drop(&mut self) {
        LARGE_LENT.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// As [`large`], for a message that is to come: no more at a time, whoever sends them, than wait at most.
pub(crate) fn advance(wanted: usize) -> Option<(Vec<u8>, Lent)> {
    if is_in_vain(wanted) {
        return None;
    }
    let buffer = with_large(|large| large.lend(wanted, &LARGE_LENT))?;
    let bytes = buffer.capacity();
    Some((buffer, Lent(bytes)))
}

/// Connections that there are.
static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

/// A connection, which may use large buffers: when there is none any more they go back to the allocator.
pub(crate) struct Open(());

impl Open {
    pub(crate) fn new() -> Self {
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Before the lock is taken: who takes it later finds that there is none.
        if CONNECTIONS.fetch_sub(1, Ordering::Relaxed) == 1 {
            drop(with_large(|large| std::mem::replace(large, Large::new())));
        }
    }
}

/// Gives large ones back to the allocator when none has come for a while.
pub(crate) fn let_go(now: Instant) {
    if LARGE_WAIT.load(Ordering::Relaxed) != 0 {
        drop(with_large(|large| large.let_go(now)));
    }
}

/// Makes room for so many more bytes, which are many.
#[cold]
pub(crate) fn make_room(buffer: &mut Vec<u8>, more: usize) {
    let wanted = buffer.len() + more;
    if buffer.capacity() < wanted
        && let Some(mut larger) = large(wanted)
    {
        larger.extend_from_slice(buffer);
        recycle(std::mem::replace(buffer, larger));
    }
}

/// A large one that comes back here when nobody uses it any more; any other as it is.
pub(crate) fn share(buffer: Vec<u8>) -> Bytes {
    struct Lent(Vec<u8>);
    impl AsRef<[u8]> for Lent {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Lent {
        fn drop(&mut self) {
            recycle(std::mem::take(&mut self.0));
        }
    }
    if buffer.capacity() > LARGEST { Bytes::from_owner(Lent(buffer)) } else { buffer.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacities(buffers: Vec<Vec<u8>>) -> Vec<usize> {
        buffers.iter().map(Vec::capacity).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn large_ones_wait_for_a_message_that_they_fit_and_not_for_ever() {
        let (mut large, now) = (Large::new(), Instant::now());
        for capacity in [1 << 20, 2 << 20, 3 << 20] {
            assert!(large.put(Vec::with_capacity(capacity), now).is_empty());
        }
        assert_eq!(large.take((1 << 20) + 1), None, "twice as much is too much");
        assert_eq!(large.take((2 << 20) - 1).map(|buffer| buffer.capacity()), Some(2 << 20), "the smallest that fits");
        assert_eq!(large.take((3 << 20) + 1), None);
        assert_eq!(large.put(Vec::with_capacity((4 << 20) + 1), now).len(), 1, "it is too large");
        assert_eq!(large.bytes, 4 << 20);
        for _ in 0..3 {
            assert!(large.put(Vec::with_capacity(4 << 20), now).is_empty());
        }
        assert_eq!(capacities(large.put(Vec::with_capacity(3 << 20), now)), [1 << 20, 3 << 20], "16 MiB wait, these the longest");
        assert_eq!(large.bytes, 15 << 20);
        assert!(large.let_go(now + LARGE_FOR / 2).is_empty());
        assert_eq!((large.let_go(now + LARGE_FOR).len(), large.bytes, large.take(1)), (4, 0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_not_lent_waits_no_longer_for_that() {
        let (mut large, lent, now) = (Large::new(), AtomicUsize::new(0), Instant::now());
        for _ in 0..4 {
            assert!(large.put(Vec::with_capacity(4 << 20), now).is_empty());
        }
        assert_eq!((0..5).filter_map(|_| large.lend(4 << 20, &lent)).count(), 4);
        assert_eq!((lent.load(Ordering::Relaxed), large.bytes), (16 << 20, 0));
        assert!(large.put(Vec::with_capacity(1 << 20), now).is_empty());
        tokio::time::advance(LARGE_FOR).await;
        assert_eq!(large.lend(1 << 20, &lent), None, "16 MiB are lent");
        assert_eq!((lent.load(Ordering::Relaxed), large.bytes), (16 << 20, 1 << 20));
        assert_eq!(large.let_go(Instant::now()).len(), 1, "nobody has used it");
        assert!(large.put(Vec::with_capacity(1 << 20), now).is_empty());
        lent.fetch_sub(1 << 20, Ordering::Relaxed);
        assert!(large.lend(1 << 20, &lent).is_some(), "there is room again");
    }

    #[test]
    fn what_is_shared_is_not_copied() {
        let buffer = vec![7; LARGEST + 1];
        let place = buffer.as_ptr();
        let shared = share(buffer);
        let part = shared.slice(1..);
        drop(shared);
        assert_eq!((part.as_ptr().addr(), part.len()), (place.addr() + 1, LARGEST));
        assert!(part.iter().all(|byte| *byte == 7));
    }
}
