//! Large calls, between the product's own two ends and by hand.

use serde_json::json;

use crate::speak::{self, ECHO};
use crate::support::Server;
use crate::wire::{self, Random, kind};
use crate::{call, ends_well, serves};

/// Bytes up, and bytes down, of case 2. `echo` sends back what it gets, so each travels both ways.
const SIZES: [usize; 2] = [271_828, 314_159];

/// Case 2.
#[test]
fn large_calls_come_back_byte_for_byte() {
    let server = Server::start("conformance");
    for size in SIZES {
        let line = call(&server, "echo", &["--bytes", &size.to_string()]);
        assert_eq!(line["value"], json!({ "bytes": size, "same": true }), "{line}");
    }
    ends_well(server);
}

/// Case 2, spoken by hand: the bytes do not depend on where a caller cuts them, and a frame more or less is not hidden by
/// two ends that err alike.
#[tokio::test]
async fn large_calls_come_back_whatever_their_chunks() {
    let mut server = Server::start("conformance");
    let mut raw = speak::open(&server).await;
    let mut random = Random::new(2);
    // No byte behind the head but one, the longest frames that there are, and lengths that share no factor with anything.
    for (first, chunk) in [(1, 65_531), (60_000, 65_531), (4_099, 9_973), (65_500, 257)] {
        for size in SIZES {
            let sent: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
            let payload = [wire::varint(size as u64), sent].concat();
            // A hand that sends all before it reads: the reply begins when the call is whole.
            assert!(raw.send(speak::in_chunks(7, ECHO, &[], &payload, first, chunk)).await);
            let (kind, id, reply) = speak::message(&mut raw).await;
            assert_eq!((kind, id), (kind::REPLY, 7));
            // Not by `assert_eq`: nobody reads 600,000 numbers.
            assert!(reply == payload, "{size} bytes, {first} behind the head and {chunk} a chunk: {} came back", reply.len());
        }
    }
    drop(raw);
    serves(&mut server);
    ends_well(server);
}
