//! From a user's stream to frames: as many items as are ready go into one, as far as the other end has room.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::Serialize;

#[cfg(feature = "http")]
use super::Texts;
use super::slow::Waiting;
use super::{Outlet, Upload};
use crate::connection::streams::Over;
use crate::frame::codec::write_varint;
use crate::frame::limits::{BEFORE_HELLO, MAX_FRAME};
use crate::frame::payload::{self, Results};
use crate::server::handler::drop_quietly;
use crate::{Error, ErrorKind, Executed};

/// Bytes of items that are gathered before they are sent. Long enough that a frame costs little beside its items, short enough that
/// other calls find their way between them.
const FRAME: usize = 16 << 10;

/// The most of one item in a frame: with header and id it fills one.
const LONGEST: usize = MAX_FRAME - 16;

/// Items in a row that are taken while nothing can be sent.
const BEHIND: usize = 256;

/// Frames in a row before other tasks get their turn.
const ROUNDS: usize = 4;

/// A stream of values as bytes.
pub(super) trait Items {
    /// Appends the next item behind its length.
    fn poll_item(self: Pin<&mut Self>, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Option<Result<(), Error>>>;
}

/// A user's stream.
pub(super) struct Encoded<S> {
    pub(super) stream: S,
    /// Its items travel as JSON, and this is what they are.
    pub(super) json: Option<Results>,
}

impl<T: Serialize, S: Stream<Item = T> + Unpin> Items for Encoded<S> {
    fn poll_item(mut self: Pin<&mut Self>, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Option<Result<(), Error>>> {
        Pin::new(&mut self.stream).poll_next(cx).map(|item| {
            item.map(|item| {
                let begin = out.len();
                encode_item(&item, out)?;
                match self.json {
                    None => Ok(()),
                    Some(results) => rewrite_item(begin, results, out),
                }
            })
        })
    }
}

/// A user's stream of JSON.
#[cfg(feature = "json")]
pub(super) struct Values<S>(pub(super) S);

#[cfg(feature = "json")]
impl<S: Stream<Item = serde_json::Value> + Unpin> Items for Values<S> {
    fn poll_item(mut self: Pin<&mut Self>, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Option<Result<(), Error>>> {
        let write = |item, out: &mut Vec<u8>| behind_length(out, |out| payload::encode_item_value(&item, u32::MAX as usize, out));
        Pin::new(&mut self.0).poll_next(cx).map(|item| item.map(|item| write(item, out)))
    }
}

/// JSON as it is.
#[cfg(feature = "http")]
pub(super) struct Written<S>(pub(super) S);

#[cfg(feature = "http")]
impl<S: Texts + Unpin> Items for Written<S> {
    fn poll_item(mut self: Pin<&mut Self>, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Option<Result<(), Error>>> {
        let mut write = |text: &[u8]| {
            write_varint(out, text.len() as u64);
            out.extend_from_slice(text);
        };
        self.0.poll_text(cx).map(|text| text.map(|text| text.map(&mut write)))
    }
}

/// The item that begins here in postcard, behind its length, in JSON instead.
#[cold]
fn rewrite_item(begin: usize, results: Results, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut item = payload::buffer();
    let before = out[begin..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
    item.extend_from_slice(&out[begin + before..]);
    out.truncate(begin);
    let written = behind_length(out, |out| payload::rewrite_item(&item, results, u32::MAX as usize, out));
    payload::recycle(item);
    written
}

/// Appends an item behind its length.
pub(super) fn encode_item<T: Serialize + ?Sized>(item: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    behind_length(out, |out| payload::encode_item(item, u32::MAX as usize, out))
}

#[inline]
fn behind_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) -> Result<(), Error> {
    let begin = out.len();
    // Most lengths have one byte.
    out.push(0);
    if let Err(error) = write(out) {
        out.truncate(begin);
        return Err(error);
    }
    let length = out.len() - begin - 1;
    if length < 0x80 {
        out[begin] = length as u8;
        return Ok(());
    }
    let end = out.len();
    write_varint(out, length as u64);
    let more = out.len() - end - 1;
    // The length stands behind the item now: turned round to stand before it, over the byte that was kept for it.
    out[begin..].rotate_right(more + 1);
    out.remove(begin + more + 1);
    Ok(())
}

/// How a pump has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Every item has been sent.
    All,
    /// Nobody wants them any more.
    Unwanted,
}

/// Sends the items of one stream.
pub(super) struct Pump {
    outlet: Outlet,
    /// The callee's first frame says that the stream has begun.
    opens: bool,
    /// Items that are encoded, sent up to `at`.
    pending: Vec<u8>,
    at: usize,
    /// Bytes of them for which credit was taken.
    granted: usize,
    /// Where the last item among them begins, if it is so long that the peer may not take it.
    long: Option<usize>,
    /// What the user's stream said last.
    end: Option<Result<(), Error>>,
    /// What was taken while nothing could be sent.
    waiting: Waiting,
}

impl Pump {
    pub(super) fn new(outlet: Outlet, opens: bool) -> Self {
        let waiting = Waiting::new(outlet.slow);
        Self { outlet, opens, pending: payload::buffer(), at: 0, granted: 0, long: None, end: None, waiting }
    }

    /// # Errors
    /// What kept an item from being sent.
    pub(super) async fn run<I: Items + ?Sized>(mut self, mut items: Pin<&mut I>) -> Result<Pumped, Error> {
        poll_fn(|cx| self.poll(items.as_mut(), cx)).await
    }

