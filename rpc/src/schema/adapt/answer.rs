//! What a question is answered with: what the type asks for and what the writer wrote are brought together.

use super::super::node::{Field, Id, Node, Shape};
use super::super::source::{Ask, Feed, Kind};
use super::super::steps::{Fed, Form, Span};
use super::input::{signed, unknown};
use super::level::{Arguments, Element, Held, Level, Paid, Parts, Place, Row};
use super::{Adapter, OUT_OF_TURN, known_as};
use crate::frame::payload::{Fault, Problem, decode};

const NOTHING: Held<'_> = Held { shape: &Shape::Unit, row: 0 };

impl<'de> Adapter<'de> {
    #[inline(never)]
    pub(super) fn answer(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        self.located = false;
        if self.broken {
            return Err(Fault::malformed(OUT_OF_TURN));
        }
        self.input.step()?;
        let place = match std::mem::replace(&mut self.here, Place::Read) {
            Place::Read => match self.due() {
                Some(step) => {
                    self.row = self.row.rest();
                    Place::Node(step.node)
                }
                None => Place::Read,
            },
            place => place,
        };
        match ask.kind {
            Kind::Ignored => self.skip(place).map(|()| Feed::Unit),
            Kind::Newtype(_) => {
                self.begin(ask, Parts::One)?;
                self.stand_at(match place {
                    Place::Node(id) => Place::Node(self.peer.inner(id)),
                    other => other,
                });
                Ok(Feed::Newtype)
            }
            Kind::Option => self.option(ask, place),
            Kind::TupleVariant(length) => self.tuple_variant(ask, length),
            Kind::StructVariant(names) => self.struct_variant(ask, names),
            _ => match place {
                Place::Node(id) => self.node(ask, id),
                Place::Name(name) => self.name(ask, name),
                Place::Byte => Ok(Feed::Unsigned(self.input.decoder.byte()?.into())),
                Place::Fields(fields, row) => self.fields(ask, fields, row),
                Place::List(steps) => self.list(ask, steps),
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
                self.stand_at(place);
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
        let (mut node, mut row) = (peer.bare(id), peer.steps.row_of(id));
        while let Node::Option(part) = node {
            if matches!(ask.kind, Kind::Any) {
                return self.option(ask, Place::Node(id));
            }
            if !self.input.decoder.option()? {
                return if matches!(ask.kind, Kind::Unit | Kind::UnitStruct(_)) { Ok(Feed::Unit) } else { Err(none()) };
            }
            self.input.step()?;
            (node, row) = (peer.bare(*part), peer.steps.row_of(*part));
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
                return self.text_for(ask, text);
            }
            Node::Str => {
                let text = decoder.str()?;
                return self.text_for(ask, text);
            }
            Node::Bytes if matches!(ask.kind, Kind::Bytes | Kind::Any) => Feed::Bytes(decoder.counted()?),
            Node::Bytes => return self.sequence(ask, Element::Byte),
            Node::Seq(part) if matches!(ask.kind, Kind::Bytes) && matches!(peer.bare(*part), Node::U8) => Feed::Bytes(decoder.counted()?),
            Node::Seq(part) => return self.sequence(ask, Element::Value(*part)),
            Node::Tuple(_) | Node::TupleStruct(..) => return self.list(ask, peer.steps.row(row)),
            Node::Map(key, value) => return self.entries(ask, *key, *value),
            Node::Struct(_, fields) => return self.fields(ask, &fields.list, row),
            Node::Enum(_, variants) => {
                let (number, variant) = self.input.variant(variants)?;
                return self.variant_of(ask, &variant.name, &variant.aliases, Held { shape: &variant.shape, row: row + number });
            }
            Node::Opaque(_) => return Err(unknown()),
            // Passed above.
            Node::Option(_) | Node::Newtype(..) | Node::Logical(..) => return Err(unknown()),
        })
    }

    /// A text that is in the message. An enum's variants without parts are texts to JSON, so they are here.
    #[inline]
    fn text_for(&mut self, ask: &Ask, text: &'de str) -> Result<Feed<'de>, Fault> {
        if matches!(ask.kind, Kind::Enum(..)) { self.variant(ask, text, NOTHING) } else { Ok(Feed::Str(text)) }
    }

    /// A text that is in the schema. The message's length does not pay for it.
    fn name(&mut self, ask: &Ask, name: &'de str) -> Result<Feed<'de>, Fault> {
        if !matches!(ask.kind, Kind::Identifier) {
            self.input.decoder.guard.charge(name.len())?;
        }
        self.text_for(ask, name)
    }

    fn sequence(&mut self, ask: &Ask, element: Element) -> Result<Feed<'de>, Fault> {
        let least = match element {
            Element::Value(id) => self.peer.least(id),
            Element::Byte => 1,
        };
        let count = self.input.decoder.length()?;
        self.begin(ask, Parts::Elements { element, taken: 0, last: limit(ask.kind).map_or(count, |limit| count.min(limit)), count })?;
        self.holds(count, least)?;
        let accounts = self.levels.last().is_some_and(|level| matches!(level.paid, Paid::Accounts { .. }));
        Ok(if accounts && matches!(element, Element::Value(_)) { Feed::Elements } else { Feed::Seq })
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

    fn list(&mut self, ask: &Ask, steps: Span) -> Result<Feed<'de>, Fault> {
        if matches!(ask.kind, Kind::Bytes) && self.peer.steps.get(steps).iter().all(|step| step.form == Form::U8) {
            return Ok(Feed::Bytes(self.input.decoder.bytes(steps.count as usize)?));
        }
        self.tuple(ask, steps, limit(ask.kind))
    }

    /// Parts without names. A type that does not say how many it has takes all of them.
    fn tuple(&mut self, ask: &Ask, steps: Span, limit: Option<usize>) -> Result<Feed<'de>, Fault> {
        let Some(limit) = limit else {
            self.begin(ask, Parts::List { steps, taken: 0 })?;
            return Ok(Feed::Seq);
        };
        let row = Span { count: limit.min(steps.count as usize) as u32, ..steps };
        self.begin(ask, Parts::Tuple { steps, length: limit })?;
        self.row = Row::of(row);
        Ok(Feed::Row(row.count as usize))
    }

