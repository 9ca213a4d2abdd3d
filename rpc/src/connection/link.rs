//! What a connection's callers, handlers and driver share: `Outbound` under one short lock, who waits for what, and the
//! writing half of the transport under another.
//!
//! No user code runs while the first lock is held: wakers are taken out under it and woken after it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::answers::{Answers, Place};
use super::batch::Writer;
use super::credit::Windows;
use super::inbound::Payload;
use super::outbound::{Begin, Due, Ended, Outbound, Phase, Wake, Woken};
use super::streams::{Role, Streams};
use super::waking::wake_all;
use crate::Error;
use crate::context::Peer;
use crate::frame::codec::{self, Options, Ways};
use crate::frame::limits::Limits;
use crate::frame::payload::{Encoding, Segments};
use crate::frame::violation::Violation;
use crate::schema::exchange::{self, Left, Schemas};
use crate::server::runner::Finished;
use crate::service::Contract;

/// More than this in the out buffer, and a notification waits until some of it has left.
const ROOM: usize = 256 << 10;

/// How a connection is to end, when it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closing {
    #[default]
    No,
    /// After the calls in flight, both ways.
    Drain,
    /// At once.
    Now,
}

/// Which method a call is for.
#[derive(Clone, Debug)]
pub(crate) enum Callee {
    Known(&'static Contract, usize),
    #[cfg(feature = "json")]
    Named(Box<str>),
}

impl Callee {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Known(contract, method) => contract.full_name(*method),
            #[cfg(feature = "json")]
            Self::Named(name) => name.to_string(),
        }
    }

    /// How what it is sent is written, and what it answers.
    pub(crate) fn encoding(&self) -> Encoding {
        if matches!(self, Self::Known(..)) { Encoding::Postcard } else { Encoding::Json }
    }
}

/// A call as it is handed to a link.
pub(crate) struct Outgoing<'a> {
    pub(crate) callee: &'a Callee,
    pub(crate) due: Due,
    /// What travels of the deadline: nothing if it is the method's default.
    pub(crate) remaining: Option<std::time::Duration>,
    pub(crate) metadata: &'a [(String, String)],
    pub(crate) oneway: bool,
    pub(crate) payload: &'a mut Vec<u8>,
    /// Large parts of it, which stand elsewhere.
    pub(crate) segments: &'a mut Option<Box<Segments>>,
    pub(crate) streams: Option<&'a Arc<Streams>>,
}

impl Outgoing<'_> {
    /// Bytes of the arguments.
    #[inline]
    fn size(&self) -> usize {
        self.payload.len() + self.segments.as_ref().map_or(0, |segments| segments.len())
    }

    fn metadata_bytes(&self) -> usize {
        codec::metadata_size(self.metadata)
    }

    fn json(&self) -> Option<Ways> {
        let ways = || self.streams.map_or(Ways::default(), |streams| Ways { along: streams.sends(), back: streams.reads() });
        (self.callee.encoding() == Encoding::Json).then(ways)
    }
}

/// Where a call stands after it was handed over.
pub(crate) enum Submitted {
    /// Its id, and where its answer will be.
    Slot(u32, Place),
    Waiting(u64),
    /// A notification that is on its way.
    Gone,
    /// A notification that has to wait for room.
    Full,
    /// This link takes no calls; another may.
    Closed(Error),
    Refused(Error),
}

pub(crate) struct Link {
    state: Mutex<State>,
    writer: Mutex<Writer>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) limits: Arc<Limits>,
    /// For services that the peer serves.
    pub(crate) schemas: Arc<Schemas>,
    /// Some method's results are not read as they would be written here.
    adapts: AtomicBool,
    /// Calls that have begun. Written under the first lock, read without it.
    begun: AtomicU64,
    /// The driver has been roused, or has something in hand: it will see what is added to `outbound`. As above.
    awake: AtomicBool,
}

/// Under the first lock.
pub(crate) struct State {
    pub(crate) outbound: Outbound,
    answers: Answers,
    /// Of our calls that stream, by slot.
    streams: Vec<Option<Arc<Streams>>>,
    /// What the streams that arrive here may take, those of our calls and those of the peer's.
    pub(crate) windows: Windows<(Arc<Streams>, u32)>,
    /// By ticket.
    waiting: BTreeMap<u64, Waker>,
    /// Notifications and streams that wait for room.
    room: Vec<Waker>,
    /// Those who wait for the end of the connection, or for the peer's hello.
    watching: Vec<Waker>,
    driver: Option<Waker>,
    /// A caller could not write all that it has taken.
    pub(crate) unwritten: bool,
    /// When the driver will wake by itself.
    pub(crate) armed: Option<Instant>,
    pub(crate) closing: Closing,
    /// For schemas of the callee.
    left: Left,
    /// Handlers that ended in tasks of their own since the driver last looked.
    pub(crate) finished: Vec<Finished>,
}

