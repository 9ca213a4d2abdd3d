//! Schemas of a stranger, and what they make of few bytes. Case 59 of the conformance list is about friends; here nobody is one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

use super::super::super::fit::{Fit, fit};
use super::types::*;
use super::*;
use crate::frame::limits::SCHEMA_MEMORY;
use crate::frame::payload::guard::Refusal;

fn schema(nodes: Vec<Node>) -> Schema {
    Schema { methods: Vec::new(), nodes }
}

/// Why this is no schema.
fn refused(nodes: Vec<Node>) -> String {
    let schema = schema(nodes);
    let text = Peer::check(schema.clone()).expect_err("no sound schema");
    assert_eq!(Peer::parse(&bytes_of(&schema), usize::MAX).map(drop), Err(text.clone()), "however it comes");
    text
}

fn refusal<T: DeserializeOwned>(peer: &Peer, bytes: &[u8]) -> Option<Refusal> {
    refusal_within::<T>(peer, bytes, Budget::default())
}

fn refusal_within<T: DeserializeOwned>(peer: &Peer, bytes: &[u8], budget: Budget) -> Option<Refusal> {
    match value::<T>(peer, 0, bytes, budget).map(drop).expect_err("it must be refused").problem() {
        Problem::Refused(refusal) => Some(*refusal),
        _ => None,
    }
}

/// The figure is 10 ms; this is a debug build on a busy machine.
fn soon<T>(run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = run();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    result
}

fn field(name: &str, node: Id) -> Field {
    Field { name: name.into(), aliases: Vec::new(), optional: false, node }
}

fn fields(list: Vec<Field>) -> Fields {
    Fields { list, strict: false }
}

fn unit_variant(name: &str) -> Variant {
    Variant { name: name.into(), aliases: Vec::new(), other: false, shape: Shape::Unit }
}

#[test]
fn a_cycle_without_progress_is_refused() {
    let endless = "a schema with a type that contains itself without end";
    assert_eq!(refused(vec![Node::Newtype("A".into(), 0)]), endless);
    assert_eq!(refused(vec![Node::Logical("A".into(), 1), Node::Newtype("B".into(), 0)]), endless);
    assert_eq!(refused(vec![Node::U8, Node::Struct("A".into(), fields(vec![field("a", 0), field("b", 2)])), Node::Tuple(vec![1])]), endless);
    assert_eq!(refused(vec![Node::TupleStruct("A".into(), vec![0, 0])]), endless);
    // Through a tag or a length there is progress.
    for node in [Node::Option(0), Node::Seq(0), Node::Map(0, 0)] {
        assert!(Peer::check(schema(vec![node])).is_ok());
    }
}

#[test]
fn a_deep_chain_is_refused() {
    let chain = |length: u32| (1..length).map(|id| Node::Newtype("A".into(), id)).chain([Node::U8]).collect::<Vec<_>>();
    assert_eq!(refused(chain(129)), "a schema whose types nest deeper than the limit of 128");
    let backwards = |length: u32| [Node::U8].into_iter().chain((0..length - 1).map(|id| Node::Tuple(vec![id]))).collect::<Vec<_>>();
    assert_eq!(refused(backwards(129)), "a schema whose types nest deeper than the limit of 128");
    assert_eq!(value::<u8>(&sent(schema(chain(128))), 0, &[7], Budget::default()).ok(), Some(7));
}

