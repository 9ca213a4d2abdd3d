//! JSON texts under the guard: the arguments of calls by name, and the replies to them.
//!
//! serde_json parses into its `Value`, every part paid for; what the arguments are is said here: an array by position or an object by
//! name. From the value to the user's types it is `schema/json/read.rs`.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Error as _, Visitor};
use serde_json::{Map, Number, Value};

use super::guard::{Account, Budget, Guard, Refusal};
use super::{Fault, Problem, text};
use crate::schema::{De, Json, Origin};
use crate::service::Method;

/// A value, parsed but not yet of any type.
#[derive(Debug)]
pub(super) struct Parsed {
    value: Value,
    /// Of the text.
    length: usize,
    /// What decoding may still take.
    budget: Budget,
}

impl Parsed {
    /// The arguments of a call: an array of as many values as the method has arguments.
    pub(super) fn arguments(bytes: &[u8], budget: Budget, method: &'static Method) -> Result<Self, Problem> {
        let read = |parser: &mut Parser, reader: &mut Reader<'_>| parser.container(|parser| reader.deserialize_any(Arguments { method, parser }));
        let mut parsed = Self::parse(bytes, budget, read)?;
        if method.arguments.is_empty() {
            // No arguments are `()`, which JSON writes as null.
            parsed.value = Value::Null;
        }
        Ok(parsed)
    }

    /// A whole reply.
    pub(super) fn reply(bytes: &[u8], budget: Budget) -> Result<Self, Problem> {
        Self::parse(bytes, budget, |parser, reader| reader.deserialize_any(Any(parser)))
    }

    fn parse(
        bytes: &[u8],
        budget: Budget,
        read: impl FnOnce(&mut Parser, &mut Reader<'_>) -> Result<Value, serde_json::Error>,
    ) -> Result<Self, Problem> {
        let guard = Guard::new(budget, bytes.len(), size_of::<Value>()).map_err(Problem::Refused)?;
        let mut parser = Parser { guard, refusal: None };
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = read(&mut parser, &mut reader).and_then(|value| reader.end().map(|()| value));
        let value = value.map_err(|error| parser.problem(&error))?;
        Ok(Self { value, length: bytes.len(), budget: Budget { bytes: parser.guard.bytes(), ..budget } })
    }

    /// A value of this type; it may borrow from the strings in here. `names` stand in for the places of the outermost array in errors.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self, names: &'static [&'static str]) -> Result<T, Fault> {
        T::deserialize(De(&mut Origin::Other(&mut Json::new(&self.value, self.length, size_of::<T>(), self.budget, names)?)))
    }
}

type Reader<'a> = serde_json::Deserializer<serde_json::de::SliceRead<'a>>;

/// The guard, and its refusal: serde_json's errors are texts.
struct Parser {
    guard: Guard,
    refusal: Option<Refusal>,
}

impl Parser {
    /// One level deeper.
    fn container<T, E: de::Error>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let outside = self.guard.enter(size_of::<Value>(), 0).map_err(|refusal| self.refused(refusal))?;
        let value = read(self);
        self.guard.leave(outside);
        value
    }

    #[cold]
    fn refused<E: de::Error>(&mut self, refusal: Refusal) -> E {
        self.refusal = Some(refusal);
        E::custom("refused")
    }

    #[cold]
    fn problem(&self, error: &serde_json::Error) -> Problem {
        if let Some(refusal) = self.refusal {
            return Problem::Refused(refusal);
        }
        let text = text::capped(error);
        // serde_json has a limit of its own, which is the same as our default.
        if text.starts_with("recursion limit exceeded") {
            return Problem::Refused(Refusal::Depth);
        }
        Problem::Malformed(text.into())
    }

    fn list<'de, A: de::SeqAccess<'de>>(&mut self, mut access: A) -> Result<Vec<Value>, A::Error> {
        let (mut values, mut account) = (Vec::new(), Account::sequence::<Value>());
        while let Some(value) = access.next_element_seed(Paid { account: &mut account, parser: self, left: None })? {
            values.push(value);
        }
        Ok(values)
    }
}

