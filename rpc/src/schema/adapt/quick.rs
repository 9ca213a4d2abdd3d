//! What most questions are about, without the way of all questions: numbers, texts, structs, and the elements of sequences.
//!
//! Each reads what it is made for, or does nothing: then the type asks, and `answer.rs` does it or says why not.

use super::super::node::{Field, Node};
use super::super::source::{Leaf, Part, Source};
use super::super::steps::Form::{self, Bool, I16, I32, I64, Str, Struct, U8, U16, U32, U64};
use super::super::steps::{Fed, Known, Step};
use super::Adapter;
use super::input::signed;
use super::level::{Element, Level, Paid, Parts, Place, Row};
use crate::frame::payload::Fault;

/// A struct and the type that it was read into. What it is made of is worth having at hand, though the peer's schema says it: to find it
/// there takes six steps, each of which has to wait for the one before, and the struct's first part has to wait for all.
#[derive(Clone, Copy)]
pub(super) struct Met<'de> {
    step: usize,
    names: &'static [&'static str],
    fields: &'de [Field],
    row: Row,
    named: bool,
}

/// One for each depth, where structs of one kind mostly follow each other; those that are deeper share.
pub(super) const MET: usize = 4;

impl Met<'_> {
    /// No step has this number.
    pub(super) const NONE: Self = Self { step: usize::MAX, names: &[], fields: &[], row: Row::EMPTY, named: false };
}

