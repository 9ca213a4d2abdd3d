//! One call from the caller's side: encoded at once, sent at the first poll, awaited, cancelled when dropped.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep};

use super::Inner;
use super::redial::{Attempt, Hold, Lease};
use crate::connection::cell::Cell;
use crate::connection::link::{Callee, Link, Outgoing, Submitted};
use crate::connection::outbound::{Ended, deadline_exceeded, is_large};
use crate::connection::streams::{Last, Role, Streams};
use crate::context::inherited_deadline;
use crate::frame::codec;
use crate::frame::limits::{DEFAULT_TIMEOUT, MAX_METADATA};
use crate::frame::payload::{self, Budget, Encoding, Fault};
use crate::schema::exchange::Writer;
use crate::schema::{Reader, Root};
use crate::service::Method;
use crate::streaming::{self, Outlet, Streaming, Upload};
use crate::{CallError, Error, ErrorKind, Executed, SlowConsumer};

/// A call that has not been sent yet. `O` is what `.await` gives.
///
/// It is sent at the first poll, and cancelled on the server when it is dropped before it is ready. It borrows the client
/// unless [`owned`](Self::owned).
#[must_use = "a call is sent when it is awaited"]
pub struct Call<'c, O> {
    raw: Raw<'c>,
    output: PhantomData<fn() -> O>,
}

/// A call without the type of its result: all that is compiled once.
struct Raw<'c> {
    client: Lent<'c>,
    callee: Callee,
    state: State,
    timeout: Option<Duration>,
    /// None: no deadline. Known after the first poll.
    deadline: Option<Instant>,
    /// It has been polled.
    begun: bool,
    /// Connections that took no calls any more when this one came to them.
    left: u8,
    metadata: Vec<(String, String)>,
    oneway: bool,
    /// Of a method that streams.
    streams: Option<Box<Parts>>,
    /// Fires while the call waits without a slot, which has no deadline of its own.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What a call has beside a unary one.
struct Parts {
    /// Until the call is sent.
    upload: Option<Upload>,
    streams: Arc<Streams>,
    link: Option<Arc<Link>>,
}

enum Lent<'c> {
    Borrowed(&'c Arc<Inner>),
    Owned(Arc<Inner>),
}

impl Lent<'_> {
    fn inner(&self) -> &Arc<Inner> {
        match self {
            Self::Borrowed(inner) => inner,
            Self::Owned(inner) => inner,
        }
    }
}

enum State {
    /// Encoded, not sent.
    New(Vec<u8>),
    /// Could not be encoded.
    Refused(Error),
    /// Waits for a connection.
    Dialing(Vec<u8>, Arc<Attempt>),
    /// Waits for its turn on this connection.
    Waiting(Vec<u8>, Arc<Hold>, u64),
    /// On its way; the buffer will be swapped for the reply's.
    Sent(Vec<u8>, Arc<Hold>, u32, Arc<Cell>),
    Ended,
}

impl<'c, O> Call<'c, O> {
    pub(crate) fn new(client: &'c Arc<Inner>, callee: Callee, oneway: bool, encode: impl FnOnce(usize, &mut Vec<u8>) -> Result<(), Error>) -> Self {
        let mut body = payload::buffer();
        let state = match encode(u32::MAX as usize, &mut body) {
            Ok(()) => State::New(body),
            Err(error) => State::Refused(error),
        };
        let raw = Raw {
            client: Lent::Borrowed(client),
            callee,
            state,
            timeout: None,
            deadline: None,
            begun: false,
            left: 0,
            metadata: Vec::new(),
            oneway,
            streams: None,
            timer: None,
        };
        Self { raw, output: PhantomData }
    }

    /// A call to a method that takes a stream, or returns one.
    pub(crate) fn streaming(mut self, method: &Method, upload: Option<Upload>) -> Self {
        let streams = Streams::new(Role::Caller, method.downloads, upload.is_some().then_some(0));
        self.raw.streams = Some(Box::new(Parts { upload, streams, link: None }));
        self
    }

