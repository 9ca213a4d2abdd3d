//! Where in a message the next question is about, and what is around it.

use std::fmt::{self, Write};

use super::super::node::{Field, Id, Shape, Signature};
use super::super::steps::Span;
use crate::frame::payload::guard::Account;

/// What the next question is about.
#[derive(Clone, Copy)]
pub(super) enum Place<'de> {
    /// A value of the writer's.
    Node(Id),
    /// The name of a field or a variant: no bytes, the schema says it.
    Name(&'de str),
    /// An element of what the writer has as bytes.
    Byte,
    /// The fields of a variant that the reader takes for one value.
    Fields(&'de [Field], u32),
    /// Likewise, parts without names.
    List(Span),
    /// A variant that holds nothing, which the reader takes to hold something.
    Nothing,
    /// An argument that the writer does not have.
    Absent(&'static str),
    /// The arguments of a method.
    Arguments,
    /// It has been read.
    Read,
    /// A container was left in the middle: nothing after it is read.
    Broken,
}

/// A container that is being read.
pub(super) struct Level<'de> {
    pub(super) parts: Parts<'de>,
    /// What is left of the row that it is in.
    pub(super) around: Row,
    pub(super) paid: Paid,
}

/// What a container has cost, and what the guard has to get back at its end.
pub(super) enum Paid {
    /// The parts of a variant: they are no deeper than it, and stand in its room.
    Before,
    /// One whose size the type tells.
    Room { outside: usize },
    /// One whose size it does not tell: there are accounts for its elements, or for its keys and values.
    Accounts { outside: usize, elements: Account, values: Account },
}

/// Values that are asked for one after the other: what is left of the innermost container, or as much of it as is known.
///
/// One word, which is written and read as a whole: it is put by and taken back with every struct. From its highest bit on, the number of the
/// next step (32), whether the one after it has the next number (1), and how many are left (31).
#[derive(Clone, Copy)]
pub(super) struct Row(u64);

impl Row {
    pub(super) const EMPTY: Self = Self(0);
    pub(super) const LONGEST: usize = 0x7fff_ffff;
    const MOVES: u32 = 31;
    const STEP: u32 = 32;

    #[inline]
    pub(super) fn of(span: Span) -> Self {
        Self(u64::from(span.first) << Self::STEP | 1 << Self::MOVES | u64::from(span.count))
    }

    #[inline]
    pub(super) fn one(id: Id) -> Self {
        Self::repeated(id, 1)
    }

    /// So many values of this node, and no more than [`LONGEST`](Self::LONGEST).
    #[inline]
    pub(super) fn repeated(id: Id, count: usize) -> Self {
        Self(u64::from(id) << Self::STEP | count as u64)
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        self.0 as usize & Self::LONGEST
    }

    /// The number of the first step.
    #[inline]
    pub(super) fn first(self) -> Option<usize> {
        if self.len() == 0 { None } else { Some((self.0 >> Self::STEP) as usize) }
    }

    /// What is left once the first of them, which there must be, has been read.
    #[inline]
    pub(super) fn rest(self) -> Self {
        Self((self.0 - 1) + ((self.0 >> Self::MOVES & 1) << Self::STEP))
    }
}

/// What a variant holds.
#[derive(Clone, Copy)]
pub(super) struct Held<'de> {
    pub(super) shape: &'de Shape,
    /// See [`Steps::row`](super::super::steps::Steps::row).
    pub(super) row: u32,
}

