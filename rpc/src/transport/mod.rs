//! Moving bytes: what a connection runs over, and how one is made or awaited.
//!
//! Anything that is `AsyncRead + AsyncWrite` is a transport. Here: the types; beside it TCP, Unix sockets and memory.
//! Only `connection/driver.rs` (and a lone caller's write in `connection/link.rs`) touches the bytes.

pub mod memory;
pub(crate) mod tcp;
#[cfg(unix)]
pub(crate) mod unix;

use std::fmt;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Error, ErrorKind, Peer};

/// One connection's bytes, both ways.
pub struct Transport {
    pub(crate) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) write: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) peer: Peer,
}

impl Transport {
    /// A transport over two halves; `peer` is what handlers and logs see as the other end's address.
    pub fn new(read: impl AsyncRead + Send + Unpin + 'static, write: impl AsyncWrite + Send + Unpin + 'static, peer: impl Into<String>) -> Self {
        Self { read: Box::new(read), write: Box::new(write), peer: Peer::at(peer) }
    }

    /// A transport over a whole stream. Where a stream can be split without a lock, [`new`](Self::new) is faster.
    pub fn over(io: impl AsyncRead + AsyncWrite + Send + 'static, peer: impl Into<String>) -> Self {
        let (read, write) = tokio::io::split(io);
        Self::new(read, write, peer)
    }

    /// With the certificates by which a secure transport knows its peer: what handlers and hooks see in [`Peer::certificates`].
    #[must_use]
    pub fn certificates(mut self, certificates: Vec<Vec<u8>>) -> Self {
        self.peer.certificates = certificates.into();
        self
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Makes a client's connections: the first, and another when it was lost.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// A new connection.
    ///
    /// # Errors
    /// Whatever keeps it from being made; calls that wait for it fail with `Unavailable`, executed: no.
    ///
    /// # Cancellation
    /// The future is dropped when `Limits::connect_timeout` has passed.
    async fn dial(&self) -> io::Result<Transport>;
}

/// Where a server's connections come from.
#[async_trait]
pub trait Listen: Send + 'static {
    /// The next connection.
    ///
    /// # Errors
    /// The server logs it, waits a little and asks again: an error is never the end of a listener.
    ///
    /// # Cancellation
    /// Dropping the future loses no connection.
    async fn accept(&mut self) -> io::Result<Transport>;

    /// Where clients reach it.
    fn address(&self) -> Address;
}

/// Where a server listens or a client calls: `host:port`, `unix:PATH`, or the name of another transport.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    text: String,
    socket: Option<SocketAddr>,
}

impl Address {
    /// A name for the address of a transport of your own.
    pub fn named(name: impl Into<String>) -> Self {
        Self { text: name.into(), socket: None }
    }

    /// The port, if it is an internet address.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.socket.map(|socket| socket.port())
    }

    /// The socket address, if it is an internet address.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        self.socket
    }
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        Self { text: socket.to_string(), socket: Some(socket) }
    }
}

impl AsRef<str> for Address {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How an address as text is reached.
pub(crate) enum Target {
    Tcp(String),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

impl Target {
    pub(crate) fn parse(address: &str) -> Result<Self, Error> {
        if let Some(path) = address.strip_prefix("unix:") {
            #[cfg(unix)]
            if !path.is_empty() {
                return Ok(Self::Unix(path.into()));
            }
            return Err(Error::new(ErrorKind::InvalidInput, format!("`{address}` names no Unix socket of this machine")));
        }
        let port = address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>().ok()).flatten());
        if port.is_none() {
            let text = format!("`{address}` is not an address: write `host:port`, `[ipv6]:port` or `unix:PATH`");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(Self::Tcp(address.to_owned()))
    }
}

#[async_trait]
impl Dial for Target {
    async fn dial(&self) -> io::Result<Transport> {
        match self {
            Self::Tcp(address) => tcp::dial(address).await,
            #[cfg(unix)]
            Self::Unix(path) => unix::dial(path).await,
        }
    }
}
