//! The one deserializer for all that is not plain postcard: tracing a type, reading a message by its writer's schema, and reading JSON.
//! A type's `Deserialize` is compiled once for the three.
//!
//! [`De`] hands every question of a type to a [`Source`] and feeds what comes back to its visitor. One source it knows by name: reading a
//! message has to be fast, so that structs, numbers, texts and elements are taken from it without a question (`adapt/quick.rs`).
//!
//! What is written in two halves is not to be read as a whole soon after, nor the other way round: the processor waits for it. So a
//! deserializer is one word, and what a visitor makes is not moved while it is new.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Expected, IgnoredAny, Unexpected, Visitor};

use super::adapt::Adapter;
use super::node::Field;
use super::source::{Ask, Asker, Feed, Key, Kind, Leaf, Part, Source};
use crate::frame::payload::Fault;

/// Which feeds a question can be answered with, as bits: a visitor is compiled for these alone. The rest nobody's visitor takes, and one
/// function says so for all types: half of the code of a type would be its ways to say no.
mod takes {
    pub(super) const UNIT: u32 = 1;
    pub(super) const BOOL: u32 = 1 << 1;
    pub(super) const NUMBER: u32 = 1 << 2;
    pub(super) const TEXT: u32 = 1 << 3;
    pub(super) const BYTES: u32 = 1 << 4;
    pub(super) const OPTION: u32 = UNIT | 1 << 5;
    pub(super) const NEWTYPE: u32 = 1 << 6;
    pub(super) const SEQ: u32 = 1 << 7;
    pub(super) const MAP: u32 = 1 << 8;
    pub(super) const ENUM: u32 = 1 << 9;
    /// The small numbers that stand for names.
    pub(super) const INDEX: u32 = 1 << 10;
    pub(super) const ANY: u32 = u32::MAX;

    pub(super) const fn all<const TAKES: u32>(feeds: u32) -> bool {
        TAKES & feeds == feeds
    }

    pub(super) const fn any<const TAKES: u32>(feeds: u32) -> bool {
        TAKES & feeds != 0
    }
}

/// The answer of a visitor that takes nothing of this kind.
#[cold]
#[inline(never)]
fn unsuitable(feed: &Feed<'_>, expected: &dyn Expected) -> Fault {
    let unexpected = match feed {
        Feed::Unit => Unexpected::Unit,
        Feed::Bool(value) => Unexpected::Bool(*value),
        Feed::Unsigned(value) => Unexpected::Unsigned(*value),
        Feed::Signed(value) => Unexpected::Signed(*value),
        Feed::U128(_) | Feed::I128(_) => Unexpected::Other("integer of 128 bits"),
        Feed::Float(value) => Unexpected::Float(*value),
        Feed::Str(text) => Unexpected::Str(text),
        Feed::String(text) => Unexpected::Str(text),
        Feed::Bytes(bytes) => Unexpected::Bytes(bytes),
        Feed::Buffer(bytes) => Unexpected::Bytes(bytes),
        Feed::None | Feed::Some => Unexpected::Option,
        Feed::Newtype => Unexpected::NewtypeStruct,
        Feed::Seq | Feed::Elements | Feed::Row(_) => Unexpected::Seq,
        Feed::Map | Feed::Fields(_) => Unexpected::Map,
        Feed::Enum => Unexpected::Enum,
    };
    de::Error::invalid_type(unexpected, expected)
}

