//! Reads a message by its writer's schema into whatever the reader's type is now.
//!
//! A [`Source`] for the one deserializer: the type asks, and what it asks for and what the writer wrote are brought together.
//! Fields and variants meet by name, numbers by value, and a type's own visitor says no to what it cannot take. What JSON would
//! have carried between the two types comes out the same, and what JSON would have refused is refused, or read where that
//! loses nothing. `fit/` says beforehand what is to be expected.
//!
//! Costs are accounted as in `frame/payload/decode.rs`, by what the *reader's* type takes: a schema that makes much out of few
//! bytes breaks the same budget. The schema has been checked (`peer.rs`), but it is still a stranger's.
//!
//! - `input.rs`: the message, and passing over what nobody wants; `level.rs`: where in the message it is, also as text for errors

mod input;
mod level;
#[cfg(test)]
mod tests;

use serde::Deserialize;

use self::input::{Input, signed, unknown};
use self::level::{Accounts, Arguments, Element, Fed, Level, Parts, Place, Row, path};
use super::node::{Field, Id, Node, Shape, Signature};
use super::peer::{self, Peer};
use super::source::{Ask, De, Feed, Key, Kind, Leaf, Part, Source};
use crate::frame::payload::guard::Account;
use crate::frame::payload::{Budget, Fault, Problem, decode};

/// Reads one value that is the whole message.
///
/// # Errors
/// As plain decoding, where the reader's type cannot take the value as well. Texts say where.
pub(crate) fn value<'de, T: Deserialize<'de>>(peer: &'de Peer, root: Id, bytes: &'de [u8], budget: Budget) -> Result<T, Fault> {
    let mut adapter = Adapter::new(peer, Place::Node(root), bytes, budget, size_of::<T>())?;
    let value = T::deserialize(De(&mut adapter))?;
    adapter.finish()?;
    Ok(value)
}

/// Reads the arguments of a call, a tuple: those that the reader names, from those that the writer has.
///
/// # Errors
/// As [`value`]. An argument that the writer does not have is `None`, or else missing.
pub(crate) fn arguments<'de, A: Deserialize<'de>>(
    peer: &'de Peer,
    signature: &'de Signature,
    names: &'static [&'static str],
    bytes: &'de [u8],
    budget: Budget,
) -> Result<A, Fault> {
    let mut adapter = Adapter::new(peer, Place::Arguments, bytes, budget, size_of::<A>())?;
    adapter.arguments = Some(Arguments { signature, names, starts: None });
    let value = A::deserialize(De(&mut adapter))?;
    adapter.finish()?;
    Ok(value)
}

struct Adapter<'de> {
    peer: &'de Peer,
    input: Input<'de>,
    arguments: Option<Arguments<'de>>,
    /// What the next question is about. When it has been read, the question is about the next part of the row.
    here: Place<'de>,
    /// What is left of the innermost container, if its parts are asked for in a row.
    row: Row<'de>,
    /// What is around it, from the outside in.
    levels: Vec<Level<'de>>,
    /// Of those levels that have some.
    accounts: Vec<Accounts>,
    /// The fault that is on its way out says where it happened.
    located: bool,
    /// A container was left in the middle.
    broken: bool,
    /// How structs are fed, for a writer's list of fields and a reader's: a sequence would compare them with every element.
    known: [Known; KNOWN],
}

/// How the fields of a struct are fed.
#[derive(Clone, Copy)]
struct Known {
    /// Where the writer's list and the reader's are. No lists, no structs: the first of them is not known.
    fields: *const Field,
    names: &'static [&'static str],
    fed: Fed,
}

/// As many as most messages have types of structs.
const KNOWN: usize = 8;
const UNKNOWN: Known = Known { fields: std::ptr::null(), names: &[], fed: Fed::InOrder };

/// Most messages nest no deeper.
const LEVELS: usize = 8;
const NO_SHAPE: &Shape = &Shape::Unit;
/// Nothing that a type does leads there: it would be a source that was asked out of turn.
const OUT_OF_TURN: &str = "the type reads on after a part of it was refused";

impl<'de> Adapter<'de> {
    fn new(peer: &'de Peer, here: Place<'de>, bytes: &'de [u8], budget: Budget, size: usize) -> Result<Self, Fault> {
        let input = Input::new(bytes, budget, size)?;
        Ok(Self {
            peer,
            input,
            arguments: None,
            here,
            row: Row::EMPTY,
            levels: Vec::with_capacity(LEVELS),
            accounts: Vec::new(),
            located: false,
            broken: false,
            known: [UNKNOWN; KNOWN],
        })
    }

