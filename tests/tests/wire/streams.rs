//! Frames of streams by the book, and out of it (`docs/protocol.md` 7): what is ignored, and what closes the connection.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use rpc::transport::Transport;
use rpc::{Client, Error, ErrorKind, Limits, Server, Stream, Streaming};
use rpc_tests::Kind;
use rpc_tests::wire::{self, Frame, Raw, cancel, credit, end, items, kind};
use tokio::io::{AsyncRead, AsyncWrite};

#[rpc::service]
trait Flow {
    fn count(&self, from: u32, to: u32) -> impl Stream<Item = u32>;
    /// Neither takes items nor answers.
    async fn hold(&self, numbers: Streaming<u32>) -> u32;
    async fn plain(&self) -> u32;
    async fn sum(&self, numbers: Streaming<u32>) -> u32;
    /// One item, and nothing more.
    fn wait(&self) -> impl Stream<Item = u32>;
}

const COUNT: u64 = 0;
const HOLD: u64 = 1;
const PLAIN: u64 = 2;
const SUM: u64 = 3;
const WAIT: u64 = 4;

struct My;

impl Flow for My {
    fn count(&self, from: u32, to: u32) -> impl Stream<Item = u32> {
        stream::iter(from..to)
    }
    async fn hold(&self, numbers: Streaming<u32>) -> u32 {
        std::future::pending::<()>().await;
        drop(numbers);
        0
    }
    async fn plain(&self) -> u32 {
        std::future::pending().await
    }
    async fn sum(&self, mut numbers: Streaming<u32>) -> u32 {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            match number {
                Ok(number) => sum += number,
                Err(_) => return 1_000_000,
            }
        }
        sum
    }
    fn wait(&self) -> impl Stream<Item = u32> {
        stream::iter([7]).chain(stream::pending())
    }
}

fn server() -> Server {
    Server::new().add(FlowServer::new(My))
}

