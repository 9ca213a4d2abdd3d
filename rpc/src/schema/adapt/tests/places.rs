//! Where borrowed data points, and where errors say they are.

use serde::Deserialize;

use super::types::*;
use super::*;
use crate::frame::payload::{Bytes as BorrowedBytes, CowStr};

#[derive(Debug, Deserialize)]
struct Borrowing<'a> {
    #[serde(default)]
    added: u8,
    bytes: &'a [u8],
    text: &'a str,
}

/// Whether one lies in the other.
fn within(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

#[test]
fn texts_and_bytes_are_borrowed_from_the_message() {
    let writer = peer(&structure("Written", [("text", Str), ("bytes", Bytes), ("gone", U64)]));
    let message = bytes_of(&("some text", serde_bytes::Bytes::new(b"some bytes"), u64::MAX));
    let read: Borrowing<'_> = value(&writer, 0, &message, Budget::default()).expect("it adapts");
    assert_eq!((read.added, read.text, read.bytes), (0, "some text", &b"some bytes"[..]));
    assert!(within(read.text.as_bytes(), &message) && within(read.bytes, &message));
}

#[test]
fn lists_and_arrays_of_octets_are_borrowed_as_bytes() {
    for node in [seq(U8), tuple(vec![U8; 3])] {
        let writer = peer(&tuple([node.clone(), Char]));
        let message = if matches!(node, Type::Seq(_)) { bytes_of(&(vec![1_u8, 2, 3], 'c')) } else { bytes_of(&([1_u8, 2, 3], 'c')) };
        let (bytes, letter): (&[u8], &str) = value(&writer, 0, &message, Budget::default()).expect("it adapts");
        assert_eq!((bytes, letter), (&[1, 2, 3][..], "c"));
        assert!(within(bytes, &message) && within(letter.as_bytes(), &message));
    }
}

fn signature(arguments: impl IntoIterator<Item = (&'static str, Type)>) -> Peer {
    let mut types = Types::default();
    let arguments = arguments.into_iter().map(|(name, node)| (name.to_owned(), types.add(&node))).collect();
    let method = Signature { name: "pay".into(), arguments, upload: None, returns: None, error: None, download: None };
    sent(Schema { methods: vec![method], nodes: types.nodes() })
}

fn called<'de, A: Deserialize<'de>>(writer: &'de Peer, names: &'static [&'static str], message: &'de [u8]) -> Result<A, String> {
    let method = writer.method("pay").expect("it is the only one");
    arguments(writer, method, names, message, Budget::default()).map_err(|fault| fault.to_string())
}

#[test]
fn arguments_go_by_name() {
    let writer = signature([("order", U32), ("note", Str), ("key", option(Str))]);
    let message = bytes_of(&(300_u32, "hello", Some("k")));
    assert_eq!(called(&writer, &["order", "note", "key"], &message), Ok((300_u64, "hello", Some("k"))), "the same");
    assert_eq!(called(&writer, &["key", "note", "order"], &message), Ok(("k", "hello", 300_u16)), "in another order");
    assert_eq!(called(&writer, &["note"], &message), Ok(("hello",)), "fewer");
    assert_eq!(called(&writer, &[], &message), Ok(()), "none");
    assert_eq!(called(&writer, &["order", "more"], &message), Ok((300_u32, None::<String>)), "one that may be missing");
    assert_eq!(called::<(u32, u8)>(&writer, &["order", "more"], &message), Err("more: missing field `more`".into()));
}

#[test]
fn borrowed_arguments_point_into_the_message() {
    let writer = signature([("bytes", Bytes), ("note", Str)]);
    let message = bytes_of(&(serde_bytes::Bytes::new(b"bytes"), "text"));
    let (note, bytes): (CowStr<'_>, BorrowedBytes<'_>) = called(&writer, &["note", "bytes"], &message).expect("both are there");
    assert!(within(note.0.as_bytes(), &message) && within(&bytes.0, &message));
}

#[test]
fn arguments_end_with_the_message() {
    let writer = signature([("a", U8), ("b", U8)]);
    for names in [&["a", "b"][..], &["b", "a"], &["b"], &[]] {
        let read = |message| match names.len() {
            2 => called::<(u8, u8)>(&writer, names, message).map(drop),
            1 => called::<(u8,)>(&writer, names, message).map(drop),
            _ => called::<()>(&writer, names, message),
        };
        assert_eq!(read(&[1, 2]), Ok(()), "{names:?}");
        assert!(read(&[1, 2, 3]).is_err_and(|text| text.contains("1 bytes follow the value")), "{names:?}");
        assert!(read(&[1]).is_err_and(|text| text.contains("the bytes end inside the value")), "{names:?}");
    }
}

#[derive(Debug, Deserialize)]
struct Narrow {
    #[expect(dead_code, reason = "it is not reached")]
    lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
struct Line {
    #[expect(dead_code, reason = "it is not reached")]
    qty: u8,
}

#[test]
fn errors_say_where_they_are() {
    let line = |qty| structure("Line", [("sku", Str), ("qty", qty)]);
    let order = structure("Order", [("id", U64), ("lines", seq(line(U32)))]);
    let lines = vec![("a", 1_u32), ("b", 2), ("c", 70_000)];
    let text = "lines[2].qty: invalid value: integer `70000`, expected u8";
    assert_eq!(read::<Narrow>(&order, &bytes_of(&(1_u64, &lines))).map(drop), Err(text.to_owned()));
    let writer = signature([("order", order)]);
    assert_eq!(called::<(Narrow,)>(&writer, &["order"], &bytes_of(&((1_u64, &lines),))).map(drop), Err(format!("order.{text}")));
}
