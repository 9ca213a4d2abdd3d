//! JSON to a type: a [`Source`] over a parsed value.
//!
//! It needs no schema. What is fed follows from the question and the JSON alone, as in serde_json, whose answers these are (arrays for
//! structs, enums tagged from outside, numbers as the keys of maps); and a question names its type where JSON has another form for it
//! than the type itself (`forms.rs`). Memory and depth are on the account of the guard, as with postcard.

use std::borrow::Cow;
use std::fmt::Write;
use std::{slice, vec};

use serde::de::{Error as _, Expected, Unexpected};
use serde_json::{Map, Number, Value};

use super::super::source::{Ask, Feed, Kind, Part, Source};
use super::forms::Form;
use crate::frame::payload::guard::{Account, Budget, Guard};
use crate::frame::payload::{Fault, Problem, capped, is_number};

/// Feeds a type from a parsed value.
pub(crate) struct Json<'de> {
    guard: Guard,
    /// What the next question is about.
    item: Item<'de>,
    stack: Vec<Frame<'de>>,
    /// Names for the places of the outermost array, if it is the arguments of a call.
    names: &'static [&'static str],
    /// The fault on its way out says where it comes from.
    located: bool,
}

enum Item<'de> {
    Lent(&'de Value),
    /// What a text stands for.
    Made(Value),
    Key(Cow<'de, str>),
    /// What a variant without parts holds.
    Absent,
}

/// A container that has begun.
struct Frame<'de> {
    inside: Inside<'de>,
    /// What the guard needs at its end; none for the parts of a variant.
    outside: Option<usize>,
}

enum Inside<'de> {
    /// An option, or a newtype.
    Wrapper,
    List {
        items: Items<'de>,
        /// How many have been begun.
        at: usize,
        account: Option<Account>,
    },
    Map {
        entries: Entries<'de>,
        /// The value of the key that was begun last.
        value: Option<Item<'de>>,
        key: Cow<'de, str>,
        in_value: bool,
        /// Of the keys and of the values.
        accounts: Option<(Account, Account)>,
    },
    Enum {
        variant: Cow<'de, str>,
        holds: Item<'de>,
        in_variant: bool,
    },
}

enum Items<'de> {
    Lent(slice::Iter<'de, Value>),
    Made(vec::IntoIter<Value>),
    Bytes(vec::IntoIter<u8>),
}

