//! A connection's times: what it sleeps until, what is done when that has come, and how it falls asleep. Part of `driver.rs`.

use std::pin::pin;
use std::task::{Context, Waker};

use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use super::{Driver, Scratch};
use crate::connection::ending::End;
use crate::connection::link::{Closing, Link, State};
use crate::frame::payload;
use crate::server::dispatch::BACKLOG;

impl Driver {
    pub(super) fn next_timeout(&self, state: &State) -> Option<Instant> {
        let next = earlier(earlier(state.outbound.next_deadline, self.dispatcher.next_expiry()), self.keepalive_at());
        let is_usual = !self.waits_for_rare() && state.outbound.held_since().is_none();
        if is_usual { next } else { earlier(next, self.next_rare_timeout(state)) }
    }

    /// Something may be due beside the usual three, as far as can be said without the lock.
    #[inline]
    fn waits_for_rare(&self) -> bool {
        self.hello_at.is_some()
            || self.handshake_by.is_some()
            || self.partial_since.is_some()
            || self.blocked_since.is_some()
            || self.dispatcher.shrink_at().is_some()
            || self.dispatcher.is_exchanging()
    }

    /// As far as something is due beside the usual three.
    #[inline(never)]
    fn next_rare_timeout(&self, state: &State) -> Option<Instant> {
        let limits = &self.link.limits;
        let mut next = earlier(self.dispatcher.shrink_at(), earlier(self.hello_at, self.handshake_by));
        next = earlier(next, self.partial_since.and_then(|(since, _)| since.checked_add(limits.progress_timeout)));
        next = earlier(next, self.blocked_since.and_then(|since| since.checked_add(limits.write_timeout)));
        next = earlier(next, self.withheld_at(state));
        earlier(next, self.schema_by())
    }

    /// Who has not said hello has its own time for that; and what is not read for now (protocol 6.6) cannot be heard.
    fn keepalive_at(&self) -> Option<Instant> {
        (self.handshake_by.is_none() && self.owed <= BACKLOG).then(|| self.keepalive.next(&self.link.limits)).flatten()
    }

    /// As above of what is not read.
    fn schema_by(&self) -> Option<Instant> {
        self.dispatcher.schema_by().filter(|_| self.owed <= BACKLOG)
    }

    /// Who reads large messages and does not say so would hold the rest of them without end. As above of what is not read.
    pub(super) fn withheld_at(&self, state: &State) -> Option<Instant> {
        let since = state.outbound.held_since().filter(|_| self.owed <= BACKLOG)?;
        since.checked_add(self.link.limits.write_timeout)
    }

