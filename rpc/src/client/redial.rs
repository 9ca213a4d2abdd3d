//! Which connection a client's calls go by, and how it gets the next one.
//!
//! A client is a handle, not a socket: when its connection is lost or leaves, the next call dials again, within its own
//! deadline. Calls that wait for the same connection share one attempt.

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::ClientOptions;
use crate::connection::driver::{self, Side};
use crate::connection::link::{Closing, Link};
use crate::frame::limits::DEFAULT_TIMEOUT;
use crate::server::Core;
use crate::transport::{Dial, Transport};
use crate::{Error, ErrorKind, Executed, Limits};

/// A client's hold on its connection. Threads have holds of their own, so that their calls do not all count up and down at
/// one place in memory.
pub(crate) struct Hold(Arc<Link>);

impl Hold {
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl Deref for Hold {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

/// Holds of a client: threads share them only when there are more threads than this.
const LANES: usize = 4;

/// The hold that some threads take, on a cache line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Lane(Mutex<Option<Arc<Hold>>>);

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Hold>>> {
        self.0.lock().expect("no user code runs under this lock")
    }
}

/// Which lane this thread takes.
fn lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static LANE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % LANES);
    LANE.with(|lane| *lane)
}

/// What all clones of a client share.
pub(crate) struct Inner {
    dial: Option<Arc<dyn Dial>>,
    current: Mutex<Current>,
    /// The present connection, by thread. Filled and emptied under the lock of `current`.
    lanes: [Lane; LANES],
    pub(crate) limits: Arc<Limits>,
    /// The deadline of calls that have none of their own.
    pub(crate) timeout: Option<Duration>,
    /// What the other end may call.
    serves: Option<Arc<Core>>,
    /// The connection is another's, and does not end with this client.
    lent: bool,
}

#[derive(Default)]
struct Current {
    link: Option<Arc<Link>>,
    attempt: Option<Arc<Attempt>>,
    closed: bool,
}

/// What a call gets when it asks for a connection.
pub(crate) enum Lease {
    Link(Arc<Hold>),
    Dialing(Arc<Attempt>),
}

/// A connection being made.
#[derive(Default)]
pub(crate) struct Attempt(Mutex<AttemptState>);

#[derive(Default)]
struct AttemptState {
    result: Option<Result<(), Error>>,
    waiting: Vec<Waker>,
}

impl Attempt {
    fn is_over(&self) -> bool {
        self.0.lock().expect("no user code runs under this lock").result.is_some()
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        // Cloning a waker may be user code.
        let waker = cx.waker().clone();
        let mut state = self.0.lock().expect("no user code runs under this lock");
        match &state.result {
            Some(Ok(())) => Poll::Ready(Ok(())),
            Some(Err(error)) => Poll::Ready(Err(error.again(Executed::No))),
            None => {
                if !state.waiting.iter().any(|known| known.will_wake(&waker)) {
                    // Few wait here, and not for long.
                    state.waiting.push(waker);
                }
                Poll::Pending
            }
        }
    }

    fn end(&self, result: Result<(), Error>) {
        let mut state = self.0.lock().expect("no user code runs under this lock");
        if state.result.is_some() {
            return;
        }
        state.result = Some(result);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waker in waiting {
            waker.wake();
        }
    }
}

impl Inner {
    pub(crate) fn new(dial: Option<Arc<dyn Dial>>, options: ClientOptions) -> Arc<Self> {
        let ClientOptions { limits, timeout, serves, .. } = options;
        Arc::new(Self { dial, current: Mutex::default(), lanes: Default::default(), limits: Arc::new(limits), timeout, serves, lent: false })
    }

    /// A client of one connection, which cannot be made again.
    pub(crate) fn over(transport: Transport, options: ClientOptions) -> Arc<Self> {
        let inner = Self::new(None, options);
        inner.current().link = Some(inner.connect(transport));
        inner
    }