    fn finish(mut self) -> Result<(), Fault> {
        self.pass()?;
        self.input.decoder.finish()
    }

    /// Passes over what was not asked for.
    #[inline]
    fn pass(&mut self) -> Result<(), Fault> {
        match self.here {
            Place::Read | Place::Broken => Ok(()),
            place => {
                self.here = Place::Read;
                self.skip(place)
            }
        }
    }

    fn skip(&mut self, place: Place<'de>) -> Result<(), Fault> {
        let peer = self.peer;
        match place {
            Place::Node(id) => self.input.skip(peer, id),
            Place::Byte => self.input.decoder.byte().map(drop),
            Place::Fields(fields) => self.input.skip_fields(peer, fields),
            Place::List(ids) => self.input.skip_all(peer, ids),
            Place::Arguments => {
                let Some(Arguments { signature, .. }) = &self.arguments else { return Ok(()) };
                signature.arguments.iter().try_for_each(|(_, id)| self.input.skip(peer, *id))
            }
            Place::Name(_) | Place::Nothing | Place::Absent(_) | Place::Read | Place::Broken => Ok(()),
        }
    }

    /// Begins a container: one level deeper, with room as plain decoding gives it.
    #[inline]
    fn begin(&mut self, ask: &Ask, parts: Parts<'de>) -> Result<(), Fault> {
        let around = std::mem::replace(&mut self.row, Row::EMPTY);
        let (room, accounts) = match ask.kind {
            Kind::Newtype(_) | Kind::Tuple(_) | Kind::TupleStruct(..) | Kind::Struct(..) => (ask.size(), None),
            Kind::Option | Kind::Enum(..) => (ask.size().saturating_sub(1), None),
            Kind::TupleVariant(_) | Kind::StructVariant(_) => {
                // They are no deeper than their variant, and stand in its room.
                self.levels.push(Level { parts, around, outside: None, accounts: false });
                return Ok(());
            }
            Kind::Map | Kind::Any if parts.are_entries() => (0, Some(Account::map_named as fn(&str) -> Account)),
            _ => (0, Some(Account::sequence_named as fn(&str) -> Account)),
        };
        let outside = self.input.decoder.guard.enter(ask.size(), room)?;
        if let Some(account) = accounts {
            self.accounts.push(Accounts { elements: account(ask.value()), values: account(ask.value()) });
        }
        self.levels.push(Level { parts, around, outside: Some(outside), accounts: accounts.is_some() });
        Ok(())
    }

    /// The value of the writer's that is asked for next, if it is one, and what is left of the row after it.
    #[inline]
    fn due(&self) -> Option<(Id, Row<'de>)> {
        match self.here {
            Place::Node(id) => Some((id, self.row)),
            Place::Read => self.row.next(),
            _ => None,
        }
    }

    /// It has been read.
    #[inline]
    fn taken(&mut self, row: Row<'de>) {
        self.here = Place::Read;
        self.row = row;
        self.located = false;
    }

