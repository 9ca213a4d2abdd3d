//! Case 40: a session of a good client, damaged on its way.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::mutate::mutations;
use crate::speak::{self, CHAT, DOWNLOAD, ECHO, ECHO_TREE, ECHO_UNITS, EMPTY, FAIL, SLEEP, UNBOUND, UPLOAD};
use crate::support::Server;
use crate::wire::{self, flag, kind};
use crate::{ends_well, eventually, running, serves};

fn items() -> Vec<u8> {
    [speak::item(&[7, 8, 9]), speak::item(&[6])].concat()
}

/// Every kind of frame that a client sends, every option, and every form of a call.
fn session() -> Vec<u8> {
    let deadline = [&[1][..], &wire::varint(9_000_000)].concat();
    let metadata = [&[2, 1][..], &wire::text("tenant"), &wire::text("a")].concat();
    let items = items();
    [
        speak::opening(),
        speak::bind(),
        wire::call(0, EMPTY, &[]),
        wire::call(1, ECHO, &[3, 7, 8, 9]),
        wire::frame(kind::CALL, flag::OPTIONS, &[&[2, FAIL as u8], &deadline, b"\x02no"]),
        wire::frame(kind::CALL, flag::OPTIONS, &[&[3, ECHO_TREE as u8], &metadata, &[1, 1, 0]]),
        wire::json_call(4, ECHO, "[[1,2]]"),
        wire::bind_name(UNBOUND, "ping"),
        wire::json_call(5, UNBOUND, "[41]"),
        wire::frame(kind::PING, 0, &[b"12345678"]),
        speak::in_chunks(6, ECHO, &[], &[&[40][..], &[5; 40]].concat(), 3, 19),
        wire::call(7, ECHO_UNITS, &[200, 1]),
        // As long as the longest test: only its cancel, or the end of the connection, ends it.
        wire::call(8, SLEEP, &wire::varint(600_000)),
        wire::frame(kind::CANCEL, 0, &[&[8]]),
        wire::call(9, SLEEP, &[0]),
        wire::frame(kind::NOTIFY, 0, &[&[EMPTY as u8]]),
        // Streams: two items in three frames, one of them empty; an upload that is given up; more down than the first window; both ways.
        wire::call(10, UPLOAD, &[]),
        speak::items(10, &items[..6]),
        speak::items(10, &[]),
        speak::items(10, &items[6..]),
        speak::end(10, 0),
        wire::call(11, UPLOAD, &[]),
        speak::end(11, 1),
        wire::call(12, DOWNLOAD, &speak::sizes(&[3, 20_000])),
        speak::credit(12, 10_000),
        wire::call(13, CHAT, &[]),
        speak::items(13, &items),
        speak::end(13, 0),
        wire::frame(kind::CALL_CREDIT, 0, &[&[1, 1]]),
        wire::frame(kind::CALL_STOP, 0, &[&[1]]),
        wire::frame(24, flag::SKIP, &[b"from a later version"]),
        wire::frame(kind::GO_AWAY, 0, &[&[0, 0, 0]]),
    ]
    .concat()
}

/// Without this the damage would be done to something that was no session before.
async fn answers_to_the_whole_session(server: &Server) {
    let mut raw = speak::connect(server).await;
    assert!(raw.send(session()).await);
    speak::within(raw.opened()).await;
    let frames = speak::within(raw.frames()).await;
    let of = |kind: u8| frames.iter().filter(|frame| frame.kind == kind).map(|frame| &frame.body[..]).collect::<Vec<_>>();
    assert_eq!(of(kind::BOUND), [&[0][..], &[UNBOUND as u8]]);
    assert_eq!(of(kind::PONG), [b"12345678"]);
    let replies: BTreeMap<_, _> = of(kind::REPLY).into_iter().map(|body| (body[0], &body[1..])).collect();
    let echoed = [&[40][..], &[5; 40]].concat();
    let expected: [(u8, &[u8]); 11] = [
        (0, &[]),
        (1, &[3, 7, 8, 9]),
        (3, &[1, 1, 0]),
        (4, b"[1,2]"),
        (5, b"42"),
        (6, &echoed),
        (7, &[200, 1]),
        (9, &[]),
        // Two items, four bytes, not those of the pattern.
        (10, &[2, 4, 0]),
        (12, &[]),
        (13, &[]),
    ];
    assert_eq!(replies, BTreeMap::from(expected));
    let failed: BTreeMap<_, _> = of(kind::FAIL).into_iter().map(|body| (body[0], &body[1..])).collect();
    assert_eq!(failed, BTreeMap::from([(2, &b"\x02no"[..]), (11, b"\x17Cancelled after 0 items")]));
    let streamed = |id: u8| of(kind::REPLY_ITEMS).into_iter().filter(|body| body[0] == id).flat_map(|body| &body[1..]).copied().collect::<Vec<_>>();
    assert_eq!((streamed(12).len(), streamed(13)), (1 + 1 + 3 + 3 + 3 + 20_000, items()));
    let errors: Vec<_> = frames.iter().filter(|frame| frame.kind == kind::ERROR).map(|frame| (frame.number().0, frame.error().0)).collect();
    assert_eq!(errors, [(8, 1)], "what was cancelled, and nothing else");
}

/// Of flipped bits and of windows one in so many: odd, so that every bit of a byte and every length of a window has its turn.
const STEP: usize = 3;
/// Of what is drawn at random, without end.
const OTHERS: usize = 3_000;

/// Cuts at each offset, bits, windows of FF, and then frames that are doubled, swapped, dropped and spliced.
fn damaged() -> impl Iterator<Item = Vec<u8>> {
    let length = session().len();
    let (cuts, flips, windows) = (length, 8 * length, 4 * length);
    mutations(&session()).enumerate().take(cuts + flips + windows + OTHERS).filter_map(move |(at, bytes)| {
        let is_thinned = (cuts..cuts + flips + windows).contains(&at);
        (!is_thinned || at % STEP == 0).then_some(bytes)
    })
}

#[tokio::test]
async fn damaged_sessions_harm_nobody() {
    let mut server = Server::start("conformance");
    answers_to_the_whole_session(&server).await;
    serves(&mut server);
    let (files, mut early, mut count) = (server.files(), 0, 0);
    for bytes in damaged() {
        count += 1;
        let mut raw = speak::connect(&server).await;
        // The server may close before it has all of it.
        raw.send(&bytes).await;
        // Some go without a word, and leave to the server's system to say that answers are not wanted.
        if count % 8 != 0 {
            raw.shut().await;
            let ended = tokio::time::timeout(Duration::from_secs(20), raw.bytes()).await;
            let answers = ended.unwrap_or_else(|_| panic!("a session that has ended stays open: {bytes:02x?}"));
            assert!(answers.len() < 1 << 20, "{} bytes answer {bytes:02x?}", answers.len());
        }
        if count == 1_000 {
            early = server.resident();
        }
    }
    assert!(count >= 5_000, "{count} sessions");
    // Every connection and every handler has gone with its client.
    eventually("connections are closed", || server.files() <= files);
    eventually("handlers are dropped", || running(&server) == 0);
    let grown = server.resident().saturating_sub(early);
    assert!(grown < 16 << 20, "{grown} bytes more after {count} sessions than after 1,000");
    answers_to_the_whole_session(&server).await;
    serves(&mut server);
    ends_well(server);
}
