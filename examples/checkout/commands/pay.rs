//! One payment, for scripts: a line of JSON and an exit code.

use std::time::{Duration, Instant};

use rpc::{CallError, Error, Executed};
use serde_json::{Value, json};

use super::{Trust, connect, print_line};
use crate::access::Caller;
use crate::api::{IdempotencyKey, Money, NewCard, OrderId, PayError, Receipt, TokenizeError};
use crate::decline::Decline;

pub struct Payment {
    pub key: IdempotencyKey,
    pub order: OrderId,
    pub amount: Money,
    pub card: NewCard,
    pub timeout: Option<Duration>,
}

/// What came of a payment, for a script.
pub struct Outcome {
    pub name: &'static str,
    pub receipt: Option<Receipt>,
    pub reason: Option<String>,
    pub advice: Option<&'static str>,
    pub code: u8,
}

/// Pays, prints one line, and gives the exit code: 0 captured, 1 refused, 2 unknown, 3 not sent.
pub async fn run(address: &str, trust: &Trust, payment: Payment) -> u8 {
    let outcome = match pay(address, trust, payment).await {
        Ok(receipt) => Outcome::captured(receipt),
        Err(Failure::Card(error)) => Outcome::new("error", error.to_string(), 1),
        Err(Failure::Pay(error)) => Outcome::of(&error),
        Err(Failure::Rpc(error)) => Outcome::unanswered(&error),
    };
    print_line(&outcome.json());
    outcome.code
}

enum Failure {
    Card(TokenizeError),
    Pay(PayError),
    Rpc(Error),
}

async fn pay(address: &str, trust: &Trust, payment: Payment) -> Result<Receipt, Failure> {
    let Payment { key, order, amount, card, timeout } = payment;
    let began = Instant::now();
    let left = || timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
    let caller = Caller::from_environment();
    let shop = connect(address, trust, timeout).await.map_err(Failure::Rpc)?;
    let call = caller.sign(shop.tokenize(card));
    let card = match left() {
        None => call.await,
        Some(left) => call.timeout(left).await,
    };
    let card = card.map_err(|error| match error {
        CallError::Service(error) => Failure::Card(error),
        CallError::Rpc(error) => Failure::Rpc(error),
    })?;
    let call = caller.sign(shop.pay(key, order, amount, card.token));
    let paid = match left() {
        None => call.await,
        Some(left) => call.timeout(left).await,
    };
    if paid.as_ref().map_or_else(CallError::executed, |_| Executed::Yes) == Executed::Yes {
        shop.close().await;
    }
    paid.map_err(|error| match error {
        CallError::Service(error) => Failure::Pay(error),
        CallError::Rpc(error) => Failure::Rpc(error),
    })
}

impl Outcome {
    fn new(name: &'static str, reason: String, code: u8) -> Self {
        Self { name, receipt: None, reason: Some(reason), advice: None, code }
    }

    pub fn captured(receipt: Receipt) -> Self {
        Self { name: "captured", receipt: Some(receipt), reason: None, advice: None, code: 0 }
    }

    /// Shown to the payer: a stolen card is only declined.
    pub fn declined(decline: Decline) -> Self {
        let shown = decline.shown_to_the_payer();
        Self { advice: Some(shown.advice().code()), ..Self::new("declined", shown.code().to_owned(), 1) }
    }

    pub fn of(error: &PayError) -> Self {
        match error {
            PayError::Declined(decline) => Self::declined(*decline),
            PayError::Conflict => Self::new("conflict", error.to_string(), 1),
            // Executed, and nobody knows to what end.
            PayError::Unresolved => Self::new("unknown", error.to_string(), 2),
            PayError::Invalid(_) | PayError::IllegalTransition { .. } | PayError::Unavailable(_) => Self::new("error", error.to_string(), 1),
        }
    }

    /// "Unknown" is not "failed": the key asks again without a second charge.
    pub fn unanswered(error: &Error) -> Self {
        match error.executed() {
            Executed::No => Self::new("not_sent", error.to_string(), 3),
            Executed::Maybe | Executed::Yes => Self::new("unknown", error.to_string(), 2),
        }
    }

    pub fn json(&self) -> Value {
        json!({ "outcome": self.name, "receipt": self.receipt, "reason": self.reason, "advice": self.advice })
    }
}
