//! Messages that come in chunks, put together as they come (protocol 5.3).
//!
//! Part of `inbound.rs`, which knows what a message means and whether it may be sent. Here it is only bytes: how many have
//! come, how many are still to come, and how much may be reserved for them.

use std::time::Duration;

use bytes::BufMut;
use bytes::buf::Limit;

use crate::frame::codec::{Fields, Header, Ways, kind};
use crate::frame::limits::MAX_FRAME;
use crate::frame::payload;
use crate::frame::violation::Violation;

/// The rest of a chunk that is longer than this is worth a read of its own: then it is not copied.
const DIRECT: usize = 16 << 10;

/// What its first frame said of a message.
pub(crate) enum Begun {
    Call { number: u32, deadline: Option<Duration>, metadata: Vec<u8>, json: Option<Ways> },
    Reply { failed: bool },
}

/// A message of which all has come.
pub(crate) struct Whole {
    pub(crate) id: u32,
    pub(crate) begun: Begun,
    pub(crate) bytes: Vec<u8>,
}

/// A message of which some chunks have come.
struct Assembly {
    id: u32,
    total: usize,
    bytes: Vec<u8>,
    /// They stand in a buffer that was there before, with room for all of them.
    lent: Option<payload::Lent>,
    begun: Begun,
}

/// What some bytes did to the chunk that they belong to.
pub(crate) struct Taken {
    pub(crate) bytes: usize,
    /// They were its last.
    pub(crate) ends_frame: bool,
    /// And its message's.
    pub(crate) whole: Option<Whole>,
}

/// The messages that are being put together, and the chunk that is coming.
#[derive(Default)]
pub(crate) struct Assemblies {
    messages: Vec<Assembly>,
    /// Bytes of replies under way.
    reply_bytes: usize,
    /// Of a chunk that is taken as it comes: the message, if it is still wanted, and the bytes to come.
    partial: Option<(Option<usize>, usize)>,
    /// A message whose last bytes were read where it was put together.
    completed: Option<usize>,
}

