//! A schema to text and back.

use super::super::parse::{in_order, parse};
use super::super::text::write;
use super::super::{Lock, text};
use crate::schema::node::{Field, Fields, Id, Node, Schema, Shape, Signature, Variant};

fn field(name: &str, node: Id) -> Field {
    Field { name: name.to_owned(), aliases: Vec::new(), optional: false, node }
}

fn variant(name: &str, shape: Shape) -> Variant {
    Variant { name: name.to_owned(), aliases: Vec::new(), other: false, shape }
}

fn method(name: &str) -> Signature {
    Signature { name: name.to_owned(), arguments: Vec::new(), upload: None, returns: None, error: None, download: None }
}

fn lock(methods: Vec<Signature>, nodes: Vec<Node>) -> Lock {
    Lock { service: "shop.v1".to_owned(), schema: Schema { methods, nodes } }
}

/// A service whose method takes one value of each of these types, and the nodes behind them.
fn of_types(roots: impl IntoIterator<Item = Id>, nodes: Vec<Node>) -> Lock {
    let arguments = roots.into_iter().map(|id| (format!("a{id}"), id)).collect();
    let schema = in_order(vec![Signature { arguments, ..method("one") }], &nodes);
    Lock { service: "S".to_owned(), schema }
}

fn comes_back(lock: &Lock) -> String {
    let text = write(lock);
    match parse(&text) {
        Ok(parsed) => assert_eq!(&parsed, lock, "{text}"),
        Err(wrong) => panic!("{wrong}\n{text}"),
    }
    text
}

