//! What leaves on one connection: our calls and their slots, our replies, and the bytes of both. A plain struct: no
//! clock, socket, waker or lock (`link.rs` puts those around it). Its counterpart is `inbound.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::answers::Place;
use super::batch::Batch;
use super::binds::Binds;
use super::chunked::{Chunked, Withdrawn};
use super::inbound::CallFailed;
use crate::frame::codec::{self, Frame, Options, kind};
use crate::frame::limits::{Allowance, BEFORE_HELLO, MAX_FRAME, MAX_HEAD};
use crate::frame::payload::{self, Rope, Segments};
use crate::frame::violation::Violation;
use crate::schema::exchange::{Compared, Writer};
use crate::service::Contract;
use crate::{Error, ErrorKind, Executed};

/// A batch that is copied sooner than its buffer is handed over.
const SMALL_BATCH: usize = 4096;

/// Slots that are kept for the next calls.
const SPARE: usize = 4;

/// What became of a call, as its owner finds it. A payload goes beside it.
#[derive(Debug)]
pub(crate) enum Ended {
    Returned,
    Failed,
    Error(Error),
}

/// When a call of ours gives up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Due {
    #[default]
    Never,
    At(Instant),
    /// This long after its connection's driver has seen it: the clock is read once for all calls that leave together.
    In(Duration),
}

impl Due {
    /// With the clock at `now`.
    pub(crate) fn from(self, now: Instant) -> Option<Instant> {
        match self {
            Self::Never => None,
            Self::At(deadline) => Some(deadline),
            // Too far for the clock is no deadline.
            Self::In(after) => now.checked_add(after),
        }
    }
}

/// The place of one of our calls; its index is the call's id on the wire.
#[derive(Default)]
struct Slot {
    /// Somebody waits for the result.
    owned: bool,
    /// Where, once the call has begun.
    place: Option<Place>,
    /// The callee has not sent its last frame.
    open: bool,
    large: bool,
    ended: Option<Ended>,
    due: Due,
    number: u32,
    /// What the call counts for in the callee's allowance.
    size: usize,
    /// The how-manieth call on this connection it is, from 1; the largest number until its frame is written.
    sequence: u64,
}

/// A caller that waits for a slot. Queues are in the order of tickets.
struct Waiting {
    ticket: u64,
    size: usize,
    granted: Option<u32>,
}

/// Whether calls may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// The peer, or this end, takes no new calls; those in flight go on.
    Leaving,
    Lost,
}

/// A call's place, or why it has none.
pub(crate) enum Begin {
    Slot(u32),
    /// Ask again with this ticket when woken.
    Wait(u64),
    Refused(Error),
}

/// Slots to be woken: collected under the lock, woken outside it.
pub(crate) type Wake = Vec<Woken>;

/// Who is to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Slot(u32),
    Waiting(u64),
}

/// What waits to leave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backlog {
    /// Bytes of frames, which leave with the next write.
    pub(crate) frames: usize,
    /// Bytes of large replies, which leave as there is room for them; nothing else waits for that.
    pub(crate) large: usize,
}

/// Calls, replies and bytes on their way out.
pub(crate) struct Outbound {
    pub(crate) phase: Phase,
    /// Frames that wait for the transport.
    out: Vec<u8>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    peer: Allowance,
    hello: bool,
    small_bytes: usize,
    large_bytes: usize,
    small: VecDeque<Waiting>,
    large: VecDeque<Waiting>,
    tickets: u64,
    binds: Binds,
    chunked: Chunked,
    /// Calls written so far, and how many of them have been handed to the transport.
    calls: u64,
    taken: u64,
    /// The peer has said that it reads no more than this many.
    accepted: u64,
    /// Calls whose time has not begun.
    unseen: Vec<u32>,
    /// The earliest deadline of an open call whose time has begun, or earlier.
    pub(crate) next_deadline: Option<Instant>,
    /// Why the peer takes no calls, if it will take none on another connection either: it is not asked again at once.
    pub(crate) unwelcome: Option<Box<(ErrorKind, String)>>,
    /// Preface and hello are on their way.
    pub(crate) greeted: bool,
    /// Nothing but our hello is waiting: better sent with the first call.
    pub(crate) only_hello: bool,
}

