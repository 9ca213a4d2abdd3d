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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_windows_grew_by_comes_back_when_they_close() {
        let mut windows = Windows::<()>::new(MAX_WINDOW - FIRST_WINDOW, 0);
        let mut window = FIRST_WINDOW;
        while let more @ 1.. = windows.grow(window) {
            window += more;
        }
        assert_eq!(window, MAX_WINDOW);
        assert_eq!(windows.grow(FIRST_WINDOW), 0, "nothing is left");
        windows.close(window);
        assert_eq!(windows.left(), (MAX_WINDOW - FIRST_WINDOW, 0, 0));
    }

    #[test]
    fn long_items_take_turns_and_who_leaves_is_passed_over() {
        let mut windows = Windows::new(0, 100);
        assert!(windows.take(|| 1, 80));
        assert!(!windows.take(|| 2, 50));
        assert!(!windows.take(|| 3, 10), "there is room, but it is not its turn");
        assert!(windows.next().is_none());
        windows.forget(|who| *who == 2);
        assert_eq!(windows.next(), Some((3, 10)));
        windows.give_back(80);
        windows.give_back(10);
        assert_eq!(windows.left(), (0, 100, 0));
    }
}
