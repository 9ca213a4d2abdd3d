//! HTTP/1 with JSON, on the port of everything else: for programs that have no client of this protocol.
//!
//! Here: [`Http`], which opens the door and says to whom, and how a connection is recognised. `door.rs` is one connection:
//! from hyper to a call and back. `request.rs` judges what comes, `lines.rs` reads a body that is a stream, `answer.rs` words what goes, `reply.rs` is a body on its way,
//! `wire.rs` is the stream below hyper. Not here: how a call is run. Each request becomes a call by name, over a connection inside
//! this process, so that limits, deadline, cancellation and panics are those of any call. The hook is asked in `door.rs`, before there is one.

mod answer;
mod door;
mod lines;
mod reply;
mod request;
mod wire;

use std::fmt;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub(crate) use self::door::{refuse, serve};
use self::wire::Begun;
use crate::frame::codec::{self, PREFACE};
use crate::frame::violation::Violation;
use crate::transport::Transport;

/// Opens a server to HTTP/1: for [`Server::http`](crate::Server::http).
///
/// `POST /Shop/price` calls the method `price` of the service `Shop`, `POST /ping` one that was registered as `ping`. The body is
/// JSON: the arguments as an array, or as an object by their names. 200 carries what the method returned; everything else is
/// `{"error": {"kind": .., "executed": .., ..}}`, with status 422 and the value for the method's own error. A stream that a method
/// returns is JSON too, one item a line, and so is one that it takes: behind the arguments, in a body of `application/x-ndjson`. A deadline stands in the header `Rpc-Timeout: 2s`, metadata in `Rpc-Metadata-KEY: VALUE` and `Authorization`. `docs/http.md` in the repository has
/// the table of statuses.
///
/// ```no_run
/// use rpc::{Http, Server};
///
/// # async fn run() -> Result<(), rpc::Error> {
/// let server = Server::new().method("double", |n: u64| async move { 2 * n }).http(Http::new()).bind("127.0.0.1:8080").await?;
/// // curl -H 'Content-Type: application/json' -d '[21]' http://127.0.0.1:8080/double
/// server.serve().await
/// # }
/// ```
///
/// A web page anywhere can make its reader's browser send requests to this server. So the body has to be declared as
/// JSON, a `Host` has to be one of this machine's own names, the address the server listens on or
/// [listed](Self::host), and an `Origin`, which only browsers send, has to be [listed](Self::origin).
#[derive(Clone, Debug, Default)]
#[must_use = "the door is shut until `Server::http` has this"]
pub struct Http {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Http {
    /// For callers on this machine, by `localhost`, `127.0.0.1` and `[::1]`, and for those that name the address it listens on. No
    /// browsers.
    pub fn new() -> Self {
        Self { hosts: ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into(), origins: Vec::new() }
    }

    /// Takes requests to this host too: `api.example.com`. With a port, `api.example.com:8443`, only to that; without, to any.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into().to_ascii_lowercase());
        self
    }

    /// Takes requests from web pages of this origin, `https://www.example.com`, and tells browsers so.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into().trim_end_matches('/').to_ascii_lowercase());
        self
    }

    pub(crate) fn is_at(&mut self, address: SocketAddr) {
        let host = match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        self.hosts.push(host);
    }

    /// A `Host`, with its port if it has one.
    fn knows_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = match host.rsplit_once(':') {
            // Digits and nothing else: after `http://localhost:` may come `1@evil.example`. The last colon of an IPv6 address has a
            // bracket after it.
            Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
            _ => &host,
        };
        self.hosts.iter().any(|known| *known == host || known == name)
    }

    fn knows_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| known.eq_ignore_ascii_case(origin))
    }
}

/// A server's door, open.
pub(crate) struct Door {
    http: Http,
    draining: watch::Sender<bool>,
}

impl Door {
    pub(crate) fn new(http: Http) -> Self {
        Self { http, draining: watch::Sender::new(false) }
    }

    /// Connections let their request end, and take no other.
    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.http.fmt(f)
    }
}

/// Whether the peer speaks HTTP/1, and the transport with its first bytes still to be read. Who is silent until then, or speaks
/// anything else, is for the driver to judge, which names it.
pub(crate) async fn recognise(transport: Transport, until: Option<Instant>) -> (bool, Transport) {
    let Transport { mut read, write, peer } = transport;
    let (mut first, mut shown, mut is_http) = ([0; PREFACE], 0, false);
    let reads = async {
        while shown < PREFACE {
            match read.read(&mut first[shown..]).await {
                Ok(count @ 1..) => shown += count,
                // The driver meets the same end.
                _ => return,
            }
            match codec::read_preface(&first[..shown]) {
                Ok(None) if !codec::begins_as_ours(&first) => {}
                told => {
                    is_http = matches!(told, Err(Violation::WrongProtocol(codec::HTTP1)));
                    return;
                }
            }
        }
    };
    match until {
        Some(until) => drop(timeout_at(until, reads).await),
        None => reads.await,
    }
    (is_http, Transport { read: Box::new(Begun::new(first, shown, read)), write, peer })
}

#[cfg(test)]
mod tests {
    use super::Http;

    #[test]
    fn a_host_is_known_by_its_name_and_by_its_port_if_it_was_listed_with_one() {
        let mut http = Http::new().host("API.example.com").host("inner.example:8443");
        http.is_at("[2001:db8::7]:80".parse().expect("an address"));
        for host in
            ["localhost", "LocalHost:1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "api.example.com:1", "inner.example:8443", "[2001:db8::7]:9"]
        {
            assert!(http.knows_host(host), "{host}");
        }
        for host in
            ["", ":", ":80", "localhost.example.com", "xlocalhost", "::1", "inner.example", "inner.example:844", "[2001:db8::8]", "[", "]:", "::"]
        {
            assert!(!http.knows_host(host), "{host}");
        }
        for host in [
            "localhost:1@evil.example",
            "localhost:evil.example",
            "localhost:-1",
            "localhost:1:1",
            "evil.example@localhost:1",
            "[::1]:1@evil.example",
        ] {
            assert!(!http.knows_host(host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_known_as_a_whole() {
        let http = Http::new().origin("https://www.example.com/").origin("http://localhost:3000");
        for origin in ["https://www.example.com", "HTTPS://WWW.example.com", "http://localhost:3000"] {
            assert!(http.knows_origin(origin), "{origin}");
        }
        for origin in ["", "null", "https://www.example.com:444", "http://www.example.com", "https://example.com", "http://localhost"] {
            assert!(!http.knows_origin(origin), "{origin}");
        }
    }
}