    /// Gives up after this long, counted from the first poll. The server knows and stops too.
    ///
    /// Without it the method's own timeout holds, or the client's; a call with streams has none of the client's. A call made inside a handler never has more time than
    /// that handler.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.raw.timeout = Some(after);
        self
    }

    /// Sends this pair along: see [`Context::metadata`](crate::Context::metadata).
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.raw.metadata.push((key.into(), value.into()));
        self
    }

    /// Independent of the client's lifetime: for `tokio::spawn`, and collections that outlive it.
    pub fn owned(mut self) -> Call<'static, O> {
        let raw = &mut self.raw;
        Call {
            raw: Raw {
                client: Lent::Owned(raw.client.inner().clone()),
                callee: raw.callee.clone(),
                state: std::mem::replace(&mut raw.state, State::Ended),
                timeout: raw.timeout,
                deadline: raw.deadline,
                begun: raw.begun,
                left: raw.left,
                metadata: std::mem::take(&mut raw.metadata),
                oneway: raw.oneway,
                streams: raw.streams.take(),
                timer: raw.timer.take(),
            },
            output: PhantomData,
        }
    }
}

impl<O> std::fmt::Debug for Call<'_, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("method", &self.raw.callee.name()).finish_non_exhaustive()
    }
}

/// Nothing in a call is pinned.
impl<O> Unpin for Call<'_, O> {}

impl<O: Returned> Future for Call<'_, O> {
    type Output = O;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<O> {
        let Poll::Ready(ended) = self.raw.poll(cx) else { return Poll::Pending };
        Poll::Ready(O::returned(ended))
    }
}

