//! Case 41: ids and numbers that are out of order. What the protocol calls a violation ends its own connection, and says
//! which rule it was; what it lets pass harms nothing.

use std::time::Duration;

use crate::speak::{self, DOWNLOAD, ECHO, EMPTY, FIRST_WINDOW, MAX_MESSAGE, SLEEP, UNBOUND, UPLOAD};
use crate::support::Server;
use crate::wire::{self, Frame, flag, kind};
use crate::{call, ends_well, eventually, running, serves};

const VIOLATION: u64 = 1;
/// Above what the server's hello allows (protocol 2.2), by one.
const IN_FLIGHT: u64 = 1_024;

/// The rule, what breaks it after one good call, and how many calls the server has certainly read by then.
fn violations() -> Vec<(&'static str, Vec<u8>, u64)> {
    let largest = u64::from(u32::MAX);
    let forever = |id| wire::call(id, SLEEP, &wire::varint(600_000));
    let chunk = |id: u64, bytes: &[u8]| wire::frame(kind::CALL_CHUNK, 0, &[&wire::varint(id), bytes]);
    vec![
        ("reply to a call that is not open", wire::frame(kind::REPLY, 0, &[&[0]]), 1),
        ("reply to a call that is not open", wire::frame(kind::FAIL, 0, &[&wire::varint(largest)]), 1),
        ("reply to a call that is not open", wire::frame(kind::ERROR, 0, &[&[7, 1, 0, 0, 0]]), 1),
        ("reply to a call that is not open", wire::frame(kind::REPLY, flag::MORE, &[&[9], &wire::varint(100), &[0]]), 1),
        ("call id in use", [forever(3), forever(3)].concat(), 2),
        ("call id in use", [forever(3), wire::large_call(3, ECHO, 10, &[0])].concat(), 2),
        ("call id in use", [wire::large_call(3, ECHO, 10, &[0]), forever(3)].concat(), 2),
        ("call id above the limit (Limits::max_in_flight)", forever(IN_FLIGHT), 1),
        ("call id above the limit (Limits::max_in_flight)", forever(largest), 1),
        // Where 32 bits, and 64, would begin again at 0.
        ("malformed call frame", forever(largest + 1), 1),
        ("malformed call frame", forever(u64::MAX), 1),
        ("malformed call frame", wire::frame(kind::CALL, 0, &[&[0xff; 10], &[EMPTY as u8]]), 1),
        ("malformed cancel frame", wire::frame(kind::CANCEL, 0, &[&wire::varint(largest + 1)]), 1),
        ("call to a method number that is not bound", wire::call(0, UNBOUND, &[]), 1),
        ("call to a method number that is not bound", wire::call(0, largest, &[]), 1),
        ("malformed call frame", wire::call(0, largest + 1, &[]), 1),
        ("bind out of order", wire::bind_name(0, "ping"), 1),
        ("bind out of order", wire::bind_name(UNBOUND + 1, "ping"), 1),
        ("malformed chunk frame", [wire::large_call(3, ECHO, 10, &[0]), chunk(3, &[0; 10])].concat(), 2),
        // Each may be as large as it says; both together may not.
        (
            "more unanswered bytes than allowed (Limits::max_call_bytes, Limits::max_assembly)",
            (3..5).flat_map(|id| wire::large_call(id, ECHO, MAX_MESSAGE as u64, &[0])).collect(),
            2,
        ),
        ("unknown frame kind 22", wire::frame(22, 0, &[&[0]]), 1),
    ]
}

