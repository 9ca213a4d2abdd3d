//! Handshakes that take their time: how long they may, what they count as, and whom they hold up, which is nobody.

use std::sync::Arc;
use std::time::Duration;

use rpc::tls::rustls;
use rpc::{ErrorKind, Executed, Limits};
use rpc_tests::{Pki, TestLab, rig, settle, virtual_time};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{Door, connect, roots, serve};

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