impl Raw<'_> {
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Reply> {
        if self.streams.is_some() && matches!(self.state, State::Sent(..)) {
            return self.poll_streams(cx);
        }
        match &mut self.state {
            State::Sent(buffer, link, _, cell) => match cell.poll(buffer, cx) {
                Poll::Ready(ended) => {
                    let writer = link.writer_of(&self.callee);
                    let buffer = std::mem::take(buffer);
                    self.settled();
                    let mut reply = self.reply(Ok(ended), buffer);
                    reply.writer = writer;
                    Poll::Ready(reply)
                }
                Poll::Pending => Poll::Pending,
            },
            State::New(_) if !self.begun => {
                self.begun = true;
                let begun = self.begin();
                self.advance(begun, cx)
            }
            State::Ended => panic!("a call was polled after it had ended"),
            _ => self.advance(Ok(()), cx),
        }
    }

    /// The answer has come, or the stream that takes over from here.
    #[inline]
    fn settled(&mut self) {
        if let State::Sent(_, _, _, cell) = std::mem::replace(&mut self.state, State::Ended) {
            cell.recycle();
        }
    }

    /// Ready when the reply has begun, or has come.
    #[cold]
    fn poll_streams(&mut self, cx: &mut task::Context<'_>) -> Poll<Reply> {
        let (State::Sent(buffer, link, id, cell), Some(parts)) = (&mut self.state, &self.streams) else { return Poll::Pending };
        let id = *id;
        let mut writer = None;
        let mut outlet = None;
        let ended = if parts.streams.reads() {
            let Poll::Ready(last) = parts.streams.poll_opened(cx) else { return Poll::Pending };
            match last {
                None | Some(Last::Finished) => {
                    let writer = link.writer_of(&self.callee);
                    let outlet_of = |link| Box::new(Outlet { streams: parts.streams.clone(), link, id, slow: SlowConsumer::Wait, writer });
                    outlet = parts.link.clone().map(outlet_of);
                    Ended::Returned
                }
                Some(Last::Failed(payload)) => {
                    writer = link.writer_of(&self.callee);
                    *buffer = payload;
                    Ended::Failed
                }
                Some(Last::Error(error)) => Ended::Error(error),
            }
        } else {
            let Poll::Ready(ended) = cell.poll(buffer, cx) else { return Poll::Pending };
            writer = link.writer_of(&self.callee);
            ended
        };
        let buffer = std::mem::take(buffer);
        self.settled();
        let mut reply = self.reply(Ok(ended), buffer);
        (reply.outlet, reply.writer) = (outlet, writer);
        Poll::Ready(reply)
    }

    /// Fixes the deadline: this call's own, or the method's, or the client's, and never later than that of the handler it is made in.
    fn begin(&mut self) -> Result<(), Error> {
        let inherited = inherited_deadline();
        let timeout = self.own_timeout();
        let now = Instant::now();
        let own = timeout.and_then(|timeout| now.checked_add(timeout));
        self.deadline = match (own, inherited) {
            (Some(own), Some(inherited)) => Some(own.min(inherited)),
            (own, inherited) => own.or(inherited),
        };
        let limit = self.client.inner().limits.max_metadata.min(MAX_METADATA);
        let metadata = codec::metadata_size(&self.metadata);
        if metadata > limit {
            return Err(Error::new(ErrorKind::TooLarge, format!("metadata of {metadata} bytes exceeds the limit of {limit} (Limits::max_metadata)")));
        }
        match self.deadline {
            Some(deadline) if deadline <= now => Err(deadline_exceeded(Executed::No)),
            _ => Ok(()),
        }
    }

    /// The call's own, or the method's, or the client's. A stream lasts as long as it lasts.
    fn own_timeout(&self) -> Option<Duration> {
        let clients = if self.streams.is_some() { None } else { self.client.inner().timeout };
        self.timeout.or_else(|| self.default_timeout()).or(clients)
    }

    fn default_timeout(&self) -> Option<Duration> {
        match &self.callee {
            Callee::Known(contract, method) => contract.methods[*method].timeout,
            #[cfg(feature = "json")]
            Callee::Named(_) => None,
        }
    }

    /// What the callee has to be told of the deadline: nothing, if it would take the same by itself (protocol 5.2).
    fn remaining(&self, now: impl FnOnce() -> Instant) -> Option<Duration> {
        let fallback = if self.streams.is_some() { None } else { Some(DEFAULT_TIMEOUT) };
        let default = self.default_timeout().or(fallback);
        let Some(deadline) = self.deadline else { return default.map(|_| Duration::ZERO) };
        if self.own_timeout() == default && default.is_some() && inherited_deadline().is_none() && self.timer.is_none() {
            return None;
        }
        Some(deadline.saturating_duration_since(now()).max(Duration::from_micros(1)))
    }

    /// From wherever the call stands towards a slot.
    fn advance(&mut self, begun: Result<(), Error>, cx: &mut task::Context<'_>) -> Poll<Reply> {
        let ended = match begun {
            Err(error) => Err(error),
            Ok(()) => match self.try_advance(cx) {
                Ok(None) if self.streams.is_some() && matches!(self.state, State::Sent(..)) => return self.poll_streams(cx),
                Ok(None) => return Poll::Pending,
                Ok(Some(())) => Ok(Ended::Returned),
                Err(error) => Err(error),
            },
        };
        let buffer = match self.end() {
            State::New(buffer) | State::Dialing(buffer, _) | State::Waiting(buffer, ..) | State::Sent(buffer, ..) => buffer,
            State::Refused(_) | State::Ended => Vec::new(),
        };
        let oneway = self.oneway && ended.is_ok();
        let mut buffer = buffer;
        if oneway {
            buffer.clear();
        }
        Poll::Ready(self.reply(ended, buffer))
    }

    /// `Some`: a notification has left.
    fn try_advance(&mut self, cx: &mut task::Context<'_>) -> Result<Option<()>, Error> {
        if self.timer.is_some() || matches!(self.state, State::Dialing(..) | State::Waiting(..)) {
            self.poll_timer(cx)?;
        }
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Refused(error) => return Err(error),
                // Servers that leave as soon as they are reached could keep a call busy until its deadline.
                State::New(_) if self.left > 4 => {
                    return Err(Error::new(ErrorKind::Unavailable, "connections are lost as soon as they are made"));
                }
                State::New(body) => match self.client.inner().lease()? {
                    Lease::Link(link) => {
                        if let Some(done) = self.submit(body, link, None, cx)? {
                            return Ok(done);
                        }
                    }
                    Lease::Dialing(attempt) => self.state = State::Dialing(body, attempt),
                },
                State::Dialing(body, attempt) => match attempt.poll(cx) {
                    Poll::Ready(Ok(())) => self.state = State::New(body),
                    Poll::Ready(Err(error)) => {
                        payload::recycle(body);
                        return Err(error);
                    }
                    Poll::Pending => {
                        self.state = State::Dialing(body, attempt);
                        self.poll_timer(cx)?;
                        return Ok(None);
                    }
                },
                State::Waiting(body, link, ticket) => {
                    if let Some(done) = self.submit(body, link, Some(ticket), cx)? {
                        return Ok(done);
                    }
                }
                sent @ (State::Sent(..) | State::Ended) => {
                    self.state = sent;
                    return Ok(None);
                }
            }
        }
    }

    /// `Some`: nothing more to do now. `None`: try another connection.
    fn submit(&mut self, mut body: Vec<u8>, link: Arc<Hold>, ticket: Option<u64>, cx: &mut task::Context<'_>) -> Result<Option<Option<()>>, Error> {
        let remaining = self.remaining(Instant::now);
        let large = self.streams.is_some() && is_large(body.len(), codec::metadata_size(&self.metadata));
        let outgoing = Outgoing {
            callee: &self.callee,
            deadline: self.deadline,
            remaining,
            metadata: &self.metadata,
            oneway: self.oneway,
            payload: &mut body,
            streams: self.streams.as_ref().map(|parts| &parts.streams),
        };
        match link.submit(outgoing, ticket, cx) {
            Submitted::Slot(id, cell) => {
                body.clear();
                if let Some(parts) = &mut self.streams {
                    parts.begin(&link, id, large);
                }
                self.state = State::Sent(body, link, id, cell);
                Ok(Some(None))
            }
            Submitted::Waiting(ticket) => {
                self.state = State::Waiting(body, link, ticket);
                self.poll_timer(cx)?;
                Ok(Some(None))
            }
            Submitted::Full => {
                self.state = State::New(body);
                self.poll_timer(cx)?;
                Ok(Some(None))
            }
            Submitted::Gone => {
                self.state = State::New(body);
                Ok(Some(Some(())))
            }
            Submitted::Closed(error) => {
                // A server that has too much to do, or does not want this client, is not asked again at once.
                if !self.client.inner().replace(&link) || error.kind() != ErrorKind::Unavailable {
                    payload::recycle(body);
                    return Err(error);
                }
                self.left += 1;
                self.state = State::New(body);
                Ok(None)
            }
            Submitted::Refused(error) => {
                payload::recycle(body);
                Err(error)
            }
        }
    }

    /// While there is no slot the deadline needs a timer of its own.
    fn poll_timer(&mut self, cx: &mut task::Context<'_>) -> Result<(), Error> {
        let Some(deadline) = self.deadline else { return Ok(()) };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Err(deadline_exceeded(Executed::No)),
            Poll::Pending => Ok(()),
        }
    }

    /// Lets go of slot or ticket.
    fn end(&mut self) -> State {
        let state = std::mem::replace(&mut self.state, State::Ended);
        match &state {
            State::Sent(_, link, id, cell) => match &self.streams {
                Some(parts) => link.cancel_streams(&parts.streams, *id),
                None => link.cancel(*id, cell),
            },
            State::Waiting(_, link, ticket) => link.leave(*ticket),
            _ => {}
        }
        state
    }

    fn reply(&self, ended: Result<Ended, Error>, buffer: Vec<u8>) -> Reply {
        let limits = &self.client.inner().limits;
        let (outcome, error) = match ended {
            Ok(Ended::Returned) => (Came::Value, None),
            Ok(Ended::Failed) => (Came::Failed, None),
            Ok(Ended::Error(error)) | Err(error) => (Came::Error, Some(self.named(error))),
        };
        let encoding = if matches!(self.callee, Callee::Known(..)) { Encoding::Postcard } else { Encoding::Json };
        Reply {
            outcome,
            error,
            buffer,
            encoding,
            budget: Budget { bytes: limits.max_decoded, depth: limits.max_depth },
            callee: self.callee.clone(),
            writer: None,
            outlet: None,
        }
    }

    /// Errors of a call begin with its method's name.
    #[cold]
    fn named(&self, error: Error) -> Error {
        let name = self.callee.name();
        error.of_method(&name)
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        if let State::New(body) | State::Dialing(body, _) | State::Waiting(body, ..) | State::Sent(body, ..) = self.end() {
            payload::recycle(body);
        }
    }
}