impl<'de> Items<'de> {
    fn next(&mut self) -> Option<Item<'de>> {
        match self {
            Self::Lent(items) => items.next().map(Item::Lent),
            Self::Made(items) => items.next().map(Item::Made),
            Self::Bytes(bytes) => bytes.next().map(|byte| Item::Made(byte.into())),
        }
    }

    fn left(&self) -> usize {
        match self {
            Self::Lent(items) => items.len(),
            Self::Made(items) => items.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

enum Entries<'de> {
    Lent(serde_json::map::Iter<'de>),
    Made(serde_json::map::IntoIter),
}

impl<'de> Entries<'de> {
    fn next(&mut self) -> Option<(Cow<'de, str>, Item<'de>)> {
        match self {
            Self::Lent(entries) => entries.next().map(|(key, value)| (Cow::Borrowed(key.as_str()), Item::Lent(value))),
            Self::Made(entries) => entries.next().map(|(key, value)| (Cow::Owned(key), Item::Made(value))),
        }
    }

    fn left(&self) -> usize {
        match self {
            Self::Lent(entries) => entries.len(),
            Self::Made(entries) => entries.len(),
        }
    }
}

/// An item without whose it is.
enum Seen<'a> {
    Null,
    Bool(bool),
    Number(&'a Number),
    Text(&'a str),
    List(&'a [Value]),
    Map(&'a Map<String, Value>),
    Absent,
}

impl<'de> Item<'de> {
    fn seen(&self) -> Seen<'_> {
        let value = match self {
            Self::Lent(value) => *value,
            Self::Made(value) => value,
            Self::Key(key) => return Seen::Text(key),
            Self::Absent => return Seen::Absent,
        };
        match value {
            Value::Null => Seen::Null,
            Value::Bool(value) => Seen::Bool(*value),
            Value::Number(number) => Seen::Number(number),
            Value::String(text) => Seen::Text(text),
            Value::Array(list) => Seen::List(list),
            Value::Object(map) => Seen::Map(map),
        }
    }

    /// A text.
    fn into_text(self) -> Option<Feed<'de>> {
        match self {
            Self::Lent(Value::String(text)) => Some(Feed::Str(text)),
            Self::Key(Cow::Borrowed(text)) => Some(Feed::Str(text)),
            Self::Made(Value::String(text)) | Self::Key(Cow::Owned(text)) => Some(Feed::String(text)),
            _ => None,
        }
    }

    fn into_items(self) -> Option<Items<'de>> {
        match self {
            Self::Lent(Value::Array(list)) => Some(Items::Lent(list.iter())),
            Self::Made(Value::Array(list)) => Some(Items::Made(list.into_iter())),
            _ => None,
        }
    }

    fn into_entries(self) -> Option<Entries<'de>> {
        match self {
            Self::Lent(Value::Object(map)) => Some(Entries::Lent(map.iter())),
            Self::Made(Value::Object(map)) => Some(Entries::Made(map.into_iter())),
            _ => None,
        }
    }

    /// A variant: its name, and what it holds.
    fn into_variant(self) -> Option<(Cow<'de, str>, Item<'de>)> {
        match self {
            Self::Lent(Value::String(name)) => Some((Cow::Borrowed(name), Self::Absent)),
            Self::Made(Value::String(name)) => Some((Cow::Owned(name), Self::Absent)),
            Self::Key(name) => Some((name, Self::Absent)),
            item => item.into_entries()?.next(),
        }
    }
}

/// What a container is, for the accounts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// As long as the JSON says.
    Open,
    /// The type knows its parts, and has room for them.
    Fixed,
    /// The parts of a variant, whose enum has been entered.
    Variant,
}

