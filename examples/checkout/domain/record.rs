//! What an idempotency key stands for: the call it was first used for, and that call's answer.

use serde::{Deserialize, Serialize};

use super::Millis;
use crate::api::{Operation, PayError, Payment, Receipt, Refund, Status};
use crate::key::{IdempotencyKey, OrderId};
use crate::money::Money;
use crate::vault;

/// How long a key is good for after its answer: seven days, more than the day that is promised.
pub const KEY_LIFE: Millis = 7 * 24 * 3_600_000;

/// How long a replica may take to end what it has begun. After that another one may take it up.
pub const LEASE: Millis = 10_000;

/// A key in the book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    pub key: IdempotencyKey,
    pub operation: Operation,
    pub order: OrderId,
    /// Of everything that has to be equal for the call to be the same one.
    pub fingerprint: String,
    pub begun_at: Millis,
    /// Who runs it, and until when nobody else may.
    pub owner: String,
    pub lease_until: Millis,
    /// The answer of the first execution: every later one. `None` while it runs.
    pub answer: Option<Answer>,
}

/// An answer that is kept. Refusals of ours are not: they store nothing.
pub type Answer = Result<Done, PayError>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    Receipt(Receipt),
    Payment(Payment),
    Refund(Refund),
}

/// What happens to a key in a [`Change`](super::Change).
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// It must be new.
    Insert(KeyRecord),
    /// It must be there, without an answer.
    Update(KeyRecord),
    /// It must be there, without an answer: the call was never put to the network.
    Release(IdempotencyKey),
}

/// A call, and who makes it.
#[derive(Clone, Debug)]
pub struct Call {
    pub key: IdempotencyKey,
    pub operation: Operation,
    pub order: OrderId,
    pub fingerprint: String,
    pub owner: String,
    pub now: Millis,
}

impl Call {
    /// What is compared: method, order, amount, currency and the card behind the token. Not the token's text.
    pub fn fingerprint(operation: Operation, order: &OrderId, amount: Option<Money>, card: Option<&str>) -> String {
        let (minor, currency) = amount.map_or_else(Default::default, |amount| (amount.minor.to_string(), amount.currency.to_string()));
        vault::hash(&[&operation.to_string(), order.as_str(), &minor, &currency, card.unwrap_or_default()])
    }

    /// Begun: no answer yet.
    pub fn begun(&self) -> KeyRecord {
        self.record(None)
    }

    /// Begun and ended.
    pub fn answered(&self, answer: Answer) -> KeyRecord {
        self.record(Some(answer))
    }

    fn record(&self, answer: Option<Answer>) -> KeyRecord {
        let Self { key, operation, order, fingerprint, owner, now } = self.clone();
        KeyRecord { key, operation, order, fingerprint, begun_at: now, owner, lease_until: now.saturating_add(LEASE), answer }
    }
}

impl KeyRecord {
    pub fn status(&self) -> Status {
        match &self.answer {
            None => Status::Pending,
            Some(Ok(Done::Receipt(receipt))) => Status::Captured(receipt.clone()),
            Some(Ok(Done::Payment(payment))) => Status::Done(payment.clone()),
            Some(Ok(Done::Refund(refund))) => Status::Refunded(refund.clone()),
            Some(Err(PayError::Declined(decline))) => Status::Declined(*decline),
            // Nothing else is ever stored.
            Some(Err(_)) => Status::Pending,
        }
    }

    /// The call it was first used for, taken up again by somebody.
    pub fn call(&self, owner: &str, now: Millis) -> Call {
        let Self { key, operation, order, fingerprint, .. } = self.clone();
        Call { key, operation, order, fingerprint, owner: owner.to_owned(), now }
    }

    /// Nobody needs to be able to repeat it any more.
    pub fn has_expired(&self, now: Millis) -> bool {
        self.answer.is_some() && self.begun_at.saturating_add(KEY_LIFE) < now
    }
}

impl KeyChange {
    pub fn key(&self) -> &IdempotencyKey {
        match self {
            Self::Insert(record) | Self::Update(record) => &record.key,
            Self::Release(key) => key,
        }
    }

    /// Whether the book, where this is what stands for the key, allows it.
    pub fn fits(&self, stands: Option<&KeyRecord>) -> bool {
        match self {
            Self::Insert(_) => stands.is_none(),
            Self::Update(_) | Self::Release(_) => stands.is_some_and(|record| record.answer.is_none()),
        }
    }
}
