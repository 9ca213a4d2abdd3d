//! The rules, as plain functions: no clock, no store, no network, no await. What comes in is what the book says and what has
//! happened; what goes out is a [`Change`] to be written as a whole, or a refusal.
//!
//! `charge.rs` is the state machine, `ledger.rs` the double entries, `record.rs` what a key stands for, `audit.rs` the proof
//! that all of them agree.

pub mod audit;
pub mod charge;
pub mod ledger;
pub mod record;

use crate::api::EventKind;
use crate::decline::Decline;
use crate::key::{IdempotencyKey, OrderId};
use crate::money::Money;
use crate::vault::Card;

use charge::Charge;
use ledger::Entry;
use record::KeyChange;

/// Milliseconds since 1970, by the wall clock: what is stored has to mean something after a restart.
pub type Millis = u64;

/// What is written to the book, all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Takes the place of the one before it, whose version is one less; a first version only where there was none.
    pub charge: Option<Charge>,
    pub key: Option<KeyChange>,
    pub entries: Vec<Entry>,
    pub events: Vec<NewEvent>,
    pub card: Option<Card>,
}

/// An event that has no sequence yet: the book gives it one.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub kind: EventKind,
    pub order: OrderId,
    pub key: IdempotencyKey,
    pub amount: Money,
    pub decline: Option<Decline>,
    pub at: Millis,
}