fn bind() -> Vec<u8> {
    let (returns, download) = ("7:returns 0\nu32\n", "8:download 0\nu32\n");
    let methods = [
        ("count", "4:from 0\n2:to 0\nu32\n", download),
        ("hold", "14:stream numbers 0\nu32\n", returns),
        ("plain", "", returns),
        ("sum", "14:stream numbers 0\nu32\n", returns),
        ("wait", "", download),
    ];
    let methods = methods.map(|(name, arguments, results)| (name, wire::method_hash(arguments, results)));
    wire::bind_service(0, "Flow", &methods)
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Peer = Raw<Box<dyn Io>>;

/// A peer that has bound the service.
async fn peer() -> Peer {
    peer_over(Kind::Memory).await
}

async fn peer_over(kind: Kind) -> Peer {
    let io: Box<dyn Io> = match kind {
        Kind::Tcp => {
            let bound = server().bind("127.0.0.1:0").await.unwrap();
            let address = bound.local_addr().socket().unwrap();
            tokio::spawn(bound.serve());
            Box::new(tokio::net::TcpStream::connect(address).await.unwrap())
        }
        Kind::Unix => {
            let path = rpc_tests::rig::socket_path();
            let bound = server().bind(format!("unix:{}", path.display())).await.unwrap();
            tokio::spawn(bound.serve());
            Box::new(tokio::net::UnixStream::connect(&path).await.unwrap())
        }
        _ => {
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::spawn(server().serve_connection(Transport::over(far, "test")));
            Box::new(near)
        }
    };
    let mut raw = Raw::over(io);
    raw.send([wire::opening(&[]), bind()].concat()).await;
    raw.opened().await;
    assert_eq!(raw.frame().await.unwrap().body, [0], "bound, all equal");
    raw
}

fn up(id: u64, bytes: &[u8]) -> Vec<u8> {
    items(kind::CALL_ITEMS, id, bytes)
}

/// The sum of 1, 2 and 300 comes back, so the connection has taken no harm.
async fn still_sums(raw: &mut Peer, id: u64) {
    raw.send([wire::call(id, SUM, &[]), up(id, &[1, 1, 1, 2]), up(id, &[2, 0xac, 2]), end(id, 0)].concat()).await;
    let reply = raw.frame().await.unwrap();
    assert_eq!((reply.kind, &reply.body[1..]), (kind::REPLY, &[0xaf, 2][..]), "{reply:02x?}");
}

#[tokio::test(start_paused = true)]
async fn items_go_as_the_book_says() {
    let mut raw = peer().await;
    still_sums(&mut raw, 0).await;
    raw.send(wire::call(1, COUNT, &[5, 8])).await;
    let mut bytes = Vec::new();
    let last = loop {
        let frame = raw.frame().await.unwrap();
        if frame.kind != kind::REPLY_ITEMS {
            break frame;
        }
        bytes.extend_from_slice(&frame.body[1..]);
    };
    assert_eq!(bytes, [1, 5, 1, 6, 1, 7]);
    assert_eq!((last.kind, &last.body[..]), (kind::REPLY, &[1][..]), "a normal end is an empty reply");
    // A stream without items still begins.
    raw.send(wire::call(1, COUNT, &[5, 5])).await;
    assert_eq!(raw.frame().await.unwrap().kind, kind::REPLY);
    raw.send(wire::call(1, WAIT, &[])).await;
    assert_eq!(raw.frame().await.unwrap().body, [1, 1, 7]);
}

mod over {
    use rpc_tests::Kind;

    macro_rules! over {
        ($($name:ident $kind:ident)*) => {
            $(
                mod $name {
                    #[tokio::test]
                    async fn frames_of_closed_and_future_streams_are_ignored() {
                        super::super::frames_of_closed_and_future_streams_are_ignored(super::Kind::$kind).await;
                    }

                    #[tokio::test]
                    async fn abuse_of_streams_closes_the_connection() {
                        super::super::abuse_of_streams_closes_the_connection(super::Kind::$kind).await;
                    }
                }
            )*
        };
    }
    over! { memory Memory tcp Tcp unix Unix }
}

/// Conformance 41: frames of streams that are closed, or that never were, mean nothing.
async fn frames_of_closed_and_future_streams_are_ignored(over: Kind) {
    let mut raw = peer_over(over).await;
    still_sums(&mut raw, 5).await;
    for id in [5, 6, 1023, 1024, u64::from(u32::MAX)] {
        for frame in [
            up(id, &[1, 1]),
            up(id, &[]),
            end(id, 0),
            end(id, 1),
            credit(kind::REPLY_CREDIT, id, 1 << 40),
            credit(kind::CALL_CREDIT, id, 1 << 40),
            credit(kind::REPLY_CREDIT, id, 0),
            wire::frame(kind::CALL_STOP, 0, &[&wire::varint(id)]),
            cancel(id),
        ] {
            raw.send(frame).await;
        }
        still_sums(&mut raw, 7).await;
    }
    // Of a stream that has not begun nothing stays behind for the call that takes its id.
    raw.send([up(9, &[1, 100]), wire::call(9, SUM, &[]), up(9, &[1, 1]), end(9, 0)].concat()).await;
    assert_eq!(raw.frame().await.unwrap().body, [9, 1]);
    // What is late for a cancelled call is late, once it has its last frame.
    raw.send([wire::call(9, SUM, &[]), up(9, &[1, 1]), cancel(9)].concat()).await;
    assert_eq!(raw.frame().await.unwrap().error().0, 1);
    raw.send([up(9, &[1, 1]), end(9, 0), credit(kind::REPLY_CREDIT, 9, 5)].concat()).await;
    still_sums(&mut raw, 9).await;
}

/// Conformance 41: what no book allows closes the connection, by name.
async fn abuse_of_streams_closes_the_connection(over: Kind) {
    let hold = |more: Vec<Vec<u8>>| [wire::call(0, HOLD, &[]), more.concat()].concat();
    let window = [&[1, 1][..]; 8 << 10].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("more bytes of a stream than there was credit for", hold(vec![up(0, &window), up(0, &[1])])),
        ("more bytes of a stream than there was credit for", hold(vec![up(0, &[&window[..], &[1, 1]].concat())])),
        ("unexpected items frame", hold(vec![end(0, 0), up(0, &[1, 1])])),
        ("unexpected items frame", hold(vec![end(0, 0), up(0, &[])])),
        ("unexpected items frame", hold(vec![end(0, 1), up(0, &[1, 1])])),
        ("unexpected items frame", [wire::call(0, WAIT, &[]), up(0, &[1, 1])].concat()),
        ("unexpected end frame", hold(vec![end(0, 0), end(0, 0)])),
        ("unexpected end frame", hold(vec![end(0, 1), end(0, 0)])),
        ("unexpected end frame", [wire::call(0, WAIT, &[]), end(0, 0)].concat()),
        // Within an item, and within its length.
        ("malformed items frame", hold(vec![up(0, &[2, 1]), end(0, 0)])),
        ("malformed items frame", hold(vec![up(0, &[0x80]), end(0, 0)])),
        ("malformed items frame", hold(vec![up(0, &[0x81, 0])])),
        // A mark (7.8) has a number behind it, and no other mark.
        ("malformed items frame", hold(vec![up(0, &[0x80, 0]), end(0, 0)])),
        ("malformed items frame", hold(vec![up(0, &[0x80, 0, 0x80, 0])])),
        ("malformed items frame", hold(vec![up(0, &[0xff; 5])])),
        ("item of 4194305 bytes exceeds the limit (Limits::max_message)", hold(vec![up(0, &wire::varint((4 << 20) + 1))])),
        ("item of 4294967295 bytes exceeds the limit (Limits::max_message)", hold(vec![up(0, &wire::varint(u32::MAX.into()))])),
        ("unexpected credit frame", hold(vec![credit(kind::REPLY_CREDIT, 0, 1)])),
        ("malformed items frame", wire::frame(kind::CALL_ITEMS, 0, &[])),
        ("malformed items frame", wire::frame(kind::REPLY_ITEMS, 0, &[&[0x80, 0]])),
        ("malformed credit frame", wire::frame(kind::REPLY_CREDIT, 0, &[&[0]])),
        ("malformed credit frame", wire::frame(kind::CALL_CREDIT, 0, &[&[0, 1, 1]])),
        ("malformed end frame", wire::frame(kind::CALL_END, 0, &[&[0]])),
        ("malformed end frame", wire::frame(kind::CALL_END, 0, &[&[0, 0, 0]])),
        ("malformed stop frame", wire::frame(kind::CALL_STOP, 0, &[&[0, 0]])),
        ("reply to a call that is not open", items(kind::REPLY_ITEMS, 0, &[1, 1])),
    ];
    for (expected, bytes) in cases {
        let mut raw = peer_over(over).await;
        raw.send(&bytes).await;
        let mut frames = raw.frames().await;
        let (code, _, message) = frames.pop().expect("a go-away").go_away();
        let shown = &bytes[..bytes.len().min(40)];
        assert_eq!((code, &*message), (1, expected), "{shown:02x?}");
    }
    // Exactly the credit, and the longest length, are nobody's fault.
    let mut raw = peer_over(over).await;
    raw.send([wire::call(0, HOLD, &[]), up(0, &window), wire::call(1, HOLD, &[]), up(1, &wire::varint(4 << 20))].concat()).await;
    still_sums(&mut raw, 2).await;
}

