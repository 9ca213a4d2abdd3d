//! What serde's derive makes, with all of its attributes that postcard carries.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::num::{NonZeroI8, NonZeroU32, Wrapping};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{is, traced};
use crate::frame::payload::{Bytes, CowStr};

#[derive(Serialize, Deserialize)]
struct Node {
    v: u32,
    next: Option<Box<Node>>,
}

#[derive(Serialize, Deserialize)]
struct Tree {
    name: String,
    kids: Vec<Tree>,
    by_name: BTreeMap<String, Tree>,
}

#[derive(Serialize, Deserialize)]
enum Expr {
    Add(Box<Expr>, Box<Expr>),
    Neg(Box<Expr>),
    Lit(i64),
    Call { name: String, args: Vec<Expr> },
}

#[derive(Serialize, Deserialize)]
enum List {
    Cons(u8, Box<List>),
    Nil,
}

#[derive(Serialize, Deserialize)]
enum Ping {
    Pong(Option<Box<Pong>>),
    Over,
}

#[derive(Serialize, Deserialize)]
struct Pong {
    ping: Ping,
    n: u8,
}

#[derive(Serialize, Deserialize)]
enum Kinds {
    Unit,
    New(u8),
    Tuple(u8, String),
    Struct { a: u8, b: Option<char> },
    Empty(),
}

#[derive(Serialize, Deserialize)]
struct Both<T, U> {
    one: T,
    many: Vec<U>,
}

#[derive(Serialize, Deserialize)]
struct UnitStruct;
#[derive(Serialize, Deserialize)]
struct Pair(u8, String);
#[derive(Serialize, Deserialize)]
struct Wrapper(Vec<u8>);
#[derive(Serialize, Deserialize)]
struct Nothing {}

#[test]
fn numbers_and_letters() {
    is("(u8, i8, u16, i16, u32, i64, bool, char)", &[(1u8, -5i8, 300u16, -300i16, 1u32, -1i64, true, 'x')]);
    is("(u128, i128, f32, f64)", &[(u128::MAX, i128::MIN, 1.5f32, 2.5f64)]);
    is("(u32, i8, u8)", &[(NonZeroU32::new(5).unwrap(), NonZeroI8::new(-5).unwrap(), Wrapping(5u8))]);
}

#[test]
fn recursion() {
    is("Node{v: u32, next?: ^Node?}", &[Node { v: 1, next: Some(Box::new(Node { v: 2, next: None })) }]);
    is(
        "Tree{name: str, kids: [^Tree], by_name: {str: ^Tree}}",
        &[Tree { name: "a".into(), kids: vec![Tree { name: "b".into(), kids: vec![], by_name: BTreeMap::new() }], by_name: BTreeMap::new() }],
    );
    is(
        "Expr<Add(^Expr, ^Expr,) Neg(^Expr) Lit(i64) Call{name: str, args: [^Expr]}>",
        &[Expr::Add(Box::new(Expr::Lit(1)), Box::new(Expr::Call { name: "x".into(), args: vec![Expr::Neg(Box::new(Expr::Lit(4)))] }))],
    );
    is("List<Cons(u8, ^List,) Nil>", &[List::Cons(1, Box::new(List::Nil))]);
}

#[test]
fn mutual_recursion() {
    is("Ping<Pong(Pong{ping: ^Ping, n: u8}?) Over>", &[Ping::Pong(Some(Box::new(Pong { ping: Ping::Over, n: 3 })))]);
    is("Pong{ping: Ping<Pong(^Pong?) Over>, n: u8}", &[Pong { ping: Ping::Over, n: 3 }]);
}

#[test]
fn all_kinds_of_variants_and_structs() {
    is(
        "Kinds<Unit New(u8) Tuple(u8, str,) Struct{a: u8, b?: char?} Empty(,)>",
        &[Kinds::Unit, Kinds::New(1), Kinds::Tuple(1, "a".into()), Kinds::Struct { a: 1, b: Some('c') }, Kinds::Empty()],
    );
    is(
        "(UnitStruct, Pair(u8, str), Wrapper([u8]), unit, (u16, u16, u16), Nothing{})",
        &[(UnitStruct, Pair(1, "a".into()), Wrapper(vec![1, 2]), (), [1u16; 3], Nothing {})],
    );
    is::<Result<u8, String>>("Result<Ok(u8) Err(str)>", &[Ok(1), Err("x".into())]);
}

