//! What may change in a type while its old messages are still read: each case is a writer's type and value, the reader's type,
//! and what comes of it. Beside each, serde_json carries the same value between the same two types, and has to agree, or to
//! refuse what is read here.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::super::super::fit::{Fit, fit};
use super::types::*;
use super::*;

/// What must come of a case.
enum Expected {
    /// This, as JSON: the same value there.
    Reads(&'static str),
    /// This, as JSON, though JSON itself refuses.
    ReadsWhereJsonRefuses(&'static str),
    /// This text; JSON refuses too.
    Refuses(&'static str),
}
use Expected::*;

fn check<W: Serialize, R: DeserializeOwned + Serialize + Debug>(writer: &Type, written: &W, expected: &Expected) {
    let json = serde_json::to_string(written).expect("plain data");
    let by_json = serde_json::from_str::<R>(&json).map(|value| serde_json::to_value(&value).expect("plain data"));
    let bytes = bytes_of(written);
    let adapted = read::<R>(writer, &bytes).map(|value| serde_json::to_value(&value).expect("plain data"));
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("the expected value is JSON");
    match expected {
        Reads(text) => {
            assert_eq!(adapted.as_ref(), Ok(&value(text)));
            assert_eq!(by_json.ok(), adapted.ok(), "JSON does the same with {json}");
        }
        ReadsWhereJsonRefuses(text) => {
            assert_eq!(adapted, Ok(value(text)));
            assert!(by_json.is_err(), "JSON reads {json} as {by_json:?}");
        }
        Refuses(text) => {
            assert_eq!(adapted, Err((*text).to_owned()));
            assert!(by_json.is_err(), "JSON reads {json} as {by_json:?}");
        }
    }
}

/// What is said beforehand of all values, which has to agree with what becomes of this one.
#[derive(Debug, PartialEq)]
enum All {
    Same,
    Adapts,
    Depends,
    Never,
}
use All::*;

fn check_fit(writer: &Type, reader: &Type, expected: &All, value: &Expected) {
    let fit = fit((&nodes(writer), 0), (&nodes(reader), 0));
    let all = match &fit {
        Fit::Same => Same,
        Fit::Adapts => Adapts,
        Fit::Depends(reasons) | Fit::Never(reasons) => {
            assert!(!reasons.is_empty());
            if matches!(fit, Fit::Depends(_)) { Depends } else { Never }
        }
    };
    assert_eq!(&all, expected, "{fit:?}");
    let refused = matches!(value, Refuses(_));
    assert!(matches!((all, refused), (Same | Adapts, false) | (Depends, _) | (Never, true)), "{fit:?}");
}

/// `name: the writer's type, a value of it => the reader's type, and how a schema has it, what becomes of all values, and of this;`
macro_rules! cases {
    ($($name:ident: $writer:expr, $written:expr => $reader:ty: $reader_type:expr, $fit:expr, $expected:expr;)*) => {$(
        #[test]
        fn $name() {
            check::<_, $reader>(&$writer, &$written, &$expected);
            check_fit(&$writer, &$reader_type, &$fit, &$expected);
        }
    )*};
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Old {
    a: u32,
    b: String,
}

fn old() -> Type {
    structure("Old", [("a", U32), ("b", Str)])
}

fn an_old(a: u32) -> Old {
    Old { a, b: "x".into() }
}

#[derive(Debug, Serialize, Deserialize)]
struct WithDefault {
    a: u32,
    b: String,
    #[serde(default)]
    c: u8,
}

#[derive(Debug, Serialize, Deserialize)]
struct WithOption {
    a: u32,
    c: Option<u8>,
    b: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct WithRequired {
    a: u32,
    b: String,
    c: u8,
}

#[derive(Debug, Serialize, Deserialize)]
struct Without {
    b: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Reordered {
    b: String,
    a: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Of<A> {
    a: A,
    b: String,
}

fn of(a: Type) -> Type {
    structure("Of", [("a", a), ("b", Str)])
}

fn an_of<A>(a: A) -> Of<A> {
    Of { a, b: "x".into() }
}

#[derive(Debug, Serialize, Deserialize)]
struct Number(u32);

#[derive(Debug, Serialize, Deserialize)]
struct Renamed {
    #[serde(alias = "a")]
    amount: u32,
    b: String,
}

fn with_default() -> Type {
    structure("WithDefault", [("a", U32), ("b", Str), ("c?", U8)])
}

fn renamed() -> Type {
    structure("Renamed", [("amount|a", U32), ("b", Str)])
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    b: String,
}

cases! {
    a_field_with_a_default_is_added: old(), an_old(300) => WithDefault: with_default(), Adapts, Reads(r#"{"a":300,"b":"x","c":0}"#);
    an_optional_field_is_added_in_the_middle: old(), an_old(300) => WithOption: structure("WithOption", [("a", U32), ("c", option(U8)), ("b", Str)]), Adapts, Reads(r#"{"a":300,"c":null,"b":"x"}"#);
    a_required_field_is_added: old(), an_old(300) => WithRequired: structure("WithRequired", [("a", U32), ("b", Str), ("c", U8)]), Never, Refuses("missing field `c`");
    a_field_is_removed: old(), an_old(300) => Without: structure("Without", [("b", Str)]), Adapts, Reads(r#"{"b":"x"}"#);
    a_field_is_removed_from_a_strict_type: old(), an_old(300) => Strict: structure("Strict!", [("b", Str)]), Never, Refuses("unknown field `a`, expected `b`");
    fields_change_places: old(), an_old(300) => Reordered: structure("Reordered", [("b", Str), ("a", U32)]), Adapts, Reads(r#"{"a":300,"b":"x"}"#);
    a_number_is_widened: old(), an_old(300) => Of<u64>: of(U64), Adapts, Reads(r#"{"a":300,"b":"x"}"#);
    a_number_is_narrowed_and_fits: old(), an_old(3) => Of<u8>: of(U8), Depends, Reads(r#"{"a":3,"b":"x"}"#);
    a_number_is_narrowed_and_does_not_fit: old(), an_old(300) => Of<u8>: of(U8), Depends, Refuses("a: invalid value: integer `300`, expected u8");
    a_number_becomes_signed: old(), an_old(300) => Of<i64>: of(I64), Adapts, Reads(r#"{"a":300,"b":"x"}"#);
    a_number_becomes_a_float: old(), an_old(300) => Of<f64>: of(F64), Adapts, Reads(r#"{"a":300.0,"b":"x"}"#);
    a_field_becomes_optional: old(), an_old(300) => Of<Option<u32>>: of(option(U32)), Adapts, Reads(r#"{"a":300,"b":"x"}"#);
    a_field_becomes_required_and_is_there: of(option(U32)), an_of(Some(3_u32)) => Old: old(), Depends, Reads(r#"{"a":3,"b":"x"}"#);
    a_field_becomes_required_and_is_not_there: of(option(U32)), an_of(None::<u32>) => Old: old(), Depends, Refuses("a: nothing, where something is required");
    a_number_becomes_a_newtype: old(), an_old(300) => Of<Number>: of(newtype("Number", U32)), Same, Reads(r#"{"a":300,"b":"x"}"#);
    a_newtype_becomes_a_number: of(newtype("Number", U32)), an_of(Number(3)) => Old: old(), Same, Reads(r#"{"a":3,"b":"x"}"#);
    a_field_is_renamed_and_the_reader_has_the_alias: old(), an_old(300) => Renamed: renamed(), Adapts, Reads(r#"{"amount":300,"b":"x"}"#);
    a_field_is_renamed_and_the_writer_has_the_alias:
        renamed(), Renamed { amount: 3, b: "x".into() } => Old: old(),
        Adapts, ReadsWhereJsonRefuses(r#"{"a":3,"b":"x"}"#);
    a_text_becomes_borrowed: of(Str), an_of("text") => Of<Cow<'static, str>>: of(Str), Same, Reads(r#"{"a":"text","b":"x"}"#);

    a_negative_number_becomes_unsigned: of(I32), an_of(-1) => Old: old(), Depends, Refuses("a: invalid value: integer `-1`, expected u32");
    a_signed_number_becomes_unsigned_and_fits: of(I64), an_of(7_i64) => Old: old(), Depends, Reads(r#"{"a":7,"b":"x"}"#);
    a_float_becomes_a_number: of(F64), an_of(3.0) => Old: old(), Never, Refuses("a: invalid type: floating point `3.0`, expected u32");
    a_bool_becomes_a_number: of(Bool), an_of(true) => Old: old(), Never, Refuses("a: invalid type: boolean `true`, expected u32");
    a_float_is_widened: of(F32), an_of(1.5_f32) => Of<f64>: of(F64), Adapts, Reads(r#"{"a":1.5,"b":"x"}"#);
    a_float_is_narrowed: of(F64), an_of(0.1_f64) => Of<f32>: of(F32), Adapts, Reads(r#"{"a":0.10000000149011612,"b":"x"}"#);
    sixty_four_bits_become_more: of(U64), an_of(u64::MAX) => Of<u128>: of(U128), Adapts, Reads(r#"{"a":18446744073709551615,"b":"x"}"#);
    a_hundred_and_twenty_eight_bits_become_fewer_and_fit: of(U128), an_of(7_u128) => Of<u16>: of(U16), Depends, Reads(r#"{"a":7,"b":"x"}"#);
    signed_ones_too: of(I128), an_of(-7_i128) => Of<i16>: of(I16), Depends, Reads(r#"{"a":-7,"b":"x"}"#);
    a_sign_is_dropped_at_the_top_of_the_range: of(I128), an_of(i128::from(u64::MAX)) => Of<u64>: of(U64), Depends, Reads(r#"{"a":18446744073709551615,"b":"x"}"#);
    a_hundred_and_twenty_eight_bits_do_not_fit: of(U128), an_of(u128::MAX) => Old: old(),
        Depends, Refuses("a: invalid type: integer `340282366920938463463374607431768211455` as u128, expected u32");
    a_char_becomes_a_text: of(Char), an_of('ß') => Of<String>: of(Str), Adapts, Reads(r#"{"a":"ß","b":"x"}"#);
    a_text_of_one_letter_becomes_a_char: of(Str), an_of("ß") => Of<char>: of(Char), Depends, Reads(r#"{"a":"ß","b":"x"}"#);
    a_longer_text_becomes_a_char: of(Str), an_of("ab") => Of<char>: of(Char), Depends, Refuses("a: invalid value: string \"ab\", expected a character");
    a_unit_becomes_optional: of(Unit), an_of(()) => Of<Option<u32>>: of(option(U32)), Adapts, Reads(r#"{"a":null,"b":"x"}"#);
    nothing_becomes_a_unit: of(option(U32)), an_of(None::<u32>) => Of<()>: of(Unit), Depends, Reads(r#"{"a":null,"b":"x"}"#);
    one_value_becomes_many: old(), an_old(1) => Of<Vec<u32>>: of(seq(U32)), Never, Refuses("a: invalid type: integer `1`, expected a sequence");
    a_tuple_becomes_a_sequence: of(tuple([U32, U16])), an_of((1_u32, 2_u16)) => Of<Vec<u32>>: of(seq(U32)), Adapts, Reads(r#"{"a":[1,2],"b":"x"}"#);
    a_sequence_becomes_an_array: of(seq(U32)), an_of(vec![1_u32, 2]) => Of<[u8; 2]>: of(tuple([U8, U8])), Depends, Reads(r#"{"a":[1,2],"b":"x"}"#);
    a_sequence_is_too_long_for_an_array: of(seq(U32)), an_of(vec![1_u32, 2, 3]) => Of<[u8; 2]>: of(tuple([U8, U8])), Depends, Refuses("a: 1 elements too many");
    a_sequence_is_too_short_for_an_array: of(seq(U32)), an_of(vec![1_u32]) => Of<[u8; 2]>: of(tuple([U8, U8])),
        Depends, Refuses("a: invalid length 1, expected an array of length 2");
}

#[derive(Debug, Serialize, Deserialize)]
enum E {
    A,
    B(u32),
    C { x: u8 },
    D(u8, u8),
}

fn e() -> Type {
    use Holds::*;
    enumeration("E", [("A", Nothing), ("B", One(U32)), ("C", named([("x", U8)])), ("D", List(vec![U8, U8]))])
}

#[derive(Debug, Serialize, Deserialize)]
enum Shuffled {
    D(u8, u8),
    C { y: Option<u8>, x: u16 },
    New,
    B(u64),
    A,
}

fn shuffled() -> Type {
    use Holds::*;
    let variants = [("D", List(vec![U8, U8])), ("C", named([("y", option(U8)), ("x", U16)])), ("New", Nothing), ("B", One(U64)), ("A", Nothing)];
    enumeration("Shuffled", variants)
}

#[derive(Debug, Serialize, Deserialize)]
enum WithOther {
    A,
    #[serde(other)]
    Rest,
}

#[derive(Debug, Serialize, Deserialize)]
enum Fewer {
    A,
    C { x: u8 },
}

#[derive(Debug, Serialize, Deserialize)]
enum Filled {
    A {
        #[serde(default)]
        z: u8,
    },
    B(u32),
}

#[derive(Debug, Serialize, Deserialize)]
enum RenamedVariant {
    #[serde(alias = "A")]
    Alpha,
    B(u32),
}

fn renamed_variant() -> Type {
    enumeration("RenamedVariant", [("Alpha|A", Holds::Nothing), ("B", Holds::One(U32))])
}

#[derive(Debug, Serialize, Deserialize)]
struct Inner {
    x: u8,
    #[serde(default)]
    more: u8,
}

#[derive(Debug, Serialize, Deserialize)]
enum Wrapped {
    A,
    B(Box<u32>),
    C(Inner),
    D((u8, u8)),
}

fn wrapped() -> Type {
    use Holds::*;
    let inner = structure("Inner", [("x", U8), ("more?", U8)]);
    enumeration("Wrapped", [("A", Nothing), ("B", One(U32)), ("C", One(inner)), ("D", One(tuple([U8, U8])))])
}

#[derive(Debug, Serialize, Deserialize)]
enum Emptied {
    A,
    B,
    C,
    D,
}

fn emptied() -> Type {
    enumeration("Emptied", ["A", "B", "C", "D"].map(|name| (name, Holds::Nothing)))
}

#[derive(Debug, Serialize, Deserialize)]
enum Color {
    Red,
    Green,
}

fn result(value: Type) -> Type {
    enumeration("Result", [("Ok", Holds::One(value)), ("Err", Holds::One(Str))])
}

fn color() -> Type {
    enumeration("Color", [("Red", Holds::Nothing), ("Green", Holds::Nothing)])
}

cases! {
    variants_are_shuffled_and_added_1: e(), E::A => Shuffled: shuffled(), Adapts, Reads(r#""A""#);
    variants_are_shuffled_and_added_2: e(), E::B(9) => Shuffled: shuffled(), Adapts, Reads(r#"{"B":9}"#);
    variants_are_shuffled_and_added_3: e(), E::C { x: 4 } => Shuffled: shuffled(), Adapts, Reads(r#"{"C":{"y":null,"x":4}}"#);
    variants_are_shuffled_and_added_4: e(), E::D(1, 2) => Shuffled: shuffled(), Adapts, Reads(r#"{"D":[1,2]}"#);
    an_unknown_variant_with_a_value_becomes_other: e(), E::B(5) => WithOther: enumeration("WithOther", [("A", Holds::Nothing), ("Rest?", Holds::Nothing)]), Adapts, ReadsWhereJsonRefuses(r#""Rest""#);
    an_unknown_variant_with_parts_becomes_other: e(), E::D(1, 2) => WithOther: enumeration("WithOther", [("A", Holds::Nothing), ("Rest?", Holds::Nothing)]), Adapts, ReadsWhereJsonRefuses(r#""Rest""#);
    an_unknown_variant_is_refused: e(), E::B(4) => Fewer: enumeration("Fewer", [("A", Holds::Nothing), ("C", named([("x", U8)]))]), Depends, Refuses("unknown variant `B`, expected `A` or `C`");
    a_reader_may_lack_variants: e(), E::C { x: 4 } => Fewer: enumeration("Fewer", [("A", Holds::Nothing), ("C", named([("x", U8)]))]), Depends, Reads(r#"{"C":{"x":4}}"#);
    a_unit_variant_is_filled: e(), E::A => Filled: enumeration("Filled", [("A", named([("z?", U8)])), ("B", Holds::One(U32))]), Depends, ReadsWhereJsonRefuses(r#"{"A":{"z":0}}"#);
    a_variant_is_renamed_and_the_reader_has_the_alias: e(), E::A => RenamedVariant: renamed_variant(), Depends, Reads(r#""Alpha""#);
    a_variant_is_renamed_and_the_writer_has_the_alias: renamed_variant(), RenamedVariant::Alpha => E: e(), Adapts, ReadsWhereJsonRefuses(r#""A""#);
    a_variant_with_fields_becomes_one_of_a_struct: e(), E::C { x: 9 } => Wrapped: wrapped(), Adapts, Reads(r#"{"C":{"x":9,"more":0}}"#);
    a_variant_of_a_struct_becomes_one_with_fields: wrapped(), Wrapped::C(Inner { x: 5, more: 1 }) => E: e(), Adapts, Reads(r#"{"C":{"x":5}}"#);
    a_variant_of_parts_becomes_one_of_a_tuple: e(), E::D(1, 2) => Wrapped: wrapped(), Adapts, Reads(r#"{"D":[1,2]}"#);
    a_variant_of_a_tuple_becomes_one_of_parts: wrapped(), Wrapped::D((1, 2)) => E: e(), Adapts, Reads(r#"{"D":[1,2]}"#);
    what_a_variant_holds_is_boxed: e(), E::B(7) => Wrapped: wrapped(), Adapts, Reads(r#"{"B":7}"#);
    a_variant_is_emptied: e(), E::C { x: 9 } => Emptied: emptied(), Adapts, ReadsWhereJsonRefuses(r#""C""#);
    a_text_becomes_a_variant: Str, "Green" => Color: color(), Depends, Reads(r#""Green""#);
    a_text_that_is_no_variant: Str, "Blue" => Color: color(), Depends, Refuses("unknown variant `Blue`, expected `Red` or `Green`");
    a_variant_becomes_a_text: color(), Color::Green => String: Str, Adapts, Reads(r#""Green""#);
    a_variant_with_a_value_becomes_a_text: e(), E::B(1) => String: Str, Depends, Refuses("invalid type: map, expected a string");
    a_result_is_an_enum: result(U8), Ok::<u8, String>(1) => Result<u64, String>: result(U64),
        Adapts, Reads(r#"{"Ok":1}"#);
}

#[derive(Debug, Serialize, Deserialize)]
struct Two(u8, u16);

#[derive(Debug, Serialize, Deserialize)]
struct Three(u8, u16, #[serde(default)] u32);

fn two() -> Type {
    tuple_struct("Two", [U8, U16])
}

fn three() -> Type {
    tuple_struct("Three", [U8, U16, U32])
}

#[derive(Debug, Serialize, Deserialize)]
struct Octets {
    d: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Blob {
    #[serde(with = "serde_bytes")]
    d: Vec<u8>,
}

fn octets(node: Type) -> Type {
    structure("Octets", [("d", node)])
}

#[derive(Debug, Serialize, Deserialize)]
struct Numbers {
    a: u32,
    b: u32,
}

fn numbers() -> Type {
    structure("Numbers", [("a", U32), ("b", U32)])
}

/// A type that asks what is there has no shape.
fn any() -> Type {
    Type::Leaf(Node::Opaque("it asks what is there".into()))
}

#[derive(Debug, Serialize, Deserialize)]
struct Deep {
    m: BTreeMap<u32, Vec<Option<Old>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Deeper {
    m: HashMap<u64, VecDeque<Option<WithDefault>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Family {
    v: u32,
    kids: Vec<Family>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Family2 {
    kids: Vec<Family2>,
    v: u64,
    #[serde(default)]
    w: u8,
}

mod as_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Custom {
    #[serde(with = "as_text")]
    a: u64,
    b: u8,
}

#[derive(Debug, Serialize, Deserialize)]
struct Custom2 {
    b: u16,
    #[serde(with = "as_text")]
    a: u64,
}

cases! {
    a_tuple_grows_by_a_default: two(), Two(1, 2) => Three: three(), Depends, Reads("[1,2,0]");
    a_tuple_shrinks: three(), Three(1, 2, 3) => Two: two(), Adapts, ReadsWhereJsonRefuses("[1,2]");
    a_list_of_octets_becomes_bytes: octets(seq(U8)), Octets { d: vec![1, 2] } => Blob: octets(Bytes), Adapts, Reads(r#"{"d":[1,2]}"#);
    bytes_become_a_list_of_octets: octets(Bytes), Blob { d: vec![1, 200] } => Octets: octets(seq(U8)), Adapts, Reads(r#"{"d":[1,200]}"#);
    a_struct_becomes_a_map: numbers(), Numbers { a: 1, b: 2 } => BTreeMap<String, u32>: map(Str, U32),
        Adapts, Reads(r#"{"a":1,"b":2}"#);
    a_map_becomes_a_struct: map(Str, U32), BTreeMap::from([("a", 1_u32), ("b", 2), ("zz", 3)]) => Numbers: numbers(), Depends, Reads(r#"{"a":1,"b":2}"#);
    a_map_lacks_a_field: map(Str, U32), BTreeMap::from([("a", 1_u32)]) => Numbers: numbers(), Depends, Refuses("missing field `b`");
    structs_change_deep_inside: structure("Deep", [("m", map(U32, seq(option(old()))))]),
        Deep { m: BTreeMap::from([(1, vec![None, Some(an_old(300))]), (2, vec![])]) } => Deeper: structure("Deeper", [("m", map(U64, seq(option(with_default()))))]),
        Adapts, Reads(r#"{"m":{"1":[null,{"a":300,"b":"x","c":0}],"2":[]}}"#);
    a_recursive_struct_changes: structure("Family", [("v", U32), ("kids", seq(Type::This("Family")))]),
        Family { v: 1, kids: vec![Family { v: 2, kids: vec![Family { v: 3, kids: vec![] }] }] } => Family2: structure("Family2", [("kids", seq(Type::This("Family2"))), ("v", U64), ("w?", U8)]),
        Adapts, Reads(r#"{"kids":[{"kids":[{"kids":[],"v":3,"w":0}],"v":2,"w":0}],"v":1,"w":0}"#);
    a_field_with_code_of_its_own_moves: structure("Custom", [("a", Str), ("b", U8)]), Custom { a: 77, b: 3 } => Custom2: structure("Custom2", [("b", U16), ("a", Str)]), Adapts, Reads(r#"{"b":3,"a":"77"}"#);
    a_struct_becomes_any_json: structure("Place", [("street", Str), ("zip", U32)]), Place { street: "a".into(), zip: 1 } => serde_json::Value: any(),
        Depends, Reads(r#"{"street":"a","zip":1}"#);
    an_enum_becomes_any_json: seq(e()), vec![E::A, E::B(1), E::C { x: 2 }, E::D(3, 4)] => serde_json::Value: any(),
        Depends, Reads(r#"["A",{"B":1},{"C":{"x":2}},{"D":[3,4]}]"#);
}

#[derive(Debug, Serialize, Deserialize)]
struct Place {
    street: String,
    zip: u32,
}

/// The types of other crates as their own impls have them where nobody reads: JSON has other forms for them, which is why
/// the comparison is with the values.
#[test]
fn ids_times_addresses_and_durations_move() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct First {
        id: Uuid,
        at: DateTime<Utc>,
        from: IpAddr,
        took: Duration,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Second {
        took: Duration,
        #[serde(default)]
        more: u8,
        from: IpAddr,
        at: DateTime<Utc>,
        id: Uuid,
    }
    let octet = |count| tuple(vec![U8; count]);
    let address = enumeration("IpAddr", [("V4", Holds::One(octet(4))), ("V6", Holds::One(octet(16)))]);
    let writer = structure(
        "First",
        [
            ("id", logical("uuid::Uuid", Bytes)),
            ("at", logical("chrono::DateTime<chrono::Utc>", Str)),
            ("from", address),
            ("took", structure("Duration", [("secs", U64), ("nanos", U32)])),
        ],
    );
    let first = First { id: Uuid::from_u128(9), at: DateTime::UNIX_EPOCH, from: [127, 0, 0, 1].into(), took: Duration::from_millis(1500) };
    let second: Second = read(&writer, &bytes_of(&first)).expect("all of it is there");
    let by_json: Second = serde_json::from_str(&serde_json::to_string(&first).expect("plain data")).expect("as JSON does");
    assert_eq!(second, by_json);
    assert_eq!(second, Second { took: first.took, more: 0, from: first.from, at: first.at, id: first.id });
}

pub(super) mod orders {
    use super::*;

    pub(crate) mod v1 {
        use super::*;

        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Order {
            pub(crate) id: u64,
            pub(crate) customer: String,
            pub(crate) lines: Vec<Line>,
            pub(crate) status: Status,
            pub(crate) meta: BTreeMap<String, Attribute>,
            pub(crate) ship: Option<Address>,
            pub(crate) total: u32,
            pub(crate) legacy: String,
        }
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Line {
            pub(crate) sku: String,
            pub(crate) qty: u16,
            pub(crate) price: u32,
        }
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) enum Status {
            New,
            Paid { at: u64, by: String },
            Failed(String),
            Done,
        }
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Attribute {
            pub(crate) k: u8,
        }
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Address {
            pub(crate) street: String,
            pub(crate) zip: String,
        }
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) enum Command {
            Stop,
            Go(u32),
            Move { x: i32 },
            Pair(u8, u8),
        }
    }

    /// Fields moved, removed (`legacy`, `customer`) and added (`note`, `tags`, `currency`), numbers widened, variants moved
    /// and added.
    pub(crate) mod v2 {
        use super::*;

        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Order {
            pub(crate) total: u64,
            pub(crate) lines: Vec<Line>,
            pub(crate) id: u64,
            pub(crate) note: Option<String>,
            #[serde(default)]
            pub(crate) tags: Vec<String>,
            #[serde(default = "euro")]
            pub(crate) currency: String,
            pub(crate) status: Status,
            pub(crate) meta: HashMap<String, Attribute>,
            pub(crate) ship: Option<Address>,
        }
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Line {
            pub(crate) price: i64,
            pub(crate) sku: String,
            pub(crate) qty: u32,
            #[serde(default)]
            pub(crate) discount: u8,
        }
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) enum Status {
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
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Attribute {
            pub(crate) k: i32,
            #[serde(default)]
            pub(crate) w: bool,
        }
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) struct Address {
            pub(crate) zip: String,
            #[serde(default)]
            pub(crate) country: String,
            pub(crate) street: String,
        }
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub(crate) enum Command {
            Go(u64),
            Move {
                #[serde(default)]
                y: i32,
                x: i64,
            },
            Pair(u16, u16),
            Stop,
        }
        fn euro() -> String {
            "EUR".into()
        }
    }

    pub(crate) fn first() -> Type {
        let line = structure("Line", [("sku", Str), ("qty", U16), ("price", U32)]);
        let paid = named([("at", U64), ("by", Str)]);
        let status = enumeration("Status", [("New", Holds::Nothing), ("Paid", paid), ("Failed", Holds::One(Str)), ("Done", Holds::Nothing)]);
        let fields = [
            ("id", U64),
            ("customer", Str),
            ("lines", seq(line)),
            ("status", status),
            ("meta", map(Str, structure("Attribute", [("k", U8)]))),
            ("ship", option(structure("Address", [("street", Str), ("zip", Str)]))),
            ("total", U32),
            ("legacy", Str),
        ];
        structure("Order", fields)
    }

    pub(crate) fn second() -> Type {
        let line = structure("Line", [("price", I64), ("sku", Str), ("qty", U32), ("discount?", U8)]);
        let paid = named([("by", Str), ("at", U64), ("tx", option(U64))]);
        use Holds::*;
        let status = enumeration(
            "Status",
            [("Done", Nothing), ("Refunded", One(U64)), ("New", Nothing), ("Failed", One(Str)), ("Paid", paid), ("Unknown?", Nothing)],
        );
        let fields = [
            ("total", U64),
            ("lines", seq(line)),
            ("id", U64),
            ("note", option(Str)),
            ("tags?", seq(Str)),
            ("currency?", Str),
            ("status", status),
            ("meta", map(Str, structure("Attribute", [("k", I32), ("w?", Bool)]))),
            ("ship", option(structure("Address", [("zip", Str), ("country?", Str), ("street", Str)]))),
        ];
        structure("Order", fields)
    }

    pub(crate) fn command() -> Type {
        use Holds::*;
        enumeration("Command", [("Stop", Nothing), ("Go", One(U32)), ("Move", named([("x", I32)])), ("Pair", List(vec![U8, U8]))])
    }

    pub(crate) fn second_command() -> Type {
        use Holds::*;
        enumeration("Command", [("Go", One(U64)), ("Move", named([("y?", I32), ("x", I64)])), ("Pair", List(vec![U16, U16])), ("Stop", Nothing)])
    }

    pub(crate) fn an_order() -> v1::Order {
        an_order_of(2)
    }

    pub(crate) fn an_order_of(lines: u32) -> v1::Order {
        v1::Order {
            id: 7_000_000_001,
            customer: "ACME Corporation GmbH & Co".into(),
            lines: (0..lines).map(|n| v1::Line { sku: format!("SKU-{n}"), qty: n as u16 + 1, price: 1999 + n }).collect(),
            status: v1::Status::Paid { at: 1_700_000_000, by: "card".into() },
            meta: [("gift", 1), ("channel", 2)].map(|(key, k)| (key.to_owned(), v1::Attribute { k })).into(),
            ship: Some(v1::Address { street: "Long Street 17".into(), zip: "10115".into() }),
            total: 123_456,
            legacy: "dropped".into(),
        }
    }
}
use orders::{an_order, command, v1, v2};

cases! {
    everything_changes_in_an_order: orders::first(), an_order() => v2::Order: orders::second(), Adapts, Reads(r#"{
        "total": 123456,
        "lines": [
            {"price": 1999, "sku": "SKU-0", "qty": 1, "discount": 0},
            {"price": 2000, "sku": "SKU-1", "qty": 2, "discount": 0}
        ],
        "id": 7000000001,
        "note": null,
        "tags": [],
        "currency": "EUR",
        "status": {"Paid": {"by": "card", "at": 1700000000, "tx": null}},
        "meta": {"channel": {"k": 2, "w": false}, "gift": {"k": 1, "w": false}},
        "ship": {"zip": "10115", "country": "", "street": "Long Street 17"}
    }"#);
    and_back_where_a_field_is_missing: orders::second(), read::<v2::Order>(&orders::first(), &bytes_of(&an_order())).expect("as above") => v1::Order: orders::first(),
        Never, Refuses("missing field `customer`");
    a_command_without_parts: command(), v1::Command::Stop => v2::Command: orders::second_command(), Adapts, Reads(r#""Stop""#);
    a_command_of_one_value: command(), v1::Command::Go(4) => v2::Command: orders::second_command(), Adapts, Reads(r#"{"Go":4}"#);
    a_command_with_fields: command(), v1::Command::Move { x: -4 } => v2::Command: orders::second_command(), Adapts, Reads(r#"{"Move":{"y":0,"x":-4}}"#);
    a_command_of_two_parts: command(), v1::Command::Pair(1, 2) => v2::Command: orders::second_command(), Adapts, Reads(r#"{"Pair":[1,2]}"#);
}

/// Two of the writer's fields are one to the reader, whose list of names happens to be the writer's: read in order, the second
/// would have been dropped, or worse.
#[test]
fn two_fields_that_an_alias_makes_one_are_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Both {
        #[serde(alias = "b")]
        x: u32,
        c: u32,
    }
    #[derive(Serialize)]
    struct Written {
        b: u32,
        x: u32,
        c: u32,
    }
    let writer = structure("Written", [("b", U32), ("x", U32), ("c", U32)]);
    let written = Written { b: 1, x: 2, c: 3 };
    assert!(serde_json::from_str::<Both>(&serde_json::to_string(&written).expect("plain data")).is_err());
    assert_eq!(read::<Both>(&writer, &bytes_of(&written)).expect_err("one too many"), "field `c` is there under another name too");
}

/// Types that plain postcard cannot carry at all, because they ask what is there.
#[test]
fn types_that_ask_what_is_there_are_read_too() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u32),
        Text(String),
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Flat {
        a: u32,
        #[serde(flatten)]
        rest: BTreeMap<String, String>,
    }
    assert_eq!(read(&seq(Str), &bytes_of(&vec!["x"])), Ok(vec![Either::Text("x".into())]));
    assert_eq!(read(&seq(U8), &bytes_of(&vec![7_u8])), Ok(vec![Either::Number(7)]));
    assert_eq!(read(&old(), &bytes_of(&an_old(3))), Ok(Flat { a: 3, rest: BTreeMap::from([("b".into(), "x".into())]) }));
}

/// Protocol 9.7: what has no room for a number is only an integer.
#[test]
fn numbers_are_read_as_the_nearest_float() {
    let nodes = |node: &Type| nodes(node);
    for (writer, reader) in [(F64, F32), (U64, F32), (I64, F32), (U64, F64), (F32, F64)] {
        assert_eq!(fit((&nodes(&writer), 0), (&nodes(&reader), 0)), Fit::Adapts, "{writer:?} {reader:?}");
    }
    let narrow = |number: f64| value::<f32>(&peer(&F64), 0, &bytes_of(&number), Budget::default()).ok();
    for number in [0.1, -0.0, 1e-300, 1e300, f64::MIN, f64::MAX, f64::INFINITY, 16_777_217.0] {
        assert_eq!(narrow(number).map(f32::to_bits), Some((number as f32).to_bits()), "{number}");
    }
    assert_eq!(narrow(1e300), Some(f32::INFINITY));
    assert!(narrow(f64::NAN).is_some_and(f32::is_nan));
    assert_eq!(value::<f32>(&peer(&U64), 0, &bytes_of(&u64::MAX), Budget::default()).ok(), Some(u64::MAX as f32));
    assert_eq!(value::<f64>(&peer(&I64), 0, &bytes_of(&(i64::MAX - 1)), Budget::default()).ok(), Some((i64::MAX - 1) as f64));
    // Of 128 bits some cannot be, and none of a float is an integer.
    assert!(matches!(fit((&nodes(&U128), 0), (&nodes(&F64), 0)), Fit::Depends(_)));
    assert!(value::<f64>(&peer(&U128), 0, &bytes_of(&u128::MAX), Budget::default()).is_err());
    assert!(matches!(fit((&nodes(&F64), 0), (&nodes(&U64), 0)), Fit::Never(_)));
    assert!(value::<u64>(&peer(&F64), 0, &bytes_of(&1.0_f64), Budget::default()).is_err());
}
