//! Schemas on the wire (`docs/protocol.md` 9), spoken by hand: as a caller to a server, and as a callee to a client.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use rpc::transport::Transport;
use rpc::{Client, ErrorKind, Executed, Server, Stream, Streaming};
use rpc_tests::settle;
use rpc_tests::wire::{self, Frame, Raw, flag, kind, schema};
use tokio::sync::watch;
use tokio::time::Instant;

#[rpc::service]
trait Shop {
    async fn add(&self, n: u64) -> u64;
    fn count(&self, upto: u64) -> impl Stream<Item = u64>;
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
    async fn lose(&self, n: u64) -> u64;
    #[rpc(oneway)]
    async fn note(&self, text: String);
    async fn sum(&self, numbers: Streaming<u64>) -> u64;
}

/// Numbers of the methods as they are bound here: their order by name.
const ADD: u64 = 0;
const COUNT: u64 = 1;
const ECHO: u64 = 2;
const LOSE: u64 = 3;
const NOTE: u64 = 4;
const SUM: u64 = 5;

/// What has run.
#[derive(Clone, Default)]
struct Ran(Arc<watch::Sender<Vec<String>>>);

impl Ran {
    fn note(&self, text: impl Into<String>) {
        self.0.send_modify(|all| all.push(text.into()));
    }

    fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

struct My(Ran);

impl Shop for My {
    async fn add(&self, n: u64) -> u64 {
        self.0.note(format!("add {n}"));
        n + 1
    }
    fn count(&self, upto: u64) -> impl Stream<Item = u64> {
        stream::iter(1..=upto)
    }
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
    async fn lose(&self, _: u64) -> u64 {
        self.0.note("lose");
        0
    }
    async fn note(&self, text: String) {
        self.0.note(text);
    }
    async fn sum(&self, mut numbers: Streaming<u64>) -> u64 {
        let mut sum = 0;
        while let Some(number) = numbers.next().await {
            sum += number.unwrap();
        }
        sum
    }
}

fn server() -> Server {
    Server::new().add(ShopServer::new(My(Ran::default())))
}

/// The same service as someone knows it who counts with `u32`, and thinks that `lose` returns a text.
fn old() -> Vec<u8> {
    let (u32, u64, bytes, text) = (0, 1, 2, 4);
    wire::schema_of(
        &[
            wire::method("add", &[("n", u32)], None, [Some(u64), None, None]),
            wire::method("count", &[("upto", u32)], None, [None, None, Some(u64)]),
            wire::method("echo", &[("bytes", bytes)], None, [Some(bytes), None, None]),
            wire::method("lose", &[("n", u32)], None, [Some(text), None, None]),
            wire::method("note", &[("text", text)], None, [None, None, None]),
            wire::method("sum", &[], Some(("numbers", u32)), [Some(u64), None, None]),
        ],
        &[&[9], &[10], &[18, 3], &[7], &[15]],
    )
}

const METHODS: [&str; 6] = ["add", "count", "echo", "lose", "note", "sum"];

/// A bind whose hashes are all unknown.
fn bind(first: u64) -> Vec<u8> {
    wire::bind_service(first, "Shop", &METHODS.map(|name| (name, 1)))
}

/// What [`old`] makes of [`bind`].
const STATUSES: [u8; 6] = [4, 4, 0, 1, 0, 4];

/// A caller that has bound the service and been sent its schema.
async fn asked(server: Server) -> Raw {
    let (mut raw, _task) = wire::serve(server);
    raw.send([wire::opening(&[(5, 1)]), bind(0)].concat()).await;
    raw.opened().await;
    let asks = raw.frame().await.unwrap();
    assert_eq!((asks.kind, asks.flags, &asks.body[..2]), (kind::SCHEMA, 0, &[0, 0][..]));
    raw
}

async fn is_quiet(raw: &mut Raw) {
    raw.send(wire::frame(kind::PING, 0, &[b"here?"])).await;
    assert_eq!(raw.frame().await.unwrap().kind, kind::PONG, "nothing is answered yet");
}

fn statuses(frame: &Frame) -> (u8, &[u8]) {
    assert_eq!(frame.kind, kind::BOUND, "{frame:?}");
    (frame.body[0], &frame.body[1..])
}

#[tokio::test(start_paused = true)]
async fn a_bind_that_differs_is_answered_when_both_schemas_are_known() {
    let ran = Ran::default();
    let mut raw = asked(Server::new().add(ShopServer::new(My(ran.clone())))).await;
    // Calls to methods of which nothing is known yet: no payload is looked at.
    raw.send(
        [wire::call(0, ADD, &[0xac, 0x02]), wire::call(1, LOSE, &[1]), wire::frame(kind::NOTIFY, 0, &[&[NOTE as u8], &wire::text("hi")])].concat(),
    )
    .await;
    is_quiet(&mut raw).await;
    assert!(ran.all().is_empty());
    raw.send(schema(1, 0, &old())).await;
    assert_eq!(statuses(&raw.frame().await.unwrap()), (0, &STATUSES[..]));
    let reply = raw.frame().await.unwrap();
    assert_eq!((reply.kind, reply.body), (kind::REPLY, [vec![0], wire::varint(301)].concat()));
    let (code, executed, _, message) = raw.frame().await.unwrap().error();
    assert_eq!((code, executed), (7, 0), "{message}");
    assert!(message.starts_with("Shop.lose: the peer cannot read the reply: "), "{message}");
    settle().await;
    assert_eq!(ran.all(), ["add 300", "hi"]);
    // From here on nothing is kept.
    raw.send([wire::call(0, ADD, &[5]), wire::call(1, LOSE, &[1])].concat()).await;
    assert_eq!(raw.frame().await.unwrap().body, [0, 6]);
    assert_eq!(raw.frame().await.unwrap().error().0, 7);
}

#[tokio::test(start_paused = true)]
async fn a_schema_goes_in_as_many_frames_as_its_sender_likes() {
    let old = old();
    for step in [1, 7, old.len() - 1] {
        let mut raw = asked(server()).await;
        let parts: Vec<&[u8]> = old.chunks(step).collect();
        for (place, part) in parts.iter().enumerate() {
            let more = if place + 1 < parts.len() { flag::MORE } else { 0 };
            // Frames of other kinds may come between.
            raw.send([wire::frame(kind::SCHEMA, more, &[&[1, 0], part]), wire::cancel(9)].concat()).await;
        }
        assert_eq!(statuses(&raw.frame().await.unwrap()), (0, &STATUSES[..]), "in steps of {step}");
    }
}

/// A peer that does not take part is answered as before there were schemas.
#[tokio::test(start_paused = true)]
async fn who_knows_no_schemas_is_told_at_once() {
    for hello in [&[][..], &[(5, 0)]] {
        let (mut raw, _task) = wire::serve(server());
        raw.send([wire::opening(hello), bind(0), wire::call(0, ADD, &[1])].concat()).await;
        raw.opened().await;
        assert_eq!(statuses(&raw.frame().await.unwrap()), (0, &[1; 6][..]));
        let (code, executed, _, message) = raw.frame().await.unwrap().error();
        assert_eq!((code, executed), (7, 0), "{message}");
        raw.send(schema(1, 0, &old())).await;
        assert_eq!(raw.frame().await.unwrap().go_away().2, "unknown frame kind 22");
    }
}

/// Protocol 9.3, 9.5, 9.6: each by its name.
#[tokio::test(start_paused = true)]
async fn abuse_of_schemas_closes_the_connection() {
    let old = old();
    let bad_place = wire::schema_of(&[wire::method("add", &[("n", 1)], None, [None; 3])], &[&[9]]);
    let cycle = wire::schema_of(&[wire::method("add", &[("n", 0)], None, [None; 3])], &[&[22, 1, b'A', 0]]);
    let part = |bytes: &[u8]| wire::frame(kind::SCHEMA, flag::MORE, &[&[1, 0], bytes]);
    let too_long: Vec<u8> = (0..17).flat_map(|_| part(&[0; 65_000])).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("unexpected schema frame", [schema(1, 0, &old), schema(1, 0, &old)].concat()),
        ("unexpected schema frame", schema(1, 1, &old)),
        ("unexpected schema frame", schema(1, u32::MAX.into(), &old)),
        ("unexpected schema frame", schema(0, 0, &old)),
        ("unexpected schema frame", [part(&old), schema(1, 1, &old)].concat()),
        ("unexpected schema frame", [part(&old), schema(0, 0, &old)].concat()),
        ("malformed schema frame", schema(2, 0, &old)),
        ("malformed schema frame", wire::frame(kind::SCHEMA, 0, &[&[1]])),
        ("malformed schema frame", schema(1, 1 << 32, &old)),
        ("malformed schema frame", part(&[])),
        ("malformed schema: ", schema(1, 0, &old[..old.len() - 1])),
        ("malformed schema: ", schema(1, 0, &[&old[..], &[0]].concat())),
        ("malformed schema: ", schema(1, 0, &[0xff; 100])),
        ("malformed schema: ", schema(1, 0, &bad_place)),
        ("malformed schema: ", schema(1, 0, &cycle)),
        ("schemas of more than 1048576 bytes on one connection (protocol 9.5)", too_long),
    ];
    for (expected, bytes) in cases {
        let shown = &bytes[..bytes.len().min(100)];
        let mut raw = asked(server()).await;
        raw.send(&bytes).await;
        let (code, _, message) = raw.frames().await.pop().expect("a go-away").go_away();
        assert_eq!(code, 1, "a violation: {message}");
        assert!(message.starts_with(expected), "{message} instead of {expected}: {shown:02x?}");
    }
    // Of a bind that was answered at once, and before any.
    for bytes in [[wire::bind_name(0, "Shop.add"), schema(1, 0, &old)].concat(), schema(1, 0, &old), schema(0, 0, &old)] {
        let (mut raw, _task) = wire::serve(server());
        raw.send([wire::opening(&[(5, 1)]), bytes].concat()).await;
        assert_eq!(wire::frames(&raw.bytes().await[8..]).pop().unwrap().go_away().2, "unexpected schema frame");
    }
}

