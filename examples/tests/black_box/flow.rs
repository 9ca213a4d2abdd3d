//! Case 16: who does not read stops its sender, and nobody else. By hand, so that what is under way can be counted to the
//! byte; and with the crate's own client.

use std::pin::pin;
use std::task::Poll;

use rpc::{Stream, Streaming};
use serde_json::json;
use tokio::net::TcpStream;

use crate::speak::{self, CHAT, DOWNLOAD, ECHO, FIRST_WINDOW};
use crate::support::Server;
use crate::wire::{self, Frame, Raw, kind};
use crate::{call, ends_well, serves};

/// What a stream's window grows to while its reader keeps up (docs/limits.md).
const MAX_WINDOW: usize = 256 << 10;

/// Calls on the same connection, one after the other: by the last of them, what could come has come. The frames of streams
/// that came between.
async fn rounds(raw: &mut Raw<TcpStream>, count: u64) -> Vec<Frame> {
    let mut between = Vec::new();
    for round in 0..count {
        assert!(raw.send(wire::call(1_000, ECHO, &[1, round as u8])).await);
        loop {
            let frame = speak::within(raw.frame()).await.expect("a frame");
            if frame.kind == kind::REPLY && frame.number().0 == 1_000 {
                assert_eq!(frame.number().1, [1, round as u8]);
                break;
            }
            between.push(frame);
        }
    }
    between
}

/// The items of the reply to this call.
fn received(frames: &[Frame], id: u64) -> Vec<u8> {
    let of = |frame: &&Frame| frame.kind == kind::REPLY_ITEMS && frame.number().0 == id;
    frames.iter().filter(of).flat_map(|frame| frame.number().1).copied().collect()
}

/// The items of a call, in frames of a length that any frame may have.
fn pieces(id: u64, items: &[u8]) -> Vec<u8> {
    items.chunks(60_000).flat_map(|piece| speak::items(id, piece)).collect()
}

/// Credit that the callee has given for the items of this call.
fn granted(frames: &[Frame], id: u64) -> usize {
    let of = |frame: &&Frame| frame.kind == kind::CALL_CREDIT && frame.number().0 == id;
    frames.iter().filter(of).map(|frame| wire::read_varint(frame.number().1).0 as usize).sum()
}

/// The server sends, and its caller does not read.
#[tokio::test]
async fn a_download_nobody_reads_stops_alone() {
    const STREAMS: u64 = 100;
    let mut server = Server::start("conformance");
    let mut raw = speak::open(&server).await;
    serves(&mut server);
    let before = server.resident();
    let sizes = [1_000; 2_000];
    for id in 0..STREAMS {
        assert!(raw.send(wire::call(id, DOWNLOAD, &speak::sizes(&sizes))).await);
    }
    let mut frames = Vec::new();
    let all = |frames: &[Frame]| (0..STREAMS).map(|id| received(frames, id).len()).sum::<usize>();
    speak::within(async {
        while all(&frames) < STREAMS as usize * FIRST_WINDOW {
            frames.extend(rounds(&mut raw, 10).await);
        }
    })
    .await;
    frames.extend(rounds(&mut raw, 200).await);
    for id in 0..STREAMS {
        assert_eq!(received(&frames, id).len(), FIRST_WINDOW, "stream {id} has exactly what there is credit for");
    }
    // An item is made when there is room for it: the window, what is gathered for the next frame, and one more.
    let made = call(&server, "count", &[])["value"]["made"].as_u64().unwrap();
    assert!(made <= STREAMS * (2 * FIRST_WINDOW as u64 / 1_000 + 2), "{made} items were made for nobody");
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for {STREAMS} streams that nobody reads");

    // One byte of credit is one byte more, for that stream alone; empty credit is nothing.
    assert!(raw.send([speak::credit(7, 1), speak::credit(8, 0)].concat()).await);
    let mut more = Vec::new();
    speak::within(async {
        while more.is_empty() {
            more.extend(rounds(&mut raw, 10).await);
        }
    })
    .await;
    more.extend(rounds(&mut raw, 200).await);
    assert_eq!((received(&more, 7).len(), more.iter().filter(|frame| frame.kind == kind::REPLY_ITEMS).count()), (1, 1));
    frames.extend(more);

    // With enough of it the stream goes on to its end, past those that stand still.
    assert!(raw.send(speak::credit(7, 10_000_000)).await);
    let mut bytes = received(&frames, 7);
    loop {
        let frame = speak::within(raw.frame()).await.expect("a frame");
        let (id, rest) = frame.number();
        assert_eq!(id, 7, "{frame:?}");
        match frame.kind {
            kind::REPLY_ITEMS => bytes.extend(rest),
            kind => break assert_eq!((kind, rest), (kind::REPLY, &[][..]), "its normal end"),
        }
    }
    let (mut rest, mut items) = (&bytes[..], 0);
    while !rest.is_empty() {
        let (length, item) = wire::read_varint(rest);
        let (value, after) = item.split_at(length as usize);
        assert_eq!(wire::read_varint(value).1.len() as u64, sizes[items]);
        (rest, items) = (after, items + 1);
    }
    assert_eq!(items, sizes.len());

    // Those that stand still let go of what they hold.
    drop(raw);
    crate::eventually("handlers are dropped", || crate::running(&server) == 0);
    serves(&mut server);
    ends_well(server);
}

