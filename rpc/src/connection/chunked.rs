//! Messages that are longer than a frame, on their way out chunk by chunk between other frames (protocol 5.3).
//!
//! Part of `outbound.rs`. They are put together again in `inbound.rs`.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::batch::Batch;
use super::pace::Pace;
use crate::frame::codec::{self, Frame, flag, kind};
use crate::frame::limits::MAX_FRAME;
use crate::frame::payload::Rope;

/// Bytes handed to the transport at once when large messages are waiting: of half as many the reader, who is woken for each, sleeps between
/// two.
const BATCH: usize = 256 << 10;

/// The last chunk of a shorter message is not asked after.
const PROBED: usize = 128 << 10;

/// Payload bytes of one chunk: with its header and id it fills a frame.
const CHUNK: usize = MAX_FRAME - 16;

/// Large messages, one chunk of each after the other; those that have not begun, in the order they came.
#[derive(Default)]
pub(crate) struct Chunked {
    queue: VecDeque<Message>,
    /// What was taken back of messages that are a user's in part: not to be dropped under the lock.
    unsent: Vec<Rope>,
    /// Of replies that have not left to their end: until then they are held whole.
    bytes: usize,
    /// Of replies that have begun to leave and are not complete: what they take of the peer's allowance.
    replies: usize,
    /// None until some chunk has left: most connections carry no large message.
    pace: Option<Box<Pace>>,
    /// The transport takes chunks from where they are; else they are copied between the other frames.
    pub(super) vectored: bool,
}

struct Message {
    id: u32,
    /// Of a call; else of a reply.
    call: bool,
    kind: u8,
    flags: u8,
    /// What stands before the payload in the first frame.
    head: Vec<u8>,
    /// What has not left.
    payload: Rope,
    /// How long it was.
    length: usize,
    begun: bool,
}

/// How much of a call was still there when it was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// All: the peer never hears of it.
    Whole,
    /// The end; the peer has its beginning.
    Rest,
}

impl Chunked {
    /// Nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of replies that have not left.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        let Self { queue, mut unsent, vectored, .. } = std::mem::take(self);
        unsent.extend(queue.into_iter().map(|message| message.payload).filter(Rope::is_shared));
        *self = Self { vectored, unsent, ..Self::default() };
    }

    /// See [`Outbound::take_unsent`](super::outbound::Outbound::take_unsent).
    pub(crate) fn take_unsent(&mut self) -> Vec<Rope> {
        std::mem::take(&mut self.unsent)
    }

    /// See [`Outbound::has_unsent`](super::outbound::Outbound::has_unsent).
    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// As [`take_unsent`](Self::take_unsent), for who is about to have a batch.
    #[inline]
    pub(crate) fn hand_over_unsent(&mut self, batch: &mut Batch) {
        if !self.unsent.is_empty() {
            self.unsent.drain(..).flat_map(Rope::into_parts).for_each(|part| batch.spent(part));
        }
    }

    /// How much of them is under way, if any ever was.
    pub(crate) fn pace(&mut self) -> Option<&mut Pace> {
        self.pace.as_deref_mut()
    }

    /// Another chunk may leave.
    fn has_room(&self) -> bool {
        self.pace.as_ref().is_none_or(|pace| pace.has_room())
    }

    /// A call, with its head as it stands in the first frame.
    pub(crate) fn call(&mut self, id: u32, head: Vec<u8>, flags: u8, payload: Rope) {
        let length = payload.len();
        self.queue.push_back(Message { id, call: true, kind: kind::CALL, flags, head, payload, length, begun: false });
    }

    /// A reply.
    pub(crate) fn reply(&mut self, id: u32, failed: bool, payload: Rope) {
        let length = payload.len();
        let mut head = Vec::new();
        codec::write_varint(&mut head, u64::from(id));
        codec::write_varint(&mut head, length as u64);
        let kind = if failed { kind::FAIL } else { kind::REPLY };
        self.bytes += length;
        self.queue.push_back(Message { id, call: false, kind, flags: flag::MORE, head, payload, length, begun: false });
    }

    /// Takes a call off the queue, if it is on it: what has not left never will.
    pub(crate) fn withdraw(&mut self, id: u32) -> Option<Withdrawn> {
        let found = self.queue.iter().position(|message| message.call && message.id == id)?;
        let message = self.queue.remove(found)?;
        if message.payload.is_shared() {
            self.unsent.push(message.payload);
        }
        Some(if message.begun { Withdrawn::Rest } else { Withdrawn::Whole })
    }

    /// Some chunk can leave now, or something waits to be dropped by who takes a batch. `allowance` is what the peer takes of replies under
    /// way.
    pub(crate) fn can_go(&self, allowance: usize) -> bool {
        !self.unsent.is_empty() || (!self.queue.is_empty() && self.has_room() && self.next(allowance).is_some())
    }

    /// The place of the message whose turn it is.
    fn next(&self, allowance: usize) -> Option<usize> {
        let mut held = false;
        self.queue.iter().position(|message| {
            // A reply that has to wait is not overtaken by later ones, or it could wait for ever.
            let waits = !message.begun && !message.call && (held || !self.fits(message, allowance));
            held |= waits;
            !waits
        })
    }

    /// Since when some chunk waits for nothing but the peer to say that it has read others.
    pub(crate) fn held_since(&self) -> Option<Instant> {
        if self.queue.is_empty() || self.has_room() { None } else { self.pace.as_ref()?.owed_since() }
    }

    /// There is room for one more reply at the peer.
    fn fits(&self, reply: &Message, allowance: usize) -> bool {
        self.replies == 0 || self.replies + reply.length <= allowance
    }

    /// Moves chunks to the end of `batch`, until that is large enough. Told of each call as it begins.
    pub(crate) fn take(&mut self, batch: &mut Batch, allowance: usize, mut begins: impl FnMut(u32)) {
        while batch.len() < BATCH && self.has_room() {
            let Some(mut message) = self.next(allowance).and_then(|next| self.queue.remove(next)) else { return };
            self.take_chunk(&mut message, batch, &mut begins);
            if !message.payload.is_empty() {
                self.queue.push_back(message);
                continue;
            }
            if !message.call {
                self.bytes -= message.length;
                self.replies -= message.length;
            }
        }
    }

    fn take_chunk(&mut self, message: &mut Message, batch: &mut Batch, begins: &mut impl FnMut(u32)) {
        let pace = self.pace.get_or_insert_default();
        let room = if message.begun { CHUNK } else { CHUNK - message.head.len() }.min(pace.chunk());
        let length = message.payload.len().min(room);
        if message.begun {
            let kind = if message.call { kind::CALL_CHUNK } else { kind::REPLY_CHUNK };
            Frame::new(&mut batch.frames, kind).number(u64::from(message.id)).end_before(0, length);
        } else {
            Frame::new(&mut batch.frames, message.kind).rest(&message.head).end_before(message.flags, length);
            if message.call {
                begins(message.id);
            } else {
                self.replies += message.length;
            }
            message.begun = true;
        }
        let mut left = length;
        while left > 0 {
            let part = message.payload.take(left);
            left -= part.len();
            if self.vectored {
                batch.part(part);
            } else {
                batch.frames.extend_from_slice(&part);
                if message.payload.is_shared() {
                    batch.spent(part);
                }
            }
        }
        // Short ones are soon over: only what goes on waits for others.
        if !message.payload.is_empty() || message.length > PROBED {
            let number = pace.sent(length);
            Frame::new(&mut batch.frames, kind::PING).rest(&number.to_le_bytes()).end(0);
        }
    }
}
