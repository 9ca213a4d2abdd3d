//! The server's side: what it shows and asks for, and its handshake, which runs in the task of its connection.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::pem::{Pem, blame};
use super::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use super::rustls::{Error as TlsError, ServerConfig};
use super::source::Source;
use super::stream::{self, Raw, is_about_certificates, tls_error};
use super::{VERSIONS, provider};
use crate::log::log_limited;
use crate::transport::Transport;
use crate::{Error, ErrorKind};

/// How often a running server looks whether its files have changed.
const LOOK: Duration = Duration::from_secs(2);

/// The certificate that a server shows, and what it asks of its clients: for [`Server::tls`](crate::Server::tls).
///
/// Clones are handles to the same: keep one to [`reload`](Self::reload).
#[derive(Clone)]
pub struct ServerTls {
    source: Arc<Source<ServerConfig>>,
}

impl ServerTls {
    /// A certificate, with those between it and its authority after it, and its private key. Both may stand in one file.
    ///
    /// # Errors
    /// `InvalidInput` when a file cannot be read or is not what it should be, or when the key is another certificate's.
    pub fn from_pem_files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Error> {
        Ok(Self { source: Arc::new(Source::files(vec![certificate.into(), key.into()], config)?) })
    }

    /// Takes only clients with a certificate of one of the authorities in this PEM file.
    ///
    /// # Errors
    /// `InvalidInput` when the file cannot be read or has no certificates, or when this is a config of your own.
    pub fn client_ca(self, authorities: impl Into<PathBuf>) -> Result<Self, Error> {
        let Some([certificate, key, ..]) = self.source.paths() else {
            return Err(Error::new(ErrorKind::InvalidInput, "a rustls config of your own says itself which clients it takes"));
        };
        let paths = vec![certificate.clone(), key.clone(), authorities.into()];
        Ok(Self { source: Arc::new(Source::files(paths, config)?) })
    }

    /// A config of your own. It is taken as it is: its protocol versions, its certificates, its verdict on clients.
    #[must_use]
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { source: Arc::new(Source::own(config)) }
    }

    /// Looks at once whether the files have changed; a server that listens does so every two seconds. True: new connections go by new
    /// files. Reads files, so it may block.
    ///
    /// # Errors
    /// `InvalidInput` when the new files cannot be used; the former ones stay.
    pub fn reload(&self) -> Result<bool, Error> {
        self.source.reload()
    }

    /// Reads changed files for as long as the guard lives.
    pub(crate) fn watch(&self) -> Watch {
        let source = self.source.clone();
        let task = tokio::spawn(async move {
            while source.paths().is_some() {
                tokio::time::sleep(LOOK).await;
                source.follow().await;
            }
        });
        Watch(task.abort_handle())
    }

    /// The transport inside TLS. Nothing, and a line in the log, for a peer that cannot or may not come in.
    pub(crate) async fn accept(&self, transport: Transport, until: Option<Instant>) -> Option<Transport> {
        let peer = transport.peer.address.clone();
        let handshake = TlsAcceptor::from(self.source.current()).accept(Raw::new(transport)).into_fallible();
        let shaken = match until {
            Some(until) => tokio::time::timeout_at(until, handshake).await.ok(),
            None => Some(handshake.await),
        };
        match shaken {
            Some(Ok(stream)) => Some(stream::inside(stream.into())),
            Some(Err((error, raw))) => {
                log(&peer, &error, &raw);
                raw.close().await;
                None
            }
            None => {
                log_limited!(warn, "connection with {peer} ended: no TLS handshake in time (Limits::handshake_timeout)");
                None
            }
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The config holds the key.
        f.debug_struct("ServerTls").field("files", &self.source.paths().unwrap_or_default()).finish_non_exhaustive()
    }
}

/// Stops looking at files when dropped.
pub(crate) struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Certificate, key and, if clients have to show theirs, authorities.
fn config(files: &[Pem]) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS).map_err(|error| files[0].refused(error))?;
    let builder = match files.get(2) {
        Some(authorities) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities.authorities()?), provider()).build();
            let verifier = verifier.map_err(|error| authorities.refused(TlsError::General(error.to_string())))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(files[0].certificates()?, files[1].key()?).map_err(|error| blame(error, &files[0], &files[1]))?;
    // A session that is resumed is one whose certificate nobody looks at again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// One line a second for each kind of fault, naming its likely cause.
fn log(peer: &str, error: &io::Error, raw: &Raw) {
    if let Some(protocol) = raw.other_protocol() {
        log_limited!(warn, "connection with {peer} ended: the peer speaks {protocol} without TLS, and this port takes only TLS");
        return;
    }
    match tls_error(error) {
        None if raw.is_silent() => tracing::debug!(peer, %error, "a connection ended before its TLS handshake"),
        None => log_limited!(warn, "connection with {peer} ended in its TLS handshake: {error}"),
        Some(TlsError::NoCertificatesPresented) => {
            log_limited!(warn, "connection with {peer} ended: the client showed no certificate (ServerTls::client_ca)");
        }
        Some(TlsError::InvalidCertificate(fault)) => {
            log_limited!(warn, "connection with {peer} ended: the client's certificate was refused: {fault}");
        }
        Some(TlsError::AlertReceived(alert)) if is_about_certificates(*alert) => {
            log_limited!(warn, "connection with {peer} ended: the client refused this server's certificate (alert {alert:?})");
        }
        Some(TlsError::InvalidMessage(_)) => log_limited!(warn, "connection with {peer} ended: the peer does not speak TLS ({error})"),
        Some(_) => log_limited!(warn, "connection with {peer} ended: the TLS handshake failed: {error}"),
    }
}
