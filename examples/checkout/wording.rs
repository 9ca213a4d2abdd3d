//! What the contract's errors and states say to a person. Lower case, no card numbers.

use std::fmt;

use crate::api::{EventKind, Invalid, Operation, PayError, PaymentState, QuoteError, TokenizeError, Unavailable};

impl fmt::Display for QuoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSku(sku) => write!(f, "no article is called {sku}"),
            Self::TooMuch => f.write_str("more than an amount can hold"),
        }
    }
}

impl fmt::Display for TokenizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(error) => error.fmt(f),
            Self::Unavailable(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server's book is out of order; nothing was charged")
    }
}

impl fmt::Display for PayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined(decline) => write!(f, "declined: {}", decline.code()),
            Self::Conflict => f.write_str("the key belongs to another payment"),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::IllegalTransition { from, operation } => write!(f, "a payment that is {from} takes no {operation}"),
            Self::Unresolved => f.write_str("the outcome is not known yet: ask for the status of this key"),
            Self::Unavailable(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroAmount => "there is nothing to pay",
            Self::AmountTooLarge => "the amount has more than twelve digits",
            Self::UnknownCard => "no card has this token",
            Self::UnknownOrder => "no payment has this order",
            Self::MixedCurrencies => "the payment is in another currency",
            Self::MoreThanAuthorized => "more than was authorized",
            Self::MoreThanCaptured => "more than was captured and not given back yet",
        })
    }
}

impl fmt::Display for PaymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::Processing => "processing",
            Self::RequiresAction => "requires_action",
            Self::Authorized => "authorized",
            Self::Captured => "captured",
            Self::Canceled => "canceled",
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pay => "pay",
            Self::Authorize => "authorize",
            Self::ConfirmChallenge => "confirm_challenge",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        })
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authorized => "payment.authorized",
            Self::Captured => "payment.captured",
            Self::Failed => "payment.failed",
            Self::Canceled => "payment.canceled",
            Self::Refunded => "refund.succeeded",
        })
    }
}

impl std::error::Error for QuoteError {}
impl std::error::Error for TokenizeError {}
impl std::error::Error for Unavailable {}
impl std::error::Error for PayError {}
