//! Double entry: whatever happens to money is written as lines that add up to zero.
//!
//! | what happened | + | - |
//! |---|---|---|
//! | authorized | held | cardholders |
//! | captured | cardholders (the hold ends), receivable | held, sales |
//! | voided, expired | cardholders | held |
//! | refunded | refunds | receivable |

use serde::{Deserialize, Serialize};

use super::Millis;
use crate::key::{IdempotencyKey, OrderId};
use crate::money::{Currency, Money};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// Promised to us, and not ours yet.
    Held,
    /// What the holds have taken from the holders' limits.
    Cardholders,
    /// What the network owes us.
    Receivable,
    Sales,
    Refunds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    Authorized,
    Captured,
    Released,
    Refunded,
}

/// One thing that happened, with its lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub kind: EntryKind,
    pub order: OrderId,
    pub key: IdempotencyKey,
    pub currency: Currency,
    /// In minor units.
    pub lines: Vec<(Account, i64)>,
    pub at: Millis,
}

impl Entry {
    pub fn authorized(amount: Money) -> Option<Lines> {
        let minor = signed(amount)?;
        Some(Lines(EntryKind::Authorized, amount.currency, vec![(Account::Held, minor), (Account::Cardholders, -minor)]))
    }

    /// All of the hold ends, some of it is ours now.
    pub fn captured(held: Money, captured: Money) -> Option<Lines> {
        let (held, minor) = (signed(held)?, signed(captured)?);
        let lines = vec![(Account::Cardholders, held), (Account::Held, -held), (Account::Receivable, minor), (Account::Sales, -minor)];
        Some(Lines(EntryKind::Captured, captured.currency, lines))
    }

    pub fn released(held: Money) -> Option<Lines> {
        let minor = signed(held)?;
        Some(Lines(EntryKind::Released, held.currency, vec![(Account::Cardholders, minor), (Account::Held, -minor)]))
    }

    pub fn refunded(amount: Money) -> Option<Lines> {
        let minor = signed(amount)?;
        Some(Lines(EntryKind::Refunded, amount.currency, vec![(Account::Refunds, minor), (Account::Receivable, -minor)]))
    }

    /// Zero, if the entry balances.
    pub fn sum(&self) -> i128 {
        self.lines.iter().map(|(_, minor)| i128::from(*minor)).sum()
    }
}

/// An entry that does not say yet whose it is.
pub struct Lines(EntryKind, Currency, Vec<(Account, i64)>);

impl Lines {
    pub fn of(self, order: &OrderId, key: &IdempotencyKey, at: Millis) -> Entry {
        let Self(kind, currency, lines) = self;
        Entry { kind, order: order.clone(), key: key.clone(), currency, lines, at }
    }
}

/// Twelve digits always fit.
fn signed(amount: Money) -> Option<i64> {
    i64::try_from(amount.minor).ok()
}