/// Protocol 9.5
#[tokio::test(start_paused = true)]
async fn a_peer_that_never_sends_its_schema_is_closed_by_the_handshake_timeout() {
    for sent in [vec![], wire::frame(kind::SCHEMA, flag::MORE, &[&[1, 0], &old()])] {
        let began = Instant::now();
        let mut raw = asked(server()).await;
        raw.send([sent, wire::call(0, ADD, &[1])].concat()).await;
        let (code, _, message) = raw.frame().await.unwrap().go_away();
        assert_eq!((code, began.elapsed().as_secs()), (3, 10));
        assert_eq!(message, "the peer did not send its schema in time (Limits::handshake_timeout)");
    }
}

/// Protocol 9.4
#[tokio::test(start_paused = true)]
async fn no_more_calls_are_kept_than_may_be_sent_before_a_hello() {
    let ran = Ran::default();
    let mut raw = asked(Server::new().add(ShopServer::new(My(ran.clone())))).await;
    raw.send((0..80).flat_map(|id| wire::call(id, ADD, &[id as u8])).collect::<Vec<_>>()).await;
    for id in 64..80 {
        let refused = raw.frame().await.unwrap();
        assert_eq!(refused.number().0, id);
        let (code, executed, retry_after, message) = refused.error();
        assert_eq!((code, executed), (3, 0), "{message}");
        assert!(retry_after > 0 && message.starts_with("Shop.add: "), "{message}");
    }
    raw.send(schema(1, 0, &old())).await;
    raw.frame().await.unwrap();
    for id in 0..64 {
        assert_eq!(raw.frame().await.unwrap().body, [id, id + 1]);
    }
    assert_eq!(ran.all().len(), 64);
}

/// Protocol 9.4
#[tokio::test(start_paused = true)]
async fn no_more_bytes_are_kept_than_may_be_sent_before_a_hello() {
    let mut raw = asked(server()).await;
    let payload = [wire::varint(30_000), vec![7; 30_000]].concat();
    raw.send((0..3).flat_map(|id| wire::call(id, ECHO, &payload)).collect::<Vec<_>>()).await;
    let refused = raw.frame().await.unwrap();
    assert_eq!((refused.number().0, refused.error().0), (2, 3));
    // Notifications are counted by themselves.
    raw.send(wire::frame(kind::NOTIFY, 0, &[&[NOTE as u8], &wire::text(&"a".repeat(60_000))])).await;
    raw.send(schema(1, 0, &old())).await;
    raw.frame().await.unwrap();
    for id in 0..2 {
        assert_eq!(raw.frame().await.unwrap().body, [&[id], &payload[..]].concat());
    }
    // In chunks, too.
    let mut raw = asked(server()).await;
    let large = wire::large_call(0, ECHO, 70_000, &[0; 60_000]);
    raw.send([large, wire::frame(kind::CALL_CHUNK, 0, &[&[0], &[0; 10_000]])].concat()).await;
    assert_eq!(raw.frame().await.unwrap().error().0, 3);
}

