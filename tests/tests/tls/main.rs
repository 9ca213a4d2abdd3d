//! Conformance 57 and 58: who comes in over TLS, who does not, and what each side is told. What the log says is in `tls_log.rs`.
#![allow(clippy::unwrap_used)]

mod files;
mod identity;
mod refused;
mod time;

use std::sync::Arc;

use rpc::tls::{ClientTls, ServerTls, rustls};

use rpc::{Client, Context, Error, Limits};
use rpc_tests::door::Door;
use rpc_tests::{LabClient, Pki, TestLab, rig};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

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
