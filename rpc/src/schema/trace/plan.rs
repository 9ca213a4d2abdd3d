//! Where the next pass should go: which types hold something unexplored, and which variant leads to the smallest value.
//!
//! Computed from the states, changed by nothing; made again whenever a state has changed. Parts mostly stand behind what holds them,
//! so going backwards one or two rounds are enough.

use super::state::{EnumState, FieldsState, ShapeState, Slot, State, Type, VariantState};

/// What a pass goes by.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Of each type: something in it has not been seen.
    incomplete: Vec<bool>,
    /// Of each type: how deep its smallest value nests, or [`NEVER`].
    depth: Vec<u32>,
}

/// No value of the type is known.
pub(super) const NEVER: u32 = u32::MAX;

impl Plan {
    /// `probing`: what is unknown about names counts as unseen too.
    pub(super) fn new(types: &[Type], probing: bool) -> Self {
        let mut plan = Self { incomplete: vec![false; types.len()], depth: vec![NEVER; types.len()] };
        plan.spread_depth(types);
        plan.spread_incomplete(types, probing);
        plan
    }

    /// There is something to see in what stands here.
    pub(super) fn is_unseen(&self, slot: &Slot) -> bool {
        if slot.dead || slot.settled || slot.varies {
            return false;
        }
        match slot.node {
            None => true,
            Some(id) => self.incomplete.get(id as usize).copied().unwrap_or(true),
        }
    }

    /// There is something to see in this variant.
    pub(super) fn is_variant_unseen(&self, variant: &VariantState, probing: bool) -> bool {
        if variant.settled || !variant.is_real() {
            return false;
        }
        match &variant.shape {
            None => true,
            Some(ShapeState::Unit) => false,
            Some(ShapeState::Newtype(slot)) => self.is_unseen(slot),
            Some(ShapeState::Tuple(slots)) => self.is_sequence_unseen(slots),
            Some(ShapeState::Struct(fields)) => self.are_fields_unseen(fields, probing),
        }
    }

    /// How deep the smallest value of this variant nests.
    pub(super) fn variant_depth(&self, variant: &VariantState) -> u32 {
        if !variant.is_real() {
            return NEVER;
        }
        match &variant.shape {
            None => NEVER,
            Some(ShapeState::Unit) => 0,
            Some(ShapeState::Newtype(slot)) => self.slot_depth(slot).saturating_add(1),
            Some(ShapeState::Tuple(slots)) => self.all_depth(slots.iter()),
            Some(ShapeState::Struct(fields)) => self.fields_depth(fields),
        }
    }

    /// The parts of a tuple are reached in order: behind one that cannot be made nothing can be seen.
    fn is_sequence_unseen(&self, slots: &[Slot]) -> bool {
        for slot in slots {
            if self.is_unseen(slot) {
                return true;
            }
            if slot.dead || slot.node.is_none() {
                return false;
            }
        }
        false
    }

    fn are_fields_unseen(&self, fields: &FieldsState, probing: bool) -> bool {
        (probing && fields.is_unsettled()) || fields.real().any(|place| self.is_unseen(&fields.list[place].slot))
    }

    fn is_enum_unseen(&self, variants: &EnumState, probing: bool) -> bool {
        (probing && variants.other.is_none() && !variants.settled) || variants.list.iter().any(|variant| self.is_variant_unseen(variant, probing))
    }

    fn spread_incomplete(&mut self, types: &[Type], probing: bool) {
        loop {
            let mut changed = false;
            for (at, one) in types.iter().enumerate().rev() {
                if self.incomplete[at] {
                    continue;
                }
                self.incomplete[at] = match &one.state {
                    State::Leaf(_) => false,
                    State::Option(slot) | State::Seq(slot) | State::Newtype(_, slot) => self.is_unseen(slot),
                    State::Map(key, value) => self.is_unseen(key) || (!key.dead && self.is_unseen(value)),
                    State::Tuple(_, slots) => self.is_sequence_unseen(slots),
                    State::Struct(_, fields) => self.are_fields_unseen(fields, probing),
                    State::Enum(_, variants) => self.is_enum_unseen(variants, probing),
                };
                changed |= self.incomplete[at];
            }
            if !changed {
                return;
            }
        }
    }

    fn slot_depth(&self, slot: &Slot) -> u32 {
        match slot.node {
            Some(id) if !slot.dead => self.depth.get(id as usize).copied().unwrap_or(NEVER),
            _ => NEVER,
        }
    }

    fn all_depth<'a>(&self, slots: impl Iterator<Item = &'a Slot>) -> u32 {
        slots.map(|slot| self.slot_depth(slot)).max().unwrap_or(0).saturating_add(1)
    }

    fn fields_depth(&self, fields: &FieldsState) -> u32 {
        let needed = fields.real().map(|place| &fields.list[place]).filter(|field| field.optional != Some(true));
        self.all_depth(needed.map(|field| &field.slot))
    }

    fn spread_depth(&mut self, types: &[Type]) {
        loop {
            let mut changed = false;
            for (at, one) in types.iter().enumerate().rev() {
                let depth = match &one.state {
                    State::Leaf(_) | State::Option(_) | State::Seq(_) | State::Map(..) => 0,
                    State::Newtype(_, slot) => self.slot_depth(slot).saturating_add(1),
                    State::Tuple(_, slots) => self.all_depth(slots.iter()),
                    State::Struct(_, fields) => self.fields_depth(fields),
                    State::Enum(_, variants) => variants.list.iter().map(|variant| self.variant_depth(variant)).min().unwrap_or(NEVER),
                };
                if depth < self.depth[at] {
                    self.depth[at] = depth;
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }
}
