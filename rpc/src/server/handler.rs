//! The port between the connection and generated handlers: how a request gets into a handler and its reply out.
//!
//! A handler is a future that never ends (see [`Handler`]): it awaits [`next`], decodes, runs the user's method,
//! encodes into the reply buffer of whoever polls it, and awaits `next` again. All that depends on the user's types is
//! in those few generated lines; everything else, this file included, is compiled once.
//!
//! Request and reply buffer pass through a thread-local that is set for the time of one poll. Polls may nest: the
//! outer port is put aside and restored. A port is boxed and changes hands as one pointer, several times a call.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{self, Poll};

use serde::{Deserialize, Serialize};

use super::reply::panicked;
use crate::context::{Context, Inherit};
use crate::frame::payload::{self, Outcome};
use crate::service::{Contract, Handler, Method};
use crate::streaming::Outlet;
use crate::{Error, ErrorKind, Executed};

/// One call as its handler sees it. It owns its bytes: arguments may borrow from them.
///
/// Boxed, because it moves often, and used again: the next call of the thread finds box and buffer here.
pub struct Request(Option<Box<Inner>>);

/// What a request is made of.
#[derive(Default)]
pub(crate) struct Inner {
    /// None while it waits to be used again.
    method: Option<&'static Method>,
    /// Its place in the contract.
    served: Option<(&'static Contract, u32)>,
    pub(crate) body: payload::Body,
    pub(crate) context: Option<Context>,
    /// Of a method that streams.
    pub(crate) streams: Option<Box<Outlet>>,
}

/// Requests that wait in one thread for their next call: those of a batch, and of the calls that its handlers make.
const KEPT: usize = 128;

/// A request keeps its box.
type Kept = Vec<Box<Inner>>;

thread_local!(static KEPT_HERE: RefCell<Kept> = const { RefCell::new(Vec::new()) });

impl Request {
    /// A request without arguments. It is no call of a service unless that is said.
    pub(crate) fn new(method: &'static Method, served: Option<(&'static Contract, u32)>) -> Self {
        Self::of(kept(), method, served)
    }

    #[inline]
    fn of(mut inner: Box<Inner>, method: &'static Method, served: Option<(&'static Contract, u32)>) -> Self {
        inner.method = Some(method);
        inner.served = served;
        Self(Some(inner))
    }

    #[inline]
    fn inner(&self) -> &Inner {
        self.0.as_deref().expect("only dropping takes it out")
    }

    #[inline]
    pub(crate) fn inner_mut(&mut self) -> &mut Inner {
        self.0.as_deref_mut().expect("only dropping takes it out")
    }

    #[inline]
    pub(crate) fn method(&self) -> &'static Method {
        self.inner().method.expect("it is in use")
    }

    /// What the method gives.
    pub(crate) fn results(&self) -> payload::Results {
        self.inner().served.map_or_else(payload::Results::default, |(contract, method)| payload::Results::of(contract, method as usize))
    }

    /// Of a method that streams.
    pub(crate) fn streams(&self) -> Option<&Outlet> {
        self.inner().streams.as_deref()
    }

    /// The arguments as a tuple.
    ///
    /// # Errors
    /// `Malformed`, naming the method, when the bytes are not these arguments and nothing more.
    #[inline]
    pub fn arguments<'a, A: Deserialize<'a>>(&'a self) -> Result<A, Error> {
        DECODING.set(true);
        let arguments = payload::decode_arguments(&self.inner().body, self.method());
        DECODING.set(false);
        arguments
    }

    /// Deadline, metadata and peer; for methods whose [`Method::context`] is set.
    #[must_use]
    pub fn context(&self) -> &Context {
        self.inner().context.as_ref().expect("the table says that this method takes a context")
    }

    /// Ends the call with the method's return value as written: the top level `Result`, if it is one, becomes the outcome.
    #[inline]
    pub fn returned<R: Serialize + ?Sized>(&self, result: &R) {
        let mut lease = Lease::take();
        let port = lease.port();
        let outcome = payload::encode_returned(result, || self.results(), self.inner().body.encoding(), port.limit, &mut port.out);
        port.end(outcome);
    }

    /// The same for a type that is `Serialize` and no more, so that nothing can be known of it: a method registered at run time.
    #[cfg(feature = "json")]
    pub(crate) fn returned_untraced<R: Serialize + ?Sized>(&self, result: &R) {
        let mut lease = Lease::take();
        let port = lease.port();
        let outcome = payload::encode_untraced(result, self.inner().body.encoding(), port.limit, &mut port.out);
        port.end(outcome);
    }

    /// Ends the call whose items were all sent (protocol 7.4): without a payload, in JSON too.
    pub(crate) fn finished(&self) {
        Lease::take().port().end(Outcome::Value);
    }

    /// Ends the call with an error of ours.
    #[cold]
    pub fn refused(&self, error: Error) {
        Lease::take().port().end(Outcome::Error(error));
    }

    /// Ends a call that gets no reply; but who has called by name waits for one.
    pub fn done(&self) {
        self.returned(&());
    }
}