impl<'de> Json<'de> {
    /// Reads this value under this budget; `length` are the bytes of all its texts, or more.
    pub(crate) fn new(value: &'de Value, length: usize, size: usize, budget: Budget, names: &'static [&'static str]) -> Result<Self, Fault> {
        let guard = Guard::new(budget, length, size)?;
        Ok(Self { guard, item: Item::Lent(value), stack: Vec::new(), names, located: false })
    }

    fn answer(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        if let Seen::Text(text) = self.item.seen()
            && let Some(form) = Form::of_ask(ask)
            && let Some(feed) = self.form(form, text.to_owned(), ask)?
        {
            return Ok(feed);
        }
        match ask.kind {
            Kind::Any => self.any(ask),
            Kind::Bool => match self.item.seen() {
                Seen::Bool(value) => Ok(Feed::Bool(value)),
                Seen::Text(text) if self.is_key() && matches!(text, "true" | "false") => Ok(Feed::Bool(text == "true")),
                _ => Err(self.mismatch(&"a boolean")),
            },
            Kind::I8 => self.number(ask, "i8"),
            Kind::I16 => self.number(ask, "i16"),
            Kind::I32 => self.number(ask, "i32"),
            Kind::I64 => self.number(ask, "i64"),
            Kind::I128 => self.number(ask, "i128"),
            Kind::U8 => self.number(ask, "u8"),
            Kind::U16 => self.number(ask, "u16"),
            Kind::U32 => self.number(ask, "u32"),
            Kind::U64 => self.number(ask, "u64"),
            Kind::U128 => self.number(ask, "u128"),
            Kind::F32 => self.number(ask, "f32"),
            Kind::F64 => self.number(ask, "f64"),
            Kind::Char => self.text(&"a character"),
            Kind::Str => self.text(&"a string"),
            Kind::Identifier => self.text(&"a name"),
            Kind::Bytes => self.bytes(),
            Kind::Option => match self.item.seen() {
                Seen::Null => {
                    // A box around it takes the memory of what is not there as well.
                    self.guard.take(ask.size())?;
                    Ok(Feed::None)
                }
                _ => self.enter(ask.size(), ask.size().saturating_sub(1), Inside::Wrapper).map(|()| Feed::Some),
            },
            Kind::Newtype(_) => self.enter(ask.size(), ask.size(), Inside::Wrapper).map(|()| Feed::Newtype),
            Kind::Unit => self.unit(&"null"),
            Kind::UnitStruct(name) => self.unit(&format!("unit struct {name}").as_str()),
            Kind::Seq => self.list(ask, Extent::Open, &"an array"),
            Kind::Tuple(length) => self.list(ask, Extent::Fixed, &format!("an array of {length}").as_str()),
            Kind::TupleStruct(name, _) => self.list(ask, Extent::Fixed, &format!("tuple struct {name}").as_str()),
            Kind::TupleVariant(length) => self.list(ask, Extent::Variant, &format!("a tuple variant with an array of {length}").as_str()),
            Kind::Map => self.map(ask, Extent::Open, &"an object"),
            Kind::Struct(name, _) => self.fields(ask, Extent::Fixed, &format!("struct {name}").as_str()),
            Kind::StructVariant(_) => self.fields(ask, Extent::Variant, &"a struct variant with an object"),
            Kind::Enum(name, _) => self.variant_of(ask, name),
            Kind::Ignored => Ok(Feed::Unit),
        }
    }

    /// What a text stands for. None: let the type have the text itself.
    fn form(&mut self, form: Form, text: String, ask: &Ask) -> Result<Option<Feed<'de>>, Fault> {
        if let Some(bytes) = form.bytes(&text) {
            if matches!(ask.kind, Kind::Bytes) {
                return Ok(Some(Feed::Buffer(bytes.into())));
            }
            let inside = Inside::List { items: Items::Bytes(bytes.into_iter()), at: 0, account: Some(Account::sequence_named(ask.value())) };
            return self.enter(ask.size(), 0, inside).map(|()| Some(Feed::Seq));
        }
        if let Some(parts) = form.parts(&text) {
            self.item = Item::Made(parts);
            return Ok(None);
        }
        match ask.kind {
            // It may be a variant of an enum of the same name.
            Kind::Enum(..) => Ok(None),
            _ => Err(Fault::invalid_value(Unexpected::Str(&text), &form.expected())),
        }
    }

    fn any(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        match self.item.seen() {
            Seen::Null | Seen::Absent => Ok(Feed::Unit),
            Seen::Bool(value) => Ok(Feed::Bool(value)),
            Seen::Number(number) => Ok(number_of(number, ask.kind)),
            Seen::Text(_) => self.text(&"a string"),
            Seen::List(_) => self.list(ask, Extent::Open, &"an array"),
            Seen::Map(_) => self.map(ask, Extent::Open, &"an object"),
        }
    }

