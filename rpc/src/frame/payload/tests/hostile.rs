//! Bytes of a stranger. Cases 35 to 38 of the conformance list.

use std::collections::{BTreeSet, LinkedList};
use std::time::{Duration, Instant};

use super::*;

/// A sequence or map that declares `count` and goes on with `rest`.
fn declare(count: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = encoded(&count, Encoding::Postcard);
    bytes.extend_from_slice(rest);
    bytes
}

/// As many of these elements as 4 MiB hold.
fn full(element: &[u8]) -> Vec<u8> {
    let count = 4 * MIB / element.len() - 4;
    declare(count as u64, &element.repeat(count))
}

/// On a stack of 2 MiB, such as tokio's workers have.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(2 * MIB).spawn(test).expect("a thread").join().expect("no panic");
}

#[derive(Debug, Deserialize)]
struct Unit;

#[derive(Debug, Deserialize)]
struct Skipped {
    #[serde(skip)]
    _nothing: u64,
}

/// Conformance 35: zst_bomb.
#[test]
fn units_without_number_are_refused_at_once() {
    let begun = Instant::now();
    for count in [1 << 63, u64::MAX, 1 << 32, EMPTY_ELEMENTS as u64 + 1] {
        let bytes = declare(count, &[]);
        assert!(bytes.len() <= 10);
        assert_eq!(refusal::<Vec<()>>(&bytes), ErrorKind::TooLarge);
        assert_eq!(refusal::<Vec<Unit>>(&bytes), ErrorKind::TooLarge);
        assert_eq!(refusal::<Vec<((), [(); 5])>>(&bytes), ErrorKind::TooLarge);
        assert_eq!(refusal::<BTreeMap<(), ()>>(&bytes), ErrorKind::TooLarge);
        assert_eq!(refusal::<LinkedList<()>>(&bytes), ErrorKind::TooLarge);
        assert_eq!(refusal::<(u8, Vec<()>)>(&[&[0], &bytes[..]].concat()), ErrorKind::TooLarge);
        assert_eq!(refusal::<Vec<Skipped>>(&bytes), ErrorKind::Malformed);
    }
    // The figure is 10 ms for one; here are 28, and the machine may be busy.
    assert!(begun.elapsed() < Duration::from_millis(280));
    let lists = declare(1000, &declare(1100, &[]).repeat(1000));
    assert_eq!(refusal::<Vec<Vec<()>>>(&lists), ErrorKind::TooLarge, "all of them together");
    assert_eq!(reply::<Vec<()>>(&declare(EMPTY_ELEMENTS as u64, &[])).expect("as many as are allowed").len(), EMPTY_ELEMENTS);
}

fn too_deep<T: DeserializeOwned + std::fmt::Debug>(bytes: &[u8]) {
    let error = reply::<T>(bytes).expect_err("too deep");
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.message().contains("128 (Limits::max_depth)"), "{error}");
}

