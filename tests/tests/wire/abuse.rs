//! Peers that break the rules: each is told which one, and only its own connection ends.

use rpc::Limits;
use rpc_tests::wire::{self, Frame, MAX_FRAME, kind};

use crate::service::{self, ADD, ECHO, NEVER, NOTE, server};

/// What a server says before it closes, when a peer that has bound [`service::Shop`] sends this.
async fn told(bytes: Vec<u8>) -> (Vec<Frame>, String) {
    told_under(Limits::default(), bytes).await
}

async fn told_under(limits: Limits, bytes: Vec<u8>) -> (Vec<Frame>, String) {
    let mut raw = wire::opened(server().limits(limits)).await;
    raw.send([service::bind(), bytes].concat()).await;
    assert_eq!(raw.frame().await.unwrap().body, [0], "bound, all equal");
    let mut frames = raw.frames().await;
    let (code, _, message) = frames.pop().expect("a go-away").go_away();
    assert_eq!(code, 1, "a violation: {message}");
    (frames, message)
}

/// Conformance 41: ids and numbers out of order, each by its name.
#[tokio::test(start_paused = true)]
async fn abuse_of_ids_and_numbers_closes_the_connection() {
    let sum = || wire::call(0, ADD, &[1, 2]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("reply to a call that is not open", wire::frame(kind::REPLY, 0, &[&[0]])),
        ("reply to a call that is not open", wire::frame(kind::FAIL, 0, &[&wire::varint(u32::MAX.into())])),
        ("reply to a call that is not open", wire::frame(kind::ERROR, 0, &[&[7, 1, 0, 0, 0]])),
        ("reply to a call that is not open", wire::frame(kind::REPLY, wire::flag::MORE, &[&[9], &wire::varint(100), &[0]])),
        ("call id in use", [wire::call(3, NEVER, &[]), wire::call(3, NEVER, &[])].concat()),
        ("call id above the limit (Limits::max_in_flight)", wire::call(1024, ADD, &[1, 2])),
        ("call id above the limit (Limits::max_in_flight)", wire::call(u32::MAX.into(), ADD, &[1, 2])),
        ("malformed call frame", wire::call(u64::from(u32::MAX) + 1, ADD, &[1, 2])),
        ("call to a method number that is not bound", wire::call(0, 8, &[])),
        ("call to a method number that is not bound", wire::call(0, u32::MAX.into(), &[])),
        ("call to a method number that is not bound", wire::frame(kind::NOTIFY, 0, &[&[8]])),
        ("malformed call frame", wire::frame(kind::CALL, 0, &[])),
        ("malformed call frame", wire::frame(kind::CALL, 0, &[&[0x80, 0]])),
        ("malformed call frame", wire::frame(kind::CALL, wire::flag::OPTIONS, &[&[0, 0, 8]])),
        ("malformed call frame", wire::frame(kind::CALL, wire::flag::OPTIONS, &[&[0, 0, 2, 1, 1, 0xff, 0]])),
        ("malformed call frame", wire::frame(kind::CALL, wire::flag::OPTIONS, &[&[0, 0, 2], &wire::varint(u64::MAX), &[0, 0]])),
        ("unexpected hello frame", wire::frame(kind::HELLO, 0, &[])),
        ("unexpected refused frame", wire::frame(kind::REFUSED, 0, &[&[2, 2]])),
        ("unexpected bound frame", wire::frame(kind::BOUND, 0, &[&[0]])),
        ("bind out of order", wire::bind_name(9, "Shop.add")),
        ("bind out of order", wire::bind_name(0, "Shop.add")),
        ("bind out of order", wire::bind_service(8, "Shop", &[])),
        ("malformed bind frame", wire::frame(kind::BIND, 0, &[&[8, 2, 0]])),
        ("malformed bind frame", wire::frame(kind::BIND, 0, &[&[8, 0], &wire::text("a"), &[0]])),
        ("malformed ping frame", wire::frame(kind::PING, 0, &[b"123456789"])),
        ("malformed cancel frame", wire::frame(kind::CANCEL, 0, &[&[0, 0]])),
        ("malformed go-away frame", wire::frame(kind::GO_AWAY, 0, &[&[0, 0, 5]])),
        ("unknown frame kind 0", wire::frame(0, 0, &[])),
        ("unknown frame kind 22", wire::frame(22, 0, &[])),
    ];
    for (expected, bytes) in cases {
        // A good call before it has its answer.
        let (frames, message) = told([sum(), bytes.clone()].concat()).await;
        assert_eq!(message, expected, "{bytes:02x?}");
        assert_eq!(frames[0].body, [0, 3], "{bytes:02x?}");
    }
}