#[test]
fn tables_keep_to_their_limits() {
    assert!(Peer::check(schema(vec![Node::Unit; 4096])).is_ok());
    assert_eq!(refused(vec![Node::Unit; 4097]), "a schema with 4097 types, above the limit of 4096");
    assert_eq!(refused(vec![Node::Seq(1)]), "a schema of 1 types names one with the number 1");
    assert_eq!(
        refused(vec![Node::Enum("A".into(), vec![Variant { shape: Shape::Tuple(vec![0, 9]), ..unit_variant("B") }])]),
        "a schema of 1 types names one with the number 9"
    );
    assert_eq!(refused(vec![Node::Unit, Node::Tuple(vec![0; (1 << 16) + 1])]), "a schema with 65537 parts of types, above the limit of 65536");
    let long = "x".repeat(513);
    let text = "a schema with 513 bytes in a name, above the limit of 512";
    assert_eq!(refused(vec![Node::Unit, Node::Struct("A".into(), fields(vec![field(&long, 0)]))]), text);
    assert_eq!(refused(vec![Node::Enum("A".into(), vec![unit_variant(&long)])]), text);
    let aliased = Field { aliases: vec![long.clone()], ..field("a", 0) };
    assert_eq!(refused(vec![Node::Unit, Node::Struct("A".into(), fields(vec![aliased]))]), text);
    assert_eq!(refused(vec![Node::Opaque("x".repeat(4097))]), "a schema with 4097 bytes in the name of a type, above the limit of 4096");
    assert_eq!(Peer::parse(&vec![0; (1 << 20) + 1], SCHEMA_MEMORY).map(drop), Err("a schema of 1048577 bytes, above the limit of 1048576".into()));

    let method =
        |name: &str, id| Signature { name: name.into(), arguments: vec![("a".into(), id)], upload: None, returns: None, error: None, download: None };
    let methods = |methods| Peer::check(Schema { methods, nodes: vec![Node::Unit] }).map(drop);
    assert_eq!(methods(vec![method("m", 0); 4096]), Ok(()));
    assert_eq!(methods(vec![method("m", 0); 4097]), Err("a schema with 4097 methods, above the limit of 4096".into()));
    assert_eq!(methods(vec![method(&long, 0)]), Err(text.into()));
    assert_eq!(methods(vec![method("m", 1)]), Err("a schema of 1 types names one with the number 1".into()));
    assert_eq!(methods(vec![Signature { error: Some(7), ..method("m", 0) }]), Err("a schema of 1 types names one with the number 7".into()));
}

#[test]
fn a_schema_takes_no_more_memory_than_its_connection_has_for_it() {
    // A field is 56 bytes in memory and may be four on the wire; an element that is nothing is one.
    let full = format!("schemas that fill more than {SCHEMA_MEMORY} bytes of memory (protocol 9.5)");
    let names = [&bytes_of(&(0_u8, 1_u8, 25_u8, "", 500_000_u32))[..], &[0; 1_000_000]].concat();
    let fields = [&bytes_of(&(0_u8, 1_u8, 24_u8, "", 200_000_u32))[..], &[0; 800_000]].concat();
    let parts = [&bytes_of(&(0_u8, 1_u8, 20_u8, 1_000_000_u32))[..], &[0; 1_000_000]].concat();
    let nodes = [&bytes_of(&(0_u8, 1_000_000_u32))[..], &[0; 1_000_000]].concat();
    for bytes in [names, fields, parts, nodes] {
        let mut why = None;
        let taken = allocation_counter::measure(|| why = Peer::parse(&bytes, SCHEMA_MEMORY).err()).bytes_max;
        assert!(taken < SCHEMA_MEMORY as u64, "{taken}");
        assert_eq!(why.as_deref(), Some(&*full));
    }
}

