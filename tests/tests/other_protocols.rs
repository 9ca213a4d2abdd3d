//! Conformance 39: peers that speak something else are closed at once, and the log names what they speak. In a process
//! of its own, because lines are limited to one a second for each protocol.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use rpc::Server;
use rpc_tests::log::Log;
use rpc_tests::wire::{self, Random};

/// The log of a server that was sent this, and what it answered.
fn log_of(bytes: &[u8]) -> (String, Vec<u8>) {
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let answer = tracing::subscriber::with_default(log.clone(), || {
        runtime.block_on(async {
            let (mut raw, task) = wire::serve(Server::new());
            let began = tokio::time::Instant::now();
            raw.send(bytes).await;
            let answer = raw.bytes().await;
            task.await.unwrap();
            assert!(began.elapsed() < Duration::from_millis(101), "closed after {:?}", began.elapsed());
            answer
        })
    });
    let lines = log.take().join("\n");
    (lines, answer)
}

#[test]
fn the_log_names_the_other_protocol() {
    let mut random = Random::new(39);
    let noise: Vec<u8> = (0..64 << 10).map(|_| random.below(256) as u8).collect();
    let mut tls = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    tls.resize(517, 0x5a);
    let cases: [(&str, &[u8]); 5] = [
        ("HTTP/1", b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
        ("TLS", &tls),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("an unknown protocol", &noise),
    ];
    for (name, bytes) in cases {
        let (log, answer) = log_of(bytes);
        assert!(log.contains(&format!("the peer speaks {name}, not this protocol")), "{name}: {log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(answer.is_empty(), "our words mean nothing to it");
    }
}