impl State {
    /// The wakers of these, to be woken without the lock.
    pub(crate) fn wakers(&mut self, wake: &mut Wake, wakers: &mut Vec<Waker>) {
        let mut at = 0;
        // More may join while these are told.
        while let Some(woken) = wake.get(at).copied() {
            at += 1;
            match woken {
                // The lock may have been let go since this was noted: the slot may be another call's by now, which has not ended.
                Woken::Slot(slot) => {
                    if let Some((ended, place)) = self.outbound.collect(slot, wake) {
                        self.settle(slot, place, ended, Payload::Borrowed(&[]), wakers);
                    }
                }
                Woken::Waiting(ticket) => wakers.extend(self.waiting.remove(&ticket)),
            }
        }
        wake.clear();
    }

    /// A reply has come. True if somebody waits for it.
    #[inline]
    pub(crate) fn on_reply(
        &mut self,
        id: u32,
        failed: bool,
        payload: Payload<'_>,
        wake: &mut Wake,
        wakers: &mut Vec<Waker>,
    ) -> Result<bool, Violation> {
        let Some((ended, place)) = self.outbound.on_reply(id, failed, wake)? else { return Ok(false) };
        self.settle(id, place, ended, payload, wakers);
        Ok(true)
    }

    /// A call of ours has ended, and its slot is free.
    #[inline(always)]
    fn settle(&mut self, slot: u32, place: Option<Place>, ended: Ended, payload: Payload<'_>, wakers: &mut Vec<Waker>) {
        if let Some(streams) = self.streams.get_mut(slot as usize).and_then(Option::take) {
            self.settle_streams(&streams, place, ended, payload, wakers);
        } else if let Some(place) = place {
            wakers.extend(self.answers.settle(place, ended, payload));
        }
    }

    /// It streams. What it returned as a stream its reader gets; anything else its caller.
    #[cold]
    fn settle_streams(&mut self, streams: &Arc<Streams>, place: Option<Place>, ended: Ended, payload: Payload<'_>, wakers: &mut Vec<Waker>) {
        streams.close(self, wakers);
        if streams.reads() {
            let payload = match payload {
                Payload::Borrowed(bytes) => bytes.to_vec(),
                Payload::Owned(bytes) => bytes,
            };
            streams.ended(ended, payload, wakers);
            wakers.extend(place.and_then(|place| self.answers.rouse(place)));
        } else if let Some(place) = place {
            wakers.extend(self.answers.settle(place, ended, payload));
        }
    }

    /// The caller of this slot has gone; its place is still its own.
    pub(crate) fn cancel(&mut self, slot: u32, wake: &mut Wake) {
        self.outbound.cancel(slot, wake);
    }

    /// The streams of the call of ours in this slot.
    pub(crate) fn streams(&self, slot: u32) -> Option<Arc<Streams>> {
        self.streams.get(slot as usize)?.clone()
    }

    pub(crate) fn forget_streams(&mut self, slot: u32) {
        if let Some(streams) = self.streams.get_mut(slot as usize) {
            *streams = None;
        }
    }

    /// Notifications and items may be added to what waits to leave.
    pub(crate) fn has_room(&self) -> bool {
        self.outbound.backlog().frames <= ROOM
    }

    pub(crate) fn wait_for_room(&mut self, waker: Waker) {
        if !self.room.iter().any(|known| known.will_wake(&waker)) {
            self.room.push(waker);
        }
    }

    /// Notifications wait, though the driver may have made room since it last looked.
    pub(crate) fn has_room_waiters(&self) -> bool {
        !self.room.is_empty()
    }

    pub(crate) fn take_room(&mut self, wakers: &mut Vec<Waker>) {
        wakers.append(&mut self.room);
    }

    /// Gives up what many calls at once have needed.
    pub(crate) fn shrink(&mut self) {
        self.outbound.shrink();
        self.answers.shrink();
        if self.streams.iter().all(Option::is_none) {
            self.streams = Vec::new();
        }
    }

