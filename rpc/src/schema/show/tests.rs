//! Tables written by hand, and what people read of them.

use super::*;

fn field(name: &str, node: Id) -> Field {
    Field { name: name.to_owned(), aliases: Vec::new(), optional: false, node }
}

fn fields(list: &[(&str, Id)]) -> Fields {
    Fields { list: list.iter().map(|(name, node)| field(name, *node)).collect(), strict: false }
}

fn variant(name: &str, shape: Shape) -> Variant {
    Variant { name: name.to_owned(), aliases: Vec::new(), other: false, shape }
}

#[test]
fn types_without_a_name_read_as_in_rust() {
    let nodes = [
        Node::U64,                                                                                                  // 0
        Node::Option(0),                                                                                            // 1
        Node::U8,                                                                                                   // 2
        Node::Str,                                                                                                  // 3
        Node::Tuple(vec![2, 3]),                                                                                    // 4
        Node::Seq(4),                                                                                               // 5
        Node::Map(3, 5),                                                                                            // 6
        Node::Tuple(vec![]),                                                                                        // 7
        Node::Tuple(vec![1]),                                                                                       // 8
        Node::Tuple(vec![2; 16]),                                                                                   // 9
        Node::Tuple(vec![2, 2]),                                                                                    // 10
        Node::Bytes,                                                                                                // 11
        Node::Unit,                                                                                                 // 12
        Node::Enum("Result".to_owned(), vec![variant("Ok", Shape::Newtype(0)), variant("Err", Shape::Newtype(3))]), // 13
    ];
    let show = Show::new(&nodes);
    let texts: Vec<_> = (0..nodes.len() as Id).map(|id| show.inline(id)).collect();
    assert_eq!(
        texts,
        [
            "u64",
            "Option<u64>",
            "u8",
            "String",
            "(u8, String)",
            "Vec<(u8, String)>",
            "Map<String, Vec<(u8, String)>>",
            "()",
            "(Option<u64>,)",
            "[u8; 16]",
            "(u8, u8)",
            "Bytes",
            "()",
            "Result<u64, String>",
        ]
    );
    assert_eq!(show.definitions([6, 13]), "", "nothing here has a name");
}

#[test]
fn definitions_stand_in_the_order_in_which_their_names_are_met() {
    let mut order = fields(&[("id", 0), ("lines", 2), ("note", 4), ("type", 0), ("unit price", 6), ("hint", 4)]);
    order.list[1].aliases.push("rows".to_owned());
    order.list[2].optional = true;
    order.list[3].optional = true;
    let mut line = fields(&[("sku", 3), ("next", 5)]);
    line.strict = true;
    line.list[1].optional = true;
    let mut lost = variant("lost", Shape::Unit);
    lost.other = true;
    let nodes = [
        Node::U64,                               // 0
        Node::Struct("Line".to_owned(), line),   // 1
        Node::Seq(1),                            // 2
        Node::Str,                               // 3
        Node::Option(3),                         // 4
        Node::Option(1),                         // 5: recursion
        Node::Newtype("Cents".to_owned(), 0),    // 6
        Node::Struct("Order".to_owned(), order), // 7
        Node::Enum(
            "PayError".to_owned(),
            vec![
                variant("Declined", Shape::Newtype(6)),
                variant("payment.late", Shape::Struct(fields(&[("at", 0), ("by", 3)]))),
                variant("Moved", Shape::Tuple(vec![0, 3])),
                variant("Odd", Shape::Unknown),
                lost,
            ],
        ), // 8
        Node::UnitStruct("Gone".to_owned()),     // 9
        Node::TupleStruct("Point".to_owned(), vec![0, 9]), // 10
    ];
    let show = Show::new(&nodes);
    assert_eq!(
        show.definitions([7, 8, 10]),
        r#"struct Order {
    id: u64,
    #[serde(alias = "rows")]
    lines: Vec<Line>,
    note: Option<String>,
    #[serde(default)]
    r#type: u64,
    #[serde(rename = "unit price")]
    unit_price: Cents,
    hint: Option<String>, // has to be there
}

enum PayError {
    Declined(Cents),
    #[serde(rename = "payment.late")]
    PaymentLate { at: u64, by: String },
    Moved(u64, String),
    Odd, // what it holds is not known
    #[serde(other)]
    lost,
}

struct Point(u64, Gone);

#[serde(deny_unknown_fields)]
struct Line {
    sku: String,
    next: Option<Line>,
}

struct Cents(u64);

struct Gone;
"#
    );
}

