//! What leaves on one connection: our calls and their slots, our replies, and the bytes of both. A plain struct: no
//! clock, socket, waker or lock (`link.rs` puts those around it). Its counterpart is `inbound.rs`.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::inbound::CallFailed;
use crate::frame::codec::{self, Frame, Options, flag, kind};
use crate::frame::limits::{Allowance, BEFORE_HELLO, MAX_FRAME, MAX_HEAD, MAX_NAME, NUMBERS};
use crate::frame::violation::Violation;
use crate::service::Contract;
use crate::{Error, ErrorKind, Executed};

/// Bytes handed to the transport at once when large messages are waiting.
const BATCH: usize = 256 << 10;

/// Payload bytes of one chunk: with its header and id it fills a frame.
const CHUNK: usize = MAX_FRAME - 16;

/// What became of a call, as its owner finds it. A payload stands in the slot's buffer.
#[derive(Debug)]
pub(crate) enum Ended {
    Returned,
    Failed,
    Error(Error),
}

/// The place of one of our calls; its index is the call's id on the wire.
#[derive(Default)]
struct Slot {
    /// Somebody waits for the result.
    owned: bool,
    /// The callee has not sent its last frame.
    open: bool,
    large: bool,
    ended: Option<Ended>,
    deadline: Option<Instant>,
    number: u32,
    /// What the call counts for in the callee's allowance.
    size: usize,
    /// The how-manieth call on this connection it is, from 1; the largest number until its frame is written.
    sequence: u64,
    /// The reply; its capacity is kept.
    reply: Vec<u8>,
}

/// What a number stands for at the callee.
struct Bind {
    key: Key,
    first: u32,
    count: u32,
    answer: Option<Box<[u8]>>,
}

enum Key {
    Contract(&'static Contract),
    Name(Box<str>),
}

/// A message that is longer than a frame.
struct Large {
    id: u32,
    /// Of a call; else of a reply.
    call: bool,
    /// The head (for the first frame) and the payload.
    head: Vec<u8>,
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
    /// Of the message: the end of `payload`.
    length: usize,
    /// What has left ends here.
    at: usize,
    begun: bool,
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
    /// Replies of ours under way in chunks, against the peer's allowance.
    reply_bytes: usize,
    small: VecDeque<Waiting>,
    large: VecDeque<Waiting>,
    tickets: u64,
    binds: Vec<Bind>,
    numbers: u32,
    unanswered_binds: usize,
    queue: VecDeque<Large>,
    queued_bytes: usize,
    /// Calls written so far, and how many of them have been handed to the transport.
    calls: u64,
    taken: u64,
    /// The peer has said that it reads no more than this many.
    accepted: u64,
    /// The earliest deadline of an open call, or earlier.
    pub(crate) next_deadline: Option<Instant>,
    /// The peer's go-away said that it has too much to do.
    pub(crate) overloaded: Option<String>,
    /// Preface and hello are on their way.
    pub(crate) greeted: bool,
    /// Nothing but our hello is waiting: better sent with the first call.
    pub(crate) only_hello: bool,
    /// All numbers are bound.
    pub(crate) exhausted: bool,
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
            reply_bytes: 0,
            small: VecDeque::new(),
            large: VecDeque::new(),
            tickets: 0,
            binds: Vec::new(),
            numbers: 0,
            unanswered_binds: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            calls: 0,
            taken: 0,
            accepted: u64::MAX,
            next_deadline: None,
            overloaded: None,
            greeted: false,
            only_hello: false,
            exhausted: false,
        }
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

