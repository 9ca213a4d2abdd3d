//! The callee's side: what is served, and where.
//!
//! [`Server`] is put together, [`bind`](Server::bind) makes it [`Bound`], [`Bound::serve_until`] runs it to its end. How a
//! call goes on from here: `accept.rs`, `connection/driver.rs`, `dispatch.rs`, `handler.rs`.

pub(crate) mod accept;
pub(crate) mod bound;
#[cfg(feature = "json")]
pub(crate) mod by_name;
pub(crate) mod dispatch;
pub(crate) mod handler;
pub(crate) mod hook;
pub(crate) mod registry;
pub(crate) mod reply;
pub(crate) mod runner;
pub(crate) mod served_streams;
pub(crate) mod slow;

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use self::accept::Connections;
use self::hook::Hook;
use self::registry::Registry;
#[cfg(feature = "http")]
use crate::http::{Door, Http};
use crate::reflection::answer::Answer;
use crate::reflection::{ReflectionClient, ReflectionServer};
use crate::schema::exchange::Schemas;
use crate::service::{HasContract, Service};
#[cfg(feature = "tls")]
use crate::tls::ServerTls;
use crate::transport::{Address, Listen, Target, Transport, tcp::Tcp};
use crate::{Error, ErrorKind, Limits, SlowConsumer, Strictness};

/// Services and methods to be served on one address.
///
/// ```no_run
/// # #[rpc::service] trait Shop { async fn quote(&self, n: u64) -> u64; }
/// # struct MyShop; impl Shop for MyShop { async fn quote(&self, n: u64) -> u64 { n } }
/// # #[cfg(feature = "json")]
/// # async fn run() -> Result<(), rpc::Error> {
/// let server = rpc::Server::new()
///     .add(ShopServer::new(MyShop))
///     .method("ping", |n: u64| async move { n + 1 })
///     .bind("127.0.0.1:0")
///     .await?;
/// println!("READY {}", server.local_addr());
/// server.serve().await
/// # }
/// ```
#[must_use = "a server serves nothing until it is bound"]
pub struct Server {
    services: Vec<Arc<dyn Service>>,
    hook: Option<Arc<dyn Hook>>,
    limits: Limits,
    json: bool,
    reflection: bool,
    slow_consumers: SlowConsumer,
    strictness: Strictness,
    #[cfg(feature = "tls")]
    tls: Option<ServerTls>,
    #[cfg(feature = "http")]
    http: Option<Http>,
}

/// What all connections of a server share.
pub(crate) struct Core {
    pub(crate) registry: Arc<Registry>,
    pub(crate) hook: Option<Arc<dyn Hook>>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) json: bool,
    pub(crate) slow_consumers: SlowConsumer,
    pub(crate) schemas: Arc<Schemas>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<ServerTls>,
    #[cfg(feature = "http")]
    pub(crate) http: Option<Door>,
    /// Handlers that run in tasks of their own.
    pub(crate) handlers: Arc<AtomicUsize>,
    /// Told when a handler or a connection ends.
    pub(crate) ended: Arc<Notify>,
}

impl Core {
    pub(crate) fn handler_ended(&self) {
        self.handlers.fetch_sub(1, Ordering::AcqRel);
        self.ended.notify_waiters();
    }

    /// The same server for calls that its hook has let pass: what runs counts for both.
    #[cfg(feature = "http")]
    pub(crate) fn behind_the_hook(&self) -> Self {
        Self {
            registry: self.registry.clone(),
            hook: None,
            limits: self.limits.clone(),
            json: self.json,
            slow_consumers: self.slow_consumers,
            schemas: self.schemas.clone(),
            #[cfg(feature = "tls")]
            tls: None,
            http: None,
            handlers: self.handlers.clone(),
            ended: self.ended.clone(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server of nothing, with default [`Limits`].
    pub fn new() -> Self {
        Self {
            services: Vec::new(),
            hook: None,
            limits: Limits::default(),
            json: true,
            reflection: false,
            slow_consumers: SlowConsumer::Wait,
            strictness: Strictness::Warn,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "http")]
            http: None,
        }
    }

    /// Serves this service too. Several share one address; their wire names must differ.
    #[expect(clippy::should_implement_trait, reason = "it adds a service")]
    pub fn add(mut self, service: impl Service) -> Self {
        self.services.push(Arc::new(service));
        self
    }

    /// Serves this closure as a method, by name: `client.call("ping", (41u64,))`.
    ///
    /// Its arguments and its result are serde types and travel as JSON; a `Result` is a result with an error of its own, as
    /// in a trait. The name is kept for the life of the process.
    #[cfg(feature = "json")]
    pub fn method<Arguments: 'static>(mut self, name: impl Into<String>, function: impl by_name::Function<Arguments>) -> Self {
        self.services.push(Arc::new(by_name::RunTimeMethod::new(name.into(), function)));
        self
    }

    /// Sees every call before its arguments are decoded, and may refuse it: a [`Hook`], or a closure.
    ///
    /// ```
    /// use rpc::{CallInfo, Error, ErrorKind, Server};
    /// let server = Server::new().hook(|call: &CallInfo| match call.metadata.get("token") {
    ///     Some("secret") => Ok(()),
    ///     _ => Err(Error::new(ErrorKind::Unauthenticated, "who are you?")),
    /// });
    /// ```
    pub fn hook(mut self, hook: impl Hook) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// What the server accepts, and for how long it waits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Takes nothing but TLS, on whatever it listens.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Takes HTTP/1 as well, on whatever it listens and inside TLS if it takes that: `POST /Shop/price` with JSON. See [`Http`].
    #[cfg(feature = "http")]
    pub fn http(mut self, http: Http) -> Self {
        self.http = Some(http);
        self
    }

