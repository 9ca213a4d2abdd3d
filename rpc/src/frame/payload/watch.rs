//! Any deserializer under the guard: every container and every element that it hands over is paid for, and an error says
//! where it happened: `$.lines[3].qty: invalid value: integer `70000`, expected u16`.
//!
//! For JSON, where speed is not the point; `decode.rs` asks the guard itself.

use std::fmt::{self, Write};

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

use super::Problem;
use super::guard::{Account, Budget, Guard, Refusal};
use super::text;

/// The guard, and what an error has to tell beside the text.
pub(super) struct Trail {
    guard: Guard,
    refusal: Option<Refusal>,
    /// From the place of an error outwards.
    path: Vec<Step>,
    /// The key that was read last, while `is_key`.
    key: String,
    is_key: bool,
}

enum Step {
    Index(usize),
    Key(String),
}

impl Trail {
    pub(super) fn new(budget: Budget, length: usize, size: usize) -> Result<Self, Problem> {
        let guard = Guard::new(budget, length, size).map_err(Problem::Refused)?;
        Ok(Self { guard, refusal: None, path: Vec::new(), key: String::new(), is_key: false })
    }

    /// Heap bytes left.
    pub(super) fn bytes(&self) -> usize {
        self.guard.bytes()
    }

    /// A value with parts, one level deeper; its parts find `room` in it.
    fn nested<T, E: de::Error>(&mut self, room: usize, read: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let outside = self.guard.enter(size_of::<T>(), room).map_err(|refusal| self.refused(refusal))?;
        let value = read(self);
        self.guard.leave(outside);
        value
    }

    #[cold]
    fn refused<E: de::Error>(&mut self, refusal: Refusal) -> E {
        self.refusal = Some(refusal);
        E::custom("refused")
    }

    fn read_key(&mut self, key: &str) {
        if self.is_key {
            self.key.extend(key.chars().take(40));
        }
    }

    /// What an error of serde_json comes from; the names of arguments stand in for their places.
    #[cold]
    pub(super) fn problem(&self, error: &serde_json::Error, arguments: &[&str]) -> Problem {
        if let Some(refusal) = self.refusal {
            return Problem::Refused(refusal);
        }
        let text = text::capped(error);
        // serde_json has a limit of its own, which is the same as our default.
        if text.starts_with("recursion limit exceeded") {
            return Problem::Refused(Refusal::Depth);
        }
        if self.path.is_empty() {
            return Problem::Malformed(text.into());
        }
        let mut path = String::from("$");
        for (depth, step) in self.path.iter().rev().enumerate() {
            let name = |at: usize| arguments.get(at).filter(|name| depth == 0 && !is_number(name));
            // Writing to a `String` does not fail.
            let _ = match step {
                Step::Index(at) => match name(*at) {
                    Some(name) => write!(path, ".{name}"),
                    None => write!(path, "[{at}]"),
                },
                Step::Key(key) => write!(path, ".{key}"),
            };
        }
        Problem::Malformed(format!("{}: {text}", text::capped(path)).into())
    }
}

/// A deserializer under the guard.
pub(super) struct Guarded<'t, D> {
    inner: D,
    trail: &'t mut Trail,
}

impl<'t, D> Guarded<'t, D> {
    pub(super) fn new(inner: D, trail: &'t mut Trail) -> Self {
        Self { inner, trail }
    }

    fn split<V>(self, visitor: V, is_fixed: bool) -> (D, Watch<'t, V>) {
        (self.inner, Watch { visitor, trail: self.trail, is_fixed, is_inside: false })
    }
}

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*) $is_fixed:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let (inner, watch) = self.split(visitor, $is_fixed);
            inner.$method($($name,)* watch)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Guarded<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any() false;
        deserialize_bool() false;
        deserialize_i8() false;
        deserialize_i16() false;
        deserialize_i32() false;
        deserialize_i64() false;
        deserialize_i128() false;
        deserialize_u8() false;
        deserialize_u16() false;
        deserialize_u32() false;
        deserialize_u64() false;
        deserialize_u128() false;
        deserialize_f32() false;
        deserialize_f64() false;
        deserialize_char() false;
        deserialize_str() false;
        deserialize_string() false;
        deserialize_bytes() false;
        deserialize_byte_buf() false;
        deserialize_option() false;
        deserialize_unit() false;
        deserialize_unit_struct(name: &'static str) false;
        deserialize_newtype_struct(name: &'static str) false;
        deserialize_seq() false;
        deserialize_tuple(length: usize) true;
        deserialize_tuple_struct(name: &'static str, length: usize) true;
        deserialize_map() false;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) true;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) false;
        deserialize_identifier() false;
        deserialize_ignored_any() false;
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A visitor under the guard.
struct Watch<'t, V> {
    visitor: V,
    trail: &'t mut Trail,
    /// The type knows how many parts there are, and has room for them.
    is_fixed: bool,
    /// The parts of a variant, whose enum has been entered.
    is_inside: bool,
}