impl Parts {
    /// The call is on its way; what it uploads follows.
    fn begin(&mut self, hold: &Hold, id: u32, large: bool) {
        let link = hold.link().clone();
        if !large {
            // Arguments that go in chunks come first; the callee says when the items may follow (protocol 7.3).
            self.streams.open();
        }
        if let Some(upload) = self.upload.take() {
            let outlet = Outlet { streams: self.streams.clone(), link: link.clone(), id, slow: SlowConsumer::Wait, writer: None };
            tokio::spawn(streaming::upload(outlet, upload));
        }
        self.link = Some(link);
    }
}

#[derive(Clone, Copy)]
enum Came {
    Value,
    Failed,
    Error,
}

/// What came back, before it is known as what.
pub struct Reply {
    outcome: Came,
    error: Option<Error>,
    buffer: Vec<u8>,
    encoding: Encoding,
    budget: Budget,
    callee: Callee,
    /// How the callee writes it, if not as it would be written here.
    writer: Option<Arc<Writer>>,
    /// A stream has begun.
    outlet: Option<Box<Outlet>>,
}

impl Reply {
    fn stream<T>(&mut self) -> Streaming<T> {
        match self.outlet.take() {
            Some(outlet) => Streaming::over(*outlet, self.callee.name()),
            None => Streaming::ended(),
        }
    }

