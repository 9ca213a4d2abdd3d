//! Conformance 57 and 58: who comes in over TLS, who does not, and what each side is told. What the log says is in `tls_log.rs`.
#![allow(clippy::unwrap_used)]

mod files;
mod identity;
mod refused;
mod time;

use std::io;
use std::sync::Arc;

use rpc::tls::{ClientTls, ServerTls, rustls};
use rpc::transport::{Dial, Listen, Transport};
use rpc::{Address, Client, Context, Error, Limits};
use rpc_tests::{LabClient, Pki, TestLab, rig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// The way to a server in memory, for clients and for bytes written by hand.
#[derive(Clone)]
struct Door(mpsc::UnboundedSender<DuplexStream>);

struct Doorman(mpsc::UnboundedReceiver<DuplexStream>);

impl Door {
    fn new() -> (Self, Doorman) {
        let (door, doorman) = mpsc::unbounded_channel();
        (Self(door), Doorman(doorman))
    }

    fn knock(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(16 << 10);
        self.0.send(far).unwrap();
        near
    }
}

#[rpc::async_trait]
impl Dial for Door {
    async fn dial(&self) -> io::Result<Transport> {
        Ok(Transport::over(self.knock(), "door"))
    }
}

#[rpc::async_trait]
impl Listen for Doorman {
    async fn accept(&mut self) -> io::Result<Transport> {
        match self.0.recv().await {
            Some(stream) => Ok(Transport::over(stream, "door")),
            None => std::future::pending().await,
        }
    }

    fn address(&self) -> Address {
        Address::named("door")
    }
}

/// A server in memory, and its counters.
fn serve(tls: ServerTls, limits: Limits) -> (Door, Arc<TestLab>) {
    let lab = TestLab::new();
    let (door, doorman) = Door::new();
    tokio::spawn(rig::server(&lab).limits(limits).tls(tls).listen(doorman).unwrap().serve());
    (door, lab)
}

async fn connect(dialer: &Door, tls: ClientTls) -> Result<LabClient, Error> {
    Client::options().tls(tls).dial(dialer.clone()).await.map(LabClient::from)
}

/// Tells the certificates of its peer.
#[rpc::service]
trait Mirror {
    async fn who(&self, cx: &Context) -> Vec<Vec<u8>>;
}

struct Glass;

impl Mirror for Glass {
    async fn who(&self, cx: &Context) -> Vec<Vec<u8>> {
        assert!(format!("{:?}", cx.peer()).len() < 100, "certificates in Debug");
        cx.peer().certificates().to_vec()
    }
}

/// Whom a client of these files trusts, for a config of its own.
fn roots(pki: &Pki) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.servers.pem().as_bytes()).unwrap()).unwrap();
    roots
}
