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
use super::pool::{Held, Hold};
use super::redial::{Attempt, Lease};
use crate::connection::answers::Place;
use crate::connection::link::{Callee, Outgoing, Submitted};
use crate::connection::outbound::{Due, Ended, deadline_exceeded, is_large};
use crate::connection::streams::{Last, Role, Streams};
use crate::context::inherited_deadline;
use crate::frame::codec;
use crate::frame::limits::{DEFAULT_TIMEOUT, MAX_METADATA};
use crate::frame::payload::{self, Budget, Encoding, Fault, Lending, Segments};
use crate::schema::exchange::Writer;
use crate::schema::{Reader, Root};
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
    /// The arguments, then what came back.
    body: Vec<u8>,
    /// Large arguments, which are not in the body.
    segments: Option<Box<Segments>>,
    /// How the callee writes that, if not as it would be written here.
    writer: Option<Arc<Writer>>,
    state: State<'c>,
    timeout: Option<Duration>,
    /// Known after the first poll.
    due: Due,
    /// It has been polled.
    begun: bool,
    /// The callee takes the same deadline by itself (protocol 5.2). Known after the first poll.
    understood: bool,
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
}

enum Lent<'c> {
    Borrowed(&'c Arc<Inner>),
    Owned(Arc<Inner>),
}

impl<'c> Lent<'c> {
    #[inline]
    fn lease(&self) -> Result<Lease<'c>, Error> {
        match self {
            Self::Borrowed(inner) => inner.lease(),
            Self::Owned(inner) => inner.lease_counted(),
        }
    }

    fn inner(&self) -> &Arc<Inner> {
        match self {
            Self::Borrowed(inner) => inner,
            Self::Owned(inner) => inner,
        }
    }
}

enum State<'c> {
    /// Encoded, not sent.
    New,
    /// Could not be encoded.
    Refused(Error),
    /// Waits for a connection.
    Dialing(Arc<Attempt>),
    /// Waits for its turn on this connection.
    Waiting(Held<'c>, u64),
    /// On its way; the body will be swapped for the reply's.
    Sent(Held<'c>, u32, Place),
    Ended,
}

impl State<'_> {
    fn owned(self) -> State<'static> {
        match self {
            Self::New => State::New,
            Self::Refused(error) => State::Refused(error),
            Self::Dialing(attempt) => State::Dialing(attempt),
            Self::Waiting(held, ticket) => State::Waiting(Held::Counted(held.counted()), ticket),
            Self::Sent(held, id, place) => State::Sent(Held::Counted(held.counted()), id, place),
            Self::Ended => State::Ended,
        }
    }
}

impl<'c, O> Call<'c, O> {
    /// `encode` may set large arguments aside.
    pub(crate) fn new(
        client: &'c Arc<Inner>,
        callee: Callee,
        oneway: bool,
        encode: impl FnOnce(usize, &mut Vec<u8>, &mut Option<Box<Segments>>) -> Result<(), Error>,
    ) -> Self {
        let (mut body, mut segments) = (payload::buffer(), None);
        let state = match encode(u32::MAX as usize, &mut body, &mut segments) {
            Ok(()) => State::New,
            Err(error) => State::Refused(error),
        };
        let raw = Raw {
            client: Lent::Borrowed(client),
            callee,
            body,
            segments,
            writer: None,
            state,
            timeout: None,
            due: Due::Never,
            begun: false,
            understood: false,
            left: 0,
            metadata: Vec::new(),
            oneway,
            streams: None,
            timer: None,
        };
        Self { raw, output: PhantomData }
    }

    /// A call to a method that takes a stream, or returns one.
    pub(crate) fn streaming(mut self, downloads: bool, upload: Option<Upload>) -> Self {
        let streams = Streams::new(Role::Caller, downloads, upload.is_some().then_some(0));
        self.raw.streams = Some(Box::new(Parts { upload, streams }));
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
                body: std::mem::take(&mut raw.body),
                segments: raw.segments.take(),
                writer: raw.writer.take(),
                state: std::mem::replace(&mut raw.state, State::Ended).owned(),
                timeout: raw.timeout,
                due: raw.due,
                begun: raw.begun,
                understood: raw.understood,
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
        let Poll::Ready(came) = self.raw.poll(cx) else { return Poll::Pending };
        let output = O::returned(self.raw.reply(came));
        // Large replies are not kept for as long as someone keeps a call that is over.
        payload::recycle(std::mem::take(&mut self.raw.body));
        Poll::Ready(output)
    }
}

