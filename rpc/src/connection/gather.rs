//! Callers whose answers came together: they are woken together, and what they call next leaves together.
//!
//! On a runtime of several threads another one takes some of them over, and is done a little later than this one. A batch that
//! left without their calls would wake the other end twice for what is one, and waking costs more than the calls do. Part of
//! `driver.rs`, which asks each turn.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::waking::wake_all;

/// From so many on, callers are woken together: each of fewer may wake a thread for itself.
const TOGETHER: usize = 4;

/// The driver waits so long for callers who were woken, once it is its turn, and for so many turns. A turn without other work
/// takes about 0.15 us; an idle thread that is woken begins after 2 to 10 us.
const PATIENCE: Duration = Duration::from_micros(10);
const TURNS: u32 = 64;

/// A runtime where this much passes until it is the driver's turn again has enough to do: its threads need not be spared.
const BUSY: Duration = Duration::from_millis(1);

/// Batches until it is tried again to wake together on a busy runtime.
const BUSY_FOR: u32 = 256;

/// At most so many batches are not waited for after callers did not come back.
const MISSES: u32 = 1024;

#[derive(Default)]
pub(crate) struct Gather {
    /// Calls whose ends were read, and whose callers are about to be woken.
    pub(crate) ended: usize,
    waiting: Option<Waiting>,
    /// Batches that are not waited for, and how many that is after the next miss.
    skip: u32,
    missed: u32,
    /// When callers were last woken together, until it is the driver's turn.
    together: Option<Instant>,
    /// Batches whose callers are not.
    busy: u32,
}

struct Waiting {
    /// How many calls have begun once all have come back.
    begun: u64,
    /// The driver's first turn since, and how many it has had.
    since: Option<Instant>,
    turns: u32,
}

impl Gather {
    /// Callers are woken now; so many calls have begun so far. True: it should be done by [`wake`].
    pub(crate) fn woken(&mut self, begun: u64, wakers: usize, now: Instant) -> bool {
        let ended = std::mem::take(&mut self.ended);
        if ended > 1 && wakers > 1 {
            if self.skip == 0 {
                self.waiting = Some(Waiting { begun: begun + ended as u64, since: None, turns: 0 });
            }
            self.skip = self.skip.saturating_sub(1);
        }
        if wakers < TOGETHER {
            return false;
        }
        let together = self.busy == 0;
        self.busy = self.busy.saturating_sub(1);
        self.together = together.then_some(now);
        together
    }

    /// Some of those who were woken should be back in a moment: what is queued is not to leave yet.
    #[inline]
    pub(crate) fn is_waiting(&mut self, begun: u64) -> bool {
        (self.together.is_some() || self.waiting.is_some()) && self.goes_on(begun)
    }

    fn goes_on(&mut self, begun: u64) -> bool {
        let now = Instant::now();
        if self.together.take().is_some_and(|woken| now.saturating_duration_since(woken) > BUSY) {
            self.busy = BUSY_FOR;
            self.waiting = None;
        }
        let Some(waiting) = &mut self.waiting else { return false };
        let since = *waiting.since.get_or_insert(now);
        waiting.turns += 1;
        let all = begun >= waiting.begun;
        if !all && waiting.turns < TURNS && now.saturating_duration_since(since) < PATIENCE {
            return true;
        }
        // Those who ask once and go do not come back: then nobody waits for nothing more than now and then.
        self.missed = if all { 0 } else { (2 * self.missed).clamp(1, MISSES) };
        self.skip = self.missed;
        self.waiting = None;
        false
    }
}

/// Tasks that are to be woken when the thread has nothing else to do.
#[derive(Default)]
struct Together(Mutex<Vec<Waker>>);

impl Together {
    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Wake for Together {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut wakers = std::mem::take(&mut *self.lock());
        wake_all(wakers.drain(..));
        let mut room = self.lock();
        if room.capacity() == 0 {
            *room = wakers;
        }
    }
}

thread_local!(static HERE: Arc<Together> = Arc::default());

/// Wakes them at once when the thread has nothing else to do, and the driver behind them. The runtime calls another thread when a
/// task is woken beside others: one after the other that may be a system call for each. The last of `threads` of several runs
/// first, the last of one behind all others.
///
/// Only tasks of the runtime are woken so: it does it where a panic would end the process, and a waker of any other kind is user code.
/// If there is one of those all are woken at once: it may be one task that waits for many calls, and computes before the thread comes to
/// what it has put off.
pub(crate) fn wake(wakers: &mut Vec<Waker>, driver: &Waker, threads: bool) {
    if !wakers.iter().all(|waker| std::ptr::eq(waker.vtable(), driver.vtable())) {
        wake_all(wakers.drain(..));
        return driver.wake_by_ref();
    }
    let at = wakers.len() - usize::from(threads && !wakers.is_empty());
    wakers.insert(at, driver.clone());
    let together = HERE.with(Arc::clone);
    together.lock().append(wakers);
    defer(&together.into());
}