#[test]
fn a_lock_file_reads_like_this() {
    let strict = Fields { list: vec![field("at", 0)], strict: true };
    let nodes = vec![
        Node::U64,
        Node::Str,
        Node::Option(1),
        Node::Struct("Line".to_owned(), Fields { list: vec![field("sku", 1), Field { optional: true, ..field("qty", 0) }], strict: false }),
        Node::Seq(3),
        Node::Struct(
            "Order".to_owned(),
            Fields {
                list: vec![
                    field("id", 0),
                    field("lines", 4),
                    Field { optional: true, aliases: vec!["remark".to_owned(), "a b".to_owned()], ..field("note", 2) },
                    field("must", 2),
                ],
                strict: true,
            },
        ),
        Node::Enum(
            "PayError".to_owned(),
            vec![
                variant("Declined", Shape::Unit),
                Variant { aliases: vec!["TooMuch".to_owned()], ..variant("Limit", Shape::Newtype(0)) },
                variant("Range", Shape::Tuple(vec![0, 0])),
                variant("Late", Shape::Struct(strict)),
                variant("Secret", Shape::Unknown),
                Variant { other: true, ..variant("Else", Shape::Unit) },
            ],
        ),
        Node::Bytes,
        Node::Logical("uuid::Uuid".to_owned(), 7),
        Node::Unit,
    ];
    let methods = vec![
        Signature { download: Some(8), upload: Some(("lines".to_owned(), 3)), ..method("chat") },
        Signature { arguments: vec![("text".to_owned(), 1)], ..method("note") },
        Signature { arguments: vec![("order".to_owned(), 5), ("again".to_owned(), 9)], returns: Some(8), error: Some(6), ..method("pay") },
        Signature { download: Some(0), error: Some(6), ..method("watch") },
    ];
    let text = write(&lock(methods, nodes));
    assert_eq!(
        text,
        "\
service shop.v1

fn chat(lines: stream Line) -> stream Uuid
fn note(text: String)
fn pay(order: Order, again: ()) -> Uuid or PayError
fn watch() -> stream u64 or PayError

struct Line {
    sku: String
    qty: u64 [default]
}

struct Order [strict] {
    id: u64
    lines: Vec<Line>
    note: Option<String> [alias remark, alias \"a b\"]
    must: Option<String> [required]
}

enum PayError {
    Declined
    Limit(u64) [alias TooMuch]
    Range(u64, u64)
    Late { at: u64 } [strict]
    Secret ?
    Else [other]
}

logical Uuid \"uuid::Uuid\" = Bytes
"
    );
}

#[test]
fn every_kind_of_node_comes_back() {
    let leaves: Vec<Node> = text::LEAVES.iter().map(|(_, leaf)| leaf.clone()).collect();
    let count = leaves.len() as Id;
    let fields = |strict| Fields { list: vec![field("a", 0), Field { optional: true, ..field("b", 1) }], strict };
    let named = vec![
        Node::Option(1),
        Node::Seq(2),
        Node::Map(3, 4),
        Node::Tuple(vec![]),
        Node::Tuple(vec![5]),
        Node::Tuple(vec![5, 6]),
        Node::Tuple(vec![5, 5]),
        Node::Tuple(vec![5, 5, 5]),
        Node::Tuple(vec![7; 32]),
        Node::Tuple(vec![7, 7, 8]),
        Node::UnitStruct("Marker".to_owned()),
        Node::Newtype("Meters".to_owned(), 9),
        Node::TupleStruct("None".to_owned(), vec![]),
        Node::TupleStruct("One".to_owned(), vec![9]),
        Node::TupleStruct("Two".to_owned(), vec![9, 10]),
        Node::Struct("Empty".to_owned(), Fields { list: vec![], strict: false }),
        Node::Struct("Plain".to_owned(), fields(false)),
        Node::Struct("Strict".to_owned(), fields(true)),
        Node::Enum("Never".to_owned(), vec![]),
        Node::Enum(
            "All".to_owned(),
            vec![
                variant("Unit", Shape::Unit),
                variant("Newtype", Shape::Newtype(11)),
                variant("None", Shape::Tuple(vec![])),
                variant("One", Shape::Tuple(vec![11])),
                variant("Two", Shape::Tuple(vec![11, 12])),
                variant("Empty", Shape::Struct(Fields { list: vec![], strict: false })),
                variant("Nothing", Shape::Struct(Fields { list: vec![], strict: true })),
                Variant { other: true, aliases: vec!["x".to_owned()], ..variant("Plain", Shape::Struct(fields(false))) },
                Variant { other: true, ..variant("Strict", Shape::Struct(fields(true))) },
                variant("Unknown", Shape::Unknown),
            ],
        ),
        Node::Enum("Result".to_owned(), vec![variant("Ok", Shape::Newtype(0)), variant("Err", Shape::Newtype(1))]),
        Node::Enum("Result".to_owned(), vec![variant("Ok", Shape::Newtype(0)), variant("Err", Shape::Unit)]),
        Node::Enum("Result".to_owned(), vec![variant("Err", Shape::Newtype(0)), variant("Ok", Shape::Newtype(1))]),
        Node::Logical("core::num::NonZero<u64>".to_owned(), 10),
        Node::Opaque("it said \"no\"\n\u{7f}\\".to_owned()),
        Node::Opaque("it is silent".to_owned()),
    ];
    let nodes: Vec<Node> = leaves.into_iter().chain(named).collect();
    let roots = 0..nodes.len() as Id;
    assert!(roots.len() > count as usize);
    comes_back(&of_types(roots, nodes));
}

#[test]
fn every_shape_of_a_method_comes_back() {
    let mut methods = Vec::new();
    for choice in 0..32_u32 {
        let chosen = |bit: u32| choice & (1 << bit) != 0;
        methods.push(Signature {
            name: format!("m{choice:02}"),
            arguments: if chosen(0) { vec![("a".to_owned(), 0), ("type".to_owned(), 1)] } else { vec![] },
            upload: chosen(1).then(|| ("up".to_owned(), 1)),
            returns: chosen(2).then_some(0),
            error: chosen(3).then_some(1),
            download: chosen(4).then_some(0),
        });
    }
    let schema = in_order(methods, &[Node::U8, Node::Str]);
    comes_back(&Lock { service: "S".to_owned(), schema });
}

#[test]
fn types_that_contain_themselves_come_back() {
    let list = Fields { list: vec![Field { optional: true, ..field("next", 1) }], strict: false };
    comes_back(&of_types([0], vec![Node::Struct("List".to_owned(), list), Node::Option(0)]));
    // Without a name, as only a hand-written `Deserialize` can be.
    let text = comes_back(&of_types([0], vec![Node::Seq(1), Node::Option(0)]));
    assert!(text.contains("type Type = Vec<Option<Type>>"), "{text}");
    let inside = Fields { list: vec![Field { optional: true, ..field("a", 1) }, field("b", 1)], strict: false };
    comes_back(&of_types([0], vec![Node::Struct("Odd".to_owned(), inside), Node::Option(1)]));
}

#[test]
fn names_of_every_kind_come_back() {
    let names = [
        "a",
        "type",
        "stream",
        "or",
        "and",
        "fn",
        "struct",
        "}",
        "{",
        "a b",
        "kebab-case",
        "a->b",
        "-",
        "payment.captured",
        "größe",
        "",
        "\"",
        "\\",
        "\n",
        "u64",
        "#",
        "?",
        "😀",
        "a:",
        "default",
        "alias",
        "0",
    ];
    let fields = Fields { list: names.iter().map(|name| Field { aliases: vec![(*name).to_owned()], ..field(name, 0) }).collect(), strict: false };
    let variants = names.iter().map(|name| variant(name, Shape::Struct(fields.clone()))).collect();
    let mut nodes = vec![Node::U64, Node::Struct("Names".to_owned(), fields), Node::Enum("Names".to_owned(), variants)];
    nodes.extend(names.iter().map(|name| Node::UnitStruct((*name).to_owned())));
    let lock = of_types(0..nodes.len() as Id, nodes);
    let mut methods: Vec<_> = names.iter().map(|name| Signature { name: (*name).to_owned(), ..lock.schema.methods[0].clone() }).collect();
    methods.sort_by(|one, other| one.name.cmp(&other.name));
    for service in names {
        let schema = Schema { methods: methods.clone(), nodes: lock.schema.nodes.clone() };
        comes_back(&Lock { service: service.to_owned(), schema });
    }
}

#[test]
fn types_of_one_name_are_told_apart() {
    let nodes = vec![
        Node::Newtype("a::Id".to_owned(), 2),
        Node::Newtype("Id".to_owned(), 3),
        Node::U8,
        Node::U16,
        Node::Newtype("Id2".to_owned(), 2),
        Node::Newtype("Vec".to_owned(), 2),
    ];
    let text = comes_back(&of_types([0, 1, 4, 5], nodes));
    for line in ["struct Id \"a::Id\"(u8)", "struct Id2 \"Id\"(u16)", "struct Id22 \"Id2\"(u8)", "struct Vec2 \"Vec\"(u8)"] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn comments_empty_lines_and_other_line_ends_mean_nothing() {
    let nodes = vec![Node::Struct("Order".to_owned(), Fields { list: vec![field("id", 1)], strict: false }), Node::U64];
    let lock = of_types([0], nodes);
    let text = write(&lock);
    let loose = format!("# a comment\r\n\r\n{}\r\n\r\n", text.replace('\n', "\r\n# between\r\n\r\n  "));
    assert_eq!(parse(&loose).expect("a lock"), lock);
}

#[track_caller]
fn wrong(text: &str, line: usize, words: &str) {
    match parse(text) {
        Ok(lock) => panic!("{lock:?}"),
        Err(wrong) => assert_eq!((wrong.line, wrong.text.as_str()), (line, words)),
    }
}

#[test]
fn an_error_names_its_line() {
    wrong("", 1, "no line `service NAME`");
    wrong("service S\nservice S", 2, "a second service");
    wrong("service S\nfn pay(order: Order)", 2, "expected a type, found `Order`");
    wrong("service S\n\nfn pay(order u8)", 3, "expected `:`, found `u8`");
    wrong("service S\nfn pay(a: u8", 2, "expected `)`, found the end of the line");
    wrong("service S\nfn pay() u8", 2, "expected the end of the line, found `u8`");
    wrong("service S\nfn pay()\nfn pay()", 3, "a second method pay");
    wrong("service S\nfn pay(a: stream u8, b: stream u8)", 2, "a second argument that is a stream");
    wrong("service S\n<<<<<<< ours", 2, "expected `service`, `fn`, `struct`, `enum`, `logical`, `opaque` or `type`, found `<`");
    wrong("service S\nstruct A\nstruct A", 3, "a second definition of `A`");
    wrong("service S\nstruct A {\n    a: u8", 3, "expected `}`, found the end of the file");
    wrong("service S\nstruct A {\n    a: u8 [optional]\n}", 3, "unknown mark `optional`");
    wrong("service S\nenum A {\n    B(u8\n}", 3, "expected `)`, found the end of the line");
    wrong("service S\nenum A {\n    B [strict]\n}", 3, "only what has fields is strict");
    wrong("service S\nfn pay(a: (u8))", 2, "a tuple of one type ends in a comma: `(T,)`");
    wrong("service S\nfn pay(a: [u8; many])", 2, "`many` is no length of an array");
    wrong("service S\nfn pay(a: [u8; 99999999])", 2, "`99999999` is no length of an array");
    wrong("service S\nfn \"pay()", 2, "a quote that does not end");
    wrong("service S\nlogical A = u8", 2, "expected the path of the type, in quotes");
    let deep = format!("service S\nfn pay(a: {}u8{})", "Vec<".repeat(100_000), ">".repeat(100_000));
    wrong(&deep, 2, "types nested deeper than 64");
}

#[test]
fn no_text_makes_the_reader_panic() {
    let nodes = vec![
        Node::Struct("Order".to_owned(), Fields { list: vec![field("a b", 1)], strict: true }),
        Node::Tuple(vec![2, 2, 2]),
        Node::Enum("E".to_owned(), vec![variant("A", Shape::Struct(Fields { list: vec![field("x", 3)], strict: true }))]),
        Node::Logical("x::Y".to_owned(), 4),
        Node::Option(4),
    ];
    let nodes = nodes.into_iter().chain([Node::Str]).collect::<Vec<_>>();
    let text = write(&of_types([0], {
        let mut nodes = nodes;
        nodes[4] = Node::Option(5);
        nodes
    }));
    for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
        let _ = parse(&text[..at]);
        for sign in ["{", "}", "(", ")", "[", "]", "<", ">", ",", "\"", "->", " ", "\n", "\\", "="] {
            let _ = parse(&format!("{}{sign}{}", &text[..at], &text[at..]));
            let _ = parse(&format!("{}{sign}{}", &text[..at], text.get(at + 1..).unwrap_or_default()));
        }
    }
}