impl Assemblies {
    /// No message is incomplete.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.partial.is_none()
    }

    /// Bytes of replies under way.
    pub(crate) fn reply_bytes(&self) -> usize {
        self.reply_bytes
    }

    /// A reply to this call has begun.
    pub(crate) fn has_reply(&self, id: u32) -> bool {
        self.find(id, false).is_some()
    }

    fn find(&self, id: u32, of_call: bool) -> Option<usize> {
        self.messages.iter().position(|message| message.id == id && matches!(message.begun, Begun::Call { .. }) == of_call)
    }

    /// The first part of a message.
    pub(crate) fn begin(&mut self, id: u32, total: usize, first: &[u8], begun: Begun) -> Result<Option<Whole>, Violation> {
        let mut message = Assembly { id, total, bytes: Vec::new(), lent: None, begun };
        message.take(first)?;
        if matches!(message.begun, Begun::Reply { .. }) {
            self.reply_bytes += total;
        }
        self.messages.push(message);
        Ok(self.complete(self.messages.len() - 1))
    }

    /// The head of a chunk: its length, once all of it is there.
    pub(crate) fn chunk(&mut self, header: Header, body: &[u8]) -> Result<Option<usize>, Violation> {
        let whole = body.len() >= header.length;
        let body = &body[..body.len().min(header.length)];
        let mut fields = Fields::new(body, "chunk");
        let id = match fields.small() {
            Ok(id) => id,
            // An id has at most five bytes.
            Err(_) if !whole && body.len() < 5 => return Ok(None),
            Err(violation) => return Err(violation),
        };
        let used = body.len() - fields.rest().len();
        if used == header.length {
            return Err(Violation::BadFrame("chunk"));
        }
        // Chunks of a message that was refused or cancelled may still be on their way (protocol 5.3).
        self.partial = Some((self.find(id, header.kind == kind::CALL_CHUNK), header.length - used));
        Ok(Some(used))
    }

    /// As many of these bytes as belong to the chunk that is coming; none if none is.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Option<Taken>, Violation> {
        let Some((message, left)) = self.partial else { return Ok(None) };
        let chunk = &bytes[..bytes.len().min(left)];
        let mut taken = Taken { bytes: chunk.len(), ends_frame: chunk.len() == left, whole: None };
        self.partial = (!taken.ends_frame).then_some((message, left - chunk.len()));
        let Some(message) = message.filter(|_| !chunk.is_empty()) else { return Ok(Some(taken)) };
        self.messages[message].take(chunk)?;
        if self.messages[message].is_whole() && !taken.ends_frame {
            return Err(Violation::BadFrame("chunk"));
        }
        taken.whole = self.complete(message);
        Ok(Some(taken))
    }

    /// Where the rest of a long chunk belongs, with room for no more than that: it may be read right there.
    pub(crate) fn direct(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        let (Some(message), left) = self.partial? else { return None };
        let message = &mut self.messages[message];
        let came = message.bytes.len();
        // What was declared justifies a frame; what has come, as much again (protocol 5.3).
        let most = if message.lent.is_some() { message.total } else { (2 * came).max(MAX_FRAME).min(message.total) };
        let room = left.min(most - came);
        if room < DIRECT {
            return None;
        }
        message.make_room(room, most);
        Some((&mut message.bytes).limit(room))
    }

    /// So many bytes were read there; true if they end the frame. What they complete is [`completed`](Self::completed).
    pub(crate) fn took(&mut self, count: usize) -> Result<bool, Violation> {
        let Some((Some(message), left)) = self.partial else { return Ok(false) };
        self.partial = (count < left).then_some((Some(message), left - count));
        if !self.messages[message].is_whole() {
            return Ok(self.partial.is_none());
        }
        if self.partial.is_some() {
            return Err(Violation::BadFrame("chunk"));
        }
        self.completed = Some(message);
        Ok(true)
    }

    /// The message whose last bytes were read where it was put together.
    pub(crate) fn completed(&mut self) -> Option<Whole> {
        self.completed.take().and_then(|message| self.complete(message))
    }

    /// Takes this message out, if its last chunk has come.
    fn complete(&mut self, message: usize) -> Option<Whole> {
        if !self.messages[message].is_whole() {
            return None;
        }
        let Assembly { id, total, bytes, begun, .. } = self.messages.swap_remove(message);
        if matches!(begun, Begun::Reply { .. }) {
            self.reply_bytes -= total;
        }
        Some(Whole { id, begun, bytes })
    }

    /// Forgets a call; true if it was not complete.
    pub(crate) fn abandon_call(&mut self, id: u32) -> bool {
        // Frames are acted on when they are whole, so no chunk of any message is half taken here.
        self.find(id, true).inspect(|found| payload::recycle(self.messages.swap_remove(*found).bytes)).is_some()
    }

    /// Forgets a reply that an error ends.
    pub(crate) fn abandon_reply(&mut self, id: u32) {
        if let Some(found) = self.find(id, false) {
            let Assembly { total, bytes, .. } = self.messages.swap_remove(found);
            self.reply_bytes -= total;
            payload::recycle(bytes);
        }
    }

    /// Bytes of memory that were reserved and are held.
    #[cfg(test)]
    pub(crate) fn reserved(&self) -> usize {
        self.messages.iter().filter(|message| message.lent.is_none()).map(|message| message.bytes.capacity()).sum()
    }

    /// Bytes of memory that were there before, and are lent.
    #[cfg(test)]
    pub(crate) fn lent(&self) -> usize {
        self.messages.iter().filter(|message| message.lent.is_some()).map(|message| message.bytes.capacity()).sum()
    }
}

impl Assembly {
    fn is_whole(&self) -> bool {
        self.bytes.len() == self.total
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Violation> {
        if chunk.is_empty() || self.bytes.len() + chunk.len() > self.total {
            return Err(Violation::BadFrame("chunk"));
        }
        // No more than what has come justifies: at most twice that (protocol 5.3).
        self.make_room(chunk.len(), (2 * (self.bytes.len() + chunk.len())).min(self.total));
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// Room for so many more bytes; if there is none, for `most` in all, or in a buffer that waits for its next message. One that has grown
    /// goes on to grow, and is one more that fits the next: as long as there are too few, others would find none when they begin either.
    fn make_room(&mut self, more: usize, most: usize) {
        if self.bytes.capacity() - self.bytes.len() >= more {
            return;
        }
        let begins = most > MAX_FRAME && self.bytes.capacity() <= payload::LARGEST;
        match begins.then(|| payload::advance(self.total)).flatten() {
            Some((mut larger, lent)) => {
                larger.extend_from_slice(&self.bytes);
                payload::recycle(std::mem::replace(&mut self.bytes, larger));
                self.lent = Some(lent);
            }
            None => self.bytes.reserve_exact(most - self.bytes.len()),
        }
    }
}
