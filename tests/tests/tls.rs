//! Conformance 57 and 58: who comes in over TLS, who does not, and what each side is told. What the log says is in `tls_log.rs`.
#![allow(clippy::unwrap_used)]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use rpc::tls::{ClientTls, ServerTls, rustls};
use rpc::transport::{Dial, Listen, Transport, memory};
use rpc::{Address, CallInfo, Client, Context, Error, ErrorKind, Executed, Limits, Server};
use rpc_tests::certs::{Authority, HOSTS};
use rpc_tests::{FlowsClient, LabClient, Pki, TestLab, rig, settle, virtual_time, wire};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

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

// ---- what is served

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
        assert_eq!(mirror.who().await.unwrap(), [identity.der.clone()]);
        assert_eq!(seen.lock().unwrap().pop().unwrap(), [identity.der.clone()]);
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

// ---- who does not come in

/// Conformance 57: wrong CA, wrong name, expired
#[test]
fn a_client_refuses_a_server_that_is_not_the_one_it_wants() {
    virtual_time(async {
        let pki = Pki::new();
        pki.put("misnamed", &pki.servers.server(&["elsewhere.example"]));
        pki.put("expired", &pki.servers.expired_server(&HOSTS));
        pki.put("foreign", &Authority::new("other servers").server(&HOSTS));
        // Of the same name as the one that is trusted.
        pki.put("forged", &Authority::new("servers").server(&HOSTS));
        pki.put("client-only", &pki.servers.client("a client"));
        let cases = [
            ("misnamed", "localhost"),
            ("expired", "expired"),
            ("foreign", "UnknownIssuer"),
            ("forged", "certificate"),
            ("client-only", "certificate"),
        ];
        for (name, word) in cases {
            let tls = ServerTls::from_pem_files(pki.path(&format!("{name}.pem")), pki.path(&format!("{name}.key"))).unwrap();
            let (dialer, lab) = serve(tls, Limits::default());
            let error = connect(&dialer, pki.client_tls()).await.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No), "{name}: {error}");
            let text = error.to_string();
            assert!(text.contains("the server's certificate was refused") && text.contains(word), "{name}: {text}");
            assert_eq!(lab.begun(), 0);
        }
    });
}

/// Whom a server refuses, in how many ways a call may be made, and what the client hears.
async fn refused(pki: &Pki, dial: impl Dial + Clone, lab: &TestLab) {
    pki.put("expired", &pki.clients.expired_client("late"));
    pki.put("foreign", &Authority::new("other clients").client("stranger"));
    pki.put("forged", &Authority::new("clients").client("stranger"));
    pki.put("server-only", &pki.servers.server(&HOSTS));
    let cases = [
        (pki.client_tls(), "only clients with a TLS certificate"),
        (pki.client_tls_as("expired"), "CertificateExpired"),
        (pki.client_tls_as("foreign"), "UnknownCA"),
        (pki.client_tls_as("forged"), "refused this client's TLS certificate"),
        (pki.client_tls_as("server-only"), "refused this client's TLS certificate"),
    ];
    for (tls, why) in cases {
        // Several at once, and a stream: none of them has begun, and each is told.
        let client = Client::options().tls(tls).dial(dial.clone()).await.unwrap();
        let (lab_client, flows) = (LabClient::from(client.clone()), FlowsClient::from(client));
        let (one, two, three) = tokio::join!(lab_client.wait(1), lab_client.add(1, 2), flows.count(0, 10));
        for error in [one.unwrap_err(), two.unwrap_err(), three.map(drop).unwrap_err()] {
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unauthenticated, Executed::No), "{why}: {error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }
    assert_eq!((lab.begun(), lab.live()), (0, 0));
    let welcome: LabClient = Client::options().tls(pki.client_tls_as("client")).dial(dial).await.unwrap().into();
    assert_eq!(welcome.add(1, 2).await.unwrap(), 3);
}

/// Conformance 57: mutual TLS; wrong CA, expired and none are refused before any handler
#[test]
fn a_server_refuses_clients_before_any_handler() {
    virtual_time(async {
        let pki = Pki::new();
        let (dialer, lab) = serve(pki.mutual_tls(), Limits::default());
        refused(&pki, dialer, &lab).await;
    });
}

#[derive(Clone)]
struct Tcp(String);

#[rpc::async_trait]
impl Dial for Tcp {
    async fn dial(&self) -> io::Result<Transport> {
        Ok(Transport::over(tokio::net::TcpStream::connect(&self.0).await?, "tcp"))
    }
}

/// Conformance 57, over sockets: the verdict must not be lost to a reset of the connection
#[tokio::test]
async fn a_server_refuses_clients_over_tcp() {
    let (pki, lab) = (Pki::new(), TestLab::new());
    let server = rig::server(&lab).tls(pki.mutual_tls()).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().to_string();
    tokio::spawn(server.serve());
    refused(&pki, Tcp(address), &lab).await;
}

/// Conformance 57: plain client on TLS port
#[test]
fn a_plain_client_is_told_at_once_that_the_port_speaks_tls() {
    virtual_time(async {
        let pki = Pki::new();
        let (dialer, lab) = serve(pki.server_tls(), Limits::default());
        let began = Instant::now();
        let client: LabClient = Client::options().dial(dialer).await.unwrap().into();
        let error = client.add(1, 2).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Protocol, Executed::No));
        assert!(error.to_string().contains("the peer speaks TLS"), "{error}");
        assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
        assert_eq!(lab.begun(), 0);
    });
}

