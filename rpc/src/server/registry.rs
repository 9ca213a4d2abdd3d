//! What a server serves, by name, and the hook that sees each call before its arguments are decoded.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use async_trait::async_trait;
use tokio::time::Instant;

use super::handler::drop_quietly;
use super::runner::Gate;
use crate::context::{Metadata, Peer};
use crate::service::Service;
use crate::{Error, ErrorKind};

/// Services and run-time methods by their wire names.
#[derive(Default)]
pub(crate) struct Registry {
    services: HashMap<&'static str, Arc<dyn Service>>,
    /// `Shop.pay` and run-time names.
    methods: HashMap<String, (Arc<dyn Service>, u16)>,
}

impl Registry {
    /// # Errors
    /// `InvalidInput` when a name is taken, or is none.
    pub(crate) fn add(&mut self, service: Arc<dyn Service>) -> Result<(), Error> {
        let contract = service.contract();
        if !contract.name.is_empty() && self.services.insert(contract.name, service.clone()).is_some() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("two services are named {}: give one of them #[service(name = \"..\")]", contract.name),
            ));
        }
        for (number, method) in contract.methods.iter().enumerate() {
            if method.name.is_empty() {
                return Err(Error::new(ErrorKind::InvalidInput, "a method needs a name"));
            }
            let name = contract.full_name(number);
            if self.methods.insert(name.clone(), (service.clone(), number as u16)).is_some() {
                return Err(Error::new(ErrorKind::InvalidInput, format!("two methods are named {name}")));
            }
        }
        Ok(())
    }

    pub(crate) fn service(&self, name: &str) -> Option<Arc<dyn Service>> {
        self.services.get(name).cloned()
    }

    pub(crate) fn method(&self, name: &str) -> Option<(Arc<dyn Service>, u16)> {
        self.methods.get(name).cloned()
    }
}

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
            Err(Error::new(ErrorKind::Internal, format!("{method}: the server's hook panicked")))
        }
    };
    drop_quietly(gate);
    said
}

/// Logs at most one line a second from this place, with the number of those left out.
macro_rules! log_limited {
    ($level:ident, $($text:tt)*) => {{
        static LIMIT: $crate::server::registry::LogLimit = $crate::server::registry::LogLimit::new();
        if let Some(skipped) = LIMIT.pass() {
            ::tracing::$level!(skipped, $($text)*);
        }
    }};
}
pub(crate) use log_limited;

/// When a place last logged, and how often it has held back since.
pub(crate) struct LogLimit(std::sync::Mutex<(Option<std::time::Instant>, u64)>);

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self(std::sync::Mutex::new((None, 0)))
    }

    pub(crate) fn pass(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = std::time::Instant::now();
        if state.0.is_some_and(|last| now - last < std::time::Duration::from_secs(1)) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}
