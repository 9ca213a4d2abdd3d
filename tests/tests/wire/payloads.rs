//! Arguments that are not what they should be: their call fails, and nothing else.

use rpc_tests::wire::{self, kind};

use crate::service::{self, ADD, ECHO, FAIL, TREE, UNITS, WIDE};

/// Sends one call with this payload, and a good one after it. Code, executed byte and message of its error.
async fn refused(number: u64, payload: &[u8]) -> (u64, u8, String) {
    let mut raw = wire::opened(service::server()).await;
    raw.send(service::bind()).await;
    assert_eq!(raw.frame().await.unwrap().body, [0]);
    let mut frames = Vec::new();
    if payload.len() < 60_000 {
        frames.push(wire::call(0, number, payload));
    } else {
        frames.push(wire::large_call(0, number, payload.len() as u64, &payload[..60_000]));
        frames.extend(payload[60_000..].chunks(60_000).map(|chunk| wire::frame(kind::CALL_CHUNK, 0, &[&[0], chunk])));
    }
    for frame in frames {
        raw.send(frame).await;
    }
    let (code, executed, _, message) = raw.frame().await.unwrap().error();
    raw.send(wire::call(1, ADD, &[1, 2])).await;
    assert_eq!(raw.frame().await.unwrap().body, [1, 3], "the connection goes on");
    (code, executed, message)
}

const MALFORMED: u64 = 5;
const TOO_LARGE: u64 = 6;

/// Conformance 35: ten bytes that stand for 2^63 units.
#[tokio::test(start_paused = true)]
async fn units_beyond_counting_are_refused() {
    let (code, executed, message) = refused(UNITS, &wire::varint(1 << 63)).await;
    assert_eq!((code, executed), (TOO_LARGE, 0), "{message}");
    assert!(message.starts_with("units: "), "{message}");
}

/// Conformance 36: a megabyte of nesting.
#[tokio::test(start_paused = true)]
async fn nesting_beyond_the_depth_is_refused() {
    let (code, executed, message) = refused(TREE, &[vec![1; 1 << 20], vec![0]].concat()).await;
    assert_eq!((code, executed), (MALFORMED, 0), "{message}");
    assert!(message.contains("Limits::max_depth"), "{message}");
}

/// Conformance 37: four megabytes that stand for a gigabyte.
#[tokio::test(start_paused = true)]
async fn values_that_grow_when_decoded_are_refused() {
    let count = (4 << 20) - 10;
    let (code, executed, message) = refused(WIDE, &[wire::varint(count as u64), vec![0; count]].concat()).await;
    assert_eq!((code, executed), (TOO_LARGE, 0), "{message}");
    assert!(message.contains("Limits::max_decoded"), "{message}");
}

/// Conformance 38: values that are none.
#[tokio::test(start_paused = true)]
async fn malformed_arguments_fail_their_call_alone() {
    let cases: [(&str, u64, &[u8]); 8] = [
        ("bad UTF-8", FAIL, &[2, 0xff, 0xfe]),
        ("bad enum tag", TREE, &[2]),
        ("overlong varint", ADD, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]),
        ("number out of range", ADD, &[0xff, 0xff, 0xff, 0xff, 0x7f, 0]),
        ("trailing bytes", ADD, &[1, 2, 3]),
        ("nothing", ADD, &[]),
        ("a length beyond the end", ECHO, &[200]),
        ("a length beyond all memory", ECHO, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
    ];
    for (what, number, payload) in cases {
        let (code, executed, message) = refused(number, payload).await;
        assert_eq!((code, executed), (MALFORMED, 0), "{what}: {message}");
        assert!(message.contains(": malformed arguments: "), "{what}: {message}");
    }
}

/// Protocol 4.4: a method that is bound by name takes JSON, and a bound service takes both.
#[tokio::test(start_paused = true)]
async fn postcard_travels_only_where_hashes_were_compared() {
    let mut raw = wire::opened(service::server()).await;
    raw.send([wire::bind_name(0, "Shop.add"), wire::call(0, 0, &[1, 2]), wire::json_call(0, 0, "[1,2]")].concat()).await;
    assert_eq!(raw.frame().await.unwrap().body, [0]);
    let (code, executed, _, message) = raw.frame().await.unwrap().error();
    assert_eq!((code, executed), (MALFORMED, 0), "{message}");
    assert_eq!(raw.frame().await.unwrap().body, [&[0][..], b"3"].concat());
}
