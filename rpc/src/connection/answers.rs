//! Where callers wait for their answers. Part of what a link keeps under its lock: the driver puts an answer in its place, and its
//! caller takes it from there.
//!
//! A place is not a slot: a slot is free for another call as soon as its last frame was read, a place when its caller has looked.

use std::task::Waker;

use super::inbound::Payload;
use super::outbound::Ended;

/// Buffers that are no longer than this are used again.
const LARGE: usize = 4096;

/// Places that are kept for the next calls.
const SPARE: usize = 4;

/// One caller's place. Only that caller gives it back.
pub(crate) type Place = u32;

pub(crate) struct Answers {
    places: Vec<Answer>,
    /// The place that was given back last.
    free: Option<Place>,
    /// A payload that leaves a larger buffer than this behind gives it up.
    kept: usize,
}

impl Default for Answers {
    fn default() -> Self {
        Self { places: Vec::new(), free: None, kept: LARGE }
    }
}

#[derive(Default)]
struct Answer {
    ended: Option<Ended>,
    payload: Vec<u8>,
    caller: Option<Waker>,
    /// Of one that is free, the one that was given back before.
    next: Option<Place>,
}

impl Answers {
    /// A place in which this caller waits.
    #[inline]
    pub(crate) fn wait(&mut self, caller: &mut Option<Waker>) -> Place {
        let place = self.free.unwrap_or_else(|| {
            self.places.push(Answer::default());
            self.places.len() as Place - 1
        });
        let answer = &mut self.places[place as usize];
        debug_assert!(answer.ended.is_none() && answer.caller.is_none(), "a place is given back empty");
        answer.caller = caller.take();
        self.free = answer.next.take();
        place
    }

    /// The answer has come. Who is to be woken.
    #[inline(always)]
    pub(crate) fn settle(&mut self, place: Place, ended: Ended, payload: Payload<'_>) -> Option<Waker> {
        let answer = &mut self.places[place as usize];
        answer.ended = Some(ended);
        match payload {
            Payload::Borrowed(bytes) => answer.payload.extend_from_slice(bytes),
            Payload::Owned(bytes) => answer.payload = bytes,
        }
        answer.caller.take()
    }

    /// The caller, to be told that its answer comes by another way.
    pub(crate) fn rouse(&mut self, place: Place) -> Option<Waker> {
        self.places[place as usize].caller.take()
    }

    /// The answer, if it has come. Its payload is swapped into `payload`, which is empty; the place is given back.
    #[inline]
    pub(crate) fn take(&mut self, place: Place, payload: &mut Vec<u8>) -> Option<Ended> {
        let answer = &mut self.places[place as usize];
        let ended = answer.ended.take()?;
        std::mem::swap(&mut answer.payload, payload);
        if answer.payload.capacity() > self.kept {
            answer.payload = Vec::new();
        }
        answer.next = self.free.replace(place);
        Some(ended)
    }

    /// This waker would be woken.
    #[inline]
    pub(crate) fn is_waited_for(&self, place: Place, waker: &Waker) -> bool {
        self.places[place as usize].caller.as_ref().is_some_and(|known| known.will_wake(waker))
    }

    /// Another waker waits there; the one before it comes back, to be dropped without the lock.
    pub(crate) fn replace(&mut self, place: Place, caller: &mut Option<Waker>) {
        std::mem::swap(&mut self.places[place as usize].caller, caller);
    }

    /// The caller has gone. What was there is to be dropped without the lock.
    #[must_use]
    pub(crate) fn leave(&mut self, place: Place) -> impl Sized + use<> {
        let answer = &mut self.places[place as usize];
        let left = std::mem::take(answer);
        answer.next = self.free.replace(place);
        left
    }

    /// Gives up what many calls at once have needed: the buffers of places that are free, and the places where all are.
    pub(crate) fn shrink(&mut self) {
        if self.places.len() <= SPARE {
            return;
        }
        let (mut next, mut free) = (self.free, 0);
        while let Some(place) = next {
            let answer = &mut self.places[place as usize];
            answer.payload = Vec::new();
            (next, free) = (answer.next, free + 1);
        }
        if free < self.places.len() {
            return;
        }
        self.places.truncate(SPARE);
        self.places.shrink_to_fit();
        self.free = None;
        for place in 0..SPARE {
            self.places[place].next = self.free.replace(place as Place);
        }
    }

    /// No more answers come: a client may keep its first connection long after that.
    pub(crate) fn close(&mut self) {
        self.kept = 0;
        for answer in self.places.iter_mut().filter(|answer| answer.ended.is_none()) {
            answer.payload = Vec::new();
        }
    }

    /// Bytes of buffers that wait for payloads, or hold them.
    #[cfg(all(test, feature = "json"))]
    pub(crate) fn buffers(&self) -> usize {
        self.places.iter().map(|answer| answer.payload.capacity()).sum()
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_given_back_and_an_answer_that_waits_is_not() {
        let mut answers = Answers::default();
        let places: Vec<Place> = (0..50).map(|_| answers.wait(&mut Some(Waker::noop().clone()))).collect();
        for place in &places {
            answers.settle(*place, Ended::Returned, Payload::Borrowed(&[7; 1000]));
        }
        // As a caller, which had its arguments in it.
        let look = |answers: &mut Answers, place| {
            let mut payload = Vec::with_capacity(1000);
            assert!(answers.take(place, &mut payload).is_some());
            assert_eq!(payload, [7; 1000]);
        };
        places[1..].iter().for_each(|place| look(&mut answers, *place));
        assert!(answers.buffers() >= 50_000);
        answers.shrink();
        assert!((1000..2000).contains(&answers.buffers()), "one answer waits");
        assert_eq!(answers.places.len(), 50);
        look(&mut answers, places[0]);
        answers.shrink();
        assert_eq!((answers.places.len(), answers.buffers()), (SPARE, 0));
        let mut again: Vec<Place> = (0..6).map(|_| answers.wait(&mut Some(Waker::noop().clone()))).collect();
        again.sort_unstable();
        assert_eq!(again, [0, 1, 2, 3, 4, 5]);
    }
}
