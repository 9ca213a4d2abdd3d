//! What a method returned becomes an outcome and a payload, within a limit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Serializer, ser};

use super::*;

/// As a handler gives it, whose service has no schema.
fn returned<R: Serialize + ?Sized>(result: &R, encoding: Encoding, limit: usize, out: &mut Vec<u8>) -> Outcome {
    #[cfg(feature = "json")]
    if encoding == Encoding::Json {
        return encode_untraced(result, encoding, limit, out);
    }
    encode_returned(result, Results::default, encoding, limit, out)
}

#[derive(Debug)]
enum Kind {
    Value,
    Failed,
}

/// The payload of a result has to be the bytes of `inner`.
fn taken_apart<R: Serialize, T: Serialize + ?Sized>(result: &R, expected: &Kind, inner: &T) {
    for &encoding in ENCODINGS {
        let mut out = b"before".to_vec();
        let outcome = returned(result, encoding, MIB, &mut out);
        assert!(matches!((&outcome, expected), (Outcome::Value, Kind::Value) | (Outcome::Failed, Kind::Failed)), "{outcome:?}");
        let mut plain = b"before".to_vec();
        plain.extend(encoded(inner, encoding));
        assert_eq!(out, plain, "{encoding:?}");
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Transparent(Result<u8, String>);

#[derive(Serialize)]
#[serde(rename = "Result", rename_all = "UPPERCASE")]
enum Renamed {
    Ok(u8),
}

mod own {
    #[derive(serde::Serialize)]
    pub(super) enum Result {
        Ok(u8),
        Err(u8),
    }
}

#[test]
fn only_a_result_at_the_top_is_taken_apart() {
    type Io<T> = Result<T, String>;
    taken_apart(&Ok::<u32, String>(300), &Kind::Value, &300u32);
    taken_apart(&Err::<u32, _>("no".to_owned()), &Kind::Failed, "no");
    taken_apart(&Io::<Order>::Ok(Order::sample()), &Kind::Value, &Order::sample());
    taken_apart(&Err::<(), Currency>(Currency::Eur), &Kind::Failed, &Currency::Eur);
    taken_apart(&Ok::<(), ()>(()), &Kind::Value, &());
    taken_apart(&&Err::<u8, u8>(1), &Kind::Failed, &1u8);
    taken_apart(&5u8, &Kind::Value, &5u8);
    taken_apart(&Order::sample(), &Kind::Value, &Order::sample());
    taken_apart(&(), &Kind::Value, &());
}

#[test]
fn a_result_inside_another_value_travels_whole() {
    let inner: Result<u8, String> = Err("inner".into());
    let outer: Result<Result<u8, String>, u8> = Ok(inner.clone());
    taken_apart(&outer, &Kind::Value, &inner);
    taken_apart(&Err::<u8, _>(inner.clone()), &Kind::Failed, &inner);
    taken_apart(&Some(inner.clone()), &Kind::Value, &Some(inner.clone()));
    taken_apart(&(inner.clone(),), &Kind::Value, &(inner.clone(),));
    taken_apart(&vec![inner.clone()], &Kind::Value, &vec![inner]);
}

/// Their readers do not know that these are results.
#[test]
fn what_only_looks_like_a_result_travels_whole() {
    for &encoding in ENCODINGS {
        let plain = encoded(&Err::<u8, _>("x".to_owned()), encoding);
        let mut out = Vec::new();
        assert!(matches!(returned(&Transparent(Err("x".into())), encoding, MIB, &mut out), Outcome::Value));
        assert_eq!(out, plain);
        out.clear();
        assert!(matches!(returned(&Box::new(Err::<u8, _>("x")), encoding, MIB, &mut out), Outcome::Value));
        assert_eq!(out, plain);
    }
    taken_apart(&Renamed::Ok(3), &Kind::Value, &Renamed::Ok(3));
    taken_apart(&own::Result::Ok(3), &Kind::Value, &own::Result::Ok(3));
    taken_apart(&own::Result::Err(3), &Kind::Value, &own::Result::Err(3));
}

#[test]
fn a_reply_may_be_as_long_as_the_limit_and_no_longer() {
    for &encoding in ENCODINGS {
        let value = Ok::<_, ()>("x".repeat(1000));
        let length = encoded(&"x".repeat(1000), encoding).len();
        let mut out = vec![9; 50];
        assert!(matches!(returned(&value, encoding, length, &mut out), Outcome::Value));
        assert_eq!(out.len(), 50 + length);
        out.truncate(50);
        for limit in [0, 1, 2, 500, length - 1] {
            let Outcome::Error(error) = returned(&value, encoding, limit, &mut out) else { panic!("above the limit") };
            assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::Yes));
            assert!(error.message().contains("Limits::max_message"), "{error}");
            assert_eq!(out, vec![9; 50]);
        }
    }
}

