//! Hashes: over what travels and nothing else, whatever was traced before, by whichever compiler.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{nodes, traced};
use crate::schema::node::{Id, Node};
use crate::schema::table::{Hasher, Table};
use crate::schema::trace::Traced;

fn hash<T: Serialize + Deserialize<'static>>() -> u128 {
    let (nodes, root) = nodes::<T>();
    Hasher::new(&nodes).hash(&[("value", root)])
}

fn text<T: Serialize + Deserialize<'static>>() -> String {
    let (nodes, root) = nodes::<T>();
    Hasher::new(&nodes).text(&[("value", root)])
}

macro_rules! module {
    ($name:ident { $($item:item)* }) => {
        #[allow(dead_code, reason = "only traced")]
        mod $name {
            use serde::{Deserialize, Serialize};
            $(#[derive(Serialize, Deserialize)] $item)*
        }
    };
}

module!(base {
    pub(super) struct Line { sku: String, qty: u32 }
    pub(super) struct Order { id: u64, lines: Vec<Line>, state: State, more: Option<Box<Order>> }
    pub(super) enum State { Open, Paid(u64), Sent { by: String } }
});
// Other names of types, aliases, defaults and wrappers: the same on the wire.
module!(renamed {
    pub(super) struct Sku(String);
    pub(super) struct Row { #[serde(alias = "code")] sku: Sku, #[serde(default)] qty: u32 }
    #[serde(deny_unknown_fields)] pub(super) struct Purchase { id: u64, lines: Vec<Row>, state: Stage, more: Option<Box<Purchase>> }
    pub(super) enum Stage { #[serde(alias = "Ready")] Open, Paid(u64), Sent { by: String } }
});
// The same, but the recursion is written out once: the same on the wire.
module!(unrolled {
    pub(super) struct Line { sku: String, qty: u32 }
    pub(super) struct Order { id: u64, lines: Vec<Line>, state: State, more: Option<Box<Again>> }
    pub(super) struct Again { id: u64, lines: Vec<Line>, state: State, more: Option<Box<Order>> }
    pub(super) enum State { Open, Paid(u64), Sent { by: String } }
});

#[test]
fn a_hash_is_over_what_travels() {
    assert_eq!(text::<base::Order>(), text::<renamed::Purchase>());
    assert_eq!(hash::<base::Order>(), hash::<renamed::Purchase>());
    assert_eq!(hash::<base::Order>(), hash::<unrolled::Order>());
    assert_eq!(hash::<base::Order>(), hash::<unrolled::Again>());
    assert_eq!(hash::<()>(), hash::<std::marker::PhantomData<u8>>());
    assert_eq!(hash::<[u8; 2]>(), hash::<(u8, u8)>());
}

module!(changed {
    pub(super) struct Swapped { qty: u32, sku: String }
    pub(super) struct Renamed { code: String, qty: u32 }
    pub(super) struct Wider { sku: String, qty: u64 }
    pub(super) struct Signed { sku: String, qty: i32 }
    pub(super) struct Longer { sku: String, qty: u32, note: Option<String> }
    pub(super) struct Bare(String, u32);
    pub(super) enum Swap { Paid(u64), Open, Sent { by: String } }
    pub(super) enum Rename { Open, Payed(u64), Sent { by: String } }
    pub(super) enum Shape { Open, Paid(u64), Sent(String) }
    pub(super) enum Field { Open, Paid(u64), Sent { to: String } }
    pub(super) enum More { Open, Paid(u64), Sent { by: String }, Lost }
});

#[test]
fn whatever_changes_the_bytes_or_names_changes_the_hash() {
    use changed::*;
    let hashes = [
        ("Line", hash::<base::Line>()),
        ("Swapped", hash::<Swapped>()),
        ("Renamed", hash::<Renamed>()),
        ("Wider", hash::<Wider>()),
        ("Signed", hash::<Signed>()),
        ("Longer", hash::<Longer>()),
        ("Bare", hash::<Bare>()),
        ("State", hash::<base::State>()),
        ("Swap", hash::<Swap>()),
        ("Rename", hash::<Rename>()),
        ("Shape", hash::<Shape>()),
        ("Field", hash::<Field>()),
        ("More", hash::<More>()),
        ("Order", hash::<base::Order>()),
        ("orders", hash::<Vec<base::Order>>()),
        ("option", hash::<Option<base::Order>>()),
        ("str", hash::<String>()),
        ("bytes", hash::<serde_bytes::ByteBuf>()),
        ("list", hash::<Vec<u8>>()),
        ("array", hash::<[u8; 2]>()),
        ("longer array", hash::<[u8; 3]>()),
    ];
    let mut seen = BTreeMap::new();
    for (name, hash) in hashes {
        if let Some(other) = seen.insert(hash, name) {
            panic!("{name} and {other} have the same hash");
        }
    }
}

/// The types under names, put into a table in this order.
fn tables(order: &[usize]) -> Vec<(usize, u128)> {
    let types: [fn() -> Traced; 8] = [
        traced::<base::Order>,
        traced::<unrolled::Again>,
        traced::<renamed::Purchase>,
        traced::<base::State>,
        traced::<Vec<base::Line>>,
        traced::<Result<base::Order, String>>,
        traced::<std::net::SocketAddr>,
        traced::<u64>,
    ];
    let mut table = Table::default();
    for at in order {
        let found = types[*at]();
        table.add(found.nodes, found.root);
    }
    let (nodes, roots) = table.finish();
    let hasher = Hasher::new(&nodes);
    let mut hashes: Vec<(usize, u128)> = order.iter().zip(roots).map(|(at, root)| (*at, hasher.hash(&[("value", root)]))).collect();
    hashes.sort_unstable();
    hashes
}

#[test]
fn a_hash_does_not_depend_on_the_order_of_tracing() {
    let mut order: Vec<usize> = (0..8).collect();
    let first = tables(&order);
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..50 {
        for at in (1..order.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            order.swap(at, (random >> 33) as usize % (at + 1));
        }
        assert_eq!(tables(&order), first, "{order:?}");
    }
}

#[test]
fn tracing_twice_gives_the_same_table() {
    let twice = || {
        let found = traced::<base::Order>();
        (format!("{:?}", found.nodes), found.root, found.passes)
    };
    assert_eq!(twice(), twice());
}

#[test]
fn equal_types_are_one_node_and_all_ids_are_in_range() {
    let mut table = Table::default();
    for _ in 0..3 {
        let found = traced::<base::Order>();
        table.add(found.nodes, found.root);
    }
    let (nodes, roots) = table.finish();
    assert_eq!(roots, [0, 0, 0]);
    assert_eq!(nodes.len(), 8, "{nodes:#?}");
    for node in &nodes {
        node.each_part(|part: Id| assert!((part as usize) < nodes.len()));
    }
    let loops = vec![Node::Newtype("A".to_owned(), 1), Node::Logical("b::B".to_owned(), 0)];
    let text = Hasher::new(&loops).text(&[("value", 0)]);
    assert_eq!(text, "5:value 0\nendless 0\n");
}

/// What the file holds: a change of it is a change of the wire, and breaks every peer that was built before it.
#[test]
fn the_golden_file_holds() {
    let mut text = String::new();
    macro_rules! lines {
        ($($type:ty),* $(,)?) => {$(
            let _ = writeln!(text, "{:032x} {}", hash::<$type>(), stringify!($type));
        )*};
    }
    lines!(
        (),
        bool,
        u64,
        String,
        Option<i8>,
        Vec<f64>,
        BTreeMap<String, u32>,
        [u8; 4],
        (u8, (char, i128)),
        Result<u8, String>,
        serde_bytes::ByteBuf,
        base::Line,
        base::State,
        base::Order,
        std::net::IpAddr,
        std::time::Duration,
        uuid::Uuid,
        chrono::DateTime<chrono::Utc>,
    );
    let golden = include_str!("golden.txt");
    let differences: Vec<String> =
        golden.lines().zip(text.lines()).filter(|(held, found)| held != found).map(|(held, found)| format!("- {held}\n+ {found}")).collect();
    assert!(golden == text, "the wire has changed:\n{}\nall of it:\n{text}", differences.join("\n"));
}

/// An array of bytes of any length: serde's own end at 32.
struct Bytes<const N: usize>;

impl<const N: usize> Serialize for Bytes<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(N)?;
        (0..N).try_for_each(|_| serde::ser::SerializeTuple::serialize_element(&mut tuple, &0_u8))?;
        serde::ser::SerializeTuple::end(tuple)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Bytes<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<const N: usize>;
        impl<'de, const N: usize> serde::de::Visitor<'de> for Visitor<N> {
            type Value = Bytes<N>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{N} bytes")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut bytes: A) -> Result<Bytes<N>, A::Error> {
                for place in 0..N {
                    bytes.next_element::<u8>()?.ok_or_else(|| serde::de::Error::invalid_length(place, &self))?;
                }
                Ok(Bytes)
            }
        }
        deserializer.deserialize_tuple(N, Visitor::<N>)
    }
}

/// Protocol 4.6.
#[test]
fn what_has_more_than_65_536_parts_is_opaque() {
    let places = " 1".repeat(65_536);
    assert!(text::<Bytes<65_536>>() == format!("5:value 0\ntuple 65536{places}\nu8\n"));
    assert_eq!(text::<Bytes<65_537>>(), "5:value 0\nopaque\n");
    assert_eq!(text::<(u16, Bytes<80_000>)>(), "5:value 0\ntuple 2 1 2\nu16\nopaque\n");
    assert_eq!(hash::<Bytes<65_537>>(), hash::<Bytes<80_000>>());
}