    /// A struct from a struct, as most are. None: nothing has been done, and [`answer`](Self::answer) does it or says why not.
    #[inline]
    fn structure(&mut self, ask: &Ask) -> Option<Feed<'de>> {
        let Kind::Struct(_, names) = ask.kind else { return None };
        let (id, around) = self.due()?;
        let Node::Struct(_, fields) = self.peer.bare(id) else { return None };
        let fields = &fields.list[..];
        let named = match self.known(fields, names)? {
            Fed::InOrder => false,
            Fed::Named => true,
            Fed::ByName => return None,
        };
        self.input.step().ok()?;
        let outside = self.input.decoder.guard.enter(ask.size(), ask.size()).ok()?;
        self.levels.push(Level { parts: Parts::Fields { fields, named }, around, outside: Some(outside), accounts: false });
        self.taken(Row::Fields(fields));
        Some(if named { Feed::Fields(fields) } else { Feed::Row(fields.len()) })
    }

    #[inline(never)]
    fn answer(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        self.located = false;
        if self.broken {
            return Err(Fault::malformed(OUT_OF_TURN));
        }
        self.input.step()?;
        let place = match std::mem::replace(&mut self.here, Place::Read) {
            Place::Read => match self.row.next() {
                Some((id, row)) => {
                    self.row = row;
                    Place::Node(id)
                }
                None => Place::Read,
            },
            place => place,
        };
        match ask.kind {
            Kind::Ignored => self.skip(place).map(|()| Feed::Unit),
            Kind::Newtype(_) => {
                self.begin(ask, Parts::One)?;
                self.here = match place {
                    Place::Node(id) => Place::Node(self.peer.inner(id)),
                    other => other,
                };
                Ok(Feed::Newtype)
            }
            Kind::Option => self.option(ask, place),
            Kind::TupleVariant(length) => self.tuple_variant(ask, length),
            Kind::StructVariant(names) => self.struct_variant(ask, names),
            _ => match place {
                Place::Node(id) => self.node(ask, id),
                Place::Name(name) => self.name(ask, name),
                Place::Byte => Ok(Feed::Unsigned(self.input.decoder.byte()?.into())),
                Place::Fields(fields) => self.fields(ask, fields),
                Place::List(ids) => self.list(ask, ids),
                Place::Nothing => self.nothing(ask),
                Place::Absent(name) => Err(Fault::new(Problem::Missing(name))),
                Place::Arguments => self.all_arguments(ask),
                Place::Read | Place::Broken => Err(Fault::malformed(OUT_OF_TURN)),
            },
        }
    }

    /// An option is read from an option, from nothing, or from what it may hold.
    fn option(&mut self, ask: &Ask, place: Place<'de>) -> Result<Feed<'de>, Fault> {
        let inside = match place {
            Place::Nothing | Place::Absent(_) => None,
            Place::Node(id) => match self.peer.bare(id) {
                Node::Option(part) => self.input.decoder.option()?.then_some(Place::Node(*part)),
                Node::Unit | Node::UnitStruct(_) => None,
                _ => Some(place),
            },
            other => Some(other),
        };
        match inside {
            Some(place) => {
                self.begin(ask, Parts::One)?;
                self.here = place;
                Ok(Feed::Some)
            }
            None => {
                // As plain decoding charges what is not there.
                self.input.decoder.guard.take(ask.size())?;
                Ok(Feed::None)
            }
        }
    }

    /// Anything but an option or a newtype, from a value of the writer's.
    fn node(&mut self, ask: &Ask, id: Id) -> Result<Feed<'de>, Fault> {
        let peer = self.peer;
        let mut node = peer.bare(id);
        while let Node::Option(part) = node {
            if matches!(ask.kind, Kind::Any) {
                return self.option(ask, Place::Node(id));
            }
            if !self.input.decoder.option()? {
                return if matches!(ask.kind, Kind::Unit | Kind::UnitStruct(_)) { Ok(Feed::Unit) } else { Err(none()) };
            }
            self.input.step()?;
            node = peer.bare(*part);
        }
        let decoder = &mut self.input.decoder;
        Ok(match node {
            Node::Unit | Node::UnitStruct(_) => Feed::Unit,
            Node::Bool => Feed::Bool(decoder.bool()?),
            // Fields go by their names, never by numbers.
            _ if matches!(ask.kind, Kind::Identifier) && !matches!(node, Node::Str | Node::Char | Node::Enum(..)) => return Err(no_name()),
            Node::I8 => Feed::Signed((decoder.byte()? as i8).into()),
            Node::I16 => Feed::Signed(signed(decoder.varint_u16()?.into())),
            Node::I32 => Feed::Signed(signed(decoder.varint_u32()?.into())),
            Node::I64 => Feed::Signed(signed(decoder.varint_u64()?)),
            Node::I128 => {
                let number = decoder.varint_u128()?;
                narrow((number >> 1) as i128 ^ -((number & 1) as i128))
            }
            Node::U8 => Feed::Unsigned(decoder.byte()?.into()),
            Node::U16 => Feed::Unsigned(decoder.varint_u16()?.into()),
            Node::U32 => Feed::Unsigned(decoder.varint_u32()?.into()),
            Node::U64 => Feed::Unsigned(decoder.varint_u64()?),
            Node::U128 => {
                let number = decoder.varint_u128()?;
                u64::try_from(number).map_or_else(|_| Feed::U128(Box::new(number)), Feed::Unsigned)
            }
            Node::F32 => Feed::Float(f32::from_le_bytes(decoder.array()?).into()),
            Node::F64 => Feed::Float(f64::from_le_bytes(decoder.array()?)),
            Node::Char => {
                let text = decoder.char()?;
                return self.text(ask, text);
            }
            Node::Str => {
                let text = decoder.str()?;
                return self.text(ask, text);
            }
            Node::Bytes if matches!(ask.kind, Kind::Bytes | Kind::Any) => Feed::Bytes(decoder.counted()?),
            Node::Bytes => return self.elements(ask, Element::Byte),
            Node::Seq(part) if matches!(ask.kind, Kind::Bytes) && matches!(peer.bare(*part), Node::U8) => Feed::Bytes(decoder.counted()?),
            Node::Seq(part) => return self.elements(ask, Element::Node(*part)),
            Node::Tuple(parts) | Node::TupleStruct(_, parts) => return self.list(ask, parts),
            Node::Map(key, value) => return self.entries(ask, *key, *value),
            Node::Struct(_, fields) => return self.fields(ask, &fields.list),
            Node::Enum(_, variants) => {
                let variant = self.input.variant(variants)?;
                return self.variant_of(ask, &variant.name, &variant.aliases, &variant.shape);
            }
            Node::Opaque(_) => return Err(unknown()),
            // Passed above.
            Node::Option(_) | Node::Newtype(..) | Node::Logical(..) => return Err(unknown()),
        })
    }

    /// A text that is in the message. An enum's variants without parts are texts to JSON, so they are here.
    #[inline]
    fn text(&mut self, ask: &Ask, text: &'de str) -> Result<Feed<'de>, Fault> {
        if matches!(ask.kind, Kind::Enum(..)) { self.variant(ask, text, NO_SHAPE) } else { Ok(Feed::Str(text)) }
    }

    /// A text that is in the schema. The message's length does not pay for it.
    fn name(&mut self, ask: &Ask, name: &'de str) -> Result<Feed<'de>, Fault> {
        if !matches!(ask.kind, Kind::Identifier) {
            self.input.decoder.guard.charge(name.len())?;
        }
        self.text(ask, name)
    }

    fn elements(&mut self, ask: &Ask, element: Element) -> Result<Feed<'de>, Fault> {
        let least = match element {
            Element::Node(id) => self.peer.least(id),
            Element::Byte => 1,
        };
        let count = self.input.decoder.length()?;
        self.begin(ask, Parts::Elements { element, taken: 0, last: limit(ask.kind).map_or(count, |limit| count.min(limit)), count })?;
        self.holds(count, least).map(|()| Feed::Seq)
    }

    fn entries(&mut self, ask: &Ask, key: Id, value: Id) -> Result<Feed<'de>, Fault> {
        let least = self.peer.least(key).saturating_add(self.peer.least(value));
        let count = self.input.decoder.length()?;
        self.begin(ask, Parts::Entries { key, value, taken: 0, count })?;
        self.holds(count, least).map(|()| Feed::Map)
    }

    /// The rest of the message can hold as many elements as the container that has begun declares.
    fn holds(&mut self, count: usize, least: usize) -> Result<(), Fault> {
        let left = self.input.decoder.input.len();
        if count.saturating_mul(least) <= left {
            return Ok(());
        }
        self.leave();
        Err(decode::too_long(count, left))
    }

    fn list(&mut self, ask: &Ask, ids: &'de [Id]) -> Result<Feed<'de>, Fault> {
        if matches!(ask.kind, Kind::Bytes) && ids.iter().all(|id| matches!(self.peer.bare(*id), Node::U8)) {
            return Ok(Feed::Bytes(self.input.decoder.bytes(ids.len())?));
        }
        self.tuple(ask, ids, limit(ask.kind))
    }

    /// Parts without names. A type that does not say how many it has takes all of them.
    fn tuple(&mut self, ask: &Ask, ids: &'de [Id], limit: Option<usize>) -> Result<Feed<'de>, Fault> {
        let Some(limit) = limit else {
            self.begin(ask, Parts::List { ids, taken: 0 })?;
            return Ok(Feed::Seq);
        };
        let row = &ids[..ids.len().min(limit)];
        self.begin(ask, Parts::Tuple { ids, length: limit })?;
        self.row = Row::List(row);
        Ok(Feed::Row(row.len()))
    }

    fn fields(&mut self, ask: &Ask, fields: &'de [Field]) -> Result<Feed<'de>, Fault> {
        let (known, fed) = match ask.kind {
            Kind::Struct(_, names) | Kind::StructVariant(names) => (names, self.fed(fields, names)),
            _ => (&[][..], Fed::ByName),
        };
        let (parts, row, feed) = match fed {
            Fed::InOrder => (Parts::Fields { fields, named: false }, Row::Fields(fields), Feed::Row(fields.len())),
            Fed::Named => (Parts::Fields { fields, named: true }, Row::Fields(fields), Feed::Fields(fields)),
            Fed::ByName => (Parts::Asked { fields, taken: 0, named: false, known }, Row::EMPTY, Feed::Map),
        };
        self.begin(ask, parts)?;
        self.row = row;
        Ok(feed)
    }

    /// How these fields are fed to a type that knows these names, if they have met before.
    #[inline]
    fn known(&self, fields: &'de [Field], names: &'static [&'static str]) -> Option<Fed> {
        let known = &self.known[place(fields)];
        (std::ptr::eq(known.fields, fields.as_ptr()) && std::ptr::eq(known.names, names)).then_some(known.fed)
    }

    fn fed(&mut self, fields: &'de [Field], names: &'static [&'static str]) -> Fed {
        if let Some(fed) = self.known(fields, names) {
            return fed;
        }
        let fed = fed(fields, names);
        self.known[place(fields)] = Known { fields: fields.as_ptr(), names, fed };
        fed
    }

    fn nothing(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        match ask.kind {
            Kind::Unit | Kind::UnitStruct(_) | Kind::Any => Ok(Feed::Unit),
            Kind::Struct(..) | Kind::Map => self.fields(ask, &[]),
            _ => Err(Fault::malformed("the writer's variant holds nothing")),
        }
    }

    fn variant_of(&mut self, ask: &Ask, name: &'de str, aliases: &'de [String], shape: &'de Shape) -> Result<Feed<'de>, Fault> {
        match (ask.kind, shape) {
            (Kind::Enum(_, known), _) => {
                let name = known_as(&mut self.input, name, aliases, known)?;
                self.variant(ask, name, shape)
            }
            (_, Shape::Unit) => self.name(ask, name),
            (Kind::Identifier, _) => Err(no_name()),
            _ => {
                self.begin(ask, Parts::Entry { name, shape, taken: false })?;
                Ok(Feed::Map)
            }
        }
    }

    fn variant(&mut self, ask: &Ask, name: &'de str, shape: &'de Shape) -> Result<Feed<'de>, Fault> {
        self.begin(ask, Parts::Variant { name, shape, begun: false })?;
        self.here = Place::Name(name);
        Ok(Feed::Enum)
    }

    /// The shape of the variant that is being read. From here on its parts are.
    fn shape(&mut self) -> Result<&'de Shape, Fault> {
        match self.levels.last_mut() {
            Some(Level { parts: Parts::Variant { shape, begun, .. }, .. }) if !*begun => {
                *begun = true;
                Ok(shape)
            }
            _ => Err(Fault::malformed(OUT_OF_TURN)),
        }
    }

    fn tuple_variant(&mut self, ask: &Ask, length: usize) -> Result<Feed<'de>, Fault> {
        match self.shape()? {
            Shape::Tuple(ids) => self.tuple(ask, ids, Some(length)),
            Shape::Newtype(id) => match self.peer.bare(*id) {
                // `A((u8, u8))` is `A(u8, u8)` to JSON.
                Node::Tuple(..) | Node::TupleStruct(..) | Node::Seq(_) | Node::Bytes => self.node(ask, *id),
                _ => self.tuple(ask, std::slice::from_ref(id), Some(length)),
            },
            Shape::Unit => Err(Fault::malformed("the writer's variant holds nothing")),
            Shape::Struct(_) => Err(Fault::malformed("the writer's variant has fields with names")),
            Shape::Unknown => Err(unknown()),
        }
    }

    fn struct_variant(&mut self, ask: &Ask, names: &'static [&'static str]) -> Result<Feed<'de>, Fault> {
        match self.shape()? {
            Shape::Struct(fields) => self.fields(ask, &fields.list),
            Shape::Unit => self.fields(ask, &[]),
            // `A(Fields)` is `A { .. }` to JSON.
            Shape::Newtype(id) => self.node(ask, *id),
            Shape::Tuple(ids) => self.tuple(ask, ids, Some(names.len())),
            Shape::Unknown => Err(unknown()),
        }
    }

    /// What a variant holds, as one value.
    fn place_of(shape: &'de Shape) -> Result<Place<'de>, Fault> {
        match shape {
            Shape::Unit => Ok(Place::Nothing),
            Shape::Newtype(id) => Ok(Place::Node(*id)),
            Shape::Tuple(ids) => Ok(Place::List(ids)),
            Shape::Struct(fields) => Ok(Place::Fields(&fields.list)),
            Shape::Unknown => Err(unknown()),
        }
    }

    fn all_arguments(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        let Some(Arguments { signature, names, starts }) = &mut self.arguments else { return Err(Fault::malformed(OUT_OF_TURN)) };
        let written = &signature.arguments;
        if !matches!(ask.kind, Kind::Tuple(length) if length == names.len()) {
            // A tuple of none is a unit.
            self.skip(Place::Arguments)?;
            return Ok(Feed::Unit);
        }
        let same = written.len() == names.len() && written.iter().zip(*names).all(|((written, _), name)| written == name);
        if !same {
            let starts = starts.insert(Vec::with_capacity(written.len()));
            for (_, id) in written {
                starts.push(self.input.decoder.input);
                self.input.skip(self.peer, *id)?;
            }
            self.input.decoder.finish()?;
        }
        self.begin(ask, Parts::Arguments { taken: 0 })?;
        Ok(Feed::Seq)
    }

    /// A number of any size. None: nothing has been read.
    #[inline(never)]
    fn large(&mut self, leaf: peer::Leaf, row: Row<'de>) -> Option<Leaf> {
        let before = self.input.decoder.input;
        let Ok(Some(number)) = self.input.number(leaf) else {
            self.input.decoder.input = before;
            return None;
        };
        self.taken(row);
        Some(number)
    }

    /// Where the next part of the innermost container is, if there is one.
    #[inline(never)]
    fn advance(&mut self, part: Part, size: usize) -> Result<bool, Fault> {
        if self.broken {
            return Err(Fault::malformed(OUT_OF_TURN));
        }
        self.pass()?;
        let Some(level) = self.levels.last_mut() else { return Err(Fault::malformed(OUT_OF_TURN)) };
        // A value has been counted with its key.
        let left = level.parts.left() + usize::from(part == Part::Value);
        let mut least = 1;
        self.here = match &mut level.parts {
            Parts::List { ids, taken, .. } => {
                if left == 0 {
                    return Ok(false);
                }
                *taken += 1;
                Place::Node(ids[*taken - 1])
            }
            Parts::Asked { fields, taken, named, known } => {
                *named = part != Part::Key;
                if part != Part::Value {
                    if left == 0 {
                        return Ok(false);
                    }
                    *taken += 1;
                }
                let field = &fields[*taken - 1];
                match part {
                    Part::Key => Place::Name(known_as(&mut self.input, &field.name, &field.aliases, known)?),
                    _ => Place::Node(field.node),
                }
            }
            Parts::Elements { element, taken, .. } => {
                if left == 0 {
                    return Ok(false);
                }
                *taken += 1;
                match *element {
                    Element::Node(id) => {
                        least = self.peer.least(id);
                        Place::Node(id)
                    }
                    Element::Byte => Place::Byte,
                }
            }
            Parts::Entries { key, value, taken, .. } => {
                if part == Part::Value {
                    Place::Node(*value)
                } else {
                    if left == 0 {
                        return Ok(false);
                    }
                    *taken += 1;
                    least = self.peer.least(*key).saturating_add(self.peer.least(*value));
                    Place::Node(*key)
                }
            }
            Parts::Entry { name, shape, taken } => match part {
                Part::Value => Self::place_of(shape)?,
                _ if *taken => return Ok(false),
                _ => {
                    *taken = true;
                    Place::Name(name)
                }
            },
            Parts::Arguments { taken } => {
                let Some(Arguments { signature, names, starts }) = &self.arguments else { return Err(Fault::malformed(OUT_OF_TURN)) };
                let Some(&name) = names.get(*taken) else { return Ok(false) };
                *taken += 1;
                match starts {
                    None => Place::Node(signature.arguments[*taken - 1].1),
                    Some(starts) => match signature.arguments.iter().position(|(written, _)| written == name) {
                        Some(at) => {
                            self.input.decoder.input = starts[at];
                            Place::Node(signature.arguments[at].1)
                        }
                        None => Place::Absent(name),
                    },
                }
            }
            Parts::One | Parts::Fields { .. } | Parts::Tuple { .. } | Parts::Variant { .. } => return Err(Fault::malformed(OUT_OF_TURN)),
        };
        if level.accounts
            && let Some(accounts) = self.accounts.last_mut()
        {
            let guard = &mut self.input.decoder.guard;
            let account = if part == Part::Value { &mut accounts.values } else { &mut accounts.elements };
            let is_new = account.is_new();
            if least == 0 && size != 0 && is_new {
                guard.empty_elements(left)?;
            }
            account.element(guard, size, Some(left))?;
            if size == 0 && is_new {
                // The reader's own type is a list of nothing, and plain decoding would take as many.
                self.input.steps = self.input.steps.saturating_add(left);
            }
        }
        Ok(true)
    }

    /// The innermost container is over: what is left of it is passed over, where that is allowed.
    #[inline(never)]
    fn close(&mut self) -> Result<(), Fault> {
        self.pass()?;
        let Some(level) = self.levels.last() else { return Err(Fault::malformed(OUT_OF_TURN)) };
        let peer = self.peer;
        match &level.parts {
            Parts::One => {}
            Parts::Fields { fields, named } => {
                let left = &fields[fields.len() - self.row.len()..];
                if *named {
                    self.input.skip_fields(peer, left)?;
                } else if let Some(field) = left.first() {
                    // The reader's list of names has aliases in it, so two of the writer's fields are one to the reader.
                    return Err(Fault::malformed(format!("field `{}` is there under another name too", field.name)));
                }
            }
            // The parts would have been taken for one another.
            Parts::Tuple { .. } if self.row.len() != 0 => return Err(Fault::malformed("the type leaves out a part of it")),
            // A shorter tuple reads a longer one.
            Parts::Tuple { ids, length } => self.input.skip_all(peer, ids.get(*length..).unwrap_or_default())?,
            Parts::List { ids, taken } => self.input.skip_all(peer, &ids[*taken..])?,
            Parts::Asked { fields, taken, .. } => self.input.skip_fields(peer, &fields[*taken..])?,
            Parts::Elements { taken, count, .. } | Parts::Entries { taken, count, .. } => {
                if taken != count {
                    return Err(Fault::malformed(format!("{} elements too many", count - taken)));
                }
            }
            Parts::Variant { shape, begun: false, .. } => self.input.skip_shape(peer, shape)?,
            Parts::Variant { .. } => {}
            Parts::Entry { shape, taken: false, .. } => self.input.skip_shape(peer, shape)?,
            Parts::Entry { .. } => {}
            Parts::Arguments { taken } => match &self.arguments {
                Some(Arguments { signature, starts: None, .. }) => {
                    signature.arguments.iter().skip(*taken).try_for_each(|(_, id)| self.input.skip(peer, *id))?;
                }
                // All of them have been passed over before.
                _ => self.input.decoder.input = &[],
            },
        }
        self.leave();
        Ok(())
    }

    #[inline]
    fn leave(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.row = match level.around {
                Row::Fields(fields) => Row::Fields(fields),
                Row::List(ids) => Row::List(ids),
            };
            if let Some(outside) = level.outside {
                self.input.decoder.guard.leave(outside);
            }
            if level.accounts {
                self.accounts.pop();
            }
        }
    }

    /// A container was left in the middle: nothing after it can be read.
    #[cold]
    fn broken(&mut self) {
        self.broken = true;
        self.here = Place::Broken;
    }

    /// Gives a fault its place: the next part of the innermost of these levels.
    #[cold]
    fn locate(&mut self, fault: &mut Fault, levels: usize) {
        if !self.located {
            self.located = true;
            let names = self.arguments.as_ref().map_or(&[][..], |arguments| arguments.names);
            let row = self.levels.get(levels).map_or(self.row, |level| level.around);
            fault.locate(&path(&self.levels[..levels], row, names));
        }
    }

    #[cold]
    fn located(&mut self, mut fault: Fault) -> Fault {
        self.located = false;
        self.locate(&mut fault, self.levels.len());
        fault
    }
}

