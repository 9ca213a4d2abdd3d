//! Which of a client's connections a call goes by: one that has the fewest calls in flight, by about a quarter.
//!
//! Nothing is counted for this. Where there is a choice a call keeps the [`Hold`] it was lent until it has ended, so the holds that are out are the
//! calls in flight, and threads have holds of their own: they do not all count up and down at one place in memory, and look
//! at each other's counts only now and then. Connections are made and given up in `redial.rs`.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::connection::link::Link;

/// Holds of a connection: threads share them only when there are more threads than this.
pub(super) const LANES: usize = 4;

/// A thread with many calls in flight looks once in so many of them at what others have.
const LOOK_EVERY: usize = 16;

/// A call's hold on its connection.
pub(crate) struct Hold(Arc<Link>);

impl Hold {
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl Deref for Hold {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

/// How a call holds it.
#[derive(Clone)]
pub(crate) enum Held<'c> {
    /// The first connection of a client that has one at a time, as long as the client lives: nothing is counted.
    First(&'c Arc<Hold>),
    Counted(Arc<Hold>),
}

impl Held<'_> {
    /// To be kept longer than the client.
    pub(crate) fn counted(&self) -> Arc<Hold> {
        match self {
            Self::First(hold) => Arc::clone(hold),
            Self::Counted(hold) => hold.clone(),
        }
    }
}

impl Deref for Held<'_> {
    type Target = Hold;

    #[inline]
    fn deref(&self) -> &Hold {
        match self {
            Self::First(hold) => hold,
            Self::Counted(hold) => hold,
        }
    }
}

/// A connection that takes calls.
pub(super) struct Pooled {
    pub(super) link: Arc<Link>,
    /// By lane, each made by a thread that uses it.
    holds: [OnceLock<Arc<Hold>>; LANES],
}

impl Pooled {
    pub(super) fn new(link: Arc<Link>) -> Arc<Self> {
        Arc::new(Self { link, holds: Default::default() })
    }

    pub(super) fn hold(&self, lane: usize) -> &Arc<Hold> {
        self.holds[lane].get_or_init(|| Arc::new(Hold(self.link.clone())))
    }

    /// Calls in flight that began in this lane. Other threads may end some at this moment.
    fn in_flight(&self, lane: usize) -> usize {
        self.holds[lane].get().map_or(0, |hold| Arc::strong_count(hold) - 1)
    }
}

/// Spreads the calls of one lane over several connections.
///
/// A lane stays with a connection while that is about as good as the others. So threads that have much to do work apart, each
/// with connections of its own, and calls that are made together leave together.
pub(super) struct Spread {
    pool: Vec<Arc<Pooled>>,
    lane: usize,
    /// Where the last call went.
    at: usize,
    /// Calls in flight of other lanes, by connection, as last seen.
    others: Vec<usize>,
    /// Calls since then.
    since: usize,
    /// There may be more connections than these.
    has_room: bool,
}

impl Spread {
    /// Over these connections, of which there may be `most`.
    pub(super) fn new(pool: &[Arc<Pooled>], lane: usize, most: usize) -> Self {
        debug_assert!(!pool.is_empty(), "without a connection there is nothing to lend");
        Self { pool: pool.to_vec(), lane, at: lane % pool.len(), others: vec![0; pool.len()], since: LOOK_EVERY, has_room: pool.len() < most }
    }

    /// The connection of the next call; true if all have calls in flight, and another would be welcome.
    pub(super) fn lend(&mut self) -> (Arc<Hold>, bool) {
        let own: usize = self.pool.iter().map(|pooled| pooled.in_flight(self.lane)).sum();
        if self.since >= own.min(LOOK_EVERY) {
            self.look();
        }
        self.since += 1;
        let load = |at: usize| self.pool[at].in_flight(self.lane) + self.others[at];
        let (mut best, mut fewest) = (self.at, load(self.at));
        // A quarter less is worth the change. With few calls that is any less.
        let mut below = fewest - fewest / 4;
        for next in 1..self.pool.len() {
            if fewest == 0 {
                break;
            }
            let at = (self.at + next) % self.pool.len();
            let found = load(at);
            if found < below {
                (best, fewest, below) = (at, found, found);
            }
        }
        self.at = best;
        (self.pool[best].hold(self.lane).clone(), fewest > 0 && self.has_room)
    }