/// What protocol 9.5 says of each kind of thing that a schema has many of.
#[test]
fn a_schema_that_counts_as_four_mebibytes_is_taken() {
    let named = |count: usize| (0..count).map(|n| format!("{n}")).collect::<Vec<_>>();
    let list = |count| named(count).iter().map(|name| field(name, 0)).collect::<Vec<_>>();
    let shape = Shape::Struct(Fields { list: Vec::new(), strict: false });
    let variants = |count| named(count).iter().map(|name| Variant { shape: shape.clone(), ..unit_variant(name) }).collect::<Vec<_>>();
    let method =
        |name: String| Signature { name, arguments: Vec::new(), upload: Some((String::new(), 0)), returns: None, error: None, download: None };
    let of = |node| Schema { methods: Vec::new(), nodes: vec![Node::Unit, node] };
    let aliased = |count| Field { aliases: named(count), ..field("a", 0) };
    let schemas: [&dyn Fn(usize) -> Schema; 5] = [
        &|count| of(Node::Struct("A".into(), fields(list(count)))),
        &|count| of(Node::Enum("A".into(), variants(count))),
        &|count| of(Node::Struct("A".into(), fields(vec![aliased(count)]))),
        &|count| schema(vec![Node::Struct(String::new(), fields(Vec::new())); count.min(4096)]),
        &|count| Schema { methods: named(count.min(4096)).into_iter().map(method).collect(), nodes: vec![Node::Unit] },
    ];
    for (at, schema) in schemas.iter().enumerate() {
        let mut count = SCHEMA_MEMORY / 256;
        let bytes = loop {
            let bytes = bytes_of(&schema(count));
            if 2 * bytes.len() + 256 * (count + 3) <= SCHEMA_MEMORY {
                break bytes;
            }
            count -= 16;
        };
        let mut peer = Err(String::new());
        let taken = allocation_counter::measure(|| peer = Peer::parse(&bytes, SCHEMA_MEMORY));
        assert!(taken.bytes_max < SCHEMA_MEMORY as u64, "{at}: {}", taken.bytes_max);
        let memory = peer.as_ref().map(|peer| peer.memory() as i64);
        // Its bytes are kept beside it.
        assert!(memory.as_ref().is_ok_and(|memory| *memory >= taken.bytes_current + bytes.len() as i64), "{at}: {memory:?} {}", taken.bytes_current);
    }
}

#[test]
fn elements_without_size_are_counted() {
    let bytes = bytes_of(&(1_u64 << 63));
    let counted = Some(Refusal::EmptyElements);
    let cases = [
        (seq(Unit), counted, counted),
        // No list.
        (map(Unit, Unit), None, counted),
        (seq(structure("Empty", [])), counted, counted),
        (seq(tuple(vec![Unit; 1000])), counted, counted),
    ];
    for (node, list, skipped) in cases {
        let writer = peer(&node);
        soon(|| {
            assert_eq!(refusal::<Vec<IgnoredAny>>(&writer, &bytes), list);
            assert_eq!(refusal::<IgnoredAny>(&writer, &bytes), skipped);
        });
    }
    // As many as are allowed, but the reader makes much of each.
    #[derive(serde::Deserialize)]
    struct Large {
        #[serde(default)]
        _numbers: [u64; 32],
    }
    let bytes = bytes_of(&10_000_u32);
    assert_eq!(refusal_within::<Vec<Large>>(&peer(&seq(structure("Empty", []))), &bytes, Budget::of(64 << 10)), Some(Refusal::Bytes));
}

/// How many values are visited to pass over, or to read, this message; and whether it can be.
fn steps<'de, T: Deserialize<'de>>(peer: &'de Peer, bytes: &'de [u8]) -> (usize, Result<(), String>) {
    let input = Input::new(bytes, Budget::default(), size_of::<T>()).expect("few bytes");
    let before = input.steps;
    let mut message = Origin::Message(Adapter::new(peer, Place::Node(0), None, input));
    let read = T::deserialize(De(&mut message)).map(drop);
    let Origin::Message(mut adapter) = message else { unreachable!("it was made above") };
    let read = read.and_then(|()| adapter.pass());
    (before - adapter.input.steps, read.map_err(|fault| fault.to_string()))
}

