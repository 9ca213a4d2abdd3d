//! What strangers can make the server hold.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::speak::{self, DOWNLOAD, ECHO, ECHO_TREE, ECHO_UNITS, FIRST_WINDOW, MAX_MESSAGE, UPLOAD};
use crate::support::Server;
use crate::wire::{self, Frame, MAX_FRAME, kind};
use crate::{ends_well, eventually, serves};

/// `Limits::max_decoded`, and what case 37 allows.
const DECODED: u64 = 64 << 20;
/// A message as it came; a reader reserves no more than twice what has come (protocol 5.3).
const AS_IT_CAME: u64 = 2 * MAX_MESSAGE as u64;
/// What the allocator keeps for itself, and pages of the program that were not touched before.
const MARGIN: u64 = 16 << 20;

const OVERLOADED: u64 = 3;
const MALFORMED: u64 = 5;
const TOO_LARGE: u64 = 6;

/// A whole message of JSON: as many of these elements as fit, in the one argument.
fn full(element: &str) -> Vec<u8> {
    let count = (MAX_MESSAGE - 4) / (element.len() + 1) - 1;
    format!("[[{}{element}]]", format!("{element},").repeat(count)).into_bytes()
}

/// Case 37: messages as large as any may be, whose values would be many times larger.
#[tokio::test]
async fn four_mebibytes_do_not_become_more_than_sixty_four() {
    let json = &[4][..];
    let postcard = &[][..];
    let ones = vec![1; MAX_MESSAGE];
    let units = [wire::varint(MAX_MESSAGE as u64), vec![0; 4]].concat();
    let cases = [
        ("maps of one", ECHO, json, full(r#"{"":0}"#), TOO_LARGE),
        ("empty maps", ECHO, json, full("{}"), TOO_LARGE),
        ("empty lists", ECHO, json, full("[]"), TOO_LARGE),
        ("empty texts", ECHO, json, full(r#""""#), TOO_LARGE),
        ("numbers", ECHO, json, full("0"), TOO_LARGE),
        ("lists in lists", ECHO, json, "[".repeat(MAX_MESSAGE).into_bytes(), MALFORMED),
        ("maps in maps", ECHO_TREE, json, r#"[{"Node":"#.repeat(MAX_MESSAGE / 9).into_bytes(), MALFORMED),
        ("trees in trees", ECHO_TREE, postcard, ones, MALFORMED),
        ("units", ECHO_UNITS, postcard, units, TOO_LARGE),
    ];
    let mut server = Server::start("conformance");
    serves(&mut server);
    let mut raw = speak::open(&server).await;
    let before = server.resident();
    for (what, number, encoding, payload, code) in cases {
        assert!(raw.send(speak::in_chunks(0, number, encoding, &payload, payload.len().min(60_000), 65_000)).await, "{what}");
        let (kind, id, body) = speak::message(&mut raw).await;
        let most = server.peak().saturating_sub(before);
        assert!(most <= DECODED + AS_IT_CAME + MARGIN, "{what}: {} MiB held", most >> 20);
        assert_eq!((kind, id), (kind::ERROR, 0), "{what}");
        let (got, executed, _, message) = Frame { kind, flags: 0, body: [wire::varint(id), body].concat() }.error();
        assert_eq!((got, executed), (code, 0), "{what}: {message}");
    }
    // Plain bytes are no bomb, and the connection is as good as before.
    let plain = [wire::varint(MAX_MESSAGE as u64 - 4), vec![9; MAX_MESSAGE - 4]].concat();
    assert!(raw.send(speak::in_chunks(0, ECHO, postcard, &plain, 60_000, 65_000)).await);
    let (kind, _, reply) = speak::message(&mut raw).await;
    assert!(kind == kind::REPLY && reply == plain);
    drop(raw);
    serves(&mut server);
    ends_well(server);
}

/// Case 33, the whole of it: a process that may have a gibibyte of addresses. The case asks for 200 connections; these are
/// so many that what they declare is more than the process may have.
#[tokio::test]
async fn a_gibibyte_of_addresses_outlives_what_is_only_declared() {
    const CONNECTIONS: usize = 280;
    const _: () = assert!(CONNECTIONS * (MAX_MESSAGE - MAX_FRAME) > 1 << 30);
    if Command::new("prlimit").arg("--version").stdout(Stdio::null()).status().is_err() {
        // Past the harness, which shows a passed test's words to nobody.
        std::io::stderr().write_all(b"not run: `prlimit` (util-linux) is not installed, so nothing limits the server's addresses\n").unwrap();
        return;
    }
    let mut limited = Command::new("prlimit");
    limited.arg("--as=1073741824");
    let mut server = Server::under(limited, "conformance");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max address space") && line.contains(" 1073741824 ")), "{limits}");
    serves(&mut server);
    let (files, before) = (server.files(), server.resident());
    let mut bombs = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut raw = speak::open(&server).await;
        // The largest message, and one byte of it; the pong shows that the server has read that far.
        let message = wire::large_call(0, ECHO, MAX_MESSAGE as u64, &[0]);
        assert!(raw.send([message, wire::frame(kind::PING, 0, &[])].concat()).await);
        assert_eq!(speak::within(raw.frame()).await.map(|frame| frame.kind), Some(kind::PONG));
        // The longest frame, and not a byte of it.
        assert!(raw.send([wire::frame(kind::PING, 0, &[]), wire::header(kind::CALL, 0, MAX_FRAME).to_vec()].concat()).await);
        assert_eq!(speak::within(raw.frame()).await.map(|frame| frame.kind), Some(kind::PONG));
        bombs.push(raw);
    }
    serves(&mut server);
    let each = server.resident().saturating_sub(before) / CONNECTIONS as u64;
    assert!(each <= 64 << 10, "{each} bytes a connection");
    drop(bombs);
    eventually("what they held is given back", || server.files() <= files);
    serves(&mut server);
    ends_well(server);
}

/// Calls with streams that wait because their caller does not read its answers hold no more items than such calls may hold
/// at all: `Limits::max_streams` windows.
#[tokio::test]
async fn streams_that_wait_for_their_turn_hold_no_more_than_those_that_run() {
    const STREAMS: u64 = 128;
    let mut server = Server::start("conformance");
    serves(&mut server);
    let mut other = speak::open(&server).await;
    // A caller whose system takes little, so that the server's answers soon have no way out.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut raw = wire::Raw::over(socket.connect(server.address.parse().unwrap()).await.unwrap());
    assert!(raw.send([speak::opening(), speak::bind()].concat()).await);
    speak::within(raw.opened()).await;
    // Each answer is one window, until they stand still.
    for id in 0..300 {
        assert!(raw.send(wire::call(id, DOWNLOAD, &speak::sizes(&[16_000]))).await);
        rounds(&mut other, 5).await;
    }
    rounds(&mut other, 1_000).await;
    let before = server.resident();
    for id in 300..1_000 {
        let item = [&wire::varint(60_000)[..], &[7; 16_000]].concat();
        assert!(raw.send([wire::call(id, UPLOAD, &[]), speak::items(id, &item)].concat()).await);
        rounds(&mut other, 5).await;
    }
    rounds(&mut other, 1_000).await;
    let held = server.resident().saturating_sub(before);
    // Twice as much, as buffers grow; and what is not the streams' own.
    assert!(held <= 2 * STREAMS * FIRST_WINDOW as u64 + (2 << 20), "{held} bytes");
    // Those that are too many are told so, once they can be: none of them has run.
    let mut refused = 0;
    while refused < 700 - STREAMS {
        let frame = speak::within(raw.frame()).await.expect("an answer");
        if frame.kind == kind::ERROR {
            let (code, executed, _, message) = frame.error();
            assert_eq!((code, executed), (OVERLOADED, 0), "{message}");
            refused += u64::from(frame.number().0 >= 300);
        }
    }
    drop(raw);
    eventually("handlers are dropped", || crate::running(&server) == 0);
    serves(&mut server);
    ends_well(server);
}

async fn rounds(raw: &mut wire::Raw<tokio::net::TcpStream>, count: usize) {
    for _ in 0..count {
        assert!(raw.send(wire::call(0, speak::EMPTY, &[])).await);
        assert_eq!(speak::message(raw).await, (kind::REPLY, 0, vec![]));
    }
}
