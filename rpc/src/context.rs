//! What a handler may know of the call it serves: deadline, metadata, peer, cancellation.
//!
//! `server/dispatch.rs` makes it, only for methods that ask. Also here: the deadline that nested calls inherit.

use std::cell::Cell;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Client;
use crate::connection::link::Link;
use crate::frame::codec;

/// The call a handler serves. Take it as the first argument after `&self`: `async fn pay(&self, cx: &Context, ..)`.
///
/// The client's method has no such argument.
#[derive(Clone)]
pub struct Context {
    pub(crate) deadline: Option<Instant>,
    pub(crate) metadata: Option<Arc<Metadata>>,
    pub(crate) link: Arc<Link>,
    pub(crate) ticket: Arc<Ticket>,
}

impl Context {
    /// When the caller stops waiting; `None` if it never does.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The time left until the deadline, zero once it has passed; `None` without one.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The value the caller gave this key. Keys are compared as written; the last of equal keys wins.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.as_ref()?.get(key)
    }

    /// Who is calling.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.link.peer
    }

    /// The caller, to be called in its turn: what it [serves](crate::ClientOptions::serve), over the same connection.
    ///
    /// `ViewerClient::from(cx.caller())` calls it by its trait. A call made inside the handler has no more time than the handler.
    /// The client may be kept for longer than the call, to tell the caller of something later: once the connection is gone its
    /// calls fail as `Unavailable`. It keeps no connection open, and closing it closes none.
    #[must_use]
    pub fn caller(&self) -> Client {
        Client::lent(self.link.clone())
    }

    /// The caller is gone, has given up, or its deadline has passed. Only a detached handler lives to see it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.ticket.state() != Ticket::RUNNING
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled). Dropping the future is free.
    pub async fn cancelled(&self) {
        loop {
            let mut told = pin!(self.ticket.told.notified());
            // On the list before the state is looked at: `stop` sets the state before it tells the list.
            told.as_mut().enable();
            if self.is_cancelled() {
                return;
            }
            told.await;
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values of metadata may be secrets.
        f.debug_struct("Context").field("deadline", &self.deadline).field("metadata", &self.metadata).field("peer", self.peer()).finish()
    }
}

/// The other end of a connection.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    pub(crate) address: String,
    pub(crate) certificates: Box<[Vec<u8>]>,
}

impl Peer {
    /// Without certificates.
    pub(crate) fn at(address: impl Into<String>) -> Self {
        Self { address: address.into(), certificates: Box::default() }
    }

    /// Where it calls from: `127.0.0.1:50312`, or `unix`, or `memory`, or what the transport says.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The certificates by which it has proved who it is, in DER: its own, then those between it and its authority. None unless
    /// the server asks for them (`tls::ServerTls::client_ca`), or the transport gives some of its own.
    #[must_use]
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Peer");
        debug.field("address", &self.address);
        if !self.certificates.is_empty() {
            // A number of them: nobody reads kilobytes of DER.
            debug.field("certificates", &self.certificates.len());
        }
        debug.finish()
    }
}

/// Pairs of text that travel with a call: tenant, token, trace.
///
/// Keys that a server does not know are ignored. Together they may have `Limits::max_metadata` bytes.
#[derive(Clone, Default, PartialEq, Eq)]
// As it stood in the frame, where it was checked: pairs of text would cost a multiple of their bytes.
pub struct Metadata(pub(crate) Box<[u8]>);

impl Metadata {
    /// The last value of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// All pairs, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        codec::read_metadata(&self.0)
    }

    /// No pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Keys only: values may be secrets.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(key, _)| key)).finish()
    }
}

/// How one running call is told to stop. Reused from call to call while nobody else holds it.
#[derive(Default)]
pub(crate) struct Ticket {
    state: AtomicU8,
    /// The task that runs the handler.
    runner: Mutex<Option<Waker>>,
    /// Those who wait for [`Context::cancelled`].
    told: Notify,
}

impl Ticket {
    pub(crate) const RUNNING: u8 = 0;
    pub(crate) const CANCELLED: u8 = 1;
    pub(crate) const EXPIRED: u8 = 2;
    pub(crate) const LOST: u8 = 3;

    pub(crate) fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }

    /// The first reason stands.
    pub(crate) fn stop(&self, reason: u8) {
        if self.state.compare_exchange(Self::RUNNING, reason, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let runner = self.runner.lock().expect("no user code runs under this lock").take();
            runner.inspect(Waker::wake_by_ref);
            self.told.notify_waiters();
        }
    }

    /// For the task that runs the handler: a waker of tokio's.
    pub(crate) fn poll_stopped(&self, waker: &Waker) -> Poll<()> {
        if self.state() != Self::RUNNING {
            return Poll::Ready(());
        }
        let mut runner = self.runner.lock().expect("no user code runs under this lock");
        if !runner.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *runner = Some(waker.clone());
        }
        // `stop` sets the state before it takes the waker: whoever comes after that sees the state.
        if self.state() == Self::RUNNING { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Ready for the next call, if this is the only handle.
    pub(crate) fn reuse(self: &mut Arc<Self>) {
        match Arc::get_mut(self) {
            Some(ticket) => {
                *ticket.state.get_mut() = Self::RUNNING;
                ticket.runner.get_mut().expect("no user code runs under this lock").take();
            }
            None => *self = Arc::default(),
        }
    }
}

thread_local!(static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) });

/// The deadline of the handler that is being polled on this thread; calls it makes have no more time than that.
pub(crate) fn inherited_deadline() -> Option<Instant> {
    DEADLINE.get()
}

/// Sets the inherited deadline for as long as it lives.
pub(crate) struct Inherit(Option<Instant>);

impl Inherit {
    pub(crate) fn new(deadline: Option<Instant>) -> Self {
        Self(DEADLINE.replace(deadline))
    }
}

impl Drop for Inherit {
    fn drop(&mut self) {
        DEADLINE.set(self.0);
    }
}