#[test]
fn few_bytes_are_read_in_few_steps_whatever_their_schema_is() {
    let is_too_many = |read: Result<(), String>| read.is_err_and(|text| text.ends_with("too many values in so few bytes"));
    let most = |bytes: &[u8]| 20_000 + 50 * bytes.len();
    // What takes no bytes is one step, however much is in it: a million elements of a thousand units each, and 2^64 units.
    let million = bytes_of(&(1_u64 << 20));
    assert_eq!(steps::<IgnoredAny>(&peer(&seq(tuple(vec![Unit; 1000]))), &million), (2, Ok(())));
    let doubling = sent(schema((1..=64).map(|id| Node::Tuple(vec![id, id])).chain([Node::Unit]).collect()));
    assert_eq!(steps::<IgnoredAny>(&doubling, &[]), (2, Ok(())));
    // Whoever reads it does so one by one, and not for long.
    #[derive(serde::Deserialize)]
    struct Sized {
        #[serde(default)]
        _number: u8,
    }
    let (taken, read) = steps::<Vec<Sized>>(&peer(&seq(structure("Empty", []))), &million);
    assert!(taken <= most(&million) && is_too_many(read), "{taken}");
    // But a reader of a list of nothing has it so without a schema: these steps are not counted.
    assert_eq!(steps::<Vec<()>>(&peer(&seq(Unit)), &million), (1, Ok(())));
    // Types in types around each byte, and what takes no bytes beside it.
    let wrapped = (1..120).map(|id| Node::TupleStruct("A".into(), vec![id])).chain([Node::U16]);
    let beside = [Node::Tuple([vec![1; 5000], vec![2]].concat()), Node::Unit, Node::U16];
    for nodes in [wrapped.collect::<Vec<_>>(), beside.into()] {
        let listed = sent(schema([Node::Seq(1)].into_iter().chain(nodes.into_iter().map(|node| shifted(node, 1))).collect()));
        let bytes = [vec![100], vec![0; 100]].concat();
        let (steps, read) = steps::<IgnoredAny>(&listed, &bytes);
        assert!(steps <= most(&bytes), "{steps}");
        assert_eq!(read.is_ok(), steps < 16_000, "{steps}");
    }
    // Other names of a variant, or of a field, that are looked through for one that the reader knows.
    let aliases: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let enums = sent(schema(vec![Node::Enum("A".into(), vec![Variant { aliases: aliases.clone(), ..unit_variant("x") }])]));
    assert!(is_too_many(steps::<Color>(&enums, &[0]).1));
    let structs = sent(schema(vec![Node::Struct("A".into(), fields(vec![Field { aliases, ..field("x", 1) }])), Node::U8]));
    assert!(is_too_many(steps::<Named>(&structs, &[0]).1));
}

/// The same node, its parts so much further back.
fn shifted(node: Node, by: Id) -> Node {
    match node {
        Node::TupleStruct(name, parts) => Node::TupleStruct(name, parts.into_iter().map(|part| part + by).collect()),
        Node::Tuple(parts) => Node::Tuple(parts.into_iter().map(|part| part + by).collect()),
        plain => plain,
    }
}

#[derive(serde::Deserialize)]
struct Named {
    #[serde(default)]
    _y: u8,
}

#[test]
fn lists_of_lists_are_no_deeper_than_others() {
    let writer = sent(schema(vec![Node::Seq(0)]));
    assert_eq!(refusal::<IgnoredAny>(&writer, &[1; 1 << 20]), Some(Refusal::Depth));
    assert_eq!(refusal::<serde_json::Value>(&writer, &[1; 1 << 20]), Some(Refusal::Depth));
    // A million empty lists are a megabyte, and much more in memory.
    let bytes = [bytes_of(&1_000_000_u32), vec![0; 1_000_000]].concat();
    assert!(value::<IgnoredAny>(&writer, 0, &bytes, Budget::default()).is_ok());
    assert_eq!(refusal::<Vec<Vec<[u64; 8]>>>(&writer, &[bytes_of(&3_000_000_u32), vec![0; 3_000_000]].concat()), Some(Refusal::Bytes));
}

#[test]
fn no_more_elements_are_declared_than_the_rest_can_hold() {
    let line = structure("Line", [("a", F64), ("b", F64)]);
    let writer = peer(&seq(line.clone()));
    let text = |bytes: &[u8]| value::<IgnoredAny>(&writer, 0, bytes, Budget::default()).map(drop).expect_err("too short").to_string();
    assert_eq!(text(&[200, 1]), "the bytes end inside the value", "what nobody wants is only passed over");
    let text = |bytes: &[u8]| value::<Vec<(f64, f64)>>(&writer, 0, bytes, Budget::default()).map(drop).expect_err("too short").to_string();
    assert_eq!(text(&[2; 32]), "2 elements are declared, but only 31 bytes are left");
    let entries = peer(&map(F64, line));
    let read = value::<BTreeMap<String, IgnoredAny>>(&entries, 0, &[1; 24], Budget::default()).map(drop);
    assert_eq!(read.expect_err("too short").to_string(), "1 elements are declared, but only 23 bytes are left");
}