impl<'c> Raw<'c> {
    #[inline]
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Came> {
        match &mut self.state {
            State::Sent(link, _, place) if self.streams.is_none() => match link.poll_answer(*place, &mut self.body, cx) {
                Poll::Ready(ended) => {
                    self.writer = link.writer_of(&self.callee);
                    self.state = State::Ended;
                    Poll::Ready(self.came(ended))
                }
                Poll::Pending => Poll::Pending,
            },
            State::New if !self.begun => {
                self.begun = true;
                let begun = self.begin();
                self.advance(begun, cx)
            }
            State::Sent(..) => self.poll_streams(cx),
            State::Ended => panic!("a call was polled after it had ended"),
            _ => self.advance(Ok(()), cx),
        }
    }

    /// Ready when the reply has begun, or has come.
    #[cold]
    fn poll_streams(&mut self, cx: &mut task::Context<'_>) -> Poll<Came> {
        let (State::Sent(hold, id, place), Some(parts)) = (&mut self.state, &self.streams) else { return Poll::Pending };
        let (id, place) = (*id, *place);
        let mut outlet = None;
        let ended = if parts.streams.reads() {
            let Poll::Ready(last) = parts.streams.poll_opened(cx) else { return Poll::Pending };
            hold.leave_place(id, place);
            match last {
                None | Some(Last::Finished) => {
                    let (streams, link, writer) = (parts.streams.clone(), hold.link().clone(), hold.writer_of(&self.callee));
                    let encoding = self.callee.encoding();
                    outlet = Some(Box::new(Outlet { streams, link, hold: Some(hold.counted()), id, slow: SlowConsumer::Wait, encoding, writer }));
                    Ended::Returned
                }
                Some(Last::Failed(payload)) => {
                    self.writer = hold.writer_of(&self.callee);
                    self.body = payload;
                    Ended::Failed
                }
                Some(Last::Error(error)) => Ended::Error(error),
            }
        } else {
            let Poll::Ready(ended) = hold.poll_answer(place, &mut self.body, cx) else { return Poll::Pending };
            self.writer = hold.writer_of(&self.callee);
            ended
        };
        self.state = State::Ended;
        Poll::Ready(match outlet {
            Some(outlet) => Came::Stream(outlet),
            None => self.came(ended),
        })
    }

    /// Fixes the deadline: this call's own, or the method's, or the client's, and never later than that of the handler it is made in.
    fn begin(&mut self) -> Result<(), Error> {
        let inherited = inherited_deadline();
        if inherited.is_none() && self.is_usual() {
            return Ok(());
        }
        let timeout = self.own_timeout();
        // By name the callee alone knows what it would take by itself.
        let is_told = self.timeout.is_some() && !matches!(self.callee, Callee::Known(..));
        self.understood = !is_told && timeout.is_some() && inherited.is_none() && timeout == self.callees_timeout();
        self.due = match (timeout, inherited) {
            (None, None) => Due::Never,
            (timeout, inherited) => {
                let now = Instant::now();
                let own = timeout.and_then(|timeout| now.checked_add(timeout));
                let deadline = own.into_iter().chain(inherited).min();
                if deadline.is_some_and(|deadline| deadline <= now) {
                    return Err(deadline_exceeded(Executed::No));
                }
                deadline.map_or(Due::Never, Due::At)
            }
        };
        if !self.metadata.is_empty()
            && let limit = self.client.inner().limits.max_metadata.min(MAX_METADATA)
            && let metadata = codec::metadata_size(&self.metadata)
            && metadata > limit
        {
            return Err(Error::new(ErrorKind::TooLarge, format!("metadata of {metadata} bytes exceeds the limit of {limit} (Limits::max_metadata)")));
        }
        Ok(())
    }