/// Protocol 9.4
#[tokio::test(start_paused = true)]
async fn calls_that_are_kept_can_be_cancelled_and_end_in_time() {
    let ran = Ran::default();
    let mut raw = asked(Server::new().add(ShopServer::new(My(ran.clone())))).await;
    let hurried = wire::frame(kind::CALL, flag::OPTIONS, &[&[7, ADD as u8, 1], &wire::varint(2_000_000), &[1]]);
    let began = Instant::now();
    raw.send([wire::call(5, ADD, &[1]), hurried, wire::call(8, ADD, &[1]), wire::cancel(5)].concat()).await;
    let cancelled = raw.frame().await.unwrap();
    assert_eq!((cancelled.number().0, cancelled.error().0, cancelled.error().1), (5, 1, 0));
    let late = raw.frame().await.unwrap();
    assert_eq!((late.number().0, late.error().0, late.error().1), (7, 2, 0));
    assert_eq!(began.elapsed().as_secs(), 2);
    // Their ids are free.
    raw.send([wire::call(5, ADD, &[2]), wire::call(7, ADD, &[3]), schema(1, 0, &old())].concat()).await;
    raw.frame().await.unwrap();
    for body in [[8, 2], [5, 3], [7, 4]] {
        assert_eq!(raw.frame().await.unwrap().body, body);
    }
    assert_eq!(ran.all(), ["add 1", "add 2", "add 3"]);
}

/// Protocol 9.4
#[tokio::test(start_paused = true)]
async fn streams_of_calls_that_are_kept_begin_at_once() {
    let mut raw = asked(server()).await;
    let first = wire::items(kind::CALL_ITEMS, 0, &[2, 0xac, 0x02, 1, 5]);
    raw.send([wire::call(0, SUM, &[]), first, wire::call(1, COUNT, &[3]), wire::credit(kind::REPLY_CREDIT, 1, 100)].concat()).await;
    is_quiet(&mut raw).await;
    raw.send([wire::items(kind::CALL_ITEMS, 0, &[1, 6]), wire::end(0, 0), schema(1, 0, &old())].concat()).await;
    assert_eq!(statuses(&raw.frame().await.unwrap()), (0, &STATUSES[..]));
    let mut frames = Vec::new();
    while frames.iter().filter(|frame: &&Frame| frame.kind == kind::REPLY).count() < 2 {
        frames.push(raw.frame().await.unwrap());
    }
    assert!(frames.iter().any(|frame| frame.kind == kind::REPLY && frame.body == [vec![0], wire::varint(311)].concat()), "{frames:?}");
    let items: Vec<u8> =
        frames.iter().filter(|frame| frame.kind == kind::REPLY_ITEMS && frame.body[0] == 1).flat_map(|frame| frame.body[1..].to_vec()).collect();
    assert_eq!(items, [1, 1, 1, 2, 1, 3]);
}

/// Protocol 9.5: who has too long a schema sends none.
#[tokio::test(start_paused = true)]
async fn an_empty_schema_leaves_all_that_differs_incompatible() {
    let mut raw = asked(server()).await;
    raw.send([wire::call(0, ADD, &[1]), schema(1, 0, &[])].concat()).await;
    assert_eq!(statuses(&raw.frame().await.unwrap()), (0, &[1; 6][..]));
    assert_eq!(raw.frame().await.unwrap().error().0, 7);
}

/// Methods that one of the two does not have.
#[tokio::test(start_paused = true)]
async fn a_method_that_a_schema_lacks_is_incompatible_and_one_that_is_not_served_unknown() {
    let (mut raw, _task) = wire::serve(server());
    raw.send([wire::opening(&[(5, 1)]), wire::bind_service(0, "Shop", &[("add", 1), ("echo", 1), ("gone", 1)])].concat()).await;
    raw.opened().await;
    raw.frame().await.unwrap();
    raw.send(schema(1, 0, &wire::schema_of(&[wire::method("add", &[("n", 0)], None, [Some(0), None, None])], &[&[10]]))).await;
    assert_eq!(statuses(&raw.frame().await.unwrap()), (0, &[0, 1, 2][..]));
}

