//! Encrypted connections, and peers that prove who they are (feature `tls`).
//!
//! A server shows a certificate, a client holds it against the authorities it trusts and the name it has dialled. With
//! [`ServerTls::client_ca`] clients show certificates too, and handlers and hooks see them in
//! [`Peer::certificates`](crate::Peer::certificates). A server with TLS takes nothing else on its port.
//!
//! ```no_run
//! use rpc::tls::{ClientTls, ServerTls};
//! use rpc::{Client, Context, Server};
//!
//! #[rpc::service]
//! trait Bank {
//!     async fn balance(&self, cx: &Context) -> i64;
//! }
//!
//! struct Vault;
//!
//! impl Bank for Vault {
//!     async fn balance(&self, cx: &Context) -> i64 {
//!         // The client's own certificate stands first, as DER.
//!         let client: &[u8] = &cx.peer().certificates()[0];
//!         client.len() as i64
//!     }
//! }
//!
//! # async fn run() -> Result<(), rpc::Error> {
//! let tls = ServerTls::from_pem_files("server.pem", "server.key")?.client_ca("clients.pem")?;
//! let server = Server::new().add(BankServer::new(Vault)).tls(tls).bind("0.0.0.0:8443").await?;
//! tokio::spawn(server.serve());
//!
//! let tls = ClientTls::from_ca_file("servers.pem")?.client_certificate("me.pem", "me.key")?;
//! let bank: BankClient = Client::options().tls(tls).connect("bank.example:8443").await?.into();
//! bank.balance().await?;
//! # Ok(()) }
//! ```
//!
//! # Files
//!
//! Certificates and keys are PEM files. A running server looks every two seconds whether one of them has changed, a client
//! each time it dials: new connections go by the new files, old ones live on. When the new files cannot be used the former ones
//! stay, and the log says why. `reload` looks at once.
//!
//! # What is spoken
//!
//! TLS 1.3 with rustls, whose cryptography is ring's; nothing is installed for the whole process. Every connection makes a whole
//! handshake, so that a certificate is looked at each time: connections live long, and resuming saves little. No data is
//! sent before the handshake ends: it could be replayed.
//!
//! Whoever needs something else (TLS 1.2, several names, revocation lists, the authorities of the web, keys in hardware) hands in
//! a config of [`rustls`]: [`ServerTls::from_config`], [`ClientTls::from_config`]. Only here does a type of rustls, whose version
//! is below 1, stand in this crate's interface.

// `pem` reads files, `source` reads them again, `stream` is what stands between rustls and a transport; `server` and `client`
// make the handshakes. The server's runs in its connection's task: see `server/accept.rs`.

mod client;
mod pem;
mod server;
mod source;
mod stream;

use std::sync::Arc;

pub use tokio_rustls::rustls;

pub use self::client::ClientTls;
pub use self::server::ServerTls;
pub(crate) use self::stream::is_refused_certificate;

/// The cryptography of the configs made here, whatever the rest of the process uses.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The versions of TLS of the configs made here, whatever other crates have rustls built with.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
