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
use crate::connection::driver::{self, Side};
use crate::connection::ending::code;
use crate::connection::link::{Closing, Link};
use crate::frame::codec::{self, Frame, kind};
use crate::log::log_limited;
use crate::transport::{Listen, Transport};

/// Waits after an error of the listener: out of file descriptors, say. Doubled while errors go on.
const ERROR_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_ERROR_PAUSE: Duration = Duration::from_millis(640);

/// The connections of a server. Dropping it drops them.
pub(crate) struct Connections {
    core: Arc<Core>,
    open: Arc<Mutex<BTreeMap<u64, Open>>>,
}

struct Open {
    link: Weak<Link>,
    task: AbortHandle,
}

impl Connections {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, open: Arc::default() }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Open>> {
        self.open.lock().expect("no user code runs under this lock")
    }

    /// Accepts until told to stop.
    pub(crate) async fn accept_until(&self, mut listener: Box<dyn Listen>, stop: impl Future<Output = ()>) {
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
            tokio::spawn(refuse(transport, self.core.limits));
            return;
        }
        tracing::debug!(peer = transport.peer, "connection accepted");
        let (link, driver) = driver::start(transport, Side::Accepting, Some(self.core.clone()), self.core.limits);
        let (open, core) = (self.open.clone(), self.core.clone());
        let weak = Arc::downgrade(&link);
        let task = tokio::spawn(async move {
            let _gone = Gone { open, core, number };
            driver.await;
        });
        connections.insert(number, Open { link: weak, task: task.abort_handle() });
    }

    /// Tells every client to leave, and waits for calls in flight, detached handlers included.
    pub(crate) async fn drain(&self) {
        let until = Instant::now().checked_add(self.core.limits.drain_grace);
        let links: Vec<_> = self.open().values().filter_map(|open| open.link.upgrade()).collect();
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

/// One connection too many: it is told so.
async fn refuse(mut transport: Transport, limits: crate::Limits) {
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
