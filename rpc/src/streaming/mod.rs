//! Items that travel during a call: [`Streaming`], what reads them; `upload.rs`, what a caller may pass; `pump.rs`, what sends
//! them. What both share with the connection is `connection/streams.rs`.

mod pump;
mod slow;
mod upload;

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::pump::upload;
use self::pump::{Encoded, Pump};
pub use self::slow::SlowConsumer;
#[cfg(feature = "http")]
pub(crate) use self::upload::Texts;
pub use self::upload::{IntoStreaming, Sender, Upload};
use crate::__private::Request;
use crate::client::pool::Hold;
use crate::connection::link::Link;
use crate::connection::streams::{Arrived, Last, Streams};
use crate::frame::codec;
use crate::frame::limits::{FIRST_WINDOW, MAX_WINDOW};
use crate::frame::payload::{self, Budget, Encoding};
use crate::schema::exchange::Writer;
use crate::{Error, ErrorKind, Executed};

/// A call's streams at this end, and the way to their connection.
#[derive(Clone)]
pub(crate) struct Outlet {
    pub(crate) streams: Arc<Streams>,
    pub(crate) link: Arc<Link>,
    /// Of a call of ours that has returned its stream: it is in flight as long as that is read.
    #[expect(dead_code, reason = "kept, not read")]
    pub(crate) hold: Option<Arc<Hold>>,
    pub(crate) id: u32,
    /// For what this end sends.
    pub(crate) slow: SlowConsumer,
    /// Of what this end sends, and of what arrives.
    pub(crate) encoding: Encoding,
    /// How the other end writes what arrives, if in postcard and not as it would be written here.
    pub(crate) writer: Option<Arc<Writer>>,
}

/// Items that arrive during a call, in order. It is a [`Stream`] of `Result<T, Error>`; [`next`](Self::next) needs no
/// extension trait.
///
/// On a client it is what a method that returns a stream gives; on a server it is the argument that takes the caller's
/// items. Who does not read stops the other end, and nobody else: at most 16 KiB wait here at first, up to 256 KiB once
/// the reader has kept up.
///
/// It ends with `None` after the sender's last item. Anything else is an error first: `Cancelled` when the sender gave up,
/// `Unavailable` when the connection was lost, `DeadlineExceeded`, or what the callee answered. After an error there is
/// nothing more.
///
/// # Cancellation
/// [`next`](Self::next) loses no item when its future is dropped. Dropping the `Streaming` stops the sender: on a client it
/// cancels the call, on a server the caller's items stop and the call goes on.
#[must_use = "a stream does nothing unless it is read"]
pub struct Streaming<T> {
    source: Source<T>,
    item: PhantomData<fn() -> T>,
}

enum Source<T> {
    Remote(Box<Remote>),
    Local(upload::Receiver<T>),
    Ended,
}

/// Items of the other end.
struct Remote {
    outlet: Outlet,
    /// Taken from the connection: items behind their lengths, read up to `at`.
    local: Vec<u8>,
    at: usize,
    /// Bytes of items that were taken since credit was last returned.
    consumed: usize,
    /// Its reader has had to wait for more since then: a longer window may help it.
    waited: bool,
    window: usize,
    budget: Budget,
    name: String,
}

impl<T> Streaming<T> {
    pub(crate) fn over(outlet: Outlet, name: String) -> Self {
        let limits = &outlet.link.limits;
        let budget = Budget { bytes: limits.max_decoded, depth: limits.max_depth };
        let remote = Remote { outlet, local: Vec::new(), at: 0, consumed: 0, waited: false, window: FIRST_WINDOW, budget, name };
        Self { source: Source::Remote(Box::new(remote)), item: PhantomData }
    }

    /// A stream without items.
    pub(crate) fn ended() -> Self {
        Self { source: Source::Ended, item: PhantomData }
    }

    /// A sender and what it sends: hand the stream to a client's method, and send while the call goes on.
    ///
    /// ```
    /// # #[rpc::service] trait Sum { async fn sum(&self, numbers: rpc::Streaming<u64>) -> u64; }
    /// # struct S; impl Sum for S { async fn sum(&self, mut numbers: rpc::Streaming<u64>) -> u64 {
    /// #     let mut sum = 0; while let Some(Ok(n)) = numbers.next().await { sum += n; } sum } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rpc::Error> {
    /// let client = SumClient::local(S);
    /// let (sender, numbers) = rpc::Streaming::channel();
    /// let sum = tokio::spawn(client.sum(numbers).owned());
    /// for number in [1, 2, 3] {
    ///     sender.send(number).await?;
    /// }
    /// sender.finish();
    /// assert_eq!(sum.await.unwrap()?, 6);
    /// # Ok(()) }
    /// ```
    pub fn channel() -> (Sender<T>, Self) {
        let (sender, receiver) = upload::channel();
        (sender, Self { source: Source::Local(receiver), item: PhantomData })
    }
}

impl<T: DeserializeOwned> Streaming<T> {
    /// The next item; `None` after the last one.
    ///
    /// # Errors
    /// See [`Streaming`]; `Malformed` or `TooLarge` when an item cannot be decoded, after which the next ones still can.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        self.poll_read(cx, |remote, bytes| {
            let Outlet { encoding, writer, streams, .. } = &remote.outlet;
            match writer {
                None => payload::decode_item(bytes, *encoding, remote.budget),
                Some(writer) => payload::decode_adapted(bytes, writer, streams.items(), remote.budget),
            }
        })
    }
}