impl Drop for Request {
    #[inline]
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            give_back(inner);
        }
    }
}

/// A request that was dropped is used again. Most are dropped by their handlers: those are for the next call that comes by this port.
fn give_back(mut inner: Box<Inner>) {
    inner.method = None;
    inner.body.clear();
    // Both may hold what is the user's.
    if inner.context.is_some() || inner.streams.is_some() {
        (inner.context, inner.streams) = (None, None);
    }
    match lent() {
        Some(mut port) if port.used.is_none() => {
            port.used = Some(inner);
            lend(Some(port));
        }
        port => {
            lend(port);
            keep(inner);
        }
    }
}

/// A request that waits in this thread, or a new one.
#[cold]
fn kept() -> Box<Inner> {
    KEPT_HERE.try_with(|kept| kept.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

#[cold]
fn keep(inner: Box<Inner>) {
    // What cannot be kept is dropped with the closure.
    let _ = KEPT_HERE.try_with(move |kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.len() < KEPT
        {
            kept.push(inner);
        }
    });
}

/// What passes between a handler and whoever polls it.
#[derive(Default)]
pub(crate) struct Port {
    /// Replies are appended here.
    out: Vec<u8>,
    /// How long one reply may be.
    limit: usize,
    outcome: Option<Outcome>,
    /// A request that waits to be used again.
    used: Option<Box<Inner>>,
}

// Stays set when a type's `Deserialize` panics: then the method has not run.
thread_local!(static DECODING: Cell<bool> = const { Cell::new(false) });

// What the handler finds that is being polled on this thread: its port, and the request if there is a new one. Whoever polls it takes
// back what is left, so that there is never anything to be dropped here.
thread_local!(static PORT: Cell<Option<ManuallyDrop<Box<Port>>>> = const { Cell::new(None) });
thread_local!(static REQUEST: Cell<Option<ManuallyDrop<Box<Inner>>>> = const { Cell::new(None) });

// For the next poll on this thread.
thread_local!(static SPARE: Cell<Option<Box<Port>>> = const { Cell::new(None) });

/// The port, for as long as it is not given back.
#[inline]
fn lent() -> Option<Box<Port>> {
    PORT.take().map(ManuallyDrop::into_inner)
}

/// Gives it back, or lends another one.
#[inline]
fn lend(port: Option<Box<Port>>) {
    PORT.set(port.map(ManuallyDrop::new));
}

impl Port {
    #[inline]
    pub(crate) fn new() -> Box<Self> {
        SPARE.take().unwrap_or_default()
    }

    /// A request without arguments, for the handler that is polled next.
    #[inline]
    pub(crate) fn request(&mut self, method: &'static Method, served: (&'static Contract, u32)) -> Request {
        Request::of(self.used.take().unwrap_or_else(kept), method, Some(served))
    }

    /// The call ends with this.
    #[inline]
    fn end(&mut self, outcome: Outcome) {
        // A call ends once, so that there is nothing to be dropped here: that would be code in every method.
        debug_assert!(self.outcome.is_none(), "a call ends once");
        std::mem::forget(self.outcome.replace(outcome));
    }
}

/// The port, taken out for the time user code writes a reply, and back again even if that panics.
struct Lease(Option<Box<Port>>);

