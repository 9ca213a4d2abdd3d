//! A million pairs of a schema and a message, both damaged, read into types that people write: never a panic, an overflow of the
//! stack, a message that takes long, or one that takes more memory than its budget. What is read is dropped.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::super::fit::{self, fit, fit_arguments, fit_results};
use super::evolution::orders::{self, v1, v2};
use super::plain::Random;
use super::types::*;
use super::*;
use crate::frame::limits::SCHEMA_MEMORY;

/// What one message may cost.
const BUDGET: Budget = Budget { bytes: 64 << 10, depth: 32 };
/// What reading takes beside what is read: where it is, and the text of a fault.
const BESIDE: u64 = 16 << 10;
/// Pairs read by one damaged schema.
const MESSAGES: usize = 24;
const PAIRS: usize = 1_000_000;

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is only read")]
enum Everything {
    Unit,
    Newtype(Box<Everything>),
    Tuple(u8, Option<i16>, [u8; 3]),
    Struct {
        #[serde(default)]
        float: f32,
        #[serde(alias = "x")]
        letter: char,
        #[serde(default)]
        more: Vec<Everything>,
        map: Option<HashMap<u8, ()>>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is only read")]
struct Flat {
    id: Option<u128>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

type Reader = fn(&Peer, &[u8]);

/// Reads a message as one of many types.
const READERS: &[Reader] = &[
    read_as::<v1::Order>,
    read_as::<v2::Order>,
    read_as::<v2::Command>,
    read_as::<Vec<Everything>>,
    read_as::<Everything>,
    read_as::<IgnoredAny>,
    read_as::<serde_json::Value>,
    read_as::<Flat>,
    read_as::<BTreeMap<String, Option<String>>>,
    read_as::<(Option<Option<u8>>, Vec<i128>, ())>,
    read_as::<Vec<Vec<Vec<u8>>>>,
    read_borrowed,
    read_arguments,
];

fn read_as<T: DeserializeOwned>(peer: &Peer, bytes: &[u8]) {
    drop(value::<T>(peer, 0, bytes, BUDGET));
}

fn read_borrowed(peer: &Peer, bytes: &[u8]) {
    drop(value::<Vec<(&str, &[u8])>>(peer, 0, bytes, BUDGET));
}

fn read_arguments(peer: &Peer, bytes: &[u8]) {
    for method in &peer.schema().methods {
        drop(arguments::<(Option<v2::Order>, IgnoredAny, Option<u8>)>(peer, method, &["order", "a", "b"], bytes, BUDGET));
    }
}

/// A sound schema and a message of its first type.
fn seeds() -> Vec<(Schema, Vec<u8>)> {
    use Holds::*;
    let this = || Type::This("Everything");
    let fields = [("float", F32), ("letter|x", Char), ("more", seq(this())), ("map", option(map(U8, Unit)))];
    let parts = vec![U8, option(I16), tuple([U8, U8, U8])];
    let everything = enumeration(
        "Everything",
        [("Unit", Nothing), ("Newtype", One(this())), ("Tuple", List(parts)), ("Struct", Named(fields.into())), ("Unknown", Unknown)],
    );
    let order = bytes_of(&orders::an_order());
    let odd =
        structure("Odd", [("id|x", newtype("Id", I128)), ("ids", seq(logical("Uuid", Bytes))), ("units", seq(tuple([Unit, Unit]))), ("any", Str)]);
    let odd_bytes = [&bytes_of(&(-5_i128, vec![serde_bytes::Bytes::new(b"0123456789abcdef"); 2]))[..], &[3, 1, b'x']].concat();
    let numbers = map(Str, option(option(tuple_struct("Pair", [U64, F64]))));
    [
        (orders::first(), order.clone()),
        (orders::command(), vec![3, 1, 2]),
        (everything.clone(), vec![1, 1, 3, 0, 0, 0, 0, 1, b'a', 2, 0, 1, 0, 1, 2, 1, 2]),
        (seq(everything), vec![2, 0, 2, 7, 1, 3, 1, 2, 3]),
        (plain::order(), plain::order_bytes()),
        (odd, odd_bytes),
        (numbers, [&[1, 1, b'k', 1, 1, 9][..], &1.5_f64.to_le_bytes()].concat()),
    ]
    .map(|(node, message)| {
        let mut types = Types::default();
        types.add(&node);
        let method = Signature {
            name: "pay".into(),
            arguments: vec![("order".into(), 0), ("b".into(), 0)],
            upload: Some(("items".into(), 0)),
            returns: Some(0),
            error: None,
            download: Some(0),
        };
        (Schema { methods: vec![method], nodes: types.nodes() }, message)
    })
    .into()
}

/// The first becomes the last.
fn turn<T>(list: &mut [T]) {
    if !list.is_empty() {
        list.rotate_left(1);
    }
}

/// Turns some numbers, kinds and names of a table into others.
fn damage(random: &mut Random, schema: &mut Schema) {
    for _ in 0..=random.below(3) {
        let (one, other) = (random.below(schema.nodes.len()), random.below(schema.nodes.len()));
        let id = random.below(schema.nodes.len()) as Id;
        match random.below(8) {
            0 => schema.nodes.swap(one, other),
            1 => schema.nodes[one] = schema.nodes[other].clone(),
            2 => schema.nodes[one] = [Node::Option(id), Node::Seq(id), Node::Map(id, other as Id), Node::Tuple(vec![id; other % 5])][one % 4].clone(),
            3 => schema.nodes[one] = [Node::Unit, Node::Str, Node::Bytes, Node::U8, Node::Char, Node::I128, Node::F32, Node::Bool][other % 8].clone(),
            4 => schema.nodes[one] = [Node::Newtype("N".into(), id), Node::Logical("L".into(), id), Node::Opaque("O".into())][other % 3].clone(),
            5 => schema.nodes.truncate(one + 1),
            _ => match &mut schema.nodes[one] {
                Node::Option(part) | Node::Seq(part) | Node::Newtype(_, part) | Node::Logical(_, part) => *part = id,
                Node::Map(key, value) => (*key, *value) = (*value, id),
                Node::Tuple(parts) | Node::TupleStruct(_, parts) => parts.push(id),
                Node::Struct(_, fields) => turn(&mut fields.list),
                Node::Enum(_, variants) => {
                    turn(variants);
                    if let Some(variant) = variants.first_mut() {
                        variant.shape = [Shape::Unit, Shape::Newtype(id), Shape::Tuple(vec![id, id]), Shape::Unknown][other % 4].clone();
                    }
                }
                leaf => *leaf = Node::Option(id),
            },
        }
    }
}

#[test]
fn a_million_damaged_schemas_and_messages_harm_nobody() {
    let began = Instant::now();
    let seeds = seeds();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut pairs, mut refused, mut most, mut longest) = (0, 0, 0, Duration::ZERO);
    while pairs < PAIRS {
        let (schema, message) = &seeds[random.below(seeds.len())];
        let peer = if random.below(3) == 0 {
            let mut bytes = bytes_of(schema);
            random.mutate(&mut bytes);
            Peer::parse(&bytes, SCHEMA_MEMORY)
        } else {
            let mut schema = schema.clone();
            damage(&mut random, &mut schema);
            Peer::check(schema)
        };
        let Ok(peer) = peer else {
            refused += 1;
            continue;
        };
        compare(&peer, &seeds[random.below(seeds.len())].0);
        for _ in 0..if peer.nodes().is_empty() { 0 } else { MESSAGES } {
            let mut bytes = message.clone();
            random.mutate(&mut bytes);
            let reader = READERS[random.below(READERS.len())];
            let started = Instant::now();
            let peak = allocation_counter::measure(|| reader(&peer, &bytes)).bytes_max;
            longest = longest.max(started.elapsed());
            most = most.max(peak);
            assert!(peak <= BUDGET.bytes as u64 + BESIDE, "{peak} bytes for {bytes:x?} by {:?}", peer.schema());
            pairs += 1;
        }
    }
    eprintln!("{pairs} pairs in {:?}, {refused} schemas refused, at most {most} bytes and {longest:?} for one", began.elapsed());
    // Only against hanging: a message that is let go on takes minutes.
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    assert!(refused > 1000);
}

/// Verdicts on strangers' schemas end too.
fn compare(peer: &Peer, other: &Schema) {
    let nodes = peer.nodes();
    let _ = (fit((nodes, 0), (&other.nodes, 0)), fit((&other.nodes, 0), (nodes, 0)));
    if let (Some(one), Some(other_method)) = (peer.schema().methods.first(), other.methods.first()) {
        let mut left = fit::PAIRS;
        let _ = (
            fit_arguments((nodes, one), (&other.nodes, other_method), &mut left),
            fit_results((&other.nodes, other_method), (nodes, one), &mut left),
        );
    }
}