/// Credit is a sum that cannot overflow, and none is given that was not earned.
#[tokio::test(start_paused = true)]
async fn a_sender_keeps_to_its_credit() {
    let mut raw = peer().await;
    raw.send(wire::call(0, COUNT, &[&[0][..], &wire::varint(1 << 20)].concat())).await;
    let mut got = 0;
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_secs(1), raw.frame()).await {
        assert_eq!(frame.kind, kind::REPLY_ITEMS);
        got += frame.body.len() - 1;
    }
    assert_eq!(got, 16_384, "and not a byte more");
    raw.send(credit(kind::REPLY_CREDIT, 0, 0)).await;
    raw.send(credit(kind::REPLY_CREDIT, 0, 5)).await;
    assert_eq!(raw.frame().await.unwrap().body.len(), 1 + 5);
    raw.send(credit(kind::REPLY_CREDIT, 0, u64::MAX).repeat(3)).await;
    let mut rest = 0;
    let last = loop {
        let frame = raw.frame().await.unwrap();
        if frame.kind != kind::REPLY_ITEMS {
            break frame;
        }
        rest += frame.body.len() - 1;
    };
    assert_eq!(last.kind, kind::REPLY);
    let all: usize = (0..1_u64 << 20).map(|number| 1 + wire::varint(number).len()).sum();
    assert_eq!(got + 5 + rest, all);
}