impl<T> Streaming<T> {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, decode: impl FnOnce(&Remote, &[u8]) -> Result<T, Error>) -> Poll<Option<Result<T, Error>>> {
        let item = match &mut self.source {
            Source::Remote(remote) => match remote.poll_bytes(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Next::Item(from, to)) => {
                    let item = decode(remote, &remote.local[from..to]).map_err(|error| error.of_method(&remote.name));
                    remote.take_item(to);
                    return Poll::Ready(Some(item));
                }
                Poll::Ready(Next::Missed(from, to)) => {
                    let count = codec::Fields::new(&remote.local[from..to], "items").number();
                    remote.take_item(to);
                    let text = format!("{}: the consumer was too slow, and items were left out", remote.name);
                    let error = Error::with(ErrorKind::Missed, Executed::Yes, text).with_missed(count.unwrap_or(u64::MAX));
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Next::Last(last)) => {
                    let name = std::mem::take(&mut remote.name);
                    match last {
                        Last::Finished => None,
                        Last::Failed(_) => {
                            Some(Err(Error::new(ErrorKind::Internal, format!("{name}: the method failed after its stream had begun"))))
                        }
                        Last::Error(error) => Some(Err(error.of_method(&name))),
                    }
                }
            },
            Source::Local(receiver) => match receiver.poll_item(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(item))) => return Poll::Ready(Some(Ok(item))),
                Poll::Ready(end) => end,
            },
            Source::Ended => None,
        };
        // Dropped here, a remote stream that has ended stops nobody.
        self.source = Source::Ended;
        Poll::Ready(item)
    }
}

/// An item that is JSON and stays so.
#[cfg(feature = "http")]
pub(crate) struct Text;

#[cfg(feature = "http")]
impl Streaming<Text> {
    /// Appends the next item.
    pub(crate) fn poll_text(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Option<Result<(), Error>>> {
        let append = |_: &Remote, bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok(Text)
        };
        self.poll_read(cx, append).map_ok(|Text| ())
    }
}

enum Next {
    /// An item's place in the local bytes.
    Item(usize, usize),
    /// The place of a number: so many were left out here.
    Missed(usize, usize),
    Last(Last),
}

impl Remote {
    fn poll_bytes(&mut self, cx: &Context<'_>) -> Poll<Next> {
        loop {
            if let Some(next) = self.item() {
                return Poll::Ready(next);
            }
            if self.at > 0 {
                self.local.drain(..self.at);
                self.at = 0;
            }
            if self.local.is_empty() && self.local.capacity() > 2 * MAX_WINDOW {
                self.local = Vec::new();
            }
            let Outlet { streams, link, id, .. } = &self.outlet;
            match streams.poll_read(link, *id, &mut self.local, cx) {
                Poll::Ready(Arrived::Items) => {}
                Poll::Ready(Arrived::Last(last)) => return Poll::Ready(Next::Last(last)),
                Poll::Pending => {
                    self.waited = true;
                    return Poll::Pending;
                }
            }
        }
    }

    /// The next item, if all of it is here.
    fn item(&self) -> Option<Next> {
        let missed = self.local[self.at..].starts_with(&slow::MARK);
        let (mut length, mut shift, mut at) = (0, 0, self.at + if missed { slow::MARK.len() } else { 0 });
        loop {
            let byte = *self.local.get(at)?;
            at += 1;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
        let end = at + length;
        (end <= self.local.len()).then_some(if missed { Next::Missed(at, end) } else { Next::Item(at, end) })
    }

    /// The item that ends here was taken: its bytes may be sent again.
    fn take_item(&mut self, end: usize) {
        let size = end - self.at;
        self.consumed += size;
        self.at = end;
        let Outlet { streams, link, id, .. } = &self.outlet;
        // Only an item that did not fit may have had more than the window.
        let extra = if size > self.window / 2 { streams.taken() } else { 0 };
        // A quarter at a time: the sender goes on while what it has sent is read. Of a short window half.
        if self.consumed >= (self.window / 4).max(FIRST_WINDOW / 2) {
            let returned = self.consumed.saturating_sub(extra);
            self.window += link.return_credit(streams, *id, returned, extra, self.waited);
            (self.consumed, self.waited) = (0, false);
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.outlet.link.leave_stream(&self.outlet.streams, self.outlet.id);
    }
}

impl<T> Unpin for Streaming<T> {}

impl<T: DeserializeOwned> Stream for Streaming<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_item(cx)
    }
}

impl<T> fmt::Debug for Streaming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streaming").finish_non_exhaustive()
    }
}

/// For generated handlers: the caller's items.
pub(crate) fn receive<T>(request: &Request) -> Streaming<T> {
    match request.streams() {
        Some(outlet) => Streaming::over(Outlet::clone(outlet), request.method().name.to_owned()),
        None => Streaming::ended(),
    }
}

/// For generated handlers: sends all items, and ends the call.
pub(crate) async fn send_all<T: Serialize>(request: &Request, stream: impl Stream<Item = T> + Send) {
    let Some(outlet) = request.streams().cloned() else {
        return request.refused(Error::new(ErrorKind::Internal, "a stream has no call"));
    };
    let json = (outlet.encoding == Encoding::Json).then(|| request.results());
    let stream = std::pin::pin!(Encoded { stream: std::pin::pin!(stream), json });
    match Pump::new(outlet, true).run(stream).await {
        Ok(_) => request.finished(),
        Err(error) => request.refused(error.again(Executed::Yes).of_method(request.method().name)),
    }
}