/// What is read from.
#[expect(clippy::large_enum_variant, reason = "it stays where it is made, and a message is not to be looked for")]
pub(crate) enum Origin<'s, 'de> {
    Message(Adapter<'de>),
    Other(&'s mut dyn Source<'de>),
}

impl<'de> Origin<'_, 'de> {
    #[inline]
    fn source(&mut self) -> &mut dyn Source<'de> {
        match self {
            Self::Message(message) => message,
            Self::Other(source) => *source,
        }
    }

    fn hint(&self) -> Option<usize> {
        match self {
            Self::Message(message) => message.hint(),
            Self::Other(source) => source.hint(),
        }
    }

    /// The innermost container is over. See [`Source::end`].
    #[inline]
    fn end(&mut self) -> Result<(), Fault> {
        match self {
            Self::Message(message) => {
                if message.end_of_fields() {
                    return Ok(());
                }
                message.end()
            }
            Self::Other(source) => source.end(),
        }
    }

    /// The parts of what is fed to the visitor of a struct.
    #[inline(never)]
    fn structure(&mut self, ask: &Ask, expected: &dyn Expected) -> Result<Parts<'de>, Fault> {
        let feed = self.source().ask(ask)?;
        Parts::of(&feed).ok_or_else(|| {
            let mut fault = unsuitable(&feed, expected);
            self.source().failed(&mut fault, feed.contains());
            fault
        })
    }
}

/// Deserializes from a source. One word, as it is handed on with every question.
pub(crate) struct De<'a, 's, 'de>(pub(crate) &'a mut Origin<'s, 'de>);

