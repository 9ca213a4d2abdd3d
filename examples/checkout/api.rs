//! The contract of the checkout: this trait and the types it names. Server and client share nothing else.
//!
//! Three promises stand behind every method that moves money. Its first argument is an [`IdempotencyKey`], so that a charge
//! without one does not compile. It is `idempotent`: with the same key it may be sent again, and gives the same answer
//! without a second charge. It is `detached`: once begun it runs to its end, whatever becomes of its caller.

use rpc::Stream;
use serde::{Deserialize, Serialize};

pub use crate::card::{Brand, CardError, Expiry, NewCard, Secret};
pub use crate::decline::Decline;
pub use crate::key::{CardToken, IdempotencyKey, OrderId};
pub use crate::money::{Currency, Money};

/// Takes payments by card. One order has one payment; [`PaymentState`] says what may come next.
#[rpc::service]
pub trait Checkout {
    /// What these items cost together.
    #[rpc(idempotent)]
    async fn quote(&self, items: Vec<Item>) -> Result<Money, QuoteError>;

    /// Takes a card's number, once, and gives a token for it. No other method takes a number.
    async fn tokenize(&self, card: NewCard) -> Result<SavedCard, TokenizeError>;

    /// Authorizes and captures in one step.
    ///
    /// A card that needs its holder's confirmation is declined with `authentication_required`: use `authorize` for those.
    #[rpc(idempotent, detached)]
    async fn pay(&self, key: IdempotencyKey, order: OrderId, amount: Money, card: CardToken) -> Result<Receipt, PayError>;

    /// Holds an amount on a card, for seven days. The payment is `Authorized` then, or `RequiresAction`.
    #[rpc(idempotent, detached)]
    async fn authorize(&self, key: IdempotencyKey, order: OrderId, amount: Money, card: CardToken) -> Result<Payment, PayError>;

    /// Ends a 3-D Secure challenge with the code that the card's holder was given.
    #[rpc(idempotent, detached)]
    async fn confirm_challenge(&self, key: IdempotencyKey, order: OrderId, code: Secret<String>) -> Result<Payment, PayError>;

    /// Takes at most the authorized amount, once; the rest of the hold is released.
    #[rpc(idempotent, detached)]
    async fn capture(&self, key: IdempotencyKey, order: OrderId, amount: Money) -> Result<Payment, PayError>;

    /// Ends a payment that was not captured and releases its hold.
    #[rpc(idempotent, detached)]
    async fn void(&self, key: IdempotencyKey, order: OrderId) -> Result<Payment, PayError>;

    /// Gives back some of what was captured. Several refunds may add up to all of it, and to no more.
    #[rpc(idempotent, detached)]
    async fn refund(&self, key: IdempotencyKey, order: OrderId, amount: Money) -> Result<Refund, PayError>;

    /// What became of a key: the truth after a lost answer.
    #[rpc(idempotent)]
    async fn status(&self, key: &IdempotencyKey) -> Result<Status, Unavailable>;

    /// The payment of an order.
    #[rpc(idempotent)]
    async fn get(&self, order: &OrderId) -> Result<Option<Payment>, Unavailable>;

    /// Payments in the order of their orders' names, after this one; at most 1,000 at a time.
    #[rpc(idempotent)]
    async fn list(&self, after: Option<OrderId>, limit: u32) -> Result<Vec<Payment>, Unavailable>;

    /// The sequence of the last event so far: begin there to see only what comes.
    #[rpc(idempotent)]
    async fn last_event(&self) -> Result<u64, Unavailable>;

    /// Everything that happened after this sequence number, 0 for all, and then whatever happens, as it does.
    ///
    /// Sequences grow by one without a gap: after a cut, ask again with the last one that was seen. An event may be seen
    /// twice that way; its `id` tells. An end is to be treated as a cut, always: the stream ends when the server drains, and
    /// when its book cannot be read. It never means that there are no more events.
    fn events(&self, after: u64) -> impl Stream<Item = Event>;
}

