//! The service of the `conformance` example in the protocol's own bytes: what its methods are called on the wire, and a
//! connection that has bound them. Written from the protocol alone, so a fault that both ends of the crate share shows.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::Server;
use crate::wire::{self, Raw, kind};

/// Numbers of the methods: their order by name (protocol 4.1).
pub const CHAT: u64 = 0;
pub const DOWNLOAD: u64 = 2;
pub const ECHO: u64 = 3;
pub const ECHO_TREE: u64 = 4;
pub const ECHO_UNITS: u64 = 5;
pub const EMPTY: u64 = 6;
pub const FAIL: u64 = 7;
pub const PANIC_AFTER: u64 = 9;
pub const SLEEP: u64 = 10;
pub const UPLOAD: u64 = 11;
/// The first number that no bind has given.
pub const UNBOUND: u64 = 12;

/// What a message may be, and what large messages may be together: what the server says by default (protocol 2.2).
pub const MAX_MESSAGE: usize = 4 << 20;
pub const MAX_ASSEMBLY: usize = 5 << 20;

/// All methods, from number 0 on.
pub fn bind() -> Vec<u8> {
    let nothing = "7:returns 0\nunit\n";
    let methods = [
        ("chat", "12:stream lines 0\nseq 1\nu8\n", "8:download 0\nseq 1\nu8\n"),
        ("count", "", "7:returns 0\nstruct 5:begun 7:running 5:taken 4:made 8:finished 7:aborted 1 1 1 1 1 1\nu64\n"),
        ("download", "5:sizes 0\nseq 1\nu32\n", "5:error 0\n8:download 1\nstr\nseq 2\nu8\n"),
        ("echo", "5:bytes 0\nseq 1\nu8\n", "7:returns 0\nseq 1\nu8\n"),
        ("echo_tree", "4:tree 0\nenum 4:Leaf unit 4:Node newtype 0\n", "7:returns 0\nenum 4:Leaf unit 4:Node newtype 0\n"),
        ("echo_units", "5:units 0\nseq 1\nunit\n", "7:returns 0\nu64\n"),
        ("empty", "", nothing),
        ("fail", "4:text 0\nstr\n", "7:returns 0\n5:error 1\nunit\nstr\n"),
        ("panic", "", nothing),
        ("panic_after", "5:items 0\nu32\n", "8:download 0\nu32\n"),
        ("sleep", "6:millis 0\nu64\n", nothing),
        ("upload", "12:stream items 0\nseq 1\nu8\n", "7:returns 0\n5:error 3\nstruct 5:items 5:bytes 4:same 1 1 2\nu64\nbool\nstr\n"),
    ];
    let methods = methods.map(|(name, arguments, results)| (name, wire::method_hash(arguments, results)));
    wire::bind_service(0, "Conformance", &methods)
}

/// Preface, and a hello that takes as large replies as the server takes calls.
pub fn opening() -> Vec<u8> {
    wire::opening(&[(1, MAX_MESSAGE as u64), (4, MAX_ASSEMBLY as u64)])
}

pub async fn connect(server: &Server) -> Raw<TcpStream> {
    Raw::over(TcpStream::connect(&server.address).await.unwrap())
}

/// A connection with every method bound; the server has found all of them equal.
pub async fn open(server: &Server) -> Raw<TcpStream> {
    let mut raw = connect(server).await;
    assert!(raw.send([opening(), bind()].concat()).await);
    within(raw.opened()).await;
    let bound = within(raw.frame()).await.unwrap();
    assert_eq!((bound.kind, &bound.body[..]), (kind::BOUND, &[0][..]), "the server knows other methods");
    raw
}

/// A call whose payload goes in parts: this many bytes behind the head, and this many in every chunk.
pub fn in_chunks(id: u64, number: u64, options: &[u8], payload: &[u8], first: usize, chunk: usize) -> Vec<u8> {
    let flags = wire::flag::MORE | if options.is_empty() { 0 } else { wire::flag::OPTIONS };
    let (head, rest) = payload.split_at(first);
    let mut bytes = wire::frame(kind::CALL, flags, &[&wire::varint(id), &wire::varint(number), options, &wire::varint(payload.len() as u64), head]);
    for chunk in rest.chunks(chunk) {
        bytes.extend(wire::frame(kind::CALL_CHUNK, 0, &[&wire::varint(id), chunk]));
    }
    bytes
}

/// What a stream may send before any credit has come (protocol 7.3).
pub const FIRST_WINDOW: usize = 16_384;

/// Items of a call, whole ones or parts of them.
pub fn items(id: u64, bytes: &[u8]) -> Vec<u8> {
    wire::frame(kind::CALL_ITEMS, 0, &[&wire::varint(id), bytes])
}

/// The end of a call's items: 0 after the last one, anything else when the caller has given up (protocol 7.4).
pub fn end(id: u64, how: u8) -> Vec<u8> {
    wire::frame(kind::CALL_END, 0, &[&wire::varint(id), &[how]])
}

/// So many bytes more of a reply's items are welcome.
pub fn credit(id: u64, bytes: u64) -> Vec<u8> {
    wire::frame(kind::REPLY_CREDIT, 0, &[&wire::varint(id), &wire::varint(bytes)])
}

/// One item of the methods whose items are `Vec<u8>`: behind its length, the value's own length and its bytes.
pub fn item(bytes: &[u8]) -> Vec<u8> {
    let value = [&wire::varint(bytes.len() as u64), bytes].concat();
    [&wire::varint(value.len() as u64)[..], &value].concat()
}

/// The arguments of a download.
pub fn sizes(sizes: &[u64]) -> Vec<u8> {
    [wire::varint(sizes.len() as u64), sizes.iter().flat_map(|size| wire::varint(*size)).collect()].concat()
}

/// The next message, put together from its chunks: kind, id, and what is behind the id.
///
/// Only where no other message comes in between.
pub async fn message(raw: &mut Raw<TcpStream>) -> (u8, u64, Vec<u8>) {
    let first = heard(raw).await.expect("a message");
    let (id, rest) = first.number();
    if first.flags & wire::flag::MORE == 0 {
        return (first.kind, id, rest.to_vec());
    }
    let (total, part) = wire::read_varint(rest);
    let mut payload = part.to_vec();
    while (payload.len() as u64) < total {
        let next = heard(raw).await.expect("a chunk");
        let (of, part) = next.number();
        assert_eq!((next.kind, of), (kind::REPLY_CHUNK, id));
        payload.extend(part);
    }
    assert_eq!(payload.len() as u64, total);
    (first.kind, id, payload)
}

/// The next frame but pings, which are answered: who sends much waits for that (protocol 6.5).
async fn heard(raw: &mut Raw<TcpStream>) -> Option<wire::Frame> {
    loop {
        let frame = within(raw.frame()).await?;
        if frame.kind != kind::PING {
            return Some(frame);
        }
        assert!(raw.send(wire::frame(kind::PONG, 0, &[&frame.body])).await);
    }
}

/// Only against hanging.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("an answer, or the end of the connection")
}