impl<'de> De<'_, '_, 'de> {
    #[inline]
    fn feed<const TAKES: u32, V: Visitor<'de>>(self, kind: Kind, visitor: V) -> Result<V::Value, Fault> {
        self.answer::<TAKES, V>(&Ask { kind, asker: const { &Asker::of::<V>() } }, visitor)
    }

    /// All calls of a visitor, in one place: each is compiled once a visitor. What it makes is made where it is returned: it would be
    /// read back before it has been written. What a `const` rules out is not compiled at all, in debug builds as well, where nothing else
    /// leaves it out.
    #[inline(never)]
    fn answer<const TAKES: u32, V: Visitor<'de>>(self, ask: &Ask, visitor: V) -> Result<V::Value, Fault> {
        let from = self.0;
        let (mut fed, mut container) = (false, false);
        let mut made = match from.source().ask(ask) {
            Err(fault) => Err(fault),
            Ok(feed) => {
                (fed, container) = (true, feed.contains());
                match feed {
                    Feed::Unit if const { takes::all::<TAKES>(takes::UNIT) } => visitor.visit_unit(),
                    Feed::Bool(value) if const { takes::all::<TAKES>(takes::BOOL) } => visitor.visit_bool(value),
                    Feed::Unsigned(value) if const { takes::any::<TAKES>(takes::NUMBER | takes::INDEX) } => visitor.visit_u64(value),
                    Feed::Signed(value) if const { takes::all::<TAKES>(takes::NUMBER) } => visitor.visit_i64(value),
                    Feed::U128(value) if const { takes::all::<TAKES>(takes::NUMBER) } => visitor.visit_u128(*value),
                    Feed::I128(value) if const { takes::all::<TAKES>(takes::NUMBER) } => visitor.visit_i128(*value),
                    Feed::Float(value) if const { takes::all::<TAKES>(takes::NUMBER) } => visitor.visit_f64(value),
                    Feed::Str(text) if const { takes::all::<TAKES>(takes::TEXT) } => visitor.visit_borrowed_str(text),
                    Feed::String(text) if const { takes::all::<TAKES>(takes::TEXT) } => visitor.visit_string(text),
                    Feed::Bytes(bytes) if const { takes::all::<TAKES>(takes::BYTES) } => visitor.visit_borrowed_bytes(bytes),
                    Feed::Buffer(bytes) if const { takes::all::<TAKES>(takes::BYTES) } => visitor.visit_byte_buf(bytes.into_vec()),
                    Feed::None if const { takes::all::<TAKES>(takes::OPTION) } => visitor.visit_none(),
                    Feed::Some if const { takes::all::<TAKES>(takes::OPTION) } => visitor.visit_some(De(from)),
                    Feed::Newtype if const { takes::all::<TAKES>(takes::NEWTYPE) } => visitor.visit_newtype_struct(De(from)),
                    Feed::Enum if const { takes::all::<TAKES>(takes::ENUM) } => visitor.visit_enum(Inside(from)),
                    feed => match Parts::of(&feed) {
                        Some(Parts::Listed { left, more }) if const { takes::all::<TAKES>(takes::SEQ) } => {
                            visitor.visit_seq(InSeq { from, left, more })
                        }
                        Some(Parts::Named { fields }) if const { takes::all::<TAKES>(takes::MAP) } => {
                            visitor.visit_map(InMap { from, fields, named: false })
                        }
                        _ => Err(unsuitable(&feed, &visitor)),
                    },
                }
            }
        };
        match &mut made {
            Ok(_) if container => {
                if let Err(fault) = from.source().end() {
                    made = Err(fault);
                }
            }
            Err(fault) if fed => from.source().failed(fault, container),
            _ => {}
        }
        made
    }

    #[inline]
    fn structure<const TAKES: u32, V: Visitor<'de>>(self, kind: Kind, visitor: V) -> Result<V::Value, Fault> {
        let Kind::Struct(name, names) = kind else { return self.feed::<TAKES, V>(kind, visitor) };
        self.structure_of(name, names, visitor)
    }

    /// Most structs are read from structs. The visitor is called in one place for each of the two ways, so that what it does is compiled
    /// into that place, and what it makes is made where it is returned.
    fn structure_of<V: Visitor<'de>>(self, name: &'static str, names: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        let from = self.0;
        let known = match from {
            Origin::Message(message) => message.structure(names, size_of::<V::Value>()),
            Origin::Other(_) => None,
        };
        let parts = match known {
            Some([]) => Parts::Listed { left: names.len(), more: More::None },
            Some(fields) => Parts::Named { fields: Some(fields) },
            None => from.structure(&Ask { kind: Kind::Struct(name, names), asker: const { &Asker::of::<V>() } }, &visitor)?,
        };
        let made = match parts {
            Parts::Listed { left, more } => visitor.visit_seq(InSeq { from, left, more }),
            Parts::Named { fields } => visitor.visit_map(InMap { from, fields, named: false }),
        };
        match made {
            Ok(value) => from.end().map(|()| value),
            Err(mut fault) => {
                from.source().failed(&mut fault, true);
                Err(fault)
            }
        }
    }

    /// Most values are small numbers, and are read without a question: nothing else is in this function, as what it saved for that would be
    /// half of what it does.
    #[inline(never)]
    fn leaf<const TAKES: u32, V: Visitor<'de>>(self, kind: Kind, visitor: V) -> Result<V::Value, Fault> {
        if TAKES == takes::NUMBER
            && let Origin::Message(message) = &mut *self.0
            && let Some(number) = message.small()
        {
            return visitor.visit_u64(number.into()).map_err(|fault| refused(message, fault));
        }
        self.any_leaf::<TAKES, V>(kind, visitor)
    }

    /// Any number or bool.
    #[inline(never)]
    fn any_leaf<const TAKES: u32, V: Visitor<'de>>(self, kind: Kind, visitor: V) -> Result<V::Value, Fault> {
        let from = self.0;
        let Origin::Message(message) = from else { return De(from).feed::<TAKES, V>(kind, visitor) };
        let fed = match message.leaf() {
            Some(Leaf::Unsigned(value)) if TAKES == takes::NUMBER => visitor.visit_u64(value),
            Some(Leaf::Signed(value)) if TAKES == takes::NUMBER => visitor.visit_i64(value),
            Some(Leaf::Float(bits)) if TAKES == takes::NUMBER => visitor.visit_f64(f64::from_bits(bits)),
            Some(Leaf::Bool(value)) if TAKES == takes::BOOL => visitor.visit_bool(value != 0),
            Some(leaf) => Err(unsuitable(&leaf.into(), &visitor)),
            None => return De(from).feed::<TAKES, V>(kind, visitor),
        };
        fed.map_err(|fault| refused(message, fault))
    }

    /// The same for texts.
    #[inline(never)]
    fn text<const TAKES: u32, V: Visitor<'de>>(self, kind: Kind, visitor: V) -> Result<V::Value, Fault> {
        let from = self.0;
        let Origin::Message(message) = from else { return De(from).feed::<TAKES, V>(kind, visitor) };
        let Some(text) = message.text() else { return De(from).feed::<TAKES, V>(kind, visitor) };
        visitor.visit_borrowed_str(text).map_err(|fault| refused(message, fault))
    }
}

