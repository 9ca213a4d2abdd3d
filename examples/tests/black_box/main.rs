//! The `conformance` server as strangers meet it: good clients, killed clients, noise and bombs. The numbers are those
//! of the project's conformance cases. Bounds on time are ten times the promised figure: only against hanging.
#![cfg(target_os = "linux")]
#![allow(unreachable_pub, clippy::allow_attributes, clippy::unwrap_used, reason = "a panic is a failed test")]

mod abuse;
mod damage;
mod floods;
mod flow;
mod memory;
#[path = "../../../tests/src/mutate.rs"]
mod mutate;
mod sizes;
mod speak;
mod streams;
#[path = "../support/mod.rs"]
mod support;
// By path, not as a dependency: who runs an example need not build what only its tests speak.
#[path = "../../../tests/src/wire.rs"]
#[allow(dead_code, reason = "another crate's tests use the rest")]
mod wire;

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rpc::{ErrorKind, Executed};
use serde_json::{Value, json};
use support::{Server, example, kill, read_to_close, run};

/// One call from a client process.
fn call(server: &Server, method: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["call", method, "--addr", &server.address];
    arguments.extend(more);
    let ran = run("conformance", &arguments);
    assert_eq!(ran.log, "", "{method}");
    let line: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(ran.code, Some(i32::from(line["outcome"] != "ok")), "{line}");
    line
}

#[track_caller]
fn fails(line: &Value, kind: &str, executed: &str) {
    assert_eq!((&line["kind"], &line["executed"]), (&json!(kind), &json!(executed)), "{line}");
}

/// Whatever came before: a fresh client is served.
#[track_caller]
fn serves(server: &mut Server) {
    assert!(server.is_running());
    let began = Instant::now();
    let line = call(server, "echo", &["--bytes", "1000"]);
    assert_eq!(line["value"], json!({ "bytes": 1000, "same": true }), "{line}");
    assert!(began.elapsed() < Duration::from_secs(10), "a good client waited {:?}", began.elapsed());
}

/// Told to stop, it ends well, and in all its life no handler but the one that panics as asked has panicked.
#[track_caller]
fn ends_well(server: Server) {
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log:#?}");
    let panics = log.iter().filter(|line| line.contains("panicked at")).count();
    let asked = log.iter().filter(|line| *line == "as asked").count();
    assert_eq!(panics, asked, "{log:#?}");
}

fn running(server: &Server) -> Value {
    call(server, "count", &[])["value"]["running"].take()
}

#[track_caller]
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < until, "never: {what}");
    }
}

/// Cases 1, 6, 9, 20 and 29; case 2 is in `sizes`.
#[test]
fn calls_end_as_promised() {
    let mut server = Server::start("conformance");
    assert_eq!(call(&server, "empty", &[])["outcome"], "ok"); // 1
    fails(&call(&server, "Conformance.nope", &[]), "Unimplemented", "no"); // 6
    fails(&call(&server, "Nope.nope", &[]), "Unimplemented", "no");
    assert_eq!(call(&server, "ping", &["--bytes", "41"])["value"], 42); // 9
    fails(&call(&server, "Conformance.echo", &[]), "Malformed", "no");
    fails(&call(&server, "fail", &[]), "Service", "yes");
    let late = call(&server, "sleep", &["--bytes", "60000", "--timeout-ms", "1"]); // 20
    assert_eq!(late["kind"], "DeadlineExceeded");
    assert!(late["micros"].as_u64().unwrap() < 210_000, "{late}");
    fails(&call(&server, "panic", &[]), "Internal", "yes"); // 29
    server.logged("the handler panicked");
    serves(&mut server);
}

/// Case 27.
#[test]
fn a_killed_client_takes_its_handlers_with_it() {
    let mut server = Server::start("conformance");
    let address = server.address.clone();
    let mut client =
        example("conformance").args(["call", "sleep", "--bytes", "600000", "--timeout-ms", "600000", "--addr", &address]).spawn().unwrap();
    eventually("the handler runs", || running(&server) == 1);
    client.kill().unwrap();
    client.wait().unwrap();
    let killed = Instant::now();
    eventually("the handler is dropped", || running(&server) == 0);
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    serves(&mut server);
}

#[test]
fn a_draining_server_lets_a_call_end() {
    let server = Server::start("conformance");
    let address = server.address.clone();
    let client = example("conformance").args(["call", "sleep", "--bytes", "1500", "--addr", &address]).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the handler runs", || running(&server) == 1);
    server.signal("TERM");
    let answer = client.wait_with_output().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stdout));
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn a_second_signal_stops_at_once() {
    let server = Server::start("conformance");
    let address = server.address.clone();
    let mut client = example("conformance")
        .args(["call", "sleep", "--bytes", "600000", "--timeout-ms", "600000", "--addr", &address])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the handler runs", || running(&server) == 1);
    server.signal("TERM");
    server.logged("draining");
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(130));
    kill("KILL", client.id());
    client.wait().unwrap();
}

/// Magic and version 1: what every connection begins with.
const PREFACE: &[u8] = b"\xf5rpc\r\n\x01\x00";