    /// Nothing was asked for of a call, and both ends take the same deadline by themselves: then that is its own.
    #[inline]
    fn is_usual(&mut self) -> bool {
        if self.timeout.is_some() || self.streams.is_some() || !self.metadata.is_empty() {
            return false;
        }
        let methods = self.default_timeout();
        let usual = methods.unwrap_or(DEFAULT_TIMEOUT);
        self.understood = !usual.is_zero() && (methods.is_some() || self.client.inner().timeout == Some(usual));
        if self.understood {
            // What nobody has asked for need not be known more exactly than the connection's driver is awake.
            self.due = Due::In(usual);
        }
        self.understood
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

    /// The deadline that a callee gives a call that names none.
    fn callees_timeout(&self) -> Option<Duration> {
        let fallback = if self.streams.is_some() { None } else { Some(DEFAULT_TIMEOUT) };
        self.default_timeout().or(fallback)
    }

    /// What the callee has to be told of the deadline: nothing, if it would take the same by itself. A call that had to wait has
    /// less time than that.
    #[inline]
    fn remaining(&self) -> Option<Duration> {
        if self.understood && self.timer.is_none() {
            return None;
        }
        match self.due {
            Due::At(deadline) => Some(deadline.saturating_duration_since(Instant::now()).max(Duration::from_micros(1))),
            Due::In(after) => Some(after),
            Due::Never => self.callees_timeout().map(|_| Duration::ZERO),
        }
    }

    /// From wherever the call stands towards a slot.
    #[inline]
    fn advance(&mut self, begun: Result<(), Error>, cx: &mut task::Context<'_>) -> Poll<Came> {
        let came = match begun.and_then(|()| self.try_advance(cx)) {
            Ok(false) if self.streams.is_some() && matches!(self.state, State::Sent(..)) => return self.poll_streams(cx),
            Ok(false) => return Poll::Pending,
            Ok(true) => Came::Value,
            Err(error) => Came::Error(self.named(error)),
        };
        self.end();
        // What a notification gives back has no bytes; an error none that are the reply's.
        self.body.clear();
        self.segments = None;
        Poll::Ready(came)
    }

    /// True: a notification has left.
    #[inline(always)]
    fn try_advance(&mut self, cx: &mut task::Context<'_>) -> Result<bool, Error> {
        if self.timer.is_some() || matches!(self.state, State::Dialing(..) | State::Waiting(..)) {
            self.poll_timer(cx)?;
        }
        loop {
            match &mut self.state {
                // Servers that leave as soon as they are reached could keep a call busy until its deadline.
                State::New if self.left > 4 => {
                    return Err(Error::new(ErrorKind::Unavailable, "connections are lost as soon as they are made"));
                }
                State::New => match self.client.lease()? {
                    Lease::Link(link) => {
                        if let Some(gone) = self.submit(link, None, cx)? {
                            return Ok(gone);
                        }
                    }
                    Lease::Dialing(attempt) => self.state = State::Dialing(attempt),
                },
                State::Dialing(attempt) => match attempt.poll(cx)? {
                    Poll::Ready(()) => self.state = State::New,
                    Poll::Pending => {
                        self.poll_timer(cx)?;
                        return Ok(false);
                    }
                },
                State::Waiting(..) => {
                    let State::Waiting(link, ticket) = std::mem::replace(&mut self.state, State::New) else { return Ok(false) };
                    if let Some(gone) = self.submit(link, Some(ticket), cx)? {
                        return Ok(gone);
                    }
                }
                State::Refused(_) => {
                    let State::Refused(error) = std::mem::replace(&mut self.state, State::Ended) else { return Ok(false) };
                    return Err(error);
                }
                State::Sent(..) | State::Ended => return Ok(false),
            }
        }
    }

    /// `Some`: nothing more to do now; true if it was a notification that has left. `None`: try another connection.
    fn submit(&mut self, link: Held<'c>, ticket: Option<u64>, cx: &mut task::Context<'_>) -> Result<Option<bool>, Error> {
        let remaining = self.remaining();
        let large = self.streams.is_some() && (self.segments.is_some() || is_large(self.body.len(), codec::metadata_size(&self.metadata)));
        let outgoing = Outgoing {
            callee: &self.callee,
            due: self.due,
            remaining,
            metadata: &self.metadata,
            oneway: self.oneway,
            payload: &mut self.body,
            segments: &mut self.segments,
            streams: self.streams.as_ref().map(|parts| &parts.streams),
        };
        match link.submit(outgoing, ticket, cx) {
            Submitted::Slot(id, place) => {
                self.body.clear();
                if let Some(parts) = &mut self.streams {
                    parts.begin(&link, id, large, self.callee.encoding());
                }
                self.state = State::Sent(link, id, place);
                Ok(Some(false))
            }
            Submitted::Waiting(ticket) => {
                self.state = State::Waiting(link, ticket);
                self.poll_timer(cx)?;
                Ok(Some(false))
            }
            Submitted::Full => {
                self.state = State::New;
                self.poll_timer(cx)?;
                Ok(Some(false))
            }
            Submitted::Gone => Ok(Some(true)),
            Submitted::Closed(error) => {
                if !self.client.inner().replace(&link, &error) {
                    return Err(error);
                }
                self.left += 1;
                self.state = State::New;
                Ok(None)
            }
            Submitted::Refused(error) => Err(error),
        }
    }

    /// While there is no slot the deadline needs a timer of its own.
    fn poll_timer(&mut self, cx: &mut task::Context<'_>) -> Result<(), Error> {
        let Some(deadline) = self.due.from(Instant::now()) else { return Ok(()) };
        self.due = Due::At(deadline);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Err(deadline_exceeded(Executed::No)),
            Poll::Pending => Ok(()),
        }
    }

