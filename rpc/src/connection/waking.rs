//! Waking several tasks. A waker may be user code, and that may panic: those behind it are woken all the same, or they would never look
//! at the answers that wait for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::server::handler::drop_quietly;

/// Wakes them in turn; never under a lock.
#[inline]
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut rest = Rest(wakers.into_iter());
    for waker in rest.0.by_ref() {
        waker.wake();
    }
}

/// Those who have not been woken: some only after a panic.
struct Rest<I: Iterator<Item = Waker>>(I);

impl<I: Iterator<Item = Waker>> Drop for Rest<I> {
    fn drop(&mut self) {
        for waker in self.0.by_ref() {
            // A second panic would end the process.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                drop_quietly(panic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    struct Counts(AtomicU32, bool);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            assert!(!self.1, "a user's waker");
        }
    }

    #[test]
    fn a_panic_leaves_nobody_asleep() {
        let counts = [true, false, true, false].map(|panics| Arc::new(Counts(AtomicU32::new(0), panics)));
        let mut wakers: Vec<Waker> = counts.iter().map(|counts| Waker::from(Arc::clone(counts))).collect();
        let panicked = catch_unwind(AssertUnwindSafe(|| wake_all(wakers.drain(..))));
        assert!(panicked.is_err(), "it is not hidden");
        assert!(counts.iter().all(|counts| counts.0.load(Ordering::Relaxed) == 1), "each is woken once");
        assert!(wakers.is_empty());
    }
}