    /// Sets the timer, if this comes before what it is set to. A later time is found when it fires.
    fn arm(&mut self, next: Option<Instant>) {
        let Some(next) = next.filter(|next| self.armed.is_none_or(|armed| *next < armed)) else { return };
        (self.armed, self.asked) = (Some(next), false);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(next),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(next))),
        }
    }

    /// Acts on what is due.
    #[inline]
    pub(super) fn timers(&mut self, link: &Link, scratch: &mut Scratch) -> Result<(), End> {
        if self.due.is_some_and(|due| due <= self.now) { self.on_due(link, scratch) } else { Ok(()) }
    }

    #[cold]
    fn on_due(&mut self, link: &Link, scratch: &mut Scratch) -> Result<(), End> {
        self.due = None;
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let limits = &self.link.limits;
        if due(self.handshake_by) {
            return Err(End::Timeout("the peer did not say hello in time (Limits::handshake_timeout)"));
        }
        if due(self.schema_by()) {
            return Err(End::Timeout("the peer did not send its schema in time (Limits::handshake_timeout)"));
        }
        if due(self.partial_since.and_then(|(since, _)| since.checked_add(limits.progress_timeout))) {
            return Err(End::Timeout("a frame did not arrive in time (Limits::progress_timeout)"));
        }
        if due(self.blocked_since.and_then(|since| since.checked_add(limits.write_timeout))) {
            return Err(End::Timeout("the peer does not read (Limits::write_timeout)"));
        }
        let mut state = link.lock_awake();
        self.withheld = due(self.withheld_at(&state));
        if due(self.hello_at) {
            self.hello_at = None;
            state.outbound.only_hello = false;
        }
        if due(state.outbound.next_deadline) {
            state.outbound.expire(now, &mut scratch.wake);
            let state = &mut *state;
            state.wakers(&mut scratch.wake, &mut scratch.wakers);
        }
        if due(self.keepalive_at()) && self.keepalive.due(now) {
            state.outbound.ping();
        }
        // No call of ours has begun since it looked last.
        if std::mem::replace(&mut self.begun, link.begun()) == link.begun() {
            state.shrink();
        }
        if self.blocked_since.is_none() {
            self.has_more = state.outbound.take_batch(&mut scratch.batch);
            state.outbound.stamp(Instant::now);
        }
        let unsent = state.outbound.take_unsent();
        drop(state);
        drop(unsent);
        if due(self.dispatcher.next_expiry()) {
            self.dispatcher.expire(now, &mut self.inbound, &mut scratch.batch.frames);
        }
        if due(self.dispatcher.shrink_at()) {
            self.dispatcher.shrink(now);
        }
        payload::let_go(now);
        scratch.wake();
        Ok(())
    }

    /// Sleeps until something happens; false if something already has.
    #[inline]
    pub(super) fn park(&mut self, link: &Link, cx: &mut Context<'_>) -> bool {
        self.sleeps_on(link, cx.waker()) || self.fall_asleep(link, cx)
    }

    /// Nobody has roused it, and nothing came that is waited for: all that was settled when it slept last still holds. So a lone call takes
    /// no lock for its sake.
    #[inline]
    fn sleeps_on(&self, link: &Link, waker: &Waker) -> bool {
        let covers = |due: Instant| {
            let later = |at: Option<Instant>| at.is_none_or(|at| due <= at);
            later(self.keepalive_at()) && later(self.dispatcher.next_expiry())
        };
        let sleeps = !link.is_awake()
            && self.due.is_some_and(covers)
            && !self.leaving
            && self.told.is_none()
            && !self.waits_for_rare()
            && self.waker.as_ref().is_some_and(|known| known.will_wake(waker))
            && self.timer.as_ref().is_some_and(|timer| self.armed.is_some() && !timer.is_elapsed());
        debug_assert!(!sleeps || self.may_sleep_on(link), "what is left for the driver rouses it");
        sleeps
    }

    /// Another thread may have roused it just now, or be about to: one that writes a call's first chunks looks for more of them after that.
    fn may_sleep_on(&self, link: &Link) -> bool {
        let state = link.lock();
        link.is_awake() || !(self.has_work(&state, state.outbound.has_frames()) || state.outbound.has_unseen())
    }

    /// Something is left for it, or it is time to leave.
    fn has_work(&self, state: &State, output: bool) -> bool {
        let blocked = self.blocked_since.is_some();
        !state.finished.is_empty()
            || (!blocked && (output || state.has_room_waiters()))
            || state.outbound.has_unsent()
            || state.unwritten
            || state.closing == Closing::Now
            || (state.closing == Closing::Drain && !self.leaving)
            || ((self.leaving || self.told.is_some()) && !blocked && self.is_done(state))
    }

    fn fall_asleep(&mut self, link: &Link, cx: &mut Context<'_>) -> bool {
        if self.waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            // The timer would wake another.
            (self.waker, self.asked) = (Some(cx.waker().clone()), false);
        }
        let mut state = link.lock();
        if self.has_work(&state, state.outbound.has_output()) {
            return false;
        }
        if !state.outbound.only_hello {
            self.hello_at = None;
        }
        state.outbound.seen(Instant::now);
        self.due = self.next_timeout(&state);
        self.arm(self.due);
        // One that was asked since it was set wakes this task.
        let timer = self.timer.as_mut().filter(|timer| self.armed.is_some() && (!self.asked || timer.is_elapsed()));
        self.asked = true;
        // Whatever is left of the turn's budget: where handlers have used it up the timer would not even note who is to be woken.
        if timer.is_some_and(|timer| pin!(unconstrained(timer.as_mut())).poll(cx).is_ready()) {
            self.armed = None;
            self.now = Instant::now();
            return false;
        }
        link.park(&mut state, cx.waker(), self.armed);
        true
    }
}

/// The earlier of two times, as far as there are any.
#[inline]
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
