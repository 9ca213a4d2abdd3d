//! Items as JSON, frame by frame (`docs/protocol.md` 5.8 and 7.2), from both sides.

use futures_util::stream;
use rpc::transport::Transport;
use rpc::{Client, ErrorKind, Server, Stream, Streaming};
use rpc_tests::wire::{self, Raw, end, flag, items, kind};
use serde_json::json;

#[rpc::service]
trait Tally {
    fn count(&self, from: u32, to: u32) -> impl Stream<Item = (u32, Option<bool>)>;
    async fn plain(&self) -> u32;
    async fn sum(&self, numbers: Streaming<u32>) -> (u32, u32);
    fn twice(&self, words: Streaming<String>) -> impl Stream<Item = String>;
}

struct My;

impl Tally for My {
    fn count(&self, from: u32, to: u32) -> impl Stream<Item = (u32, Option<bool>)> {
        stream::iter((from..to).map(|number| (number, (number > 5).then_some(true))))
    }
    async fn plain(&self) -> u32 {
        7
    }
    async fn sum(&self, mut numbers: Streaming<u32>) -> (u32, u32) {
        let (mut sum, mut wrong) = (0, 0);
        while let Some(number) = numbers.next().await {
            match number {
                Ok(number) => sum += number,
                Err(error) => wrong += u32::from(error.kind() == ErrorKind::Malformed),
            }
        }
        (sum, wrong)
    }
    fn twice(&self, words: Streaming<String>) -> impl Stream<Item = String> {
        use futures_util::StreamExt as _;
        words.map(|word| word.unwrap_or_default().repeat(2))
    }
}

const JSON: u8 = 4;
const BACK: u8 = 8;
const ALONG: u8 = 16;

/// A call with these options, in one frame.
fn call(id: u64, number: u64, options: u8, arguments: &str) -> Vec<u8> {
    wire::frame(kind::CALL, flag::OPTIONS, &[&wire::varint(id), &wire::varint(number), &[options], arguments.as_bytes()])
}

fn item(json: &str) -> Vec<u8> {
    wire::text(json)
}

fn up(id: u64, json: &[&str]) -> Vec<u8> {
    items(kind::CALL_ITEMS, id, &json.iter().flat_map(|json| item(json)).collect::<Vec<_>>())
}

/// A peer that has bound each method by its name, 0 to 3.
async fn peer() -> Raw {
    let mut raw = wire::opened(Server::new().add(TallyServer::new(My))).await;
    for (number, name) in ["Tally.count", "Tally.plain", "Tally.sum", "Tally.twice"].into_iter().enumerate() {
        raw.send(wire::bind_name(number as u64, name)).await;
        assert_eq!(raw.frame().await.unwrap().body, [number as u8], "served");
    }
    raw
}