impl<'de> Source<'de> for Adapter<'de> {
    fn leaf(&mut self) -> Option<Leaf> {
        use peer::Leaf::{Bool, I16, I32, I64, U8, U16, U32, U64};
        let (id, row) = self.due()?;
        let leaf = self.peer.leaf(id)?;
        // Most numbers are small, and then they are the same whatever their type is.
        let (number, rest) = match self.input.decoder.input {
            [low @ 0..=0x7f, rest @ ..] => (u64::from(*low), rest),
            [low, high @ 0..=0x7f, rest @ ..] if !matches!(leaf, Bool | U8) => (u64::from(*low & 0x7f) | u64::from(*high) << 7, rest),
            _ => return self.large(leaf, row),
        };
        let leaf = match leaf {
            U8 | U16 | U32 | U64 => Leaf::Unsigned(number),
            I16 | I32 | I64 => Leaf::Signed(signed(number)),
            Bool if number < 2 => Leaf::Bool(number),
            _ => return self.large(leaf, row),
        };
        self.input.decoder.input = rest;
        self.taken(row);
        Some(leaf)
    }

    fn text(&mut self) -> Option<&'de str> {
        let (id, row) = self.due()?;
        let peer::Leaf::Str = self.peer.leaf(id)? else { return None };
        let text = self.input.text()?;
        self.taken(row);
        Some(text)
    }

    fn ask(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        if let Some(feed) = self.structure(ask) {
            return Ok(feed);
        }
        match self.answer(ask) {
            Ok(feed) => Ok(feed),
            Err(fault) => Err(self.located(fault)),
        }
    }

    fn next(&mut self, part: Part, size: usize) -> Result<bool, Fault> {
        if let (Place::Read, false, Part::Element) = (self.here, self.broken, part)
            && let Some(Level { parts: Parts::Elements { element: Element::Node(id), taken, last, .. }, accounts: true, .. }) = self.levels.last_mut()
            && let Some(Accounts { elements, .. }) = self.accounts.last_mut()
            && *taken < *last
            && elements.element_in_place(&mut self.input.decoder.guard, size)
        {
            *taken += 1;
            self.here = Place::Node(*id);
            return Ok(true);
        }
        self.advance(part, size).map_err(|fault| self.located(fault))
    }

    fn key(&mut self, size: usize) -> Result<Key<'de>, Fault> {
        if !self.broken
            && matches!(self.here, Place::Read)
            && let Some(Level { parts: Parts::Asked { fields, taken, named, known }, accounts: false, .. }) = self.levels.last_mut()
        {
            *named = true;
            let Some(field) = fields.get(*taken) else { return Ok(Key::End) };
            *taken += 1;
            self.here = Place::Node(field.node);
            let name = known_as(&mut self.input, &field.name, &field.aliases, known);
            return name.map(Key::Named).map_err(|fault| self.located(fault));
        }
        self.next(Part::Key, size).map(|more| if more { Key::Asked } else { Key::End })
    }

    fn hint(&self) -> Option<usize> {
        let left = self.levels.last()?.parts.left();
        self.input.decoder.hint(left + self.row.len())
    }

    fn payload(&mut self, one: bool) -> Result<(), Fault> {
        if self.broken {
            return Err(Fault::malformed(OUT_OF_TURN));
        }
        let shape = self.shape()?;
        if one {
            self.here = Self::place_of(shape)?;
            return Ok(());
        }
        // A variant that holds nothing any more, or the one that stands for all that the reader does not know.
        self.input.skip_shape(self.peer, shape).map_err(|fault| self.located(fault))
    }

    fn end(&mut self) -> Result<(), Fault> {
        if let (Place::Read, 0, Some(Level { parts: Parts::Fields { .. } | Parts::One, .. })) = (self.here, self.row.len(), self.levels.last()) {
            self.leave();
            return Ok(());
        }
        self.close().map_err(|mut fault| {
            // No `failed` follows.
            self.located = false;
            self.locate(&mut fault, self.levels.len().saturating_sub(1));
            self.broken();
            fault
        })
    }

    fn failed(&mut self, fault: &mut Fault, container: bool) {
        if container {
            // It is the container that is refused, not the part that was read last.
            let around = self.levels.len().saturating_sub(1);
            self.locate(fault, around);
            self.broken();
            self.leave();
        } else {
            self.locate(fault, self.levels.len());
        }
    }
}

