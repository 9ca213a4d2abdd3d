//! The payment of one order and what may become of it. Every method that changes it consumes it and gives what is to be
//! written; an illegal transition is a typed refusal and changes nothing.

use serde::{Deserialize, Serialize};

use super::ledger::{Entry, Lines};
use super::record::{Answer, Call, Done, KeyChange};
use super::{Change, Millis, NewEvent};
use crate::api::{EventKind, Invalid, Operation, PayError, Payment, PaymentState, Receipt, Refund};
use crate::card::Brand;
use crate::decline::Decline;
use crate::key::{IdempotencyKey, OrderId};
use crate::money::{LARGEST, Money, MoneyError};
use crate::network::{self, NetworkToken, Reference};
use crate::vault::{Card, identifier};

/// How long an issuer holds an amount for us: seven days.
pub const HOLD_LIFE: Millis = 7 * 24 * 3_600_000;

/// The payment of one order, as it stands in the book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    pub order: OrderId,
    /// One more with every change: two callers who saw the same cannot both change it.
    pub version: u64,
    pub state: PaymentState,
    /// The key of the last attempt to authorize, and what the network knows that attempt by.
    pub key: IdempotencyKey,
    pub reference: Reference,
    /// When that attempt began.
    #[serde(default)]
    pub asked_at: Millis,
    /// The call that waits for the network's answer.
    pub running: Option<Running>,
    /// What was asked for.
    pub amount: Money,
    pub authorized: Money,
    pub captured: Money,
    pub refunded: Money,
    pub brand: Brand,
    pub last_four: String,
    pub network: NetworkToken,
    pub expires_at: Option<Millis>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub key: IdempotencyKey,
    pub operation: Operation,
}

/// A change that ends a call, with its answer.
pub struct Ended {
    pub change: Change,
    pub answer: Answer,
}

/// The sum that someone asks for can be one.
pub fn check_amount(amount: Money) -> Result<(), PayError> {
    match amount.minor {
        0 => Err(PayError::Invalid(Invalid::ZeroAmount)),
        1..=LARGEST => Ok(()),
        _ => Err(PayError::Invalid(Invalid::AmountTooLarge)),
    }
}

impl Charge {
    /// A first attempt, or another one after a decline: to be written before the network is asked.
    pub fn begin(before: Option<Self>, call: &Call, amount: Money, card: &Card) -> Result<Change, PayError> {
        check_amount(amount)?;
        let version = match &before {
            None => 1,
            Some(before) if before.state == PaymentState::RequiresPaymentMethod => before.version.saturating_add(1),
            Some(before) => return Err(before.refuses(call.operation)),
        };
        let nothing = Money::zero(amount.currency);
        let charge = Self {
            order: call.order.clone(),
            version,
            state: PaymentState::Processing,
            key: call.key.clone(),
            reference: Reference::of(&call.key, &call.order, version),
            asked_at: call.now,
            running: Some(Running { key: call.key.clone(), operation: call.operation }),
            amount,
            authorized: nothing,
            captured: nothing,
            refunded: nothing,
            brand: card.brand,
            last_four: card.last_four.clone(),
            network: card.network,
            expires_at: None,
        };
        Ok(Change { charge: Some(charge), key: Some(KeyChange::Insert(call.begun())), ..Change::default() })
    }

    /// The holder's code is about to be handed to the issuer.
    pub fn begin_confirmation(self, call: &Call) -> Result<Change, PayError> {
        if self.state != PaymentState::RequiresAction {
            return Err(self.refuses(call.operation));
        }
        let running = Some(Running { key: call.key.clone(), operation: call.operation });
        let charge = self.next(|charge| Self { state: PaymentState::Processing, running, ..charge });
        Ok(Change { charge: Some(charge), key: Some(KeyChange::Insert(call.begun())), ..Change::default() })
    }