/// A number or a text of a message is not what its type wants.
#[cold]
#[inline(never)]
fn refused(message: &mut Adapter<'_>, mut fault: Fault) -> Fault {
    message.failed(&mut fault, false);
    fault
}

macro_rules! asks {
    ($($method:ident($($name:ident: $type:ty),*) $kind:expr, $how:ident $takes:expr;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Fault> {
            self.$how::<{ $takes }, V>($kind, visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for De<'_, '_, 'de> {
    type Error = Fault;

    /// As postcard is not: a type has one shape here, whatever carries it.
    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    asks! {
        deserialize_any() Kind::Any, feed takes::ANY;
        deserialize_bool() Kind::Bool, leaf takes::BOOL;
        deserialize_i8() Kind::I8, leaf takes::NUMBER;
        deserialize_i16() Kind::I16, leaf takes::NUMBER;
        deserialize_i32() Kind::I32, leaf takes::NUMBER;
        deserialize_i64() Kind::I64, leaf takes::NUMBER;
        deserialize_i128() Kind::I128, feed takes::NUMBER;
        deserialize_u8() Kind::U8, leaf takes::NUMBER;
        deserialize_u16() Kind::U16, leaf takes::NUMBER;
        deserialize_u32() Kind::U32, leaf takes::NUMBER;
        deserialize_u64() Kind::U64, leaf takes::NUMBER;
        deserialize_u128() Kind::U128, feed takes::NUMBER;
        deserialize_f32() Kind::F32, leaf takes::NUMBER;
        deserialize_f64() Kind::F64, leaf takes::NUMBER;
        deserialize_char() Kind::Char, text takes::TEXT;
        deserialize_str() Kind::Str, text takes::TEXT;
        deserialize_string() Kind::Str, text takes::TEXT;
        deserialize_bytes() Kind::Bytes, feed takes::BYTES | takes::TEXT | takes::SEQ;
        deserialize_byte_buf() Kind::Bytes, feed takes::BYTES | takes::TEXT | takes::SEQ;
        deserialize_option() Kind::Option, feed takes::OPTION;
        deserialize_unit() Kind::Unit, feed takes::UNIT;
        deserialize_unit_struct(name: &'static str) Kind::UnitStruct(name), feed takes::UNIT;
        deserialize_newtype_struct(name: &'static str) Kind::Newtype(name), feed takes::NEWTYPE;
        deserialize_seq() Kind::Seq, feed takes::SEQ;
        deserialize_tuple(length: usize) Kind::Tuple(length), feed takes::SEQ;
        deserialize_tuple_struct(name: &'static str, length: usize) Kind::TupleStruct(name, length), feed takes::SEQ;
        deserialize_map() Kind::Map, feed takes::MAP;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) Kind::Struct(name, fields), structure takes::MAP | takes::SEQ;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) Kind::Enum(name, variants), feed takes::ENUM;
        deserialize_identifier() Kind::Identifier, feed takes::TEXT | takes::INDEX | takes::BYTES;
        deserialize_ignored_any() Kind::Ignored, feed takes::ANY;
    }
}

/// How the parts of a container are asked for.
#[derive(Clone, Copy)]
enum Parts<'de> {
    /// So many of them before it is known whether there are more.
    Listed { left: usize, more: More },
    /// These, if it is a map of fields, or else entries.
    Named { fields: Option<&'de [Field]> },
}

impl<'de> Parts<'de> {
    #[inline]
    fn of(feed: &Feed<'de>) -> Option<Self> {
        Some(match feed {
            Feed::Seq => Self::Listed { left: 0, more: More::Asked },
            Feed::Elements => Self::Listed { left: 0, more: More::Given },
            Feed::Row(left) => Self::Listed { left: *left, more: More::None },
            Feed::Map => Self::Named { fields: None },
            Feed::Fields(fields) => Self::Named { fields: Some(fields) },
            _ => return None,
        })
    }
}

/// The inside of the sequence that was fed last.
struct InSeq<'a, 's, 'de> {
    from: &'a mut Origin<'s, 'de>,
    /// So many parts are asked for before it is known whether there are more.
    left: usize,
    more: More,
}

/// Whether a sequence has more parts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    /// It has not.
    None,
    /// As [`Source::next`] says.
    Asked,
    /// As [`Adapter::elements`] gives them.
    Given,
}

impl InSeq<'_, '_, '_> {
    #[inline(never)]
    fn more(&mut self, size: usize) -> Result<bool, Fault> {
        self.left = match (self.more, &mut *self.from) {
            (More::None, _) => 0,
            (More::Given, Origin::Message(message)) => message.elements(size)?,
            (_, from) => from.source().next(Part::Element, size)?.into(),
        };
        Ok(self.left != 0)
    }
}

impl<'de> de::SeqAccess<'de> for InSeq<'_, '_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let size = size_of::<T::Value>();
        if self.left == 0 && (self.more == More::None || !self.more(size)?) {
            return Ok(None);
        }
        self.left -= 1;
        if self.more == More::Given
            && let Origin::Message(message) = &mut *self.from
        {
            message.element(self.left, size)?;
        }
        seed.deserialize(De(&mut *self.from)).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.from.hint()
    }
}

