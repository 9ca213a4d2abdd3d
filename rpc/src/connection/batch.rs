//! Bytes on their way to the transport, and the half of it that takes them.
//!
//! Frames stand in one buffer. Parts of large messages stand between them where they are: the transport takes them from
//! there, so they are not copied. `outbound.rs` and the dispatcher fill a batch, `driver.rs` has it written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;

/// Slices that are handed to the transport at once.
const SLICES: usize = 16;

/// A buffer that has grown beyond this is given up.
const LARGE: usize = 256 << 10;

/// What is to be written, in order.
#[derive(Default)]
pub(crate) struct Batch {
    /// Frames, whole but for the parts that stand in `parts`.
    pub(crate) frames: Vec<u8>,
    /// Each belongs before this byte of `frames`.
    parts: VecDeque<(usize, Bytes)>,
    /// Bytes of parts.
    parted: usize,
    /// What is not needed any more, to be dropped without a lock: that may be user code.
    spent: Vec<Bytes>,
}

impl Batch {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { frames: Vec::with_capacity(capacity), ..Self::default() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.parts.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len() + self.parted
    }

    pub(crate) fn capacity(&self) -> usize {
        self.frames.capacity()
    }

    /// A part of a large message, behind all that is here.
    pub(crate) fn part(&mut self, part: Bytes) {
        self.parted += part.len();
        self.parts.push_back((self.frames.len(), part));
    }

    /// A part that does not leave, or has been copied: see [`drop_spent`](Self::drop_spent).
    pub(crate) fn spent(&mut self, part: Bytes) {
        self.spent.push(part);
    }

    /// To be called without a lock when something was taken under one.
    #[inline]
    pub(crate) fn drop_spent(&mut self) {
        if !self.spent.is_empty() {
            self.spent = Vec::new();
        }
    }

    /// Moves all of the other batch behind this one.
    pub(crate) fn append(&mut self, other: &mut Self) {
        let begin = self.frames.len();
        self.parts.extend(other.parts.drain(..).map(|(at, part)| (begin + at, part)));
        self.parted += std::mem::take(&mut other.parted);
        self.frames.append(&mut other.frames);
        self.spent.append(&mut other.spent);
    }
}

/// The writing half of a transport. Under the link's second lock: whoever holds it may move bytes from `Outbound` to the
/// transport, so their order is kept.
pub(crate) struct Writer {
    io: Box<dyn AsyncWrite + Send + Unpin>,
    /// Taken from `Outbound`, not yet taken by the transport.
    rest: Batch,
    /// Frames of it are written up to here,
    at: usize,
    /// and so many bytes of the first part.
    within: usize,
    /// Written but perhaps not flushed.
    dirty: bool,
}

impl Writer {
    pub(crate) fn new(io: Box<dyn AsyncWrite + Send + Unpin>) -> Self {
        Self { io, rest: Batch::default(), at: 0, within: 0, dirty: false }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.is_written() && !self.dirty
    }

    fn is_written(&self) -> bool {
        self.at == self.rest.frames.len() && self.rest.parts.is_empty()
    }

    /// The batch that is written next, for who fills it in place.
    pub(crate) fn batch(&mut self) -> &mut Batch {
        &mut self.rest
    }

    /// Adds a batch behind what waits; the transport's share of the buffer is given back first.
    pub(crate) fn append(&mut self, batch: &mut Batch) {
        if self.rest.is_empty() {
            std::mem::swap(&mut self.rest, batch);
            return;
        }
        if self.at > 0 && !batch.is_empty() {
            self.rest.frames.drain(..self.at);
            self.rest.parts.iter_mut().for_each(|(before, _)| *before -= self.at);
            self.at = 0;
        }
        self.rest.append(batch);
    }

    /// Gives the buffer of a batch that was written whole back to the thread it is from.
    pub(crate) fn give_back(&mut self, batch: &mut Batch) {
        if self.rest.is_empty() && batch.is_empty() {
            std::mem::swap(&mut self.rest, batch);
        }
    }