/// The client sends, and the server's handler does not read: its answers are not read, so it cannot go on.
#[tokio::test]
async fn lines_nobody_reads_stop_alone_and_go_on_later() {
    let mut server = Server::start("conformance");
    let mut raw = speak::open(&server).await;
    serves(&mut server);
    let before = server.resident();
    let lines: Vec<u8> = (0..4_000_u32).flat_map(|line| speak::item(&[line as u8; 1_000])).collect();
    assert!(raw.send(wire::call(0, CHAT, &[])).await);
    let (mut sent, mut credit, mut frames) = (0, FIRST_WINDOW, Vec::new());
    // As a good caller does: never more than there is credit for. The answers take what they have, and then, when a hundred
    // calls have brought no more credit, none comes.
    speak::within(async {
        while credit > 0 || received(&frames, 0).len() < FIRST_WINDOW {
            assert!(raw.send(pieces(0, &lines[sent..sent + credit])).await);
            sent += credit;
            let new = rounds(&mut raw, 100).await;
            credit = granted(&new, 0).min(lines.len() - sent);
            frames.extend(new);
        }
    })
    .await;
    assert_eq!(received(&frames, 0).len(), FIRST_WINDOW);
    // Its window, what it has taken and cannot answer, and what was answered.
    assert!(sent <= 2 * MAX_WINDOW, "{sent} bytes were taken of a caller that does not read");
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes for one stream");
    // Another chat on the same connection is answered.
    assert!(raw.send([wire::call(1, CHAT, &[]), speak::items(1, &speak::item(&[9; 500])), speak::end(1, 0)].concat()).await);
    let mut answer: Vec<u8> = Vec::new();
    loop {
        let frame = speak::within(raw.frame()).await.expect("a frame");
        let (id, rest) = frame.number();
        match frame.kind {
            kind::REPLY_ITEMS if id == 1 => answer.extend(rest),
            kind::CALL_CREDIT => {}
            kind => break assert_eq!((kind, id, rest), (kind::REPLY, 1, &[][..])),
        }
    }
    assert!(answer == speak::item(&[9; 500]));

    // It reads now, and every line comes back as it was.
    let mut back = received(&frames, 0);
    assert!(raw.send(speak::credit(0, 10_000_000)).await);
    loop {
        let frame = speak::within(raw.frame()).await.expect("a frame");
        let (id, rest) = frame.number();
        assert_eq!(id, 0, "{frame:?}");
        match frame.kind {
            kind::REPLY_ITEMS => back.extend(rest),
            kind::CALL_CREDIT if sent < lines.len() => {
                let more = (wire::read_varint(rest).0 as usize).min(lines.len() - sent);
                assert!(raw.send(pieces(0, &lines[sent..sent + more])).await);
                sent += more;
                if sent == lines.len() {
                    assert!(raw.send(speak::end(0, 0)).await);
                }
            }
            kind::CALL_CREDIT => {}
            kind => break assert_eq!((kind, rest), (kind::REPLY, &[][..])),
        }
    }
    assert!(back == lines, "{} of {} bytes came back", back.len(), lines.len());
    drop(raw);
    serves(&mut server);
    ends_well(server);
}

