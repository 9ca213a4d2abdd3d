//! What an issuer says when it says no, and what to do then. Data, not text: a caller matches on it.

use serde::{Deserialize, Serialize};

/// Why an issuer declined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decline {
    InsufficientFunds,
    #[serde(rename = "generic_decline")]
    Generic,
    ExpiredCard,
    IncorrectCvc,
    LostCard,
    StolenCard,
    DoNotHonor,
    ProcessingError,
    AuthenticationRequired,
    Fraudulent,
}

/// What a shop should do with a decline. Only the first may be tried again with this card, and with a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    RetryLater,
    NeverRetry,
    Authenticate,
    ContactIssuer,
}

impl Decline {
    pub fn code(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "insufficient_funds",
            Self::Generic => "generic_decline",
            Self::ExpiredCard => "expired_card",
            Self::IncorrectCvc => "incorrect_cvc",
            Self::LostCard => "lost_card",
            Self::StolenCard => "stolen_card",
            Self::DoNotHonor => "do_not_honor",
            Self::ProcessingError => "processing_error",
            Self::AuthenticationRequired => "authentication_required",
            Self::Fraudulent => "fraudulent",
        }
    }

    pub fn advice(self) -> Advice {
        match self {
            Self::InsufficientFunds | Self::ProcessingError => Advice::RetryLater,
            Self::AuthenticationRequired => Advice::Authenticate,
            Self::Generic | Self::DoNotHonor => Advice::ContactIssuer,
            Self::ExpiredCard | Self::IncorrectCvc | Self::LostCard | Self::StolenCard | Self::Fraudulent => Advice::NeverRetry,
        }
    }

    /// What the payer may be shown: who tries a stolen card must not learn that it is known to be one.
    pub fn shown_to_the_payer(self) -> Self {
        match self {
            Self::LostCard | Self::StolenCard | Self::Fraudulent => Self::Generic,
            other => other,
        }
    }
}

impl Advice {
    pub fn code(self) -> &'static str {
        match self {
            Self::RetryLater => "retry_later",
            Self::NeverRetry => "never_retry",
            Self::Authenticate => "authenticate",
            Self::ContactIssuer => "contact_issuer",
        }
    }

    /// For a person.
    pub fn text(self) -> &'static str {
        match self {
            Self::RetryLater => "try again later, or another card",
            Self::NeverRetry => "use another card",
            Self::Authenticate => "confirm the payment",
            Self::ContactIssuer => "ask the card's issuer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Decline; 10] = [
        Decline::InsufficientFunds,
        Decline::Generic,
        Decline::ExpiredCard,
        Decline::IncorrectCvc,
        Decline::LostCard,
        Decline::StolenCard,
        Decline::DoNotHonor,
        Decline::ProcessingError,
        Decline::AuthenticationRequired,
        Decline::Fraudulent,
    ];

    #[test]
    fn codes_are_what_travels() {
        for decline in ALL {
            assert_eq!(serde_json::json!(decline), decline.code());
            assert_eq!(serde_json::json!(decline.advice()), decline.advice().code());
        }
    }

    #[test]
    fn a_thief_sees_what_anybody_sees() {
        for decline in [Decline::LostCard, Decline::StolenCard, Decline::Fraudulent] {
            assert_eq!(decline.shown_to_the_payer(), Decline::Generic);
            assert_eq!(decline.advice(), Advice::NeverRetry);
        }
    }
}