    /// Texts are numbers where a number may be too large for others to read, and as keys.
    fn number(&mut self, ask: &Ask, name: &'static str) -> Result<Feed<'de>, Fault> {
        let text = match self.item.seen() {
            Seen::Number(number) => {
                let feed = number_of(number, ask.kind);
                return match (ask.kind, &feed) {
                    (Kind::U128 | Kind::I128, Feed::Float(value)) => {
                        let expected = format!("{name}, as a string if it needs more than 64 bits");
                        Err(Fault::invalid_type(Unexpected::Float(*value), &expected.as_str()))
                    }
                    (Kind::F32, Feed::Float(value)) if (*value as f32).is_infinite() => Err(Fault::invalid_value(Unexpected::Float(*value), &name)),
                    _ => Ok(feed),
                };
            }
            Seen::Text(text) => text,
            _ => return Err(self.mismatch(&name)),
        };
        let is_wide = matches!(ask.kind, Kind::U64 | Kind::I64 | Kind::U128 | Kind::I128);
        if !is_wide && !self.is_key() {
            return Err(self.mismatch(&name));
        }
        let is_decimal = text.starts_with(|letter: char| letter.is_ascii_digit() || letter == '-') && !text.ends_with(char::is_whitespace);
        let feed = match ask.kind {
            _ if !is_decimal => None,
            Kind::U64 => text.parse().ok().map(Feed::Unsigned),
            Kind::I64 => text.parse().ok().map(Feed::Signed),
            Kind::U128 => text.parse().ok().map(|number| Feed::U128(Box::new(number))),
            Kind::I128 => text.parse().ok().map(|number| Feed::I128(Box::new(number))),
            _ => serde_json::from_str::<Number>(text).ok().map(|number| number_of(&number, ask.kind)),
        };
        feed.ok_or_else(|| Fault::invalid_value(Unexpected::Str(text), &format!("{name} in decimal").as_str()))
    }

    fn text(&mut self, expected: &dyn Expected) -> Result<Feed<'de>, Fault> {
        if !matches!(self.item.seen(), Seen::Text(_)) {
            return Err(self.mismatch(expected));
        }
        Ok(self.take().into_text().unwrap_or(Feed::Unit))
    }

