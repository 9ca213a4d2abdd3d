//! The stream below hyper: both halves of a transport as one, the time a peer may take to read, and what it still says when it is
//! told to go. Also how far a request has come, as seen from down here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::frame::codec::PREFACE;

/// For how long, and how much of, a request that was refused half read is read and thrown away: a socket that is closed with bytes
/// unread resets the connection, and the answer with it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 16 << 20;

/// A stream whose first bytes were read already.
pub(super) struct Begun {
    first: [u8; PREFACE],
    at: usize,
    end: usize,
    read: Box<dyn AsyncRead + Send + Unpin>,
}

impl Begun {
    pub(super) fn new(first: [u8; PREFACE], shown: usize, read: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        Self { first, at: 0, end: shown, read }
    }
}

impl AsyncRead for Begun {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.at == self.end {
            return Pin::new(&mut self.read).poll_read(cx, buffer);
        }
        let count = (self.end - self.at).min(buffer.remaining());
        buffer.put_slice(&self.first[self.at..self.at + count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

/// How far the request of a connection has come.
#[derive(Default)]
pub(super) struct Progress {
    phase: AtomicU8,
    /// How many there were, with this one.
    requests: AtomicU64,
    /// Which one has not been read to its end, and nobody will, or somebody may stop. What is left of an earlier one hyper has read
    /// and thrown away.
    half_read: AtomicU64,
}

/// One request of a connection.
#[derive(Clone)]
pub(super) struct Turn {
    progress: Arc<Progress>,
    number: u64,
}

impl Turn {
    pub(super) fn is_half_read(&self, is_it: bool) {
        let half_read = &self.progress.half_read;
        if is_it {
            half_read.fetch_max(self.number, Ordering::AcqRel);
        } else {
            let _ = half_read.compare_exchange(self.number, 0, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

impl Progress {
    /// There is none, or less than its head.
    const QUIET: u8 = 0;
    /// It has no answer yet.
    const ASKED: u8 = 1;
    /// hyper has all of its answer.
    const ANSWERED: u8 = 2;

    /// The next one.
    pub(super) fn asked(self: &Arc<Self>) -> Turn {
        self.phase.store(Self::ASKED, Ordering::Release);
        Turn { progress: self.clone(), number: 1 + self.requests.fetch_add(1, Ordering::AcqRel) }
    }

    pub(super) fn answered(&self) {
        self.phase.store(Self::ANSWERED, Ordering::Release);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.phase.load(Ordering::Acquire) == Self::QUIET
    }

    fn is_half_read(&self) -> bool {
        let which = self.half_read.load(Ordering::Acquire);
        which > 0 && which == self.requests.load(Ordering::Acquire)
    }

    /// What was written has left.
    fn flushed(&self) {
        let _ = self.phase.compare_exchange(Self::ANSWERED, Self::QUIET, Ordering::AcqRel, Ordering::Acquire);
    }
}

pub(super) struct Wire {
    read: Box<dyn AsyncRead + Send + Unpin>,
    write: Box<dyn AsyncWrite + Send + Unpin>,
    progress: Arc<Progress>,
    write_timeout: Duration,
    /// The peer has taken nothing since this was set.
    stalled: Option<Pin<Box<Sleep>>>,
    lingers: Option<Pin<Box<Sleep>>>,
    thrown_away: usize,
}

impl Wire {
    pub(super) fn new(
        read: Box<dyn AsyncRead + Send + Unpin>,
        write: Box<dyn AsyncWrite + Send + Unpin>,
        progress: Arc<Progress>,
        write_timeout: Duration,
    ) -> Self {
        Self { read, write, progress, write_timeout, stalled: None, lingers: None, thrown_away: 0 }
    }

    /// What came of a write, unless that has taken too long.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read (Limits::write_timeout)")))
    }

    /// Ready when the peer has said all it had to say, or enough of it.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut unread = [0; 4096];
        while self.thrown_away < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut unread);
            match Pin::new(&mut self.read).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.thrown_away += buffer.filled().len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.lingers.get_or_insert_with(|| Box::pin(sleep(LINGER))).as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.write).poll_write(cx, bytes);
        self.in_time(cx, polled)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.write).poll_write_vectored(cx, bytes);
        self.in_time(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.write).poll_flush(cx);
        let flushed = ready!(self.in_time(cx, polled));
        self.progress.flushed();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.write).poll_shutdown(cx);
        ready!(self.in_time(cx, polled))?;
        if self.progress.is_half_read() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