    /// What becomes of streams whose consumer does not keep up, where the method does not say: they wait, unless told otherwise.
    pub fn slow_consumers(mut self, slow: SlowConsumer) -> Self {
        self.slow_consumers = slow;
        self
    }

    /// What becomes of methods that a caller knows with other arguments or another result, or that a handler's
    /// [`caller`](crate::Context::caller) does.
    pub fn strictness(mut self, strictness: Strictness) -> Self {
        self.strictness = strictness;
        self
    }

    /// Whether methods can be called by name with JSON; they can unless told otherwise.
    #[cfg(feature = "json")]
    pub fn json(mut self, on: bool) -> Self {
        self.json = on;
        self
    }

    /// Whether the server says of itself what it serves: see [`reflection`](crate::reflection). It does not unless told so; whoever
    /// may call it then may ask. The hook sees these calls as `rpc.Reflection.services` and the like, and may refuse them.
    pub fn reflection(mut self, on: bool) -> Self {
        self.reflection = on;
        self
    }

    /// Listens on `host:port` (port 0: any free one) or on `unix:PATH`. Nobody is served before [`Bound::serve`].
    ///
    /// # Errors
    /// `InvalidInput` for an address that is none, or when two services or methods have one name; `Unavailable` when the
    /// address cannot be listened on.
    pub async fn bind(self, address: impl AsRef<str>) -> Result<Bound, Error> {
        let address = address.as_ref();
        let failed = |error: io::Error| Error::new(ErrorKind::Unavailable, format!("cannot listen on {address}")).caused_by(error);
        let listener: Box<dyn Listen> = match Target::parse(address)? {
            Target::Tcp(address) => Box::new(Tcp::bind(&address).await.map_err(failed)?),
            #[cfg(unix)]
            Target::Unix(path) => Box::new(crate::transport::unix::Unix::bind(&path).await.map_err(failed)?),
        };
        self.listening(listener)
    }

    /// Takes connections from any listener, such as [`memory::pair`](crate::transport::memory::pair)'s.
    ///
    /// # Errors
    /// `InvalidInput` when two services or methods have one name.
    pub fn listen(self, listener: impl Listen) -> Result<Bound, Error> {
        self.listening(Box::new(listener))
    }

    #[cfg_attr(not(feature = "http"), expect(unused_mut, reason = "only HTTP has to know where it is"))]
    fn listening(mut self, listener: Box<dyn Listen>) -> Result<Bound, Error> {
        #[cfg(feature = "http")]
        if let (Some(http), Some(socket)) = (&mut self.http, listener.address().socket()) {
            http.is_at(socket);
        }
        Ok(Bound { core: self.core()?, listener })
    }

    /// Serves one connection over any transport, until it ends. A peer that does not make it through the handshake of TLS leaves
    /// a line in the log.
    ///
    /// # Errors
    /// `InvalidInput` when two services or methods have one name.
    ///
    /// # Cancellation
    /// Dropping the future drops the connection; handlers are cancelled unless they are detached.
    pub async fn serve_connection(self, transport: Transport) -> Result<(), Error> {
        let core = self.core()?;
        accept::serve(core, transport).await;
        Ok(())
    }

    pub(crate) fn core(mut self) -> Result<Arc<Core>, Error> {
        if self.reflection {
            let answer = Answer::new(&self.services, ReflectionClient::contract());
            self.services.push(Arc::new(ReflectionServer::new(answer)));
        }
        #[cfg(feature = "http")]
        if self.http.is_some() && !self.json {
            return Err(Error::new(ErrorKind::InvalidInput, "HTTP carries JSON, which this server does not take (Server::json)"));
        }
        let mut registry = Registry::default();
        for service in self.services {
            registry.add(service)?;
        }
        let Self { hook, limits, json, slow_consumers, strictness, .. } = self;
        Ok(Arc::new(Core {
            registry: Arc::new(registry),
            hook,
            limits: Arc::new(limits),
            json,
            slow_consumers,
            schemas: Schemas::new(strictness),
            #[cfg(feature = "tls")]
            tls: self.tls,
            #[cfg(feature = "http")]
            http: self.http.map(Door::new),
            handlers: Arc::default(),
            ended: Arc::default(),
        }))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(|service| service.contract().name).collect();
        f.debug_struct("Server").field("services", &services).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A server that listens and is ready to serve.
#[must_use = "nobody is served before `serve` or `serve_until`"]
pub struct Bound {
    core: Arc<Core>,
    listener: Box<dyn Listen>,
}

impl Bound {
    /// Where clients reach it; with the port that was given for port 0.
    #[must_use]
    pub fn local_addr(&self) -> Address {
        self.listener.address()
    }

    /// Serves until the future is dropped.
    ///
    /// # Errors
    /// None so far: a listener's errors are logged and waited out.
    ///
    /// # Cancellation
    /// Dropping the future drops every connection at once. To let calls end, use [`serve_until`](Self::serve_until).
    pub async fn serve(self) -> Result<(), Error> {
        self.serve_until(std::future::pending()).await
    }

    /// Serves until `stop` is ready, then drains: takes no new connections and calls, tells its clients so, lets calls in
    /// flight end for at most `Limits::drain_grace`, and returns. What still runs then is cancelled, except detached and
    /// blocking handlers: those end with the runtime.
    ///
    /// # Errors
    /// None so far: a listener's errors are logged and waited out.
    ///
    /// # Cancellation
    /// Dropping the future drops every connection at once.
    pub async fn serve_until(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { core, listener } = self;
        let connections = Connections::new(core);
        connections.accept_until(listener, stop).await;
        connections.drain().await;
        Ok(())
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("address", &self.local_addr()).finish_non_exhaustive()
    }
}
