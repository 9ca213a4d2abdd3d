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

/// Items that wait, each behind its length.
pub(super) struct Waiting {
    policy: SlowConsumer,
    items: VecDeque<Vec<u8>>,
    bytes: usize,
    /// How many were left out before the first of them.
    missed: u64,
}

impl Waiting {
    pub(super) fn new(policy: SlowConsumer) -> Self {
        Self { policy, items: VecDeque::new(), bytes: 0, missed: 0 }
    }

    /// The stream is taken from even while its consumer takes nothing.
    pub(super) fn goes_on(&self) -> bool {
        self.policy != SlowConsumer::Wait
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// # Errors
    /// Too many wait, and that is the end.
    pub(super) fn push(&mut self, item: Vec<u8>) -> Result<(), Error> {
        self.bytes += item.len();
        self.items.push_back(item);
        // The last one is kept, however long.
        while self.bytes > MOST && self.items.len() > 1 {
            if self.policy == SlowConsumer::Close {
                let text = format!("the consumer is too slow: more than {MOST} bytes of items wait for it");
                return Err(Error::with(ErrorKind::Overloaded, Executed::Yes, text));
            }
            self.bytes -= self.items.pop_front().map_or(0, |item| item.len());
            self.missed += 1;
        }
        Ok(())
    }

    /// Appends the next one, behind what there is to say of those before it; its place.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let item = self.items.pop_front()?;
        self.bytes -= item.len();
        if self.missed > 0 {
            write_missed(std::mem::take(&mut self.missed), out);
        }
        let begin = out.len();
        out.extend_from_slice(&item);
        Some(begin)
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

    fn item(number: u8, length: usize) -> Vec<u8> {
        vec![number; length]
    }

    #[test]
    fn the_newest_wait_and_the_others_are_counted() {
        let mut waiting = Waiting::new(SlowConsumer::DropOldest);
        for number in 0..10 {
            waiting.push(item(number, MOST / 4)).unwrap();
        }
        let mut out = Vec::new();
        assert_eq!(waiting.next(&mut out), Some(4), "behind the mark");
        assert_eq!(out[..5], [0x80, 0, 1, 6, 6], "six were left out, then comes the seventh");
        waiting.push(item(10, 2 * MOST)).unwrap();
        out.clear();
        assert_eq!(waiting.next(&mut out), Some(4));
        assert_eq!(out[..5], [0x80, 0, 1, 3, 10], "one that is too long by itself takes the place of all others");
        assert!(waiting.is_empty() && waiting.bytes == 0);
        waiting.push(item(11, 1)).unwrap();
        out.clear();
        assert_eq!(waiting.next(&mut out), Some(0), "nothing is missed any more");
    }

    #[test]
    fn too_many_close() {
        let mut waiting = Waiting::new(SlowConsumer::Close);
        waiting.push(item(0, 2 * MOST)).unwrap();
        assert_eq!(waiting.push(item(1, 1)).unwrap_err().kind(), ErrorKind::Overloaded);
    }
}