#[test]
fn arguments_have_a_limit_too() {
    for &encoding in ENCODINGS {
        let mut out = b"frame".to_vec();
        let error = encode_arguments(&(vec![1u8; 5 << 10],), encoding, 4 << 10, &mut out, None).expect_err("above the limit");
        assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::No));
        assert_eq!(error.message(), "arguments above the limit of 4 KiB (Limits::max_message)");
        assert_eq!(out, b"frame");
        encode_arguments(&(vec![1u8; 100],), encoding, usize::MAX, &mut out, None).expect("no limit, and no overflow");
    }
}

/// How a value may misbehave while it is written.
enum Bad {
    Refuses,
    Panics,
    Swallows,
}

impl Serialize for Bad {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use ser::SerializeSeq;
        let mut seq = serializer.serialize_seq(Some(2))?;
        seq.serialize_element(&1u8)?;
        match self {
            Self::Refuses => Err(ser::Error::custom("not today")),
            Self::Panics => panic!("in Serialize"),
            Self::Swallows => {
                let _ = seq.serialize_element("much longer than the limit");
                seq.end()
            }
        }
    }
}

/// Conformance 31: a reply that cannot be encoded.
#[test]
fn a_value_that_cannot_be_encoded_leaves_nothing() {
    for &encoding in ENCODINGS {
        let mut out = vec![1];
        let Outcome::Error(error) = returned(&Ok::<_, ()>(Bad::Refuses), encoding, MIB, &mut out) else { panic!("it refuses") };
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes));
        let error = encode_arguments(&(Bad::Refuses,), encoding, MIB, &mut out, None).expect_err("it refuses");
        assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
        let Outcome::Error(error) = returned(&Bad::Swallows, encoding, 8, &mut out) else { panic!("above the limit") };
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let panicked = catch_unwind(AssertUnwindSafe(|| returned(&Bad::Panics, encoding, MIB, &mut out)));
        assert!(panicked.is_err());
        assert_eq!(out, [1]);
    }
}

#[test]
fn a_sequence_of_unknown_length_says_so() {
    struct Unknown;
    impl Serialize for Unknown {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            ser::SerializeSeq::end(serializer.serialize_seq(None)?)
        }
    }
    let Outcome::Error(error) = returned(&Unknown, Encoding::Postcard, MIB, &mut Vec::new()) else { panic!("postcard cannot") };
    assert!(error.message().contains("unknown length"), "{error}");
}

/// By schema: the same outcome, the JSON of the forms, and the limit of the JSON, not of what it is made from.
#[cfg(feature = "json")]
#[test]
fn a_result_is_written_by_its_schema() {
    use crate::schema::Node;
    static NODES: &[Node] = &[Node::U64, Node::Bytes, Node::Unit, Node::F64, Node::Seq(3), Node::Map(2, 2)];
    let types = |root| Some(Types { nodes: NODES, root });
    fn json<R: Serialize>(result: &R, own: Results, limit: usize) -> (bool, Result<String, encode::Unwritten>) {
        let mut out = b"before".to_vec();
        let (failed, written) = encode::encode_result_by(result, own, limit, &mut out);
        let text = String::from_utf8(out).expect("JSON is text");
        let text = text.strip_prefix("before").expect("what was there stays").to_owned();
        assert!(written.is_ok() || text.is_empty(), "nothing is left of what failed");
        (failed, written.map(|()| text))
    }
    let own = Results { returns: types(0), error: types(1), download: None };
    let ok: Result<u64, Bytes<'_>> = Ok(u64::MAX);
    assert!(matches!(json(&ok, own, 100), (false, Ok(text)) if text == "\"18446744073709551615\""));
    assert!(matches!(json(&ok, own, 22), (false, Ok(_))));
    assert!(matches!(json(&ok, own, 21), (false, Err(encode::Unwritten::TooLong))));
    let failed: Result<u64, Bytes<'_>> = Err(Bytes(vec![1, 2, 255].into()));
    assert!(matches!(json(&failed, own, 100), (true, Ok(text)) if text == "\"AQL/\""));
    assert!(matches!(json(&7_u64, own, 1), (false, Ok(text)) if text == "7"));
    assert!(matches!(json(&(), Results { returns: types(2), error: None, download: None }, 4), (false, Ok(text)) if text == "null"));
    // The longest postcard for the shortest JSON.
    let zeros = vec![0.0; 1000];
    assert!(matches!(json(&zeros, Results { returns: types(4), error: None, download: None }, 4001), (false, Ok(text)) if text.len() == 4001));
    assert!(matches!(json(&zeros, Results { returns: types(4), error: None, download: None }, 4000), (false, Err(encode::Unwritten::TooLong))));
    // What cannot be written, and what the schema does not have.
    let map = BTreeMap::from([((), ())]);
    assert!(
        matches!(json(&map, Results { returns: types(5), error: None, download: None }, 100), (false, Err(encode::Unwritten::Type(text))) if text.contains("key"))
    );
    assert!(matches!(json(&failed, Results { returns: types(0), error: None, download: None }, 100), (true, Err(encode::Unwritten::Type(_)))));
    assert!(matches!(json(&Bad::Refuses, own, 100), (false, Err(encode::Unwritten::Type(_)))));
}