macro_rules! visit {
    ($($method:ident $type:ty;)*) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watch<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit! {
        visit_bool bool;
        visit_i8 i8;
        visit_i16 i16;
        visit_i32 i32;
        visit_i64 i64;
        visit_i128 i128;
        visit_u8 u8;
        visit_u16 u16;
        visit_u32 u32;
        visit_u64 u64;
        visit_u128 u128;
        visit_f32 f32;
        visit_f64 f64;
        visit_char char;
        visit_bytes &[u8];
        visit_borrowed_bytes &'de [u8];
        visit_byte_buf Vec<u8>;
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<V::Value, E> {
        self.trail.read_key(value);
        self.visitor.visit_str(value)
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<V::Value, E> {
        self.trail.read_key(value);
        self.visitor.visit_borrowed_str(value)
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<V::Value, E> {
        self.trail.read_key(&value);
        self.visitor.visit_string(value)
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.trail.guard.take(size_of::<V::Value>()).map_err(|refusal| self.trail.refused(refusal))?;
        self.visitor.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let visitor = self.visitor;
        self.trail.nested(size_of::<V::Value>().saturating_sub(1), |trail| visitor.visit_some(Guarded { inner, trail }))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let visitor = self.visitor;
        self.trail.nested(size_of::<V::Value>(), |trail| visitor.visit_newtype_struct(Guarded { inner, trail }))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let Self { visitor, trail, is_fixed, is_inside } = self;
        let account = (!is_fixed).then(Account::sequence::<V::Value>);
        if is_inside {
            return visitor.visit_seq(Elements { inner, trail, account, at: 0 });
        }
        let room = if is_fixed { size_of::<V::Value>() } else { 0 };
        trail.nested(room, |trail| visitor.visit_seq(Elements { inner, trail, account, at: 0 }))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let Self { visitor, trail, is_fixed, is_inside } = self;
        let accounts = (!is_fixed).then(|| (Account::map::<V::Value>(), Account::map::<V::Value>()));
        if is_inside {
            return visitor.visit_map(Entries { inner, trail, accounts, key: String::new() });
        }
        let room = if is_fixed { size_of::<V::Value>() } else { 0 };
        trail.nested(room, |trail| visitor.visit_map(Entries { inner, trail, accounts, key: String::new() }))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let visitor = self.visitor;
        self.trail.nested(size_of::<V::Value>().saturating_sub(1), |trail| visitor.visit_enum(Enum { inner, trail }))
    }
}

/// One element, paid for once it is known to be there.
struct Seed<'t, S> {
    seed: S,
    trail: &'t mut Trail,
    account: Option<&'t mut Account>,
    left: Option<usize>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        if let Some(account) = self.account {
            // Every element of JSON has bytes: one without size is as good as one of a byte.
            let size = size_of::<S::Value>().max(1);
            account.element(&mut self.trail.guard, size, self.left).map_err(|refusal| self.trail.refused(refusal))?;
        }
        self.seed.deserialize(Guarded { inner, trail: self.trail })
    }
}

struct Elements<'t, A> {
    inner: A,
    trail: &'t mut Trail,
    account: Option<Account>,
    at: usize,
}

impl<'de, A: de::SeqAccess<'de>> de::SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let left = self.inner.size_hint();
        let element = self.inner.next_element_seed(Seed { seed, trail: self.trail, account: self.account.as_mut(), left });
        if element.is_err() {
            self.trail.path.push(Step::Index(self.at));
        }
        self.at += 1;
        element
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

struct Entries<'t, A> {
    inner: A,
    trail: &'t mut Trail,
    /// Of the keys and of the values.
    accounts: Option<(Account, Account)>,
    key: String,
}

impl<'de, A: de::MapAccess<'de>> de::MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let left = self.inner.size_hint();
        let account = self.accounts.as_mut().map(|(keys, _)| keys);
        self.trail.key.clear();
        self.trail.is_key = true;
        let key = self.inner.next_key_seed(Seed { seed, trail: self.trail, account, left });
        self.trail.is_key = false;
        std::mem::swap(&mut self.key, &mut self.trail.key);
        key
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let left = self.inner.size_hint().map(|left| left.saturating_add(1));
        let account = self.accounts.as_mut().map(|(_, values)| values);
        let value = self.inner.next_value_seed(Seed { seed, trail: self.trail, account, left });
        if value.is_err() {
            self.trail.path.push(Step::Key(std::mem::take(&mut self.key)));
        }
        value
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// An enum, or the variant that was found.
struct Enum<'t, A> {
    inner: A,
    trail: &'t mut Trail,
}

impl<'de, 't, A: de::EnumAccess<'de>> de::EnumAccess<'de> for Enum<'t, A> {
    type Error = A::Error;
    type Variant = Enum<'t, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Enum { inner, trail: self.trail }))
    }
}

impl<'de, A: de::VariantAccess<'de>> de::VariantAccess<'de> for Enum<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Seed { seed, trail: self.trail, account: None, left: None })
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(length, Watch { visitor, trail: self.trail, is_fixed: true, is_inside: true })
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Watch { visitor, trail: self.trail, is_fixed: true, is_inside: true })
    }
}

/// Methods registered at run time have numbers for names.
pub(super) fn is_number(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_digit())
}
