//! Which methods compute for long where they stand: their calls go to tasks of their own, so that they hold up no others of
//! their connection, until one of those has shown that it is quick. Part of `dispatch.rs`.
//!
//! The clock is read once a batch. Only after a batch that took long is it read for each call, for a while, and always for
//! the methods on the list: then it shows whose fault it is, be it the handler's or a large reply's.

use std::time::Duration;

use tokio::time::Instant;

use super::runner::Place;
use crate::frame::limits::IN_PLACE;

/// For how long each call is timed after a batch that took long.
const FOR: Duration = Duration::from_secs(1);

/// Methods on the list. Beyond them the rule for whole batches has to do.
const MOST: usize = 64;

#[derive(Default)]
pub(crate) struct Slow {
    watching: Option<Instant>,
    methods: Vec<Place>,
}

impl Slow {
    /// A batch took long, and nobody knows because of whom.
    pub(crate) fn watch(&mut self, now: Instant) {
        self.watching = now.checked_add(FOR);
    }

    /// Each call is to be timed.
    #[inline]
    pub(crate) fn is_watching(&self, now: Instant) -> bool {
        self.watching.is_some_and(|until| now < until)
    }

    /// No call is to be timed, and none to be run elsewhere.
    #[inline]
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        self.methods.is_empty() && !self.is_watching(now)
    }

    /// A call of this method took so long at once, wherever it ran.
    pub(crate) fn took(&mut self, place: Place, took: Duration) {
        let found = self.methods.iter().position(|known| *known == place);
        match found {
            Some(found) if took <= IN_PLACE => drop(self.methods.swap_remove(found)),
            None if took > IN_PLACE && self.methods.len() < MOST => self.methods.push(place),
            _ => {}
        }
    }

    /// Calls of this method are not to be run where they stand.
    #[inline]
    pub(crate) fn holds(&self, place: Place) -> bool {
        !self.methods.is_empty() && self.methods.contains(&place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_on_the_list_until_it_has_been_quick() {
        let (slow, quick) = (Place { service: 0, method: 1 }, Place { service: 0, method: 2 });
        let mut list = Slow::default();
        list.took(slow, 2 * IN_PLACE);
        list.took(quick, IN_PLACE / 2);
        assert!(list.holds(slow) && !list.holds(quick));
        list.took(slow, 3 * IN_PLACE);
        assert!(list.holds(slow));
        list.took(slow, IN_PLACE / 2);
        assert!(!list.holds(slow) && list.methods.is_empty());
    }

    #[test]
    fn calls_are_timed_for_a_while_after_a_batch_that_took_long() {
        let (mut list, now) = (Slow::default(), Instant::now());
        assert!(!list.is_watching(now));
        list.watch(now);
        assert!(list.is_watching(now) && !list.is_watching(now + FOR));
    }
}
