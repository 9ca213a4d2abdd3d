//! What a caller may pass for a `Streaming<T>` argument: any stream of `T`, one that is handed on, or one end of a channel.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::Streaming;
#[cfg(feature = "json")]
use super::pump::Values;
#[cfg(feature = "http")]
use super::pump::Written;
use super::pump::{Encoded, Items, encode_item};
use crate::{Error, ErrorKind, Executed};

/// Items that a channel holds before its sender waits.
const CHANNEL: usize = 32;

/// What a client's method takes for a `Streaming<T>` argument: any `Stream<Item = T> + Send + 'static`, or a `Streaming<T>`,
/// be it one that is handed on or that of [`Streaming::channel`].
///
/// The items are sent by a task of their own from when the call is sent, as far as the server reads them. The call's end
/// drops the stream; a stream that ends is a normal end for the server, one that panics or whose item cannot be sent is an
/// error there (`Cancelled`) and fails the call here.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a stream of `{T}`",
    label = "expected an `impl Stream<Item = {T}> + Send + 'static`, or a `Streaming<{T}>`"
)]
pub trait IntoStreaming<T> {
    #[doc(hidden)]
    fn into_upload(self) -> Upload;
}

/// A stream on its way into a call.
pub struct Upload(pub(super) Pin<Box<dyn Items + Send>>);

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}

#[cfg(feature = "json")]
impl Upload {
    /// Items that are JSON, and travel so.
    pub(crate) fn json(items: impl Stream<Item = serde_json::Value> + Send + 'static) -> Self {
        Self(Box::pin(Values(Box::pin(items))))
    }
}

/// Items that are JSON already.
#[cfg(feature = "http")]
pub(crate) trait Texts {
    /// The next item.
    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<&[u8], Error>>>;
}

#[cfg(feature = "http")]
impl Upload {
    /// Items that travel as they are.
    pub(crate) fn texts(texts: impl Texts + Send + Unpin + 'static) -> Self {
        Self(Box::pin(Written(texts)))
    }
}

impl<T: Serialize, S: Stream<Item = T> + Send + 'static> IntoStreaming<T> for S {
    fn into_upload(self) -> Upload {
        Upload(Box::pin(Encoded { stream: Box::pin(self), json: None }))
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> IntoStreaming<T> for Streaming<T> {
    fn into_upload(self) -> Upload {
        Upload(Box::pin(HandedOn(self)))
    }
}

/// Items of another call: an error among them is an abort, not an end.
struct HandedOn<T>(Streaming<T>);

impl<T: Serialize + DeserializeOwned> Items for HandedOn<T> {
    fn poll_item(mut self: Pin<&mut Self>, out: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Option<Result<(), Error>>> {
        match self.0.poll_item(cx) {
            Poll::Ready(Some(Ok(item))) => Poll::Ready(Some(encode_item(&item, out))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The sending end of [`Streaming::channel`].
///
/// Dropping it without [`finish`](Self::finish) aborts the stream: the reader gets an error, never a normal end.
pub struct Sender<T> {
    items: mpsc::Sender<T>,
    finished: Arc<AtomicBool>,
}

impl<T> Sender<T> {
    /// Sends an item; waits while the reader is behind.
    ///
    /// # Errors
    /// `Cancelled` when nobody reads any more: the call has ended, or the server takes no more.
    ///
    /// # Cancellation
    /// The item is sent whole or not at all.
    pub async fn send(&self, item: T) -> Result<(), Error> {
        self.items.send(item).await.map_err(|_| Error::with(ErrorKind::Cancelled, Executed::Maybe, "nobody reads this stream any more"))
    }

    /// Waits until nobody reads any more.
    pub async fn closed(&self) {
        self.items.closed().await;
    }

    /// The last item was sent: a normal end.
    pub fn finish(self) {
        self.finished.store(true, Ordering::Release);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

pub(super) struct Receiver<T> {
    items: mpsc::Receiver<T>,
    finished: Arc<AtomicBool>,
}

pub(super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(CHANNEL);
    let finished = Arc::new(AtomicBool::new(false));
    (Sender { items: sender, finished: finished.clone() }, Receiver { items: receiver, finished })
}

impl<T> Receiver<T> {
    pub(super) fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        self.items.poll_recv(cx).map(|item| match item {
            Some(item) => Some(Ok(item)),
            None if self.finished.load(Ordering::Acquire) => None,
            None => Some(Err(Error::with(ErrorKind::Cancelled, Executed::Maybe, "the sender was dropped before it had finished"))),
        })
    }
}