    pub(crate) fn watch(&mut self, waker: Waker) {
        if !self.watching.iter().any(|known| known.will_wake(&waker)) {
            self.watching.push(waker);
        }
    }

    /// The peer's hello has been read.
    pub(crate) fn greeted(&mut self, wakers: &mut Vec<Waker>) {
        wakers.append(&mut self.watching);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.outbound.phase == Phase::Lost
    }
}

impl Link {
    pub(crate) fn new(io: Box<dyn AsyncWrite + Send + Unpin>, peer: Peer, limits: Arc<Limits>, schemas: Arc<Schemas>) -> Arc<Self> {
        let mut outbound = Outbound::new();
        outbound.set_vectored(io.is_write_vectored());
        outbound.open(&limits.allowance());
        let state = State {
            outbound,
            answers: Answers::default(),
            streams: Vec::new(),
            windows: Windows::new(limits.max_stream_bytes, limits.allowance().assembly),
            waiting: BTreeMap::new(),
            room: Vec::new(),
            watching: Vec::new(),
            driver: None,
            unwritten: false,
            armed: None,
            closing: Closing::No,
            left: Left::default(),
            finished: Vec::new(),
        };
        let writer = Mutex::new(Writer::new(io));
        Arc::new(Self {
            state: Mutex::new(state),
            writer,
            peer: Arc::new(peer),
            limits,
            schemas,
            adapts: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            awake: AtomicBool::new(true),
        })
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under it would be a fault of ours in the driver, which ends with its connection; its destructor comes here.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    // ---- the driver's sleep

    /// The driver has nothing to do, and is about to sleep until `armed`.
    pub(crate) fn park(&self, state: &mut State, waker: &Waker, armed: Option<Instant>) {
        self.awake.store(false, Ordering::Relaxed);
        state.armed = armed;
        match &state.driver {
            Some(known) if known.will_wake(waker) => {}
            _ => state.driver = Some(waker.clone()),
        }
    }

    /// False: the driver sleeps, or runs because of its socket or its timer alone, and has nothing in hand that must not be overtaken.
    #[inline]
    pub(crate) fn is_awake(&self) -> bool {
        self.awake.load(Ordering::Relaxed)
    }

    /// The first lock, for the driver, which counts as awake from here on.
    #[inline]
    pub(crate) fn lock_awake(&self) -> MutexGuard<'_, State> {
        let state = self.lock();
        self.note_awake(&state);
        state
    }

    /// As [`lock_awake`](Self::lock_awake), for who has the lock.
    #[inline]
    pub(crate) fn note_awake(&self, _locked: &State) {
        self.awake.store(true, Ordering::Relaxed);
    }

    /// The driver is about to have something in hand that others must not overtake.
    #[inline]
    pub(crate) fn set_awake(&self) {
        if !self.is_awake() {
            drop(self.lock_awake());
        }
    }

    /// The waker of a driver that is not awake; it is from here on.
    #[must_use]
    pub(crate) fn rouse(&self, state: &State) -> Option<Waker> {
        if self.is_awake() {
            return None;
        }
        self.note_awake(state);
        state.driver.clone()
    }

    // ---- the beginning

    /// Says hello now, and not with the first call.
    pub(crate) fn greet(&self) {
        let mut state = self.lock();
        state.outbound.only_hello = false;
        let driver = self.rouse(&state);
        drop(state);
        driver.inspect(Waker::wake_by_ref);
    }

    /// Waits until the peer has said hello, or the connection is lost.
    pub(crate) fn poll_greeted(&self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if state.outbound.has_hello() || state.is_lost() {
            return Poll::Ready(());
        }
        state.watch(waker);
        Poll::Pending
    }

    /// Calls may begin, as far as is known.
    pub(crate) fn takes_calls(&self) -> bool {
        let state = self.lock();
        state.outbound.phase == Phase::Open && state.closing == Closing::No
    }

    // ---- callers