/// The same of streams (protocol 7).
fn violations_of_streams() -> Vec<(&'static str, Vec<u8>, u64)> {
    const MORE_THAN_CREDIT: &str = "more bytes of a stream than there was credit for";
    let upload = |id| wire::call(id, UPLOAD, &[]);
    let download = |id| wire::call(id, DOWNLOAD, &speak::sizes(&[1_000; 100]));
    let after = |bytes: Vec<u8>| [upload(3), bytes].concat();
    let whole = speak::item(&[7; 100]);
    vec![
        // Items of a reply to a call that was never made.
        ("reply to a call that is not open", wire::frame(kind::REPLY_ITEMS, 0, &[&[0]]), 1),
        // One item that is longer than the first window, all of it at once; and its parts, after others.
        (MORE_THAN_CREDIT, after(speak::items(3, &speak::item(&[7; FIRST_WINDOW]))), 2),
        (MORE_THAN_CREDIT, after(speak::items(3, &wire::varint(60_000)).repeat(FIRST_WINDOW / 3 + 1)), 2),
        // Before the callee has all arguments, there is no credit at all (protocol 7.3).
        (MORE_THAN_CREDIT, [wire::large_call(3, UPLOAD, 10, &[0]), speak::items(3, &whole)].concat(), 2),
        ("item of 4194305 bytes exceeds the limit (Limits::max_message)", after(speak::items(3, &wire::varint(MAX_MESSAGE as u64 + 1))), 2),
        ("malformed items frame", after(speak::items(3, &[0xff; 5])), 2),
        ("malformed items frame", after(speak::items(3, &[0x80, 0x00])), 2),
        // An end within an item, and within a length.
        ("malformed items frame", after([speak::items(3, &whole[..50]), speak::end(3, 0)].concat()), 2),
        ("malformed items frame", after([speak::items(3, &[0x80]), speak::end(3, 0)].concat()), 2),
        // Of calls that have no such stream.
        ("unexpected items frame", [download(3), speak::items(3, &whole)].concat(), 2),
        ("unexpected end frame", [download(3), speak::end(3, 0)].concat(), 2),
        ("unexpected credit frame", after(speak::credit(3, 1)), 2),
        ("malformed items frame", wire::frame(kind::CALL_ITEMS, 0, &[]), 1),
        ("malformed items frame", speak::items(u64::from(u32::MAX) + 1, &[]), 1),
        ("malformed end frame", speak::end(u64::from(u32::MAX) + 1, 0), 1),
        ("malformed end frame", wire::frame(kind::CALL_END, 0, &[&[0]]), 1),
        ("malformed end frame", wire::frame(kind::CALL_END, 0, &[&[0], &wire::varint(u64::MAX)]), 1),
        ("malformed credit frame", speak::credit(u64::from(u32::MAX) + 1, 0), 1),
        ("malformed credit frame", wire::frame(kind::REPLY_CREDIT, 0, &[&[0]]), 1),
        ("malformed credit frame", wire::frame(kind::CALL_CREDIT, 0, &[&[0], &[0xff; 10]]), 1),
        ("malformed stop frame", wire::frame(kind::CALL_STOP, 0, &[&[0, 0]]), 1),
        // A call with streams is one call to ids as well.
        ("call id in use", [upload(3), upload(3)].concat(), 2),
        ("call id above the limit (Limits::max_in_flight)", upload(IN_FLIGHT), 1),
    ]
}

#[tokio::test]
async fn abuse_of_ids_closes_its_own_connection() {
    closes_its_own_connection(violations(), 2).await;
}

#[tokio::test]
async fn abuse_of_streams_closes_its_own_connection() {
    let all = violations_of_streams();
    let most = all.len() as u64;
    closes_its_own_connection(all, most).await;
}

async fn closes_its_own_connection(violations: Vec<(&str, Vec<u8>, u64)>, most: u64) {
    let mut server = Server::start("conformance");
    let mut bystander = speak::open(&server).await;
    for (rule, bytes, read) in violations {
        let mut raw = speak::open(&server).await;
        assert!(raw.send(wire::call(0, EMPTY, &[])).await);
        assert_eq!(speak::message(&mut raw).await, (kind::REPLY, 0, vec![]), "{rule}");
        assert!(raw.send(&bytes).await);
        // To the end of the connection.
        let ended = tokio::time::timeout(Duration::from_secs(20), raw.frames()).await;
        let mut frames = ended.unwrap_or_else(|_| panic!("the connection stays open; {rule}: {bytes:02x?}"));
        let (code, accepted, message) = frames.pop().expect("a go-away").go_away();
        assert_eq!((code, &*message), (VIOLATION, rule), "{bytes:02x?}");
        // A call that it read and does not count would be made again by its caller; the one that broke the rule may count.
        let sent = 1 + wire::frames(&bytes).iter().filter(|frame| frame.kind == kind::CALL).count() as u64;
        assert!((read..=sent).contains(&accepted), "{rule}: {accepted} of {read} to {sent} calls are said to be read");
        assert_eq!(frames, [], "{rule}: {bytes:02x?}");
        // Another connection has seen nothing of it.
        assert!(bystander.send(wire::call(0, ECHO, &[1, 5])).await);
        assert_eq!(speak::message(&mut bystander).await, (kind::REPLY, 0, vec![1, 5]), "{rule}");
    }
    eventually("handlers are dropped with their connections", || running(&server) == 0);
    // Only what came before the fault may have begun: nothing twice under one id, and nothing under an id that is none.
    let begun = call(&server, "count", &[])["value"]["begun"].as_u64().unwrap();
    assert!(begun <= most, "{begun} handlers have begun");
    drop(bystander);
    serves(&mut server);
    ends_well(server);
}

