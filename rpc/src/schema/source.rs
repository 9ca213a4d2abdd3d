//! What a type asks when it is read, and what answers: a [`Source`] for tracing a type, for reading a message by its writer's schema, and
//! for reading JSON.
//!
//! No format is known here. `de.rs` puts the questions. Texts and bytes live as long as `'de`: message, schema and parsed JSON are borrowed
//! for that long.

use std::any::type_name;

use serde::de::Visitor;

use super::node::Field;
use crate::frame::payload::Fault;

/// What a type asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Which method of `Deserializer` was called.
    pub(crate) kind: Kind,
    pub(crate) asker: &'static Asker,
}

/// Who asks. There is one of them for each visitor, so that a question costs no more than its address.
#[derive(Debug)]
pub(crate) struct Asker {
    visitor: fn() -> &'static str,
    value: fn() -> &'static str,
    size: usize,
}

impl Asker {
    pub(super) const fn of<'de, V: Visitor<'de>>() -> Self {
        Self { visitor: type_name::<V>, value: type_name::<V::Value>, size: size_of::<V::Value>() }
    }
}

impl Ask {
    /// The type's visitor: as good as a name of the type, and different for types that share one.
    pub(crate) fn visitor(&self) -> &'static str {
        (self.asker.visitor)()
    }

    /// What the visitor makes: usually the type.
    pub(crate) fn value(&self) -> &'static str {
        (self.asker.value)()
    }

    /// Its size in memory.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.asker.size
    }
}

/// The methods of `Deserializer`, and those of `VariantAccess` that take a visitor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Any,
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    Bytes,
    Option,
    Unit,
    UnitStruct(&'static str),
    Newtype(&'static str),
    Seq,
    Tuple(usize),
    TupleStruct(&'static str, usize),
    Map,
    Struct(&'static str, &'static [&'static str]),
    Enum(&'static str, &'static [&'static str]),
    /// The name of a field or a variant.
    Identifier,
    /// Whatever stands here is not wanted.
    Ignored,
    /// The parts of a variant, without names.
    TupleVariant(usize),
    /// The parts of a variant, by name.
    StructVariant(&'static [&'static str]),
}

/// What a visitor is given. Smaller numbers travel as larger ones: visitors check the range.
pub(crate) enum Feed<'de> {
    Unit,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    // Boxed, as they are rare: a feed is three words, and is moved once for every question.
    U128(Box<u128>),
    I128(Box<i128>),
    Float(f64),
    Str(&'de str),
    #[cfg_attr(not(feature = "json"), allow(dead_code, reason = "only JSON has texts that are not where they are read from"))]
    String(String),
    Bytes(&'de [u8]),
    #[cfg_attr(not(feature = "json"), allow(dead_code, reason = "as above"))]
    Buffer(Box<[u8]>),
    None,
    // These contain others.
    Some,
    Newtype,
    Seq,
    /// A sequence of equal elements, of a message: several are given at once.
    Elements,
    /// A sequence of so many parts, which are asked for one after the other without [`Source::next`] in between.
    Row(usize),
    Map,
    /// A map of these fields. Nobody asks for their names, and their values are asked for as those of a row.
    Fields(&'de [Field]),
    Enum,
}

impl Feed<'_> {
    pub(super) fn contains(&self) -> bool {
        matches!(self, Self::Some | Self::Newtype | Self::Seq | Self::Elements | Self::Row(_) | Self::Map | Self::Fields(_) | Self::Enum)
    }
}

/// A number or a bool. All are one machine word beside which they are, so that they are returned in registers.
#[derive(Clone, Copy)]
pub(crate) enum Leaf {
    Unsigned(u64),
    Signed(i64),
    Bool(u64),
    /// Its bits.
    Float(u64),
}

impl From<Leaf> for Feed<'_> {
    #[inline]
    fn from(leaf: Leaf) -> Self {
        match leaf {
            Leaf::Bool(value) => Self::Bool(value != 0),
            Leaf::Float(bits) => Self::Float(f64::from_bits(bits)),
            Leaf::Unsigned(value) => Self::Unsigned(value),
            Leaf::Signed(value) => Self::Signed(value),
        }
    }
}

/// What stands next in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Element,
    Key,
    Value,
}

/// What stands next where fields, or entries, are fed.
pub(crate) enum Key<'de> {
    /// Nothing more.
    End,
    /// It is asked for.
    Asked,
    /// The field of this name. Nobody asks for it, and the next question is about its value.
    Named(&'de str),
}

/// Answers the questions of a type, one after the other.
///
/// Each [`ask`](Self::ask) that is fed a container is followed by the questions of its parts and then by one
/// [`end`](Self::end) or [`failed`](Self::failed). A value fed without parts that its visitor does not refuse is followed by
/// nothing. So containers nest, and whoever needs to know where it stands keeps a stack.
pub(crate) trait Source<'de> {
    /// The type of the whole value that is about to be read.
    fn root(&mut self, _name: &'static str) {}

    /// What to feed to this visitor.
    fn ask(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault>;

    /// Whether there is another part; the next question is about it. `size` is that of the type that will be asked for. After a
    /// key there always is a value.
    fn next(&mut self, part: Part, size: usize) -> Result<bool, Fault>;

    /// As [`next`](Self::next) for a key; a source that knows the name of a field may give it at once.
    fn key(&mut self, size: usize) -> Result<Key<'de>, Fault> {
        self.next(Part::Key, size).map(|more| if more { Key::Asked } else { Key::End })
    }

    /// How many parts are left, as far as that can be believed.
    fn hint(&self) -> Option<usize>;

    /// The name of a variant has been read, and was understood. Names that a type takes for the same have the same number; none if
    /// the type does not show.
    fn variant(&mut self, _same: Option<&dyn Fn() -> u64>) -> Result<(), Fault> {
        Ok(())
    }

    /// The variant is taken to hold one value, which is asked for next, or else nothing. (Else its parts are asked for as
    /// [`Kind::TupleVariant`] or [`Kind::StructVariant`].)
    fn payload(&mut self, one: bool) -> Result<(), Fault>;

    /// The innermost container is over, and its visitor was content.
    fn end(&mut self) -> Result<(), Fault>;

    /// The visitor that was fed last and has not ended refuses; `container` says whether it was fed one. The fault may be changed,
    /// to say where.
    fn failed(&mut self, _fault: &mut Fault, _container: bool) {}
}