/// Protocol 9.3: other binds are not held up, and one service may be bound again.
#[tokio::test(start_paused = true)]
async fn binds_beside_an_exchange_are_answered() {
    let mut raw = asked(server()).await;
    raw.send([wire::bind_name(6, "Shop.add"), wire::bind_service(7, "Nothing", &[("a", 1)]), bind(8), wire::json_call(0, 6, "[1]")].concat()).await;
    assert_eq!(statuses(&raw.frame().await.unwrap()), (6, &[][..]));
    assert_eq!(statuses(&raw.frame().await.unwrap()), (7, &[3][..]));
    let asks = raw.frame().await.unwrap();
    assert_eq!((asks.kind, &asks.body[..2]), (kind::SCHEMA, &[0, 8][..]));
    assert_eq!(raw.frame().await.unwrap().body, [0, b'2']);
    // In any order.
    raw.send([schema(1, 8, &old()), wire::call(1, 8, &[1]), schema(1, 0, &old()), wire::call(2, 0, &[2])].concat()).await;
    assert_eq!(statuses(&raw.frame().await.unwrap()), (8, &STATUSES[..]));
    assert_eq!(raw.frame().await.unwrap().body, [1, 2]);
    assert_eq!(statuses(&raw.frame().await.unwrap()), (0, &STATUSES[..]));
    assert_eq!(raw.frame().await.unwrap().body, [2, 3]);
}

/// Who binds without end and sends nothing is sent little.
#[tokio::test(start_paused = true)]
async fn a_callee_sends_no_more_of_its_schema_than_it_is_sent() {
    let (mut raw, _task) = wire::serve(server());
    let binds: Vec<u8> = (0..1000).flat_map(|number| wire::bind_service(number, "Shop", &[("add", 1)])).collect();
    raw.send([wire::opening(&[(5, 1)]), binds].concat()).await;
    let sent = raw.bytes().await;
    assert!(sent.len() < 70_000, "{} bytes for 1000 binds", sent.len());
    let frames = wire::frames(&sent[8..]);
    assert!(frames.iter().filter(|frame| frame.kind == kind::SCHEMA).count() > 10);
    assert_eq!(frames.last().unwrap().go_away().0, 3, "it has sent none of its own");
}

/// Protocol 9.3, 9.4: a bind that waits for others to end has nothing answered before its caller can read it.
#[tokio::test(start_paused = true)]
async fn calls_of_a_bind_that_waits_are_answered_when_the_callees_schema_was_sent() {
    const BINDS: u64 = 1000;
    let (mut raw, _task) = wire::serve(server());
    let binds: Vec<u8> = (0..BINDS).flat_map(|number| wire::bind_service(number, "Shop", &[("add", 1)])).collect();
    let echo = wire::method_hash("5:bytes 0\nseq 1\nu8\n", "7:returns 0\nseq 1\nu8\n");
    let last = wire::bind_service(BINDS, "Shop", &[("add", 1), ("echo", echo), ("gone", 1)]);
    let calls = [wire::call(0, BINDS + 1, &[1, 9]), wire::call(1, BINDS + 2, &[])].concat();
    raw.send([wire::opening(&[(5, 1)]), binds, last, calls, wire::frame(kind::PING, 0, &[])].concat()).await;
    raw.opened().await;
    let (mut asked, mut refused) = (Vec::new(), 0);
    loop {
        let frame = raw.frame().await.unwrap();
        match frame.kind {
            kind::ERROR => {
                assert_eq!((frame.number().0, frame.error().0), (1, 4), "an error can be read by anyone");
                refused += 1;
            }
            kind::SCHEMA => asked.push(wire::read_varint(&frame.body[1..]).0),
            kind::PONG => break,
            _ => panic!("{frame:?}"),
        }
    }
    assert!(asked.len() < BINDS as usize && !asked.contains(&BINDS) && refused == 1);
    let add = wire::schema_of(&[wire::method("add", &[("n", 0)], None, [Some(0), None, None])], &[&[10]]);
    let mut answered = 0;
    loop {
        raw.send(schema(1, asked[answered], &add)).await;
        answered += 1;
        let mut replied = false;
        // A bound, and what is asked for next; the last of these brings the reply.
        raw.send(wire::frame(kind::PING, 0, &[])).await;
        loop {
            let frame = raw.frame().await.unwrap();
            match frame.kind {
                kind::SCHEMA => asked.push(wire::read_varint(&frame.body[1..]).0),
                kind::REPLY => {
                    assert!(asked.contains(&BINDS), "before the schema");
                    assert_eq!(frame.body, [0, 1, 9]);
                    replied = true;
                }
                kind::PONG => break,
                _ => assert_eq!(frame.kind, kind::BOUND),
            }
        }
        if replied {
            return;
        }
    }
}

