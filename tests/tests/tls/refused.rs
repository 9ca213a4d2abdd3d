//! Who does not come in: strangers of both kinds, and peers that do not speak TLS.

use std::io;
use std::time::Duration;

use rpc::tls::ServerTls;
use rpc::transport::{Dial, Transport};
use rpc::{Client, ErrorKind, Executed, Limits, Server};
use rpc_tests::certs::{Authority, HOSTS};
use rpc_tests::{FlowsClient, LabClient, Pki, TestLab, rig, virtual_time};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::{Door, connect, serve};

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