#[test]
fn types_of_one_name_are_told_apart() {
    let nodes = [
        Node::Struct("Line".to_owned(), fields(&[("a", 3)])),
        Node::Struct("Line".to_owned(), fields(&[("b", 3)])),
        Node::Struct("Line2".to_owned(), fields(&[("c", 3)])),
        Node::Str,
        Node::Struct("Vec".to_owned(), fields(&[])),
        Node::Struct("Line".to_owned(), fields(&[])),
    ];
    let show = Show::new(&nodes);
    let texts: Vec<_> = (0..nodes.len() as Id).map(|id| show.inline(id)).collect();
    assert_eq!(texts, ["Line", "Line2", "Line22", "String", "Vec2", "Line3"]);
    assert_eq!(show.definitions([4]), "struct Vec2 {}\n");
}

#[test]
fn a_type_that_checks_is_shown_by_its_own_name_with_what_it_is_made_of() {
    let nodes = [
        Node::Bytes,
        Node::Logical("uuid::Uuid".to_owned(), 0),
        Node::Str,
        Node::Newtype("Token".to_owned(), 2),
        Node::Logical("shop::card::Token".to_owned(), 3),
        Node::U64,
        Node::Logical("core::num::nonzero::NonZero<u64>".to_owned(), 5),
        Node::Opaque("Value: deserialize_any".to_owned()),
    ];
    let show = Show::new(&nodes);
    assert_eq!([1, 4, 6, 7].map(|id| show.inline(id)), ["Uuid", "Token", "NonZero", "Opaque"]);
    assert_eq!(
        show.definitions([1, 4, 6, 7]),
        "/// uuid::Uuid, which may ask for more than this.
type Uuid = Bytes;

struct Token(String);

/// core::num::nonzero::NonZero<u64>, which may ask for more than this.
type NonZero = u64;

/// Value: deserialize_any
struct Opaque { .. }
"
    );
}

#[test]
fn what_a_stranger_calls_its_types_cannot_reach_the_terminal() {
    let nodes = [
        Node::Struct("A\u{1b}[2J".to_owned(), fields(&[("x\r\n}", 1), ("self", 1), ("", 1), ("\u{202e}fn", 1)])),
        Node::U8,
        Node::Opaque("\u{1b}]0;owned\u{7}\nstruct Fake;".to_owned()),
        Node::Logical("a::\u{9b}B".to_owned(), 1),
    ];
    let show = Show::new(&nodes);
    let text = show.definitions([0, 2, 3]);
    assert_eq!(
        text,
        "struct A2J {
    #[serde(rename = \"x\\r\\n}\")]
    x___: u8,
    #[serde(rename = \"self\")]
    self_: u8,
    #[serde(rename = \"\")]
    _: u8,
    #[serde(rename = \"\\u{202e}fn\")]
    _fn: u8,
}

/// \\u{1b}]0;owned\\u{7}\\nstruct Fake;
struct Opaque { .. }

/// a::\\u{9b}B, which may ask for more than this.
type B = u8;
"
    );
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
}

#[test]
fn a_text_ends_whatever_the_table_says() {
    // Each pair holds the next one twice; the last one holds the first: 2^4096 names, and a circle.
    let count = 4_096;
    let mut nodes: Vec<_> = (0..count).map(|id| Node::Tuple(vec![(id + 1) % count; 2])).collect();
    let show = Show::new(&nodes);
    assert!(show.inline(0).len() < 2 * LONGEST);
    // Alone in a circle, and out of range.
    nodes = vec![Node::Seq(0), Node::Logical("Vec".to_owned(), 9), Node::Option(7)];
    let show = Show::new(&nodes);
    assert!(show.inline(0).ends_with(&format!("Vec<{CUT}{}", ">".repeat(DEPTH + 1))), "{}", show.inline(0));
    assert_eq!(show.inline(2), "Option<..>");
    assert_eq!(show.inline(77), "..");
    // Many fields with long names and long types: a schema of a megabyte gives not many more of text.
    let wide = fields(&vec![("name", 0); 100_000]);
    nodes = vec![Node::Tuple(vec![1; 2]), Node::Tuple(vec![2, 3]), Node::Tuple(vec![3, 0]), Node::Str];
    nodes.extend((0..20).map(|_| Node::Struct("Wide".to_owned(), wide.clone())));
    let show = Show::new(&nodes);
    assert!(show.definitions(4..24).len() < 2 * LONGEST_DEFINITIONS);
}

#[test]
fn the_keywords_are_in_order() {
    assert!(is_keyword("abstract") && is_keyword("yield") && is_keyword("type") && is_keyword("gen"));
    assert!(!is_keyword("self") && !is_keyword("order"));
}
