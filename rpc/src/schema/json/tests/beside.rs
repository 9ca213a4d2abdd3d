//! Reading beside serde_json: many types, mutated JSON; the same is taken for the same value, and the same is refused.
//!
//! No type here has a form of its own (`forms`), and none a key twice, which is refused here and not there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::*;

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: u32,
    lines: Vec<Line>,
    #[serde(default)]
    email: Option<String>,
    payment: Payment,
    #[serde(alias = "labels", default)]
    tags: BTreeMap<String, i32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Line {
    #[serde(alias = "code", alias = "a")]
    sku_code: String,
    qty: u16,
    #[serde(default = "nine")]
    price: i32,
    #[serde(skip)]
    _never: u64,
}

fn nine() -> i32 {
    9
}

#[derive(Debug, Serialize, Deserialize)]
enum Payment {
    Card {
        token: String,
        last: [u16; 3],
    },
    Transfer(String, Option<u32>),
    #[serde(rename = "boxed", alias = "Box")]
    Newtype(Box<Line>),
    Cash,
    Unit(()),
    #[serde(skip_deserializing)]
    #[expect(dead_code, reason = "as its attribute says")]
    Never,
    #[serde(other)]
    Else,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pair(i8, f64);

#[derive(Debug, Serialize, Deserialize)]
struct Nothing;

#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Through {
    inner: i16,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i16),
    Text(String),
    Struct { a: u8, b: Option<bool> },
    List(Vec<u16>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    A { a: u16 },
    Line(Line),
    Cash,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "a")]
enum Adjacent {
    A(u16, i8),
    B { b: bool },
    Cash,
}

#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    id: u16,
    #[serde(flatten)]
    line: Through2,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Through2 {
    a: Option<u8>,
    b: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Key {
    Cash,
    A,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Id(i16);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Even(u8);

impl TryFrom<u8> for Even {
    type Error = String;
    fn try_from(value: u8) -> Result<Self, String> {
        if value.is_multiple_of(2) { Ok(Self(value)) } else { Err(format!("{value} is odd")) }
    }
}

impl From<Even> for u8 {
    fn from(even: Even) -> Self {
        even.0
    }
}

/// Marsaglia's xorshift: the same inputs every time.
struct Random(u64);

const NAMES: &[&str] =
    &["id", "lines", "email", "payment", "tags", "labels", "skuCode", "code", "a", "b", "qty", "price", "Card", "Cash", "Transfer", "boxed", "Box"];

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn name(&mut self) -> String {
        match self.below(8) {
            0 => self.below(300).to_string(),
            1 => ["true", "type", "Else", "Unit", "Never", "A", "B", "token", "last", "-7", " 7", "7 ", "1.5", ""][self.below(14)].to_owned(),
            _ => NAMES[self.below(NAMES.len())].to_owned(),
        }
    }

    fn value(&mut self) -> Value {
        match self.below(12) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 0),
            2..=4 => {
                let numbers =
                    [json!(0), json!(1), json!(-1), json!(127), json!(128), json!(255), json!(256), json!(-129), json!(65_535), json!(65_536)];
                numbers[self.below(10)].clone()
            }
            5 => {
                [json!(1.5), json!(-0.0), json!(1e300), json!(1.0), json!(u64::MAX), json!(i64::MIN), json!(4_294_967_296_u64)][self.below(7)].clone()
            }
            6 | 7 => Value::String(self.name()),
            8 => Value::Array((0..self.below(4)).map(|_| self.value()).collect()),
            9 => Value::Object((0..self.below(3)).map(|_| (self.name(), self.value())).collect()),
            10 => json!({ self.name(): self.value() }),
            _ => json!([]),
        }
    }

    /// Changes one place of a value.
    fn mutate(&mut self, value: &mut Value) {
        let inside = self.below(5) != 0;
        match value {
            Value::Array(list) if inside && !list.is_empty() => {
                let at = self.below(list.len());
                match self.below(8) {
                    0 => drop(list.remove(at)),
                    1 => list.insert(at, self.value()),
                    2 => list.push(list[at].clone()),
                    _ => self.mutate(&mut list[at]),
                }
            }
            Value::Object(map) if inside && !map.is_empty() => {
                let key = map.keys().nth(self.below(map.len())).expect("one of them").clone();
                match self.below(8) {
                    0 => drop(map.remove(&key)),
                    1 => drop(map.insert(self.name(), self.value())),
                    2 => {
                        let value = map.remove(&key).expect("it is there");
                        map.insert(self.name(), value);
                    }
                    3 => {
                        let old = std::mem::take(map);
                        *value = Value::Array(old.into_iter().map(|(_, value)| value).collect());
                    }
                    _ => self.mutate(map.get_mut(&key).expect("it is there")),
                }
            }
            _ => {
                let old = value.take();
                *value = match self.below(8) {
                    0 => json!([old]),
                    1 => json!({ self.name(): old }),
                    _ => self.value(),
                };
            }
        }
    }
}