// ---- as a callee

/// A client, and its server by hand, which takes these keys of a hello.
async fn client(keys: &[(u64, u64)]) -> (ShopClient, Raw) {
    let (near, far) = tokio::io::duplex(4 << 20);
    let mut raw = Raw::over(far);
    let client = Client::options().over(Transport::over(near, "test")).into();
    raw.send(wire::opening(keys)).await;
    raw.opened().await;
    (client, raw)
}

const LARGE: [(u64, u64); 5] = [(1, 4 << 20), (2, 1024), (3, 1 << 20), (4, 5 << 20), (5, 1)];

/// What a callee may not do with schemas.
#[tokio::test(start_paused = true)]
async fn a_server_that_abuses_schemas_is_told() {
    let old = old();
    let bound = |statuses: &[u8]| wire::frame(kind::BOUND, 0, &[&[0], statuses]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("unexpected schema frame", schema(0, 1, &old)),
        ("unexpected schema frame", schema(1, 0, &old)),
        ("unexpected schema frame", [schema(0, 0, &old), schema(0, 0, &old)].concat()),
        ("unexpected schema frame", [bound(&[]), schema(0, 0, &old)].concat()),
        ("malformed schema: ", schema(0, 0, &old[..old.len() - 1])),
        ("malformed schema: ", schema(0, 0, &[])),
        ("malformed bound frame", bound(&[4; 6])),
        ("malformed bound frame", [schema(0, 0, &old), bound(&[4; 5])].concat()),
        ("reply before its bind was answered", wire::frame(kind::REPLY, 0, &[&[0, 0]])),
    ];
    for (expected, bytes) in cases {
        let (shop, mut raw) = client(&[(5, 1)]).await;
        let call = tokio::spawn(shop.echo(vec![1]).owned());
        assert_eq!(raw.frame().await.unwrap().kind, kind::BIND);
        raw.send(bytes).await;
        let told = raw.frames().await.pop().unwrap().go_away();
        assert!(told.0 == 1 && told.2.starts_with(expected), "{told:?} instead of {expected}");
        assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Protocol);
    }
    // A callee that has not said that it knows them.
    let (shop, mut raw) = client(&[]).await;
    let _call = tokio::spawn(shop.echo(vec![1]).owned());
    raw.frame().await.unwrap();
    raw.send(schema(0, 0, &old)).await;
    assert_eq!(raw.frames().await.pop().unwrap().go_away().2, "unknown frame kind 22");
}

/// Protocol 9.4: a reply that could not be read is not asked for, and what was asked for is taken back before it can run.
#[tokio::test(start_paused = true)]
async fn a_caller_takes_back_what_it_could_not_read() {
    let (shop, mut raw) = client(&[(5, 1)]).await;
    let lost = tokio::spawn(shop.lose(1).owned());
    let sum = tokio::spawn(shop.add(1).owned());
    for kind in [kind::BIND, kind::CALL, kind::CALL] {
        assert_eq!(raw.frame().await.unwrap().kind, kind);
    }
    raw.send(schema(0, 0, &old())).await;
    let error = lost.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Incompatible, Executed::No));
    assert!(error.message().starts_with("Shop.lose: the peer's reply cannot be read: "), "{error}");
    let cancel = raw.frame().await.unwrap();
    assert_eq!((cancel.kind, cancel.body), (kind::CANCEL, vec![0]));
    let ours = raw.frame().await.unwrap();
    assert_eq!((ours.kind, &ours.body[..2]), (kind::SCHEMA, &[1, 0][..]));
    // Known from here on, before anything is sent.
    let error = shop.lose(1).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Incompatible, Executed::No));
    raw.send([wire::frame(kind::BOUND, 0, &[&[0], &STATUSES]), wire::frame(kind::REPLY, 0, &[&[1, 2]])].concat()).await;
    assert_eq!(sum.await.unwrap().unwrap(), 2);
}

