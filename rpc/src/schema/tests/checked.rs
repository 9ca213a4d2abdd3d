//! What postcard cannot carry, or would carry wrongly without a word: the self-check names the type and the attribute.

use serde::{Deserialize, Serialize};

use super::{has_problems, is, is_shaped, traced};

#[derive(Serialize, Deserialize)]
struct SkipIf {
    a: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b: Option<u64>,
    c: u8,
}

#[derive(Serialize, Deserialize)]
struct SkipEmpty {
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    list: Vec<u8>,
    #[serde(skip_serializing_if = "is_zero", default)]
    count: u32,
    last: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[derive(Serialize, Deserialize)]
struct SkipZero {
    #[serde(skip_serializing_if = "is_zero")]
    count: u32,
    last: String,
}

#[derive(Serialize, Deserialize)]
enum Around {
    No,
    List(Vec<Option<SkipIf>>),
}

#[derive(Serialize, Deserialize)]
enum SkipVariant {
    A,
    #[serde(skip)]
    #[expect(dead_code, reason = "it never travels")]
    B,
    C(u8),
}

/// Every number is one that it has, but means another variant.
#[derive(Serialize, Deserialize)]
enum SkipVariantSilently {
    A,
    #[serde(skip)]
    #[expect(dead_code, reason = "it never travels")]
    B,
    C(u8),
    D(u8),
}

#[derive(Serialize, Deserialize)]
enum SkipLast {
    A,
    C(u8),
    #[serde(skip)]
    #[expect(dead_code, reason = "it never travels")]
    B,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "t")]
enum Tagged {
    A { x: u8 },
    B { y: u8 },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    A(Inner),
    B(u8),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum AdjacentStruct {
    A { x: u8 },
    B(u8),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    A(u8),
    B(String),
}

#[derive(Serialize, Deserialize)]
struct Inner {
    x: u8,
}

#[derive(Serialize, Deserialize)]
struct Flat {
    a: u8,
    #[serde(flatten)]
    b: Inner,
}

#[derive(Serialize, Deserialize)]
struct Holder {
    before: u8,
    value: serde_json::Value,
    choice: Untagged,
    after: Inner,
}

#[derive(Serialize, Deserialize)]
struct OneWay {
    #[serde(skip_deserializing)]
    a: u8,
    b: u16,
}

#[test]
fn fields_that_are_left_out_when_written() {
    has_problems::<SkipIf>(&["SkipIf.b: what is written is not what is read"]);
    has_problems::<SkipEmpty>(&["SkipEmpty.last: what is written is not what is read"]);
    has_problems::<SkipZero>(&["SkipZero.last: what is written is not what is read"]);
    has_problems::<OneWay>(&["OneWay: what is written is not what is read"]);
}

#[test]
fn fields_that_are_left_out_deep_inside() {
    has_problems::<Around>(&["SkipIf"]);
}

#[test]
fn variants_that_are_left_out() {
    has_problems::<SkipVariant>(&["SkipVariant"]);
    has_problems::<SkipVariantSilently>(&["SkipVariantSilently: C is written with the number that is read as D"]);
    is("SkipLast<A C(u8)>", &[SkipLast::A, SkipLast::C(1)]);
}

#[test]
fn attributes_that_need_a_format_that_says_what_it_holds() {
    has_problems::<Tagged>(&["Tagged: #[serde(tag)] needs"]);
    has_problems::<Untagged>(&["Untagged: #[serde(untagged)] needs"]);
    has_problems::<Flat>(&["Flat: #[serde(flatten)] needs"]);
    has_problems::<serde_json::Value>(&["Value: Value calls deserialize_any"]);
}

#[test]
fn they_hide_nothing_beside_them() {
    has_problems::<Holder>(&["Holder.value: Value calls deserialize_any", "Holder.choice: #[serde(untagged)]"]);
    let found = traced::<Holder>();
    let shape = super::show(&found.nodes, found.root);
    assert!(shape.starts_with("Holder{before: u8, value"), "{shape}");
    assert!(shape.ends_with("after: Inner{x: u8}}"), "{shape}");
}

#[test]
fn content_that_depends_on_a_tag_is_not_known() {
    let shape = "Adjacent{t: Adjacent<A B>, c: <its shape depends on what was read before it>}";
    is_shaped::<Adjacent>(shape, &[]);
    has_problems::<Adjacent>(&["Adjacent.c: what is here depends on what was read before it (as with #[serde(tag, content)])"]);
    has_problems::<AdjacentStruct>(&["AdjacentStruct.c: #[serde(tag, content)] needs a format"]);
}

/// Panics on every value.
#[derive(Serialize)]
struct Panics;

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a type that panics")
    }
}

#[derive(Serialize, Deserialize)]
struct Beside {
    panics: Panics,
    after: Inner,
}

#[test]
fn a_panic_hides_nothing_beside_it() {
    let found = traced::<Panics>();
    assert_eq!(super::show(&found.nodes, found.root), "<no value of it could be made>");
    is_shaped::<Beside>("Beside{panics: <no value of it could be made>, after: Inner{x: u8}}", &[]);
    has_problems::<Beside>(&["Beside: its Deserialize or Serialize panics"]);
}

/// Asks for something else each time.
#[derive(Serialize)]
struct Restless;

impl<'de> Deserialize<'de> for Restless {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use std::cell::Cell;
        thread_local!(static TURN: Cell<usize> = const { Cell::new(0) });
        struct Any;
        impl<'de> serde::de::Visitor<'de> for Any {
            type Value = Restless;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("anything")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Restless, A::Error> {
                while seq.next_element::<u8>()?.is_some() {}
                Ok(Restless)
            }
        }
        let turn = TURN.get();
        TURN.set(turn + 1);
        deserializer.deserialize_tuple(turn, Any)
    }
}

#[test]
fn a_type_that_never_settles_is_given_up() {
    let found = traced::<(u8, Restless, Inner)>();
    assert_eq!(super::show(&found.nodes, found.root), "(u8, <its shape depends on what was read before it>, Inner{x: u8})");
    assert!(found.passes < 10_000, "{}", found.passes);
    has_problems::<Restless>(&["Restless: what is here depends on what was read before it"]);
}

#[derive(Serialize, Deserialize)]
struct Endless {
    next: Box<Endless>,
    n: u8,
}

#[test]
fn a_type_without_a_finite_value_has_a_shape() {
    is_shaped::<Endless>("Endless{next: ^Endless, n: u8}", &[]);
}