    pub(crate) fn is_waiting_room_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }

    fn is_large(payload: usize, head: usize) -> bool {
        payload + head + MAX_HEAD > MAX_FRAME
    }

    /// A slot for a call whose payload and metadata are this long.
    #[inline]
    pub(crate) fn reserve(&mut self, payload: usize, metadata: usize) -> Begin {
        let large = Self::is_large(payload, metadata);
        if let Some(refused) = self.refused(payload) {
            return Begin::Refused(refused);
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

    #[inline]
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
        match &self.overloaded {
            Some(message) => Error::new(ErrorKind::Overloaded, message.clone()),
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
        let bytes = if large {
            // A message above the peer's whole allowance is refused once the hello is read; until then it waits.
            self.hello && (self.large_bytes == 0 || self.large_bytes + size <= self.peer.assembly)
        } else {
            self.small_bytes + size <= self.peer.call_bytes
        };
        bytes && (!self.free.is_empty() || self.slots.len() < self.peer.in_flight)
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

    /// Puts the call in its slot on its way. Takes the payload only if it is a large one.
    #[inline]
    pub(crate) fn begin_call(&mut self, id: u32, number: u32, deadline: Option<Instant>, options: &Options<'_>, payload: &mut Vec<u8>) {
        self.only_hello = false;
        let slot = &mut self.slots[id as usize];
        slot.open = true;
        slot.number = number;
        slot.sequence = u64::MAX;
        slot.deadline = deadline;
        slot.ended = None;
        slot.reply.clear();
        if let Some(deadline) = deadline
            && self.next_deadline.is_none_or(|next| deadline < next)
        {
            self.next_deadline = Some(deadline);
        }
        if slot.large {
            let mut head = Vec::new();
            let flags = codec::call_head(&mut head, Some(id), number, options, Some(payload.len()));
            self.queued_bytes += payload.len();
            let payload = std::mem::take(payload);
            let length = payload.len();
            self.queue.push_back(Large { id, call: true, head, kind: kind::CALL, flags, payload, length, at: 0, begun: false });
        } else {
            self.calls += 1;
            slot.sequence = self.calls;
            codec::call(&mut self.out, Some(id), number, options, payload);
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

    /// The result of this call, if it has one; the slot is then free. The payload is swapped into `payload`.
    #[inline]
    pub(crate) fn collect(&mut self, id: u32, payload: &mut Vec<u8>, wake: &mut Wake) -> Option<Ended> {
        let slot = &mut self.slots[id as usize];
        let ended = slot.ended.take()?;
        std::mem::swap(&mut slot.reply, payload);
        self.disown(id, wake);
        Some(ended)
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
        slot.ended = None;
        if !slot.open {
            self.release(id, wake);
        }
    }

    /// Tells the callee, or takes the call back if nothing of it has been written: then it says true.
    fn stop(&mut self, id: u32) -> bool {
        if self.unqueue(id).is_some_and(|large| !large.begun) {
            self.slots[id as usize].open = false;
            return true;
        }
        Frame::new(&mut self.out, kind::CANCEL).number(u64::from(id)).end(0);
        false
    }

    /// Takes a large call off the queue: what has not left never will.
    fn unqueue(&mut self, id: u32) -> Option<Large> {
        let found = self.queue.iter().position(|large| large.call && large.id == id)?;
        let large = self.queue.remove(found)?;
        self.queued_bytes -= large.payload.len() - large.at;
        Some(large)
    }

    #[inline]
    fn release(&mut self, id: u32, wake: &mut Wake) {
        let slot = &mut self.slots[id as usize];
        if slot.large {
            self.large_bytes -= slot.size;
        } else {
            self.small_bytes -= slot.size;
        }
        if slot.reply.capacity() > 4096 {
            slot.reply = Vec::new();
        }
        slot.owned = false;
        slot.deadline = None;
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
            let Some(deadline) = slot.deadline.filter(|_| slot.open && slot.owned && slot.ended.is_none()) else { continue };
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

    /// A reply: its payload goes to its slot, if somebody still waits for it.
    #[inline]
    pub(crate) fn on_reply(&mut self, id: u32, failed: bool, payload: super::inbound::Payload<'_>, wake: &mut Wake) -> Result<(), Violation> {
        let slot = self.slots.get_mut(id as usize).filter(|slot| slot.open).ok_or(Violation::UnknownReply)?;
        if self.unanswered_binds > 0 && self.binds.iter().any(|bind| bind.answer.is_none() && bind.covers(slot.number)) {
            return Err(Violation::UnboundReply);
        }
        slot.open = false;
        if slot.large {
            // An answer may come before the last chunk has left.
            self.unqueue(id);
        }
        let slot = &mut self.slots[id as usize];
        if !slot.owned {
            self.release(id, wake);
            return Ok(());
        }
        // Its deadline may have come first.
        if slot.ended.is_none() {
            slot.ended = Some(if failed { Ended::Failed } else { Ended::Returned });
            match payload {
                super::inbound::Payload::Borrowed(bytes) => slot.reply.extend_from_slice(bytes),
                super::inbound::Payload::Owned(bytes) => slot.reply = bytes,
            }
            wake.push(Woken::Slot(id));
        }
        Ok(())
    }

    pub(crate) fn on_error(&mut self, failed: &CallFailed<'_>, wake: &mut Wake) -> Result<(), Violation> {
        let slot = self.slots.get_mut(failed.id as usize).filter(|slot| slot.open).ok_or(Violation::UnknownReply)?;
        slot.open = false;
        // A refusal may come before the last chunk has left.
        if slot.large {
            self.unqueue(failed.id);
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
    pub(crate) fn on_bound(&mut self, first: u32, statuses: &[u8]) -> Result<(), Violation> {
        let bind = self.binds.iter_mut().find(|bind| bind.first == first && bind.answer.is_none()).ok_or(Violation::Unexpected("bound"))?;
        if !statuses.is_empty() && statuses.len() != bind.count as usize {
            return Err(Violation::BadFrame("bound"));
        }
        bind.answer = Some(statuses.into());
        self.unanswered_binds -= 1;
        Ok(())
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
        self.queue.clear();
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
    /// The callee has said that it does not serve this method.
    #[inline]
    pub(crate) fn number(&mut self, contract: &'static Contract, method: usize) -> Result<u32, Error> {
        let found = self.binds.iter().position(|bind| matches!(bind.key, Key::Contract(known) if std::ptr::eq(known, contract)));
        let found = match found {
            Some(found) => found,
            None => self.bind_service(contract)?,
        };
        let bind = &self.binds[found];
        match bind.status(method) {
            status::EQUAL => Ok(bind.first + method as u32),
            status => Err(refusal(status, &contract.full_name(method), contract.name)),
        }
    }

    /// The number of a method by name.
    ///
    /// # Errors
    /// The callee has said that it does not serve this method.
    pub(crate) fn number_of(&mut self, name: &str) -> Result<u32, Error> {
        let found = self.binds.iter().position(|bind| matches!(&bind.key, Key::Name(known) if **known == *name));
        let found = match found {
            Some(found) => found,
            None => {
                if name.len() > MAX_NAME {
                    return Err(Error::new(ErrorKind::InvalidInput, format!("a method's name has at most {MAX_NAME} bytes")));
                }
                self.has_numbers(1)?;
                Frame::new(&mut self.out, kind::BIND).number(u64::from(self.numbers)).byte(0).text(name).end(0);
                self.bound(Key::Name(name.into()), 1)
            }
        };
        let bind = &self.binds[found];
        match bind.status(0) {
            status::EQUAL => Ok(bind.first),
            status => Err(refusal(status, name, name)),
        }
    }

    fn bind_service(&mut self, contract: &'static Contract) -> Result<usize, Error> {
        let methods = contract.methods;
        self.has_numbers(methods.len())?;
        // Varints of three bytes at most stand before each text.
        let size = contract.name.len() + MAX_HEAD + methods.iter().map(|method| method.name.len() + 3 + 16).sum::<usize>();
        if size > MAX_FRAME {
            let text = format!("{}: the names of its {} methods do not fit a frame of {MAX_FRAME} bytes", contract.name, methods.len());
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let mut frame = Frame::new(&mut self.out, kind::BIND)
            .number(u64::from(self.numbers))
            .byte(1)
            .text(contract.name)
            .hash(contract.hash())
            .number(contract.methods.len() as u64);
        for method in contract.methods {
            frame = frame.text(method.name).hash(method.hash);
        }
        frame.end(0);
        Ok(self.bound(Key::Contract(contract), contract.methods.len() as u32))
    }

    /// Numbers are not given back: a connection that has used them up makes room for another.
    fn has_numbers(&mut self, count: usize) -> Result<(), Error> {
        if self.numbers as usize + count <= NUMBERS {
            return Ok(());
        }
        self.exhausted = true;
        Err(Error::new(ErrorKind::Unavailable, format!("this connection has bound {} methods (protocol 4.1)", self.numbers)))
    }

    fn bound(&mut self, key: Key, count: u32) -> usize {
        self.only_hello = false;
        self.binds.push(Bind { key, first: self.numbers, count, answer: None });
        self.numbers += count;
        self.unanswered_binds += 1;
        self.binds.len() - 1
    }

    // ---- our replies and bytes

    /// Appends whole frames, as `frame::codec` writes them.
    #[inline]
    pub(crate) fn frames(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.only_hello = false;
        write(&mut self.out);
    }

    /// A reply that needs more than one frame: the end of this buffer, from `start` on.
    pub(crate) fn large_reply(&mut self, id: u32, failed: bool, payload: Vec<u8>, start: usize) {
        let length = payload.len() - start;
        let mut head = Vec::new();
        codec::write_varint(&mut head, u64::from(id));
        codec::write_varint(&mut head, length as u64);
        let kind = if failed { kind::FAIL } else { kind::REPLY };
        self.only_hello = false;
        self.queued_bytes += length;
        self.queue.push_back(Large { id, call: false, head, kind, flags: flag::MORE, payload, length, at: start, begun: false });
    }

    /// Bytes that wait to leave.
    pub(crate) fn backlog(&self) -> usize {
        self.out.len() + self.queued_bytes
    }

    /// Nothing waits to leave.
    pub(crate) fn is_idle(&self) -> bool {
        self.out.is_empty() && self.queue.is_empty()
    }

    /// Something can leave now: not only our hello, and not only what waits for the peer's.
    pub(crate) fn has_output(&self) -> bool {
        (!self.out.is_empty() && !self.only_hello) || self.queue.iter().any(|large| self.may_go(large))
    }

    fn may_go(&self, large: &Large) -> bool {
        large.begun || large.call || self.reply_bytes == 0 || self.reply_bytes + large.length <= self.peer.assembly
    }

    /// Moves what can leave now to the end of `batch`.
    pub(crate) fn take_batch(&mut self, batch: &mut Vec<u8>) {
        if self.only_hello && self.queue.is_empty() {
            return;
        }
        self.greeted = true;
        self.only_hello = false;
        if batch.is_empty() {
            std::mem::swap(batch, &mut self.out);
        } else {
            batch.append(&mut self.out);
        }
        while batch.len() < BATCH && !self.queue.is_empty() {
            if !self.take_chunks(batch) {
                break;
            }
        }
        self.taken = self.calls;
    }

    /// One chunk of each large message; false if none can go.
    fn take_chunks(&mut self, batch: &mut Vec<u8>) -> bool {
        let mut any = false;
        let mut held = false;
        for _ in 0..self.queue.len() {
            let Some(mut large) = self.queue.pop_front() else { break };
            // A reply that has to wait is not overtaken by later ones, or it could wait for ever.
            held |= !self.may_go(&large);
            let waits = held && !large.begun && !large.call;
            if waits || batch.len() >= BATCH {
                self.queue.push_back(large);
                continue;
            }
            any = true;
            let chunk = &large.payload[large.at..large.payload.len().min(large.at + CHUNK - if large.begun { 0 } else { large.head.len() })];
            if large.begun {
                let kind = if large.call { kind::CALL_CHUNK } else { kind::REPLY_CHUNK };
                Frame::new(batch, kind).number(u64::from(large.id)).rest(chunk).end(0);
            } else {
                Frame::new(batch, large.kind).rest(&large.head).rest(chunk).end(large.flags);
                if large.call {
                    self.calls += 1;
                    self.slots[large.id as usize].sequence = self.calls;
                } else {
                    self.reply_bytes += large.length;
                }
                large.begun = true;
            }
            self.queued_bytes -= chunk.len();
            large.at += chunk.len();
            if large.at < large.payload.len() {
                self.queue.push_back(large);
            } else if !large.call {
                self.reply_bytes -= large.length;
            }
        }
        any
    }
}

impl Bind {
    fn covers(&self, number: u32) -> bool {
        number >= self.first && number - self.first < self.count
    }

    #[inline]
    fn status(&self, method: usize) -> u8 {
        match &self.answer {
            Some(statuses) => statuses.get(method).copied().unwrap_or(status::EQUAL),
            None => status::EQUAL,
        }
    }
}

/// What a callee says of each method of a bind (protocol 4.2).
pub(crate) mod status {
    pub(crate) const EQUAL: u8 = 0;
    pub(crate) const INCOMPATIBLE: u8 = 1;
    pub(crate) const UNKNOWN_METHOD: u8 = 2;
    pub(crate) const UNKNOWN_SERVICE: u8 = 3;
}

/// The error of a call to a method that the callee does not serve: the same words on both ends.
pub(crate) fn refusal(status: u8, method: &str, service: &str) -> Error {
    match status {
        status::INCOMPATIBLE => {
            Error::new(ErrorKind::Incompatible, format!("{method}: the two ends know this method with different arguments or results"))
        }
        status::UNKNOWN_SERVICE => Error::new(ErrorKind::Unimplemented, format!("{method}: the peer serves no service named {service}")),
        _ => Error::new(ErrorKind::Unimplemented, format!("{method}: the peer serves no such method")),
    }
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should panic")]
mod tests {
    use super::*;
    use crate::connection::inbound::Payload;

    /// With one method bound, and a peer that takes this.
    fn outbound(peer: Allowance) -> (Outbound, u32) {
        let mut outbound = Outbound::new();
        outbound.on_hello(peer, &mut Wake::new());
        let number = outbound.number_of("method").unwrap();
        outbound.on_bound(number, &[]).unwrap();
        (outbound, number)
    }

    const PEER: Allowance = Allowance { max_message: 1 << 20, in_flight: 64, call_bytes: 64 << 10, assembly: 1 << 20 };

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
        outbound.begin_call(id, number, deadline, &Options::default(), &mut vec![0; length]);
        id
    }

    fn reply(outbound: &mut Outbound, id: u32) -> Wake {
        let mut wake = Wake::new();
        outbound.on_reply(id, false, Payload::Borrowed(b"x"), &mut wake).unwrap();
        outbound.collect(id, &mut Vec::new(), &mut wake);
        wake
    }

    fn executed(outbound: &mut Outbound, id: u32) -> Executed {
        match outbound.collect(id, &mut Vec::new(), &mut Wake::new()) {
            Some(Ended::Error(error)) => error.executed(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn calls_beyond_the_allowance_wait_in_order_and_small_ones_do_not_overtake() {
        let (mut outbound, number) = outbound(PEER);
        let first = call(&mut outbound, number, 60_000, None);
        let (second, third) = (ticket(outbound.reserve(50_000, 0)), ticket(outbound.reserve(1, 0)));
        assert!(matches!(outbound.redeem(third, 1, &mut Wake::new()), Begin::Wait(_)), "there is room, but it is not its turn");
        let wake = reply(&mut outbound, first);
        assert_eq!(wake, [Woken::Slot(first), Woken::Waiting(second), Woken::Waiting(third)]);
        assert_ne!(slot(outbound.redeem(third, 1, &mut Wake::new())), slot(outbound.redeem(second, 50_000, &mut Wake::new())));
    }

    #[test]
    fn large_calls_wait_while_small_ones_pass() {
        let (mut outbound, number) = outbound(PEER);
        let first = call(&mut outbound, number, 600_000, None);
        let second = ticket(outbound.reserve(600_000, 0));
        call(&mut outbound, number, 1, None);
        outbound.take_batch(&mut Vec::new());
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
        outbound.take_batch(&mut Vec::new());
        let now = Instant::now();
        let id = call(&mut outbound, number, 200_000, Some(now));
        outbound.expire(now, &mut Wake::new());
        assert_eq!(executed(&mut outbound, id), Executed::No);
        assert!(outbound.is_idle(), "the peer never hears of it");

        let id = call(&mut outbound, number, 500_000, Some(now));
        outbound.take_batch(&mut Vec::new());
        outbound.expire(now, &mut Wake::new());
        assert_eq!(executed(&mut outbound, id), Executed::Maybe);
        let mut batch = Vec::new();
        outbound.take_batch(&mut batch);
        assert_eq!(batch, [kind::CANCEL, 1, 0, 0, id as u8], "the rest of its chunks stays here");
    }

    #[test]
    fn calls_after_the_count_of_a_go_away_were_not_executed() {
        let (mut outbound, number) = outbound(PEER);
        let (first, second) = (call(&mut outbound, number, 1, None), call(&mut outbound, number, 1, None));
        outbound.take_batch(&mut Vec::new());
        outbound.on_go_away(1, &mut Wake::new());
        assert!(matches!(outbound.reserve(1, 0), Begin::Refused(_)), "no new ones");
        outbound.lost(&Error::new(ErrorKind::Unavailable, "gone"), &mut Wake::new());
        assert_eq!((executed(&mut outbound, first), executed(&mut outbound, second)), (Executed::Maybe, Executed::No));
    }

    #[test]
    fn what_had_not_left_when_the_connection_was_lost_was_not_executed() {
        let (mut outbound, number) = outbound(PEER);
        let first = call(&mut outbound, number, 1, None);
        outbound.take_batch(&mut Vec::new());
        let second = call(&mut outbound, number, 1, None);
        outbound.lost(&Error::new(ErrorKind::Unavailable, "gone"), &mut Wake::new());
        assert_eq!((executed(&mut outbound, first), executed(&mut outbound, second)), (Executed::Maybe, Executed::No));
    }

    #[test]
    fn a_large_reply_that_does_not_fit_yet_is_not_overtaken() {
        let (mut outbound, _) = outbound(PEER);
        outbound.take_batch(&mut Vec::new());
        let mut batch = Vec::new();
        for (id, length) in [(0, 600_000), (1, 1_000_000), (2, 300_000)] {
            outbound.large_reply(id, false, vec![0; length], 0);
            outbound.take_batch(&mut batch);
        }
        while !outbound.is_idle() {
            let mut more = Vec::new();
            outbound.take_batch(&mut more);
            batch.append(&mut more);
        }
        let (mut rest, mut begun) = (&batch[..], Vec::new());
        while let Ok(Some(header)) = codec::read_header(rest) {
            if header.kind == kind::REPLY {
                begun.push(rest[codec::HEADER]);
            }
            rest = &rest[codec::HEADER + header.length..];
        }
        assert_eq!(begun, [0, 1, 2]);
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
        outbound.on_reply(9, false, Payload::Borrowed(b""), &mut Wake::new()).unwrap_err();
    }
}
