//! What goes in comes out: owned, borrowed, both encodings.

use std::borrow::Cow;
use std::collections::HashSet;

use super::*;

fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    for &encoding in ENCODINGS {
        let back: T = decode_reply(&encoded(value, encoding), encoding, Budget::default()).expect("it was just encoded");
        assert_eq!(&back, value, "{encoding:?}");
    }
}

#[test]
fn values_of_every_kind_come_back() {
    there_and_back(&(true, 'ß', -5i8, 6u8, "", String::from("text"), ()).5);
    there_and_back(&(i8::MIN, i16::MIN, i32::MIN, i64::MIN));
    there_and_back(&(i8::MAX, i16::MAX, i32::MAX, i64::MAX));
    there_and_back(&(u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, i128::MIN));
    there_and_back(&(1.5f32, -0.25f64, 'x', '\u{1f600}', false));
    there_and_back(&(Some(Some(3u8)), None::<u8>, Box::new(4u8), ((), [(); 0])).0);
    there_and_back(&vec![Order::sample(), Order { payment: Payment::Transfer("x".into(), None), ..Order::sample() }]);
    there_and_back(&Payment::Newtype(Box::new(Order::sample().lines.remove(1))));
    there_and_back(&HashSet::from([Some(1u32), None]));
    there_and_back(&HashMap::from([(7u64, vec![Currency::Usd, Currency::Other("CHF".into())]), (0, vec![])]));
    there_and_back(&Expression::Sum(Box::new(Expression::Number(1)), Box::new(Expression::All { of: vec![], named: BTreeMap::new() })));
    there_and_back(&vec![(); 1000]);
    there_and_back(&"x".repeat(100_000));
    there_and_back(&(0..100_000u32).map(|n| n.wrapping_mul(2_654_435_761)).collect::<Vec<_>>());
}

#[test]
fn ours_are_the_bytes_of_postcard() {
    let order = Order::sample();
    assert_eq!(encoded(&order, Encoding::Postcard), postcard::to_stdvec(&order).expect("an order is plain data"));
}

#[test]
fn arguments_may_borrow_from_the_body() {
    for &encoding in ENCODINGS {
        let sent = (CowStr("plain".into()), CowStr("cow".into()), Some("some"), Bytes(Cow::Borrowed(&[1, 2, 255])), 7u8);
        let method: &'static Method = &Method { name: "all", arguments: &["a", "b", "c", "d", "e"], ..Method::DEFAULT };
        let body = Body::new(encoded(&sent, encoding), encoding, Budget::default(), method, None).expect("five arguments");
        let got: (&str, CowStr<'_>, Option<&str>, Bytes<'_>, u8) = decode_arguments(&body, method).expect("these types");
        assert_eq!((got.0, &*got.1.0, got.2, &*got.3.0, got.4), ("plain", "cow", Some("some"), &[1, 2, 255][..], 7));
        assert!(matches!(got.1.0, Cow::Borrowed(_)), "{encoding:?}: a text without escapes is not copied");
        assert_eq!(body.encoding(), encoding);
    }
}

#[test]
fn bytes_are_written_at_once_and_borrowed() {
    let sent = vec![7u8; 5000];
    let body = postcard_body(&encoded(&(Bytes(Cow::Borrowed(&sent)),), Encoding::Postcard));
    let (got,): (Bytes<'_>,) = decode_arguments(&body, &NOTE).expect("bytes");
    assert!(matches!(got.0, Cow::Borrowed(bytes) if bytes == sent));
    let (got,): (&[u8],) = decode_arguments(&body, &NOTE).expect("serde's own slice is written alike");
    assert_eq!(got, sent);
}

#[test]
fn a_body_keeps_its_buffer_for_the_next_call_unless_it_is_large() {
    let bytes = encoded(&("text",), Encoding::Postcard);
    let mut body = Body::default();
    body.own(bytes.clone(), Encoding::Postcard, Budget::default());
    body.clear();
    assert_eq!(body.bytes.len(), 0);
    body.fill(&bytes, Budget::default());
    let (got,): (String,) = decode_arguments(&body, &NOTE).expect("the second call's");
    assert_eq!(got, "text");
    for encoding in ENCODINGS {
        body.own(vec![0; 100 << 10], *encoding, Budget::default());
        body.clear();
        assert!(body.capacity() <= KEPT_BY_BODY);
        body.fill(&bytes, Budget::default());
        let (got,): (String,) = decode_arguments(&body, &NOTE).expect("the next call's");
        assert_eq!(got, "text");
        body.clear();
    }
}

#[test]
fn an_empty_body_is_no_arguments() {
    let () = decode_arguments(&Body::default(), &PING).expect("nothing was sent, nothing is expected");
    assert!(encoded(&(), Encoding::Postcard).is_empty());
}

#[cfg(not(feature = "json"))]
#[test]
fn json_without_the_feature_is_unimplemented() {
    let error = Body::new(b"[]".to_vec(), Encoding::Json, Budget::default(), &PING, None).expect_err("there is no JSON");
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No));
    assert!(error.message().contains("ping") && error.message().contains("built without the json feature"));
    assert!(decode_reply::<u8>(b"1", Encoding::Json, Budget::default()).is_err());
    assert!(encode_arguments(&1, Encoding::Json, 10, &mut Vec::new(), None).is_err());
    assert!(matches!(encode_returned(&1, Results::default, Encoding::Json, 10, &mut Vec::new()), Outcome::Error(_)));
}