    /// A client of the other end of a connection that serves: it may come and go while the connection stays.
    pub(crate) fn lent(link: Arc<Link>) -> Arc<Self> {
        let current = Current { link: Some(link.clone()), ..Current::default() };
        Arc::new(Self {
            dial: None,
            current: Mutex::new(current),
            lanes: Default::default(),
            limits: link.limits.clone(),
            timeout: Some(DEFAULT_TIMEOUT),
            serves: None,
            lent: true,
        })
    }

    fn connect(&self, transport: Transport) -> Arc<Link> {
        let (link, connection) = driver::start(transport, Side::Connecting, self.serves.clone(), &self.limits, self.limits.handshake_timeout);
        tokio::spawn(connection);
        link
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().expect("no user code runs under this lock")
    }

    /// The connection to use, or the attempt to wait for.
    ///
    /// # Errors
    /// `Unavailable` when the client is closed, or its only connection is gone.
    #[inline]
    pub(crate) fn lease(self: &Arc<Self>) -> Result<Lease, Error> {
        let lane = &self.lanes[lane()];
        if let Some(hold) = &*lane.lock() {
            return Ok(Lease::Link(hold.clone()));
        }
        let mut current = self.current();
        if current.closed {
            return Err(Error::new(ErrorKind::Unavailable, "the client is closed"));
        }
        if let Some(link) = &current.link {
            let hold = Arc::new(Hold(link.clone()));
            *lane.lock() = Some(hold.clone());
            return Ok(Lease::Link(hold));
        }
        if let Some(attempt) = current.attempt.as_ref().filter(|attempt| !attempt.is_over()) {
            return Ok(Lease::Dialing(attempt.clone()));
        }
        let Some(dial) = self.dial.clone() else {
            return Err(Error::new(ErrorKind::Unavailable, "the connection is gone, and this client has no address to dial"));
        };
        let attempt = Arc::new(Attempt::default());
        current.attempt = Some(attempt.clone());
        drop(current);
        // It ends in any case: without a runtime, with one that shuts down, with a dialer that panics.
        let ends = Ends(attempt.clone());
        tokio::spawn(attempt_to_connect(Arc::downgrade(self), dial, ends, self.limits.connect_timeout));
        Ok(Lease::Dialing(attempt))
    }

    /// This connection takes no more calls. False if there cannot be another.
    pub(crate) fn replace(&self, hold: &Hold) -> bool {
        let mut current = self.current();
        if current.link.as_ref().is_some_and(|known| Arc::ptr_eq(known, &hold.0)) && self.dial.is_some() {
            current.link = None;
            self.empty_lanes();
        }
        self.dial.is_some() && !current.closed
    }

    fn empty_lanes(&self) {
        for lane in &self.lanes {
            *lane.lock() = None;
        }
    }

    /// Takes no more calls; gives the connection to wait for.
    pub(crate) fn close(&self) -> Option<Arc<Link>> {
        let mut current = self.current();
        current.closed = true;
        let link = current.link.take();
        self.empty_lanes();
        drop(current);
        let link = link.filter(|_| !self.lent);
        if let Some(link) = &link {
            link.close(Closing::Drain);
        }
        link
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Ends the attempt in any case, a runtime that shuts down included.
struct Ends(Arc<Attempt>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end(Err(Error::new(ErrorKind::Unavailable, "the attempt to connect was dropped")));
    }
}

async fn attempt_to_connect(client: std::sync::Weak<Inner>, dial: Arc<dyn Dial>, ends: Ends, patience: Duration) {
    let dialled = tokio::time::timeout(patience, dial.dial())
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time (Limits::connect_timeout)")));
    let Some(client) = client.upgrade() else { return };
    let mut current = client.current();
    current.attempt = None;
    let result = match dialled {
        Ok(_) if current.closed => Err(Error::new(ErrorKind::Unavailable, "the client is closed")),
        Ok(transport) => {
            current.link = Some(client.connect(transport));
            Ok(())
        }
        Err(error) => Err(Error::new(ErrorKind::Unavailable, "no connection could be made").caused_by(error)),
    };
    drop(current);
    ends.0.end(result);
}