/// Each of 64 tuples is twice the next: 2^64 values, from a table of 65 nodes.
#[test]
fn a_tuple_that_doubles_sixty_four_times_takes_no_time() {
    let doubling = |leaf| (1..=64).map(|id| Node::Tuple(vec![id, id])).chain([leaf]).collect::<Vec<_>>();
    soon(|| {
        let writer = sent(schema(doubling(Node::U8)));
        assert!(value::<IgnoredAny>(&writer, 0, &[0; 1000], Budget::default()).is_err());
        let listed = sent(schema(vec![Node::Seq(1)].into_iter().chain((2..=65).map(|id| Node::Tuple(vec![id, id]))).chain([Node::U8]).collect()));
        let text = value::<Vec<IgnoredAny>>(&listed, 0, &[1; 1000], Budget::default()).map(drop).expect_err("2^64 bytes").to_string();
        assert_eq!(text, "1 elements are declared, but only 999 bytes are left", "its least size is as large as numbers get");
        let empty = sent(schema(doubling(Node::Unit)));
        assert!(value::<IgnoredAny>(&empty, 0, &[], Budget::default()).is_ok(), "2^64 units are no bytes");
        assert_eq!(refusal::<IgnoredAny>(&empty, &[0]), None, "and so a byte is one too many");
        let (one, other) = (doubling(Node::U8), doubling(Node::U16));
        assert_eq!(fit((&one, 0), (&other, 0)), Fit::Adapts);
    });
}

#[test]
fn options_in_options_end_with_the_message() {
    let chain: Vec<_> = (1..4096).map(Node::Option).chain([Node::U8]).collect();
    let endless = vec![Node::Option(0)];
    for nodes in [chain, endless] {
        let writer = sent(schema(nodes.clone()));
        assert_eq!(refusal::<Option<Option<u8>>>(&writer, &[1, 1, 0]), None);
        assert_eq!(value::<Option<Option<u8>>>(&writer, 0, &[1, 0], Budget::default()).ok(), Some(Some(None)));
        assert_eq!(refusal::<IgnoredAny>(&writer, &[1; 5000]), Some(Refusal::Depth));
        assert_eq!(refusal::<serde_json::Value>(&writer, &[1; 5000]), Some(Refusal::Depth));
        assert_eq!(refusal::<u16>(&writer, &[1; 4000]), None, "the message ends");
        let reader = nodes_of_a_number();
        assert!(matches!(fit((&nodes, 0), (&reader, 0)), Fit::Depends(_) | Fit::Never(_)));
        assert_eq!(fit((&nodes, 0), (&nodes, 0)), Fit::Same);
    }
}

fn nodes_of_a_number() -> Vec<Node> {
    nodes(&U8)
}

#[test]
fn an_enum_without_variants_has_no_values() {
    let writer = sent(schema(vec![Node::Enum("Never".into(), Vec::new())]));
    for bytes in [&[][..], &[0], &[0xff, 0xff, 0xff, 0xff, 0x0f]] {
        assert!(value::<IgnoredAny>(&writer, 0, bytes, Budget::default()).is_err());
        assert!(value::<Result<u8, u8>>(&writer, 0, bytes, Budget::default()).is_err());
        assert!(value::<String>(&writer, 0, bytes, Budget::default()).is_err());
    }
}

