//! JSON under the guard: the arguments of calls by name, and the replies to them.
//!
//! serde_json reads, watched by `watch.rs`. Here is what the arguments are: an array by position or an object by name.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Visitor};
use serde_json::{Map, Number, Value};

use super::Problem;
use super::guard::Budget;
use super::watch::{Guarded, Trail, is_number};
use crate::service::Method;

/// The arguments of a call, parsed but not yet of any type.
#[derive(Debug)]
pub(super) struct Parsed {
    /// An array of as many values as the method has arguments.
    value: Value,
    /// What decoding may still take.
    budget: Budget,
}

impl Parsed {
    pub(super) fn new(bytes: &[u8], budget: Budget, method: &'static Method) -> Result<Self, Problem> {
        let mut trail = Trail::new(budget, bytes.len(), size_of::<Value>())?;
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = Guarded::new(&mut reader, &mut trail).deserialize_any(Arguments(method));
        let value = value.and_then(|value| reader.end().map(|()| value)).map_err(|error| trail.problem(&error, method.arguments))?;
        Ok(Self { value, budget: Budget { bytes: trail.bytes(), ..budget } })
    }

    /// They borrow from the strings in here.
    pub(super) fn arguments<'a, A: Deserialize<'a>>(&'a self, method: &'static Method) -> Result<A, Problem> {
        // No arguments are `()`, which JSON writes as null.
        let value = if method.arguments.is_empty() { &Value::Null } else { &self.value };
        let mut trail = Trail::new(self.budget, 0, size_of::<A>())?;
        A::deserialize(Guarded::new(value, &mut trail)).map_err(|error| trail.problem(&error, method.arguments))
    }
}

/// A whole reply.
pub(super) fn from_slice<T: DeserializeOwned>(bytes: &[u8], budget: Budget) -> Result<T, Problem> {
    let mut trail = Trail::new(budget, bytes.len(), size_of::<T>())?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Guarded::new(&mut reader, &mut trail));
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| trail.problem(&error, &[]))
}

/// The array or object that the arguments of a call are.
struct Arguments(&'static Method);

impl Arguments {
    fn names(&self) -> &'static [&'static str] {
        self.0.arguments
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

impl<'de> Visitor<'de> for Arguments {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.are_named() { "the arguments as an array or an object" } else { "the arguments as an array" })
    }

    /// What serde_json writes for `()`.
    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.count(0).map(|()| Value::Array(Vec::new()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(Strict)? {
            values.push(value);
        }
        self.count(values.len()).map(|()| Value::Array(values))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        if !self.are_named() {
            return Err(A::Error::custom("the arguments of this method have no names, expected an array"));
        }
        let mut values: Vec<Option<Value>> = self.names().iter().map(|_| None).collect();
        while let Some(name) = access.next_key::<String>()? {
            let Some(at) = self.names().iter().position(|argument| *argument == name) else {
                return Err(A::Error::custom(format_args!("unknown argument `{name}`, expected {}{}", self.names().len(), self.list())));
            };
            if values[at].replace(access.next_value_seed(Strict)?).is_some() {
                return Err(A::Error::custom(format_args!("duplicate argument `{name}`")));
            }
        }
        let missing =
            |(at, value): (usize, Option<Value>)| value.ok_or_else(|| A::Error::custom(format_args!("missing argument `{}`", self.names()[at])));
        values.into_iter().enumerate().map(missing).collect::<Result<_, _>>().map(Value::Array)
    }
}

/// Reads any value, and refuses a key that stands twice in an object: `Value`'s own impl takes the last one in silence.
struct Strict;

/// How serde_json hands over a number if some crate of the build asks for its feature `arbitrary_precision`.
const NUMBER: &str = "$serde_json::private::Number";

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
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

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(Self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if key == NUMBER {
                return access.next_value::<String>()?.parse().map(Value::Number).map_err(A::Error::custom);
            }
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
            }
            entries.insert(key, access.next_value_seed(Self)?);
        }
        Ok(Value::Object(entries))
    }
}
