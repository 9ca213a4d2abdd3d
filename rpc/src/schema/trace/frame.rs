//! Where a pass stands: one frame for each container whose inside is being read.

use super::state::Place;
use crate::schema::node::Id;

/// A container that is being read.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) node: Id,
    pub(super) inside: Inside,
    /// The part that is being read, or was read last.
    pub(super) current: Option<Place>,
    /// How many candidates to skip, because of the slots on the way here.
    pub(super) offset: u32,
    /// No zeros, because of a slot on the way here.
    pub(super) plain: bool,
    /// Its visitor has asked for something.
    pub(super) begun: bool,
    /// It is a value of its own, not the inside of a variant.
    pub(super) counts: bool,
}

#[derive(Debug)]
pub(super) enum Inside {
    /// Around the whole type.
    Root,
    /// One value is asked for next.
    One,
    /// Elements, in order.
    Sequence {
        at: usize,
        length: usize,
        of: Elements,
    },
    /// At most one entry of a map.
    Entries {
        left: usize,
    },
    Fields(Keys),
    /// The name of a variant, then what it holds.
    Variant {
        pick: Pick,
        named: bool,
    },
}

/// What a sequence is.
#[derive(Clone, Debug)]
pub(super) enum Elements {
    List,
    Tuple,
    /// Of a tuple variant.
    Variant(usize),
    /// A struct that cannot be read as a map: the places of its fields.
    Fields(Vec<usize>),
}

/// The keys of a struct, in the order in which they are given.
#[derive(Debug)]
pub(super) struct Keys {
    /// Of the variant that holds them.
    pub(super) variant: Option<usize>,
    /// Places in the list of fields.
    pub(super) order: Vec<usize>,
    pub(super) at: usize,
    /// Left out, to see whether they are needed.
    pub(super) omitted: Vec<usize>,
    /// A key that no struct has is to be given last.
    pub(super) unknown: bool,
    pub(super) state: KeyState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyState {
    /// Before the first key.
    Begin,
    /// This one was given.
    Name(usize),
    /// The value of the key that was given last is being read, or has been read.
    Value,
    UnknownName,
    UnknownValue,
    /// No more keys.
    Over,
}

/// Which variant is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    Known(usize),
    /// One that no enum has.
    Unknown,
}

impl Elements {
    fn place(&self, at: usize) -> Place {
        match self {
            Self::List => Place::One,
            Self::Tuple => Place::Element(at),
            Self::Variant(variant) => Place::Variant(*variant, at),
            Self::Fields(places) => Place::Field(places.get(at).copied().unwrap_or(usize::MAX)),
        }
    }
}

impl Keys {
    fn place(&self, field: usize) -> Place {
        match self.variant {
            Some(variant) => Place::Variant(variant, field),
            None => Place::Field(field),
        }
    }
}

impl Frame {
    /// Moves on to the next element or key. False: there is none.
    pub(super) fn advance(&mut self) -> bool {
        self.current = None;
        match &mut self.inside {
            Inside::Sequence { at, length, of } if *at < *length => {
                self.current = Some(of.place(*at));
                *at += 1;
                true
            }
            Inside::Entries { left } if *left > 0 => {
                *left -= 1;
                self.current = Some(Place::Key);
                true
            }
            Inside::Fields(keys) => match keys.order.get(keys.at) {
                Some(field) => {
                    keys.state = KeyState::Name(*field);
                    keys.at += 1;
                    true
                }
                None if keys.unknown => {
                    keys.unknown = false;
                    keys.state = KeyState::UnknownName;
                    true
                }
                None => {
                    keys.state = KeyState::Over;
                    false
                }
            },
            _ => false,
        }
    }

    /// Moves on from a key to its value.
    pub(super) fn advance_to_value(&mut self) {
        match &mut self.inside {
            Inside::Entries { .. } => self.current = Some(Place::Value),
            Inside::Fields(keys) => match keys.state {
                KeyState::Name(field) => {
                    self.current = Some(keys.place(field));
                    keys.state = KeyState::Value;
                }
                KeyState::UnknownName => keys.state = KeyState::UnknownValue,
                _ => {}
            },
            _ => {}
        }
    }

    /// A fault at the current part may as well be one of the whole: its visitor asks for nothing more.
    pub(super) fn is_at_end(&self) -> bool {
        match &self.inside {
            Inside::One | Inside::Variant { .. } => true,
            Inside::Sequence { at, length, of } => at == length && !matches!(of, Elements::List),
            _ => false,
        }
    }
}