impl Outbound {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Open,
            out: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            peer: BEFORE_HELLO,
            hello: false,
            small_bytes: 0,
            large_bytes: 0,
            small: VecDeque::new(),
            large: VecDeque::new(),
            tickets: 0,
            binds: Binds::default(),
            chunked: Chunked::default(),
            calls: 0,
            taken: 0,
            accepted: u64::MAX,
            unseen: Vec::new(),
            next_deadline: None,
            unwelcome: None,
            greeted: false,
            only_hello: false,
        }
    }

    /// The transport takes bytes from several places at once: large messages need not be copied.
    pub(crate) fn set_vectored(&mut self, vectored: bool) {
        self.chunked.vectored = vectored;
    }

    /// Preface and hello, held back for the first call.
    pub(crate) fn open(&mut self, ours: &Allowance) {
        codec::write_preface(&mut self.out);
        codec::write_hello(&mut self.out, ours);
        self.only_hello = true;
    }

    /// What the peer allows, from now on.
    pub(crate) fn on_hello(&mut self, peer: Allowance, wake: &mut Wake) {
        self.peer = peer;
        self.hello = true;
        self.grant(wake);
    }

    /// The peer has said what it allows.
    pub(crate) fn has_hello(&self) -> bool {
        self.hello
    }

    /// Longest message that the peer takes, as far as is known.
    pub(crate) fn max_message(&self) -> usize {
        self.peer.max_message
    }

    // ---- calls

    /// Somebody waits for the answer to a call of ours.
    pub(crate) fn has_open_calls(&self) -> bool {
        self.slots.iter().any(|slot| slot.open && slot.owned)
    }

    /// How many of our calls are open or not yet collected.
    pub(crate) fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Gives up what many calls at once have needed and those in flight do not.
    pub(crate) fn shrink(&mut self) {
        let used = self.slots.iter().rposition(|slot| slot.open || slot.owned).map_or(0, |last| last + 1);
        let kept = used.max(SPARE);
        if self.slots.len() > kept {
            self.slots.truncate(kept);
            self.slots.shrink_to_fit();
            self.free.retain(|id| (*id as usize) < kept);
            self.free.shrink_to_fit();
            self.unseen.shrink_to(kept);
        }
        if self.out.is_empty() && self.out.capacity() > SMALL_BATCH {
            self.out = Vec::new();
        }
    }

    pub(crate) fn is_waiting_room_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    /// A slot for a call whose payload and metadata are this long.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, payload: usize, metadata: usize) -> Begin {
        let large = is_large(payload, metadata);
        if self.phase != Phase::Open || (self.hello && payload > self.peer.max_message) {
            return Begin::Refused(self.refused(payload).unwrap_or_else(|| self.closed()));
        }
        let size = payload + metadata + MAX_HEAD;
        let queue = if large { &self.large } else { &self.small };
        // Those who were granted a slot stand first: if the last one was, nobody waits.
        let nobody_waits = queue.back().is_none_or(|waiting| waiting.granted.is_some());
        if nobody_waits && self.fits(size, large) {
            return Begin::Slot(self.occupy(size, large));
        }
        self.tickets += 1;
        let waiting = Waiting { ticket: self.tickets, size, granted: None };
        if large {
            self.large.push_back(waiting)
        } else {
            self.small.push_back(waiting)
        }
        Begin::Wait(self.tickets)
    }

    /// Asks again with the ticket that [`reserve`](Self::reserve) gave.
    pub(crate) fn redeem(&mut self, ticket: u64, payload: usize, wake: &mut Wake) -> Begin {
        if let Some(refused) = self.refused(payload) {
            self.leave(ticket, wake);
            return Begin::Refused(refused);
        }
        for queue in [&mut self.small, &mut self.large] {
            if let Ok(found) = queue.binary_search_by_key(&ticket, |waiting| waiting.ticket)
                && let Some(slot) = queue[found].granted
            {
                queue.remove(found);
                return Begin::Slot(slot);
            }
        }
        Begin::Wait(ticket)
    }

    #[cold]
    fn refused(&self, payload: usize) -> Option<Error> {
        if self.phase != Phase::Open {
            return Some(self.closed());
        }
        if self.hello && payload > self.peer.max_message {
            let text = format!("arguments of {payload} bytes exceed the peer's limit of {} (Limits::max_message)", self.peer.max_message);
            return Some(Error::new(ErrorKind::TooLarge, text));
        }
        None
    }

    /// Why no call can begin any more.
    pub(crate) fn closed(&self) -> Error {
        match self.unwelcome.as_deref() {
            Some((kind, message)) => Error::new(*kind, message.clone()),
            None => Error::new(ErrorKind::Unavailable, "the connection is closing"),
        }
    }

    /// Whoever held this ticket has gone.
    pub(crate) fn leave(&mut self, ticket: u64, wake: &mut Wake) {
        for large in [false, true] {
            let queue = if large { &mut self.large } else { &mut self.small };
            if let Ok(found) = queue.binary_search_by_key(&ticket, |waiting| waiting.ticket) {
                if let Some(Waiting { granted: Some(slot), .. }) = queue.remove(found) {
                    self.release(slot, wake);
                } else {
                    self.grant(wake);
                }
            }
        }
    }

    fn fits(&self, size: usize, large: bool) -> bool {
        if self.is_asking() {
            return !large && self.small_bytes + size <= BEFORE_HELLO.call_bytes && self.in_flight() < BEFORE_HELLO.in_flight;
        }
        let bytes = if large {
            // A message above the peer's whole allowance is refused once the hello is read; until then it waits.
            self.hello && (self.large_bytes == 0 || self.large_bytes + size <= self.peer.assembly)
        } else {
            self.small_bytes + size <= self.peer.call_bytes
        };
        bytes && (!self.free.is_empty() || self.slots.len() < self.peer.in_flight)
    }

    /// The callee may be keeping calls until it has seen our schema: no more than it keeps are sent (protocol 9.4).
    #[inline]
    fn is_asking(&self) -> bool {
        self.binds.has_unanswered_services() && self.peer.schemas
    }

    /// The call that would be the next in this slot has to wait after all, without the slot: a bind was written since it was
    /// given, and the call is longer than what a callee keeps, or one too many.
    #[inline]
    pub(crate) fn is_early(&self, id: u32) -> bool {
        self.is_asking() && (self.slots[id as usize].large || self.in_flight() > BEFORE_HELLO.in_flight || self.small_bytes > BEFORE_HELLO.call_bytes)
    }

    fn occupy(&mut self, size: usize, large: bool) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[id as usize];
        slot.owned = true;
        slot.size = size;
        slot.large = large;
        if large {
            self.large_bytes += size;
        } else {
            self.small_bytes += size;
        }
        id
    }

    /// Gives slots to those who wait, in order.
    fn grant(&mut self, wake: &mut Wake) {
        for large in [false, true] {
            let mut next = 0;
            loop {
                let queue = if large { &self.large } else { &self.small };
                let Some(waiting) = queue.get(next) else { break };
                if waiting.granted.is_none() {
                    let (ticket, size) = (waiting.ticket, waiting.size);
                    if self.hello && size > self.peer.max_message.saturating_add(MAX_FRAME) {
                        // Woken to be told that it is too large.
                        wake.push(Woken::Waiting(ticket));
                    } else if self.fits(size, large) {
                        let slot = self.occupy(size, large);
                        let queue = if large { &mut self.large } else { &mut self.small };
                        queue[next].granted = Some(slot);
                        wake.push(Woken::Waiting(ticket));
                    } else {
                        break;
                    }
                }
                next += 1;
            }
        }
    }

    /// Puts the call in its slot on its way; its caller waits in this place. Takes payload and segments only if it is a large one.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "one call's parts, in registers and not in memory")]
    pub(crate) fn begin_call(
        &mut self,
        id: u32,
        place: Place,
        number: u32,
        due: Due,
        options: &Options<'_>,
        payload: &mut Vec<u8>,
        segments: &mut Option<Box<Segments>>,
    ) {
        self.only_hello = false;
        let slot = &mut self.slots[id as usize];
        slot.open = true;
        slot.number = number;
        slot.sequence = u64::MAX;
        slot.place = Some(place);
        slot.due = due;
        match due {
            Due::Never => {}
            Due::At(deadline) => self.next_deadline = Some(self.next_deadline.map_or(deadline, |next| next.min(deadline))),
            Due::In(_) => self.unseen.push(id),
        }
        if slot.large {
            let payload = match segments.take() {
                // Little stands between segments, and its buffer can be used again.
                Some(segments) if payload.len() <= SMALL_BATCH => Rope::new(Bytes::copy_from_slice(payload), Some(segments)),
                segments => Rope::new(payload::share(std::mem::take(payload)), segments),
            };
            let mut head = Vec::new();
            let flags = codec::call_head(&mut head, Some(id), number, options, Some(payload.len()));
            self.chunked.call(id, head, flags, payload);
        } else {
            self.calls += 1;
            slot.sequence = self.calls;
            codec::call(&mut self.out, Some(id), number, options, payload);
        }
    }

    /// The time of calls that were added since this was asked last begins.
    #[inline]
    pub(crate) fn seen(&mut self, now: impl FnOnce() -> Instant) {
        if !self.unseen.is_empty() {
            self.begin_time(now());
        }
    }

    /// There is something for [`seen`](Self::seen).
    pub(crate) fn has_unseen(&self) -> bool {
        !self.unseen.is_empty()
    }

    fn begin_time(&mut self, now: Instant) {
        for id in self.unseen.drain(..) {
            let slot = &mut self.slots[id as usize];
            // It may have ended since, and be another's.
            if let Due::In(_) = slot.due {
                let deadline = slot.due.from(now);
                slot.due = deadline.map_or(Due::Never, Due::At);
                if let Some(deadline) = deadline
                    && self.next_deadline.is_none_or(|next| deadline < next)
                {
                    self.next_deadline = Some(deadline);
                }
            }
        }
    }

    /// A call without a reply, in one frame.
    pub(crate) fn notify(&mut self, number: u32, options: &Options<'_>, payload: &[u8]) {
        self.calls += 1;
        self.only_hello = false;
        codec::call(&mut self.out, None, number, options, payload);
    }

    /// Ends this call here and now, as its deadline does; the callee is told to stop.
    fn end(&mut self, id: u32, error: impl FnOnce(Executed) -> Error) {
        let executed = if self.stop(id) { Executed::No } else { Executed::Maybe };
        self.slots[id as usize].ended = Some(Ended::Error(error(executed)));
    }

    /// Ends this call, if it has not ended, because of what happened here. The error may be another call's, whose items were
    /// handed on: what it says of that one's method it does not say of this.
    pub(crate) fn abort(&mut self, id: u32, error: &Error) {
        let slot = &self.slots[id as usize];
        if slot.open && slot.owned && slot.ended.is_none() {
            self.end(id, |executed| error.again(executed));
        }
    }

    /// The caller of this slot waits in this place, and has not been told of an end.
    pub(crate) fn is_awaited(&self, id: u32, place: Place) -> bool {
        // One that has been told may be gone (see `shrink`).
        self.slots.get(id as usize).is_some_and(|slot| slot.place == Some(place))
    }

    /// The caller of this slot waits there no more.
    pub(crate) fn forget_place(&mut self, id: u32, place: Place) {
        if self.is_awaited(id, place) {
            self.slots[id as usize].place = None;
        }
    }

    /// The result of this call, if it has one, and where it belongs; the slot is then free.
    pub(crate) fn collect(&mut self, id: u32, wake: &mut Wake) -> Option<(Ended, Option<Place>)> {
        let slot = &mut self.slots[id as usize];
        let (ended, place) = (slot.ended.take()?, slot.place.take());
        self.disown(id, wake);
        Some((ended, place))
    }

    /// The caller has gone: cancels the call if it still runs.
    pub(crate) fn cancel(&mut self, id: u32, wake: &mut Wake) {
        let slot = &mut self.slots[id as usize];
        if slot.open && slot.ended.is_none() {
            self.stop(id);
        }
        self.disown(id, wake);
    }

    #[inline]
    fn disown(&mut self, id: u32, wake: &mut Wake) {
        let slot = &mut self.slots[id as usize];
        slot.owned = false;
        slot.place = None;
        slot.ended = None;
        if !slot.open {
            self.release(id, wake);
        }
    }

    /// Tells the callee, or takes the call back if nothing of it has been written: then it says true.
    fn stop(&mut self, id: u32) -> bool {
        if self.chunked.withdraw(id) == Some(Withdrawn::Whole) {
            self.slots[id as usize].open = false;
            return true;
        }
        Frame::new(&mut self.out, kind::CANCEL).number(u64::from(id)).end(0);
        false
    }

    #[inline]
    fn release(&mut self, id: u32, wake: &mut Wake) {
        let slot = &mut self.slots[id as usize];
        if slot.large {
            self.large_bytes -= slot.size;
        } else {
            self.small_bytes -= slot.size;
        }
        slot.owned = false;
        slot.due = Due::Never;
        self.free.push(id);
        if !self.is_waiting_room_empty() {
            self.grant(wake);
        }
    }

    /// Ends all calls whose deadline has passed, and finds the next one.
    pub(crate) fn expire(&mut self, now: Instant, wake: &mut Wake) {
        self.next_deadline = None;
        for id in 0..self.slots.len() {
            let slot = &self.slots[id];
            let Due::At(deadline) = slot.due else { continue };
            if !slot.open || !slot.owned || slot.ended.is_some() {
                continue;
            }
            if deadline > now {
                self.next_deadline = Some(self.next_deadline.map_or(deadline, |next| next.min(deadline)));
                continue;
            }
            self.end(id as u32, deadline_exceeded);
            wake.push(Woken::Slot(id as u32));
        }
    }

    // ---- what the peer answers

    /// A reply has begun: to a call of ours, or the peer has lost its way.
    pub(crate) fn on_reply_begins(&self, id: u32) -> Result<(), Violation> {
        let is_open = self.slots.get(id as usize).is_some_and(|slot| slot.open);
        if is_open { Ok(()) } else { Err(Violation::UnknownReply) }
    }

    /// Items of a reply: false if nobody waits for them any more.
    pub(crate) fn on_items(&self, id: u32) -> Result<bool, Violation> {
        let slot = self.slots.get(id as usize).filter(|slot| slot.open).ok_or(Violation::UnknownReply)?;
        if self.binds.is_unanswered(slot.number) {
            return Err(Violation::UnboundReply);
        }
        Ok(slot.owned && slot.ended.is_none())
    }

    /// A reply. If somebody still waits for it, what it is and where it belongs: the slot is free.
    #[inline]
    pub(crate) fn on_reply(&mut self, id: u32, failed: bool, wake: &mut Wake) -> Result<Option<(Ended, Option<Place>)>, Violation> {
        let slot = self.slots.get_mut(id as usize).filter(|slot| slot.open).ok_or(Violation::UnknownReply)?;
        if self.binds.is_unanswered(slot.number) {
            return Err(Violation::UnboundReply);
        }
        slot.open = false;
        if slot.large {
            // An answer may come before the last chunk has left.
            self.chunked.withdraw(id);
        }
        let slot = &mut self.slots[id as usize];
        if slot.ended.is_some() {
            // Its deadline has come first, and is about to be told.
            return Ok(None);
        }
        let (awaited, place) = (slot.owned, slot.place.take());
        self.release(id, wake);
        Ok(awaited.then_some((if failed { Ended::Failed } else { Ended::Returned }, place)))
    }

    pub(crate) fn on_error(&mut self, failed: &CallFailed<'_>, wake: &mut Wake) -> Result<(), Violation> {
        let slot = self.slots.get_mut(failed.id as usize).filter(|slot| slot.open).ok_or(Violation::UnknownReply)?;
        slot.open = false;
        // A refusal may come before the last chunk has left.
        if slot.large {
            self.chunked.withdraw(failed.id);
        }
        let slot = &mut self.slots[failed.id as usize];
        if !slot.owned {
            self.release(failed.id, wake);
            return Ok(());
        }
        if slot.ended.is_none() {
            let retry_after = failed.retry_after.checked_sub(1).map(std::time::Duration::from_millis);
            let error =
                Error::with(codec::error_kind(failed.code), codec::read_executed(failed.executed), failed.message.to_owned()).after(retry_after);
            slot.ended = Some(Ended::Error(error));
            wake.push(Woken::Slot(failed.id));
        }
        Ok(())
    }

    /// The callee's answer to a bind.
    pub(crate) fn on_bound(&mut self, first: u32, statuses: &[u8], wake: &mut Wake) -> Result<(), Violation> {
        self.binds.on_bound(first, statuses)?;
        if !self.is_waiting_room_empty() {
            self.grant(wake);
        }
        Ok(())
    }

    /// The service of which the callee has sent its schema, if it may.
    pub(crate) fn asked(&self, first: u32) -> Result<&'static Contract, Violation> {
        self.binds.asked(first)
    }

    /// What came of the callee's schema; it is sent ours. Calls to methods that do not work have not run: the callee keeps
    /// them until then, and finds them cancelled.
    pub(crate) fn compared(&mut self, first: u32, compared: Arc<Compared>, ours: &[u8], wake: &mut Wake) {
        for (number, refusal) in self.binds.compared(first, compared) {
            for id in 0..self.slots.len() {
                let slot = &self.slots[id];
                if slot.open && slot.owned && slot.ended.is_none() && slot.number == number {
                    self.end(id as u32, |_| refusal.again(Executed::No));
                    wake.push(Woken::Slot(id as u32));
                }
            }
        }
        codec::write_schema(&mut self.out, true, first, ours);
    }

    /// How the callee writes what this method returns, if not as it would be written here.
    pub(crate) fn writer(&self, contract: &'static Contract, method: usize) -> Option<Arc<Writer>> {
        self.binds.writer(contract, method)
    }

    /// The answer to a ping: of ours, if it has a number of eight bytes.
    pub(crate) fn on_pong(&mut self, echo: &[u8], now: impl FnOnce() -> Instant) {
        if let Ok(number) = echo.try_into()
            && let Some(pace) = self.chunked.pace()
        {
            pace.answered(u64::from_le_bytes(number), now());
        }
    }

    /// Since when large messages wait for answers that the peer owes.
    pub(crate) fn held_since(&self) -> Option<Instant> {
        self.chunked.held_since()
    }

    /// Asks whether the peer is there. Numbered as the pings of large messages are: one answer may stand for both.
    pub(crate) fn ping(&mut self) {
        let number = self.chunked.pace().map_or(0, |pace| pace.last());
        self.frames(|out| Frame::new(out, kind::PING).rest(&number.to_le_bytes()).end(0));
    }

    /// When what was taken last has left.
    pub(crate) fn stamp(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(pace) = self.chunked.pace()
            && pace.wants_stamp()
        {
            pace.stamp(now());
        }
    }

    /// Some chunk has been taken that has no time yet.
    #[cfg(all(test, feature = "json"))]
    pub(crate) fn wants_stamp(&mut self) -> bool {
        self.chunked.pace().is_some_and(|pace| pace.wants_stamp())
    }

    /// The peer leaves. It answers what it still reads; calls after the first `accepted` that it does not read never ran.
    pub(crate) fn on_go_away(&mut self, accepted: u64, wake: &mut Wake) {
        self.accepted = self.accepted.min(accepted);
        self.close(wake);
    }

    /// Takes no new calls; those that wait for a slot have to go elsewhere.
    pub(crate) fn close(&mut self, wake: &mut Wake) {
        if self.phase == Phase::Open {
            self.phase = Phase::Leaving;
            self.wake_waiting(wake);
        }
    }

    /// The connection is gone: every call ends with what is known of it.
    pub(crate) fn lost(&mut self, error: &Error, wake: &mut Wake) {
        if self.phase == Phase::Lost {
            return;
        }
        self.phase = Phase::Lost;
        for id in 0..self.slots.len() {
            let slot = &mut self.slots[id];
            if !slot.open {
                continue;
            }
            slot.open = false;
            if slot.owned && slot.ended.is_none() {
                let executed = if slot.sequence <= self.taken.min(self.accepted) { Executed::Maybe } else { Executed::No };
                slot.ended = Some(Ended::Error(error.again(executed)));
                wake.push(Woken::Slot(id as u32));
            } else if !slot.owned {
                self.release(id as u32, wake);
            }
        }
        self.chunked.clear();
        self.out = Vec::new();
        self.wake_waiting(wake);
    }

    fn wake_waiting(&self, wake: &mut Wake) {
        wake.extend(self.small.iter().chain(&self.large).map(|waiting| Woken::Waiting(waiting.ticket)));
    }

    // ---- binds

    /// The number of this method, bound in the same packet if it was not before.
    ///
    /// # Errors
    /// The callee has said that it does not serve this method, or no number is left.
    #[inline]
    pub(crate) fn number(&mut self, contract: &'static Contract, method: usize) -> Result<u32, Error> {
        self.binds.number(contract, method, &mut self.out)
    }

    /// The number of a method by name.
    ///
    /// # Errors
    /// The callee has said that it does not serve this method, or no number is left.
    #[cfg(feature = "json")]
    pub(crate) fn number_of(&mut self, name: &str) -> Result<u32, Error> {
        self.binds.number_of(name, &mut self.out)
    }

    /// All numbers are bound.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.binds.is_exhausted()
    }

    // ---- our replies and bytes

    /// Appends whole frames, as `frame::codec` writes them.
    #[inline]
    pub(crate) fn frames(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.only_hello = false;
        write(&mut self.out);
    }

    /// A reply that needs more than one frame.
    pub(crate) fn large_reply(&mut self, id: u32, failed: bool, payload: Rope) {
        self.only_hello = false;
        self.chunked.reply(id, failed, payload);
    }

    /// What was taken back, or did not leave before the connection was lost. To be dropped without the lock.
    #[must_use]
    pub(crate) fn take_unsent(&mut self) -> Vec<Rope> {
        self.chunked.take_unsent()
    }

    /// There is something for [`take_unsent`](Self::take_unsent).
    pub(crate) fn has_unsent(&self) -> bool {
        self.chunked.has_unsent()
    }

    /// Bytes that wait to leave.
    pub(crate) fn backlog(&self) -> Backlog {
        Backlog { frames: self.out.len(), large: self.chunked.bytes() }
    }

    /// Nothing waits to leave.
    pub(crate) fn is_idle(&self) -> bool {
        self.out.is_empty() && self.chunked.is_empty()
    }

    /// Something can leave now: not only our hello, and not only what waits for the peer's.
    pub(crate) fn has_output(&self) -> bool {
        self.has_frames() || self.chunked.can_go(self.peer.assembly)
    }

    /// The same of whole frames.
    pub(crate) fn has_frames(&self) -> bool {
        !self.out.is_empty() && !self.only_hello
    }

    /// Moves what can leave now to the end of `batch`; true if large messages wait behind it.
    pub(crate) fn take_batch(&mut self, batch: &mut Batch) -> bool {
        self.chunked.hand_over_unsent(batch);
        if self.chunked.is_empty() && (self.only_hello || self.out.is_empty()) {
            return false;
        }
        self.greeted = true;
        self.only_hello = false;
        // A swap would leave this connection with a buffer as large as the thread's; small batches are copied.
        if batch.is_empty() && self.out.len() > SMALL_BATCH {
            std::mem::swap(&mut batch.frames, &mut self.out);
        } else {
            batch.frames.append(&mut self.out);
        }
        self.taken = self.calls;
        if self.chunked.is_empty() {
            return false;
        }
        let (calls, slots) = (&mut self.calls, &mut self.slots);
        self.chunked.take(batch, self.peer.assembly, |id| {
            *calls += 1;
            slots[id as usize].sequence = *calls;
        });
        self.taken = self.calls;
        !self.chunked.is_empty()
    }
}