/// Case 33: the longest frame is announced and never sent.
#[test]
fn a_length_reserves_nothing() {
    let mut server = Server::start("conformance");
    serves(&mut server);
    let before = server.resident();
    let bombs: Vec<_> = (0..200)
        .map(|_| {
            let mut bomb = TcpStream::connect(&server.address).unwrap();
            bomb.write_all(PREFACE).unwrap();
            // A hello of the greatest length there is: 64 KiB.
            bomb.write_all(&[1, 0x00, 0x00, 0x01]).unwrap();
            bomb
        })
        .collect();
    serves(&mut server);
    let grown = server.resident().saturating_sub(before);
    // 64 KiB each, and what the good client needs.
    assert!(grown < 200 * (64 << 10) + (4 << 20), "{grown} bytes");
    drop(bombs);
    serves(&mut server);
}

/// Case 34: one byte more than a frame may have.
#[test]
fn a_longer_frame_closes_the_connection() {
    let mut server = Server::start("conformance");
    let mut bomb = TcpStream::connect(&server.address).unwrap();
    bomb.write_all(PREFACE).unwrap();
    bomb.write_all(&[1, 0x01, 0x00, 0x01]).unwrap();
    assert!(read_to_close(&mut bomb, Duration::from_secs(1)));
    server.logged("exceeds the limit of 65536");
    serves(&mut server);
}

/// Case 39.
#[test]
fn other_protocols_are_named_and_closed() {
    let noise: Vec<u8> = (0..64 << 10).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, bytes) in [
        ("HTTP/1", &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("an unknown protocol", &noise),
    ] {
        // Each its own server: lines of one kind are logged once a second.
        let mut server = Server::start("conformance");
        let mut stranger = TcpStream::connect(&server.address).unwrap();
        // The server may close before it has all of it.
        stranger.write_all(bytes).ok();
        assert!(read_to_close(&mut stranger, Duration::from_secs(1)), "{name}");
        server.logged(name);
        serves(&mut server);
    }
}

/// The service of the example, with arguments of the same shape that may be any bytes at all.
mod hostile {
    use serde::ser::SerializeTuple;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[rpc::service(name = "Conformance")]
    pub trait Hostile {
        async fn echo(&self, bytes: Raw<Vec<u8>>) -> Vec<u8>;
        async fn echo_tree(&self, tree: Raw<Tree>) -> Tree;
        async fn echo_units(&self, units: Raw<Vec<()>>) -> u64;
        async fn fail(&self, text: Raw<String>) -> Result<(), Failure>;
    }

    #[derive(Debug, Deserialize, Serialize)]
    pub struct Failure(String);

    #[derive(Debug, Deserialize, Serialize)]
    pub enum Tree {
        Leaf,
        Node(Box<Tree>),
    }

    pub enum Raw<T> {
        Bytes(Vec<u8>),
        Honest(T),
    }

    pub fn raw<T>(bytes: impl Into<Vec<u8>>) -> Raw<T> {
        Raw::Bytes(bytes.into())
    }

    impl<T: Serialize> Serialize for Raw<T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self {
                Self::Bytes(bytes) => {
                    let mut tuple = serializer.serialize_tuple(bytes.len())?;
                    bytes.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
                    tuple.end()
                }
                Self::Honest(value) => value.serialize(serializer),
            }
        }
    }

    impl<'de, T: Deserialize<'de>> Deserialize<'de> for Raw<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            T::deserialize(deserializer).map(Self::Honest)
        }
    }
}

/// Cases 35, 36 and 38: a bad value fails its own call, and nothing else.
#[tokio::test]
async fn a_bomb_fails_its_own_call() {
    use hostile::{HostileClient, raw};
    let mut server = Server::start("conformance");
    let client = HostileClient::connect(&server.address).await.unwrap();

    // 35: ten bytes that stand for 2^63 elements.
    let units = client.echo_units(raw([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01])).await.unwrap_err();
    assert_eq!((units.kind(), units.executed()), (ErrorKind::TooLarge, Executed::No), "{units}");

    // 36: a megabyte of trees in trees.
    let tree = client.echo_tree(raw(vec![1; 1 << 20])).await.err().unwrap();
    assert_eq!((tree.kind(), tree.executed()), (ErrorKind::Malformed, Executed::No), "{tree}");

    // 38: text that is none, a length beyond the end, an overlong length, bytes after the end, no variant of that number.
    for bytes in [&[2, 0xff, 0xfe][..], &[5, b'a'], &[0x80; 11], b"\x01ab"] {
        let text = client.fail(raw(bytes)).await.unwrap_err();
        assert_eq!((text.kind(), text.executed()), (ErrorKind::Malformed, Executed::No), "{bytes:?}: {text:?}");
    }
    let variant = client.echo_tree(raw([2])).await.err().unwrap();
    assert_eq!((variant.kind(), variant.executed()), (ErrorKind::Malformed, Executed::No), "{variant}");

    // The connection has not suffered.
    let served = client.fail(raw(*b"\x02ok")).await.unwrap_err();
    assert_eq!(served.kind(), ErrorKind::Service);
    client.close().await;
    serves(&mut server);
}
