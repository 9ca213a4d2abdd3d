//! The body of a request that is read line by line: the arguments of a call, then the items of the stream that goes along with them.
//!
//! Nothing is read before somebody asks for the next line, so whoever sends is held up by whoever reads: hyper leaves the rest in
//! the socket.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use tokio::time::{Sleep, sleep};

use super::answer::Answer;
use super::wire::Turn;
use crate::frame::limits::MAX_FRAME;
use crate::streaming::Texts;
use crate::{Error, ErrorKind, Executed};

/// A body and what has been read of it.
pub(super) struct Lines {
    body: Incoming,
    /// From `at` on not given to anyone yet.
    read: Vec<u8>,
    at: usize,
    /// There is no end of a line before this.
    searched: usize,
    /// Of a line: `Limits::max_message`.
    most: usize,
    /// `Limits::progress_timeout`
    patience: Duration,
    /// How long the sender has been waited for, and how much had come of the line then.
    late: Option<(Pin<Box<Sleep>>, usize)>,
    ended: bool,
    turn: Turn,
}

/// Why there is no next line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Broken {
    TooLong(usize),
    Late,
    CutOff,
}

impl Lines {
    pub(super) fn new(body: Incoming, most: usize, patience: Duration, turn: Turn) -> Self {
        // Until it has been read to its end.
        turn.is_half_read(true);
        Self { body, read: Vec::new(), at: 0, searched: 0, most, patience, late: None, ended: false, turn }
    }

    /// The next line that has something in it, without its end.
    pub(super) fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<&[u8], Broken>>> {
        loop {
            if let Some(line) = self.line() {
                self.late = None;
                if self.read[line.clone()].trim_ascii().is_empty() {
                    continue;
                }
                if line.len() > self.most {
                    return Poll::Ready(Some(Err(Broken::TooLong(self.most))));
                }
                return Poll::Ready(Some(Ok(&self.read[line])));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            self.read.drain(..self.at);
            self.searched -= self.at;
            self.at = 0;
            if self.read.is_empty() && self.read.capacity() > 2 * MAX_FRAME {
                self.read = Vec::new();
            }
            if self.read.len() > self.most {
                return Poll::Ready(Some(Err(Broken::TooLong(self.most))));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(Broken::CutOff))),
                Poll::Ready(None) => {
                    self.ended = true;
                    self.turn.is_half_read(false);
                }
                Poll::Pending => return if self.is_late(cx) { Poll::Ready(Some(Err(Broken::Late))) } else { Poll::Pending },
            }
        }
    }

    /// Takes a line that has come whole. The last one needs no end.
    fn line(&mut self) -> Option<Range<usize>> {
        let begin = self.at;
        let end = self.read[self.searched..].iter().position(|byte| *byte == b'\n').map(|at| self.searched + at);
        self.searched = match end {
            Some(end) => end + 1,
            None => self.read.len(),
        };
        match end {
            Some(end) => {
                self.at = self.searched;
                Some(begin..end)
            }
            None if self.ended && begin < self.read.len() => {
                self.at = self.searched;
                Some(begin..self.read.len())
            }
            None => None,
        }
    }

    /// As a frame: so many bytes, or the end of the line, within the time.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let come = self.read.len();
        let (late, _) = match &mut self.late {
            Some(late) if come < late.1 + MAX_FRAME => late,
            late => late.insert((Box::pin(sleep(self.patience)), come)),
        };
        late.as_mut().poll(cx).is_ready()
    }
}

impl Texts for Lines {
    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<&[u8], Error>>> {
        self.poll_line(cx).map(|line| line.map(|line| line.map_err(Broken::error)))
    }
}

impl Broken {
    fn told(self) -> (StatusCode, ErrorKind, String) {
        match self {
            Self::TooLong(most) => {
                let text = format!("a line of the body has more than {most} bytes (Limits::max_message)");
                (StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::TooLarge, text)
            }
            Self::Late => {
                let text = "the body did not arrive in time (Limits::progress_timeout)";
                (StatusCode::REQUEST_TIMEOUT, ErrorKind::DeadlineExceeded, text.to_owned())
            }
            Self::CutOff => {
                let text = "the body was cut off, or its chunks are malformed";
                (StatusCode::BAD_REQUEST, ErrorKind::Malformed, text.to_owned())
            }
        }
    }

    /// To a request that has called nothing.
    pub(super) fn answer(self) -> Answer {
        let (status, kind, text) = self.told();
        Answer::refused(status, kind, &text).closing()
    }

    /// Of a call that has begun.
    fn error(self) -> Error {
        let (_, kind, text) = self.told();
        Error::with(kind, Executed::Maybe, text)
    }
}