#[test]
fn generics_used_twice() {
    let inner = Both { one: 1u8, many: vec!["a".to_owned()] };
    is("Both{one: Both{one: u8, many: [str]}, many: [u64?]}", &[Both { one: inner, many: vec![Some(3u64)] }]);
    type Twice = (Both<u8, u16>, Both<u16, u8>);
    is::<Twice>("(Both{one: u8, many: [u16]}, Both{one: u16, many: [u8]})", &[]);
}

mod first {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Id {
        pub(super) a: u8,
    }
}
mod second {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Id {
        pub(super) b: String,
    }
}

#[test]
fn same_names_in_different_modules() {
    is("(Id{a: u8}, Id{b: str})", &[(first::Id { a: 1 }, second::Id { b: "x".into() })]);
}

#[test]
fn collections() {
    is(
        "({str: u8}, [u32], [u8], {(u8, u8): str}, [str])",
        &[(
            HashMap::from([("a".to_owned(), 1u8)]),
            BTreeSet::from([1u32]),
            VecDeque::from([1u8]),
            BTreeMap::from([((1u8, 2u8), "v".to_owned())]),
            HashSet::from(["a".to_owned()]),
        )],
    );
    is("u8??", &[Some(Some(1u8)), Some(None), None]);
    is("[[[bool]]]", &[vec![vec![vec![true]]]]);
}

#[derive(Serialize, Deserialize)]
struct Pointers {
    a: Cow<'static, str>,
    b: Arc<str>,
    c: Box<[u8]>,
    d: Arc<Vec<u16>>,
}

#[derive(Serialize, Deserialize)]
struct Borrowed<'a> {
    a: &'a str,
    #[serde(borrow)]
    c: Cow<'a, str>,
    b: &'a [u8],
    n: u8,
}

#[test]
fn borrowed_and_shared() {
    is("Pointers{a: str, b: str, c: [u8], d: [u16]}", &[Pointers { a: "x".into(), b: "y".into(), c: vec![1].into(), d: Arc::new(vec![700]) }]);
    is("Borrowed{a: str, c: str, b: bytes, n: u8}", &[Borrowed { a: "x", c: "y".into(), b: &[1, 2], n: 3 }]);
    is::<(CowStr<'static>, Bytes<'static>)>("(str, bytes)", &[(CowStr("x".into()), Bytes(vec![1, 2].into()))]);
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Renamed {
    first_name: u8,
    #[serde(rename = "zip")]
    b: u16,
    #[serde(default)]
    d: u32,
    #[serde(alias = "old", alias = "aaa")]
    new_f: String,
    last: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    a: Option<u8>,
    #[serde(default = "seven", alias = "bb")]
    b: u8,
    c: u8,
}

fn seven() -> u8 {
    7
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct AllDefault {
    a: u8,
    b: Strictly,
}

#[derive(Serialize, Deserialize, Default)]
struct Strictly {
    inner: u8,
}

#[derive(Serialize, Deserialize)]
struct Skipped {
    a: u8,
    #[serde(skip)]
    #[expect(dead_code, reason = "it never travels")]
    b: u64,
    c: u8,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent(u64);

#[derive(Serialize, Deserialize)]
enum Named {
    #[serde(alias = "a_old", alias = "Aaa")]
    A,
    #[serde(rename = "bee")]
    B(u8),
    Struct {
        #[serde(default, alias = "was")]
        is: u8,
        need: u8,
    },
    #[serde(other)]
    Rest,
}

#[test]
fn names_aliases_and_defaults_of_fields() {
    is(
        "Renamed{firstName: u8, zip: u16, d?: u32, newF|aaa|old: str, last: bool}",
        &[Renamed { first_name: 1, b: 2, d: 3, new_f: "x".into(), last: true }],
    );
    is("Strict{a?: u8?, b|bb?: u8, c: u8}!", &[Strict { a: None, b: 1, c: 2 }]);
    is("AllDefault{a?: u8, b?: Strictly{inner: u8}}", &[AllDefault::default()]);
    is("Skipped{a: u8, c: u8}", &[Skipped { a: 1, b: 2, c: 3 }]);
    is("u64", &[Transparent(4)]);
}

#[test]
fn names_aliases_and_others_of_variants() {
    is("Named<A|Aaa|a_old bee(u8) Struct{is|was?: u8, need: u8} Rest*>", &[Named::A, Named::B(7), Named::Struct { is: 1, need: 2 }, Named::Rest]);
}

mod as_text {
    use super::*;

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct With {
    #[serde(with = "as_text")]
    a: u64,
    b: u8,
}

#[derive(Serialize, Deserialize, Clone)]
#[serde(try_from = "String", into = "String")]
struct Email(String);

impl TryFrom<String> for Email {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.contains('@') { Ok(Self(text)) } else { Err("no @") }
    }
}

impl From<Email> for String {
    fn from(email: Email) -> Self {
        email.0
    }
}

/// A card number with a check digit.
#[derive(Serialize, Deserialize, Clone)]
#[serde(try_from = "String", into = "String")]
struct Luhn(String);

impl TryFrom<String> for Luhn {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut sum = 0;
        for (at, letter) in text.chars().rev().enumerate() {
            let digit = letter.to_digit(10).ok_or("not a digit")?;
            sum += if at % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit };
        }
        if text.len() == 16 && sum % 10 == 0 { Ok(Self(text)) } else { Err("no card") }
    }
}

impl From<Luhn> for String {
    fn from(card: Luhn) -> Self {
        card.0
    }
}

/// No candidate pleases it.
#[derive(Serialize, Deserialize, Clone)]
#[serde(try_from = "String", into = "String")]
struct Never(String);

impl TryFrom<String> for Never {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "a secret" { Ok(Self(text)) } else { Err("no") }
    }
}