    /// Parts that have left, or do not: to be dropped without any lock, as that may be user code.
    #[must_use]
    pub(crate) fn take_spent(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.rest.spent)
    }

    /// The transport is gone: nothing is written any more, and its socket is closed.
    pub(crate) fn close(&mut self) {
        let mut rest = std::mem::take(&mut self.rest);
        *self = Self::new(Box::new(tokio::io::sink()));
        rest.spent.extend(rest.parts.drain(..).map(|(_, part)| part));
        self.rest.spent = rest.spent;
    }

    /// Hands all it can to the transport. Ready when nothing is left; `progress` is set when some bytes went.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, progress: &mut bool) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let written = if self.rest.parts.is_empty() {
                Pin::new(&mut self.io).poll_write(cx, &self.rest.frames[self.at..])
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = slices_of(&self.rest, self.at, self.within, &mut slices);
                Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count])
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.advance(written);
                    self.dirty = true;
                    *progress = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.rest.frames.clear();
        self.at = 0;
        if self.rest.capacity() > LARGE {
            self.rest.frames = Vec::new();
        }
        if self.dirty {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.dirty = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let Some((before, part)) = self.rest.parts.front() else {
                self.at += written;
                return;
            };
            let frames = written.min(before - self.at);
            self.at += frames;
            written -= frames;
            let of_part = written.min(part.len() - self.within);
            self.within += of_part;
            written -= of_part;
            if self.at == *before && self.within == part.len() {
                self.rest.parted -= part.len();
                if let Some((_, part)) = self.rest.parts.pop_front() {
                    self.rest.spent(part);
                }
                self.within = 0;
            }
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// What is not written yet, in order; how many slices that is.
fn slices_of<'s>(rest: &'s Batch, mut at: usize, mut within: usize, slices: &mut [IoSlice<'s>; SLICES]) -> usize {
    let mut count = 0;
    let mut add = |bytes: &'s [u8]| {
        if count < SLICES && !bytes.is_empty() {
            slices[count] = IoSlice::new(bytes);
            count += 1;
        }
        count < SLICES
    };
    for (before, part) in &rest.parts {
        if !add(&rest.frames[at..*before]) || !add(&part[within..]) {
            return count;
        }
        (at, within) = (*before, 0);
    }
    add(&rest.frames[at..]);
    count
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should panic")]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use super::*;

    /// Takes a few bytes at a time.
    struct Slow(Arc<Mutex<Vec<u8>>>, usize);

    impl AsyncWrite for Slow {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.1);
            self.0.lock().unwrap().extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }
        fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(self.1).collect();
            self.0.lock().unwrap().extend_from_slice(&all);
            Poll::Ready(Ok(all.len()))
        }
        fn is_write_vectored(&self) -> bool {
            true
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn frames_and_parts_leave_in_order_however_little_is_taken_at_once() {
        let text = "abcPARTdefghLONGERPARTOTHERijFIRST";
        let whole = || {
            let mut batch = Batch::default();
            for (frames, part) in [("abc", "PART"), ("defgh", "LONGERPART"), ("", "OTHER"), ("ij", ""), ("", "FIRST")] {
                batch.frames.extend_from_slice(frames.as_bytes());
                if !part.is_empty() {
                    batch.part(Bytes::from_static(part.as_bytes()));
                }
            }
            assert_eq!(batch.len(), text.len());
            batch
        };
        for size in 1..=text.len() + 1 {
            let taken = Arc::new(Mutex::new(Vec::new()));
            let mut writer = Writer::new(Box::new(Slow(taken.clone(), size)));
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..2 {
                writer.append(&mut whole());
                // Another joins while the first is half written.
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = slices_of(&writer.rest, writer.at, writer.within, &mut slices);
                let written = Pin::new(&mut Slow(taken.clone(), size)).poll_write_vectored(&mut cx, &slices[..count]);
                let Poll::Ready(Ok(written)) = written else { unreachable!("it always takes some") };
                writer.advance(written);
                writer.append(&mut whole());
                assert!(writer.poll_write(&mut cx, &mut false).is_ready());
                assert!(writer.is_empty() && writer.rest.is_empty());
            }
            assert_eq!(String::from_utf8(taken.lock().unwrap().clone()).unwrap(), text.repeat(4), "{size} at once");
        }
    }
}
