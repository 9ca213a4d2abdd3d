//! What can go wrong, and the answer every error gives: did the method run?
//!
//! Two types: [`Error`], for everything that is not the method's own `Err(E)`, and [`CallError`], which adds that
//! `E`. Neighbours: `server/dispatch.rs` makes most errors of the callee, `client/call.rs` those of the caller, and
//! `frame/codec.rs` gives kinds their numbers on the wire.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

#[cfg(feature = "json")]
use crate::frame::payload::{self, Budget, Encoding};

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller gave up: its future was dropped, or the server stopped the handler.
    Cancelled,
    /// The deadline passed before the reply came.
    DeadlineExceeded,
    /// A limit on work in flight was reached; see [`Error::retry_after`].
    Overloaded,
    /// The peer has no such service or method.
    Unimplemented,
    /// Arguments or a reply that could not be decoded.
    Malformed,
    /// A message above a limit.
    TooLarge,
    /// Both ends know the method, but not with the same types.
    Incompatible,
    /// The caller did not say who it is.
    Unauthenticated,
    /// The caller may not call this method.
    PermissionDenied,
    /// No connection: it could not be made, or it was lost.
    Unavailable,
    /// The server is shutting down and takes no new calls.
    Draining,
    /// The handler or the server's hook panicked, or the reply could not be encoded.
    Internal,
    /// The method's own error, of a call by name; see [`Error::service`].
    Service,
    /// The peer broke the protocol, or speaks another one.
    Protocol,
    /// An address or an option that makes no sense.
    InvalidInput,
    /// Items of a stream were left out, for its consumer was too slow; see [`Error::missed`]. The stream goes on.
    Missed,
}

impl ErrorKind {
    fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::Overloaded => "overloaded",
            Self::Unimplemented => "unimplemented",
            Self::Malformed => "malformed",
            Self::TooLarge => "too large",
            Self::Incompatible => "incompatible",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission denied",
            Self::Unavailable => "unavailable",
            Self::Draining => "draining",
            Self::Internal => "internal",
            Self::Service => "the method's own error",
            Self::Protocol => "protocol error",
            Self::InvalidInput => "invalid input",
            Self::Missed => "items were left out",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether the method ran: what a retry has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Executed {
    /// It did not run and never will.
    No,
    /// The call left and no answer came: it may have run, in part or whole, or may still run.
    Maybe,
    /// It ran.
    Yes,
}

impl fmt::Display for Executed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        })
    }
}

/// Any failure of a call, a connection or a server that is not the method's own error.
///
/// Opaque and one word wide. Ask it: [`kind`](Self::kind), [`executed`](Self::executed), [`is_timeout`](Self::is_timeout).
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    executed: Executed,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// The method's own error as its JSON, of calls by name.
    detail: Vec<u8>,
    missed: u64,
}

impl Error {
    /// An error of this kind, as a server's hook answers a call: nothing was executed.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::with(kind, Executed::No, message)
    }

    /// The usual way to ask a caller to come back later.
    #[must_use]
    pub fn overloaded(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(ErrorKind::Overloaded, message).after(Some(retry_after))
    }

    pub(crate) fn with(kind: ErrorKind, executed: Executed, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, executed, message: message.into(), retry_after: None, source: None, detail: Vec::new(), missed: 0 }))
    }

    pub(crate) fn after(mut self, retry_after: Option<Duration>) -> Self {
        self.0.retry_after = retry_after;
        self
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn detail(mut self, detail: Vec<u8>) -> Self {
        self.0.detail = detail;
        self
    }

    pub(crate) fn with_missed(mut self, count: u64) -> Self {
        self.0.missed = count;
        self
    }

    /// As said of a call that was never begun, wherever the error came from.
    pub(crate) fn not_executed(mut self) -> Self {
        self.0.executed = Executed::No;
        self
    }

    /// With the method's name before the message, unless it is there already.
    pub(crate) fn of_method(mut self, name: &str) -> Self {
        let short = name.rsplit('.').next().unwrap_or(name);
        let message = &*self.0.message;
        if message.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')) {
            return self;
        }
        // Payload errors know the method, not its service.
        let rest = message.strip_prefix(short).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(message);
        self.0.message = Cow::Owned(format!("{name}: {rest}"));
        self
    }

    /// The same failure for one of several calls that it hit; its source, if any, is kept as text.
    pub(crate) fn again(&self, executed: Executed) -> Self {
        let message = match &self.0.source {
            Some(source) => Cow::Owned(format!("{}: {source}", self.0.message)),
            None => self.0.message.clone(),
        };
        Self::with(self.0.kind, executed, message).after(self.0.retry_after).with_missed(self.0.missed)
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the method ran.
    #[must_use]
    pub fn executed(&self) -> Executed {
        self.0.executed
    }

    /// How long the server asks the caller to wait before it tries again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Of an error of kind [`Missed`](ErrorKind::Missed), which stands in a stream for items that were left out: how many.
    #[must_use]
    pub fn missed(&self) -> Option<u64> {
        (self.0.kind == ErrorKind::Missed).then_some(self.0.missed)
    }

    /// The message alone, without the source.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::DeadlineExceeded
    }

    /// There was no connection, or it was lost.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }

    /// The call was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.kind == ErrorKind::Cancelled
    }

    /// Of a call by name: the method's own error, if it was one and has this shape.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn service<E: serde::de::DeserializeOwned>(&self) -> Option<E> {
        if self.0.kind != ErrorKind::Service {
            return None;
        }
        payload::decode_reply(&self.0.detail, Encoding::Json, Budget::default()).ok()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind).field("executed", &self.0.executed).field("message", &self.0.message);
        if let Some(after) = self.0.retry_after {
            debug.field("retry_after", &after);
        }
        if let Some(source) = &self.0.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// What a call to a method that returns `Result<T, E>` can fail with.
#[derive(Debug)]
pub enum CallError<E> {
    /// The method's own error: it ran and said no.
    Service(E),
    /// Everything else.
    Rpc(Error),
}

impl<E> CallError<E> {
    /// Whether the method ran. Its own error means that it did.
    pub fn executed(&self) -> Executed {
        match self {
            Self::Service(_) => Executed::Yes,
            Self::Rpc(error) => error.executed(),
        }
    }

    /// What kind of failure it is; the method's own error is [`ErrorKind::Service`].
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Service(_) => ErrorKind::Service,
            Self::Rpc(error) => error.kind(),
        }
    }

    /// The deadline passed.
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::DeadlineExceeded
    }

    /// There was no connection, or it was lost.
    pub fn is_unavailable(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }

    /// The call was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }

    /// How long the server asks the caller to wait before it tries again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Service(_) => None,
            Self::Rpc(error) => error.retry_after(),
        }
    }

    /// The method's own error, if it is one.
    pub fn service(&self) -> Option<&E> {
        match self {
            Self::Service(error) => Some(error),
            Self::Rpc(_) => None,
        }
    }

    /// The method's own error, or the other one to pass on with `?`.
    ///
    /// # Errors
    /// The [`Error`], when it is not the method's own.
    pub fn into_service(self) -> Result<E, Error> {
        match self {
            Self::Service(error) => Ok(error),
            Self::Rpc(error) => Err(error),
        }
    }
}

impl<E> From<Error> for CallError<E> {
    fn from(error: Error) -> Self {
        Self::Rpc(error)
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(error) => error.fmt(f),
            Self::Rpc(error) => error.fmt(f),
        }
    }
}

/// Transparent: the source is the inner error's source.
impl<E: std::error::Error + 'static> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Service(error) => error.source(),
            Self::Rpc(error) => error.source(),
        }
    }
}