/// Gives how often the two took the JSON.
fn compare<T: Serialize + DeserializeOwned + Debug>(random: &mut Random, seeds: &[Value]) -> (usize, usize) {
    const ROUNDS: usize = 4000;
    let mut taken = 0;
    for round in 0..ROUNDS {
        let mut value = seeds[round % seeds.len()].clone();
        for _ in 0..random.below(4) {
            random.mutate(&mut value);
        }
        let text = value.to_string();
        let theirs = serde_json::from_str::<T>(&text).map(|value| format!("{value:?}"));
        let ours = read::<T>(&text).map(|value| format!("{value:?}"));
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{text}"),
            (Err(_), Err(_)) => {}
            _ => panic!("{}: {text}: {ours:?}, but serde_json: {theirs:?}", std::any::type_name::<T>()),
        }
        taken += usize::from(ours.is_ok());
    }
    (taken, ROUNDS)
}

#[test]
fn the_same_is_taken_and_the_same_refused() {
    let random = &mut Random(0x9e37_79b9_7f4a_7c15);
    let line = json!({"skuCode": "a", "qty": 2, "price": -5});
    let payments = [
        json!({"Card": {"token": "t", "last": [4, 2, 4]}}),
        json!({"Transfer": ["x", 5]}),
        json!({"Transfer": ["x", null]}),
        json!({"boxed": line.clone()}),
        json!("Cash"),
        json!({"Cash": null}),
        json!({"Unit": null}),
        json!("Stolen"),
        json!({"Box": {"code": "b", "qty": 1}}),
        json!({"Card": ["t", [1, 2, 3]]}),
    ];
    let orders: Vec<_> = payments
        .iter()
        .map(|payment| json!({"id": 7, "lines": [line.clone(), line.clone()], "email": "x", "payment": payment, "tags": {"a": 1}}))
        .collect();
    let mut results = vec![
        ("Order", compare::<Order>(random, &orders)),
        ("Line", compare::<Line>(random, &[line.clone(), json!(["a", 1, 2])])),
        ("Payment", compare::<Payment>(random, &payments)),
        ("Vec<Option<Payment>>", compare::<Vec<Option<Payment>>>(random, &[json!(payments.clone())])),
        ("Pair", compare::<Pair>(random, &[json!([1, 2.5])])),
        ("Nothing", compare::<Nothing>(random, &[json!(null)])),
        ("Through", compare::<Through>(random, &[json!(5)])),
        ("Untagged", compare::<Untagged>(random, &[json!(5), json!("x"), json!({"a": 1, "b": true}), json!([1, 2])])),
        ("Tagged", compare::<Tagged>(random, &[json!({"type": "A", "a": 1}), json!({"type": "Line", "a": "x", "qty": 1}), json!({"type": "Cash"})])),
        (
            "Adjacent",
            compare::<Adjacent>(random, &[json!({"type": "A", "a": [1, 2]}), json!({"type": "B", "a": {"b": true}}), json!({"type": "Cash"})]),
        ),
        ("Flat", compare::<Flat>(random, &[json!({"id": 1, "a": 2, "b": false, "lines": [1]})])),
        ("Even", compare::<Even>(random, &[json!(4), json!(3)])),
    ];
    results.extend([
        ("tuple", compare::<(u8, char, bool, (), String)>(random, &[json!([1, "x", true, null, "y"])])),
        ("[i16; 3]", compare::<[i16; 3]>(random, &[json!([1, 2, 3])])),
        ("Option<Option<u8>>", compare::<Option<Option<u8>>>(random, &[json!(1), json!(null)])),
        ("Result", compare::<Result<u8, String>>(random, &[json!({"Ok": 1}), json!({"Err": "x"})])),
        ("f32", compare::<(f32, f64)>(random, &[json!([1.5, 2])])),
        ("NonZeroU8", compare::<Vec<NonZeroU8>>(random, &[json!([1, 2])])),
        ("sets", compare::<(BTreeSet<i8>, VecDeque<u16>)>(random, &[json!([[1, 1], [2]])])),
        ("Cow", compare::<Vec<Cow<'static, str>>>(random, &[json!(["a", "\n"])])),
        ("by number", compare::<BTreeMap<i16, u8>>(random, &[json!({"1": 2, "-3": 4})])),
        ("by float", compare::<Vec<BTreeMap<String, u8>>>(random, &[json!([{"1.5": 2}])])),
        ("by bool", compare::<BTreeMap<bool, u8>>(random, &[json!({"true": 2})])),
        ("by char", compare::<BTreeMap<char, u8>>(random, &[json!({"a": 2})])),
        ("by variant", compare::<BTreeMap<Key, u8>>(random, &[json!({"Cash": 2, "A": 1})])),
        ("by newtype", compare::<BTreeMap<Id, u8>>(random, &[json!({"5": 2})])),
        ("by option", compare::<BTreeMap<Option<i8>, u8>>(random, &[json!({"5": 2})])),
        ("by text", compare::<BTreeMap<Box<str>, Map<String, Value>>>(random, &[json!({"a": {"b": null}})])),
    ]);
    assert_eq!(compare::<Value>(random, &orders), (4000, 4000), "any JSON is a value");
    for (name, (taken, rounds)) in &results {
        assert!((rounds / 20..rounds * 19 / 20).contains(taken), "{name}: {taken} of {rounds} are taken, which shows little");
    }
}

/// Damaged as a text: what is no JSON is refused, what still is one is read as serde_json reads it.
#[test]
fn damaged_texts_are_read_alike() {
    let random = &mut Random(88_172_645_463_325_252);
    let seed = r#"{"id":7,"lines":[{"skuCode":"a\u00df","qty":2,"price":-5},["b",1]],"email":null,"payment":{"Card":{"token":"t","last":[4,2,4]}},"tags":{"a":1}}"#;
    let (mut taken, mut doubled, mut unseen) = (0, 0, 0);
    for _ in 0..40_000 {
        let mut bytes = seed.as_bytes().to_vec();
        for _ in 0..=random.below(2) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.below(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"{}[],:\"\\0123456789-.eE tfn"[random.below(25)]),
                _ => bytes[at] = b"{}[],:\"\\0123456789-.eE tfn"[random.below(25)],
            }
        }
        let theirs = serde_json::from_slice::<Order>(&bytes).map(|value| format!("{value:?}"));
        let ours = decode_reply::<Order>(&bytes, Encoding::Json, Budget::default()).map(|value| format!("{value:?}"));
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
            (Err(_), Err(_)) => {}
            (Err(error), Ok(_)) if error.message().contains("duplicate key") => doubled += 1,
            // What a type does not want is not looked at there.
            (Err(_), Ok(_)) if serde_json::from_slice::<Value>(&bytes).is_err() => unseen += 1,
            _ => panic!("{}: {ours:?}, but serde_json: {theirs:?}", String::from_utf8_lossy(&bytes)),
        }
        taken += usize::from(ours.is_ok());
    }
    assert!((1000..39_000).contains(&taken), "{taken} taken, {doubled} with a key twice, {unseen} with damage unseen by serde_json");
}