/// Conformance 57: and the reverse
#[test]
fn a_tls_client_is_told_at_once_that_the_port_is_plain() {
    virtual_time(async {
        let pki = Pki::new();
        let (dialer, doorman) = Door::new();
        tokio::spawn(Server::new().listen(doorman).unwrap().serve());
        let began = Instant::now();
        let error = connect(&dialer, pki.client_tls()).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
        assert!(error.to_string().contains("does the server speak TLS on this port?"), "{error}");
        assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());

        // Those that speak first.
        for (words, why) in [
            (&b"\xf5rpc\r\n\x01\x00\x00\x00\x00\x01"[..], "the server speaks this protocol without TLS"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server speaks HTTP/1 without TLS"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "the server speaks SSH without TLS"),
            (b"\x7f\x00\x01\x02\x03\x04\x05\x06\x07", "the server does not speak TLS"),
        ] {
            let (near, mut far) = tokio::io::duplex(4096);
            far.write_all(words).await.unwrap();
            let client = Client::options().tls(pki.client_tls()).over(Transport::over(near, "near"));
            let error = client.call::<()>("nothing", ()).await.unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    });
}

// ---- time

fn roots(pki: &Pki) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pki.servers.pem().as_bytes()).unwrap()).unwrap();
    roots
}

/// A client's part of TLS, without a connection.
fn session(pki: &Pki) -> rustls::ClientConnection {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots(pki)).with_no_client_auth();
    rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