/// The name that the reader knows a field or variant by: the writer's, or what the writer also accepts for it. A stranger's may have
/// thousands of other names.
#[inline]
fn known_as<'de>(input: &mut Input<'_>, name: &'de str, aliases: &'de [String], known: &[&str]) -> Result<&'de str, Fault> {
    if aliases.is_empty() || known.contains(&name) {
        return Ok(name);
    }
    input.steps(aliases.len())?;
    Ok(aliases.iter().map(String::as_str).find(|alias| known.contains(alias)).unwrap_or(name))
}

/// Where is remembered how they are fed.
#[inline]
fn place(fields: &[Field]) -> usize {
    fields.as_ptr().addr() / 64 % KNOWN
}

/// Fields that are the reader's too, in its order, go without their names.
#[cold]
fn fed(fields: &[Field], known: &'static [&'static str]) -> Fed {
    if !fields.is_empty() && fields.len() == known.len() && fields.iter().zip(known).all(|(field, name)| field.name == *name) {
        Fed::InOrder
    } else if fields.iter().all(|field| field.aliases.is_empty()) {
        Fed::Named
    } else {
        Fed::ByName
    }
}

/// How many parts a type has that knows it.
fn limit(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Tuple(length) | Kind::TupleStruct(_, length) | Kind::TupleVariant(length) => Some(length),
        Kind::Struct(_, names) | Kind::StructVariant(names) => Some(names.len()),
        _ => None,
    }
}

/// Visitors of smaller numbers take no 128 bits.
fn narrow<'de>(number: i128) -> Feed<'de> {
    if let Ok(number) = i64::try_from(number) {
        Feed::Signed(number)
    } else if let Ok(number) = u64::try_from(number) {
        Feed::Unsigned(number)
    } else {
        Feed::I128(Box::new(number))
    }
}

#[cold]
fn none() -> Fault {
    Fault::malformed("nothing, where something is required")
}

#[cold]
fn no_name() -> Fault {
    Fault::malformed("the writer has no name there")
}
