//! The hook that sees each call before its arguments are decoded, and may refuse it.
//!
//! `dispatch.rs` asks it; what it has not decided at once is waited for in `runner.rs`. Of requests by HTTP `http/door.rs` asks it,
//! before they become calls.

use std::fmt;
use std::future::Future;
#[cfg(feature = "http")]
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use async_trait::async_trait;
use tokio::time::Instant;

use super::handler::drop_quietly;
use super::runner::Gate;
use crate::context::{Metadata, Peer};
use crate::{Error, ErrorKind};

/// What a hook sees of a call: everything but its arguments.
#[derive(Clone)]
#[non_exhaustive]
pub struct CallInfo {
    /// `Shop.pay`, or the name of a run-time method.
    pub method: String,
    /// What the caller sent along.
    pub metadata: Arc<Metadata>,
    /// Who calls.
    pub peer: Arc<Peer>,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

impl fmt::Debug for CallInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallInfo").field("method", &self.method).field("metadata", &self.metadata).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Sees every call before its arguments are decoded, and may refuse it.
///
/// Any `Fn(&CallInfo) -> Result<(), Error>` is one.
#[async_trait]
pub trait Hook: Send + Sync + 'static {
    /// Lets the call pass, or refuses it.
    ///
    /// # Errors
    /// The caller gets this error's kind and message, with `executed: No`. Make it with [`Error::new`]. Kinds that only a
    /// caller can know (`Unavailable`, `Service`, `Protocol`, `InvalidInput`) arrive as `Internal`.
    ///
    /// # Cancellation
    /// The future is dropped when the call is cancelled or its deadline passes.
    async fn before(&self, call: &CallInfo) -> Result<(), Error>;
}

#[async_trait]
impl<F> Hook for F
where
    F: Fn(&CallInfo) -> Result<(), Error> + Send + Sync + 'static,
{
    async fn before(&self, call: &CallInfo) -> Result<(), Error> {
        self(call)
    }
}

/// Asks the hook, and waits for what it says.
#[cfg(feature = "http")]
pub(crate) async fn decide(hook: Arc<dyn Hook>, info: CallInfo) -> Result<(), Error> {
    let method = info.method.clone();
    let Some(gate) = ask(hook, info)? else { return Ok(()) };
    let mut held = Held(Some(gate));
    poll_fn(|cx| {
        let gate = held.0.as_mut().expect("only dropping takes it out");
        match catch_unwind(AssertUnwindSafe(|| gate.as_mut().poll(cx))) {
            Ok(said) => said.map(|said| said.map_err(Error::not_executed)),
            Err(panic) => {
                drop_quietly(panic);
                Poll::Ready(Err(panicked(&method)))
            }
        }
    })
    .await
}

/// A gate that goes quietly, also when nobody waits at it any more.
#[cfg(feature = "http")]
struct Held(Option<Gate>);

#[cfg(feature = "http")]
impl Drop for Held {
    fn drop(&mut self) {
        drop_quietly(self.0.take());
    }
}

fn panicked(method: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("{method}: the server's hook panicked"))
}

/// Asks the hook. What it has not decided at once is a gate to wait at.
pub(crate) fn ask(hook: Arc<dyn Hook>, info: CallInfo) -> Result<Option<Gate>, Error> {
    let method = info.method.clone();
    // The hook is user code, and so is what it leaves behind.
    let mut gate: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> = Box::pin(async move { hook.before(&info).await });
    let said = match catch_unwind(AssertUnwindSafe(|| gate.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())))) {
        Ok(Poll::Pending) => return Ok(Some(gate)),
        Ok(Poll::Ready(Ok(()))) => Ok(None),
        Ok(Poll::Ready(Err(error))) => Err(error.not_executed()),
        Err(panic) => {
            drop_quietly(panic);
            Err(panicked(&method))
        }
    };
    drop_quietly(gate);
    said
}