/// What a client's stream gives when its server answers with this.
async fn streamed(answer: Vec<u8>) -> (Vec<u32>, Option<Error>, Vec<Frame>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let flow: FlowClient = Client::options().over(Transport::over(near, "test")).into();
    let mut raw = Raw::over(far);
    let answers = async {
        raw.opened().await;
        raw.frame().await.unwrap();
        raw.frame().await.unwrap();
        raw.send(answer).await;
        raw.frames().await
    };
    let call = async {
        let mut numbers = Vec::new();
        let mut error = None;
        match flow.wait().timeout(Duration::from_secs(5)).await {
            Ok(mut items) => {
                while let Some(item) = items.next().await {
                    match item {
                        Ok(item) => numbers.push(item),
                        Err(other) => error = Some(other),
                    }
                }
            }
            Err(other) => error = Some(other),
        }
        drop(flow);
        (numbers, error)
    };
    let ((numbers, error), frames) = tokio::join!(call, answers);
    (numbers, error, frames)
}

/// Conformance 41, 44: mirrored, a server's abuse costs its client the connection, and never looks like an end.
#[tokio::test(start_paused = true)]
async fn a_server_that_abuses_streams_loses_its_client() {
    let bound = || [wire::opening(&[]), wire::frame(kind::BOUND, 0, &[&[0]])].concat();
    let down = |id: u64, bytes: &[u8]| items(kind::REPLY_ITEMS, id, bytes);
    let reply = || wire::frame(kind::REPLY, 0, &[&[0]]);
    let (numbers, error, _) = streamed([bound(), down(0, &[1, 1, 1]), down(0, &[2]), reply()].concat()).await;
    assert_eq!((numbers, error.is_none()), (vec![1, 2], true), "by the book");

    let window = [&[1, 1][..]; 8 << 10].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("more bytes of a stream than there was credit for", [bound(), down(0, &[&window[..], &window].concat())].concat()),
        ("reply to a call that is not open", [bound(), down(1, &[1, 1])].concat()),
        ("reply to a call that is not open", [bound(), down(1, &[])].concat()),
        ("reply to a call that is not open", [bound(), reply(), down(0, &[1, 1])].concat()),
        ("reply before its bind was answered", [wire::opening(&[]), down(0, &[1, 1])].concat()),
        ("malformed items frame", [bound(), down(0, &[0x81, 0])].concat()),
        ("item of 4194305 bytes exceeds the limit (Limits::max_message)", [bound(), down(0, &wire::varint((4 << 20) + 1))].concat()),
    ];
    for (expected, bytes) in cases {
        let shown = bytes[bytes.len().saturating_sub(40)..].to_vec();
        let (_, error, frames) = streamed(bytes).await;
        if let Some(error) = &error {
            assert_eq!(error.kind(), ErrorKind::Protocol, "{shown:02x?}: {error}");
        }
        let (code, _, message) = frames.last().expect("a go-away").go_away();
        assert_eq!((code, &*message), (1, expected), "{shown:02x?}");
    }
    // A normal end within an item is an error of the stream; items that are none fail alone.
    let (numbers, error, _) = streamed([bound(), down(0, &[1, 1, 2]), reply()].concat()).await;
    assert_eq!((numbers, error.unwrap().kind()), (vec![1], ErrorKind::Internal));
    let (numbers, error, _) = streamed([bound(), down(0, &[1, 1, 0, 1, 2]), reply()].concat()).await;
    assert_eq!((numbers, error.unwrap().kind()), (vec![1, 2], ErrorKind::Malformed));
    // Ended by an error, and refused by a fail that the method does not have.
    let failed = wire::frame(kind::ERROR, 0, &[&[0, 11, 2, 0], &wire::text("no more")]);
    let (numbers, error, _) = streamed([bound(), down(0, &[1, 1]), failed].concat()).await;
    assert_eq!((numbers, error.unwrap().kind()), (vec![1], ErrorKind::Internal));
    let (numbers, error, _) = streamed([bound(), down(0, &[1, 1]), wire::frame(kind::FAIL, 0, &[&[0, 1]])].concat()).await;
    assert_eq!((numbers, error.unwrap().kind()), (vec![1], ErrorKind::Internal));
    // Cut off: no end.
    let (numbers, error, _) = streamed([bound(), down(0, &[1, 1])].concat()).await;
    assert_eq!((numbers, error.unwrap().kind()), (vec![1], ErrorKind::DeadlineExceeded));
}