    /// The network has answered what `begin` or `begin_confirmation` has asked.
    pub fn answered(self, call: &Call, answer: network::Answer) -> Result<Ended, PayError> {
        if self.state != PaymentState::Processing {
            return Err(self.refuses(call.operation));
        }
        let pays = call.operation == Operation::Pay;
        match answer {
            network::Answer::Approved => {
                let amount = self.amount;
                let held = self.next(|charge| Self {
                    state: PaymentState::Authorized,
                    running: None,
                    authorized: amount,
                    expires_at: Some(call.now.saturating_add(HOLD_LIFE)),
                    ..charge
                });
                let mut change = Change::default();
                change.book(call, Entry::authorized(amount), &held)?;
                change.tell(call, EventKind::Authorized, amount);
                let (charge, answer) = if pays {
                    let captured = held.take(call, amount, &mut change)?;
                    let receipt = captured.receipt();
                    (captured, Ok(Done::Receipt(receipt)))
                } else {
                    let payment = held.payment();
                    (held, Ok(Done::Payment(payment)))
                };
                Ok(change.end(call, charge, answer))
            }
            network::Answer::Challenge if !pays => {
                let charge = self.next(|charge| Self { state: PaymentState::RequiresAction, running: None, ..charge });
                let payment = charge.payment();
                Ok(Change::default().end(call, charge, Ok(Done::Payment(payment))))
            }
            network::Answer::Challenge => Ok(self.declined(call, Decline::AuthenticationRequired)),
            network::Answer::Declined(decline) => Ok(self.declined(call, decline)),
            // It was released before we ever had it.
            network::Answer::Reversed => Ok(self.declined(call, Decline::ProcessingError)),
            // Only what is captured is collected, and this waits for a first answer: nothing that could be right.
            network::Answer::Collected => Err(PayError::Unresolved),
        }
    }

    fn declined(self, call: &Call, decline: Decline) -> Ended {
        let amount = self.amount;
        let charge = self.next(|charge| Self { state: PaymentState::RequiresPaymentMethod, running: None, ..charge });
        let mut change = Change::default();
        change.tell(call, EventKind::Failed, amount);
        change.events.iter_mut().for_each(|event| event.decline = Some(decline));
        change.end(call, charge, Err(PayError::Declined(decline)))
    }

    /// The network was never asked: as if the call had not been made.
    pub fn abandoned(self) -> Option<Change> {
        let running = self.running.clone()?;
        let state = match running.operation {
            Operation::ConfirmChallenge => PaymentState::RequiresAction,
            _ => PaymentState::RequiresPaymentMethod,
        };
        let charge = self.next(|charge| Self { state, running: None, ..charge });
        Some(Change { charge: Some(charge), key: Some(KeyChange::Release(running.key)), ..Change::default() })
    }

    pub fn capture(self, call: &Call, amount: Money) -> Result<Ended, PayError> {
        check_amount(amount)?;
        if self.state != PaymentState::Authorized || self.hold_has_expired(call.now) {
            return Err(self.refuses(call.operation));
        }
        let mut change = Change::default();
        let charge = self.take(call, amount, &mut change)?;
        let payment = charge.payment();
        Ok(change.end(call, charge, Ok(Done::Payment(payment))))
    }

    /// Authorized becomes captured.
    fn take(self, call: &Call, amount: Money, change: &mut Change) -> Result<Self, PayError> {
        let held = self.authorized;
        held.checked_sub(amount).map_err(|error| beyond(error, Invalid::MoreThanAuthorized))?;
        let version = self.version;
        let charge = self.next(|charge| Self { state: PaymentState::Captured, captured: amount, expires_at: None, ..charge });
        // A payment that is authorized and captured in one step is written once.
        let charge = if call.operation == Operation::Pay { Self { version, ..charge } } else { charge };
        change.book(call, Entry::captured(held, amount), &charge)?;
        change.tell(call, EventKind::Captured, amount);
        Ok(charge)
    }

    pub fn void(self, call: &Call) -> Result<Ended, PayError> {
        let charge = match self.state {
            PaymentState::RequiresPaymentMethod | PaymentState::RequiresAction | PaymentState::Authorized => self,
            _ => return Err(self.refuses(call.operation)),
        };
        let mut change = Change::default();
        let charge = charge.cancel(call, &mut change)?;
        let payment = charge.payment();
        Ok(change.end(call, charge, Ok(Done::Payment(payment))))
    }

    /// The hold has ended by itself. There is no call, and no key to be answered.
    pub fn expire(self, now: Millis) -> Option<Change> {
        if self.state != PaymentState::Authorized || !self.hold_has_expired(now) {
            return None;
        }
        let (key, order) = (self.key.clone(), self.order.clone());
        let call = Call { key, operation: Operation::Void, order, fingerprint: String::new(), owner: String::new(), now };
        let mut change = Change::default();
        let charge = self.cancel(&call, &mut change).ok()?;
        change.charge = Some(charge);
        Some(change)
    }

