//! What is served inside TLS, and by which names and certificates the two ends know each other.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};

use rpc::tls::{ClientTls, ServerTls, rustls};
use rpc::transport::{Transport, memory};
use rpc::{CallInfo, Client, ErrorKind, Executed, Server};
use rpc_tests::{LabClient, Pki, TestLab, rig, virtual_time};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::{Glass, MirrorClient, MirrorServer, roots};

/// Conformance 57: the peer's identity is visible to handlers and hooks
#[tokio::test]
async fn handlers_and_hooks_see_the_clients_certificate() {
    let pki = Pki::new();
    let other = pki.clients.client("another client");
    pki.put("other", &other);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let in_hook = seen.clone();
    let hook = move |call: &CallInfo| {
        in_hook.lock().unwrap().push(call.peer.certificates().to_vec());
        Ok(())
    };
    let server = Server::new().add(MirrorServer::new(Glass)).hook(hook).tls(pki.mutual_tls()).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve());
    for (name, identity) in [("client", &pki.client), ("other", &other)] {
        let mirror: MirrorClient = Client::options().tls(pki.client_tls_as(name)).connect(&address).await.unwrap().into();
        assert_eq!(mirror.who().await.unwrap(), std::slice::from_ref(&identity.der));
        assert_eq!(seen.lock().unwrap().pop().unwrap(), std::slice::from_ref(&identity.der));
    }

    let server = Server::new().add(MirrorServer::new(Glass)).tls(pki.server_tls()).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve());
    let mirror: MirrorClient = Client::options().tls(pki.client_tls_as("client")).connect(&address).await.unwrap().into();
    assert!(mirror.who().await.unwrap().is_empty(), "nobody has asked for it");
}

#[test]
fn a_transport_of_ones_own_names_its_peer() {
    virtual_time(async {
        let (near, far) = tokio::io::duplex(4096);
        let certificates = vec![b"its own".to_vec(), b"its authority's".to_vec()];
        let far = Transport::over(far, "secured elsewhere").certificates(certificates.clone());
        tokio::spawn(Server::new().add(MirrorServer::new(Glass)).serve_connection(far));
        let mirror: MirrorClient = Client::options().over(Transport::over(near, "near")).into();
        assert_eq!(mirror.who().await.unwrap(), certificates);
    });
}

#[tokio::test]
async fn the_name_is_the_host_of_the_address_unless_it_is_given() {
    let pki = Pki::new();
    let trust = || ClientTls::from_ca_file(pki.path("servers.pem")).unwrap();
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let listen = if host == "[::1]" { "[::1]:0" } else { "127.0.0.1:0" };
        if std::net::TcpListener::bind(listen).is_err() {
            println!("no {listen} here");
            continue;
        }
        let lab = TestLab::new();
        let server = rig::server(&lab).tls(pki.server_tls()).bind(listen).await.unwrap();
        let port = server.local_addr().port().unwrap();
        tokio::spawn(server.serve());
        let client: LabClient = Client::options().tls(trust()).connect(format!("{host}:{port}")).await.unwrap().into();
        assert_eq!(client.add(1, 2).await.unwrap(), 3);
        let elsewhere = trust().server_name("elsewhere.example").unwrap();
        let error = Client::options().tls(elsewhere).connect(format!("{host}:{port}")).await.unwrap_err();
        assert!(error.to_string().contains("elsewhere.example"), "{error}");
    }
    // Neither a socket's file nor a dialer is a name.
    let lab = TestLab::new();
    let server = rig::server(&lab).tls(pki.server_tls()).bind(format!("unix:{}", pki.path("socket").display())).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve());
    let error = Client::options().tls(trust()).connect(&address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("ClientTls::server_name"), "{error}");
    let error = Client::options().tls(trust()).dial(memory::pair().1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let client: LabClient = Client::options().tls(pki.client_tls()).connect(&address).await.unwrap().into();
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
    assert_eq!(trust().server_name("no name").unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// Keeps what is written through it.
struct Recorded {
    io: DuplexStream,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recorded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.written.lock().unwrap().extend_from_slice(&bytes[..written]);
        }
        polled
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[test]
fn one_connection_is_secured_and_nothing_travels_in_the_clear() {
    const MARK: &str = "a marked word";
    virtual_time(async {
        let pki = Pki::new();
        for is_secure in [false, true] {
            let lab = TestLab::new();
            // Too small for a flight of the handshake: both ends have to wait for each other.
            let (near, far) = tokio::io::duplex(100);
            let (sent, answered) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<Mutex<Vec<u8>>>::default());
            let near = Transport::over(Recorded { io: near, written: sent.clone() }, "near");
            let far = Transport::over(Recorded { io: far, written: answered.clone() }, "far");
            let (mut server, mut options) = (rig::server(&lab), Client::options());
            if is_secure {
                (server, options) = (server.tls(pki.mutual_tls()), options.tls(pki.client_tls_as("client")));
            }
            let serving = tokio::spawn(server.serve_connection(far));
            let client: LabClient = options.over(near).into();
            assert_eq!(client.upper(MARK).await.unwrap(), MARK.to_uppercase());
            client.close().await;
            serving.await.unwrap().unwrap();
            let shows = |bytes: &Mutex<Vec<u8>>, text: &str| bytes.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes());
            assert_eq!((shows(&sent, MARK), shows(&answered, &MARK.to_uppercase())), (!is_secure, !is_secure));
        }
    });
}

