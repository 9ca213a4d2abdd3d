//! A driver whose connection is busy looks again a few times before its thread sleeps.
//!
//! Whoever wakes a sleeping thread pays for it, more than for serving ten calls, and what it was woken for waits meanwhile. Under load the
//! next batch is often there a few microseconds after the last one was done. Part of `driver.rs`, which asks when it has nothing to do.
//! What it does so costs no more than time that nobody else on this thread wanted: the runtime runs it when there is no other task.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

/// So many frames in one read, or bytes, and the connection is busy: who makes one small call after the other is not waited for.
const BUSY: u64 = 4;
const MUCH: usize = 16 << 10;

/// It is looked for this long: what Linux recommends for busy polling of sockets (`net.core.busy_poll`, Documentation/admin-guide/sysctl/net.rst).
const PATIENCE: Duration = Duration::from_micros(50);

/// And so often, should the clock stand still: a turn takes about a microsecond.
const TURNS: u32 = 64;

/// It is not looked at all where it usually took longer than this until as much came again, waking included.
const HOPELESS: Duration = Duration::from_micros(75);

/// What counts as long when that is reckoned.
const LONG: Duration = Duration::from_millis(1);

/// On a single core the peer, or whoever it is, could not go on meanwhile.
static SINGLE: LazyLock<bool> = LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1));

/// One driver's part.
#[derive(Default)]
pub(crate) struct Linger {
    /// The last read brought several frames, or many bytes.
    busy: bool,
    /// It is the one of its thread that looks.
    looks: bool,
}

/// What the drivers of a thread share: one of them looks for all.
#[derive(Clone, Copy)]
struct Thread {
    /// No connection of it was busy since.
    idle_since: Option<Instant>,
    /// One of them last looked.
    looked: Option<Instant>,
    turns: u32,
    /// How long it takes until one is again, the last times most.
    usual: Duration,
}

thread_local!(static THREAD: Cell<Thread> = const { Cell::new(Thread { idle_since: None, looked: None, turns: 0, usual: LONG }) });

impl Linger {
    /// So many frames were read, and bytes.
    #[inline]
    pub(crate) fn came(&mut self, frames: u64, bytes: usize, now: Instant) {
        self.busy = frames >= BUSY || bytes >= MUCH;
        if self.busy {
            let mut thread = THREAD.get();
            if let Some(since) = thread.idle_since.take() {
                thread.usual = (3 * thread.usual + now.saturating_duration_since(since).min(LONG)) / 4;
                THREAD.set(thread);
            }
        }
    }

    /// There is nothing to do: true if this driver is to look again when the others have had their turn.
    #[inline]
    pub(crate) fn looks_again(&mut self) -> bool {
        self.busy && {
            let mut thread = THREAD.get();
            self.looks = thread.looks_again(self.looks);
            THREAD.set(thread);
            self.looks
        }
    }
}

impl Thread {
    fn looks_again(&mut self, looks: bool) -> bool {
        let now = Instant::now();
        let begins = self.idle_since.is_none();
        let since = *self.idle_since.get_or_insert(now);
        if begins {
            self.turns = 0;
        }
        // Whoever looked may have moved to another thread: then it has not done so for a while.
        let others = self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < PATIENCE);
        if !looks && (!begins || others) {
            return false;
        }
        self.turns += 1;
        let again = self.usual < HOPELESS && self.turns < TURNS && now.saturating_duration_since(since) < PATIENCE && !*SINGLE;
        self.looked = again.then_some(now);
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    /// One that has just read much, on a thread where something came after this long, some times.
    async fn usual(gap: Duration) -> Linger {
        let mut linger = Linger::default();
        for _ in 0..32 {
            linger.came(BUSY, 100, Instant::now());
            linger.looks_again();
            tokio::time::advance(gap).await;
        }
        linger.came(BUSY, 100, Instant::now());
        linger
    }

    /// How often this one looks until it gives up, a microsecond a time.
    async fn looks(linger: &mut Linger) -> u32 {
        let mut times = 0;
        while linger.looks_again() {
            times += 1;
            tokio::time::advance(MICRO).await;
        }
        times
    }

    /// Elsewhere than on a single core.
    fn if_several(times: u32) -> u32 {
        if *SINGLE { 0 } else { times }
    }

    #[tokio::test(start_paused = true)]
    async fn where_something_comes_soon_it_looks_for_a_while() {
        let mut linger = usual(20 * MICRO).await;
        assert_eq!(looks(&mut linger).await, if_several(50));
        assert_eq!(looks(&mut linger).await, 0, "it has given up");
        linger.came(BUSY, 100, Instant::now());
        assert_eq!(looks(&mut linger).await, if_several(50));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_came_soon_it_sleeps_at_once() {
        let mut linger = Linger::default();
        linger.came(BUSY, 100, Instant::now());
        assert_eq!(looks(&mut linger).await, 0, "nothing is known yet");
        assert_eq!(looks(&mut usual(100 * MICRO).await).await, 0);
        let mut linger = usual(20 * MICRO).await;
        looks(&mut linger).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        linger.came(BUSY, 100, Instant::now());
        assert_eq!(looks(&mut linger).await, 0, "one long pause is enough");
    }

    #[tokio::test(start_paused = true)]
    async fn for_one_call_after_the_other_it_sleeps_at_once() {
        let mut linger = usual(MICRO).await;
        linger.came(1, 100, Instant::now());
        assert_eq!(looks(&mut linger).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_after_the_other_does_not_keep_another_connection_looking() {
        let (mut busy, mut single, mut looks) = (usual(20 * MICRO).await, Linger::default(), 0);
        for _ in 0..1000 {
            for _ in 0..40 {
                looks += u32::from(busy.looks_again());
                tokio::time::advance(MICRO).await;
            }
            single.came(1, 100, Instant::now());
            assert!(!single.looks_again());
        }
        assert_eq!(looks, if_several(50));
    }

    #[tokio::test(start_paused = true)]
    async fn one_looks_for_all_of_its_thread() {
        let (mut first, mut second) = (usual(MICRO).await, Linger::default());
        assert_eq!(u32::from(first.looks_again()), if_several(1));
        second.came(BUSY, 100, Instant::now());
        assert_eq!(looks(&mut second).await, 0, "the first still looks");
        assert_eq!(u32::from(first.looks_again()), if_several(1));
        // The first has moved to another thread, and is not seen here any more.
        tokio::time::advance(60 * MICRO).await;
        second.came(BUSY, 100, Instant::now());
        assert_eq!(u32::from(second.looks_again()), if_several(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_stands_still_is_not_waited_for() {
        let mut linger = usual(MICRO).await;
        assert_eq!((0..).take_while(|_| linger.looks_again()).count() as u32, if_several(63));
    }
}