    /// Texts are base64, which is a form.
    fn bytes(&mut self) -> Result<Feed<'de>, Fault> {
        let Seen::List(list) = self.item.seen() else { return Err(self.mismatch(&"bytes as an array of numbers or as base64")) };
        let mut bytes = Vec::with_capacity(list.len());
        for (at, item) in list.iter().enumerate() {
            match item.as_u64().map(u8::try_from) {
                Some(Ok(byte)) => bytes.push(byte),
                _ => {
                    let unexpected = Item::Lent(item);
                    let mut fault = Fault::invalid_value(unexpected_of(&unexpected), &"u8");
                    self.locate(&mut fault, Some(at));
                    return Err(fault);
                }
            }
        }
        Ok(Feed::Buffer(bytes.into()))
    }

    fn unit(&mut self, expected: &dyn Expected) -> Result<Feed<'de>, Fault> {
        match self.item.seen() {
            Seen::Null => Ok(Feed::Unit),
            _ => Err(self.mismatch(expected)),
        }
    }

    fn list(&mut self, ask: &Ask, extent: Extent, expected: &dyn Expected) -> Result<Feed<'de>, Fault> {
        if !matches!(self.item.seen(), Seen::List(_)) {
            return Err(self.mismatch(expected));
        }
        let Some(items) = self.take().into_items() else { return Err(self.mismatch(expected)) };
        let account = (extent == Extent::Open).then(|| Account::sequence_named(ask.value()));
        self.container(ask, extent, Inside::List { items, at: 0, account }).map(|()| Feed::Seq)
    }

    fn map(&mut self, ask: &Ask, extent: Extent, expected: &dyn Expected) -> Result<Feed<'de>, Fault> {
        if !matches!(self.item.seen(), Seen::Map(_)) {
            return Err(self.mismatch(expected));
        }
        let Some(entries) = self.take().into_entries() else { return Err(self.mismatch(expected)) };
        let accounts = (extent == Extent::Open).then(|| (Account::map_named(ask.value()), Account::map_named(ask.value())));
        let inside = Inside::Map { entries, value: None, key: Cow::Borrowed(""), in_value: false, accounts };
        self.container(ask, extent, inside).map(|()| Feed::Map)
    }

    /// A struct is an object, or an array of all its fields.
    fn fields(&mut self, ask: &Ask, extent: Extent, expected: &dyn Expected) -> Result<Feed<'de>, Fault> {
        match self.item.seen() {
            Seen::List(_) => self.list(ask, extent, expected),
            _ => self.map(ask, extent, expected),
        }
    }

    fn variant_of(&mut self, ask: &Ask, name: &str) -> Result<Feed<'de>, Fault> {
        match self.item.seen() {
            Seen::Text(_) => {}
            Seen::Map(map) if map.len() == 1 => {}
            Seen::Map(_) => return Err(Fault::invalid_value(Unexpected::Map, &"an object with one key, the variant's name")),
            _ => return Err(self.mismatch(&format!("a variant of enum {name}").as_str())),
        }
        let Some((variant, holds)) = self.take().into_variant() else { return Err(self.mismatch(&"a variant")) };
        let inside = Inside::Enum { variant: variant.clone(), holds, in_variant: false };
        self.enter(ask.size(), ask.size().saturating_sub(1), inside)?;
        self.item = Item::Key(variant);
        Ok(Feed::Enum)
    }

    fn container(&mut self, ask: &Ask, extent: Extent, inside: Inside<'de>) -> Result<(), Fault> {
        match extent {
            Extent::Open => self.enter(ask.size(), 0, inside),
            Extent::Fixed => self.enter(ask.size(), ask.size(), inside),
            Extent::Variant => {
                self.stack.push(Frame { inside, outside: None });
                Ok(())
            }
        }
    }

    /// Begins a container, one level deeper; its parts find `room` in it.
    fn enter(&mut self, size: usize, room: usize, inside: Inside<'de>) -> Result<(), Fault> {
        let outside = self.guard.enter(size, room)?;
        self.stack.push(Frame { inside, outside: Some(outside) });
        Ok(())
    }

    fn leave(&mut self) -> Option<Inside<'de>> {
        let frame = self.stack.pop()?;
        if let Some(outside) = frame.outside {
            self.guard.leave(outside);
        }
        Some(frame.inside)
    }

    fn take(&mut self) -> Item<'de> {
        std::mem::replace(&mut self.item, Item::Absent)
    }

    fn is_key(&self) -> bool {
        matches!(self.item, Item::Key(_))
    }

    #[cold]
    fn mismatch(&self, expected: &dyn Expected) -> Fault {
        Fault::invalid_type(unexpected_of(&self.item), expected)
    }

    /// Says where: at a place in the array that stands next, or at what stands next.
    #[cold]
    fn locate(&mut self, fault: &mut Fault, at: Option<usize>) {
        self.located = true;
        if matches!(fault.problem(), Problem::Refused(_)) {
            return;
        }
        let mut path = String::from("$");
        let mut names = Some(self.names);
        let last = at.map(|at| Inside::List { items: Items::Lent([].iter()), at: at + 1, account: None });
        // Writing to a `String` does not fail.
        for inside in self.stack.iter().map(|frame| &frame.inside).chain(&last) {
            let _ = match inside {
                Inside::List { at, .. } if *at > 0 => match names.take().and_then(|names| names.get(at - 1)).filter(|name| !is_number(name)) {
                    Some(name) => write!(path, ".{name}"),
                    None => write!(path, "[{}]", at - 1),
                },
                Inside::Map { key, in_value: true, .. } => write!(path, ".{}", short(key)),
                Inside::Enum { variant, in_variant: true, .. } => write!(path, ".{}", short(variant)),
                _ => continue,
            };
            names = None;
        }
        if path.len() > 1 {
            *fault = Fault::malformed(format!("{}: {fault}", capped(path)));
        }
    }

    /// Says where, unless it is said already.
    fn located(&mut self, mut fault: Fault) -> Fault {
        if !self.located {
            self.locate(&mut fault, None);
        }
        fault
    }
}

/// Keys are a stranger's words.
fn short(key: &str) -> &str {
    key.char_indices().nth(40).map_or(key, |(end, _)| &key[..end])
}

fn unexpected_of<'a>(item: &'a Item<'_>) -> Unexpected<'a> {
    match item.seen() {
        Seen::Null => Unexpected::Other("null"),
        Seen::Bool(value) => Unexpected::Bool(value),
        Seen::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => Unexpected::Unsigned(value),
            (_, Some(value)) => Unexpected::Signed(value),
            _ => Unexpected::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Seen::Text(text) => Unexpected::Str(text),
        Seen::List(_) => Unexpected::Seq,
        Seen::Map(_) => Unexpected::Map,
        Seen::Absent => Unexpected::UnitVariant,
    }
}