    fn value<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let value = match &self.writer {
            None => payload::decode_reply(&self.buffer, self.encoding, self.budget),
            Some(writer) => {
                let root = if matches!(self.outcome, Came::Failed) { Root::Error } else { Root::Returns };
                payload::decode_adapted(&self.buffer, writer, root, self.budget)
            }
        };
        value.map_err(|error| error.of_method(&self.callee.name()))
    }

    /// The `Err` of a method that this end thinks cannot fail.
    #[cold]
    fn unnamed(mut self) -> Error {
        let error = Error::with(ErrorKind::Service, Executed::Yes, format!("{}: the method returned an error of its own", self.callee.name()));
        match self.encoding {
            Encoding::Json => {
                let text = String::from_utf8_lossy(&self.buffer);
                let end = text.char_indices().nth(200).map_or(text.len(), |(end, _)| end);
                let error = Error::with(ErrorKind::Service, Executed::Yes, format!("{}: {}", self.callee.name(), &text[..end]));
                error.detail(std::mem::take(&mut self.buffer))
            }
            Encoding::Postcard => error,
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        payload::recycle(std::mem::take(&mut self.buffer));
    }
}

/// What a call can give. Not for implementing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a call",
    note = "a return value and its error travel to the caller: both must be `Serialize + DeserializeOwned`"
)]
pub trait Returned: Sized {
    #[doc(hidden)]
    fn returned(reply: Reply) -> Self;
}

impl<T: DeserializeOwned> Returned for Result<T, Error> {
    #[inline]
    fn returned(mut reply: Reply) -> Self {
        match reply.outcome {
            Came::Value => reply.value(),
            Came::Failed => Err(reply.unnamed()),
            Came::Error => Err(reply.error.take().expect("an error came")),
        }
    }
}

impl<T: DeserializeOwned, E: DeserializeOwned> Returned for Result<T, CallError<E>> {
    #[inline]
    fn returned(mut reply: Reply) -> Self {
        match reply.outcome {
            Came::Value => Ok(reply.value()?),
            Came::Failed => Err(CallError::Service(reply.value()?)),
            Came::Error => Err(reply.error.take().expect("an error came").into()),
        }
    }
}

impl<T> Returned for Result<Streaming<T>, Error> {
    fn returned(mut reply: Reply) -> Self {
        match reply.outcome {
            Came::Value => Ok(reply.stream()),
            Came::Failed => Err(reply.unnamed()),
            Came::Error => Err(reply.error.take().expect("an error came")),
        }
    }
}

impl<T, E: DeserializeOwned> Returned for Result<Streaming<T>, CallError<E>> {
    fn returned(mut reply: Reply) -> Self {
        match reply.outcome {
            Came::Value => Ok(reply.stream()),
            Came::Failed => Err(CallError::Service(reply.value()?)),
            Came::Error => Err(reply.error.take().expect("an error came").into()),
        }
    }
}

/// A return type that the macro takes for a `Result` because its path ends in `Result`: the type system says what `T` and `E` are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is named `Result` but is not `core::result::Result`",
    label = "rename this type, or return `Result<T, E>`"
)]
pub trait Fallible {
    /// What the client's method gives.
    type Called;
}
impl<T, E> Fallible for Result<T, E> {
    type Called = Result<T, CallError<E>>;
}

/// Inherent items win over trait items: finds a `Result` under another name.
pub struct Probe<T>(PhantomData<T>);
impl<T, E> Probe<Result<T, E>> {
    /// It is one.
    pub const IS_RESULT: bool = true;
}
impl<T: Serialize + DeserializeOwned, E: Serialize + DeserializeOwned> Probe<Result<T, E>> {
    /// Reads what is in its `Ok` or in its `Err`.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read(root: Root, reader: Reader<'_, '_>) -> Result<(), Fault> {
        match root {
            Root::Returns => reader.read::<T>(),
            Root::Error => reader.read::<E>(),
            _ => reader.none(),
        }
    }
}
/// The fallback of [`Probe`].
pub trait NotResult {
    /// It is not one.
    const IS_RESULT: bool = false;
    /// Nothing can be read.
    ///
    /// # Errors
    /// Always.
    fn read(_: Root, reader: Reader<'_, '_>) -> Result<(), Fault> {
        reader.none()
    }
}
impl<T> NotResult for Probe<T> {}
