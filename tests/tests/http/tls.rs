//! HTTP inside TLS: the same, and nothing without it.

use rpc::{Http, Server};
use rpc_tests::{LabServer, Pki, TestLab};
use tokio::net::TcpStream;

use crate::{Visitor, post};

#[tokio::test]
async fn with_tls_http_comes_inside_it_and_not_otherwise() {
    use rpc::tls::rustls;
    use rustls::pki_types::pem::PemObject;
    let (pki, lab) = (Pki::new(), TestLab::new());
    let server = Server::new().add(LabServer::shared(lab)).tls(pki.server_tls()).http(Http::new()).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().socket().unwrap();
    tokio::spawn(server.serve());

    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(pki.servers.pem().as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = TcpStream::connect(address).await.unwrap();
    let me = stream.local_addr().unwrap().to_string();
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let mut visitor = Visitor::over(stream);
    visitor.ask(post("/Lab/peer", "")).await.is_value(me);
    visitor.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);

    let mut plain = Visitor::over(TcpStream::connect(address).await.unwrap());
    plain.send(post("/Lab/add", "[1, 2]")).await;
    while plain.more().await {}
    assert!(!plain.rest.starts_with(b"HTTP"), "in clear nothing is answered");
}