#[test]
fn what_the_writer_does_not_know_is_not_read() {
    let unknown = Variant { shape: Shape::Unknown, ..unit_variant("Ok") };
    let writers =
        [sent(schema(vec![Node::Opaque("a secret".into())])), sent(schema(vec![Node::Enum("A".into(), vec![unknown, unit_variant("Err")])]))];
    for writer in &writers {
        let text = |read: Result<(), Fault>| read.expect_err("not known").to_string();
        let not_known = "the writer does not know the shape of this value";
        assert!(text(value::<IgnoredAny>(writer, 0, &[0], Budget::default()).map(drop)).ends_with(not_known));
        assert!(text(value::<Result<u8, u8>>(writer, 0, &[0], Budget::default()).map(drop)).ends_with(not_known));
        assert!(text(value::<Result<(u8, u8), u8>>(writer, 0, &[0], Budget::default()).map(drop)).ends_with(not_known));
    }
    assert!(value::<Color>(&writers[1], 0, &[1], Budget::default()).is_ok(), "the other variant is");
}

#[derive(serde::Deserialize)]
enum Color {
    #[serde(alias = "Err")]
    _Red,
}

/// Names are not in the message, so the message does not pay for them.
#[test]
fn names_that_become_texts_are_paid_for() {
    let long = "x".repeat(512);
    let variants = sent(schema(vec![Node::Seq(1), Node::Enum("A".into(), vec![unit_variant(&long)])]));
    let many = [bytes_of(&200_000_u32), vec![0; 200_000]].concat();
    assert_eq!(refusal::<Vec<String>>(&variants, &many), Some(Refusal::Bytes));
    assert_eq!(refusal::<Vec<serde_json::Value>>(&variants, &many), Some(Refusal::Bytes));
    let list = (0..100).map(|n| field(&format!("{n}{long}")[..512], 2)).collect();
    let structs = sent(schema(vec![Node::Seq(1), Node::Struct("A".into(), fields(list)), Node::Unit]));
    let many = bytes_of(&100_u32);
    let budget = Budget::of(64 << 10);
    assert_eq!(refusal_within::<Vec<BTreeMap<String, ()>>>(&structs, &many, budget), Some(Refusal::Bytes));
    assert_eq!(refusal_within::<Vec<serde_json::Value>>(&structs, &many, budget), Some(Refusal::Bytes));
}

/// A reader that takes a refused part for nothing, and reads on: what follows has no place any more.
#[test]
fn a_reader_that_reads_on_after_a_refusal_is_refused() {
    #[derive(Debug)]
    struct Lenient;
    impl<'de> Deserialize<'de> for Lenient {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let _ = <Vec<bool>>::deserialize(deserializer);
            Ok(Self)
        }
    }
    let writer = peer(&tuple([seq(U8), U8]));
    let text = value::<(Lenient, u8)>(&writer, 0, &[2, 7, 7, 9], Budget::default()).map(drop).expect_err("it lost its place").to_string();
    assert_eq!(text, "[0]: the type reads on after a part of it was refused");
    // A number has been read when it is refused.
    #[derive(Debug, PartialEq)]
    struct Small(Option<u8>);
    impl<'de> Deserialize<'de> for Small {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Ok(Self(u8::deserialize(deserializer).ok()))
        }
    }
    let writer = peer(&tuple([U16, U8]));
    assert_eq!(value(&writer, 0, &bytes_of(&(700_u16, 9_u8)), Budget::default()).ok(), Some((Small(None), 9_u8)));
}

/// A reader that leaves a part alone: it is passed over, where it has a name, and else refused.
#[test]
fn what_a_reader_leaves_alone_is_passed_over() {
    #[derive(Debug, PartialEq)]
    struct Careless;
    impl<'de> Deserialize<'de> for Careless {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    let writer = peer(&structure("A", [("a", seq(Str)), ("b", option(U8)), ("c", U8)]));
    let bytes = bytes_of(&(vec!["x", "y"], Some(1_u8), 9_u8));
    let map: BTreeMap<String, Careless> = value(&writer, 0, &bytes, Budget::default()).expect("all is passed over");
    assert_eq!(map.len(), 3);
    let listed = peer(&tuple([seq(Str), option(U8), U8]));
    // Nothing tells one part from another there.
    let text = value::<(Careless, Option<Careless>, u8)>(&listed, 0, &bytes, Budget::default()).map(drop).expect_err("one left").to_string();
    assert_eq!(text, "the type leaves out a part of it");
}