impl From<Never> for String {
    fn from(never: Never) -> Self {
        never.0
    }
}

#[derive(Serialize, Deserialize)]
#[serde(try_from = "RangeParts")]
struct Range {
    from: u32,
    to: u32,
}

#[derive(Deserialize)]
struct RangeParts {
    from: u32,
    #[serde(default)]
    to: u32,
}

impl TryFrom<RangeParts> for Range {
    type Error = &'static str;
    fn try_from(parts: RangeParts) -> Result<Self, Self::Error> {
        if parts.from > 1 && parts.from <= parts.to { Ok(Self { from: parts.from, to: parts.to }) } else { Err("empty") }
    }
}

const CARD: &str = "4111111111111111";

#[derive(Serialize, Deserialize)]
struct Pay {
    before: u8,
    card: Luhn,
    after: u16,
    kinds: Kinds,
    more: Option<Luhn>,
    list: Vec<Luhn>,
}

#[test]
fn conversions_and_checks() {
    is("With{a: str, b: u8}", &[With { a: 77, b: 3 }]);
    is("str", &[Email("a@b".into())]);
    is("(u8, str, u16)", &[(1u8, Luhn(CARD.into()), 5u16)]);
    is("RangeParts{from: u32, to?: u32}", &[Range { from: 2, to: 3 }]);
    is(
        "Pay{before: u8, card: str, after: u16, kinds: Kinds<Unit New(u8) Tuple(u8, str,) Struct{a: u8, b?: char?} Empty(,)>, \
         more?: str?, list: [str]}",
        &[Pay { before: 1, card: Luhn(CARD.into()), after: 9, kinds: Kinds::Tuple(1, "z".into()), more: None, list: vec![Luhn(CARD.into())] }],
    );
}

#[derive(Serialize, Deserialize)]
struct Hidden {
    never: Never,
    email: Email,
    deep: Deep,
    after: Kinds,
}

#[derive(Serialize, Deserialize)]
struct Deep {
    never: Never,
    list: Vec<Email>,
    #[serde(alias = "n")]
    number: Option<u8>,
}

#[test]
fn a_value_that_cannot_be_made_hides_nothing_beside_it() {
    let found = traced::<Hidden>();
    assert!(!found.built);
    super::is_shaped(
        "Hidden{never: str, email: str, deep: Deep{never: str, list: [str], number|n?: u8?}, \
         after: Kinds<Unit New(u8) Tuple(u8, str,) Struct{a: u8, b?: char?} Empty(,)>}",
        &[Hidden {
            never: Never("a secret".into()),
            email: Email("a@b".into()),
            deep: Deep { never: Never("a secret".into()), list: vec![Email("@".into())], number: Some(1) },
            after: Kinds::Unit,
        }],
    );
}

#[derive(Serialize, Deserialize)]
enum Choice {
    No(Never),
    Yes { email: Email, other: Box<Choice> },
    Also(Vec<Never>),
}

#[test]
fn a_variant_that_cannot_be_made_leaves_the_others() {
    is("Choice<No(str) Yes{email: str, other: ^Choice} Also([str])>", &[Choice::No(Never("a secret".into())), Choice::Also(vec![])]);
}