    fn look(&mut self) {
        self.since = 0;
        for (others, pooled) in self.others.iter_mut().zip(&self.pool) {
            *others = (0..LANES).filter(|lane| *lane != self.lane).map(|lane| pooled.in_flight(lane)).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;

    fn pool(count: usize) -> Vec<Arc<Pooled>> {
        let link = || Link::new(Box::new(tokio::io::sink()), Peer::at("test"), Arc::default(), Arc::default());
        (0..count).map(|_| Pooled::new(link())).collect()
    }

    fn all_in_flight(pooled: &Pooled) -> usize {
        (0..LANES).map(|lane| pooled.in_flight(lane)).sum()
    }

    #[test]
    fn one_call_at_a_time_stays_where_it_is_and_wants_no_other() {
        let mut spread = Spread::new(&pool(3), 1, 4);
        for _ in 0..100 {
            let (hold, busy) = spread.lend();
            assert!(Arc::ptr_eq(hold.link(), &spread.pool[1].link) && !busy);
        }
    }

    #[test]
    fn another_is_wanted_when_all_have_calls_and_there_may_be_more() {
        let mut spread = Spread::new(&pool(2), 0, 3);
        let calls = [spread.lend(), spread.lend(), spread.lend()];
        assert_eq!(calls.map(|(_, busy)| busy), [false, false, true]);
        let mut full = Spread::new(&pool(2), 0, 2);
        let calls: Vec<_> = (0..10).map(|_| full.lend()).collect();
        assert!(calls.iter().all(|(_, busy)| !busy));
    }

    #[test]
    fn no_connection_has_more_than_a_third_more_than_another() {
        for (count, lanes) in [(2, 1), (3, 1), (2, 2), (4, 3), (5, 4)] {
            let pool = pool(count);
            let mut spreads: Vec<_> = (0..lanes).map(|lane| Spread::new(&pool, lane, count)).collect();
            let mut calls = Vec::new();
            for turn in 0..400 {
                calls.push(spreads[turn % lanes].lend());
                let loads: Vec<_> = pool.iter().map(|pooled| all_in_flight(pooled)).collect();
                let (most, fewest) = loads.iter().fold((0, usize::MAX), |(most, fewest), load| (most.max(*load), fewest.min(*load)));
                // What other lanes did since this one looked it does not know.
                let unseen = if lanes == 1 { 0 } else { lanes * LOOK_EVERY };
                assert!(most <= fewest + fewest / 3 + 2 + unseen, "{count} connections, {lanes} lanes: {loads:?}");
            }
        }
    }

    #[test]
    fn a_connection_with_slow_calls_is_left_to_them() {
        let pool = pool(2);
        // All on the first.
        let slow: Vec<_> = (0..10).map(|_| pool[0].hold(0).clone()).collect();
        for lane in 0..LANES {
            let mut spread = Spread::new(&pool, lane, 2);
            for _ in 0..100 {
                assert!(Arc::ptr_eq(spread.lend().0.link(), &pool[1].link), "lane {lane}");
            }
        }
        drop(slow);
        assert_eq!(all_in_flight(&pool[0]), 0);
    }

    #[test]
    fn lanes_begin_apart() {
        let pool = pool(2);
        let lent = [0, 1, 2, 3].map(|lane| Arc::ptr_eq(Spread::new(&pool, lane, 2).lend().0.link(), &pool[0].link));
        assert_eq!(lent, [true, false, true, false]);
    }
}
