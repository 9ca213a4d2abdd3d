//! From a listener to connections, and their end: the accept loop, the limit on connections, draining.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NotConnected};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::Core;
use crate::Limits;
use crate::connection::driver::{self, Connection, Side};
use crate::connection::ending::code;
use crate::connection::link::{Closing, Link};
use crate::frame::codec::{self, Frame, kind};
#[cfg(feature = "http")]
use crate::http;
use crate::log::log_limited;
use crate::transport::{Listen, Transport};

/// Waits after an error of the listener: out of file descriptors, say. Doubled while errors go on.
const ERROR_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_ERROR_PAUSE: Duration = Duration::from_millis(640);

/// Handshakes at the same time that end in a refusal.
#[cfg(feature = "tls")]
const REFUSALS: usize = 64;

/// The connections of a server. Dropping it drops them.
pub(crate) struct Connections {
    core: Arc<Core>,
    open: Arc<Mutex<BTreeMap<u64, Open>>>,
    /// Handshakes with peers that are then told that they are too many.
    #[cfg(feature = "tls")]
    refusals: Arc<tokio::sync::Semaphore>,
}

struct Open {
    way: Way,
    task: AbortHandle,
}

/// How far a connection has come.
enum Way {
    /// In the handshake of TLS, or silent so far where its first bytes have to say what it speaks.
    #[cfg(any(feature = "tls", feature = "http"))]
    Opening,
    Framed(Weak<Link>),
    /// It hears of a drain by itself.
    #[cfg(feature = "http")]
    Http,
}

/// A connection that is open, and what is left of the time to say hello.
enum Opened {
    Framed(Transport, Duration),
    #[cfg(feature = "http")]
    Http(Transport, Duration),
}