/// The first flight of a client.
fn client_hello(pki: &Pki) -> Vec<u8> {
    let mut session = session(pki);
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

/// When the server closes this connection.
async fn closed(mut stream: DuplexStream) -> Instant {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    Instant::now()
}

/// Conformance 57: handshake stall 10 s; it holds up nobody else
#[test]
fn a_handshake_that_stalls_ends_after_ten_seconds() {
    virtual_time(async {
        let pki = Pki::new();
        let (door, lab) = serve(pki.server_tls(), Limits::default());
        let hello = client_hello(&pki);
        let began = Instant::now();
        let mut stalled = Vec::new();
        // Nothing, one byte, the half of it, and all of the first flight but nothing after it.
        for length in [0, 1, hello.len() / 2, hello.len()] {
            let mut stream = door.knock();
            stream.write_all(&hello[..length]).await.unwrap();
            stalled.push(tokio::spawn(closed(stream)));
        }
        // Byte by byte, and never done.
        let (read, mut write) = tokio::io::split(door.knock());
        let slow = hello.clone();
        tokio::spawn(async move {
            for byte in slow {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if write.write_all(&[byte]).await.is_err() {
                    return;
                }
            }
        });
        stalled.push(tokio::spawn(async move {
            let mut read = read;
            read.read_to_end(&mut Vec::new()).await.unwrap();
            Instant::now()
        }));
        for _ in 0..3 {
            let client = connect(&door, pki.client_tls()).await.unwrap();
            assert_eq!(client.add(1, 2).await.unwrap(), 3);
            client.close().await;
        }
        assert!(began.elapsed() < Duration::from_millis(100), "somebody waited: {:?}", began.elapsed());
        for stream in stalled {
            let lasted = stream.await.unwrap() - began;
            assert!((Duration::from_secs(10)..Duration::from_millis(10_010)).contains(&lasted), "{lasted:?}");
        }
        assert_eq!(lab.begun(), 0);
    });
}

/// The ten seconds are for all that comes before the first call: TLS, then our own hello
#[test]
fn a_peer_has_ten_seconds_for_both_handshakes() {
    virtual_time(async {
        let pki = Pki::new();
        let (door, _lab) = serve(pki.server_tls(), Limits::default());
        let mut session = session(&pki);
        let mut stream = door.knock();
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(6)).await;
        while session.is_handshaking() || session.wants_write() {
            let mut out = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut out).unwrap();
            }
            stream.write_all(&out).await.unwrap();
            if session.is_handshaking() {
                let mut bytes = [0; 4096];
                let read = stream.read(&mut bytes).await.unwrap();
                session.read_tls(&mut &bytes[..read]).unwrap();
                session.process_new_packets().unwrap();
            }
        }
        // It is in, and says nothing.
        let lasted = closed(stream).await - began;
        // The server says why and waits a moment for it to be read.
        assert!((Duration::from_secs(10)..Duration::from_millis(10_200)).contains(&lasted), "{lasted:?}");
    });
}

/// Conformance 55 and 57: half-open handshakes count as connections; who is turned away hears why, inside TLS
#[test]
fn handshakes_count_as_connections() {
    virtual_time(async {
        let pki = Pki::new();
        let mut limits = Limits::default();
        limits.max_connections = 1;
        let (door, lab) = serve(pki.mutual_tls(), limits);
        let silent = door.knock();
        settle().await;
        for _ in 0..3 {
            let client = connect(&door, pki.client_tls_as("client")).await.unwrap();
            let error = client.add(1, 2).await.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
            assert!(error.message().contains("Limits::max_connections"), "{error}");
        }
        // Nor does being turned away let anybody in who shows nothing.
        let error = connect(&door, pki.client_tls()).await.unwrap().add(1, 2).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        // Turning away is work too: beyond some, it ends without a word.
        let begun: Vec<_> = (0..200).map(|_| door.knock()).collect();
        settle().await;
        let mut silently = 0;
        for mut stream in begun {
            silently += usize::from(stream.write_all(b"\x16").await.is_err());
        }
        assert!((100..200).contains(&silently), "{silently}");
        closed(silent).await;
        settle().await;
        let client = connect(&door, pki.client_tls_as("client")).await.unwrap();
        assert_eq!(client.add(1, 2).await.unwrap(), 3);
        assert_eq!(lab.begun(), 0);
    });
}

/// Conformance 56: half-open peers cannot delay a drain
#[test]
fn a_drain_waits_for_calls_and_not_for_handshakes() {
    virtual_time(async {
        let (pki, lab) = (Pki::new(), TestLab::new());
        let (door, doorman) = Door::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = rig::server(&lab).tls(pki.server_tls()).listen(doorman).unwrap();
        let serving = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
        let client = connect(&door, pki.client_tls()).await.unwrap();
        let call = tokio::spawn(client.wait(1).owned());
        lab.until_live(1).await;
        let mut half_open = door.knock();
        half_open.write_all(&client_hello(&pki)[..50]).await.unwrap();
        settle().await;
        let began = Instant::now();
        stop.send(()).unwrap();
        assert_eq!(closed(half_open).await, began);
        assert!(!serving.is_finished(), "a call is in flight");
        lab.open(1);
        assert_eq!(call.await.unwrap().unwrap(), 1);
        serving.await.unwrap().unwrap();
        assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    });
}