/// The inside of the map that was fed last.
struct InMap<'a, 's, 'de> {
    from: &'a mut Origin<'s, 'de>,
    /// Those that are left, if it is a map of fields.
    fields: Option<&'de [Field]>,
    /// The last key was a name that was not asked for, and its value has not been read.
    named: bool,
}

impl<'de> de::MapAccess<'de> for InMap<'_, '_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let name = match &mut self.fields {
            Some(fields) => {
                if self.named {
                    pass(&mut *self.from)?;
                }
                let Some((field, rest)) = fields.split_first() else {
                    self.named = false;
                    return Ok(None);
                };
                *fields = rest;
                &field.name
            }
            None => match self.from.source().key(size_of::<K::Value>())? {
                Key::End => return Ok(None),
                Key::Asked => return seed.deserialize(De(&mut *self.from)).map(Some),
                Key::Named(name) => name,
            },
        };
        self.named = true;
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        if !std::mem::take(&mut self.named) {
            self.from.source().next(Part::Value, size_of::<V::Value>())?;
        }
        seed.deserialize(De(&mut *self.from))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.from.hint()
    }
}

/// Passes over a value whose type went on to the next key.
#[cold]
fn pass(from: &mut Origin<'_, '_>) -> Result<(), Fault> {
    IgnoredAny::deserialize(De(from)).map(drop)
}

/// The inside of the enum that was fed last.
struct Inside<'a, 's, 'de>(&'a mut Origin<'s, 'de>);

impl<'de> de::EnumAccess<'de> for Inside<'_, '_, 'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let name = seed.deserialize(De(&mut *self.0))?;
        // serde_derive reads a name into an enum of its own without fields, so a name and its alias become equal.
        let same = || {
            let mut hasher = DefaultHasher::new();
            discriminant(&name).hash(&mut hasher);
            hasher.finish()
        };
        self.0.source().variant((size_of::<V::Value>() <= 1).then_some(&same))?;
        Ok((name, self))
    }
}

impl<'de> de::VariantAccess<'de> for Inside<'_, '_, 'de> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<(), Fault> {
        self.0.source().payload(false)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        self.0.source().payload(true)?;
        seed.deserialize(De(self.0))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        De(self.0).feed::<{ takes::SEQ }, V>(Kind::TupleVariant(length), visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        De(self.0).feed::<{ takes::MAP | takes::SEQ }, V>(Kind::StructVariant(fields), visitor)
    }
}