/// One value in a container, paid for once it is known to be there.
struct Paid<'p> {
    account: &'p mut Account,
    parser: &'p mut Parser,
    left: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Paid<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Self { account, parser, left } = self;
        account.element(&mut parser.guard, size_of::<Value>(), left).map_err(|refusal| parser.refused(refusal))?;
        deserializer.deserialize_any(Any(parser))
    }
}

/// The same for a key.
struct PaidKey<'p>(&'p mut Account, &'p mut Parser);

impl<'de> DeserializeSeed<'de> for PaidKey<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let Self(account, parser) = self;
        account.element(&mut parser.guard, size_of::<String>(), None).map_err(|refusal| parser.refused(refusal))?;
        String::deserialize(deserializer)
    }
}

/// The array or object that the arguments of a call are.
struct Arguments<'p> {
    method: &'static Method,
    parser: &'p mut Parser,
}

impl Arguments<'_> {
    fn names(&self) -> &'static [&'static str] {
        self.method.arguments
    }

    /// Methods registered at run time know how many arguments they take, but not their names.
    fn are_named(&self) -> bool {
        !self.names().iter().any(|name| is_number(name))
    }

    fn list(&self) -> String {
        if self.names().is_empty() || !self.are_named() { String::new() } else { format!(" ({})", self.names().join(", ")) }
    }

    fn count<E: de::Error>(&self, given: usize) -> Result<(), E> {
        let expected = self.names().len();
        if given == expected {
            return Ok(());
        }
        let s = if expected == 1 { "" } else { "s" };
        Err(E::custom(format_args!("expected {expected} argument{s}{}, got {given}", self.list())))
    }
}

impl<'de> Visitor<'de> for Arguments<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.are_named() { "the arguments as an array or an object" } else { "the arguments as an array" })
    }

    /// What serde_json writes for `()`.
    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.count(0).map(|()| Value::Array(Vec::new()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        let values = self.parser.list(access)?;
        self.count(values.len()).map(|()| Value::Array(values))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        if !self.are_named() {
            return Err(A::Error::custom("the arguments of this method have no names, expected an array"));
        }
        let mut accounts = (Account::map::<Value>(), Account::map::<Value>());
        let mut values: Vec<Option<Value>> = self.names().iter().map(|_| None).collect();
        while let Some(name) = access.next_key_seed(PaidKey(&mut accounts.0, self.parser))? {
            let Some(at) = self.names().iter().position(|argument| *argument == name) else {
                return Err(A::Error::custom(format_args!("unknown argument `{name}`, expected {}{}", self.names().len(), self.list())));
            };
            let value = access.next_value_seed(Paid { account: &mut accounts.1, parser: self.parser, left: None })?;
            if values[at].replace(value).is_some() {
                return Err(A::Error::custom(format_args!("duplicate argument `{name}`")));
            }
        }
        let missing =
            |(at, value): (usize, Option<Value>)| value.ok_or_else(|| A::Error::custom(format_args!("missing argument `{}`", self.names()[at])));
        values.into_iter().enumerate().map(missing).collect::<Result<_, _>>().map(Value::Array)
    }
}

/// Reads any value, and refuses a key that stands twice in an object: `Value`'s own impl takes the last one in silence.
struct Any<'p>(&'p mut Parser);

/// How serde_json hands over a number if some crate of the build asks for its feature `arbitrary_precision`.
const NUMBER: &str = "$serde_json::private::Number";

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        self.0.container(|parser| parser.list(access)).map(Value::Array)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.0.container(|parser| {
            let mut accounts = (Account::map::<Value>(), Account::map::<Value>());
            let mut entries = Map::new();
            while let Some(key) = access.next_key_seed(PaidKey(&mut accounts.0, parser))? {
                if key == NUMBER {
                    let number: Number = access.next_value::<String>()?.parse().map_err(A::Error::custom)?;
                    // Without that feature serde_json refuses it, in these words; with it, it would be no number for anybody.
                    return if number.as_f64().is_some() { Ok(Value::Number(number)) } else { Err(A::Error::custom("number out of range")) };
                }
                if entries.contains_key(&key) {
                    return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
                }
                entries.insert(key, access.next_value_seed(Paid { account: &mut accounts.1, parser, left: None })?);
            }
            Ok(Value::Object(entries))
        })
    }
}

/// Methods registered at run time have numbers for names.
pub(crate) fn is_number(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_digit())
}