// ---- files

/// The DER of the certificate that the server shows to a new connection.
async fn shown(door: &Door, pki: &Pki) -> Vec<u8> {
    #[derive(Debug)]
    struct Keeps(Arc<rustls::client::WebPkiServerVerifier>, Mutex<Vec<u8>>);
    impl rustls::client::danger::ServerCertVerifier for Keeps {
        fn verify_server_cert(
            &self,
            certificate: &CertificateDer<'_>,
            between: &[CertificateDer<'_>],
            name: &rustls::pki_types::ServerName<'_>,
            ocsp: &[u8],
            now: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            *self.1.lock().unwrap() = certificate.to_vec();
            self.0.verify_server_cert(certificate, between, name, ocsp, now)
        }
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls12_signature(message, certificate, signature)
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls13_signature(message, certificate, signature)
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.supported_verify_schemes()
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots(pki)), provider.clone()).build().unwrap();
    let keeps = Arc::new(Keeps(verifier, Mutex::default()));
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.dangerous().with_custom_certificate_verifier(keeps.clone()).with_no_client_auth();
    let tls = ClientTls::from_config(Arc::new(config)).server_name("localhost").unwrap();
    let client = connect(door, tls).await.unwrap();
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
    client.close().await;
    let certificate = keeps.1.lock().unwrap().clone();
    certificate
}

/// What is long enough for a server to look at its files: conformance 58 has five seconds.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// Conformance 58: new handshakes use the new certificate within 5 s, old connections live, a broken file keeps the old one
#[test]
fn changed_files_are_used_and_broken_ones_are_not() {
    virtual_time(async {
        let pki = Pki::new();
        let (door, lab) = serve(pki.server_tls(), Limits::default());
        let old = connect(&door, pki.client_tls()).await.unwrap();
        let call = tokio::spawn(old.wait(1).timeout(Duration::from_secs(3600)).owned());
        lab.until_live(1).await;
        assert_eq!(shown(&door, &pki).await, pki.server.der);

        let second = pki.servers.server(&HOSTS);
        pki.put("server", &second);
        a_while().await;
        assert_eq!(shown(&door, &pki).await, second.der);

        // Broken in several ways, each for as long as it takes to be seen.
        let third = pki.servers.server(&HOSTS);
        for certificate in ["", "no PEM", &third.certificate, &third.certificate[..third.certificate.len() / 2]] {
            pki.write("server.pem", certificate);
            a_while().await;
            assert_eq!(shown(&door, &pki).await, second.der, "{certificate}");
        }
        std::fs::remove_file(pki.path("server.pem")).unwrap();
        a_while().await;
        assert_eq!(shown(&door, &pki).await, second.der);

        // The other half arrives.
        pki.put("server", &third);
        a_while().await;
        assert_eq!(shown(&door, &pki).await, third.der);

        // Written over in place, as by an editor.
        let fourth = pki.servers.server(&HOSTS);
        std::fs::write(pki.path("server.pem"), &fourth.certificate).unwrap();
        std::fs::write(pki.path("server.key"), &fourth.key).unwrap();
        a_while().await;
        assert_eq!(shown(&door, &pki).await, fourth.der);

        lab.open(1);
        assert_eq!(call.await.unwrap().unwrap(), 1, "on the connection of the first certificate");
        assert_eq!(old.add(1, 2).await.unwrap(), 3);
    });
}

