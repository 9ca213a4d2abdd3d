//! JSON by schema: the text that serde_json writes for the same value, within a limit, and never a panic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u32,
    lines: Vec<Line>,
    email: Option<String>,
    payment: Payment,
    tags: BTreeMap<String, i32>,
    rates: (f32, f64, char, bool, ()),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    sku: String,
    qty: u16,
    price: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Payment {
    Card { token: String, last: [u8; 4] },
    Transfer(String, Option<i8>),
    Boxed(Box<Line>),
    Cash,
}

fn nodes() -> Vec<Node> {
    vec![
        Node::U32,                                                  // 0
        Node::Str,                                                  // 1
        Node::U16,                                                  // 2
        Node::I64,                                                  // 3
        structure("Line", &[("sku", 1), ("qty", 2), ("price", 3)]), // 4
        Node::Seq(4),                                               // 5
        Node::Option(1),                                            // 6
        Node::U8,                                                   // 7
        Node::Tuple(vec![7; 4]),                                    // 8
        Node::I8,                                                   // 9
        Node::Option(9),                                            // 10
        enumeration(
            "Payment",
            vec![
                ("Card", Shape::Struct(fields(&[("token", 1), ("last", 8)]))),
                ("Transfer", Shape::Tuple(vec![1, 10])),
                ("Boxed", Shape::Newtype(4)),
                ("Cash", Shape::Unit),
            ],
        ), // 11
        Node::I32,                                                  // 12
        Node::Map(1, 12),                                           // 13
        Node::F32,                                                  // 14
        Node::F64,                                                  // 15
        Node::Char,                                                 // 16
        Node::Bool,                                                 // 17
        Node::Unit,                                                 // 18
        Node::Tuple(vec![14, 15, 16, 17, 18]),                      // 19
        structure("Order", &[("id", 0), ("lines", 5), ("email", 6), ("payment", 11), ("tags", 13), ("rates", 19)]), // 20
    ]
}

fn line(qty: u16) -> Line {
    Line { sku: format!("sku-{qty}\t\"\\\u{1}ß\u{1f600}"), qty, price: -i64::from(qty) * 1999 }
}

fn orders() -> Vec<Order> {
    let payments = [
        Payment::Card { token: "tok\r\n".into(), last: [4, 2, 0, 255] },
        Payment::Transfer(String::new(), None),
        Payment::Transfer("x".into(), Some(-128)),
        Payment::Boxed(Box::new(line(9))),
        Payment::Cash,
    ];
    let order = |(at, payment): (usize, Payment)| Order {
        id: u32::MAX >> at,
        lines: (0..at as u16).map(line).collect(),
        email: (at % 2 == 0).then(|| "ada@example.org".to_owned()),
        payment,
        tags: (0..at).map(|n| (format!("tag {n}"), i32::MIN + n as i32)).collect(),
        rates: (0.1 * at as f32, 1e300 / (at + 1) as f64, '\u{10ffff}', at % 2 == 1, ()),
    };
    payments.into_iter().enumerate().map(order).collect()
}

#[test]
fn it_is_what_serde_json_writes() {
    let nodes = nodes();
    for order in orders() {
        let text = by_schema(&nodes, &order).expect("an order");
        assert_eq!(text, serde_json::to_string(&order).expect("an order"));
        assert_eq!(read::<Order>(&text).expect("an order"), order);
    }
    let floats = [0.0, -0.0, 1.0, 1e21, 1e-7, f64::MAX, f64::MIN_POSITIVE, 0.1 + 0.2, 123_456_789.125];
    for value in floats {
        assert_eq!(by_schema(&[Node::F64], &value).expect("a float"), serde_json::to_string(&value).expect("a float"));
        assert_eq!(by_schema(&[Node::F32], &(value as f32)).expect("a float"), serde_json::to_string(&(value as f32)).expect("a float"));
    }
}