    /// Lets go of slot or ticket.
    #[inline]
    fn end(&mut self) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Sent(link, id, place) => match &self.streams {
                Some(parts) => {
                    link.cancel_streams(&parts.streams, id);
                    link.leave_place(id, place);
                }
                None => link.cancel(id, place),
            },
            State::Waiting(link, ticket) => link.leave(ticket),
            _ => {}
        }
    }

    #[inline]
    fn came(&self, ended: Ended) -> Came {
        match ended {
            Ended::Returned => Came::Value,
            Ended::Failed => Came::Failed,
            Ended::Error(error) => Came::Error(self.named(error)),
        }
    }

    #[inline]
    fn reply(&mut self, came: Came) -> Reply<'_> {
        let limits = &self.client.inner().limits;
        let encoding = self.callee.encoding();
        let budget = Budget { bytes: limits.max_decoded, depth: limits.max_depth };
        let is_long = self.body.len() > payload::LARGEST && encoding == Encoding::Postcard;
        let lent = is_long.then(|| payload::lend(payload::share(std::mem::take(&mut self.body))));
        Reply { came, body: &mut self.body, lent, encoding, budget, callee: &self.callee, writer: self.writer.take() }
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
        if !matches!(self.state, State::Ended) {
            self.end();
        }
        if self.body.capacity() != 0 {
            payload::recycle(std::mem::take(&mut self.body));
        }
    }
}

impl Parts {
    /// The call is on its way; what it uploads follows.
    fn begin(&mut self, hold: &Hold, id: u32, large: bool, encoding: Encoding) {
        if !large {
            // Arguments that go in chunks come first; the callee says when the items may follow (protocol 7.3).
            self.streams.open();
        }
        if let Some(upload) = self.upload.take() {
            let (streams, link) = (self.streams.clone(), hold.link().clone());
            let outlet = Outlet { streams, link, hold: None, id, slow: SlowConsumer::Wait, encoding, writer: None };
            tokio::spawn(streaming::upload(outlet, upload));
        }
    }
}

/// What came back; a payload stands in the call's body.
enum Came {
    Value,
    Failed,
    Error(Error),
    /// A stream has begun.
    Stream(Box<Outlet>),
}