    fn poll<I: Items + ?Sized>(&mut self, mut items: Pin<&mut I>, cx: &mut Context<'_>) -> Poll<Result<Pumped, Error>> {
        for _ in 0..ROUNDS {
            self.refill();
            match self.flush(cx) {
                Poll::Ready(Ok(Pumped::All)) => {}
                Poll::Pending if self.waiting.goes_on() => return self.fall_behind(items, cx),
                other => return other,
            }
            if !self.waiting.is_empty() {
                continue;
            }
            match self.end.take() {
                Some(Ok(())) => return Poll::Ready(Ok(Pumped::All)),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => {}
            }
            if self.gather(items.as_mut(), cx).is_pending() && self.pending.is_empty() {
                return self.idle(cx);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Moves what waits to what is sent next.
    fn refill(&mut self) {
        if !self.pending.is_empty() {
            return;
        }
        while self.pending.len() < FRAME
            && self.long.is_none()
            && let Some(begin) = self.waiting.next(&mut self.pending)
        {
            self.long = (self.pending.len() - begin > BEFORE_HELLO.max_message).then_some(begin);
        }
    }

    /// Nothing can be sent now, and the user's stream is not to wait for that.
    fn fall_behind<I: Items + ?Sized>(&mut self, mut items: Pin<&mut I>, cx: &mut Context<'_>) -> Poll<Result<Pumped, Error>> {
        let mut item = Vec::new();
        for _ in 0..BEHIND {
            if self.end.is_some() {
                return Poll::Pending;
            }
            item.clear();
            match items.as_mut().poll_item(&mut item, cx) {
                Poll::Ready(Some(Ok(()))) => {
                    if let Err(error) = self.waiting.push(&item) {
                        return Poll::Ready(Err(error));
                    }
                }
                Poll::Ready(Some(Err(error))) => self.end = Some(Err(error)),
                Poll::Ready(None) => self.end = Some(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what is ready, up to a frame.
    fn gather<I: Items + ?Sized>(&mut self, mut items: Pin<&mut I>, cx: &mut Context<'_>) -> Poll<()> {
        while self.pending.len() < FRAME {
            let before = self.pending.len();
            match items.as_mut().poll_item(&mut self.pending, cx) {
                Poll::Ready(Some(Ok(()))) => {
                    if self.pending.len() - before > BEFORE_HELLO.max_message {
                        self.long = Some(before);
                        break;
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.end = Some(Err(error));
                    break;
                }
                Poll::Ready(None) => {
                    self.end = Some(Ok(()));
                    break;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// The user's stream has nothing: says at least that it has begun, and waits for more or for the end of the call.
    fn idle(&mut self, cx: &Context<'_>) -> Poll<Result<Pumped, Error>> {
        let Outlet { streams, link, id, .. } = &self.outlet;
        if self.opens {
            match link.poll_send_items(streams, *id, &[], cx) {
                Poll::Ready(Ok(())) => self.opens = false,
                Poll::Ready(Err(Over)) => return Poll::Ready(Ok(Pumped::Unwanted)),
                Poll::Pending => return Poll::Pending,
            }
        }
        streams.poll_stopped(cx).map(|()| Ok(Pumped::Unwanted))
    }

    /// Sends what is pending.
    fn flush(&mut self, cx: &Context<'_>) -> Poll<Result<Pumped, Error>> {
        let Outlet { streams, link, id, .. } = &self.outlet;
        while self.at < self.pending.len() {
            // What stands before a long item goes in any case.
            let mut end = self.long.unwrap_or(self.pending.len());
            if end == self.at {
                let Poll::Ready(most) = link.poll_max_message(cx) else { return Poll::Pending };
                end = self.pending.len();
                let before = self.pending[self.at..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
                let length = end - self.at - before;
                if length > most {
                    let text = format!("an item of {length} bytes exceeds the peer's limit of {most} (Limits::max_message)");
                    return Poll::Ready(Err(Error::with(ErrorKind::TooLarge, Executed::Maybe, text)));
                }
                self.long = None;
            }
            if self.granted == 0 {
                match streams.poll_credit((end - self.at).min(LONGEST), cx) {
                    Poll::Ready(Some(granted)) => self.granted = granted,
                    Poll::Ready(None) => return Poll::Ready(Ok(Pumped::Unwanted)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            match link.poll_send_items(streams, *id, &self.pending[self.at..self.at + self.granted], cx) {
                Poll::Ready(Ok(())) => {
                    self.at += self.granted;
                    (self.granted, self.opens) = (0, false);
                }
                Poll::Ready(Err(Over)) => return Poll::Ready(Ok(Pumped::Unwanted)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.pending.clear();
        self.at = 0;
        if self.pending.capacity() > 8 * FRAME {
            self.pending = Vec::with_capacity(FRAME);
        }
        Poll::Ready(Ok(Pumped::All))
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        payload::recycle(std::mem::take(&mut self.pending));
    }
}

/// Sends a caller's items to their end, and says how they ended: never a normal end but after the last one.
pub(crate) async fn upload(outlet: Outlet, Upload(mut items): Upload) {
    let Outlet { streams, link, id, .. } = outlet.clone();
    let mut pump = Pump::new(outlet, false);
    let pumped = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| pump.poll(items.as_mut(), cx))) {
        Ok(poll) => poll,
        Err(panic) => {
            drop_quietly(panic);
            Poll::Ready(Err(Error::with(ErrorKind::Internal, Executed::Maybe, "the stream that was passed to the call panicked")))
        }
    })
    .await;
    match pumped {
        Ok(Pumped::All) => {
            poll_fn(|cx| streams.poll_begun(cx)).await;
            link.end_items(&streams, id);
        }
        Ok(Pumped::Unwanted) => {}
        Err(error) => link.abort_items(&streams, id, &error),
    }
    drop_quietly(items);
}
