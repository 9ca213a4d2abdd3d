//! Where one caller waits for one answer. The driver settles it; its caller looks here and at no lock that others use.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::outbound::Ended;

/// Cells that wait in one thread for their next call.
const KEPT: usize = 512;

/// A payload that leaves a larger buffer than this behind gives it up.
const LARGE: usize = 4096;

thread_local!(static CELLS: RefCell<Vec<Arc<Cell>>> = const { RefCell::new(Vec::new()) });

/// The place of one call's answer.
#[derive(Default)]
pub(crate) struct Cell(Mutex<Answer>);

#[derive(Default)]
struct Answer {
    ended: Option<Ended>,
    payload: Vec<u8>,
    caller: Option<Waker>,
}

impl Cell {
    /// A cell in which this caller waits: one that was used before, if this thread has one.
    pub(crate) fn of(caller: Waker) -> Arc<Self> {
        let kept = CELLS.try_with(|cells| cells.borrow_mut().pop()).ok().flatten();
        let mut cell = kept.unwrap_or_default();
        match Arc::get_mut(&mut cell) {
            Some(cell) => cell.0.get_mut().expect("no user code runs under this lock").caller = Some(caller),
            // The driver is about to let go of it.
            None => cell = Arc::new(Self(Mutex::new(Answer { caller: Some(caller), ..Answer::default() }))),
        }
        cell
    }

    /// Gives it back for another call of this thread.
    pub(crate) fn recycle(mut self: Arc<Self>) {
        let Some(cell) = Arc::get_mut(&mut self) else {
            // The driver still holds it, and must not be the one who drops the waker.
            drop(self.caller());
            return;
        };
        let answer = cell.0.get_mut().expect("no user code runs under this lock");
        answer.payload.clear();
        if answer.payload.capacity() > LARGE {
            answer.payload = Vec::new();
        }
        // Dropping a waker may be user code.
        let caller = answer.caller.take();
        answer.ended = None;
        drop(caller);
        let _ = CELLS.try_with(move |cells| {
            let mut cells = cells.borrow_mut();
            if cells.len() < KEPT {
                cells.push(self);
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.0.lock().expect("no user code runs under this lock")
    }

    /// The caller did not begin to wait after all: its waker, to be kept elsewhere.
    pub(crate) fn caller(&self) -> Option<Waker> {
        self.lock().caller.take()
    }

    /// The answer has come, if `collect` finds one, which swaps its payload for the empty buffer here. Who is to be woken.
    #[inline]
    pub(crate) fn settle(&self, collect: impl FnOnce(&mut Vec<u8>) -> Option<Ended>) -> Option<Waker> {
        let mut answer = self.lock();
        let answer = &mut *answer;
        answer.ended = collect(&mut answer.payload);
        answer.caller.take()
    }

    /// The answer; its payload is swapped into `payload`.
    #[inline]
    pub(crate) fn poll(&self, payload: &mut Vec<u8>, cx: &Context<'_>) -> Poll<Ended> {
        let mut answer = self.lock();
        if let Some(ended) = answer.ended.take() {
            std::mem::swap(&mut answer.payload, payload);
            return Poll::Ready(ended);
        }
        if answer.caller.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        drop(answer);
        self.poll_again(payload, cx)
    }

    /// With another waker than before, which is cloned and the old one dropped without the lock.
    #[cold]
    fn poll_again(&self, payload: &mut Vec<u8>, cx: &Context<'_>) -> Poll<Ended> {
        let caller = cx.waker().clone();
        let mut answer = self.lock();
        if let Some(ended) = answer.ended.take() {
            std::mem::swap(&mut answer.payload, payload);
            return Poll::Ready(ended);
        }
        let replaced = answer.caller.replace(caller);
        drop(answer);
        drop(replaced);
        Poll::Pending
    }
}