fn number_of<'de>(number: &Number, kind: Kind) -> Feed<'de> {
    match (kind, number.as_u64(), number.as_i64()) {
        (Kind::U128, Some(value), _) => Feed::U128(Box::new(value.into())),
        (Kind::I128, Some(value), _) => Feed::I128(Box::new(value.into())),
        (Kind::I128, _, Some(value)) => Feed::I128(Box::new(value.into())),
        (_, Some(value), _) => Feed::Unsigned(value),
        (_, _, Some(value)) => Feed::Signed(value),
        _ => Feed::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

impl<'de> Source<'de> for Json<'de> {
    fn ask(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        self.located = false;
        self.answer(ask).map_err(|fault| self.located(fault))
    }

    fn next(&mut self, part: Part, size: usize) -> Result<bool, Fault> {
        self.located = false;
        // Every part of JSON has bytes: one without size is as good as one of a byte.
        let size = size.max(1);
        let Some(frame) = self.stack.last_mut() else { return Ok(false) };
        match (&mut frame.inside, part) {
            (Inside::List { items, at, account }, Part::Element) => {
                let left = items.left();
                let Some(item) = items.next() else { return Ok(false) };
                *at += 1;
                self.item = item;
                if let Some(account) = account {
                    account.element(&mut self.guard, size, Some(left))?;
                }
                Ok(true)
            }
            (Inside::Map { entries, value, key, in_value, accounts }, Part::Key) => {
                *in_value = false;
                let left = entries.left();
                let Some((next, holds)) = entries.next() else { return Ok(false) };
                *value = Some(holds);
                *key = next.clone();
                self.item = Item::Key(next);
                if let Some((keys, _)) = accounts {
                    keys.element(&mut self.guard, size, Some(left))?;
                }
                Ok(true)
            }
            (Inside::Map { entries, value, in_value, accounts, .. }, Part::Value) => {
                let Some(holds) = value.take() else { return Err(Fault::malformed("a value without a key is asked for")) };
                *in_value = true;
                self.item = holds;
                if let Some((_, values)) = accounts {
                    values.element(&mut self.guard, size, Some(entries.left().saturating_add(1)))?;
                }
                Ok(true)
            }
            _ => Err(Fault::malformed("parts are asked for that are not there")),
        }
    }

    fn hint(&self) -> Option<usize> {
        match &self.stack.last()?.inside {
            Inside::List { items, .. } => Some(items.left()),
            Inside::Map { entries, .. } => Some(entries.left()),
            Inside::Wrapper | Inside::Enum { .. } => None,
        }
    }

    fn variant(&mut self, _same: Option<&dyn Fn() -> u64>) -> Result<(), Fault> {
        self.located = false;
        if let Some(Frame { inside: Inside::Enum { holds, in_variant, .. }, .. }) = self.stack.last_mut() {
            self.item = std::mem::replace(holds, Item::Absent);
            *in_variant = true;
        }
        Ok(())
    }

    fn payload(&mut self, one: bool) -> Result<(), Fault> {
        self.located = false;
        let fault = match (self.item.seen(), one) {
            (Seen::Absent, true) => self.mismatch(&"a variant with a value"),
            (_, true) | (Seen::Absent | Seen::Null, false) => return Ok(()),
            _ => self.mismatch(&"a variant without a value"),
        };
        Err(self.located(fault))
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.located = false;
        let fault = match self.leave() {
            Some(Inside::List { items, at, .. }) if items.left() != 0 => Fault::invalid_length(at + items.left(), &"fewer elements"),
            Some(Inside::Map { entries, .. }) if entries.left() != 0 => Fault::malformed("more keys than the type asks for"),
            _ => return Ok(()),
        };
        Err(self.located(fault))
    }

    fn failed(&mut self, fault: &mut Fault, container: bool) {
        if container {
            self.leave();
        }
        if !self.located {
            self.locate(fault, None);
        }
    }
}
