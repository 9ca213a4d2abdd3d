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
//! - `answer.rs`: what a type asks for, from what the writer wrote; `course.rs`: from part to part of a container
//! - `quick.rs`: numbers, texts, structs and elements, which most questions are about

mod answer;
mod course;
mod input;
mod level;
mod quick;
#[cfg(test)]
mod tests;

use serde::Deserialize;

use self::course::place_of;
use self::input::Input;
use self::level::{Arguments, Level, Paid, Parts, Place, Row};
use self::quick::{MET, Met};
use super::de::{De, Origin};
use super::node::{Id, Signature};
use super::peer::Peer;
use super::source::{Ask, Feed, Key, Part, Source};
use super::steps::Step;
use crate::frame::payload::{Budget, Fault};

/// Reads one value that is the whole message.
///
/// # Errors
/// As plain decoding, where the reader's type cannot take the value as well. Texts say where.
pub(crate) fn value<'de, T: Deserialize<'de>>(peer: &'de Peer, root: Id, bytes: &'de [u8], budget: Budget) -> Result<T, Fault> {
    let input = Input::new(bytes, budget, size_of::<T>())?;
    let mut message = Origin::Message(Adapter::new(peer, Place::Node(root), None, input));
    let value = T::deserialize(De(&mut message))?;
    finish(message)?;
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
    let input = Input::new(bytes, budget, size_of::<A>())?;
    let mut message = Origin::Message(Adapter::new(peer, Place::Arguments, Some(Arguments { signature, names, starts: None }), input));
    let value = A::deserialize(De(&mut message))?;
    finish(message)?;
    Ok(value)
}

fn finish(message: Origin<'_, '_>) -> Result<(), Fault> {
    let Origin::Message(mut message) = message else { return Ok(()) };
    message.pass()?;
    message.input.decoder.finish()
}

pub(crate) struct Adapter<'de> {
    peer: &'de Peer,
    /// Those of the peer.
    steps: &'de [Step],
    input: Input<'de>,
    arguments: Option<Arguments<'de>>,
    /// What the next questions are about, if it is values of the writer's.
    row: Row,
    /// What the next question is about if the row is empty.
    here: Place<'de>,
    /// The row, once nothing of it can be read any more.
    parked: Row,
    /// What is around it, from the outside in.
    levels: Vec<Level<'de>>,
    /// The structs that were read last, by how deep they are.
    met: [Met<'de>; MET],
    /// The fault that is on its way out says where it happened.
    located: bool,
    /// A container was left in the middle.
    broken: bool,
}

/// Most messages nest no deeper.
const LEVELS: usize = 8;
/// Nothing that a type does leads there: it would be a source that was asked out of turn.
const OUT_OF_TURN: &str = "the type reads on after a part of it was refused";

impl<'de> Adapter<'de> {
    fn new(peer: &'de Peer, here: Place<'de>, arguments: Option<Arguments<'de>>, input: Input<'de>) -> Self {
        let (row, here) = match here {
            Place::Node(id) => (Row::one(id), Place::Read),
            place => (Row::EMPTY, place),
        };
        Self {
            peer,
            steps: peer.steps.all(),
            input,
            arguments,
            row,
            here,
            parked: Row::EMPTY,
            levels: Vec::with_capacity(LEVELS),
            met: [Met::NONE; MET],
            located: false,
            broken: false,
        }
    }
}

impl<'de> Source<'de> for Adapter<'de> {
    fn ask(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        match self.answer(ask) {
            Ok(feed) => Ok(feed),
            Err(fault) => Err(self.located(fault)),
        }
    }

    fn next(&mut self, part: Part, size: usize) -> Result<bool, Fault> {
        if self.entry(part, size) {
            return Ok(true);
        }
        self.advance(part, size).map_err(|fault| self.located(fault))
    }

    fn key(&mut self, size: usize) -> Result<Key<'de>, Fault> {
        if !self.broken
            && matches!((self.here, self.row.first()), (Place::Read, None))
            && let Some(Level { parts: Parts::Asked { fields, taken, named, known }, paid: Paid::Before | Paid::Room { .. }, .. }) =
                self.levels.last_mut()
        {
            *named = true;
            let Some(field) = fields.get(*taken) else { return Ok(Key::End) };
            *taken += 1;
            self.row = Row::one(field.node);
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
        let held = self.held()?;
        if one {
            self.stand_at(place_of(self.peer, held)?);
            return Ok(());
        }
        // A variant that holds nothing any more, or the one that stands for all that the reader does not know.
        self.input.skip_shape(self.peer, held.shape).map_err(|fault| self.located(fault))
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
