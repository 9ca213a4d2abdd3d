//! Conformance 57 and 58: what the log says of peers that do not come in over TLS, and of files that cannot be used. In a process
//! of its own and in one test, because lines are limited to one a second for each kind of fault.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use rpc::tls::{ClientTls, ServerTls};
use rpc::transport::Transport;
use rpc::{Client, ErrorKind, Server};
use rpc_tests::certs::{Authority, HOSTS};
use rpc_tests::log::Log;
use rpc_tests::{Pki, settle, virtual_time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server of this one connection, until it has ended.
async fn meet(tls: ServerTls, client: impl AsyncFnOnce(tokio::io::DuplexStream)) {
    let (near, far) = tokio::io::duplex(16 << 10);
    let serving = tokio::spawn(Server::new().tls(tls).serve_connection(Transport::over(far, "somebody")));
    client(near).await;
    serving.await.unwrap().unwrap();
}

/// A call by a client with these options.
async fn call(options: rpc::ClientOptions, near: tokio::io::DuplexStream) {
    let client = options.over(Transport::over(near, "server"));
    client.call::<()>("nothing", ()).await.unwrap_err();
}

#[test]
fn the_log_names_the_likely_cause() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    virtual_time(async {
        let pki = Pki::new();
        let options = |tls: ClientTls| Client::options().tls(tls);
        let one_line = |word: &str| {
            let lines = log.take();
            assert!(lines.len() == 1 && lines[0].contains("somebody") && lines[0].contains(word), "{word}: {lines:?}");
        };

        // A peer that is killed says no farewell. Over a plain socket that is no fault either. (First: others are of the same
        // kind, and would hold this line back.)
        meet(pki.server_tls(), async |mut near| {
            let (client, mut far) = tokio::io::duplex(16 << 10);
            let relay = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut far, &mut near).await.map(drop) });
            let client = options(pki.client_tls()).over(Transport::over(client, "server"));
            assert_eq!(client.call::<()>("nothing", ()).await.unwrap_err().kind(), ErrorKind::Unimplemented);
            relay.abort();
            settle().await;
        })
        .await;
        assert_eq!(log.take(), [""; 0]);

        meet(pki.server_tls(), async |near| call(Client::options(), near).await).await;
        // The client says that the peer speaks TLS; the server that the client does not.
        let lines = log.take();
        assert!(lines.iter().any(|line| line.contains("somebody") && line.contains("the peer speaks this protocol without TLS")), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("server") && line.contains("the peer speaks TLS, not this protocol")), "{lines:?}");

        meet(pki.server_tls(), async |mut near| {
            near.write_all(b"\x7fELF\x02\x01\x01\x00\x00\x00").await.unwrap();
            near.read_to_end(&mut Vec::new()).await.unwrap();
        })
        .await;
        one_line("the peer does not speak TLS");

        let strangers = ClientTls::from_ca_file(pki.path("clients.pem")).unwrap().server_name("localhost").unwrap();
        meet(pki.server_tls(), async |near| call(options(strangers), near).await).await;
        one_line("the client refused this server's certificate (alert UnknownCA)");

        let lines_of_both = |word: &str| {
            let lines = log.take();
            assert!(lines.iter().any(|line| line.contains("somebody") && line.contains(word)), "{word}: {lines:?}");
            assert!(lines.len() <= 2, "{lines:?}");
        };
        meet(pki.mutual_tls(), async |near| call(options(pki.client_tls()), near).await).await;
        lines_of_both("the client showed no certificate (ServerTls::client_ca)");

        pki.put("stranger", &Authority::new("other clients").client("a stranger"));
        meet(pki.mutual_tls(), async |near| call(options(pki.client_tls_as("stranger")), near).await).await;
        lines_of_both("the client's certificate was refused: UnknownIssuer");

        meet(pki.server_tls(), async |mut near| {
            near.read_to_end(&mut Vec::new()).await.unwrap();
        })
        .await;
        one_line("no TLS handshake in time (Limits::handshake_timeout)");

        // Who only looks whether the port is open, and who goes away in between.
        meet(pki.server_tls(), async |near| drop(near)).await;
        assert_eq!(log.take(), [""; 0]);
        meet(pki.server_tls(), async |mut near| near.write_all(b"\x16\x03\x01").await.unwrap()).await;
        one_line("ended in its TLS handshake");

        // Conformance 58: one line for new files, one for as long as they are broken in one way.
        let (listener, dialer) = rpc::transport::memory::pair();
        tokio::spawn(Server::new().tls(pki.server_tls()).listen(listener).unwrap().serve());
        let a_while = || tokio::time::sleep(Duration::from_secs(20));
        pki.put("server", &pki.servers.server(&HOSTS));
        a_while().await;
        let lines = log.take();
        assert!(lines.len() == 1 && lines[0].contains("new TLS files are in use") && lines[0].contains("server.pem"), "{lines:?}");
        let renewed = pki.servers.server(&HOSTS);
        pki.write("server.key", &renewed.key);
        a_while().await;
        let lines = log.take();
        assert!(lines.len() == 1 && lines[0].contains("the former TLS files stay in use") && lines[0].contains("server.key"), "{lines:?}");
        assert!(!lines[0].contains(&renewed.key[40..60]), "{lines:?}");
        pki.write("server.pem", "");
        a_while().await;
        let lines = log.take();
        assert!(lines.len() == 1 && lines[0].contains("server.pem cannot be used: it has no certificate"), "{lines:?}");
        pki.write("server.pem", &renewed.certificate);
        a_while().await;
        assert_eq!(log.take().len(), 1);
        a_while().await;
        assert_eq!(log.take(), [""; 0]);
        drop(dialer);
        settle().await;
    });
}