/// What meets an answer on the wire is no fault of its sender (protocol 5.3, 5.4), and what a later version sends can be skipped.
#[tokio::test]
async fn what_crosses_an_answer_is_ignored() {
    let mut server = Server::start("conformance");
    let mut raw = speak::open(&server).await;
    let cancel = |id: u64| wire::frame(kind::CANCEL, 0, &[&wire::varint(id)]);
    let chunk = |id: u8| wire::frame(kind::CALL_CHUNK, 0, &[&[id], &[0; 1000]]);
    let mut ignored = vec![
        ("a cancel before any call", cancel(0)),
        ("a cancel of an id that no call can have", cancel(u32::MAX.into())),
        ("items of a call that is not open", wire::frame(16, 0, &[&[0], &[1, 7]])),
        ("the end of a call's items that is not open", wire::frame(18, 0, &[&[0], &[0]])),
        ("credit for a reply that is not open", wire::frame(20, 0, &[&[0], &wire::varint(u64::MAX)])),
        ("credit for a call that was never made", wire::frame(19, 0, &[&[0], &[1]])),
        ("a stop of a call that was never made", wire::frame(21, 0, &[&[0]])),
        ("a schema of a later version", wire::frame(22, flag::SKIP, &[&[0]])),
    ];
    for round in 0..2 {
        for (what, bytes) in &ignored {
            assert!(raw.send([&bytes[..], &wire::call(0, ECHO, &[1, round])].concat()).await);
            assert_eq!(speak::message(&mut raw).await, (kind::REPLY, 0, vec![1, round]), "{what}");
        }
        // Again, now that there was a call of this id.
        ignored[0].0 = "a cancel of a call that has its answer";
    }

    // A message that is too large is refused by its head; its chunks were on their way.
    assert!(raw.send([wire::large_call(5, ECHO, MAX_MESSAGE as u64 + 1, &[0]), chunk(5), chunk(5)].concat()).await);
    assert_eq!(error(&mut raw).await, (5, 6, 0), "too large, executed no");

    // A cancelled call has one last frame, and then its id is free.
    for _ in 0..100 {
        assert!(raw.send([wire::call(9, SLEEP, &wire::varint(600_000)), cancel(9), cancel(9)].concat()).await);
        let (id, code, _) = error(&mut raw).await;
        assert_eq!((id, code), (9, 1), "cancelled");
    }
    assert!(raw.send(wire::call(9, ECHO, &[1, 9])).await);
    assert_eq!(speak::message(&mut raw).await, (kind::REPLY, 9, vec![1, 9]));
    eventually("cancelled handlers are dropped", || running(&server) == 0);
    drop(raw);
    serves(&mut server);
    ends_well(server);
}

/// The same of streams: what comes after the last frame of a call, or before there is a call, is no part of the next one with
/// that id (protocol 7.6).
#[tokio::test]
async fn frames_of_streams_that_are_not_open_are_ignored() {
    let mut server = Server::start("conformance");
    let mut raw = speak::open(&server).await;
    // An id that has had a call, and one that has not; a whole item, the beginning of one, and what is none at all.
    for id in [0, 500] {
        for (what, late) in [
            ("items", speak::items(id, &speak::item(&[7; 100]))),
            ("half an item", speak::items(id, &speak::item(&[7; 100])[..50])),
            ("more than any credit", speak::items(id, &[0xff; 60_000])),
            ("an end", speak::end(id, 0)),
            ("an abort", speak::end(id, 1)),
            ("credit", speak::credit(id, u64::from(u32::MAX))),
            ("a cancel", wire::frame(kind::CANCEL, 0, &[&wire::varint(id)])),
        ] {
            assert!(raw.send([&late[..], &wire::call(id, UPLOAD, &[]), &speak::items(id, &speak::item(&[0])), &speak::end(id, 0)].concat()).await);
            // One item, one byte, and the right one.
            assert_eq!(speak::message(&mut raw).await, (kind::REPLY, id, vec![1, 1, 1]), "{what} before the call {id}");
            // The credit that came before the call was none: a download has its first window, and no more.
            assert!(raw.send([&late[..], &wire::call(id, DOWNLOAD, &speak::sizes(&[60_000]))].concat()).await);
            let mut items = 0;
            while items < FIRST_WINDOW {
                let frame = speak::within(raw.frame()).await.expect("items");
                assert_eq!((frame.kind, frame.number().0), (kind::REPLY_ITEMS, id), "{what} before the call {id}");
                items += frame.number().1.len();
            }
            assert!(raw.send(wire::call(9, ECHO, &[1, 7])).await);
            assert_eq!(speak::message(&mut raw).await, (kind::REPLY, 9, vec![1, 7]), "{what} before the call {id}");
            assert!(raw.send(speak::credit(id, 60_000)).await);
            loop {
                let frame = speak::within(raw.frame()).await.expect("items, and the end");
                if frame.kind != kind::REPLY_ITEMS {
                    break assert_eq!((frame.kind, frame.number()), (kind::REPLY, (id, &[][..])), "{what} before the call {id}");
                }
            }
        }
    }
    drop(raw);
    serves(&mut server);
    ends_well(server);
}

/// Id, code and executed byte of the next frame.
async fn error(raw: &mut wire::Raw<tokio::net::TcpStream>) -> (u64, u64, u8) {
    let frame: Frame = speak::within(raw.frame()).await.expect("an error");
    let (code, executed, _, _) = frame.error();
    (frame.number().0, code, executed)
}
