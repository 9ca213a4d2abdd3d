//! JSON of a stranger: the memory that it takes, and where errors say they are.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::*;
use crate::ErrorKind;
use crate::frame::payload::{Body, decode_arguments};
use crate::service::Method;

type Wide = Vec<Option<[u64; 32]>>;

/// With a budget of a few pages no value takes more, and messages are refused for that alone.
#[test]
fn mutated_json_keeps_to_a_small_budget() {
    const BUDGET: Budget = Budget { bytes: 16 << 10, depth: 16 };
    let mut state = 0xdead_beef_cafe_f00d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let mut run = |element: &str, heap: &dyn Fn(&str) -> Result<usize, Error>| {
        let (mut kept, mut refused) = (0, 0);
        for _ in 0..8000 {
            let mut text = format!("[{}{element}]", format!("{element},").repeat(random(if element.starts_with('{') { 30 } else { 300 })));
            for _ in 0..random(3) {
                let at = random(text.len());
                if text.is_char_boundary(at) && at < text.len() {
                    match random(3) {
                        0 => text.insert(at, char::from(b"[]{},:\"019n"[random(11)])),
                        1 => drop(text.remove(at)),
                        _ => text.insert_str(at, element),
                    }
                }
            }
            match heap(&text) {
                Ok(heap) => {
                    assert!(heap <= BUDGET.bytes, "{heap}: {text}");
                    kept += 1;
                }
                Err(error) => refused += usize::from(error.kind() == ErrorKind::TooLarge),
            }
        }
        assert!(kept > 100 && refused > 100, "{element}: {kept} kept, {refused} refused");
    };
    fn small<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
        decode_reply(text.as_bytes(), Encoding::Json, BUDGET)
    }
    run("null", &|text| small::<Wide>(text).map(|wide| wide.capacity() * size_of::<Option<[u64; 32]>>()));
    run("[[1,2],[]]", &|text| {
        let lists = small::<Vec<Vec<Vec<u16>>>>(text)?;
        let inner = |list: &Vec<Vec<u16>>| list.capacity() * 24 + list.iter().map(|list| list.capacity() * 2).sum::<usize>();
        Ok(lists.capacity() * 24 + lists.iter().map(inner).sum::<usize>())
    });
    run("null", &|text| small::<Vec<Box<Option<[u64; 32]>>>>(text).map(|boxes| boxes.len() * 264 + boxes.capacity() * 8));
    run(r#"{"a":1}"#, &|text| small::<Vec<BTreeMap<String, u32>>>(text).map(|maps| maps.iter().map(|map| 24 + map.len() * 28).sum()));
    run(r#""AAECAwQFBgc=""#, &|text| small::<Vec<Vec<u8>>>(text).map(|lists| lists.capacity() * 24 + lists.iter().map(Vec::capacity).sum::<usize>()));
    run(r#""1.2.3.4""#, &|text| small::<Vec<[u8; 4]>>(text).map(|list| list.capacity() * 4));
}

/// A text in base64 is no cheaper than what it stands for.
#[test]
fn bytes_as_a_text_have_the_same_budget() {
    let budget = |bytes| Budget { bytes, depth: 128 };
    let text = format!("\"{}\"", "AAAA".repeat(1000));
    let read = |bytes| decode_reply::<Vec<u8>>(text.as_bytes(), Encoding::Json, budget(bytes));
    assert_eq!(read(text.len() * 2 + 3000).expect("as much as it takes").len(), 3000);
    assert_eq!(read(text.len() * 2 + 2999).expect_err("one byte less").kind(), ErrorKind::TooLarge);
}

#[derive(Debug, Deserialize)]
struct Order {
    #[expect(dead_code, reason = "only read")]
    lines: Vec<Line>,
    #[expect(dead_code, reason = "only read")]
    by_name: HashMap<String, Payment>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[expect(dead_code, reason = "only read")]
    qty: u16,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only read")]
enum Payment {
    Cash,
    Card { last: [u16; 4] },
    Transfer(u8, Option<u8>),
    Newtype(Box<Payment>),
}

#[test]
fn an_error_says_where_it_is_and_what_is_wanted() {
    let error = |lines: &str, payment: &str| {
        let text = refusal::<Order>(&format!(r#"{{"lines": {lines}, "by_name": {{"ada": {payment}}}}}"#));
        text.strip_prefix("malformed reply: ").expect("all begin alike").to_owned()
    };
    assert_eq!(error(r#"[{"qty": 1}, {"qty": 70000}]"#, "\"Cash\""), "$.lines[1].qty: invalid value: integer `70000`, expected u16");
    assert_eq!(error(r#"[{"qty": "1"}]"#, "\"Cash\""), "$.lines[0].qty: invalid type: string \"1\", expected u16");
    assert_eq!(error("[{}]", "\"Cash\""), "$.lines[0]: missing field `qty`");
    assert_eq!(error(r#"[{"qty": 1, "qyt": 2}]"#, "\"Cash\""), "$.lines[0]: unknown field `qyt`, expected `qty`");
    assert_eq!(error("[[1, 2]]", "\"Cash\""), "$.lines[0]: invalid length 2, expected fewer elements");
    assert_eq!(error("[5]", "\"Cash\""), "$.lines[0]: invalid type: integer `5`, expected struct Line");
    assert_eq!(error("{}", "\"Cash\""), "$.lines: invalid type: map, expected an array");
    assert_eq!(error("[]", "\"Cheque\""), "$.by_name.ada: unknown variant `Cheque`, expected one of `Cash`, `Card`, `Transfer`, `Newtype`");
    assert_eq!(error("[]", "7"), "$.by_name.ada: invalid type: integer `7`, expected a variant of enum Payment");
    assert_eq!(error("[]", "{}"), "$.by_name.ada: invalid value: map, expected an object with one key, the variant's name");
    assert_eq!(error("[]", "\"Transfer\""), "$.by_name.ada.Transfer: invalid type: unit variant, expected a tuple variant with an array of 2");
    assert_eq!(error("[]", "\"Newtype\""), "$.by_name.ada.Newtype: invalid type: unit variant, expected a variant with a value");
    assert_eq!(error("[]", r#"{"Cash": 1}"#), "$.by_name.ada.Cash: invalid type: integer `1`, expected a variant without a value");
    assert_eq!(error("[]", r#"{"Card": {"last": [1, 2, null, 4]}}"#), "$.by_name.ada.Card.last[2]: invalid type: null, expected u16");
    assert_eq!(error("[]", r#"{"Newtype": {"Transfer": [1, 300]}}"#), "$.by_name.ada.Newtype.Transfer[1]: invalid value: integer `300`, expected u8");
    assert_eq!(
        error("[]", r#"{"Newtype": {"Transfer": [1]}}"#),
        "$.by_name.ada.Newtype.Transfer: invalid length 1, expected tuple variant Payment::Transfer with 2 elements"
    );
    assert_eq!(refusal::<u8>("300"), "malformed reply: invalid value: integer `300`, expected u8");
    assert_eq!(refusal::<HashMap<u8, u8>>(r#"{"300": 1}"#), "malformed reply: invalid value: integer `300`, expected u8");
}

/// A type that makes the best of what it is given goes on, and later errors say where they are.
#[test]
fn an_error_may_be_swallowed() {
    #[derive(Debug)]
    struct Lenient(Option<u8>);
    impl<'de> Deserialize<'de> for Lenient {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Ok(Self(<(u8, Vec<u8>)>::deserialize(deserializer).ok().map(|(first, _)| first)))
        }
    }
    let list: Vec<Lenient> = read(r#"[[1, [2]], [1, [300]], "x", [1], [7, []]]"#).expect("all can be read");
    assert_eq!(list.iter().map(|one| one.0).collect::<Vec<_>>(), [Some(1), None, None, None, Some(7)]);
    let text = refusal::<(Lenient, Vec<u8>)>("[[1, [300]], [1, 2, 300]]");
    assert_eq!(text, "malformed reply: $[1][2]: invalid value: integer `300`, expected u8");
}

/// A type that can be read from one value for ever, which overflows serde_json's stack.
#[test]
fn a_type_that_never_comes_to_its_end_is_refused() {
    #[derive(Debug, Deserialize)]
    struct Endless(#[expect(dead_code, reason = "only read")] Option<Box<Endless>>);
    read::<Endless>("null").expect("its end");
    assert_eq!(refusal::<Endless>("1"), "malformed reply: nested deeper than the limit of 128 (Limits::max_depth)");
}

static PAY: Method = Method { name: "pay", arguments: &["order", "tip"], ..Method::DEFAULT };

#[test]
fn arguments_are_named_in_errors() {
    let error = |text: &str| {
        let body = Body::new(text.as_bytes().to_vec(), Encoding::Json, Budget::default(), &PAY, None)?;
        decode_arguments::<(Vec<Line>, u64)>(&body, &PAY)
    };
    error(r#"{"tip": "18446744073709551615", "order": [{"qty": 1}]}"#).expect("arguments");
    for text in [r#"[[{"qty": 1}], "much"]"#, r#"{"tip": "much", "order": [{"qty": 1}]}"#] {
        let error = error(text).expect_err("no number");
        assert_eq!(error.message(), "pay: malformed arguments: $.tip: invalid value: string \"much\", expected u64 in decimal");
    }
    let error = error(r#"[[{"qty": true}], 1]"#).expect_err("no number");
    assert_eq!(error.message(), "pay: malformed arguments: $.order[0].qty: invalid type: boolean `true`, expected u16");
}