/// A call that does not fit in one frame.
pub(crate) fn is_large(payload: usize, head: usize) -> bool {
    payload + head + MAX_HEAD > MAX_FRAME
}

pub(crate) fn deadline_exceeded(executed: Executed) -> Error {
    Error::with(ErrorKind::DeadlineExceeded, executed, "deadline exceeded")
}

/// An error frame.
pub(crate) fn write_error(out: &mut Vec<u8>, id: u32, error: &Error) {
    let retry_after = error.retry_after().map_or(0, |after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1));
    Frame::new(out, kind::ERROR)
        .number(u64::from(id))
        .number(codec::code(error.kind()))
        .byte(codec::executed_byte(error.executed()))
        .number(retry_after)
        .short_text(error.message())
        .end(0);
}

// A method by name is the shortest bind to write.
#[cfg(all(test, feature = "json"))]
#[expect(clippy::unwrap_used, reason = "a test that fails should panic")]
mod tests {
    use super::*;

    /// With one method bound, and a peer that takes this.
    fn outbound(peer: Allowance) -> (Outbound, u32) {
        let mut outbound = Outbound::new();
        outbound.on_hello(peer, &mut Wake::new());
        let number = outbound.number_of("method").unwrap();
        outbound.on_bound(number, &[], &mut Wake::new()).unwrap();
        (outbound, number)
    }