/// Conformance 41: a cancel meets its answer on the wire, so one too many is nothing special.
#[tokio::test(start_paused = true)]
async fn a_cancel_of_no_call_is_ignored() {
    let mut raw = wire::opened(server()).await;
    let cancel = |id: u64| wire::frame(kind::CANCEL, 0, &[&wire::varint(id)]);
    raw.send([service::bind(), cancel(0), cancel(u32::MAX.into()), wire::call(0, ADD, &[1, 2]), cancel(0), cancel(0)].concat()).await;
    raw.send(wire::call(0, ADD, &[2, 3])).await;
    raw.frame().await.unwrap();
    assert_eq!(raw.frame().await.unwrap().body, [0, 3]);
    assert_eq!(raw.frame().await.unwrap().body, [0, 5]);
}

/// Conformance 24: every call gets one last frame, a cancelled one too, and only then is its id free.
#[tokio::test(start_paused = true)]
async fn a_cancelled_call_gets_its_one_last_frame() {
    let mut raw = wire::opened(server()).await;
    raw.send([service::bind(), wire::call(5, NEVER, &[])].concat()).await;
    raw.frame().await.unwrap();
    raw.send(wire::frame(kind::CANCEL, 0, &[&[5]])).await;
    let (code, executed, _, _) = raw.frame().await.unwrap().error();
    assert_eq!((code, executed), (1, 1), "cancelled, maybe executed");
    raw.send(wire::call(5, ADD, &[1, 2])).await;
    assert_eq!(raw.frame().await.unwrap().body, [5, 3], "the id can be used again");
}

/// Conformance 41: more binds than allowed.
#[tokio::test(start_paused = true)]
async fn too_many_binds_close_the_connection() {
    let mut limits = Limits::default();
    limits.max_binds = 10;
    let binds = (8..11).flat_map(|number| wire::bind_name(number, "Shop.add")).collect();
    let (frames, message) = told_under(limits, binds).await;
    assert_eq!((frames.len(), &*message), (2, "too many methods bound (Limits::max_binds)"));
}

/// Conformance 41: more unanswered bytes than the hello allows.
#[tokio::test(start_paused = true)]
async fn bytes_beyond_the_allowance_close_the_connection() {
    let small: Vec<u8> =
        (0..17).flat_map(|id| wire::frame(kind::CALL, wire::flag::OPTIONS, &[&[id, NEVER as u8, 2, 1], &padding(64_000), &[0]])).collect();
    // Metadata above its limit fails its call alone, at once: so nothing stays unanswered, and nothing is exceeded.
    let mut raw = wire::opened(server()).await;
    raw.send([service::bind(), small].concat()).await;
    raw.frame().await.unwrap();
    for _ in 0..17 {
        assert_eq!(raw.frame().await.unwrap().error().0, 6);
    }
    let large: Vec<u8> = (0..6).flat_map(|id| wire::large_call(id, NEVER, 1 << 20, &[0])).collect();
    let (frames, message) = told(large).await;
    assert_eq!(frames.len(), 0);
    assert_eq!(message, "more unanswered bytes than allowed (Limits::max_call_bytes, Limits::max_assembly)");
}

fn padding(length: usize) -> Vec<u8> {
    [wire::varint(length as u64), vec![b'a'; length]].concat()
}

/// Conformance 41: chunks that are no part of their message.
#[tokio::test(start_paused = true)]
async fn abuse_of_chunks_closes_the_connection() {
    let chunk = |id: u8, length: usize| wire::frame(kind::CALL_CHUNK, 0, &[&[id], &vec![0; length]]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("malformed chunk frame", wire::large_call(0, ECHO, 10, &[0; 11])),
        ("malformed chunk frame", wire::large_call(0, ECHO, 0, &[])),
        ("malformed chunk frame", wire::large_call(0, ECHO, 10, &[])),
        ("malformed chunk frame", [wire::large_call(0, ECHO, 10, &[0]), chunk(0, 10)].concat()),
        ("malformed chunk frame", [wire::large_call(0, ECHO, 10, &[0]), chunk(0, 0)].concat()),
        ("malformed chunk frame", wire::frame(kind::CALL_CHUNK, 0, &[])),
        ("call id in use", [wire::large_call(0, ECHO, 10, &[0]), wire::large_call(0, ECHO, 10, &[0])].concat()),
        ("malformed notify frame", wire::frame(kind::NOTIFY, wire::flag::MORE, &[&[NOTE as u8, 10, 0]])),
    ];
    for (expected, bytes) in cases {
        let (_, message) = told(bytes.clone()).await;
        assert_eq!(message, expected, "{bytes:02x?}");
    }
    // Chunks of a message that was refused may still be on their way.
    let mut raw = wire::opened(server()).await;
    raw.send([service::bind(), wire::large_call(0, ECHO, 5 << 20, &[0]), chunk(0, 1000), wire::call(1, ADD, &[1, 2])].concat()).await;
    raw.frame().await.unwrap();
    assert_eq!(raw.frame().await.unwrap().error().0, 6, "too large");
    assert_eq!(raw.frame().await.unwrap().body, [1, 3]);
}

