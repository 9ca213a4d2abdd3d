//! The contract of the checkout. Server and client share this file and nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Takes payments by card.
#[rpc::service]
pub trait Checkout {
    /// What these items cost together.
    async fn quote(&self, items: Vec<Item>) -> Result<Money, QuoteError>;

    /// Authorizes and captures a payment, once per key: the same key again gives the same answer and charges nothing.
    ///
    /// It may be sent again, and it runs to its end whatever becomes of its caller.
    #[rpc(idempotent, detached)]
    async fn pay(&self, key: IdempotencyKey, order: String, amount: Money, card: CardNumber) -> Result<Receipt, PayError>;

    /// What became of the payment with this key.
    #[rpc(idempotent)]
    async fn status(&self, key: &IdempotencyKey) -> Status;
}

/// So many of one article.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    pub sku: String,
    pub quantity: u32,
}

/// An amount in the smallest unit of its currency: 1990 is USD 19.90, and JPY 1990.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    pub minor: u64,
    pub currency: Currency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    Usd,
    Eur,
    Jpy,
    Bhd,
}

/// Says which payment this is, however often it is sent: 1 to 255 characters, chosen by the client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct IdempotencyKey(String);

/// A card number of the right length and check digit. It is never printed.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct CardNumber(String);

/// A payment that was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub id: String,
    pub order: String,
    pub captured: Money,
    pub last_four: String,
}

/// What became of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has asked for it with this key.
    Unknown,
    Pending,
    Captured(Receipt),
    Declined(Decline),
}

/// Why there is no price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuoteError {
    UnknownSku(String),
    TooMuch,
}

/// Why a payment was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayError {
    /// The issuer said no. Final: the same key gives the same answer.
    Declined(Decline),
    /// The key belongs to a payment with another order, amount or card. That payment is untouched.
    Conflict,
    /// Nothing to pay. The key is not used up.
    ZeroAmount,
}

/// What an issuer says when it says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decline {
    GenericDecline,
    InsufficientFunds,
}

// ---- what the types above promise

impl Currency {
    pub fn code(self) -> &'static str {
        match self {
            Self::Usd => "USD",
            Self::Eur => "EUR",
            Self::Jpy => "JPY",
            Self::Bhd => "BHD",
        }
    }

    /// Digits after the point (ISO 4217).
    fn exponent(self) -> u32 {
        match self {
            Self::Jpy => 0,
            Self::Usd | Self::Eur => 2,
            Self::Bhd => 3,
        }
    }
}

impl std::str::FromStr for Currency {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Usd, Self::Eur, Self::Jpy, Self::Bhd];
        all.into_iter().find(|currency| currency.code() == text).ok_or("expected USD, EUR, JPY or BHD")
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, digits) = (self.currency.code(), self.currency.exponent());
        let unit = 10u64.pow(digits);
        match digits {
            0 => write!(f, "{code} {}", self.minor),
            _ => write!(f, "{code} {}.{:0width$}", self.minor / unit, self.minor % unit, width = digits as usize),
        }
    }
}

impl TryFrom<String> for IdempotencyKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.chars().count() {
            1..=255 => Ok(Self(text)),
            _ => Err("an idempotency key has 1 to 255 characters"),
        }
    }
}

impl std::str::FromStr for IdempotencyKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl CardNumber {
    /// For the issuer only.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn last_four(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }
}

impl TryFrom<String> for CardNumber {
    type Error = &'static str;

    /// The error never repeats the number.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_number = (12..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number && luhn(text.as_bytes()) { Ok(Self(text)) } else { Err("not a card number") }
    }
}

impl std::str::FromStr for CardNumber {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl fmt::Debug for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The check digit of ISO/IEC 7812: from the right, every second digit doubled, the digits of all that add up to tens.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0') << (place % 2);
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

impl Decline {
    pub fn code(self) -> &'static str {
        match self {
            Self::GenericDecline => "generic_decline",
            Self::InsufficientFunds => "insufficient_funds",
        }
    }

    pub fn advice(self) -> &'static str {
        match self {
            Self::GenericDecline => "ask the card's issuer",
            Self::InsufficientFunds => "try again later, or another card",
        }
    }
}

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSku(sku) => write!(f, "no article is called {sku}"),
            Self::TooMuch => f.write_str("more than an amount can hold"),
        }
    }
}

impl fmt::Display for PayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined(decline) => write!(f, "declined: {}", decline.code()),
            Self::Conflict => f.write_str("the key belongs to another payment"),
            Self::ZeroAmount => f.write_str("there is nothing to pay"),
        }
    }
}

impl std::error::Error for QuoteError {}
impl std::error::Error for PayError {}