#[derive(Debug, Deserialize)]
struct Newtype(#[expect(dead_code, reason = "only its depth counts")] Option<Box<Newtype>>);

#[derive(Debug, Deserialize)]
struct Endless(#[expect(dead_code, reason = "only its depth counts")] Box<Endless>);

#[derive(Debug, Deserialize)]
struct Lists(#[expect(dead_code, reason = "only its depth counts")] Vec<Lists>);

#[derive(Debug, Deserialize)]
struct Maps(#[expect(dead_code, reason = "only its depth counts")] HashMap<u8, (u8, Maps)>);

/// Conformance 36: depth_bomb.
#[test]
fn a_mebibyte_of_nesting_is_refused() {
    on_a_small_stack(|| {
        let ones = vec![1; MIB];
        too_deep::<Tree>(&ones);
        too_deep::<Chain>(&ones);
        too_deep::<Newtype>(&ones);
        too_deep::<Endless>(&ones);
        too_deep::<Lists>(&ones);
        too_deep::<Maps>(&ones);
        too_deep::<Expression>(&ones);
        too_deep::<Option<Box<Tree>>>(&ones);
    });
}

#[test]
fn values_nest_as_deep_as_the_limit() {
    on_a_small_stack(|| {
        let tree = |nodes: usize| [vec![1; nodes], vec![0]].concat();
        reply::<Tree>(&tree(127)).expect("128 levels");
        too_deep::<Tree>(&tree(128));
        reply::<Chain>(&tree(63)).expect("64 structs and 63 options");
        too_deep::<Chain>(&tree(64));
        let budget = Budget { depth: 3, ..Budget::default() };
        assert!(decode_reply::<Vec<Vec<Vec<u8>>>>(&[1, 1, 1, 1], Encoding::Postcard, budget).is_ok());
        assert!(decode_reply::<Vec<Vec<Vec<Vec<u8>>>>>(&[1, 1, 1, 0], Encoding::Postcard, budget).is_err());
    });
}

/// Conformance 37: amplification. What is decoded, or was before the refusal, stays within the budget by our account;
/// that the account is not below the truth was measured with a counting allocator.
#[test]
fn four_mebibytes_do_not_become_more_than_sixty_four() {
    assert_eq!(refusal::<Wide>(&full(&[0])), ErrorKind::TooLarge);
    assert_eq!(refusal::<Vec<Box<Option<[u64; 32]>>>>(&full(&[0])), ErrorKind::TooLarge);
    assert_eq!(refusal::<Vec<Vec<u8>>>(&full(&[0])), ErrorKind::TooLarge);
    assert_eq!(refusal::<Vec<Vec<Vec<u8>>>>(&full(&[1, 0])), ErrorKind::TooLarge);
    assert_eq!(refusal::<Vec<HashMap<u8, Option<[u64; 32]>>>>(&full(&[1, 0, 0])), ErrorKind::TooLarge);
    assert_eq!(refusal::<Vec<BTreeMap<u8, u8>>>(&full(&[1, 0, 0])), ErrorKind::TooLarge);
    assert_eq!(refusal::<Vec<BTreeSet<u8>>>(&full(&[1, 0])), ErrorKind::TooLarge);
    assert_eq!(refusal::<LinkedList<u8>>(&full(&[0])), ErrorKind::TooLarge);
    assert_eq!(refusal::<Vec<Expression>>(&full(&[1, 0, 0, 0, 0])), ErrorKind::TooLarge);
    let error = reply::<Wide>(&full(&[0])).expect_err("too large");
    assert_eq!(error.message(), "reply above the limit of 64 MiB when decoded (Limits::max_decoded)");
}

#[test]
fn four_mebibytes_of_plain_data_are_welcome() {
    assert_eq!(reply::<Vec<u64>>(&full(&[0])).expect("eight times as large").len(), 4 * MIB - 4);
    let line = Line { sku: "sku".into(), qty: 1, price: 1 };
    assert!(reply::<Vec<Line>>(&full(&encoded(&line, Encoding::Postcard))).is_ok());
    let order = encoded(&Order::sample(), Encoding::Postcard);
    assert!(reply::<Vec<Order>>(&full(&order)).is_ok());
    assert!(reply::<String>(&declare(4 * MIB as u64, &vec![b'x'; 4 * MIB])).is_ok());
}

#[test]
fn a_tree_set_pays_for_its_node() {
    let budget = |bytes| Budget { bytes, depth: 128 };
    let (one, value) = (declare(1, &[0; 32]), 256);
    assert!(decode_reply::<Vec<[u64; 32]>>(&one, Encoding::Postcard, budget(one.len() + value)).is_ok());
    assert!(decode_reply::<Vec<[u64; 32]>>(&one, Encoding::Postcard, budget(one.len() + value - 1)).is_err());
    assert!(decode_reply::<BTreeSet<[u64; 32]>>(&one, Encoding::Postcard, budget(one.len() + 11 * value)).is_err(), "the type's name is known");
}

#[test]
fn nothing_is_reserved_on_a_declared_length_alone() {
    #[derive(Debug)]
    struct Asked;
    impl<'de> Deserialize<'de> for Asked {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Asked;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a list")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Asked, A::Error> {
                    assert_eq!(seq.size_hint(), Some(0));
                    seq.next_element::<u8>().map(|_| Asked)
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Asked, A::Error> {
                    assert_eq!(map.size_hint(), Some(0));
                    map.next_key::<u8>().map(|_| Asked)
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    assert_eq!(refusal::<Asked>(&declare(1 << 40, &[1, 2, 3])), ErrorKind::Malformed);
    let error = reply::<Vec<u8>>(&declare(300, &[1, 2, 3])).expect_err("300 are not there");
    assert_eq!(error.message(), "malformed reply: 300 elements are declared, but only 3 bytes are left");
}

/// Conformance 38: bad UTF-8, bad enum tag, overlong varint, trailing bytes.
#[test]
fn bytes_that_mean_nothing_are_malformed() {
    assert_eq!(refusal::<String>(&[2, 0xff, 0xfe]), ErrorKind::Malformed);
    assert_eq!(refusal::<char>(&[1, 0xff]), ErrorKind::Malformed);
    assert_eq!(refusal::<char>(&[5, b'a', b'a', b'a', b'a', b'a']), ErrorKind::Malformed);
    assert_eq!(refusal::<char>(&[0]), ErrorKind::Malformed);
    assert_eq!(refusal::<Currency>(&[3]), ErrorKind::Malformed);
    assert_eq!(refusal::<Currency>(&[0xff, 0xff, 0xff, 0xff, 0x0f]), ErrorKind::Malformed);
    assert_eq!(refusal::<bool>(&[2]), ErrorKind::Malformed);
    assert_eq!(refusal::<Option<u8>>(&[2, 0]), ErrorKind::Malformed);
    assert_eq!(refusal::<u16>(&[0x80, 0x80, 0x04]), ErrorKind::Malformed);
    assert_eq!(refusal::<u16>(&[0x80, 0x80, 0x80, 0x00]), ErrorKind::Malformed);
    assert_eq!(refusal::<u64>(&[0xff; 11]), ErrorKind::Malformed);
    assert_eq!(refusal::<Vec<u8>>(&[0xff; 16]), ErrorKind::Malformed);
    assert_eq!(refusal::<u128>(&[0xff; 19]), ErrorKind::Malformed);
    assert_eq!(refusal::<u8>(&[1, 2]), ErrorKind::Malformed);
    assert_eq!(refusal::<()>(&[0]), ErrorKind::Malformed);
    assert_eq!(refusal::<(f64, u8)>(&[0; 8]), ErrorKind::Malformed);
    assert_eq!(refusal::<String>(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), ErrorKind::Malformed);
    assert_eq!(refusal::<std::num::NonZeroU8>(&[0]), ErrorKind::Malformed);
}

#[test]
fn errors_name_the_method_and_stay_short() {
    let body = postcard_body(&[1, 2, 3]);
    let error = decode_arguments::<(u8,)>(&body, &NOTE).expect_err("two bytes too many");
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::No));
    assert_eq!(error.message(), "note: malformed arguments: 2 bytes follow the value");
    let error = decode_arguments::<(Currency,)>(&postcard_body(&[7]), &NOTE).expect_err("three variants");
    assert!(error.message().contains("expected variant index 0 <= i < 3"), "{error}");

    #[derive(Debug)]
    struct Quotes;
    impl<'de> Deserialize<'de> for Quotes {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = <&str>::deserialize(deserializer)?;
            Err(serde::de::Error::invalid_value(serde::de::Unexpected::Str(text), &"another"))
        }
    }
    let bytes = encoded(&"\u{1f600}\r\n".repeat(100_000), Encoding::Postcard);
    let error = reply::<Quotes>(&bytes).expect_err("it refuses");
    assert!(error.message().len() < 250 && !error.message().contains('\n'), "{error}");
}