/// Conformance 58: at once, when asked; authorities of clients too
#[test]
fn files_are_read_again_on_request() {
    virtual_time(async {
        let pki = Pki::new();
        let tls = pki.mutual_tls();
        assert!(!tls.reload().unwrap(), "nothing has changed");
        let (door, lab) = serve(tls.clone(), Limits::default());
        assert_eq!(connect(&door, pki.client_tls_as("client")).await.unwrap().add(1, 2).await.unwrap(), 3);

        let others = Authority::new("other clients");
        pki.put("other", &others.client("one of them"));
        pki.write("clients.pem", &others.pem());
        assert!(tls.reload().unwrap());
        assert!(!tls.reload().unwrap());
        let error = connect(&door, pki.client_tls_as("client")).await.unwrap().wait(1).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unauthenticated, Executed::No));
        assert_eq!(connect(&door, pki.client_tls_as("other")).await.unwrap().add(1, 2).await.unwrap(), 3);

        pki.write("clients.pem", "nobody");
        let error = tls.reload().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("clients.pem"), "{error}");
        assert_eq!(connect(&door, pki.client_tls_as("other")).await.unwrap().add(1, 2).await.unwrap(), 3);
        assert_eq!(lab.begun(), 0);
    });
}

/// Two changes may come within one tick of the file system's clock, and look the same but for what is in the file
#[test]
fn a_change_that_leaves_no_trace_but_itself_is_found() {
    virtual_time(async {
        let pki = Pki::new();
        let moment = std::time::SystemTime::now() + Duration::from_secs(1);
        let place = |file: &str, text: &str| {
            let path = pki.path(file);
            std::fs::write(&path, text).unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(moment).unwrap();
        };
        place("server.pem", &pki.server.certificate);
        place("server.key", &pki.server.key);
        let tls = pki.server_tls();
        // Signatures differ in length.
        let renewed = std::iter::repeat_with(|| pki.servers.server(&HOSTS)).find(|new| new.certificate.len() == pki.server.certificate.len());
        let renewed = renewed.unwrap();
        place("server.pem", &renewed.certificate);
        place("server.key", &renewed.key);
        assert!(tls.reload().unwrap());
        let (door, _lab) = serve(tls, Limits::default());
        assert_eq!(shown(&door, &pki).await, renewed.der);
    });
}

/// Each connection has a server of its own, which can be ended.
struct Fresh {
    tls: ServerTls,
    last: Arc<Mutex<Option<tokio::task::AbortHandle>>>,
}

#[rpc::async_trait]
impl Dial for Fresh {
    async fn dial(&self) -> io::Result<Transport> {
        let (near, far) = tokio::io::duplex(16 << 10);
        let server = Server::new().add(MirrorServer::new(Glass)).tls(self.tls.clone());
        let task = tokio::spawn(server.serve_connection(Transport::over(far, "far")));
        *self.last.lock().unwrap() = Some(task.abort_handle());
        Ok(Transport::over(near, "near"))
    }
}

/// Certificates of clients run out as well: the next connection shows the new one, and the old one if that is broken
#[test]
fn a_client_shows_its_new_certificate_when_it_dials_again() {
    virtual_time(async {
        let (pki, last) = (Pki::new(), Arc::<Mutex<Option<tokio::task::AbortHandle>>>::default());
        let dial = Fresh { tls: pki.mutual_tls(), last: last.clone() };
        let mirror: MirrorClient = Client::options().tls(pki.client_tls_as("client")).dial(dial).await.unwrap().into();
        assert_eq!(mirror.who().await.unwrap(), [pki.client.der.clone()]);
        let hang_up = async || {
            last.lock().unwrap().take().unwrap().abort();
            settle().await;
        };

        let renewed = pki.clients.client("a client, renewed");
        pki.put("client", &renewed);
        assert_eq!(mirror.who().await.unwrap(), [pki.client.der.clone()], "the connection lives");
        hang_up().await;
        assert_eq!(mirror.who().await.unwrap(), [renewed.der.clone()]);

        pki.write("client.key", &pki.client.key);
        hang_up().await;
        assert_eq!(mirror.who().await.unwrap(), [renewed.der]);
    });
}

fn text(error: &Error) -> String {
    format!("{error} {error:?} {}", std::error::Error::source(error).map(ToString::to_string).unwrap_or_default())
}