    const PEER: Allowance = Allowance { max_message: 1 << 20, in_flight: 64, call_bytes: 64 << 10, assembly: 1 << 20, schemas: true };

    fn rope(bytes: Vec<u8>) -> Rope {
        Rope::new(payload::share(bytes), None)
    }

    fn slot(begin: Begin) -> u32 {
        match begin {
            Begin::Slot(id) => id,
            Begin::Wait(_) => panic!("it has to wait"),
            Begin::Refused(error) => panic!("{error}"),
        }
    }

    fn ticket(begin: Begin) -> u64 {
        match begin {
            Begin::Wait(ticket) => ticket,
            Begin::Slot(_) => panic!("it need not wait"),
            Begin::Refused(error) => panic!("{error}"),
        }
    }

    fn call(outbound: &mut Outbound, number: u32, length: usize, deadline: Option<Instant>) -> u32 {
        let id = slot(outbound.reserve(length, 0));
        outbound.begin_call(id, 0, number, deadline.map_or(Due::Never, Due::At), &Options::default(), &mut vec![0; length], &mut None);
        id
    }

    fn reply(outbound: &mut Outbound, id: u32) -> Wake {
        let mut wake = Wake::new();
        assert!(matches!(outbound.on_reply(id, false, &mut wake), Ok(Some((Ended::Returned, _)))));
        wake
    }