#[test]
fn one_connection_says_for_ever_why_it_was_not_secured() {
    virtual_time(async {
        let pki = Pki::new();
        let over = |tls: ClientTls| {
            let (near, far) = tokio::io::duplex(4096);
            tokio::spawn(Server::new().tls(pki.server_tls()).serve_connection(Transport::over(far, "far")));
            Client::options().tls(tls).over(Transport::over(near, "near"))
        };
        let cases = [
            (over(ClientTls::from_ca_file(pki.path("servers.pem")).unwrap()), "ClientTls::server_name"),
            (over(ClientTls::from_ca_file(pki.path("clients.pem")).unwrap().server_name("localhost").unwrap()), "UnknownIssuer"),
        ];
        for (client, why) in cases {
            for _ in 0..3 {
                let error = client.call::<()>("nothing", ()).await.unwrap_err();
                assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
                assert!(error.to_string().contains(why), "{error}");
            }
        }
    });
}

#[tokio::test]
async fn configs_of_ones_own_are_taken_as_they_are() {
    let pki = Pki::new();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let mut client = client.with_root_certificates(roots(&pki)).with_no_client_auth();
    let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::from_pem_slice(pki.server.key.as_bytes()).unwrap();
    let mut server = server.with_single_cert(vec![CertificateDer::from(pki.server.der.clone())], key).unwrap();
    // What only these configs say, and only both together can agree on.
    (server.alpn_protocols, client.alpn_protocols) = (vec![b"mine".to_vec()], vec![b"mine".to_vec()]);
    let mut stranger = client.clone();
    stranger.alpn_protocols = vec![b"other".to_vec()];

    let lab = TestLab::new();
    let tls = ServerTls::from_config(Arc::new(server));
    assert!(!tls.reload().unwrap());
    let server = rig::server(&lab).tls(tls.clone()).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve());
    let client = ClientTls::from_config(Arc::new(client));
    let connected: LabClient = Client::options().tls(client.clone()).connect(&address).await.unwrap().into();
    assert_eq!(connected.add(1, 2).await.unwrap(), 3);
    let error = Client::options().tls(ClientTls::from_config(Arc::new(stranger))).connect(&address).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");

    // They say themselves what the files would.
    assert_eq!(tls.client_ca(pki.path("clients.pem")).unwrap_err().kind(), ErrorKind::InvalidInput);
    let error = client.client_certificate(pki.path("client.pem"), pki.path("client.key")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(rustls::crypto::CryptoProvider::get_default().is_none(), "the process is not ours to set up");
}
