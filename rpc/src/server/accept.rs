//! From a listener to connections, and their end: the accept loop, the limit on connections, draining.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NotConnected};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::Core;
use crate::Limits;
use crate::connection::driver::{self, Side};
use crate::connection::ending::code;
use crate::connection::link::{Closing, Link};
use crate::frame::codec::{self, Frame, kind};
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
    /// None while the peer is in the handshake of TLS.
    link: Option<Weak<Link>>,
    task: AbortHandle,
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
        #[cfg(feature = "tls")]
        if self.core.tls.is_some() {
            // The handshake takes as long as the peer likes: in a task of its own, which counts as a connection.
            let task = tokio::spawn(serve_secured(self.open.clone(), self.core.clone(), number, transport));
            connections.insert(number, Open { link: None, task: task.abort_handle() });
            return;
        }
        let (link, driver) = driver::start(transport, Side::Accepting, Some(self.core.clone()), self.core.limits, self.core.schemas.clone());
        let (open, core) = (self.open.clone(), self.core.clone());
        let weak = Arc::downgrade(&link);
        let task = tokio::spawn(async move {
            let _gone = Gone { open, core, number };
            driver.await;
        });
        connections.insert(number, Open { link: Some(weak), task: task.abort_handle() });
    }

    #[cfg(not(feature = "tls"))]
    fn refuse(&self, transport: Transport) {
        tokio::spawn(refuse(transport, self.core.limits));
    }

    #[cfg(feature = "tls")]
    fn refuse(&self, transport: Transport) {
        if self.core.tls.is_none() {
            tokio::spawn(refuse(transport, self.core.limits));
            return;
        }
        // A handshake is work: there is not one for everybody who is turned away. The others see their connection end.
        let Ok(permit) = self.refusals.clone().try_acquire_owned() else { return };
        let core = self.core.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Some((transport, limits)) = secure(&core, transport).await {
                refuse(transport, limits).await;
            }
        });
    }

    /// Tells every client to leave, and waits for calls in flight, detached handlers included.
    pub(crate) async fn drain(&self) {
        let until = Instant::now().checked_add(self.core.limits.drain_grace);
        // Nothing has begun on a connection in its handshake, and its peer may take long: it is dropped.
        self.open().retain(|_, open| {
            if open.link.is_none() {
                open.task.abort();
            }
            open.link.is_some()
        });
        let links: Vec<_> = self.open().values().filter_map(|open| open.link.as_ref()?.upgrade()).collect();
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
async fn unless<T>(mut stop: Pin<&mut impl Future<Output = ()>>, work: impl Future<Output = T>) -> Option<T> {
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

/// The transport inside TLS if this server takes nothing else, and limits with what is left of the time to say hello. None if
/// the peer did not make it through the handshake.
pub(crate) async fn secure(core: &Core, transport: Transport) -> Option<(Transport, Limits)> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &core.tls {
        let until = Instant::now().checked_add(core.limits.handshake_timeout);
        // Boxed, or every connection would keep room for it all its life.
        let transport = Box::pin(tls.accept(transport, until)).await?;
        let left = until.map_or(core.limits.handshake_timeout, |until| until.saturating_duration_since(Instant::now()));
        return Some((transport, Limits { handshake_timeout: left, ..core.limits }));
    }
    Some((transport, core.limits))
}

/// The task of a connection with TLS.
#[cfg(feature = "tls")]
async fn serve_secured(open: Arc<Mutex<BTreeMap<u64, Open>>>, core: Arc<Core>, number: u64, transport: Transport) {
    let _gone = Gone { open: open.clone(), core: core.clone(), number };
    let Some((transport, limits)) = secure(&core, transport).await else { return };
    let schemas = core.schemas.clone();
    let (link, driver) = driver::start(transport, Side::Accepting, Some(core), limits, schemas);
    let is_welcome = match open.lock().expect("no user code runs under this lock").get_mut(&number) {
        Some(open) => {
            open.link = Some(Arc::downgrade(&link));
            true
        }
        // The server has begun to drain since.
        None => false,
    };
    drop(link);
    if is_welcome {
        driver.await;
    }
}

/// One connection too many: it is told so.
async fn refuse(mut transport: Transport, limits: Limits) {
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
    let _ = tokio::time::timeout(limits.handshake_timeout, told).await;
}