/// The bytes of a reply's items, and its last frame.
async fn answer(raw: &mut Raw) -> (Vec<u8>, wire::Frame) {
    let mut bytes = Vec::new();
    loop {
        let frame = raw.frame().await.unwrap();
        match frame.kind {
            kind::REPLY_ITEMS => bytes.extend_from_slice(&frame.body[1..]),
            kind::CALL_CREDIT | kind::CALL_STOP => {}
            _ => return (bytes, frame),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn items_of_a_reply_are_json_behind_their_lengths() {
    let mut raw = peer().await;
    raw.send(call(3, 0, JSON | BACK, r#"{"to":7,"from":5}"#)).await;
    let (bytes, last) = answer(&mut raw).await;
    assert_eq!(bytes, [item("[5,null]"), item("[6,true]")].concat());
    assert_eq!((last.kind, &last.body[..]), (kind::REPLY, &[3][..]), "the end is an empty reply, in JSON too");
}

#[tokio::test(start_paused = true)]
async fn items_of_a_call_are_json_behind_their_lengths() {
    let mut raw = peer().await;
    // Spaces are JSON; what is none, of another type, or more than one value fails alone.
    let rows = up(1, &["1", " 2 ", "\"3\"", "4 5", "-1", "", "null", "{", "300"]);
    raw.send([call(1, 2, JSON | ALONG, "[]"), rows, end(1, 0)].concat()).await;
    let (_, last) = answer(&mut raw).await;
    let shown = String::from_utf8_lossy(&last.body[1..]).into_owned();
    assert_eq!((last.kind, &*shown), (kind::REPLY, "[303,6]"));
    // Both ways.
    raw.send([call(1, 3, JSON | ALONG | BACK, "[]"), up(1, &["\"a\"", "\"\\u00e9\""]), end(1, 0)].concat()).await;
    let (bytes, last) = answer(&mut raw).await;
    assert_eq!(bytes, [item("\"aa\""), item("\"éé\"")].concat());
    assert_eq!((last.kind, &last.body[..]), (kind::REPLY, &[1][..]));
}

/// A number of a service takes both.
#[tokio::test(start_paused = true)]
async fn the_encoding_is_the_calls_and_not_the_binds() {
    let mut raw = wire::opened(Server::new().add(TallyServer::new(My))).await;
    let numbers = "14:stream numbers 0\nu32\n";
    let pair = "0\ntuple 2 1 2\nu32\noption 3\nbool\n";
    let methods = [
        ("count", wire::method_hash("4:from 0\n2:to 0\nu32\n", &format!("8:download {pair}"))),
        ("plain", wire::method_hash("", "7:returns 0\nu32\n")),
        ("sum", wire::method_hash(numbers, "7:returns 0\ntuple 2 1 1\nu32\n")),
        ("twice", wire::method_hash("12:stream words 0\nstr\n", "8:download 0\nstr\n")),
    ];
    raw.send(wire::bind_service(0, "Tally", &methods)).await;
    assert_eq!(raw.frame().await.unwrap().body, [0], "all equal");
    raw.send(call(0, 0, JSON | BACK, "[1,2]")).await;
    assert_eq!(answer(&mut raw).await.0, item("[1,null]"));
    raw.send(wire::call(0, 0, &[1, 2])).await;
    assert_eq!(answer(&mut raw).await.0, [2, 1, 0]);
    raw.send([wire::call(0, 2, &[]), items(kind::CALL_ITEMS, 0, &[1, 1]), end(0, 0)].concat()).await;
    assert_eq!(answer(&mut raw).await.1.body, [0, 1, 0]);
}

/// Protocol 5.8: who does not say which items it knows of gets none, and sends none.
#[tokio::test(start_paused = true)]
async fn calls_that_name_other_items_than_the_method_has_are_refused() {
    let mut raw = peer().await;
    let ways = [BACK, 0, ALONG, ALONG | BACK];
    for (number, own) in ways.into_iter().enumerate() {
        for other in ways.into_iter().filter(|other| *other != own) {
            // What comes behind it is late.
            raw.send([call(5, number as u64, JSON | other, "[1,2]"), up(5, &["1"]), end(5, 0)].concat()).await;
            let (bytes, last) = answer(&mut raw).await;
            let (code, executed, _, message) = last.error();
            assert_eq!((bytes.len(), code, executed), (0, 4, 0), "{number} {other}: {message}");
        }
    }
    raw.send(call(5, 1, JSON, "[]")).await;
    assert_eq!(raw.frame().await.unwrap().body, [&[5][..], b"7"].concat());
}

/// Protocol 5.6: the bits of items mean nothing in postcard.
#[tokio::test(start_paused = true)]
async fn bits_of_items_without_json_are_a_violation() {
    for options in [BACK, ALONG, BACK | ALONG | 1, 32 | JSON] {
        let mut raw = peer().await;
        raw.send(wire::frame(kind::CALL, flag::OPTIONS, &[&[0, 0, options, 5], b"[1,2]"])).await;
        let (code, _, message) = raw.frames().await.pop().expect("a go-away").go_away();
        assert_eq!((code, &*message), (1, "malformed call frame"), "{options}");
    }
}

/// A client that watches, and a server that is spoken by hand: what the client sent, and its stream.
async fn watched(answer: Vec<u8>) -> (Vec<u8>, Vec<Result<serde_json::Value, rpc::Error>>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let client = Client::options().over(Transport::over(near, "test"));
    let mut raw = Raw::over(far);
    let answers = async {
        raw.opened().await;
        raw.frame().await.unwrap();
        let call = raw.frame().await.unwrap().body;
        raw.send([wire::opening(&[]), wire::frame(kind::BOUND, 0, &[&[0]]), answer].concat()).await;
        call
    };
    let call = async {
        let mut items = client.watch_json("Far.away", json!([1])).await.unwrap();
        let mut all = Vec::new();
        while let Some(item) = items.next().await {
            all.push(item);
        }
        all
    };
    let (all, sent) = tokio::join!(call, answers);
    (sent, all)
}

#[tokio::test(start_paused = true)]
async fn a_client_reads_json_where_it_has_sent_json() {
    let down = |bytes: &[u8]| items(kind::REPLY_ITEMS, 0, bytes);
    let reply = || wire::frame(kind::REPLY, 0, &[&[0]]);
    // One item in two frames, one that is none, and a mark (7.8): how many were left out is a varint.
    let bytes = [item("{\"a\":[1]}"), item("nul"), vec![0x80, 0, 2, 0xac, 2], item("7")].concat();
    let (sent, all) = watched([down(&bytes[..4]), down(&bytes[4..]), reply()].concat()).await;
    assert_eq!(sent, [&[0, 0, JSON | BACK][..], b"[1]"].concat());
    let [first, second, third, fourth] = &all[..] else { panic!("{all:?}") };
    assert_eq!(first.as_ref().unwrap(), &json!({"a": [1]}));
    let error = second.as_ref().unwrap_err();
    assert!(error.kind() == ErrorKind::Malformed && error.message().starts_with("Far.away: malformed item: "), "{error}");
    assert_eq!(third.as_ref().unwrap_err().missed(), Some(300));
    assert_eq!(fourth.as_ref().unwrap(), &json!(7));
    // An end that is none.
    let (_, all) = watched([down(&bytes[..4]), reply()].concat()).await;
    assert_eq!(all.last().unwrap().as_ref().unwrap_err().kind(), ErrorKind::Internal);
}