/// A task that yields is woken when its thread has looked for other work; once it has said so, nobody asks whether it still wants to.
pub(crate) fn defer(waker: &Waker) {
    let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(waker));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(gather: &mut Gather, begun: u64, ended: usize) -> bool {
        gather.ended = ended;
        gather.woken(begun, ended, Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_woken_is_waited_for_until_all_are_back() {
        let mut gather = Gather::default();
        assert!(!gather.is_waiting(0));
        woken(&mut gather, 10, 3);
        assert!(gather.is_waiting(11));
        assert!(gather.is_waiting(12));
        assert!(!gather.is_waiting(13));
        assert!(!gather.is_waiting(13), "once");
        woken(&mut gather, 13, 1);
        assert!(!gather.is_waiting(13), "for one alone nobody waits");
    }

    #[tokio::test(start_paused = true)]
    async fn not_for_long_and_not_often_for_those_who_do_not_come_back() {
        let (mut gather, mut turns, mut batches) = (Gather::default(), 0, 0);
        for _ in 0..100_000 {
            woken(&mut gather, 0, 8);
            batches += u32::from(gather.waiting.is_some());
            while gather.is_waiting(7) {
                turns += 1;
                if turns % 2 == 0 {
                    tokio::time::advance(Duration::from_micros(3)).await;
                }
            }
        }
        assert!((90..120).contains(&batches), "{batches} of 100,000 batches were waited for");
        assert!(turns <= batches * 8, "{turns} turns");
        woken(&mut gather, 0, 8);
        gather.skip = 0;
        woken(&mut gather, 0, 8);
        assert!(!gather.is_waiting(8));
        woken(&mut gather, 8, 8);
        assert!(gather.is_waiting(15), "they come back again");
    }

    /// With its clock paused the runtime would wait for the driver, and the driver for the time.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_stands_still_is_not_waited_for() {
        let mut gather = Gather::default();
        woken(&mut gather, 0, 2);
        assert_eq!((0..).take_while(|_| gather.is_waiting(0)).count(), 63);
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_busy_runtime_each_is_woken_at_once() {
        let mut gather = Gather::default();
        assert!(!woken(&mut gather, 0, 3), "they are few");
        for ended in [4, 0] {
            gather.ended = ended;
            assert!(gather.woken(0, 4, Instant::now()));
            tokio::time::advance(BUSY * 2).await;
            assert!(!gather.is_waiting(0), "it waits no longer");
            assert_eq!((0..).take_while(|_| !woken(&mut gather, 0, 4)).count(), 256);
            gather.waiting = None;
        }
    }

    /// Counts how often it is woken.
    struct Counts(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for Counts {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    /// Tasks that are woken so run: the runtime does not ask who has yielded whether it still does. Another waker among them is woken at once.
    async fn all_are_woken(threads: bool, another: bool) {
        let (counts, tasks) = (std::sync::Arc::new(Counts(0.into())), 8);
        let (woken, mut wakers) = (std::sync::Arc::new(Counts(0.into())), Vec::new());
        if another {
            wakers.push(counts.clone().into());
        }
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut handles = Vec::new();
        for _ in 0..tasks {
            let (sender, woken, mut asked) = (sender.clone(), woken.clone(), false);
            handles.push(tokio::spawn(std::future::poll_fn(move |cx| {
                if asked {
                    woken.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    return std::task::Poll::Ready(());
                }
                asked = true;
                sender.send(cx.waker().clone()).expect("it is read");
                std::task::Poll::Pending
            })));
        }
        for _ in 0..tasks {
            wakers.push(receiver.recv().await.expect("each sends its own"));
        }
        let told = counts.clone();
        let driver = tokio::spawn(std::future::poll_fn(move |cx| {
            if wakers.is_empty() {
                return std::task::Poll::Ready(());
            }
            wake(&mut wakers, cx.waker(), threads);
            assert_eq!(told.0.load(std::sync::atomic::Ordering::SeqCst), usize::from(another));
            std::task::Poll::Pending
        }));
        driver.await.expect("no panic");
        for handle in handles {
            handle.await.expect("no panic");
        }
        assert_eq!(woken.0.load(std::sync::atomic::Ordering::SeqCst), tasks);
    }

    #[tokio::test]
    async fn all_are_woken_on_one_thread() {
        for another in [false, true] {
            all_are_woken(false, another).await;
            tokio::task::LocalSet::new().run_until(all_are_woken(false, another)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_are_woken_on_several_threads() {
        for turn in 0..1000 {
            tokio::spawn(all_are_woken(true, turn % 2 == 0)).await.expect("no panic");
        }
    }
}