/// So many of one article.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    pub sku: String,
    pub quantity: u32,
}

/// Why there is no price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuoteError {
    UnknownSku(String),
    TooMuch,
}

/// A card that may be charged: what a shop keeps instead of its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedCard {
    pub token: CardToken,
    pub brand: Brand,
    pub last_four: String,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizeError {
    Card(CardError),
    Unavailable(Unavailable),
}

/// The payment of one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub order: OrderId,
    /// The key of the call that put the card to the network.
    pub key: IdempotencyKey,
    pub state: PaymentState,
    pub authorized: Money,
    pub captured: Money,
    pub refunded: Money,
    pub brand: Brand,
    pub last_four: String,
    /// When an uncaptured hold ends, in milliseconds since 1970.
    pub expires_at: Option<u64>,
}

/// ```text
/// requires_payment_method -> processing -> authorized -> captured
///            ^                 |     ^          |
///            +---- declined ---+     |          +-> canceled
///                              v     |
///                        requires_action (3-D Secure) -> canceled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// Nothing is held: the last card was declined.
    RequiresPaymentMethod,
    /// The card network has been asked and has not answered: nobody knows yet.
    Processing,
    /// The card's holder has to confirm.
    RequiresAction,
    /// The amount is held, and can be captured.
    Authorized,
    Captured,
    /// Final: voided, or the hold has expired.
    Canceled,
}

/// A payment that was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub id: String,
    pub order: OrderId,
    pub captured: Money,
    pub brand: Brand,
    pub last_four: String,
}

/// An amount that was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    pub order: OrderId,
    pub amount: Money,
    /// All that was given back so far, this refund included.
    pub refunded: Money,
}

/// Why a call moved no money, or why nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayError {
    /// The issuer said no. Final for this key.
    Declined(Decline),
    /// The key belongs to a call with another method, order, amount or card. What that call did stands.
    Conflict,
    /// The arguments make no sense. Nothing was stored, the key is not used up.
    Invalid(Invalid),
    /// The payment is in a state that does not allow this. Nothing was stored.
    IllegalTransition { from: PaymentState, operation: Operation },
    /// The money may have moved. Ask `status`, or send the same call with the same key.
    Unresolved,
    /// No money has moved. Send the same call with the same key later.
    Unavailable(Unavailable),
}

/// The fault is the server's: its book cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable;

/// What is wrong with the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invalid {
    ZeroAmount,
    /// More than twelve digits.
    AmountTooLarge,
    UnknownCard,
    UnknownOrder,
    /// Another currency than the payment's.
    MixedCurrencies,
    /// More than is held.
    MoreThanAuthorized,
    /// More than was captured and not given back yet.
    MoreThanCaptured,
}

/// What a key was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Pay,
    Authorize,
    ConfirmChallenge,
    Capture,
    Void,
    Refund,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing was done with this key.
    NotFound,
    /// Still running: ask again.
    Pending,
    Captured(Receipt),
    Declined(Decline),
    /// An `authorize`, `confirm_challenge`, `capture` or `void`: the payment as it was then.
    Done(Payment),
    Refunded(Refund),
}

/// Something that happened to a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub sequence: u64,
    /// The same however often the event is seen.
    pub id: String,
    #[serde(rename = "type")]
    pub kind: EventKind,
    pub order: OrderId,
    pub key: IdempotencyKey,
    pub amount: Money,
    /// Why it failed, if it did.
    pub decline: Option<Decline>,
    /// In milliseconds since 1970.
    pub at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    #[serde(rename = "payment.authorized")]
    Authorized,
    #[serde(rename = "payment.captured")]
    Captured,
    #[serde(rename = "payment.failed")]
    Failed,
    #[serde(rename = "payment.canceled")]
    Canceled,
    #[serde(rename = "refund.succeeded")]
    Refunded,
}