impl<'de> Adapter<'de> {
    /// The value of the writer's that is asked for next, if it is one.
    #[inline]
    pub(super) fn due(&self) -> Option<&'de Step> {
        self.steps.get(self.row.first()?)
    }

    /// The next number, read at once if it is one without a sign that takes two bytes at most: most are, and then they are the same whatever
    /// their type is.
    #[inline]
    pub(in super::super) fn small(&mut self) -> Option<u16> {
        let form = self.due()?.form;
        if !matches!(form, U8 | U16 | U32 | U64) {
            return None;
        }
        let (low, rest) = self.input.decoder.input.split_first()?;
        let (number, rest) = match rest {
            _ if *low < 0x80 => (u16::from(*low), rest),
            [high @ 0..=0x7f, rest @ ..] if form != U8 => (u16::from(*low & 0x7f) | u16::from(*high) << 7, rest),
            _ => return None,
        };
        self.input.decoder.input = rest;
        self.taken();
        Some(number)
    }

    /// The next number or bool, read at once if it is one whatever the type asks for.
    #[inline(never)]
    pub(in super::super) fn leaf(&mut self) -> Option<Leaf> {
        let form = self.due()?.form;
        let (number, rest) = match self.input.decoder.input {
            [low @ 0..=0x7f, rest @ ..] => (u64::from(*low), rest),
            [low, high @ 0..=0x7f, rest @ ..] if !matches!(form, Bool | U8) => (u64::from(*low & 0x7f) | u64::from(*high) << 7, rest),
            _ => return self.large(form),
        };
        let leaf = match form {
            U8 | U16 | U32 | U64 => Leaf::Unsigned(number),
            I16 | I32 | I64 => Leaf::Signed(signed(number)),
            Bool if number < 2 => Leaf::Bool(number),
            _ => return self.large(form),
        };
        self.input.decoder.input = rest;
        self.taken();
        Some(leaf)
    }

    #[inline(never)]
    fn large(&mut self, form: Form) -> Option<Leaf> {
        let before = self.input.decoder.input;
        let Ok(Some(number)) = self.input.number(form) else {
            self.input.decoder.input = before;
            return None;
        };
        self.taken();
        Some(number)
    }

    /// The next text.
    #[inline]
    pub(in super::super) fn text(&mut self) -> Option<&'de str> {
        let Str = self.due()?.form else { return None };
        let text = self.input.text()?;
        self.taken();
        Some(text)
    }

    /// It has been read.
    #[inline]
    fn taken(&mut self) {
        self.row = self.row.rest();
        self.located = false;
    }

    /// The next struct, of this size and with these names, if it is one that such a type has been read from before. What are given are its
    /// fields, or none of them if they are asked for in their order and without their names.
    #[inline(never)]
    pub(in super::super) fn structure(&mut self, names: &'static [&'static str], size: usize) -> Option<&'de [Field]> {
        let step = self.row.first()?;
        let met = self.met[self.levels.len() % MET];
        if met.step != step || !std::ptr::eq(met.names, names) {
            return self.meet(step, names, size);
        }
        // Whatever may fail or allocate is left to the question: a function without calls is a fast one.
        if self.levels.len() == self.levels.capacity() {
            return None;
        }
        let steps = self.input.steps.checked_sub(1)?;
        let outside = self.input.decoder.guard.enter(size, size).ok()?;
        self.input.steps = steps;
        self.taken();
        let Met { fields, named, .. } = met;
        self.levels.push(Level { parts: Parts::Fields { fields, named }, around: self.row, paid: Paid::Room { outside } });
        self.row = met.row;
        Some(if named { fields } else { &[] })
    }

    /// Ends the innermost container, if it is a struct that has been read to its end.
    #[inline]
    pub(in super::super) fn end_of_fields(&mut self) -> bool {
        if self.broken || self.row.len() != 0 {
            return false;
        }
        let Some(&Level { parts: Parts::Fields { .. }, around, paid: Paid::Room { outside } }) = self.levels.last() else { return false };
        self.input.decoder.guard.leave(outside);
        self.row = around;
        self.levels.pop();
        true
    }

    /// As [`structure`](Self::structure), for the first of several.
    #[inline(never)]
    fn meet(&mut self, at: usize, names: &'static [&'static str], size: usize) -> Option<&'de [Field]> {
        let step = self.steps.get(at)?;
        let Struct = step.form else { return None };
        let &Known { fed, row, .. } = self.peer.steps.known(step.row, names)?;
        let Node::Struct(_, fields) = self.peer.node(step.bare) else { return None };
        let fields = &fields.list[..];
        if matches!(fed, Fed::ByName) || fields.is_empty() {
            return None;
        }
        self.met[self.levels.len() % MET] = Met { step: at, names, fields, row: Row::of(row), named: matches!(fed, Fed::Named) };
        self.structure(names, size)
    }

    /// How these fields are fed to a type that knows these names.
    pub(super) fn fed(&mut self, fields: &'de [Field], row: u32, names: &'static [&'static str]) -> Fed {
        if let Some(known) = self.peer.steps.known(row, names) {
            return known.fed;
        }
        let fed = fed(fields, names);
        self.peer.steps.meet(row, names, fed);
        fed
    }

    /// How many elements of this size may be asked for now, one after the other, each after [`element`](Self::element): those that there is
    /// memory for already, or one.
    pub(in super::super) fn elements(&mut self, size: usize) -> Result<usize, Fault> {
        if !self.next(Part::Element, size)? {
            return Ok(0);
        }
        if let Some(Level { parts, paid: Paid::Accounts { elements, .. }, .. }) = self.levels.last_mut()
            && let Parts::Elements { element: Element::Value(id), taken, last, .. } = parts
        {
            let more = elements.elements_in_place((*last - *taken).min(Row::LONGEST - 1));
            *taken += more;
            self.row = Row::repeated(*id, 1 + more);
            return Ok(1 + more);
        }
        Ok(1)
    }

    /// The next key, or value, of a map is asked for next, if there is one and there is memory for it already.
    #[inline]
    pub(super) fn entry(&mut self, part: Part, size: usize) -> bool {
        let (None, Place::Read, Some(level)) = (self.row.first(), self.here, self.levels.last_mut()) else { return false };
        let (Parts::Entries { key, value, taken, count }, Paid::Accounts { elements, values, .. }) = (&mut level.parts, &mut level.paid) else {
            return false;
        };
        // A value has been counted with its key.
        let (id, account, counts) = if part == Part::Value { (*value, values, 0) } else { (*key, elements, 1) };
        if *taken + counts > *count || !account.element_in_place(&mut self.input.decoder.guard, size) {
            return false;
        }
        *taken += counts;
        self.row = Row::one(id);
        true
    }

    /// The next element is asked for next, and so many after it.
    #[inline]
    pub(in super::super) fn element(&mut self, after: usize, size: usize) -> Result<(), Fault> {
        self.input.decoder.guard.paid(size);
        if self.row.len() == after + 1 { Ok(()) } else { self.pass_to(after + 1) }
    }
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
