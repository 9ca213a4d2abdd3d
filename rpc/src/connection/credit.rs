//! How much of its streams one connection lets in: what their windows may grow by, and who may send an item that is
//! longer than its window (protocol 7.3).
//!
//! Two sums, each given back: so one connection holds a bounded number of bytes whatever its readers do, and a stream
//! whose reader has stopped takes nothing from the others but its first window.

use std::collections::VecDeque;

use crate::frame::limits::{FIRST_WINDOW, MAX_WINDOW};

/// What is left of both sums. `W` is who waits for its turn.
pub(crate) struct Windows<W> {
    growth: usize,
    long: usize,
    waiting: VecDeque<(W, usize)>,
}

impl<W> Windows<W> {
    /// `growth` bytes for windows beyond the first 16 KiB of each, `long` bytes for items that are longer than those.
    pub(crate) fn new(growth: usize, long: usize) -> Self {
        Self { growth, long, waiting: VecDeque::new() }
    }

    /// By how much a window may grow now.
    pub(crate) fn grow(&mut self, window: usize) -> usize {
        let more = window.min(MAX_WINDOW.saturating_sub(window));
        if more > self.growth {
            return 0;
        }
        self.growth -= more;
        more
    }

    /// A window that is not used any more.
    pub(crate) fn close(&mut self, window: usize) {
        self.growth += window - FIRST_WINDOW;
    }

    /// Room for the rest of a long item; without it `who` is served when there is some, in its turn.
    pub(crate) fn take(&mut self, who: impl FnOnce() -> W, bytes: usize) -> bool {
        if self.waiting.is_empty() && bytes <= self.long {
            self.long -= bytes;
            return true;
        }
        self.waiting.push_back((who(), bytes));
        false
    }

    /// A long item has been taken by its reader.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.long += bytes;
    }

    /// The next one that there is room for.
    pub(crate) fn next(&mut self) -> Option<(W, usize)> {
        let bytes = self.waiting.front()?.1;
        if bytes > self.long {
            return None;
        }
        self.long -= bytes;
        self.waiting.pop_front()
    }

    /// Whoever this is of does not wait any more.
    pub(crate) fn forget(&mut self, mut is: impl FnMut(&W) -> bool) {
        self.waiting.retain(|(who, _)| !is(who));
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> (usize, usize, usize) {
        (self.growth, self.long, self.waiting.len())
    }
}