/// The parts of a container, and how many of them have been taken.
pub(super) enum Parts<'de> {
    /// What is inside an option or a newtype.
    One,
    /// A row of fields.
    Fields {
        fields: &'de [Field],
        /// The reader is told their names, and may leave some out.
        named: bool,
    },
    /// A row of parts without names.
    Tuple {
        steps: Span,
        /// The reader's type has no more than this.
        length: usize,
    },
    /// A tuple whose reader takes as many parts as there are.
    List {
        steps: Span,
        taken: usize,
    },
    /// Fields, each after its name, which is one of those that the reader knows, if any is.
    Asked {
        fields: &'de [Field],
        taken: usize,
        /// The field that was taken last has been named: it is the one that is read.
        named: bool,
        known: &'static [&'static str],
    },
    Elements {
        element: Element,
        /// With those that are in the row.
        taken: usize,
        /// As many as may be taken: the reader's type may have no more.
        last: usize,
        count: usize,
    },
    Entries {
        key: Id,
        value: Id,
        taken: usize,
        count: usize,
    },
    Variant {
        name: &'de str,
        held: Held<'de>,
        begun: bool,
    },
    /// A variant that is read as a map of one entry, its name and what it holds: as JSON has it.
    Entry {
        name: &'de str,
        held: Held<'de>,
        taken: bool,
    },
    Arguments {
        taken: usize,
    },
}

/// What a sequence is made of.
#[derive(Clone, Copy)]
pub(super) enum Element {
    Value(Id),
    Byte,
}

impl Parts<'_> {
    /// They come as keys and values.
    pub(super) fn are_entries(&self) -> bool {
        matches!(self, Self::Fields { .. } | Self::Asked { .. } | Self::Entries { .. } | Self::Entry { .. })
    }

    /// How many parts are left, and may be taken.
    #[inline]
    pub(super) fn left(&self) -> usize {
        match self {
            Self::List { steps, taken } => steps.count as usize - taken,
            Self::Asked { fields, taken, .. } => fields.len() - taken,
            Self::Elements { taken, last, .. } => last - taken,
            Self::Entries { taken, count, .. } => count - taken,
            Self::Entry { taken, .. } => usize::from(!taken),
            Self::One | Self::Fields { .. } | Self::Tuple { .. } | Self::Variant { .. } | Self::Arguments { .. } => 0,
        }
    }
}

/// Where the innermost of these levels is: `order.lines[3].qty`. `row` is what is left of it, if it is a row.
pub(super) fn path(levels: &[Level<'_>], row: Row, names: &[&str]) -> String {
    let mut path = String::new();
    let rows = levels.iter().skip(1).map(|level| level.around).chain([row]);
    for (level, row) in levels.iter().zip(rows) {
        // Writing to a string does not fail.
        let _ = write_step(&mut path, level, row.len(), names);
    }
    path
}

fn write_step(path: &mut String, level: &Level<'_>, left: usize, names: &[&str]) -> fmt::Result {
    let name = match &level.parts {
        Parts::One => return Ok(()),
        Parts::Tuple { steps, length } => return write_place(path, (steps.count as usize).min(*length) - left),
        Parts::Elements { taken, .. } => return write_place(path, taken - left),
        Parts::List { taken, .. } | Parts::Entries { taken, .. } => return write_place(path, *taken),
        Parts::Fields { fields, .. } => fields.get((fields.len() - left).wrapping_sub(1)).map(|field| field.name.as_str()),
        Parts::Asked { fields, taken, named, .. } => fields.get(taken.wrapping_sub(1)).filter(|_| *named).map(|field| field.name.as_str()),
        Parts::Variant { name, begun, .. } => begun.then_some(*name),
        Parts::Entry { name, .. } => Some(*name),
        Parts::Arguments { taken, .. } => names.get(taken.wrapping_sub(1)).copied(),
    };
    match name {
        Some(name) if path.is_empty() => path.push_str(name),
        Some(name) => write!(path, ".{name}")?,
        None => {}
    }
    Ok(())
}

fn write_place(path: &mut String, taken: usize) -> fmt::Result {
    if taken == 0 { Ok(()) } else { write!(path, "[{}]", taken - 1) }
}

/// What is needed to read arguments by name.
pub(super) struct Arguments<'de> {
    pub(super) signature: &'de Signature,
    pub(super) names: &'static [&'static str],
    /// What follows from each argument of the writer's on, if they are not simply those of the reader's.
    pub(super) starts: Option<Vec<&'de [u8]>>,
}
