//! Amounts: integers in the smallest unit of a currency, and arithmetic that refuses instead of wrapping or mixing.
//!
//! There is no float in this program.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest amount of one payment: twelve digits, what a card message (ISO 8583, field 4) can hold.
pub const LARGEST: u64 = 999_999_999_999;

/// An amount in the smallest unit of its currency: 1990 is USD 19.90, JPY 1990 and BHD 1.990.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    pub minor: u64,
    pub currency: Currency,
}

/// An ISO 4217 currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    Usd,
    Eur,
    Gbp,
    Chf,
    Jpy,
    Bhd,
    Kwd,
}

/// Why two amounts have no sum or difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyError {
    MixedCurrencies,
    OutOfRange,
}

impl Money {
    pub fn new(minor: u64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    pub fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.with(other, u64::checked_add)
    }

    /// Never below zero.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.with(other, u64::checked_sub)
    }

    fn with(self, other: Self, compute: fn(u64, u64) -> Option<u64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::MixedCurrencies);
        }
        compute(self.minor, other.minor).map(|minor| Self { minor, ..self }).ok_or(MoneyError::OutOfRange)
    }
}

impl Currency {
    pub const ALL: [Self; 7] = [Self::Usd, Self::Eur, Self::Gbp, Self::Chf, Self::Jpy, Self::Bhd, Self::Kwd];

    pub fn code(self) -> &'static str {
        match self {
            Self::Usd => "USD",
            Self::Eur => "EUR",
            Self::Gbp => "GBP",
            Self::Chf => "CHF",
            Self::Jpy => "JPY",
            Self::Bhd => "BHD",
            Self::Kwd => "KWD",
        }
    }

    /// Digits after the point (ISO 4217).
    pub fn exponent(self) -> u32 {
        match self {
            Self::Jpy => 0,
            Self::Usd | Self::Eur | Self::Gbp | Self::Chf => 2,
            Self::Bhd | Self::Kwd => 3,
        }
    }
}

impl std::str::FromStr for Currency {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|currency| currency.code() == text).ok_or("expected USD, EUR, GBP, CHF, JPY, BHD or KWD")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
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

impl fmt::Display for MoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MixedCurrencies => "amounts of two currencies do not add up",
            Self::OutOfRange => "the amount is out of range",
        })
    }
}

impl std::error::Error for MoneyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_written_with_the_digits_of_its_currency() {
        let written = [(Currency::Usd, "USD 19.05"), (Currency::Jpy, "JPY 1905"), (Currency::Bhd, "BHD 1.905")];
        for (currency, text) in written {
            assert_eq!(Money::new(1905, currency).to_string(), text);
        }
    }

    #[test]
    fn sums_refuse_to_wrap_to_go_negative_and_to_mix() {
        let (one, most) = (Money::new(1, Currency::Usd), Money::new(u64::MAX, Currency::Usd));
        assert_eq!(most.checked_add(one), Err(MoneyError::OutOfRange));
        assert_eq!(Money::zero(Currency::Usd).checked_sub(one), Err(MoneyError::OutOfRange));
        assert_eq!(one.checked_add(Money::new(1, Currency::Jpy)), Err(MoneyError::MixedCurrencies));
        assert_eq!(most.checked_sub(one), Ok(Money::new(u64::MAX - 1, Currency::Usd)));
    }
}