    /// How many calls have begun.
    #[inline]
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Puts a call on its way, or its caller in the queue.
    #[inline]
    pub(crate) fn submit(&self, outgoing: Outgoing<'_>, ticket: Option<u64>, cx: &Context<'_>) -> Submitted {
        // Cloning a waker may be user code, which never runs under the lock; dropping it as well.
        let mut caller = Some(cx.waker().clone());
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut wake = Wake::new();
        let size = outgoing.size();
        let begin = match ticket {
            Some(ticket) => state.outbound.redeem(ticket, size, &mut wake),
            None if outgoing.oneway && size + outgoing.metadata_bytes() + 64 <= crate::frame::limits::MAX_FRAME => {
                return self.notify(guard, &outgoing, &mut caller);
            }
            None => state.outbound.reserve(size, outgoing.metadata_bytes()),
        };
        let id = match begin {
            Begin::Slot(id) => id,
            Begin::Wait(ticket) => return Self::wait(guard, ticket, &mut caller),
            Begin::Refused(error) => {
                let closed = state.outbound.phase != Phase::Open;
                self.wake(guard, Vec::new(), wake);
                return if closed { Submitted::Closed(error) } else { Submitted::Refused(error) };
            }
        };
        let number = match number(&mut state.outbound, outgoing.callee) {
            Ok(number) => number,
            Err(error) => {
                state.outbound.cancel(id, &mut wake);
                let exhausted = state.outbound.is_exhausted();
                self.wake(guard, Vec::new(), wake);
                return self.unnumbered(error, exhausted);
            }
        };
        if state.outbound.is_early(id) {
            return self.wait_for_bound(guard, id, &outgoing, &mut caller);
        }
        let options = Options { json: outgoing.json(), deadline: outgoing.remaining, metadata: outgoing.metadata };
        self.begun.store(self.begun() + 1, Ordering::Relaxed);
        let place = state.answers.wait(&mut caller);
        state.outbound.begin_call(id, place, number, outgoing.due, &options, outgoing.payload, outgoing.segments);
        if let Some(streams) = outgoing.streams {
            let index = id as usize;
            if state.streams.len() <= index {
                state.streams.resize(index + 1, None);
            }
            state.streams[index] = Some(streams.clone());
        }
        self.send(guard);
        Submitted::Slot(id, place)
    }

    fn wait(mut guard: MutexGuard<'_, State>, ticket: u64, caller: &mut Option<Waker>) -> Submitted {
        *caller = caller.take().and_then(|waker| guard.waiting.insert(ticket, waker));
        Submitted::Waiting(ticket)
    }

    /// A call has a slot, and cannot follow a bind before the answer.
    #[cold]
    fn wait_for_bound(&self, mut guard: MutexGuard<'_, State>, id: u32, outgoing: &Outgoing<'_>, caller: &mut Option<Waker>) -> Submitted {
        let mut wake = Wake::new();
        guard.outbound.cancel(id, &mut wake);
        let submitted = match guard.outbound.reserve(outgoing.size(), outgoing.metadata_bytes()) {
            Begin::Wait(ticket) => {
                if let Some(waker) = caller.take() {
                    // The ticket is new, so there is none to replace.
                    guard.waiting.insert(ticket, waker);
                }
                Submitted::Waiting(ticket)
            }
            Begin::Refused(error) => Submitted::Refused(error),
            Begin::Slot(_) => unreachable!("what is early does not fit"),
        };
        let driver = self.rouse(&guard);
        self.wake(guard, driver.into_iter().collect(), wake);
        submitted
    }

    fn notify(&self, mut guard: MutexGuard<'_, State>, outgoing: &Outgoing<'_>, caller: &mut Option<Waker>) -> Submitted {
        let state = &mut *guard;
        if state.outbound.phase != Phase::Open {
            return Submitted::Closed(state.outbound.closed());
        }
        if !state.has_room() {
            if let Some(waker) = caller.take() {
                state.wait_for_room(waker);
            }
            let driver = self.rouse(state);
            drop(guard);
            driver.inspect(Waker::wake_by_ref);
            return Submitted::Full;
        }
        match number(&mut state.outbound, outgoing.callee) {
            Ok(number) => {
                let options = Options { json: outgoing.json(), deadline: outgoing.remaining, metadata: outgoing.metadata };
                state.outbound.notify(number, &options, outgoing.payload);
                let driver = self.rouse(state);
                drop(guard);
                driver.inspect(Waker::wake_by_ref);
                Submitted::Gone
            }
            Err(error) => {
                let exhausted = state.outbound.is_exhausted();
                drop(guard);
                self.unnumbered(error, exhausted)
            }
        }
    }