/// Secrets never in Debug or errors; whatever is in a file, it is no panic
#[test]
fn a_file_that_cannot_be_used_is_named_and_its_content_is_not() {
    let pki = Pki::new();
    let secret: String = pki.server.key.lines().nth(1).unwrap().to_owned();
    let (certificate, key) = (&pki.server.certificate, &pki.server.key);
    let one_line = key.replace('\n', "");
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let odd_keys = [
        ("", "no private key"),
        ("\n\n", "no private key"),
        (certificate, "no private key"),
        (&encrypted, "an encrypted one"),
        (&one_line, "server.key"),
        (&key[..key.len() / 2], "does not end"),
        (&key.replace(&secret[..8], "????????"), "not base64"),
        (&key.replace(&secret[..8], "AAAAAAAA"), "private key"),
        (&pki.client.key, "it is not the key of"),
        ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "private key"),
    ];
    for (text_of_key, word) in odd_keys {
        pki.write("server.key", text_of_key);
        let error = ServerTls::from_pem_files(pki.path("server.pem"), pki.path("server.key")).unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
        let text = text(&error);
        assert!(text.contains("server.key") && text.contains(word), "{word}: {text}");
        assert!(!text.contains(&secret[8..24]), "{text}");
    }
    pki.write("server.key", key);
    let odd_certificates = ["", key, &certificate[..certificate.len() / 2], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"];
    for certificate in odd_certificates {
        pki.write("odd.pem", certificate);
        for error in [
            ServerTls::from_pem_files(pki.path("odd.pem"), pki.path("server.key")).unwrap_err(),
            pki.server_tls().client_ca(pki.path("odd.pem")).unwrap_err(),
            ClientTls::from_ca_file(pki.path("odd.pem")).unwrap_err(),
            pki.client_tls().client_certificate(pki.path("odd.pem"), pki.path("client.key")).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = text(&error);
            assert!(text.contains("odd.pem") && !text.contains(&secret[8..24]), "{text}");
        }
    }
    for missing in [pki.path("nothing.pem"), pki.path("")] {
        let error = ServerTls::from_pem_files(&missing, pki.path("server.key")).unwrap_err();
        assert!(text(&error).contains("cannot be read"), "{error}");
    }
    pki.write("long.pem", &certificate.repeat(3000));
    assert!(ClientTls::from_ca_file(pki.path("long.pem")).unwrap_err().to_string().contains("longer than 1 MiB"));
    // With Windows' ends of lines, with words around, and both in one file.
    pki.write("both.pem", &format!("Subject: a server\n{key}and\n{certificate}").replace('\n', "\r\n"));
    let (server, client) = (ServerTls::from_pem_files(pki.path("both.pem"), pki.path("both.pem")).unwrap(), pki.client_tls_as("client"));
    let options = Client::options().tls(client.clone());
    for debug in [format!("{server:?}"), format!("{client:?}"), format!("{options:?}"), format!("{:?}", Server::new().tls(server.clone()))] {
        assert!(debug.len() < 1000 && !debug.contains("BEGIN") && !debug.contains(&secret[..8]), "{debug}");
    }
}

/// Flipped, cut and doubled bytes, in the text and below it
#[test]
fn no_file_makes_a_panic() {
    let pki = Pki::new();
    let mut random = wire::Random::new(57);
    let mut used = 0;
    for _ in 0..2000 {
        let file = ["server.pem", "server.key", "clients.pem"][random.below(3)];
        let identity = match file {
            "server.pem" => pki.server.certificate.clone(),
            "server.key" => pki.server.key.clone(),
            _ => pki.clients.pem(),
        };
        let mut bytes = identity.clone().into_bytes();
        let place = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[place] ^= 1 << random.below(8),
            // Still base64: what is below it is damaged.
            1 => bytes[place] = b"ABCDwxyz0189+/"[random.below(14)],
            2 => bytes.truncate(place),
            _ => bytes = [&bytes[..place], &bytes[place / 2..]].concat(),
        }
        std::fs::write(pki.path(file), &bytes).unwrap();
        let tls = ServerTls::from_pem_files(pki.path("server.pem"), pki.path("server.key")).and_then(|tls| tls.client_ca(pki.path("clients.pem")));
        used += usize::from(tls.is_ok());
        std::fs::write(pki.path(file), identity).unwrap();
    }
    assert!(used < 1500, "the damage does not matter: {used}");
}