    fn fields(&mut self, ask: &Ask, fields: &'de [Field], row: u32) -> Result<Feed<'de>, Fault> {
        let (known, fed) = match ask.kind {
            Kind::Struct(_, names) | Kind::StructVariant(names) => (names, self.fed(fields, row, names)),
            _ => (&[][..], Fed::ByName),
        };
        let steps = Row::of(self.peer.steps.row(row));
        let (parts, row, feed) = match fed {
            Fed::InOrder => (Parts::Fields { fields, named: false }, steps, Feed::Row(fields.len())),
            Fed::Named => (Parts::Fields { fields, named: true }, steps, Feed::Fields(fields)),
            Fed::ByName => (Parts::Asked { fields, taken: 0, named: false, known }, Row::EMPTY, Feed::Map),
        };
        self.begin(ask, parts)?;
        self.row = row;
        Ok(feed)
    }

    /// What holds nothing, as a struct: all that its reader wants is missing.
    fn no_fields(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        self.begin(ask, Parts::Fields { fields: &[], named: true })?;
        Ok(Feed::Fields(&[]))
    }

    fn nothing(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        match ask.kind {
            Kind::Unit | Kind::UnitStruct(_) | Kind::Any => Ok(Feed::Unit),
            Kind::Struct(..) | Kind::Map => self.no_fields(ask),
            _ => Err(Fault::malformed("the writer's variant holds nothing")),
        }
    }

    fn variant_of(&mut self, ask: &Ask, name: &'de str, aliases: &'de [String], held: Held<'de>) -> Result<Feed<'de>, Fault> {
        match (ask.kind, held.shape) {
            (Kind::Enum(_, known), _) => {
                let name = known_as(&mut self.input, name, aliases, known)?;
                self.variant(ask, name, held)
            }
            (_, Shape::Unit) => self.name(ask, name),
            (Kind::Identifier, _) => Err(no_name()),
            _ => {
                self.begin(ask, Parts::Entry { name, held, taken: false })?;
                Ok(Feed::Map)
            }
        }
    }

    fn variant(&mut self, ask: &Ask, name: &'de str, held: Held<'de>) -> Result<Feed<'de>, Fault> {
        self.begin(ask, Parts::Variant { name, held, begun: false })?;
        self.here = Place::Name(name);
        Ok(Feed::Enum)
    }

    /// The shape of the variant that is being read. From here on its parts are.
    pub(super) fn held(&mut self) -> Result<Held<'de>, Fault> {
        match self.levels.last_mut() {
            Some(Level { parts: Parts::Variant { held, begun, .. }, .. }) if !*begun => {
                *begun = true;
                Ok(*held)
            }
            _ => Err(Fault::malformed(OUT_OF_TURN)),
        }
    }

    fn tuple_variant(&mut self, ask: &Ask, length: usize) -> Result<Feed<'de>, Fault> {
        let held = self.held()?;
        match held.shape {
            Shape::Tuple(_) => self.tuple(ask, self.peer.steps.row(held.row), Some(length)),
            Shape::Newtype(id) => match self.peer.bare(*id) {
                // `A((u8, u8))` is `A(u8, u8)` to JSON.
                Node::Tuple(..) | Node::TupleStruct(..) | Node::Seq(_) | Node::Bytes => self.node(ask, *id),
                _ => self.tuple(ask, Span { first: *id, count: 1 }, Some(length)),
            },
            Shape::Unit => Err(Fault::malformed("the writer's variant holds nothing")),
            Shape::Struct(_) => Err(Fault::malformed("the writer's variant has fields with names")),
            Shape::Unknown => Err(unknown()),
        }
    }

    fn struct_variant(&mut self, ask: &Ask, names: &'static [&'static str]) -> Result<Feed<'de>, Fault> {
        let held = self.held()?;
        match held.shape {
            Shape::Struct(fields) => self.fields(ask, &fields.list, held.row),
            Shape::Unit => self.no_fields(ask),
            // `A(Fields)` is `A { .. }` to JSON.
            Shape::Newtype(id) => self.node(ask, *id),
            Shape::Tuple(_) => self.tuple(ask, self.peer.steps.row(held.row), Some(names.len())),
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
