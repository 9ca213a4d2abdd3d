//! How a client gets its connections, and gives them up.
//!
//! A client is a handle, not a socket: when its connection is lost or leaves, the next call dials again, within its own
//! deadline. Calls that wait for the same connection share one attempt. A client that may have several makes the next when
//! those it has are busy, and no call waits for that; which of them a call goes by is `pool.rs`.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::ClientOptions;
use super::pool::{Held, Hold, LANES, Pooled, Spread};
use crate::connection::driver::{self, Side};
use crate::connection::link::{Closing, Link};
use crate::connection::waking::wake_all;
use crate::frame::limits::DEFAULT_TIMEOUT;
use crate::log::log_limited;
use crate::schema::exchange::Schemas;
use crate::server::Core;
use crate::transport::{Dial, Transport};
use crate::{Error, ErrorKind, Executed, Limits};

/// After another connection could not be made, until it is tried again. Calls go by those that are there.
const PAUSE: Duration = Duration::from_secs(1);

/// What some threads lend from, on a cache line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Lane(Mutex<Stock>);

#[derive(Default)]
enum Stock {
    #[default]
    Nothing,
    /// The client's only connection.
    One(Arc<Hold>),
    /// Of a client that may have several.
    Several(Spread),
}

impl Lane {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Stock> {
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
    /// The first connection of a client that has one at a time, found without a lock until it was given up.
    first: OnceLock<Arc<Hold>>,
    first_is_gone: AtomicBool,
    /// The present connections, by thread. Filled and emptied under the lock of `current`.
    lanes: [Lane; LANES],
    /// At most so many.
    connections: usize,
    /// Another one is being made, or cannot be for now.
    growing: AtomicBool,
    pub(crate) limits: Arc<Limits>,
    /// The deadline of calls that have none of their own.
    pub(crate) timeout: Option<Duration>,
    /// Of services that the peer serves.
    schemas: Arc<Schemas>,
    /// What the other end may call.
    serves: Option<Arc<Core>>,
    /// The connection is another's, and does not end with this client.
    lent: bool,
}

#[derive(Default)]
struct Current {
    pool: Vec<Arc<Pooled>>,
    attempt: Option<Arc<Attempt>>,
    /// Another connection, whose server has not said that it is welcome.
    opening: Option<Arc<Link>>,
    closed: bool,
}

/// What a call gets when it asks for a connection.
pub(crate) enum Lease<'c> {
    Link(Held<'c>),
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
        wake_all(waiting);
    }
}

impl Inner {
    pub(crate) fn new(dial: Option<Arc<dyn Dial>>, options: ClientOptions) -> Arc<Self> {
        let ClientOptions { limits, timeout, serves, strictness, connections, .. } = options;
        Arc::new(Self {
            dial,
            current: Mutex::default(),
            first: OnceLock::new(),
            first_is_gone: AtomicBool::new(false),
            lanes: Default::default(),
            connections,
            growing: AtomicBool::new(false),
            limits: Arc::new(limits),
            timeout,
            schemas: Schemas::new(strictness),
            serves,
            lent: false,
        })
    }

    /// A client of one connection, which cannot be made again.
    pub(crate) fn over(transport: Transport, options: ClientOptions) -> Arc<Self> {
        let inner = Self::new(None, options.connections(1));
        let link = inner.connect(transport);
        inner.current().pool.push(Pooled::new(link));
        inner
    }

    /// A client of the other end of a connection that serves: it may come and go while the connection stays.
    pub(crate) fn lent(link: Arc<Link>) -> Arc<Self> {
        let (limits, schemas) = (link.limits.clone(), link.schemas.clone());
        let current = Current { pool: vec![Pooled::new(link)], ..Current::default() };
        Arc::new(Self {
            dial: None,
            current: Mutex::new(current),
            first: OnceLock::new(),
            first_is_gone: AtomicBool::new(false),
            lanes: Default::default(),
            connections: 1,
            growing: AtomicBool::new(false),
            limits,
            timeout: Some(DEFAULT_TIMEOUT),
            schemas,
            serves: None,
            lent: true,
        })
    }

    fn connect(&self, transport: Transport) -> Arc<Link> {
        let (serves, handshake) = (self.serves.clone(), self.limits.handshake_timeout);
        let (link, connection) = driver::start(transport, Side::Connecting, serves, &self.limits, handshake, self.schemas.clone());
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
    pub(crate) fn lease(self: &Arc<Self>) -> Result<Lease<'_>, Error> {
        if let Some(first) = self.first.get()
            && !self.first_is_gone.load(Ordering::Acquire)
        {
            return Ok(Lease::Link(Held::First(first)));
        }
        self.lease_counted()
    }

    /// The same for as long as the call likes.
    pub(crate) fn lease_counted<'any>(self: &Arc<Self>) -> Result<Lease<'any>, Error> {
        let number = lane();
        let mut lane = self.lanes[number].lock();
        match &mut *lane {
            Stock::One(hold) => Ok(Lease::Link(Held::Counted(hold.clone()))),
            Stock::Several(spread) => {
                let (hold, wanted) = spread.lend();
                drop(lane);
                Ok(self.lend(hold, wanted))
            }
            Stock::Nothing => {
                drop(lane);
                self.fill(number)
            }
        }
    }

    fn lend<'any>(self: &Arc<Self>, hold: Arc<Hold>, wanted: bool) -> Lease<'any> {
        if wanted && !self.growing.load(Ordering::Relaxed) {
            self.grow();
        }
        Lease::Link(Held::Counted(hold))
    }