impl Lease {
    #[inline]
    fn take() -> Self {
        Self(lent())
    }

    #[inline]
    fn port(&mut self) -> &mut Port {
        self.0.as_deref_mut().expect("a call ends while its handler is polled")
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        lend(self.0.take());
    }
}

/// The next request of this handler. Only who polls the handler can give it one.
pub async fn next() -> Request {
    poll_fn(|_| match REQUEST.take() {
        Some(inner) => Poll::Ready(Request(Some(ManuallyDrop::into_inner(inner)))),
        None => Poll::Pending,
    })
    .await
}

/// Runs a blocking method on tokio's blocking pool, request and all; once begun it is not cancelled.
///
/// # Errors
/// `Internal` when it panicked or the runtime is shutting down.
pub async fn blocking<R: Send + 'static>(request: Request, work: impl FnOnce(&Request) -> R + Send + 'static) -> (Request, Result<R, Error>) {
    let method = request.method();
    let task = tokio::task::spawn_blocking(move || {
        // Here: it is this thread that knows whether the arguments were still being read.
        let result = catch_unwind(AssertUnwindSafe(|| work(&request))).map_err(Panic::new);
        (request, result)
    });
    match task.await {
        Ok((request, result)) => (request, result.map_err(|panic| panicked(method, &panic))),
        Err(_) => {
            let error = Error::with(ErrorKind::Cancelled, Executed::Maybe, format!("{}: the server's runtime is shutting down", method.name));
            (Request::new(method, None), Err(error))
        }
    }
}

/// What became of one poll.
pub(crate) enum Polled {
    /// The call has ended; its payload, if any, is the end of the port's buffer.
    Ready(Outcome),
    Pending,
    /// User code panicked, the method's or that of its arguments' types. The handler must be dropped with [`drop_quietly`].
    Panicked(Panic),
}

/// What is known of a panic.
pub(crate) struct Panic {
    pub(crate) text: Option<String>,
    pub(crate) executed: Executed,
}

impl Port {
    /// Polls a handler that finds this request, if it is a new one, and appends its reply to `out`.
    #[inline(always)]
    pub(crate) fn poll(
        mut self: Box<Self>,
        handler: &mut Handler,
        request: Option<Request>,
        out: &mut Vec<u8>,
        limit: usize,
        deadline: Option<tokio::time::Instant>,
        cx: &mut task::Context<'_>,
    ) -> Polled {
        let inherit = Inherit::new(deadline);
        self.limit = limit;
        std::mem::swap(&mut self.out, out);
        let outer = PORT.replace(Some(ManuallyDrop::new(self)));
        let outer_request = REQUEST.replace(request.and_then(|mut request| request.0.take()).map(ManuallyDrop::new));
        let result = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx)));
        // Only a handler that panicked before it took its request leaves one.
        let left = REQUEST.replace(outer_request).map(|inner| Request(Some(ManuallyDrop::into_inner(inner))));
        let mut port = ManuallyDrop::into_inner(PORT.replace(outer).expect("whoever takes it gives it back"));
        drop(inherit);
        std::mem::swap(&mut port.out, out);
        let outcome = port.outcome.take();
        SPARE.with(|spare| spare.set(Some(port)));
        drop(left);
        match (result, outcome) {
            (Ok(_), Some(outcome)) => Polled::Ready(outcome),
            (Ok(_), None) => Polled::Pending,
            (Err(panic), _) => Polled::Panicked(Panic::new(panic)),
        }
    }
}

impl Panic {
    #[cold]
    fn new(panic: Box<dyn std::any::Any + Send>) -> Self {
        let text = panic_text(&*panic);
        drop_quietly(panic);
        let executed = if DECODING.take() { Executed::No } else { Executed::Yes };
        Self { text, executed }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> Option<String> {
    panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned())
}

/// Drops user code that may panic while it goes.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(value))) {
        let text = panic_text(&*panic);
        // A panic payload may itself panic when dropped; leaking one is the lesser evil.
        std::mem::forget(panic);
        tracing::error!(panic = text.as_deref().unwrap_or("unknown"), "a value panicked while it was dropped");
    }
}