impl Connections {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            open: Arc::default(),
            #[cfg(feature = "tls")]
            refusals: Arc::new(tokio::sync::Semaphore::new(REFUSALS)),
        }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Open>> {
        self.open.lock().expect("no user code runs under this lock")
    }

    /// Accepts until told to stop.
    pub(crate) async fn accept_until(&self, mut listener: Box<dyn Listen>, stop: impl Future<Output = ()>) {
        #[cfg(feature = "tls")]
        let _watch = self.core.tls.as_ref().map(crate::tls::ServerTls::watch);
        let mut stop = pin!(stop);
        let mut pause = ERROR_PAUSE;
        let mut next = 0;
        loop {
            let Some(accepted) = unless(stop.as_mut(), listener.accept()).await else { return };
            match accepted {
                Ok(transport) => {
                    pause = ERROR_PAUSE;
                    next += 1;
                    self.take(next, transport);
                }
                // The fault of one connection, which is gone; the next one may be waiting.
                Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionReset | NotConnected | Interrupted) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                }
                Err(error) => {
                    log_limited!(warn, "a connection could not be accepted: {error}");
                    // The listener is ready again at once while the cause stays: spinning would help nobody.
                    if unless(stop.as_mut(), sleep(pause)).await.is_none() {
                        return;
                    }
                    pause = (2 * pause).min(LONGEST_ERROR_PAUSE);
                }
            }
        }
    }

    fn take(&self, number: u64, transport: Transport) {
        let mut connections = self.open();
        if connections.len() >= self.core.limits.max_connections {
            drop(connections);
            log_limited!(warn, "a connection was refused: {} are open (Limits::max_connections)", self.core.limits.max_connections);
            self.refuse(transport);
            return;
        }
        tracing::debug!(peer = transport.peer.address(), "connection accepted");
        #[cfg(any(feature = "tls", feature = "http"))]
        if opens_slowly(&self.core) {
            // That takes as long as the peer likes: in a task of its own, which counts as a connection.
            let task = tokio::spawn(serve_slowly(self.open.clone(), self.core.clone(), number, transport));
            connections.insert(number, Open { way: Way::Opening, task: task.abort_handle() });
            return;
        }
        let core = &self.core;
        let (limits, schemas) = (&core.limits, core.schemas.clone());
        let (link, connection) = driver::start(transport, Side::Accepting, Some(core.clone()), limits, limits.handshake_timeout, schemas);
        let (open, core) = (self.open.clone(), self.core.clone());
        let weak = Arc::downgrade(&link);
        let task = tokio::spawn(Box::new(Listed { connection, _gone: Gone { open, core, number } }));
        connections.insert(number, Open { way: Way::Framed(weak), task: task.abort_handle() });
    }

    fn refuse(&self, transport: Transport) {
        // A handshake is work: there is not one for everybody who is turned away. The others see their connection end.
        #[cfg(feature = "tls")]
        let permit = match (&self.core.tls, self.refusals.clone().try_acquire_owned()) {
            (None, _) => None,
            (Some(_), Ok(permit)) => Some(permit),
            (Some(_), Err(_)) => return,
        };
        let core = self.core.clone();
        tokio::spawn(async move {
            #[cfg(feature = "tls")]
            let _permit = permit;
            match open(&core, transport).await {
                Some(Opened::Framed(transport, left)) => refuse(transport, &core.limits, left).await,
                #[cfg(feature = "http")]
                Some(Opened::Http(transport, left)) => http::refuse(core, transport, left).await,
                None => {}
            }
        });
    }

    /// Tells every client to leave, and waits for calls in flight, detached handlers included.
    pub(crate) async fn drain(&self) {
        let until = Instant::now().checked_add(self.core.limits.drain_grace);
        // Nothing has begun on a connection that is not open yet, and its peer may take long: it is dropped.
        #[cfg(any(feature = "tls", feature = "http"))]
        self.open().retain(|_, open| {
            let is_opening = matches!(open.way, Way::Opening);
            if is_opening {
                open.task.abort();
            }
            !is_opening
        });
        #[cfg(feature = "http")]
        if let Some(door) = &self.core.http {
            door.drain();
        }
        let link = |open: &Open| match &open.way {
            Way::Framed(link) => link.upgrade(),
            #[cfg(any(feature = "tls", feature = "http"))]
            _ => None,
        };
        let links: Vec<_> = self.open().values().filter_map(link).collect();
        for link in &links {
            link.close(Closing::Drain);
        }
        let ended = async {
            loop {
                let mut told = pin!(self.core.ended.notified());
                told.as_mut().enable();
                if self.open().is_empty() && self.core.handlers.load(Ordering::Acquire) == 0 {
                    return;
                }
                told.await;
            }
        };
        let in_time = match until {
            Some(until) => timeout_at(until, ended).await.is_ok(),
            None => {
                ended.await;
                true
            }
        };
        if !in_time {
            tracing::warn!(
                connections = self.open().len(),
                handlers = self.core.handlers.load(Ordering::Acquire),
                "not all calls ended within the grace (Limits::drain_grace): they are cancelled"
            );
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        for open in self.open().values() {
            open.task.abort();
        }
    }
}

/// What `work` gives, or nothing if `stop` is ready first.
pub(crate) async fn unless<T>(mut stop: Pin<&mut impl Future<Output = ()>>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match stop.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(cx).map(Some),
    })
    .await
}

/// Takes a connection off the list, however its task ends.
struct Gone {
    open: Arc<Mutex<BTreeMap<u64, Open>>>,
    core: Arc<Core>,
    number: u64,
}

impl Drop for Gone {
    fn drop(&mut self) {
        self.open.lock().expect("no user code runs under this lock").remove(&self.number);
        self.core.ended.notify_waiters();
    }
}

/// A connection on the list, as the task that it is: one allocation beside tokio's own, and no larger than it has to be.
struct Listed {
    connection: Connection,
    _gone: Gone,
}

impl Future for Listed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.connection).poll(cx)
    }
}