#[test]
fn keys_are_texts_or_stand_in_quotes() {
    fn same<K: Serialize + Ord>(nodes: &[Node], key: K) {
        let map = BTreeMap::from([(key, ())]);
        let nodes = [nodes, &[Node::Unit, Node::Map(nodes.len() as Id - 1, nodes.len() as Id)]].concat();
        assert_eq!(by_schema(&nodes, &map).expect("keys"), serde_json::to_string(&map).expect("keys"));
    }
    #[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
    struct Number(i16);
    #[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
    enum Kind {
        #[serde(rename = "a \"kind\"")]
        Unit,
        Newtype(u8),
    }
    let kind = enumeration("Kind", vec![("a \"kind\"", Shape::Unit), ("Newtype", Shape::Newtype(0))]);
    same(&[Node::Str], "a\"\n");
    same(&[Node::Char], 'ß');
    same(&[Node::U8], 200_u8);
    same(&[Node::I64], -5_i64);
    same(&[Node::U64], u64::MAX);
    same(&[Node::I128], i128::MIN);
    same(&[Node::Bool], true);
    same(&[Node::I16, Node::Newtype("Number".into(), 0)], Number(-7));
    same(&[Node::U8, kind.clone()], Kind::Unit);
    same(&[Node::U8, Node::Option(0)], Some(3_u8));

    fn refused<K: Serialize + Ord>(nodes: &[Node], key: K) -> String {
        let map = BTreeMap::from([(key, ())]);
        assert!(serde_json::to_string(&map).is_err());
        let nodes = [nodes, &[Node::Unit, Node::Map(nodes.len() as Id - 1, nodes.len() as Id)]].concat();
        let Err(Unwritten::Type(text)) = by_schema(&nodes, &map) else { panic!("it is no key") };
        text
    }
    assert!(refused(&[Node::U8, Node::Seq(0)], vec![1_u8]).contains("the key of a map is an array, which JSON cannot have"));
    assert!(refused(&[Node::U8, Node::Tuple(vec![0, 0])], (1_u8, 2_u8)).contains("an array"));
    assert!(refused(&[Node::U8, kind], Kind::Newtype(1)).contains("an object"));
    assert!(refused(&[Node::U8, Node::Option(0)], None::<u8>).contains("null"));
    assert!(refused(&[Node::Unit], ()).contains("null"));
    assert!(matches!(by_schema(&[Node::F64, Node::Unit, Node::Map(0, 1)], &[(f64::NAN, ())][..]), Err(Unwritten::Type(_))), "no number");
}

#[test]
fn the_limit_is_that_of_the_text() {
    let nodes = nodes();
    for order in orders() {
        let bytes = postcard::to_stdvec(&order).expect("an order");
        let length = serde_json::to_string(&order).expect("an order").len();
        let types = Types { nodes: &nodes, root: 20 };
        let mut out = vec![9; 50];
        write(types, &bytes, length, &mut out).expect("as long as allowed");
        assert_eq!(out.len(), 50 + length);
        for limit in 0..length {
            let mut out = vec![9; 50];
            assert_eq!(write(types, &bytes, limit, &mut out), Err(Unwritten::TooLong));
            assert!(out.len() <= 50 + limit && out[..50] == [9; 50]);
        }
    }
    // Elements without bytes are as many as somebody says.
    let mut out = Vec::new();
    let units = [Node::Unit, Node::Seq(0)];
    assert_eq!(write(Types { nodes: &units, root: 1 }, &[0xff, 0xff, 0xff, 0xff, 0x0f], 1000, &mut out), Err(Unwritten::TooLong));
}

#[test]
fn what_has_no_shape_says_so() {
    let opaque = [Node::Opaque("the type asks the bytes what they are".into())];
    assert_eq!(by_schema(&opaque, &1_u8), Err(Unwritten::Type("the shape of a type is not known: the type asks the bytes what they are".into())));
    let unknown = [enumeration("E", vec![("A", Shape::Unknown)])];
    assert!(matches!(by_schema(&unknown, &0_u8), Err(Unwritten::Type(text)) if text == "the shape of E::A is not known"));
    // A recursive type that never ends.
    let endless = [Node::Newtype("Endless".into(), 0)];
    assert!(matches!(by_schema(&endless, &()), Err(Unwritten::Type(text)) if text.contains("nested deeper than 128")));
}

/// Damaged bytes, and tables that are not theirs.
#[test]
fn nothing_panics() {
    let nodes = nodes();
    let (mut written, mut refused) = (0, 0);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for order in orders() {
        let bytes = postcard::to_stdvec(&order).expect("an order");
        for _ in 0..20_000 {
            let mut bytes = bytes.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes.insert(at, random(4) as u8),
                    _ => bytes.truncate(at + 1),
                }
            }
            let root = if random(2) == 0 { 20 } else { random(22) as Id };
            let mut out = Vec::new();
            match write(Types { nodes: &nodes, root }, &bytes, 1 << 16, &mut out) {
                Ok(()) => {
                    serde_json::from_slice::<serde_json::Value>(&out).expect("what is written is JSON");
                    written += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(written > 1000 && refused > 1000, "{written} {refused}");
}
