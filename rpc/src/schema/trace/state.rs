//! What the tracer knows of the types so far, one state for each.
//!
//! Data, and the questions that need nothing else. How the states are learned is `tracer.rs`; what they become is `finish.rs`.

use std::collections::BTreeSet;

use crate::schema::node::{Id, Node};

/// What tells types apart. Two codegen units may have two copies of a list of names, so lists are compared by content.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) kind: &'static str,
    pub(super) visitor: &'static str,
    /// In memory: types of two versions of a crate share their names.
    pub(super) size: usize,
    pub(super) length: usize,
    pub(super) names: &'static [&'static str],
}

/// One type.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) state: State,
    /// Its path, if it means more than its representation tells.
    pub(super) logical: Option<&'static str>,
    /// How many values of it are being read at this moment, one inside the other.
    pub(super) busy: usize,
}

/// Where the search stands.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing inside.
    Leaf(Node),
    Option(Slot),
    Seq(Slot),
    Newtype(&'static str, Slot),
    Map(Slot, Slot),
    /// The name is that of a tuple struct.
    Tuple(Option<&'static str>, Vec<Slot>),
    Struct(&'static str, FieldsState),
    Enum(&'static str, EnumState),
}

/// A part of a type.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// The type that was asked for here.
    pub(super) node: Option<Id>,
    /// How many candidates were tried for what stands here, as a whole.
    pub(super) tried: u32,
    /// No candidate will do, for now.
    pub(super) dead: bool,
    /// Its last value failed, here or deeper: whatever can be read before it should be.
    pub(super) failed: bool,
    /// Looking at it again taught nothing.
    pub(super) settled: bool,
    /// Zeros and empty values were refused.
    pub(super) plain: bool,
    /// Different types were asked for here at different times.
    pub(super) varies: bool,
}

/// The fields of a struct or of a struct variant.
#[derive(Debug, Default)]
pub(super) struct FieldsState {
    pub(super) list: Vec<FieldState>,
    /// It refuses unknown fields, if that was tried.
    pub(super) strict: Option<bool>,
    /// It cannot be read as a map.
    pub(super) by_position: bool,
    /// Leave out one field at a time: its faults do not say which one it misses.
    pub(super) one_by_one: bool,
    /// Leaving out fields, or adding one, teaches nothing more.
    pub(super) settled: bool,
}

/// One name in a list of fields.
#[derive(Debug)]
pub(super) struct FieldState {
    pub(super) name: &'static str,
    pub(super) slot: Slot,
    /// It is another name of the field at this place.
    pub(super) alias_of: Option<usize>,
    /// To be given before all others, so that its alias shows itself.
    pub(super) first: bool,
    /// Whether the struct can be read without it, if that was tried.
    pub(super) optional: Option<bool>,
    /// The struct does not know its own field.
    pub(super) refused: bool,
}

/// The variants of an enum.
#[derive(Debug, Default)]
pub(super) struct EnumState {
    pub(super) list: Vec<VariantState>,
    /// What becomes of unknown names, if that was tried: a variant, or a refusal.
    pub(super) other: Option<Option<usize>>,
    /// Trying an unknown name teaches nothing.
    pub(super) settled: bool,
}

/// One name in a list of variants.
#[derive(Debug)]
pub(super) struct VariantState {
    pub(super) name: &'static str,
    /// See [`Source::variant`](crate::schema::source::Source::variant).
    pub(super) same: Option<u64>,
    /// It is another name of the variant at this place. Which of its names is a variant's own cannot be seen: serde lists them sorted,
    /// so that the first may be an alias. Whoever compares names has to look at all of them, on both sides.
    pub(super) alias_of: Option<usize>,
    pub(super) refused: bool,
    pub(super) settled: bool,
    /// None until its payload was asked for.
    pub(super) shape: Option<ShapeState>,
}

#[derive(Debug)]
pub(super) enum ShapeState {
    Unit,
    Newtype(Slot),
    Tuple(Vec<Slot>),
    Struct(FieldsState),
}

/// A slot's place in its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The only one.
    One,
    /// Of a map.
    Key,
    Value,
    /// Of a tuple.
    Element(usize),
    Field(usize),
    /// Of a variant: its number among the names, and which part.
    Variant(usize, usize),
}

impl FieldsState {
    pub(super) fn new(names: &[&'static str]) -> Self {
        let field = |name: &&'static str| FieldState { name, slot: Slot::default(), alias_of: None, first: false, optional: None, refused: false };
        Self { list: names.iter().map(field).collect(), ..Self::default() }
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|field| field.name == name)
    }

    /// The places of real fields, in the order of the wire.
    pub(super) fn real(&self) -> impl Iterator<Item = usize> {
        (0..self.list.len()).filter(|place| self.list[*place].is_real())
    }

    /// Something about its names is not known yet.
    pub(super) fn is_unsettled(&self) -> bool {
        !self.settled && !self.by_position && (self.strict.is_none() || self.real().any(|place| self.list[place].optional.is_none()))
    }
}

impl FieldState {
    pub(super) fn is_real(&self) -> bool {
        self.alias_of.is_none() && !self.refused
    }
}

impl EnumState {
    pub(super) fn new(names: &[&'static str]) -> Self {
        let variant = |name: &&'static str| VariantState { name, same: None, alias_of: None, refused: false, settled: false, shape: None };
        Self { list: names.iter().map(variant).collect(), ..Self::default() }
    }

    /// The wire's number of a variant: aliases have none.
    pub(super) fn number(&self, place: usize) -> usize {
        self.list[..place].iter().filter(|variant| variant.alias_of.is_none()).count()
    }
}

impl VariantState {
    pub(super) fn is_real(&self) -> bool {
        self.alias_of.is_none() && !self.refused
    }

    pub(super) fn slots(&self) -> Vec<&Slot> {
        match &self.shape {
            None | Some(ShapeState::Unit) => Vec::new(),
            Some(ShapeState::Newtype(slot)) => vec![slot],
            Some(ShapeState::Tuple(slots)) => slots.iter().collect(),
            Some(ShapeState::Struct(fields)) => fields.real().map(|place| &fields.list[place].slot).collect(),
        }
    }
}

impl Type {
    pub(super) fn slot(&mut self, place: Place) -> Option<&mut Slot> {
        match (&mut self.state, place) {
            (State::Option(slot) | State::Seq(slot) | State::Newtype(_, slot), Place::One) => Some(slot),
            (State::Map(key, _), Place::Key) => Some(key),
            (State::Map(_, value), Place::Value) => Some(value),
            (State::Tuple(_, slots), Place::Element(at)) => slots.get_mut(at),
            (State::Struct(_, fields), Place::Field(at)) => fields.list.get_mut(at).map(|field| &mut field.slot),
            (State::Enum(_, variants), Place::Variant(variant, part)) => match &mut variants.list.get_mut(variant)?.shape {
                Some(ShapeState::Newtype(slot)) => Some(slot),
                Some(ShapeState::Tuple(slots)) => slots.get_mut(part),
                Some(ShapeState::Struct(fields)) => fields.list.get_mut(part).map(|field| &mut field.slot),
                Some(ShapeState::Unit) | None => None,
            },
            _ => None,
        }
    }

    /// The fields of a struct, or of this variant.
    pub(super) fn fields(&mut self, variant: Option<usize>) -> Option<&mut FieldsState> {
        match (&mut self.state, variant) {
            (State::Struct(_, fields), None) => Some(fields),
            (State::Enum(_, variants), Some(variant)) => match &mut variants.list.get_mut(variant)?.shape {
                Some(ShapeState::Struct(fields)) => Some(fields),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn variants(&mut self) -> Option<&mut EnumState> {
        match &mut self.state {
            State::Enum(_, variants) => Some(variants),
            _ => None,
        }
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> Option<&'static str> {
        match &self.state {
            State::Newtype(name, _) | State::Tuple(Some(name), _) | State::Struct(name, _) | State::Enum(name, _) => Some(name),
            _ => None,
        }
    }
}

/// Texts about what will not work, in the order in which they were found, each once.
#[derive(Debug, Default)]
pub(super) struct Texts {
    list: Vec<String>,
    seen: BTreeSet<String>,
}

impl Texts {
    pub(super) fn add(&mut self, text: String) {
        if self.seen.insert(text.clone()) {
            self.list.push(text);
        }
    }

    pub(super) fn into_list(self) -> Vec<String> {
        self.list
    }
}