/// Serves one connection that no list knows of.
pub(crate) async fn serve(core: Arc<Core>, transport: Transport) {
    match open(&core, transport).await {
        Some(Opened::Framed(transport, left)) => {
            let schemas = core.schemas.clone();
            let (_link, connection) = driver::start(transport, Side::Accepting, Some(core.clone()), &core.limits, left, schemas);
            Box::new(connection).await;
        }
        #[cfg(feature = "http")]
        Some(Opened::Http(transport, _)) => Box::pin(http::serve(core, transport)).await,
        None => {}
    }
}

/// The transport inside TLS if this server takes nothing else, and what is spoken on it. None if the peer did not make it through
/// the handshake.
async fn open(core: &Core, transport: Transport) -> Option<Opened> {
    let patience = core.limits.handshake_timeout;
    #[cfg(feature = "tls")]
    let (transport, patience) = match &core.tls {
        Some(tls) => {
            let until = Instant::now().checked_add(patience);
            // Boxed, or every connection would keep room for it all its life.
            let transport = Box::pin(tls.accept(transport, until)).await?;
            (transport, left(until, patience))
        }
        None => (transport, patience),
    };
    #[cfg(feature = "http")]
    if core.http.is_some() {
        let until = Instant::now().checked_add(patience);
        let (is_http, transport) = Box::pin(http::recognise(transport, until)).await;
        let patience = left(until, patience);
        return Some(match is_http {
            true => Opened::Http(transport, patience),
            false => Opened::Framed(transport, patience),
        });
    }
    Some(Opened::Framed(transport, patience))
}

#[cfg(any(feature = "tls", feature = "http"))]
fn left(until: Option<Instant>, without: Duration) -> Duration {
    until.map_or(without, |until| until.saturating_duration_since(Instant::now()))
}

/// Bytes have to come and go before a connection can be served.
#[cfg(any(feature = "tls", feature = "http"))]
fn opens_slowly(core: &Core) -> bool {
    let mut slowly = false;
    #[cfg(feature = "tls")]
    {
        slowly |= core.tls.is_some();
    }
    #[cfg(feature = "http")]
    {
        slowly |= core.http.is_some();
    }
    slowly
}

/// The task of a connection that has to be opened.
#[cfg(any(feature = "tls", feature = "http"))]
async fn serve_slowly(open_ones: Arc<Mutex<BTreeMap<u64, Open>>>, core: Arc<Core>, number: u64, transport: Transport) {
    let _gone = Gone { open: open_ones.clone(), core: core.clone(), number };
    // False: the server has begun to drain since.
    let goes = |way: Way| match open_ones.lock().expect("no user code runs under this lock").get_mut(&number) {
        Some(open) => {
            open.way = way;
            true
        }
        None => false,
    };
    match open(&core, transport).await {
        Some(Opened::Framed(transport, left)) => {
            let schemas = core.schemas.clone();
            let (link, connection) = driver::start(transport, Side::Accepting, Some(core.clone()), &core.limits, left, schemas);
            let connection = Box::new(connection);
            let is_welcome = goes(Way::Framed(Arc::downgrade(&link)));
            drop(link);
            if is_welcome {
                connection.await;
            }
        }
        #[cfg(feature = "http")]
        Some(Opened::Http(transport, _)) => {
            let is_welcome = goes(Way::Http);
            if is_welcome {
                Box::pin(http::serve(core, transport)).await;
            }
        }
        None => {}
    }
}

/// One connection too many: it is told so.
async fn refuse(mut transport: Transport, limits: &Limits, left: Duration) {
    let mut out = Vec::new();
    codec::write_preface(&mut out);
    codec::write_hello(&mut out, &limits.allowance());
    let text = "the server has too many connections (Limits::max_connections)";
    Frame::new(&mut out, kind::GO_AWAY).number(code::OVERLOADED).number(0).text(text).end(0);
    let told = async {
        transport.write.write_all(&out).await?;
        transport.write.shutdown().await?;
        // A socket that is closed with bytes unread resets the connection, and what was said with it.
        tokio::io::copy(&mut transport.read.take(64 << 10), &mut tokio::io::sink()).await
    };
    // As long as the peer may take to say hello.
    let _ = tokio::time::timeout(left, told).await;
}
