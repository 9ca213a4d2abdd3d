//! From part to part of a container: how it begins, what its next part is, and what becomes of it at its end.

use super::super::node::Shape;
use super::super::peer::Peer;
use super::super::source::{Ask, Kind, Part};
use super::input::unknown;
use super::level::{Arguments, Element, Held, Level, Paid, Parts, Place, Row, path};
use super::{Adapter, OUT_OF_TURN, known_as};
use crate::frame::payload::Fault;
use crate::frame::payload::guard::Account;

impl<'de> Adapter<'de> {
    /// Begins a container: one level deeper, with room as plain decoding gives it.
    #[inline]
    pub(super) fn begin(&mut self, ask: &Ask, parts: Parts<'de>) -> Result<(), Fault> {
        let around = std::mem::replace(&mut self.row, Row::EMPTY);
        let (room, accounts) = match ask.kind {
            Kind::Newtype(_) | Kind::Tuple(_) | Kind::TupleStruct(..) | Kind::Struct(..) => (ask.size(), None),
            Kind::Option | Kind::Enum(..) => (ask.size().saturating_sub(1), None),
            Kind::TupleVariant(_) | Kind::StructVariant(_) => {
                // They are no deeper than their variant, and stand in its room.
                self.levels.push(Level { parts, around, paid: Paid::Before });
                return Ok(());
            }
            Kind::Map | Kind::Any if parts.are_entries() => (0, Some(Account::map_named as fn(&str) -> Account)),
            _ => (0, Some(Account::sequence_named as fn(&str) -> Account)),
        };
        let outside = self.input.decoder.guard.enter(ask.size(), room)?;
        let paid = match accounts {
            Some(account) => Paid::Accounts { outside, elements: account(ask.value()), values: account(ask.value()) },
            None => Paid::Room { outside },
        };
        self.levels.push(Level { parts, around, paid });
        Ok(())
    }

