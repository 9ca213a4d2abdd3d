//! The caller's side: [`Client`], how it connects, and what every generated proxy calls.
//!
//! `call.rs` is one call, `pool.rs` which connection it goes by, `redial.rs` how there is one, `by_name.rs` calls without the
//! trait.

#[cfg(feature = "json")]
pub(crate) mod by_name;
pub(crate) mod call;
pub(crate) mod pool;
pub(crate) mod redial;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

pub use self::call::{Call, Returned};
pub(crate) use self::redial::Inner;
use self::redial::Lease;
use crate::connection::driver::{self, Side};
use crate::connection::link::{Callee, Closing, Link};
use crate::frame::limits::DEFAULT_TIMEOUT;
use crate::frame::payload::{self, Encoding};
use crate::server::Core;
use crate::service::{Contract, Service};
use crate::streaming::Upload;
#[cfg(feature = "tls")]
use crate::tls::ClientTls;
use crate::transport::{Dial, Target, Transport, memory};
use crate::{Error, Limits, Peer, Server, Strictness};

/// A handle to a server. Clones are cheap and share one connection, or [several](ClientOptions::connections); every method takes
/// `&self`.
///
/// When the connection is lost, calls in flight fail with what is known of them and the next call connects again. When the
/// last clone is dropped the connection is closed.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl Client {
    /// Connects to `host:port` or `unix:PATH` with default [`options`](Self::options).
    ///
    /// Ready when the transport is connected; the first call says hello, binds and calls in one packet.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is none, `Unavailable` when nobody answers there.
    pub async fn connect(address: impl AsRef<str>) -> Result<Self, Error> {
        Self::options().connect(address).await
    }

    /// Limits and timeout to connect with.
    pub fn options() -> ClientOptions {
        ClientOptions {
            limits: Limits::default(),
            timeout: Some(DEFAULT_TIMEOUT),
            serves: None,
            strictness: Strictness::Warn,
            connections: 1,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// A service in this process: no socket, but every byte as over one. For unit tests, fakes and monoliths.
    ///
    /// Calls must be made inside a tokio runtime, as all calls.
    #[must_use]
    pub fn local(service: impl Service) -> Self {
        Self::options().local(service)
    }

    /// See [`Context::caller`](crate::Context::caller).
    pub(crate) fn lent(link: Arc<Link>) -> Self {
        Self { inner: Inner::lent(link) }
    }

    /// Says goodbye: takes no new calls on any clone, lets calls in flight end (for at most `Limits::drain_grace`), tells the
    /// server and closes.
    ///
    /// # Cancellation
    /// The goodbye goes on without the future.
    pub async fn close(&self) {
        let links = self.inner.close();
        let ended = || poll_fn(|cx| if links.iter().all(|link| link.poll_ended(cx).is_ready()) { Poll::Ready(()) } else { Poll::Pending });
        if !links.is_empty() && tokio::time::timeout(self.inner.limits.drain_grace, ended()).await.is_err() {
            for link in &links {
                link.close(Closing::Now);
            }
            ended().await;
        }
    }

    /// For generated code: a call to the method with this number, its arguments a tuple of references.
    #[doc(hidden)]
    #[inline]
    pub fn __call<O>(&self, contract: &'static Contract, method: usize, arguments: &(impl Serialize + ?Sized)) -> Call<'_, O> {
        // Before the first bind, which is written under a lock: users' code runs here.
        contract.own();
        let oneway = contract.methods[method].oneway;
        Call::new(&self.inner, Callee::Known(contract, method), oneway, |limit, out, aside| {
            payload::encode_arguments(arguments, Encoding::Postcard, limit, out, Some(aside))
        })
    }
}

impl Client {
    /// For generated code: as `__call`, for a method that takes a stream or returns one.
    #[doc(hidden)]
    pub fn __stream<O>(
        &self,
        contract: &'static Contract,
        method: usize,
        arguments: &(impl Serialize + ?Sized),
        upload: Option<Upload>,
    ) -> Call<'_, O> {
        self.__call(contract, method, arguments).streaming(contract.methods[method].downloads, upload)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// How a [`Client`] connects and what it accepts.
#[derive(Clone)]
#[must_use = "options do nothing until `connect`"]
pub struct ClientOptions {
    limits: Limits,
    timeout: Option<Duration>,
    serves: Option<Arc<Core>>,
    strictness: Strictness,
    connections: usize,
    #[cfg(feature = "tls")]
    tls: Option<ClientTls>,
}

impl ClientOptions {
    /// What the client accepts from its server, and for how long it waits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The deadline of calls that have none of their own; `None` for none. 30 s unless told otherwise. Calls with streams have
    /// none by default.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// What becomes of methods that the server knows with other arguments or another result.
    pub fn strictness(mut self, strictness: Strictness) -> Self {
        self.strictness = strictness;
        self
    }

    /// Spreads calls over up to this many connections: each goes by one that has about the fewest calls in flight. 1 unless told
    /// otherwise, which is right for most.
    ///
    /// A connection is worked on by one task at each end, so by about one core. Several help a client that makes more small calls
    /// than one core can send and read, when there are more cores to do so at both ends; or whose calls should not wait for
    /// each other's bytes, as large messages over a way that loses packets. As many as there are cores is plenty.
    ///
    /// The first is made at once. Another is made when all that there are have calls in flight, one at a time, and no call waits
    /// for it; who makes one call after another never has a second. One that is lost takes its own calls with it, the others
    /// go on, and it is replaced when there is work for it. When another cannot be made, calls share those there are, and it is
    /// tried again after a second.
    ///
    /// What is by connection with one is so with several:
    /// - Calls made one after the other on one connection begin in that order at the server; on different ones they do not.
    ///   Await the first where the second depends on it.
    /// - A stream stays where it began, both ways. A server that [calls back](Self::serve) does so by the connection it was called by.
    /// - Each counts for the server's `Limits::max_connections`, and has `max_in_flight`, `max_call_bytes`, `max_assembly`,
    ///   `max_streams`, `max_stream_bytes` and `max_binds` of its own, at both ends: n connections may hold n times as much memory.
    ///
    /// 0 counts as 1. What is [`over`](Self::over) one transport has one connection.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Speaks nothing but TLS, whatever it connects by. What is [`local`](Self::local) stays in this process, and is not encrypted.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Lets the server call back: its handlers reach these services over the same connection, by
    /// [`Context::caller`](crate::Context::caller).
    ///
    /// Services, methods and hook are taken from the `Server`, and its `max_handlers`; all else is as this client's limits say.
    /// They are served for as long as the connection lives, whatever the client itself does; a connection that is lost is made
    /// again by the next call.
    ///
    /// # Errors
    /// `InvalidInput` when two services or methods have one name.
    ///
    /// ```
    /// use rpc::{Client, Context, Server};
    ///
    /// #[rpc::service]
    /// trait Shop {
    ///     async fn buy(&self, cx: &Context, item: &str) -> bool;
    /// }
    ///
    /// /// What the shop asks of who buys.
    /// #[rpc::service]
    /// trait Buyer {
    ///     async fn confirm(&self, question: &str) -> bool;
    /// }
    ///
    /// struct Stall;
    ///
    /// impl Shop for Stall {
    ///     async fn buy(&self, cx: &Context, item: &str) -> bool {
    ///         let buyer = BuyerClient::from(cx.caller());
    ///         buyer.confirm(&format!("{item} for 4.50?")).await.unwrap_or(false)
    ///     }
    /// }
    ///
    /// struct Eager;
    ///
    /// impl Buyer for Eager {
    ///     async fn confirm(&self, _: &str) -> bool {
    ///         true
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let server = Server::new().add(ShopServer::new(Stall)).bind("127.0.0.1:0").await?;
    /// # let address = server.local_addr();
    /// # tokio::spawn(server.serve());
    /// let client = Client::options().serve(Server::new().add(BuyerServer::new(Eager)))?.connect(address).await?;
    /// let shop = ShopClient::from(client);
    /// assert!(shop.buy("tea").await?);
    /// # Ok(()) }
    /// ```
    pub fn serve(mut self, server: Server) -> Result<Self, Error> {
        self.serves = Some(server.core()?);
        Ok(self)
    }

    /// Connects to `host:port` or `unix:PATH`.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is none, `Unavailable` when nobody answers there.
    pub async fn connect(self, address: impl AsRef<str>) -> Result<Client, Error> {
        let address = address.as_ref();
        let target = Target::parse(address)?;
        let client = self.start(Arc::new(target), Some(address)).await;
        client.map_err(|error| Error::with(error.kind(), error.executed(), format!("{address}: {}", error.message())))
    }

    /// Connects by any dialer, such as [`memory::pair`]'s; it is asked again when the connection is lost.
    ///
    /// # Errors
    /// `Unavailable` when it fails.
    pub async fn dial(self, dial: impl Dial) -> Result<Client, Error> {
        self.start(Arc::new(dial), None).await
    }

    #[cfg_attr(not(feature = "tls"), expect(unused_variables, reason = "only TLS has to know whom it dials"))]
    async fn start(self, dial: Arc<dyn Dial>, address: Option<&str>) -> Result<Client, Error> {
        #[cfg(feature = "tls")]
        let dial = match &self.tls {
            Some(tls) => Arc::new(tls.dialer(dial, address)?),
            None => dial,
        };
        let inner = Inner::new(Some(dial), self);
        if let Lease::Dialing(attempt) = inner.lease()? {
            poll_fn(|cx| attempt.poll(cx)).await?;
        }
        Ok(Client { inner })
    }

    /// A client over one connection of any kind. When it is lost, so is the client.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn over(self, transport: Transport) -> Client {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let inner = Inner::new(Some(Arc::new(tls.over(transport))), self.connections(1));
            // The peer waits for the handshake. How it went is for the first call to hear, from the dialer.
            let _ = inner.lease();
            return Client { inner };
        }
        Client { inner: Inner::over(transport, self) }
    }

    /// A service in this process: see [`Client::local`].
    #[must_use]
    pub fn local(self, service: impl Service) -> Client {
        // One service cannot clash with itself.
        let core = Server::new().add(service).core().expect("the macro lets no two methods have one name");
        let limits = core.limits.clone();
        Client { inner: Inner::new(Some(Arc::new(Local { core, peer: Peer::at("memory"), limits })), self) }
    }

    /// A client in this process of a server that takes it for this peer.
    #[cfg(feature = "http")]
    pub(crate) fn on_behalf_of(self, peer: Peer, core: Arc<Core>) -> Client {
        let limits = Arc::new(self.limits);
        Client { inner: Inner::new(Some(Arc::new(Local { core, peer, limits })), self) }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("limits", &self.limits)
            .field("timeout", &self.timeout)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// Serves a client of this process.
struct Local {
    core: Arc<Core>,
    /// Who calls, as handlers and hooks see it.
    peer: Peer,
    limits: Arc<Limits>,
}

#[async_trait]
impl Dial for Local {
    async fn dial(&self) -> io::Result<Transport> {
        let (near, mut far) = memory::connection();
        far.peer = self.peer.clone();
        let (core, handshake) = (self.core.clone(), self.limits.handshake_timeout);
        let (_link, connection) = driver::start(far, Side::Accepting, Some(core), &self.limits, handshake, self.core.schemas.clone());
        tokio::spawn(connection);
        Ok(near)
    }
}