    /// A call to a method without a number: the peer does not serve it, or this connection has none left.
    #[cold]
    fn unnumbered(&self, error: Error, exhausted: bool) -> Submitted {
        if !exhausted {
            return Submitted::Refused(error);
        }
        self.close(Closing::Drain);
        Submitted::Closed(error)
    }

    /// Gets what was just queued on its way: the only call in flight writes from here, else the driver does.
    #[inline]
    fn send<'l>(&'l self, mut guard: MutexGuard<'l, State>) {
        if self.is_awake() {
            return;
        }
        guard.outbound.seen(Instant::now);
        let rearm = guard.outbound.next_deadline.is_some_and(|deadline| guard.armed.is_none_or(|armed| deadline < armed));
        if guard.outbound.in_flight() == 1 {
            guard = match self.write_alone(guard) {
                None if !rearm => return,
                None => self.lock(),
                Some(guard) => guard,
            };
        }
        let driver = self.rouse(&guard);
        drop(guard);
        driver.inspect(Waker::wake_by_ref);
    }

    /// Writes what is queued from this task, or wakes the driver for it.
    pub(crate) fn write_now<'l>(&'l self, mut guard: MutexGuard<'l, State>) {
        if !self.is_awake() {
            guard = match self.write_alone(guard) {
                None => return,
                Some(guard) => guard,
            };
        }
        let driver = self.rouse(&guard);
        drop(guard);
        driver.inspect(Waker::wake_by_ref);
    }

    /// Writes what is queued, while the driver is not awake: one that is may have a batch in hand that comes first, such as the answer
    /// to a bind. `None` if all of it was written.
    fn write_alone<'l>(&'l self, mut state: MutexGuard<'l, State>) -> Option<MutexGuard<'l, State>> {
        // The writer's lock comes before this one, so it is not waited for. Whoever has it is the driver, or another caller.
        let Ok(mut writer) = self.writer.try_lock() else { return Some(state) };
        if !writer.is_empty() {
            return Some(state);
        }
        let more = state.outbound.take_batch(writer.batch());
        state.outbound.stamp(Instant::now);
        drop(state);
        // Pending registers nobody, so the driver must be woken: it polls the write again, with its own waker.
        let written = matches!(writer.poll_write(&mut Context::from_waker(Waker::noop()), &mut false), Poll::Ready(Ok(())));
        let spent = writer.take_spent();
        drop(writer);
        drop(spent);
        if written && !more {
            return None;
        }
        let mut state = self.lock();
        state.unwritten |= !written;
        Some(state)
    }

    /// The answer that came to this place, which is given back then. Its payload is swapped into `payload`, which is empty.
    #[inline]
    pub(crate) fn poll_answer(&self, place: Place, payload: &mut Vec<u8>, cx: &Context<'_>) -> Poll<Ended> {
        let mut state = self.lock();
        if let Some(ended) = state.answers.take(place, payload) {
            return Poll::Ready(ended);
        }
        if state.answers.is_waited_for(place, cx.waker()) {
            return Poll::Pending;
        }
        drop(state);
        self.poll_answer_again(place, payload, cx)
    }

    /// With another waker than before, which is cloned and the old one dropped without the lock.
    #[cold]
    fn poll_answer_again(&self, place: Place, payload: &mut Vec<u8>, cx: &Context<'_>) -> Poll<Ended> {
        let mut caller = Some(cx.waker().clone());
        let mut state = self.lock();
        if let Some(ended) = state.answers.take(place, payload) {
            return Poll::Ready(ended);
        }
        state.answers.replace(place, &mut caller);
        Poll::Pending
    }

    /// The caller of this slot looks in its place no more. Its call ends by other means.
    pub(crate) fn leave_place(&self, id: u32, place: Place) {
        let mut state = self.lock();
        let left = state.answers.leave(place);
        // The call may go on, and the place is another's from here on.
        state.outbound.forget_place(id, place);
        drop(state);
        drop(left);
    }

    /// The caller of this slot has gone, unless its answer has come, and looks in its place no more.
    pub(crate) fn cancel(&self, id: u32, place: Place) {
        let mut state = self.lock();
        let left = state.answers.leave(place);
        if state.outbound.is_awaited(id, place) {
            let mut wake = Wake::new();
            state.cancel(id, &mut wake);
            let driver = self.rouse(&state);
            self.wake(state, driver.into_iter().collect(), wake);
        }
        drop(left);
    }

    /// The holder of this ticket has gone.
    pub(crate) fn leave(&self, ticket: u64) {
        let mut state = self.lock();
        let mut wake = Wake::new();
        let waiting = state.waiting.remove(&ticket);
        state.outbound.leave(ticket, &mut wake);
        self.wake(state, Vec::new(), wake);
        drop(waiting);
    }

    /// Wakes these tasks, and those behind them: the driver stands first, as it counts as awake.
    pub(crate) fn wake(&self, mut guard: MutexGuard<'_, State>, mut wakers: Vec<Waker>, mut wake: Wake) {
        guard.wakers(&mut wake, &mut wakers);
        drop(guard);
        wake_all(wakers);
    }

    // ---- schemas

    /// The callee of one of our binds has sent its schema.
    pub(crate) fn on_schema(&self, first: u32, bytes: &[u8], wake: &mut Wake, wakers: &mut Vec<Waker>) -> Result<(), Violation> {
        let (contract, mut left) = {
            let state = self.lock();
            (state.outbound.asked(first)?, state.left)
        };
        // Not under the lock: our own schema is found by running users' code.
        let compared = self.schemas.compare(contract, Role::Caller, bytes, &mut left);
        let compared = compared.map_err(|why| Violation::BadSchema(exchange::shown(&why).into()))?;
        compared.log(self.peer.address());
        let ours = &contract.own().bytes;
        self.adapts.store(true, Ordering::Release);
        let mut guard = self.lock();
        let state = &mut *guard;
        state.left = left;
        state.outbound.compared(first, compared, ours, wake);
        state.wakers(wake, wakers);
        Ok(())
    }

    /// How the peer writes what this method returns, if not as it would be written here. Known once an answer has come: it
    /// comes behind that of the bind.
    #[inline]
    pub(crate) fn writer_of(&self, callee: &Callee) -> Option<Arc<exchange::Writer>> {
        if !self.adapts.load(Ordering::Acquire) {
            return None;
        }
        match callee {
            Callee::Known(contract, method) => self.lock().outbound.writer(contract, *method),
            #[cfg(feature = "json")]
            Callee::Named(_) => None,
        }
    }

    // ---- handlers in tasks of their own

    /// The reply of a handler that ran in its own task. False: the connection is gone, and so is its driver.
    pub(crate) fn finish(&self, finished: Finished, streams: Option<&Arc<Streams>>, write: impl FnOnce(&mut Outbound)) -> bool {
        let mut state = self.lock();
        if state.is_lost() {
            drop(state);
            crate::server::handler::drop_quietly(finished);
            return false;
        }
        write(&mut state.outbound);
        let mut wakers = Vec::new();
        if let Some(streams) = streams {
            streams.close(&mut state, &mut wakers);
        }
        state.finished.push(finished);
        let driver = self.rouse(&state);
        drop(state);
        driver.inspect(Waker::wake_by_ref);
        wake_all(wakers);
        true
    }

    // ---- the end

    /// Asks the driver to end the connection.
    pub(crate) fn close(&self, how: Closing) {
        let mut state = self.lock();
        if how <= state.closing {
            return;
        }
        state.closing = how;
        let driver = self.rouse(&state);
        drop(state);
        driver.inspect(Waker::wake_by_ref);
    }

    /// Ends every call with what is known of it, and wakes all who wait.
    pub(crate) fn lost(&self, error: &Error) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let (mut wake, mut wakers) = (Wake::new(), Vec::new());
        state.outbound.lost(error, &mut wake);
        state.wakers(&mut wake, &mut wakers);
        state.answers.close();
        wakers.append(&mut state.room);
        wakers.append(&mut state.watching);
        let finished = std::mem::take(&mut state.finished);
        let unsent = state.outbound.take_unsent();
        drop(guard);
        drop(unsent);
        crate::server::handler::drop_quietly(finished);
        wake_all(wakers);
    }

    /// Waits until the driver has ended.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if state.is_lost() {
            return Poll::Ready(());
        }
        state.watch(waker);
        Poll::Pending
    }
}