/// Conformance 34: oversize frame: refused by its header, before a byte of it has come.
#[tokio::test(start_paused = true)]
async fn an_oversize_frame_closes_the_connection_by_its_header() {
    for length in [MAX_FRAME + 1, 0xff_ffff] {
        let (_, message) = told(wire::header(kind::CALL, 0, length).to_vec()).await;
        assert_eq!(message, format!("frame of {length} bytes exceeds the limit of 65536 (protocol 3.1)"));
    }
}

/// Conformance 34: an oversize message is refused by its head, and only its call fails.
#[tokio::test(start_paused = true)]
async fn an_oversize_message_fails_its_call_alone() {
    let mut raw = wire::opened(server()).await;
    for total in [(4 << 20) + 1, u64::MAX] {
        raw.send([service::bind(), wire::large_call(0, ECHO, total, &[0])].concat().split_off(if total == u64::MAX {
            service::bind().len()
        } else {
            0
        }))
        .await;
        if total != u64::MAX {
            raw.frame().await.unwrap();
        }
        let (code, executed, _, message) = raw.frame().await.unwrap().error();
        assert_eq!((code, executed), (6, 0), "{message}");
        assert!(message.starts_with("Shop.echo: "), "{message}");
    }
}

/// Conformance 7, 41: metadata above the limit fails its call alone.
#[tokio::test(start_paused = true)]
async fn metadata_above_the_limit_fails_its_call_alone() {
    let mut raw = wire::opened(server()).await;
    let with = |id: u8, length: usize| wire::frame(kind::CALL, wire::flag::OPTIONS, &[&[id, ADD as u8, 2, 1], &padding(length), &[0, 1, 2]]);
    // Two bytes of length and one for the empty value count too.
    raw.send([service::bind(), with(0, 8 * 1024 - 3), with(1, 8 * 1024 - 2)].concat()).await;
    raw.frame().await.unwrap();
    assert_eq!(raw.frame().await.unwrap().body, [0, 3]);
    let (code, executed, _, message) = raw.frame().await.unwrap().error();
    assert_eq!((code, executed), (6, 0), "too large, not executed: {message}");
}

/// Conformance 7: both ends count metadata alike.
#[tokio::test(start_paused = true)]
async fn a_client_refuses_metadata_that_its_server_would() {
    let shop = service::ShopClient::local(service::My);
    assert_eq!(shop.add(1, 2).metadata("a".repeat(8 * 1024 - 3), "").await.unwrap(), 3);
    let error = shop.add(1, 2).metadata("a".repeat(8 * 1024 - 2), "").await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (rpc::ErrorKind::TooLarge, rpc::Executed::No));
}

/// Conformance 38: frames cut short, or before the hello.
#[tokio::test(start_paused = true)]
async fn nothing_but_a_hello_comes_first() {
    for first in [wire::call(0, 0, &[]), wire::frame(kind::PING, 0, &[]), wire::frame(24, wire::flag::SKIP, &[])] {
        let (mut raw, task) = wire::serve(server());
        raw.send([&wire::PREFACE[..], &first].concat()).await;
        raw.opened().await;
        assert_eq!(raw.frame().await.unwrap().go_away().2, "unexpected first frame");
        task.await.unwrap();
    }
    let (mut raw, task) = wire::serve(server());
    raw.send([&wire::PREFACE[..], &wire::frame(kind::HELLO, 0, &[&[1]])].concat()).await;
    raw.opened().await;
    assert_eq!(raw.frame().await.unwrap().go_away().2, "malformed hello frame");
    task.await.unwrap();
}