    /// Where the next part of the innermost container is, if there is one.
    #[inline(never)]
    pub(super) fn advance(&mut self, part: Part, size: usize) -> Result<bool, Fault> {
        if self.broken {
            return Err(Fault::malformed(OUT_OF_TURN));
        }
        self.pass()?;
        let Some(level) = self.levels.last_mut() else { return Err(Fault::malformed(OUT_OF_TURN)) };
        // A value has been counted with its key.
        let left = level.parts.left() + usize::from(part == Part::Value);
        let mut least = 1;
        let place = match &mut level.parts {
            Parts::List { steps, taken } => {
                if left == 0 {
                    return Ok(false);
                }
                *taken += 1;
                Place::Node(self.peer.steps.get(*steps)[*taken - 1].node)
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
                    Element::Value(id) => {
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
            Parts::Entry { name, held, taken } => match part {
                Part::Value => place_of(self.peer, *held)?,
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
        if let Paid::Accounts { elements, values, .. } = &mut level.paid {
            let guard = &mut self.input.decoder.guard;
            let account = if part == Part::Value { values } else { elements };
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
        self.stand_at(place);
        Ok(true)
    }

    /// The innermost container is over: what is left of it is passed over, where that is allowed.
    #[inline(never)]
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        let left = self.rest().len();
        if !matches!(self.levels.last(), Some(Level { parts: Parts::Fields { .. } | Parts::Tuple { .. }, .. })) {
            self.pass()?;
        }
        let Some(level) = self.levels.last() else { return Err(Fault::malformed(OUT_OF_TURN)) };
        let peer = self.peer;
        match &level.parts {
            Parts::One => {}
            Parts::Fields { fields, named } => {
                let left = &fields[fields.len() - left..];
                if *named {
                    self.input.skip_fields(peer, left)?;
                } else if let Some(field) = left.first() {
                    // The reader's list of names has aliases in it, so two of the writer's fields are one to the reader.
                    return Err(Fault::malformed(format!("field `{}` is there under another name too", field.name)));
                }
            }
            // The parts would have been taken for one another.
            Parts::Tuple { .. } if left != 0 => return Err(Fault::malformed("the type leaves out a part of it")),
            // A shorter tuple reads a longer one.
            Parts::Tuple { steps, length } => self.input.skip_steps(peer, self.peer.steps.get(*steps).get(*length..).unwrap_or_default())?,
            Parts::List { steps, taken } => self.input.skip_steps(peer, &self.peer.steps.get(*steps)[*taken..])?,
            Parts::Asked { fields, taken, .. } => self.input.skip_fields(peer, &fields[*taken..])?,
            Parts::Elements { taken, count, .. } if taken - left != *count => return Err(too_many(count - (taken - left))),
            Parts::Entries { taken, count, .. } if taken != count => return Err(too_many(count - taken)),
            Parts::Elements { .. } | Parts::Entries { .. } => {}
            Parts::Variant { held, begun: false, .. } => self.input.skip_shape(peer, held.shape)?,
            Parts::Variant { .. } => {}
            Parts::Entry { held, taken: false, .. } => self.input.skip_shape(peer, held.shape)?,
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

    /// What is left of the innermost container, though it may be that nothing of it can be read.
    fn rest(&self) -> Row {
        if self.broken { self.parked } else { self.row }
    }

    #[inline]
    pub(super) fn leave(&mut self) {
        if let Some(level) = self.levels.pop() {
            if self.broken {
                self.parked = level.around;
            } else {
                self.row = level.around;
            }
            match level.paid {
                Paid::Before => {}
                Paid::Room { outside } | Paid::Accounts { outside, .. } => self.input.decoder.guard.leave(outside),
            }
        }
    }

    /// A container was left in the middle: nothing after it can be read.
    #[cold]
    pub(super) fn broken(&mut self) {
        if !self.broken {
            self.broken = true;
            self.parked = std::mem::replace(&mut self.row, Row::EMPTY);
        }
        self.here = Place::Broken;
    }

    /// Gives a fault its place: the next part of the innermost of these levels.
    #[cold]
    pub(super) fn locate(&mut self, fault: &mut Fault, levels: usize) {
        if !self.located {
            self.located = true;
            let names = self.arguments.as_ref().map_or(&[][..], |arguments| arguments.names);
            let row = self.levels.get(levels).map_or(self.rest(), |level| level.around);
            fault.locate(&path(&self.levels[..levels], row, names));
        }
    }

    #[cold]
    pub(super) fn located(&mut self, mut fault: Fault) -> Fault {
        self.located = false;
        self.locate(&mut fault, self.levels.len());
        fault
    }

    /// Passes over what was not asked for.
    #[inline]
    pub(super) fn pass(&mut self) -> Result<(), Fault> {
        if self.row.len() != 0 {
            self.pass_to(0)?;
        }
        match self.here {
            Place::Read | Place::Broken => Ok(()),
            place => {
                self.here = Place::Read;
                self.skip(place)
            }
        }
    }

    /// Passes over parts of the row until so many are left.
    #[cold]
    pub(super) fn pass_to(&mut self, left: usize) -> Result<(), Fault> {
        while self.row.len() > left
            && let Some(step) = self.due()
        {
            self.row = self.row.rest();
            self.input.skip(self.peer, step.node)?;
        }
        Ok(())
    }

    pub(super) fn skip(&mut self, place: Place<'de>) -> Result<(), Fault> {
        let peer = self.peer;
        match place {
            Place::Node(id) => self.input.skip(peer, id),
            Place::Byte => self.input.decoder.byte().map(drop),
            Place::Fields(fields, _) => self.input.skip_fields(peer, fields),
            Place::List(steps) => self.input.skip_steps(peer, self.peer.steps.get(steps)),
            Place::Arguments => {
                let Some(Arguments { signature, .. }) = &self.arguments else { return Ok(()) };
                signature.arguments.iter().try_for_each(|(_, id)| self.input.skip(peer, *id))
            }
            Place::Name(_) | Place::Nothing | Place::Absent(_) | Place::Read | Place::Broken => Ok(()),
        }
    }

    /// The next question is about this.
    #[inline]
    pub(super) fn stand_at(&mut self, place: Place<'de>) {
        match place {
            // A name that nobody asked for is passed by.
            Place::Node(id) => (self.row, self.here) = (Row::one(id), Place::Read),
            place => self.here = place,
        }
    }
}

/// What a variant holds, as one value.
pub(super) fn place_of<'de>(peer: &'de Peer, held: Held<'de>) -> Result<Place<'de>, Fault> {
    match held.shape {
        Shape::Unit => Ok(Place::Nothing),
        Shape::Newtype(id) => Ok(Place::Node(*id)),
        Shape::Tuple(_) => Ok(Place::List(peer.steps.row(held.row))),
        Shape::Struct(fields) => Ok(Place::Fields(&fields.list, held.row)),
        Shape::Unknown => Err(unknown()),
    }
}

#[cold]
fn too_many(elements: usize) -> Fault {
    Fault::malformed(format!("{elements} elements too many"))
}