/// What came back, before it is known as what.
pub struct Reply<'a> {
    came: Came,
    body: &'a mut Vec<u8>,
    /// Instead of the body, when it is long: the value may keep parts of it.
    lent: Option<Box<Lending>>,
    encoding: Encoding,
    budget: Budget,
    callee: &'a Callee,
    /// How the callee writes it, if not as it would be written here.
    writer: Option<Arc<Writer>>,
}

impl Reply<'_> {
    fn value<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let bytes = match &self.lent {
            None => &self.body[..],
            Some(lent) => lent,
        };
        let value = match &self.writer {
            None => payload::decode_reply(bytes, self.encoding, self.budget),
            Some(writer) => {
                let root = if matches!(self.came, Came::Failed) { Root::Error } else { Root::Returns };
                payload::decode_adapted(bytes, writer, root, self.budget)
            }
        };
        value.map_err(|error| error.of_method(&self.callee.name()))
    }

    /// The `Err` of a method that this end thinks cannot fail.
    #[cold]
    fn unnamed(&mut self) -> Error {
        let error = Error::with(ErrorKind::Service, Executed::Yes, format!("{}: the method returned an error of its own", self.callee.name()));
        match self.encoding {
            Encoding::Json => {
                let text = String::from_utf8_lossy(self.body);
                let end = text.char_indices().nth(200).map_or(text.len(), |(end, _)| end);
                let error = Error::with(ErrorKind::Service, Executed::Yes, format!("{}: {}", self.callee.name(), &text[..end]));
                error.detail(std::mem::take(self.body))
            }
            Encoding::Postcard => error,
        }
    }
}

/// What a call can give. Not for implementing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a call",
    note = "a return value and its error travel to the caller: both must be `Serialize + DeserializeOwned`"
)]
pub trait Returned: Sized {
    #[doc(hidden)]
    fn returned(reply: Reply<'_>) -> Self;
}

impl<T: DeserializeOwned> Returned for Result<T, Error> {
    #[inline]
    fn returned(mut reply: Reply<'_>) -> Self {
        match reply.came {
            Came::Value => reply.value(),
            Came::Error(error) => Err(error),
            Came::Failed | Came::Stream(_) => Err(reply.unnamed()),
        }
    }
}

impl<T: DeserializeOwned, E: DeserializeOwned> Returned for Result<T, CallError<E>> {
    #[inline]
    fn returned(mut reply: Reply<'_>) -> Self {
        match reply.came {
            Came::Value => Ok(reply.value()?),
            Came::Failed => Err(CallError::Service(reply.value()?)),
            Came::Error(error) => Err(error.into()),
            Came::Stream(_) => Err(reply.unnamed().into()),
        }
    }
}

impl<T> Returned for Result<Streaming<T>, Error> {
    fn returned(mut reply: Reply<'_>) -> Self {
        match reply.came {
            Came::Stream(outlet) => Ok(Streaming::over(*outlet, reply.callee.name())),
            Came::Value => Ok(Streaming::ended()),
            Came::Failed => Err(reply.unnamed()),
            Came::Error(error) => Err(error),
        }
    }
}

impl<T, E: DeserializeOwned> Returned for Result<Streaming<T>, CallError<E>> {
    fn returned(reply: Reply<'_>) -> Self {
        match reply.came {
            Came::Stream(outlet) => Ok(Streaming::over(*outlet, reply.callee.name())),
            Came::Value => Ok(Streaming::ended()),
            Came::Failed => Err(CallError::Service(reply.value()?)),
            Came::Error(error) => Err(error.into()),
        }
    }
}

/// What came of a call by name, not decoded.
#[cfg(feature = "http")]
pub(crate) enum Json {
    Value(Vec<u8>),
    Items(Streaming<streaming::Text>),
    Failed(Vec<u8>),
    Error(Error),
}

#[cfg(feature = "http")]
impl Returned for Json {
    fn returned(reply: Reply<'_>) -> Self {
        match reply.came {
            Came::Value => Self::Value(std::mem::take(reply.body)),
            Came::Failed => Self::Failed(std::mem::take(reply.body)),
            Came::Error(error) => Self::Error(error),
            Came::Stream(outlet) => Self::Items(Streaming::over(*outlet, reply.callee.name())),
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