    fn cancel(self, call: &Call, change: &mut Change) -> Result<Self, PayError> {
        let (was_held, amount) = (self.state == PaymentState::Authorized, self.amount);
        let held = self.authorized;
        let charge = self.next(|charge| Self { state: PaymentState::Canceled, expires_at: None, ..charge });
        if was_held {
            change.book(call, Entry::released(held), &charge)?;
        }
        change.tell(call, EventKind::Canceled, amount);
        Ok(charge)
    }

    pub fn refund(self, call: &Call, amount: Money) -> Result<Ended, PayError> {
        check_amount(amount)?;
        if self.state != PaymentState::Captured {
            return Err(self.refuses(call.operation));
        }
        let refunded = self.refunded.checked_add(amount).map_err(|error| beyond(error, Invalid::MoreThanCaptured))?;
        self.captured.checked_sub(refunded).map_err(|error| beyond(error, Invalid::MoreThanCaptured))?;
        let charge = self.next(|charge| Self { refunded, ..charge });
        let mut change = Change::default();
        change.book(call, Entry::refunded(amount), &charge)?;
        change.tell(call, EventKind::Refunded, amount);
        let refund = Refund { id: identifier("re", &call.key, &charge.order, charge.version), order: charge.order.clone(), amount, refunded };
        Ok(change.end(call, charge, Ok(Done::Refund(refund))))
    }

    /// Whether the network holds, or has paid, something for this reference on purpose.
    pub fn stands_behind(&self, reference: &Reference) -> bool {
        self.reference == *reference && !matches!(self.state, PaymentState::RequiresPaymentMethod | PaymentState::Canceled)
    }

    /// When somebody has to look at it even if nobody calls: at once while it waits for the network, and when its hold ends.
    pub fn due(&self) -> Option<Millis> {
        match self.state {
            PaymentState::Processing => Some(0),
            PaymentState::Authorized => self.expires_at,
            _ => None,
        }
    }

    fn hold_has_expired(&self, now: Millis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    fn refuses(&self, operation: Operation) -> PayError {
        PayError::IllegalTransition { from: self.state, operation }
    }

    fn next(self, change: impl FnOnce(Self) -> Self) -> Self {
        let version = self.version.saturating_add(1);
        Self { version, ..change(self) }
    }

    pub fn payment(&self) -> Payment {
        Payment {
            order: self.order.clone(),
            key: self.key.clone(),
            state: self.state,
            authorized: self.authorized,
            captured: self.captured,
            refunded: self.refunded,
            brand: self.brand,
            last_four: self.last_four.clone(),
            expires_at: self.expires_at,
        }
    }

    fn receipt(&self) -> Receipt {
        Receipt {
            id: identifier("ch", &self.key, &self.order, self.version),
            order: self.order.clone(),
            captured: self.captured,
            brand: self.brand,
            last_four: self.last_four.clone(),
        }
    }
}

fn beyond(error: MoneyError, limit: Invalid) -> PayError {
    PayError::Invalid(match error {
        MoneyError::MixedCurrencies => Invalid::MixedCurrencies,
        MoneyError::OutOfRange => limit,
    })
}

impl Change {
    fn book(&mut self, call: &Call, lines: Option<Lines>, charge: &Charge) -> Result<(), PayError> {
        let lines = lines.ok_or(PayError::Invalid(Invalid::AmountTooLarge))?;
        self.entries.push(lines.of(&charge.order, &call.key, call.now));
        Ok(())
    }

    fn tell(&mut self, call: &Call, kind: EventKind, amount: Money) {
        self.events.push(NewEvent { kind, order: call.order.clone(), key: call.key.clone(), amount, decline: None, at: call.now });
    }

    fn end(mut self, call: &Call, charge: Charge, answer: Answer) -> Ended {
        let record = call.answered(answer.clone());
        self.charge = Some(charge);
        self.key = Some(match call.operation {
            Operation::Pay | Operation::Authorize | Operation::ConfirmChallenge => KeyChange::Update(record),
            Operation::Capture | Operation::Void | Operation::Refund => KeyChange::Insert(record),
        });
        Ended { change: self, answer }
    }
}
