//! Which methods compute for long where they stand: for a while their calls go to tasks of their own, so that they hold up
//! no others of their connection. Part of `dispatch.rs`.
//!
//! The clock is read once a batch. Only after a batch that took long is it read for each call, for a while: then it
//! shows whose fault it is, be it the handler's or a large reply's.

use std::time::Duration;

use tokio::time::Instant;

use super::runner::Place;
use crate::frame::limits::IN_PLACE;

/// For how long each call is looked at, and how long a method that was slow stays on the list.
const FOR: Duration = Duration::from_secs(1);

/// Methods on the list; a connection with more of them spawns all it can tell of these.
const MOST: usize = 64;

#[derive(Default)]
pub(crate) struct Slow {
    watching: Option<Instant>,
    methods: Vec<(Place, Instant)>,
}

impl Slow {
    /// A batch took long.
    pub(crate) fn watch(&mut self, now: Instant) {
        self.watching = now.checked_add(FOR);
    }

    /// Each call is to be timed.
    #[inline]
    pub(crate) fn is_watching(&self, now: Instant) -> bool {
        self.watching.is_some_and(|until| now < until)
    }

    /// A call took so long where it stands.
    pub(crate) fn took(&mut self, place: Place, took: Duration, now: Instant) {
        if took > IN_PLACE
            && self.methods.len() < MOST
            && let Some(until) = now.checked_add(FOR)
        {
            self.methods.push((place, until));
        }
    }

    /// Calls of this method are not to be run where they stand.
    #[inline]
    pub(crate) fn holds(&mut self, place: Place, now: Instant) -> bool {
        !self.methods.is_empty() && self.find(place, now)
    }

    #[cold]
    fn find(&mut self, place: Place, now: Instant) -> bool {
        let Some(found) = self.methods.iter().position(|(known, _)| *known == place) else { return false };
        if now < self.methods[found].1 {
            return true;
        }
        // It is given another chance, and watched.
        self.methods.swap_remove(found);
        self.watch(now);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_method_is_spawned_for_a_while_and_then_tried_again() {
        let (slow, quick) = (Place { service: 0, method: 1 }, Place { service: 0, method: 2 });
        let (mut list, mut now) = (Slow::default(), Instant::now());
        assert!(!list.is_watching(now));
        list.watch(now);
        assert!(list.is_watching(now));
        list.took(slow, 2 * IN_PLACE, now);
        list.took(quick, IN_PLACE / 2, now);
        assert!(list.holds(slow, now) && !list.holds(quick, now));
        now += FOR;
        assert!(!list.is_watching(now));
        assert!(!list.holds(slow, now), "another chance");
        assert!(list.is_watching(now));
    }
}