    /// Hands the lane what there is, or dials.
    #[cold]
    fn fill<'any>(self: &Arc<Self>, number: usize) -> Result<Lease<'any>, Error> {
        let mut current = self.current();
        if current.closed {
            return Err(Error::new(ErrorKind::Unavailable, "the client is closed"));
        }
        match &*current.pool {
            [] => {}
            [only] if self.connections == 1 => {
                let hold = only.hold(number).clone();
                *self.lanes[number].lock() = Stock::One(hold.clone());
                // Once it is set it stays: of a later connection this changes nothing.
                let _ = self.first.set(hold.clone());
                return Ok(Lease::Link(Held::Counted(hold)));
            }
            pool => {
                let mut spread = Spread::new(pool, number, self.connections);
                let (hold, wanted) = spread.lend();
                *self.lanes[number].lock() = Stock::Several(spread);
                drop(current);
                return Ok(self.lend(hold, wanted));
            }
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

    /// Makes another connection beside those there are. Nobody waits for it.
    #[cold]
    fn grow(self: &Arc<Self>) {
        let Some(dial) = self.dial.clone() else { return };
        // Whoever has a connection may call outside a runtime.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.growing.swap(true, Ordering::AcqRel) {
            runtime.spawn(attempt_to_grow(Growing(Arc::downgrade(self)), dial, self.limits.connect_timeout));
        }
    }

    /// This connection takes no more calls, for this reason. False if the call cannot go by another.
    pub(crate) fn replace(&self, hold: &Hold, reason: &Error) -> bool {
        let mut current = self.current();
        if self.dial.is_none() || current.closed {
            return false;
        }
        let is_it = |pooled: &Pooled| Arc::ptr_eq(&pooled.link, hold.link());
        if current.pool.iter().any(|pooled| is_it(pooled)) {
            // Others may have gone with it: a call tries few in vain.
            current.pool.retain(|pooled| !is_it(pooled) && pooled.link.takes_calls());
            self.first_is_gone.store(true, Ordering::Release);
            self.empty_lanes();
        }
        // A server that has too much to do, or does not want this client, is not asked again at once.
        !current.pool.is_empty() || reason.kind() == ErrorKind::Unavailable
    }

    fn empty_lanes(&self) {
        for lane in &self.lanes {
            *lane.lock() = Stock::Nothing;
        }
    }

    /// Takes no more calls; gives the connections to wait for.
    pub(crate) fn close(&self) -> Vec<Arc<Link>> {
        let mut current = self.current();
        current.closed = true;
        self.first_is_gone.store(true, Ordering::Release);
        let (pool, opening) = (std::mem::take(&mut current.pool), current.opening.take());
        self.empty_lanes();
        drop(current);
        if self.lent {
            return Vec::new();
        }
        let links: Vec<_> = pool.iter().map(|pooled| pooled.link.clone()).chain(opening).collect();
        for link in &links {
            link.close(Closing::Drain);
        }
        links
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

/// A connection within `Limits::connect_timeout`.
async fn dial_in_time(dial: &dyn Dial, patience: Duration) -> io::Result<Transport> {
    tokio::time::timeout(patience, dial.dial())
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time (Limits::connect_timeout)")))
}

async fn attempt_to_connect(client: Weak<Inner>, dial: Arc<dyn Dial>, ends: Ends, patience: Duration) {
    let dialled = dial_in_time(&*dial, patience).await;
    let Some(client) = client.upgrade() else { return };
    let mut current = client.current();
    current.attempt = None;
    let result = match dialled {
        Ok(_) if current.closed => Err(Error::new(ErrorKind::Unavailable, "the client is closed")),
        Ok(transport) => {
            let link = client.connect(transport);
            current.pool.push(Pooled::new(link));
            client.empty_lanes();
            Ok(())
        }
        Err(error) => Err(Error::new(ErrorKind::Unavailable, "no connection could be made").caused_by(error)),
    };
    drop(current);
    ends.0.end(result);
}

/// That another connection is being made, until this is dropped: at the end of the attempt, or with its runtime.
struct Growing(Weak<Inner>);

impl Drop for Growing {
    fn drop(&mut self) {
        if let Some(client) = self.0.upgrade() {
            client.growing.store(false, Ordering::Release);
        }
    }
}

async fn attempt_to_grow(client: Growing, dial: Arc<dyn Dial>, patience: Duration) {
    if let Err(error) = add_connection(&client.0, &*dial, patience).await {
        log_limited!(warn, "no further connection could be made, calls share those there are: {error}");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn add_connection(client: &Weak<Inner>, dial: &dyn Dial, patience: Duration) -> Result<(), io::Error> {
    let transport = dial_in_time(dial, patience).await?;
    let link = {
        let Some(client) = client.upgrade() else { return Ok(()) };
        let mut current = client.current();
        if current.closed || current.pool.len() >= client.connections {
            return Ok(());
        }
        let link = client.connect(transport);
        current.opening = Some(link.clone());
        link
    };
    // A server that takes no more connections says so at once: no call should hear that while others are there.
    link.greet();
    poll_fn(|cx| link.poll_greeted(cx)).await;
    // Without the client it was closed by its end.
    let Some(client) = client.upgrade() else { return Ok(()) };
    let mut current = client.current();
    current.opening = None;
    if current.closed {
        return Ok(());
    }
    if !link.takes_calls() {
        return Err(io::Error::other(link.lock().outbound.closed().to_string()));
    }
    current.pool.push(Pooled::new(link));
    client.empty_lanes();
    Ok(())
}