#[inline]
fn number(outbound: &mut Outbound, callee: &Callee) -> Result<u32, Error> {
    match callee {
        Callee::Known(contract, method) => outbound.number(contract, *method),
        #[cfg(feature = "json")]
        Callee::Named(name) => outbound.number_of(name),
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use std::future::Future;
    use std::pin::Pin;

    use super::*;
    use crate::connection::driver::{self, Side};
    use crate::connection::inbound::CallFailed;
    use crate::frame::payload::Rope;
    use crate::transport::Transport;

    /// A link to a peer that takes large messages; its driver sleeps.
    fn link() -> Arc<Link> {
        let limits = Arc::new(Limits::default());
        let link = Link::new(Box::new(tokio::io::sink()), Peer::at("test"), limits.clone(), Arc::default());
        let mut state = link.lock();
        state.outbound.on_hello(limits.allowance(), &mut Wake::new());
        link.park(&mut state, Waker::noop(), None);
        drop(state);
        link
    }

    fn submit(link: &Link, mut payload: Vec<u8>) -> (u32, Place) {
        let callee = Callee::Named("method".into());
        let outgoing = Outgoing {
            callee: &callee,
            due: Due::Never,
            remaining: None,
            metadata: &[],
            oneway: false,
            payload: &mut payload,
            segments: &mut None,
            streams: None,
        };
        match link.submit(outgoing, None, &Context::from_waker(Waker::noop())) {
            Submitted::Slot(id, place) => (id, place),
            _ => unreachable!("nothing is in its way"),
        }
    }

    #[test]
    fn the_only_call_in_flight_overtakes_nothing_that_the_driver_has_in_hand() {
        let link = link();
        link.set_awake();
        let (id, place) = submit(&link, vec![0]);
        assert!(link.lock().outbound.has_output(), "the driver writes it");
        link.cancel(id, place);
        link.park(&mut link.lock(), Waker::noop(), None);
        assert!(link.write_alone(link.lock()).is_none());
        assert!(!link.lock().outbound.has_output());
    }

    #[test]
    fn what_a_task_writes_itself_overtakes_nothing_that_the_driver_has_in_hand() {
        let link = link();
        let queued = || {
            let mut state = link.lock();
            state.outbound.frames(|out| codec::Frame::new(out, codec::kind::PONG).end(0));
            state
        };
        link.set_awake();
        link.write_now(queued());
        assert!(link.lock().outbound.has_output(), "the driver writes it");
        link.park(&mut link.lock(), Waker::noop(), None);
        link.write_now(queued());
        let state = link.lock();
        assert!(!state.outbound.has_output());
        assert!(!link.is_awake(), "nothing is left for the driver");
    }

    /// A user's bytes. Notes whether a lock of the link is held when they are dropped, by whoever does so in this thread.
    struct Watched(Arc<Link>, Arc<Mutex<Option<bool>>>);

    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &[7; 100_000]
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            let Self(link, locked) = self;
            *locked.lock().expect("nobody panics") = Some(link.state.try_lock().is_err() || link.writer.try_lock().is_err());
        }
    }

    /// A large reply of such bytes is about to leave; what becomes of them.
    fn watched(link: &Arc<Link>, vectored: bool) -> Arc<Mutex<Option<bool>>> {
        let locked = Arc::default();
        let bytes = bytes::Bytes::from_owner(Watched(link.clone(), Arc::clone(&locked)));
        let mut state = link.lock();
        state.outbound.set_vectored(vectored);
        state.outbound.large_reply(0, false, Rope::new(bytes, Some(Box::default())));
        locked
    }

    #[tokio::test]
    async fn parts_that_have_left_are_dropped_without_a_lock() {
        for vectored in [false, true] {
            let link = link();
            let locked = watched(&link, vectored);
            link.write_now(link.lock());
            assert_eq!(*locked.lock().expect("nobody panics"), Some(false), "written by a task, vectored: {vectored}");

            let (near, _far) = tokio::io::duplex(1 << 20);
            let (transport, limits) = (Transport::over(near, "near"), Arc::new(Limits::default()));
            let (link, mut connection) = driver::start(transport, Side::Accepting, None, &limits, limits.handshake_timeout, Arc::default());
            link.lock().outbound.on_hello(limits.allowance(), &mut Wake::new());
            let locked = watched(&link, vectored);
            assert!(Pin::new(&mut connection).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(*locked.lock().expect("nobody panics"), Some(false), "written by the driver, vectored: {vectored}");
        }
    }

    #[test]
    fn chunks_that_leave_from_their_callers_task_are_timed_from_then() {
        let link = link();
        submit(&link, vec![0; 100_000]);
        let mut state = link.lock();
        assert!(!link.is_awake(), "it was written here");
        assert!(!state.outbound.wants_stamp(), "or the answer's time would be counted from when the driver wakes for it");
    }

    /// Between the time when a call's end is noted and the time when its caller is told, the lock may be let go.
    #[test]
    fn an_end_whose_caller_has_gone_is_not_taken_for_that_of_the_next_call_in_its_slot() {
        let link = link();
        let (first, place) = submit(&link, vec![0]);
        let mut wake = Wake::new();
        let refusal = |id| CallFailed { id, code: 1, executed: 1, retry_after: 0, message: "" };
        let _ = link.lock().outbound.on_bound(0, &[], &mut wake);
        assert_eq!(link.lock().outbound.on_error(&refusal(first), &mut wake), Ok(()));
        link.cancel(first, place);
        let (second, place) = submit(&link, vec![0]);
        assert_eq!(first, second, "its slot is free");
        link.lock().wakers(&mut wake, &mut Vec::new());
        let poll = || link.poll_answer(place, &mut Vec::new(), &Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        let reply = link.lock().on_reply(second, false, Payload::Borrowed(b"x"), &mut wake, &mut Vec::new());
        assert_eq!(reply, Ok(true));
        assert!(matches!(poll(), Poll::Ready(Ended::Returned)));
    }

    /// A caller that has its stream needs its place no more, while the call goes on.
    #[test]
    fn the_end_of_a_stream_wakes_nobody_in_the_place_that_its_caller_has_left() {
        let link = link();
        let (stream, place) = submit(&link, vec![0]);
        link.lock().streams = vec![Some(Streams::new(Role::Caller, true, None))];
        assert_eq!(link.lock().outbound.on_bound(0, &[], &mut Wake::new()), Ok(()));
        link.leave_place(stream, place);
        assert_eq!(submit(&link, vec![0]).1, place, "it is free");
        let mut wakers = Vec::new();
        let came = link.lock().on_reply(stream, false, Payload::Borrowed(&[]), &mut Wake::new(), &mut wakers);
        assert_eq!(came, Ok(true));
        assert!(wakers.is_empty(), "the other call has not ended");
    }

    #[test]
    fn an_answer_waits_where_its_caller_looks_while_its_slot_is_used_again() {
        let link = link();
        let reply = |id, bytes| {
            let came = link.lock().on_reply(id, false, Payload::Borrowed(bytes), &mut Wake::new(), &mut Vec::new());
            assert_eq!(came, Ok(true));
        };
        let (id, first) = submit(&link, vec![0]);
        assert_eq!(link.lock().outbound.on_bound(0, &[], &mut Wake::new()), Ok(()));
        reply(id, b"one");
        let (again, second) = submit(&link, vec![0]);
        assert_eq!(id, again);
        reply(again, b"two");
        for (place, expected) in [(second, b"two"), (first, b"one")] {
            let mut payload = Vec::new();
            assert!(link.poll_answer(place, &mut payload, &Context::from_waker(Waker::noop())).is_ready());
            assert_eq!(payload, expected);
        }
        let (_, third) = submit(&link, vec![0]);
        assert!([first, second].contains(&third), "both places are free");
    }

    #[test]
    fn a_connection_that_is_gone_keeps_no_buffers_for_answers() {
        let link = link();
        let reply = |id| {
            let came = link.lock().on_reply(id, false, Payload::Borrowed(&[7; 1000]), &mut Wake::new(), &mut Vec::new());
            assert_eq!(came, Ok(true));
        };
        let look = |place| {
            // As a caller's, which had its arguments in it.
            let mut payload = Vec::with_capacity(1000);
            assert!(link.poll_answer(place, &mut payload, &Context::from_waker(Waker::noop())).is_ready());
            assert_eq!(payload, [7; 1000]);
        };
        let calls: Vec<_> = (0..3).map(|_| submit(&link, vec![0])).collect();
        assert_eq!(link.lock().outbound.on_bound(0, &[], &mut Wake::new()), Ok(()));
        calls[..2].iter().for_each(|(id, _)| reply(*id));
        look(calls[0].1);
        link.lost(&Error::new(crate::ErrorKind::Unavailable, "gone"));
        assert!(link.lock().answers.buffers() < 2000, "the first has looked");
        look(calls[1].1);
        let (_, place) = calls[2];
        assert!(link.poll_answer(place, &mut Vec::new(), &Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(link.lock().answers.buffers(), 0);
    }
}