/// A second end, and items behind an end: while the handler cannot go on, the call is certainly open.
#[tokio::test]
async fn nothing_comes_after_the_end_of_the_items() {
    let mut server = Server::start("conformance");
    for (rule, bytes) in [
        ("unexpected end frame", speak::end(0, 0)),
        ("unexpected end frame", speak::end(0, 1)),
        ("unexpected items frame", speak::items(0, &[])),
        ("unexpected items frame", speak::items(0, &speak::item(&[7]))),
    ] {
        let mut raw = speak::open(&server).await;
        // The answers have room for one of these lines, so the second one keeps the handler.
        let [one, two] = [1, 2].map(|line| speak::items(0, &speak::item(&[line; 12_000])));
        assert!(raw.send([wire::call(0, CHAT, &[]), one].concat()).await);
        while speak::within(raw.frame()).await.expect("a frame").kind != kind::CALL_CREDIT {}
        assert!(raw.send([two, speak::end(0, 0), bytes].concat()).await);
        let mut frames = speak::within(raw.frames()).await;
        let (code, _, message) = frames.pop().expect("a go-away").go_away();
        assert_eq!((code, &*message), (1, rule));
        serves(&mut server);
    }
    ends_well(server);
}

/// The service of the example as the crate's own client sees it.
#[rpc::service(name = "Conformance")]
trait Streams {
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
    fn chat(&self, lines: Streaming<Vec<u8>>) -> impl Stream<Item = Vec<u8>>;
}

/// Case 16, as a user sees it: `send` waits, and everything else goes on.
#[tokio::test]
async fn send_waits_while_nobody_reads() {
    let mut server = Server::start("conformance");
    let client = StreamsClient::connect(&server.address).await.unwrap();
    let (say, lines) = Streaming::channel();
    let mut answers = client.chat(lines).await.unwrap();
    let mut sent = 0_u32;
    'waits: loop {
        let mut send = pin!(say.send(vec![sent as u8; 1_000]));
        // A line that does not leave during a hundred calls does not leave.
        for _ in 0..100 {
            if std::future::poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx).map(Result::unwrap))).await.is_ready() {
                sent += 1;
                continue 'waits;
            }
            assert_eq!(client.echo(vec![1, 2, 3]).await.unwrap(), [1, 2, 3]);
        }
        break;
    }
    // Two windows at their largest, what is gathered on both sides, and the channel.
    assert!((32..3_000).contains(&sent), "{sent} lines of 1,000 bytes were taken for an unread answer");
    // Another stream passes, both ways.
    let (other, more) = Streaming::channel();
    let mut others = client.chat(more).await.unwrap();
    for line in 0..200_u8 {
        other.send(vec![line; 10_000]).await.unwrap();
        assert_eq!(others.next().await.unwrap().unwrap(), [line; 10_000]);
    }
    other.finish();
    assert!(others.next().await.is_none());
    // And now all of them, and what waited.
    let sending = tokio::spawn(async move {
        say.send(vec![sent as u8; 1_000]).await.unwrap();
        say.finish();
    });
    for line in 0..=sent {
        assert_eq!(answers.next().await.unwrap().unwrap(), [line as u8; 1_000]);
    }
    assert!(answers.next().await.is_none());
    sending.await.unwrap();
    client.close().await;
    let line = call(&server, "echo", &["--bytes", "10"]);
    assert_eq!(line["value"], json!({ "bytes": 10, "same": true }));
    serves(&mut server);
    ends_well(server);
}
