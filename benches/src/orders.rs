//! Two versions of an order, as two releases of a program know it, and the schema of the older: what adapting is measured on.
//!
//! Fields moved, went (`legacy`, `customer`) and came (`note`, `tags`, `currency`), numbers grew, variants moved and came.

#![expect(missing_docs, reason = "the names say what they are")]

use rpc::schema::{Field, Fields, Id, Node, Schema, Shape, Variant};

pub mod v1 {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Order {
        pub id: u64,
        pub customer: String,
        pub lines: Vec<Line>,
        pub status: Status,
        pub meta: BTreeMap<String, Attribute>,
        pub ship: Option<Address>,
        pub total: u32,
        pub legacy: String,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Line {
        pub sku: String,
        pub qty: u16,
        pub price: u32,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub enum Status {
        New,
        Paid { at: u64, by: String },
        Failed(String),
        Done,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Attribute {
        pub k: u8,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Address {
        pub street: String,
        pub zip: String,
    }
}

pub mod v2 {
    use std::collections::HashMap;

    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Order {
        pub total: u64,
        pub lines: Vec<Line>,
        pub id: u64,
        pub note: Option<String>,
        #[serde(default)]
        pub tags: Vec<String>,
        #[serde(default = "euro")]
        pub currency: String,
        pub status: Status,
        pub meta: HashMap<String, Attribute>,
        pub ship: Option<Address>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Line {
        pub price: i64,
        pub sku: String,
        pub qty: u32,
        #[serde(default)]
        pub discount: u8,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub enum Status {
        Done,
        Refunded(u64),
        New,
        Failed(String),
        Paid {
            by: String,
            at: u64,
            #[serde(default)]
            tx: Option<u64>,
        },
        #[serde(other)]
        Unknown,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Attribute {
        pub k: i32,
        #[serde(default)]
        pub w: bool,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub struct Address {
        pub zip: String,
        #[serde(default)]
        pub country: String,
        pub street: String,
    }

    fn euro() -> String {
        "EUR".into()
    }
}

/// An order of 21 lines.
#[must_use]
pub fn order() -> v1::Order {
    let line = |n: u32| v1::Line { sku: format!("SKU-{:08}-{n}", n * 7919), qty: n as u16 + 1, price: 1999 + n };
    v1::Order {
        id: 7_000_000_001,
        customer: "ACME Corporation GmbH & Co".into(),
        lines: (0..21).map(line).collect(),
        status: v1::Status::Paid { at: 1_700_000_000, by: "card".into() },
        meta: [("gift", 1), ("channel", 2), ("ab", 3)].map(|(key, k)| (key.to_owned(), v1::Attribute { k })).into(),
        ship: Some(v1::Address { street: "Long Street 17, Building B".into(), zip: "10115".into() }),
        total: 123_456,
        legacy: "old data that is dropped".into(),
    }
}

/// What [`v1::Order`] looks like on the wire; it is the first node.
#[must_use]
pub fn schema() -> Schema {
    let (seq, map, option, line, status, attribute, address, number, text) = (1, 2, 3, 4, 5, 6, 7, 8, 9);
    let (byte, short, long) = (10, 11, 12);
    let order =
        [("id", number), ("customer", text), ("lines", seq), ("status", status), ("meta", map), ("ship", option), ("total", long), ("legacy", text)];
    let variants = [
        ("New", Shape::Unit),
        ("Paid", Shape::Struct(fields(&[("at", number), ("by", text)]))),
        ("Failed", Shape::Newtype(text)),
        ("Done", Shape::Unit),
    ];
    let variants = variants.map(|(name, shape)| Variant { name: name.into(), aliases: Vec::new(), other: false, shape });
    let nodes = vec![
        Node::Struct("Order".into(), fields(&order)),
        Node::Seq(line),
        Node::Map(text, attribute),
        Node::Option(address),
        Node::Struct("Line".into(), fields(&[("sku", text), ("qty", short), ("price", long)])),
        Node::Enum("Status".into(), variants.into()),
        Node::Struct("Attribute".into(), fields(&[("k", byte)])),
        Node::Struct("Address".into(), fields(&[("street", text), ("zip", text)])),
        Node::U64,
        Node::Str,
        Node::U8,
        Node::U16,
        Node::U32,
    ];
    Schema { methods: Vec::new(), nodes }
}

fn fields(fields: &[(&str, Id)]) -> Fields {
    let field = |(name, node): &(&str, Id)| Field { name: (*name).into(), aliases: Vec::new(), optional: false, node: *node };
    Fields { list: fields.iter().map(field).collect(), strict: false }
}
