//! The client's side: whom it trusts, what it shows, and its handshake, which is part of dialling.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio_rustls::TlsConnector;

use super::pem::{Pem, blame};
use super::rustls::client::Resumption;
use super::rustls::pki_types::ServerName;
use super::rustls::{ClientConfig, Error as TlsError};
use super::source::Source;
use super::stream::{self, Raw, tls_error};
use super::{VERSIONS, provider};
use crate::transport::{Dial, Transport};
use crate::{Error, ErrorKind};

/// Whom a client trusts, and the certificate it shows if a server asks: for [`ClientOptions::tls`](crate::ClientOptions::tls).
#[derive(Clone)]
pub struct ClientTls {
    source: Arc<Source<ClientConfig>>,
    name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// Trusts servers with a certificate of one of the authorities in this PEM file, and nobody else.
    ///
    /// # Errors
    /// `InvalidInput` when the file cannot be read or has no certificates.
    pub fn from_ca_file(authorities: impl Into<PathBuf>) -> Result<Self, Error> {
        Ok(Self { source: Arc::new(Source::files(vec![authorities.into()], config)?), name: None })
    }

    /// Shows this certificate, with those between it and its authority after it, to servers that ask for one.
    ///
    /// A server looks at it after the client has made its connection: that it was refused is the error of the first call, of kind
    /// `Unauthenticated`, executed: no.
    ///
    /// # Errors
    /// `InvalidInput` when a file cannot be read or is not what it should be, when the key is another certificate's, or when this
    /// is a config of your own.
    pub fn client_certificate(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Error> {
        let Some([authorities, ..]) = self.source.paths() else {
            return Err(Error::new(ErrorKind::InvalidInput, "a rustls config of your own says itself which certificate it shows"));
        };
        let paths = vec![authorities.clone(), certificate.into(), key.into()];
        Ok(Self { source: Arc::new(Source::files(paths, config)?), name: self.name })
    }

    /// The DNS name or IP address that the server's certificate must be for, unless it is the host that is connected to.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is none.
    pub fn server_name(mut self, name: &str) -> Result<Self, Error> {
        match ServerName::try_from(name.to_owned()) {
            Ok(name) => self.name = Some(name),
            Err(error) => return Err(Error::new(ErrorKind::InvalidInput, format!("`{name}` is no name of a server: {error}"))),
        }
        Ok(self)
    }

    /// A config of your own. It is taken as it is: its protocol versions, whom it trusts, what it shows.
    #[must_use]
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self { source: Arc::new(Source::own(config)), name: None }
    }

    /// The dialer, with TLS over what it dials. The certificate must be for the host of the address, unless a name was given.
    pub(crate) fn dialer(&self, dial: Arc<dyn Dial>, address: Option<&str>) -> Result<Dialer, Error> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => name_in(address)?,
        };
        Ok(Dialer { dial, handshake: Handshake { source: self.source.clone(), name } })
    }

    /// TLS over one connection.
    pub(crate) fn over(&self, transport: Transport) -> Over {
        let handshake = self.name.clone().map(|name| Handshake { source: self.source.clone(), name });
        let state = handshake.map(|handshake| (transport, handshake)).ok_or_else(|| NO_NAME.to_owned());
        Over(Mutex::new(state))
    }
}

const NO_NAME: &str = "nothing says whom the server's certificate must be for: give ClientTls::server_name";

fn name_in(address: Option<&str>) -> Result<ServerName<'static>, Error> {
    let host = address.filter(|address| !address.starts_with("unix:")).and_then(|address| address.rsplit_once(':')).map(|(host, _)| host);
    let host = host.ok_or_else(|| Error::new(ErrorKind::InvalidInput, NO_NAME))?;
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| Error::new(ErrorKind::InvalidInput, format!("no certificate can be for `{host}`: give ClientTls::server_name")))
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The config holds the key.
        let files = self.source.paths().unwrap_or_default();
        f.debug_struct("ClientTls").field("files", &files).field("server_name", &self.name).finish_non_exhaustive()
    }
}

/// Authorities and, if the client has one, its certificate and key.
fn config(files: &[Pem]) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS).map_err(|error| files[0].refused(error))?;
    let builder = builder.with_root_certificates(files[0].authorities()?);
    let mut config = match &files[1..] {
        [certificate, key] => {
            let with_certificate = builder.with_client_auth_cert(certificate.certificates()?, key.key()?);
            with_certificate.map_err(|error| blame(error, certificate, key))?
        }
        _ => builder.with_no_client_auth(),
    };
    // A session that is resumed is one whose certificate nobody looks at again.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// A client's part in the handshake.
struct Handshake {
    source: Arc<Source<ClientConfig>>,
    name: ServerName<'static>,
}

impl Handshake {
    async fn make(&self, transport: Transport) -> io::Result<Transport> {
        self.source.follow().await;
        let handshake = TlsConnector::from(self.source.current()).connect(self.name.clone(), Raw::new(transport)).into_fallible();
        match handshake.await {
            Ok(stream) => Ok(stream::inside(stream.into())),
            Err((error, raw)) => {
                let error = io::Error::new(error.kind(), self.explain(&error, &raw));
                // Whoever waits for the connection need not wait for its end.
                tokio::spawn(raw.close());
                Err(error)
            }
        }
    }

    fn explain(&self, error: &io::Error, raw: &Raw) -> String {
        if let Some(protocol) = raw.other_protocol() {
            return format!("the server speaks {protocol} without TLS");
        }
        match tls_error(error) {
            // What a server does that expects another protocol, and one that is going down.
            None => format!("the connection ended in the TLS handshake: {error} (does the server speak TLS on this port?)"),
            Some(TlsError::InvalidCertificate(fault)) => {
                format!("the server's certificate was refused, as one for {}: {fault}", self.name.to_str())
            }
            Some(TlsError::InvalidMessage(_)) => format!("the server does not speak TLS ({error})"),
            Some(_) => format!("the TLS handshake failed: {error}"),
        }
    }
}

/// Dials, and makes the handshake.
pub(crate) struct Dialer {
    dial: Arc<dyn Dial>,
    handshake: Handshake,
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self) -> io::Result<Transport> {
        let transport = self.dial.dial().await?;
        self.handshake.make(transport).await
    }
}

/// Dials what is connected already, once; from then on it says why there is nothing to dial.
pub(crate) struct Over(Mutex<Result<(Transport, Handshake), String>>);

impl Over {
    fn state(&self) -> MutexGuard<'_, Result<(Transport, Handshake), String>> {
        self.0.lock().expect("no user code runs under this lock")
    }
}

#[async_trait]
impl Dial for Over {
    async fn dial(&self) -> io::Result<Transport> {
        let gone = |text: &str| io::Error::new(io::ErrorKind::NotConnected, text);
        let (transport, handshake) = {
            let mut state = self.state();
            if let Err(text) = &*state {
                return Err(gone(text));
            }
            let taken = std::mem::replace(&mut *state, Err("the connection is gone, and this client has no address to dial".to_owned()));
            taken.map_err(|text| gone(&text))?
        };
        handshake.make(transport).await.inspect_err(|error| *self.state() = Err(error.to_string()))
    }
}