/// Conformance 41: a server's stray frames for the streams of its client mean nothing, or end it.
#[tokio::test(start_paused = true)]
async fn a_servers_late_credit_and_stop_are_ignored() {
    let bound = [wire::opening(&[]), wire::frame(kind::BOUND, 0, &[&[0]])].concat();
    let stop = |id: u64| wire::frame(kind::CALL_STOP, 0, &[&wire::varint(id)]);
    let late: Vec<u8> = [1, 9, 5_000].iter().flat_map(|id| [credit(kind::CALL_CREDIT, *id, 9), stop(*id), stop(0)].concat()).collect();
    let reply = wire::frame(kind::REPLY, 0, &[&[0]]);
    let (numbers, error, frames) = streamed([bound.clone(), late.clone(), items(kind::REPLY_ITEMS, 0, &[1, 4]), reply, late].concat()).await;
    assert_eq!((numbers, error.is_none()), (vec![4], true));
    assert!(frames.iter().all(|frame| frame.kind != kind::GO_AWAY || frame.go_away().0 == 0), "{frames:?}");
    // Credit for a stream that the call does not send is more than late.
    let (_, error, _) = streamed([bound, credit(kind::CALL_CREDIT, 0, 9)].concat()).await;
    assert_eq!(error.unwrap().kind(), ErrorKind::Protocol);
}

/// Conformance 41: items for a call without streams are the caller's own loss.
#[tokio::test(start_paused = true)]
async fn items_of_a_call_without_streams_hold_nothing() {
    let mut raw = peer().await;
    raw.send(wire::call(0, PLAIN, &[])).await;
    for _ in 0..1000 {
        raw.send(up(0, &[7; 60_000])).await;
    }
    still_sums(&mut raw, 1).await;
}

/// Protocol 7.6: credit behind the last frame would be taken for that of the next call with this id, and cost the connection.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_for_a_call_with_streams_after_it_was_refused() {
    let mut limits = Limits::default();
    limits.max_streams = 1;
    let mut raw = wire::opened(server().limits(limits)).await;
    raw.send([bind(), wire::call(0, HOLD, &[])].concat()).await;
    assert_eq!(raw.frame().await.unwrap().body, [0], "bound, all equal");
    raw.send([wire::large_call(1, SUM, 2, &[0]), wire::frame(kind::CALL_CHUNK, 0, &[&[1, 0]])].concat()).await;
    raw.send(wire::frame(kind::PING, 0, &[])).await;
    let mut kinds = Vec::new();
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_secs(1), raw.frame()).await {
        kinds.push(frame.kind);
    }
    let refused = kinds.iter().position(|kind| *kind == kind::ERROR).expect("there is no room for a second one");
    assert!(!kinds[refused..].contains(&kind::CALL_CREDIT), "{kinds:?}");
}
