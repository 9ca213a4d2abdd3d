//! Bytes that are shared with a message and not copied from it, or to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use serde::ser;

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

// ---- out

const KIB: usize = 1 << 10;

/// Arguments as they are handed to a connection: what was encoded, and what stands elsewhere.
fn encoded_aside<T: Serialize>(value: &T, limit: usize) -> Result<(Vec<u8>, Option<Box<Segments>>), Error> {
    // As replies are, behind others.
    let (mut out, mut aside) = (b"before".to_vec(), None);
    let result = encode_arguments(value, Encoding::Postcard, limit, &mut out, Some(&mut aside));
    assert_eq!(&out[..6], b"before");
    match result {
        Ok(()) => Ok((out.split_off(6), aside)),
        Err(error) => {
            assert!(out.len() == 6 && aside.is_none(), "all or nothing");
            Err(error)
        }
    }
}

/// What of it leaves, piece by piece.
fn pieces(encoded: Vec<u8>, aside: Option<Box<Segments>>) -> Vec<bytes::Bytes> {
    let mut rope = Rope::new(encoded.into(), aside);
    std::iter::from_fn(|| (!rope.is_empty()).then(|| rope.take(usize::MAX))).collect()
}

#[derive(Serialize, Deserialize)]
struct Copied {
    name: String,
    first: serde_bytes::ByteBuf,
    second: Option<serde_bytes::ByteBuf>,
    list: Vec<serde_bytes::ByteBuf>,
    number: u64,
}

#[derive(Serialize, Deserialize)]
struct Set {
    name: String,
    first: Shared,
    second: Option<Shared>,
    list: Vec<Shared>,
    number: u64,
}

#[test]
fn what_travels_is_what_travels_of_any_bytes() {
    for length in [0, 1, 10, 127, 128, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, MIB] {
        let bytes = pattern(length);
        let copied = serde_bytes::ByteBuf::from(bytes.clone());
        let shared = Shared::from(bytes);
        let one = pieces_of(&(&shared,)).concat();
        assert!(one == encoded(&(&copied,), Encoding::Postcard), "{length} bytes alone");
        let name = "name".to_owned();
        let set = Set { name: name.clone(), first: shared.clone(), second: Some(shared.clone()), list: vec![shared; 3], number: 1 << 40 };
        let plain = Copied { name, first: copied.clone(), second: Some(copied.clone()), list: vec![copied; 3], number: 1 << 40 };
        let travels = pieces_of(&(set,)).concat();
        assert!(travels == encoded(&(&plain,), Encoding::Postcard), "{length} bytes among others");
        // Either reads the other's.
        let (read,): (Copied,) = decode::from_slice(&travels, Budget::default()).expect("the same type");
        assert!(read.first == plain.first && read.list == plain.list && read.number == plain.number && read.name == plain.name);
        let (body, _) = owned(encoded(&(&plain,), Encoding::Postcard));
        let (read,): (Set,) = decode_arguments(&body, &NOTE).expect("the same type");
        assert!(read.second.as_deref() == plain.second.as_ref().map(|bytes| &bytes[..]));
    }
}

fn pieces_of<T: Serialize>(value: &T) -> Vec<bytes::Bytes> {
    let (out, aside) = encoded_aside(value, 16 * MIB).expect("it can be encoded");
    pieces(out, aside)
}

#[test]
fn large_ones_leave_from_where_they_are() {
    let large = Shared::from(pattern(64 * KIB + 1));
    let small = Shared::from(pattern(64 * KIB));
    let (out, aside) = encoded_aside(&(&small, &large, 7u8, Some(&large)), MIB).expect("it can be encoded");
    assert_eq!(aside.as_ref().map(|segments| segments.len()), Some(2 * large.len()));
    let places: Vec<_> = pieces(out, aside).iter().filter(|piece| piece.len() == large.len()).map(|piece| place(piece)).collect();
    assert_eq!(places, [place(&large); 2]);
    // Not items, nor JSON, which stand in buffers.
    let mut out = Vec::new();
    encode_item(&large, MIB, &mut out).expect("an item");
    assert!(out.ends_with(&large));
}

