//! Bytes that are shared with a message and not copied from it, or to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use super::*;

type Shared = crate::Bytes;

/// Where bytes lie, as numbers.
fn place(bytes: &[u8]) -> (usize, usize) {
    (bytes.as_ptr().addr(), bytes.len())
}

fn lies_in(part: &[u8], whole: (usize, usize)) -> bool {
    let (at, length) = place(part);
    whole.0 <= at && at + length <= whole.0 + whole.1
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// A body that owns these bytes, and where they lie.
fn owned(bytes: Vec<u8>) -> (Body, (usize, usize)) {
    let place = place(&bytes);
    let mut body = Body::default();
    body.own(bytes, Encoding::Postcard, Budget::default());
    (body, place)
}

struct Watched(Vec<u8>, #[expect(dead_code, reason = "it is there to be dropped")] Arc<()>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A body whose bytes are lent, where they lie, and a sign that is gone when they are.
fn watched(bytes: Vec<u8>) -> (Body, (usize, usize), Weak<()>) {
    let (place, sign) = (place(&bytes), Arc::new(()));
    let gone = Arc::downgrade(&sign);
    let bytes = bytes::Bytes::from_owner(Watched(bytes, sign));
    let content = Content::Shared(Box::new(super::Shared { bytes, writer: None }));
    (Body { content, ..Body::default() }, place, gone)
}

#[test]
fn large_arguments_are_parts_of_their_message_and_outlive_it() {
    let sent = (pattern(MIB), "text".to_owned(), Shared::from(pattern(4 << 10)), Shared::from(pattern((4 << 10) - 1)));
    let bytes = encoded(&(serde_bytes::Bytes::new(&sent.0), &sent.1, Some(&sent.2), &sent.3), Encoding::Postcard);
    let (mut body, whole, sign) = watched(bytes);
    type Got<'a> = (Shared, &'a str, Option<Shared>, Shared);
    let (first, text, second, third): Got<'_> = decode_arguments(&body, &NOTE).expect("bytes");
    assert_eq!((&first[..], text, &third), (&sent.0[..], "text", &sent.3));
    assert!(lies_in(&first, whole) && lies_in(text.as_bytes(), whole), "a part of the message");
    assert!(second.as_ref().is_some_and(|second| lies_in(second, whole)));
    assert!(!lies_in(&third, whole), "a short one is copied, and keeps nothing");
    body.clear();
    drop((body, second));
    assert_eq!(first, sent.0, "it is there without the call");
    assert_eq!(sign.strong_count(), 1);
    drop(first);
    assert_eq!(sign.strong_count(), 0, "nobody else holds the message");
}

#[test]
fn what_is_not_long_is_copied() {
    let sent = pattern(60 << 10);
    let (body, whole) = owned(encoded(&(serde_bytes::Bytes::new(&sent),), Encoding::Postcard));
    let (got,): (Shared,) = decode_arguments(&body, &NOTE).expect("bytes");
    assert!(got == sent && !lies_in(&got, whole));
    let mut body = Body::default();
    body.fill(&encoded(&(serde_bytes::Bytes::new(&sent),), Encoding::Postcard), Budget::default());
    let (got,): (Shared,) = decode_arguments(&body, &NOTE).expect("bytes");
    assert_eq!(got, sent);
}

/// What a type's `Deserialize` does while it is read is its own business.
struct Nested(Vec<u8>, Shared);

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let outer = serde_bytes::ByteBuf::deserialize(deserializer)?.into_vec();
        let (body, whole) = owned(encoded(&(serde_bytes::Bytes::new(&outer),), Encoding::Postcard));
        let (inner,): (Shared,) = decode_arguments(&body, &NOTE).expect("bytes");
        assert!(lies_in(&inner, whole), "a part of the inner message");
        Ok(Self(outer, inner))
    }
}

#[test]
fn messages_may_be_read_within_messages() {
    let sent = pattern(MIB);
    let (body, whole) = owned(encoded(&(serde_bytes::Bytes::new(&sent), serde_bytes::Bytes::new(&sent)), Encoding::Postcard));
    let (nested, after): (Nested, Shared) = decode_arguments(&body, &NOTE).expect("bytes");
    assert!(nested.0 == sent && nested.1 == sent && after == sent);
    assert!(lies_in(&after, whole) && !lies_in(&nested.1, whole), "each is a part of its own message");
}

#[derive(Debug)]
struct Panics;

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a type's own fault")
    }
}

#[test]
fn a_message_whose_decoding_panics_is_lent_no_longer() {
    let (body, _, sign) = watched(encoded(&(serde_bytes::Bytes::new(&pattern(MIB)), 1), Encoding::Postcard));
    let result = catch_unwind(AssertUnwindSafe(|| decode_arguments::<(Shared, Panics)>(&body, &NOTE).map(drop)));
    assert!(result.is_err());
    assert_eq!(sign.strong_count(), 1);
    drop(body);
    assert_eq!(sign.strong_count(), 0, "nobody else holds the message");
}

#[test]
fn a_value_of_its_own_memory_is_the_same() {
    assert_eq!(format!("{:?}", Shared::from("a\n")), "b\"a\\n\"");
    assert_eq!(format!("{:?}", Shared::from(vec![b'a'; 40])), format!("b\"{}\".. (40 bytes)", "a".repeat(32)));
    let shared = Shared::from(pattern(10));
    assert_eq!(shared.clone().as_ptr(), shared.as_ptr());
    let theirs = bytes::Bytes::from(shared.clone());
    assert_eq!(Shared::from(theirs), shared);
    let set = std::collections::HashSet::from([shared]);
    assert!(set.contains(&pattern(10)[..]), "hashed as a slice");
    assert!(Shared::default().is_empty());
}