    fn executed(outbound: &mut Outbound, id: u32) -> Executed {
        match outbound.collect(id, &mut Wake::new()) {
            Some((Ended::Error(error), _)) => error.executed(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn calls_that_were_given_slots_before_a_bind_do_not_all_go_behind_it() {
        static SHOP: Contract = Contract::new("Shop", "", &[crate::service::Method { name: "add", ..crate::service::Method::DEFAULT }]);
        let mut outbound = Outbound::new();
        outbound.on_hello(Allowance { in_flight: 200, ..PEER }, &mut Wake::new());
        let others: Vec<u32> = (0..200).map(|_| slot(outbound.reserve(1, 0))).collect();
        let tickets: Vec<u64> = (0..100).map(|_| ticket(outbound.reserve(1, 0))).collect();
        for id in others {
            outbound.cancel(id, &mut Wake::new());
        }
        let mut sent = 0;
        for ticket in tickets {
            let id = slot(outbound.redeem(ticket, 1, &mut Wake::new()));
            outbound.number(&SHOP, 0).unwrap();
            match outbound.is_early(id) {
                true => outbound.cancel(id, &mut Wake::new()),
                false => sent += 1,
            }
        }
        assert_eq!(sent, BEFORE_HELLO.in_flight, "a callee keeps no more (protocol 9.4)");
    }

    #[test]
    fn calls_beyond_the_allowance_wait_in_order_and_small_ones_do_not_overtake() {
        let (mut outbound, number) = outbound(PEER);
        let first = call(&mut outbound, number, 60_000, None);
        let (second, third) = (ticket(outbound.reserve(50_000, 0)), ticket(outbound.reserve(1, 0)));
        assert!(matches!(outbound.redeem(third, 1, &mut Wake::new()), Begin::Wait(_)), "there is room, but it is not its turn");
        let wake = reply(&mut outbound, first);
        assert_eq!(wake, [Woken::Waiting(second), Woken::Waiting(third)]);
        assert_ne!(slot(outbound.redeem(third, 1, &mut Wake::new())), slot(outbound.redeem(second, 50_000, &mut Wake::new())));
    }

    #[test]
    fn large_calls_wait_while_small_ones_pass() {
        let (mut outbound, number) = outbound(PEER);
        let first = call(&mut outbound, number, 600_000, None);
        let second = ticket(outbound.reserve(600_000, 0));
        call(&mut outbound, number, 1, None);
        outbound.take_batch(&mut Batch::default());
        assert!(reply(&mut outbound, first).contains(&Woken::Waiting(second)));
    }

    #[test]
    fn large_calls_wait_for_the_hello() {
        let mut outbound = Outbound::new();
        let large = ticket(outbound.reserve(100_000, 0));
        slot(outbound.reserve(1, 0));
        let mut wake = Wake::new();
        outbound.on_hello(PEER, &mut wake);
        assert_eq!(wake, [Woken::Waiting(large)]);
    }

    #[test]
    fn who_leaves_the_queue_lets_the_next_one_in() {
        let (mut outbound, number) = outbound(PEER);
        call(&mut outbound, number, 30_000, None);
        let (second, third) = (ticket(outbound.reserve(50_000, 0)), ticket(outbound.reserve(1, 0)));
        let mut wake = Wake::new();
        outbound.leave(second, &mut wake);
        assert_eq!(wake, [Woken::Waiting(third)]);
    }

    #[test]
    fn a_large_call_of_which_nothing_has_left_is_taken_back_and_was_not_executed() {
        let (mut outbound, number) = outbound(PEER);
        outbound.take_batch(&mut Batch::default());
        let now = Instant::now();
        let id = call(&mut outbound, number, 200_000, Some(now));
        outbound.expire(now, &mut Wake::new());
        assert_eq!(executed(&mut outbound, id), Executed::No);
        assert!(outbound.is_idle(), "the peer never hears of it");

        let id = call(&mut outbound, number, 500_000, Some(now));
        outbound.take_batch(&mut Batch::default());
        outbound.expire(now, &mut Wake::new());
        assert_eq!(executed(&mut outbound, id), Executed::Maybe);
        let mut batch = Batch::default();
        outbound.take_batch(&mut batch);
        assert_eq!(batch.frames, [kind::CANCEL, 1, 0, 0, id as u8], "the rest of its chunks stays here");
    }

    #[test]
    fn calls_after_the_count_of_a_go_away_were_not_executed() {
        let (mut outbound, number) = outbound(PEER);
        let (first, second) = (call(&mut outbound, number, 1, None), call(&mut outbound, number, 1, None));
        outbound.take_batch(&mut Batch::default());
        outbound.on_go_away(1, &mut Wake::new());
        assert!(matches!(outbound.reserve(1, 0), Begin::Refused(_)), "no new ones");
        outbound.lost(&Error::new(ErrorKind::Unavailable, "gone"), &mut Wake::new());
        assert_eq!((executed(&mut outbound, first), executed(&mut outbound, second)), (Executed::Maybe, Executed::No));
    }

    #[test]
    fn what_had_not_left_when_the_connection_was_lost_was_not_executed() {
        let (mut outbound, number) = outbound(PEER);
        let first = call(&mut outbound, number, 1, None);
        outbound.take_batch(&mut Batch::default());
        let second = call(&mut outbound, number, 1, None);
        outbound.lost(&Error::new(ErrorKind::Unavailable, "gone"), &mut Wake::new());
        assert_eq!((executed(&mut outbound, first), executed(&mut outbound, second)), (Executed::Maybe, Executed::No));
    }

    #[test]
    fn a_large_reply_that_does_not_fit_yet_is_not_overtaken() {
        let (mut outbound, _) = outbound(PEER);
        outbound.take_batch(&mut Batch::default());
        let mut batch = Batch::default();
        for (id, length) in [(0, 600_000), (1, 1_000_000), (2, 300_000)] {
            outbound.large_reply(id, false, rope(vec![0; length]));
            outbound.take_batch(&mut batch);
        }
        while !outbound.is_idle() {
            let mut more = Batch::default();
            outbound.take_batch(&mut more);
            // All that was asked so far has been read.
            outbound.on_pong(&u64::MAX.to_le_bytes(), Instant::now);
            batch.append(&mut more);
        }
        let (mut rest, mut begun) = (&batch.frames[..], Vec::new());
        while let Ok(Some(header)) = codec::read_header(rest) {
            if header.kind == kind::REPLY {
                begun.push(rest[codec::HEADER]);
            }
            rest = &rest[codec::HEADER + header.length..];
        }
        assert_eq!(begun, [0, 1, 2]);
    }

    #[test]
    fn a_large_call_on_its_way_is_no_reason_to_serve_no_calls() {
        let (mut outbound, number) = outbound(PEER);
        call(&mut outbound, number, 500_000, None);
        assert_eq!(outbound.backlog().large, 0, "it is for this end's replies that its callers wait");
        outbound.large_reply(0, false, rope(vec![0; 300_000]));
        outbound.take_batch(&mut Batch::default());
        assert_eq!(outbound.backlog().large, 300_000, "held until its end has left");
    }

    #[test]
    fn large_messages_take_turns_however_little_leaves_at_once() {
        let (mut outbound, _) = outbound(PEER);
        outbound.take_batch(&mut Batch::default());
        for id in 0..5 {
            outbound.large_reply(id, false, rope(vec![0; 200_000]));
        }
        let mut turns = Vec::new();
        while !outbound.is_idle() {
            let mut batch = Batch::default();
            outbound.take_batch(&mut batch);
            outbound.on_pong(&u64::MAX.to_le_bytes(), Instant::now);
            let mut rest = &batch.frames[..];
            while let Ok(Some(header)) = codec::read_header(rest) {
                if matches!(header.kind, kind::REPLY | kind::REPLY_CHUNK) {
                    turns.push(rest[codec::HEADER]);
                }
                rest = &rest[codec::HEADER + header.length..];
            }
        }
        assert_eq!(turns, [0, 1, 2, 3, 4].repeat(4));
    }

    #[test]
    fn slots_behind_the_last_that_is_in_use_are_given_back() {
        let (mut outbound, number) = outbound(PEER);
        let calls: Vec<u32> = (0..60).map(|_| call(&mut outbound, number, 1, None)).collect();
        for id in &calls {
            if ![9, 20].contains(id) {
                reply(&mut outbound, *id);
            }
        }
        for (waiting, left) in [(20, 21), (9, 10)] {
            outbound.shrink();
            assert_eq!((outbound.slots.len(), outbound.free.len()), (left, left - outbound.in_flight()));
            reply(&mut outbound, waiting);
        }
        outbound.shrink();
        assert_eq!((outbound.slots.len(), outbound.free.len()), (SPARE, SPARE));
        assert!(!outbound.is_awaited(59, 0), "whoever has not looked for an answer since");
        let mut ids: Vec<u32> = (0..6).map(|_| call(&mut outbound, number, 1, None)).collect();
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn an_id_is_used_again_only_after_its_last_frame() {
        let (mut outbound, number) = outbound(PEER);
        let id = call(&mut outbound, number, 1, None);
        outbound.cancel(id, &mut Wake::new());
        assert_ne!(call(&mut outbound, number, 1, None), id, "its caller has gone, but the peer may still answer");
        let failed = CallFailed { id, code: 1, executed: 1, retry_after: 0, message: "" };
        outbound.on_error(&failed, &mut Wake::new()).unwrap();
        assert_eq!(call(&mut outbound, number, 1, None), id);
        outbound.on_reply(9, false, &mut Wake::new()).unwrap_err();
    }
}