/// Protocol 9.4: what a callee would refuse is not sent.
#[tokio::test(start_paused = true)]
async fn a_caller_sends_no_more_than_is_kept_until_its_bind_is_answered() {
    let (shop, mut raw) = client(&LARGE).await;
    let large = tokio::spawn(shop.echo(vec![7; 100_000]).owned());
    let bind = raw.frame().await.unwrap();
    assert_eq!(bind.kind, kind::BIND);
    let calls: Vec<_> = (0..200).map(|n| tokio::spawn(shop.add(n).owned())).collect();
    let mut sent = 0;
    while let Ok(frame) = tokio::time::timeout(Duration::from_secs(1), raw.frame()).await {
        assert_eq!((frame.unwrap().kind, sent < 64), (kind::CALL, true));
        sent += 1;
    }
    assert_eq!(sent, 64);
    raw.send(schema(0, 0, &old())).await;
    assert_eq!(raw.frame().await.unwrap().kind, kind::SCHEMA);
    assert!(tokio::time::timeout(Duration::from_secs(1), raw.frame()).await.is_err(), "nothing more before the bound");
    raw.send(wire::frame(kind::BOUND, 0, &[&[0], &STATUSES])).await;
    let (mut small, mut more) = (0, 0);
    while small < 200 - 64 || more == 0 {
        match raw.frame().await.unwrap() {
            Frame { kind: kind::CALL, flags, .. } if flags & flag::MORE != 0 => more += 1,
            Frame { kind: kind::CALL, .. } => small += 1,
            Frame { kind: kind::CALL_CHUNK, .. } => {}
            Frame { kind: kind::PING, body, .. } => drop(raw.send(wire::frame(kind::PONG, 0, &[&body])).await),
            other => panic!("{other:?}"),
        }
    }
    calls.iter().for_each(|call| call.abort());
    large.abort();
}

/// Protocol 4.5: a callee whose schema is known can be understood.
#[tokio::test(start_paused = true)]
async fn replies_may_come_between_the_schema_and_the_bound() {
    let (shop, mut raw) = client(&[(5, 1)]).await;
    let call = tokio::spawn(shop.echo(vec![1]).owned());
    raw.frame().await.unwrap();
    raw.send([schema(0, 0, &old()), wire::frame(kind::REPLY, 0, &[&[0, 1, 9]])].concat()).await;
    assert_eq!(call.await.unwrap().unwrap(), [9]);
}

/// Conformance 40, 44: whatever a callee says of a service, each call ends.
#[tokio::test(start_paused = true)]
async fn mutated_exchanges_end_every_call() {
    let good = [schema(0, 0, &old()), wire::frame(kind::BOUND, 0, &[&[0], &STATUSES]), wire::frame(kind::REPLY, 0, &[&[0, 3]])].concat();
    let called = async |answer: &[u8]| {
        let (shop, mut raw) = client(&[(5, 1)]).await;
        let answers = async {
            raw.send(answer).await;
            raw.frames().await;
            // The client's call has to end by itself.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            sum = shop.add(2) => sum,
            () = answers => unreachable!(),
        }
    };
    assert_eq!(called(&good).await.unwrap(), 3);
    let (mut count, mut right) = (0, 0);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            right += usize::from(called(&bytes).await.is_ok());
            count += 1;
        }
        called(&good[..at]).await.unwrap_err();
        count += 1;
    }
    rpc_tests::report!("{count} mutated exchanges of a callee, {right} of the flipped ones still gave a result");
    assert!(right > 0);
}

/// The other end's services, too: a client's schema is asked for by its server, and a server's by its client, at the same time.
#[tokio::test(start_paused = true)]
async fn both_ends_of_a_connection_exchange_schemas() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let mut raw = Raw::over(far);
    let client = Client::options().serve(server()).unwrap().over(Transport::over(near, "test"));
    let shop = ShopClient::from(client);
    let call = tokio::spawn(shop.add(1).owned());
    raw.opened().await;
    raw.send([wire::opening(&[(5, 1)]), bind(0), wire::call(0, ADD, &[1])].concat()).await;
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let frame = raw.frame().await.unwrap();
        kinds.push(frame.kind);
    }
    kinds.sort_unstable();
    assert_eq!(kinds, [kind::BIND, kind::CALL, kind::SCHEMA]);
    raw.send([schema(0, 0, &old()), schema(1, 0, &old())].concat()).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let frame = raw.frame().await.unwrap();
        seen.push((frame.kind, frame.body[0]));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(kind::BOUND, 0), (kind::REPLY, 0), (kind::SCHEMA, 1)]);
    raw.send([wire::frame(kind::BOUND, 0, &[&[0], &STATUSES]), wire::frame(kind::REPLY, 0, &[&[0, 2]])].concat()).await;
    assert_eq!(call.await.unwrap().unwrap(), 2);
}