#[test]
fn results_are_taken_apart_and_set_aside() {
    fn returned<R: Serialize>(result: &R) -> (bool, Vec<u8>) {
        let mut out = Vec::new();
        match encode_returned(result, Results::default, Encoding::Postcard, 2 * MIB, &mut out) {
            Outcome::SegmentedValue(segments) => (false, pieces(out, Some(segments)).concat()),
            Outcome::SegmentedFailed(segments) => (true, pieces(out, Some(segments)).concat()),
            outcome => panic!("{outcome:?}"),
        }
    }
    let large = Shared::from(pattern(MIB));
    let bytes = encoded(&large, Encoding::Postcard);
    assert!(returned(&large) == (false, bytes.clone()));
    assert!(returned(&Ok::<_, String>(large.clone())) == (false, bytes.clone()));
    assert!(returned(&Err::<String, _>(large)) == (true, bytes));
}

#[test]
fn a_limit_counts_what_is_set_aside() {
    let (shared, copied) = (Shared::from(pattern(MIB)), serde_bytes::ByteBuf::from(pattern(MIB)));
    let length = encoded(&(1u8, &copied, 2u8), Encoding::Postcard).len();
    assert_eq!(encoded_aside(&(1u8, &shared, 2u8), length).map(|(out, aside)| pieces(out, aside).concat().len()).ok(), Some(length));
    for limit in [length - 1, length - 2, MIB, MIB - 1, 10, 0] {
        let of_shared = encoded_aside(&(1u8, &shared, 2u8), limit).expect_err("above the limit");
        let of_copied = encoded_aside(&(1u8, &copied, 2u8), limit).expect_err("above the limit");
        assert_eq!((of_shared.kind(), of_shared.message()), (of_copied.kind(), of_copied.message()));
    }
}

/// Encodes a message of its own while it is encoded, and then says no, or panics.
enum Wild<'a> {
    Nests(&'a Shared, &'a Shared),
    Refuses(&'a Shared),
    Panics(&'a Shared),
}

impl Serialize for Wild<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nests(outer, inner) => {
                let of_inner = pieces_of(&(inner,));
                assert!(of_inner.iter().any(|piece| place(piece) == place(inner)), "the inner message takes its own");
                assert!(pieces_of(&(&inner[..],)).iter().all(|piece| place(piece) != place(inner)), "a slice that nobody offers is copied");
                outer.serialize(serializer)
            }
            Self::Refuses(bytes) => {
                (bytes, Self::Nests(bytes, bytes)).serialize(serializer)?;
                Err(ser::Error::custom("no"))
            }
            Self::Panics(bytes) => {
                bytes.serialize(serializer)?;
                panic!("a type's own fault")
            }
        }
    }
}

#[test]
fn messages_may_be_written_within_messages_and_nothing_stays_of_those_that_fail() {
    let sign = Arc::new(());
    let held = || Arc::strong_count(&sign) - 1;
    let watched = |length| Shared::from(bytes::Bytes::from_owner(Watched(pattern(length), sign.clone())));
    let (outer, inner) = (watched(MIB), watched(2 * MIB));
    let travels = pieces_of(&(&inner, Wild::Nests(&outer, &inner), &outer));
    assert!(travels.iter().filter(|piece| place(piece) == place(&outer)).count() == 2);
    let [copied_inner, copied_outer] = [&inner, &outer].map(|bytes| serde_bytes::Bytes::new(bytes));
    assert!(travels.concat() == encoded(&(copied_inner, copied_outer, copied_outer), Encoding::Postcard));
    drop(travels);
    encoded_aside(&(Wild::Refuses(&outer),), 16 * MIB).expect_err("it says no");
    let panicked = catch_unwind(AssertUnwindSafe(|| encoded_aside(&(Wild::Panics(&outer),), 16 * MIB).map(drop)));
    assert!(panicked.is_err());
    let other = watched(MIB);
    assert_eq!(held(), 3);
    drop((outer, inner, other));
    assert_eq!(held(), 0, "nobody else holds them");
}

/// Bytes may be a user's, whose `Drop` is user code: it may panic, and nobody who sends them minds.
#[test]
fn an_owner_that_panics_when_it_is_dropped_harms_nobody() {
    struct Bomb(Vec<u8>);
    impl AsRef<[u8]> for Bomb {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "boom");
        }
    }
    let bytes = Shared::from(bytes::Bytes::from_owner(Bomb(pattern(MIB))));
    let (out, aside) = encoded_aside(&(&bytes,), 2 * MIB).expect("it can be encoded");
    // Not the last, so nothing happens yet.
    drop(bytes);
    assert_eq!(pieces(out, aside).len(), 2);
}
