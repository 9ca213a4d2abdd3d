//! What becomes of a server's stream whose reader does not keep up: [`SlowConsumer`], and the items that wait for one.
//!
//! Part of `pump.rs`, which asks it only once the other end takes nothing more for now.

use std::collections::VecDeque;

use crate::frame::codec::write_varint;
use crate::{Error, ErrorKind, Executed};

/// Bytes of items that wait for a slow consumer, beside those under way, where its stream does not wait.
const MOST: usize = 32 << 10;

/// What a server does with a stream whose consumer does not keep up: chosen by the method,
/// `#[rpc(slow_consumer = "drop_oldest")]`, or for all methods that do not say, by
/// [`Server::slow_consumers`](crate::Server::slow_consumers).
///
/// Up to a window of items (16 KiB at first, up to 256 KiB) is under way to every consumer. This is about what comes after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SlowConsumer {
    /// The stream is not polled until the consumer has taken something. Nothing is lost; whoever feeds the stream waits too.
    #[default]
    Wait,
    /// The stream goes on. The newest 32 KiB of items wait, older ones are left out, and the consumer gets an error in their
    /// place that says how many: of kind [`Missed`](ErrorKind::Missed), see [`Error::missed`]. For streams that go at
    /// their own pace: one that always has a next item would be run through for nothing.
    DropOldest,
    /// The stream goes on until 32 KiB of items wait; then it ends, for its consumer with an error of kind
    /// [`Overloaded`](ErrorKind::Overloaded).
    Close,
}

/// Items that wait, each behind its length, one after the other: small ones, too, cost no more than their bytes.
pub(super) struct Waiting {
    policy: SlowConsumer,
    items: VecDeque<u8>,
    /// How many were left out before the first of them.
    missed: u64,
}

impl Waiting {
    pub(super) fn new(policy: SlowConsumer) -> Self {
        Self { policy, items: VecDeque::new(), missed: 0 }
    }

    /// The stream is taken from even while its consumer takes nothing.
    pub(super) fn goes_on(&self) -> bool {
        self.policy != SlowConsumer::Wait
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds an item that stands behind its length.
    ///
    /// # Errors
    /// Too many wait, and that is the end.
    pub(super) fn push(&mut self, item: &[u8]) -> Result<(), Error> {
        // The last one is kept, however long.
        while self.items.len() + item.len() > MOST && !self.items.is_empty() {
            if self.policy == SlowConsumer::Close {
                let text = format!("the consumer is too slow: more than {MOST} bytes of items wait for it");
                return Err(Error::with(ErrorKind::Overloaded, Executed::Yes, text));
            }
            self.items.drain(..self.first());
            self.missed += 1;
        }
        self.items.extend(item);
        Ok(())
    }

    /// Appends the next one, behind what there is to say of those before it; its place.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        if self.items.is_empty() {
            return None;
        }
        if self.missed > 0 {
            write_missed(std::mem::take(&mut self.missed), out);
        }
        let begin = out.len();
        out.extend(self.items.drain(..self.first()));
        if self.items.is_empty() && self.items.capacity() > 2 * MOST {
            self.items = VecDeque::new();
        }
        Some(begin)
    }

    /// The bytes of the first item and its length.
    fn first(&self) -> usize {
        let (mut length, mut before) = (0, 0);
        for byte in &self.items {
            length |= usize::from(byte & 0x7f) << (7 * before);
            before += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        before + length
    }
}

/// Stands where items were left out (protocol 7.8).
pub(super) const MARK: [u8; 2] = [0x80, 0];

fn write_missed(count: u64, out: &mut Vec<u8>) {
    let mut number = Vec::new();
    write_varint(&mut number, count);
    out.extend_from_slice(&MARK);
    out.push(number.len() as u8);
    out.extend_from_slice(&number);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should panic")]
mod tests {
    use super::*;

    /// About so long with what stands before it.
    fn item(number: u8, length: usize) -> Vec<u8> {
        let mut item = Vec::new();
        super::super::pump::encode_item(&vec![number; length - 6], &mut item).unwrap();
        item
    }

    #[test]
    fn the_newest_wait_and_the_others_are_counted() {
        let mut waiting = Waiting::new(SlowConsumer::DropOldest);
        for number in 0..10 {
            waiting.push(&item(number, MOST / 4)).unwrap();
        }
        let mut out = Vec::new();
        assert_eq!(waiting.next(&mut out), Some(4), "behind the mark");
        assert_eq!(out[..4], [0x80, 0, 1, 6], "six were left out");
        assert_eq!(out[4..], item(6, MOST / 4), "then comes the seventh");
        waiting.push(&item(10, 2 * MOST)).unwrap();
        out.clear();
        assert_eq!(waiting.next(&mut out), Some(4));
        assert_eq!(out[..4], [0x80, 0, 1, 3], "one that is too long by itself takes the place of all others");
        assert_eq!(out[4..], item(10, 2 * MOST));
        assert!(waiting.is_empty());
        waiting.push(&[0]).unwrap();
        out.clear();
        assert_eq!(waiting.next(&mut out), Some(0), "nothing is missed any more");
        assert_eq!(out, [0]);
    }

    #[test]
    fn too_many_close() {
        let mut waiting = Waiting::new(SlowConsumer::Close);
        waiting.push(&item(0, 2 * MOST)).unwrap();
        assert_eq!(waiting.push(&[0]).unwrap_err().kind(), ErrorKind::Overloaded);
    }
}
