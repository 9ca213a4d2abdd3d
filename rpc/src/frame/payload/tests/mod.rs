//! Values of many shapes for the tests: `values` (round trips), `outcomes`, `hostile` (cases 35 to 38),
//! `random` (mutations, and postcard itself beside ours), `by_name` (JSON), `shared` (bytes without a copy) and `buffers`.

mod buffers;
#[cfg(feature = "json")]
mod by_name;
mod hostile;
mod outcomes;
mod random;
mod shared;
mod values;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::*;

#[cfg(feature = "json")]
pub(super) static PAY: Method = Method { name: "pay", arguments: &["order", "currency"], ..Method::DEFAULT };
pub(super) static NOTE: Method = Method { name: "note", arguments: &["text"], ..Method::DEFAULT };
pub(super) static PING: Method = Method { name: "ping", arguments: &[], ..Method::DEFAULT };
#[cfg(feature = "json")]
pub(super) static RUN_TIME: Method = Method { name: "add", arguments: &["0", "1"], ..Method::DEFAULT };

#[cfg(feature = "json")]
pub(super) const ENCODINGS: &[Encoding] = &[Encoding::Postcard, Encoding::Json];
#[cfg(not(feature = "json"))]
pub(super) const ENCODINGS: &[Encoding] = &[Encoding::Postcard];

pub(super) const MIB: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Currency {
    Usd,
    Eur,
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) sku: String,
    pub(super) qty: u16,
    pub(super) price: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Payment {
    Card { token: String, last: [u8; 4] },
    Transfer(String, Option<u32>),
    Newtype(Box<Line>),
    Cash,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) lines: Vec<Line>,
    pub(super) email: Option<String>,
    pub(super) payment: Payment,
    pub(super) tags: BTreeMap<String, i32>,
}

impl Order {
    pub(super) fn sample() -> Self {
        Self {
            id: 1 << 40,
            lines: (0..3).map(|qty| Line { sku: format!("sku-{qty}"), qty, price: -i64::from(qty) * 1999 }).collect(),
            email: Some("ada@example.org".into()),
            payment: Payment::Card { token: "tok\t\r\n\u{1f600}".into(), last: [4, 2, 4, 2] },
            tags: BTreeMap::from([("a".into(), -1), ("b".into(), i32::MAX)]),
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Tree {
    Leaf,
    Node(Box<Tree>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Chain {
    pub(super) next: Option<Box<Chain>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Expression {
    Number(i64),
    Sum(Box<Expression>, Box<Expression>),
    All { of: Vec<Expression>, named: BTreeMap<u8, Expression> },
}

pub(super) type Wide = Vec<Option<[u64; 32]>>;

pub(super) fn encoded<T: Serialize + ?Sized>(value: &T, encoding: Encoding) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_arguments(value, encoding, 16 * MIB, &mut bytes, None).expect("the value can be encoded");
    bytes
}

pub(super) fn postcard_body(bytes: &[u8]) -> Body {
    Body::new(bytes.to_vec(), Encoding::Postcard, Budget::default(), &NOTE, None).expect("postcard is taken as it is")
}

pub(super) fn reply<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    decode_reply(bytes, Encoding::Postcard, Budget::default())
}

/// The kind of the error that a reply ends in.
pub(super) fn refusal<T: DeserializeOwned + std::fmt::Debug>(bytes: &[u8]) -> ErrorKind {
    let error = reply::<T>(bytes).expect_err("these bytes must be refused");
    assert_eq!(error.executed(), Executed::Yes);
    error.kind()
}
