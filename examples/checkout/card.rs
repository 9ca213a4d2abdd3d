//! Cards: what makes a number one, the brand it belongs to, and the type that keeps secrets out of every log.
//!
//! What becomes of a number is decided in `vault.rs`; nothing here stores anything.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// A value that is never printed: `Debug` gives `***`, there is no `Display`, and whoever wants it has to [`reveal`](Self::reveal) it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    pub fn reveal(&self) -> &T {
        &self.0
    }
}

/// An error does not repeat what it could not read, as serde's own would.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self).map_err(|_| D::Error::custom("a secret of another type"))
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A card as its holder types it. It travels to `tokenize` and nowhere else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewCard {
    pub number: Secret<String>,
    pub expiry: Expiry,
    pub cvc: Secret<String>,
}

/// The last month in which a card is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Expiry {
    pub year: u16,
    pub month: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Brand {
    Visa,
    Mastercard,
    AmericanExpress,
    Discover,
    Jcb,
    DinersClub,
    UnionPay,
}

/// Why a card is refused before anybody is asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardError {
    /// Not 12 to 19 digits, or the wrong check digit.
    InvalidNumber,
    /// A number of no brand that is taken here, or of the wrong length for its brand.
    UnknownBrand,
    InvalidExpiry,
    Expired,
    InvalidCvc,
}

/// A card number of the right length and check digit, with its brand.
#[derive(Clone)]
pub struct CardNumber {
    digits: Secret<String>,
    brand: Brand,
}

impl Expiry {
    /// The month of this moment, in milliseconds since 1970, in UTC.
    pub fn at(millis: u64) -> Self {
        // Howard Hinnant's civil_from_days, for days after 1970: years begin in March, so that the leap day is the last.
        let days = millis / 86_400_000 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Self { year: u16::try_from(year).unwrap_or(u16::MAX), month: month as u8 }
    }
}

impl NewCard {
    /// The number, if the card could be one.
    pub fn check(&self, today: Expiry) -> Result<CardNumber, CardError> {
        let number = CardNumber::parse(self.number.reveal())?;
        if !(1..=12).contains(&self.expiry.month) {
            return Err(CardError::InvalidExpiry);
        }
        if self.expiry < today {
            return Err(CardError::Expired);
        }
        let cvc = self.cvc.reveal();
        let length = if number.brand == Brand::AmericanExpress { 4 } else { 3 };
        if cvc.len() != length || !cvc.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CardError::InvalidCvc);
        }
        Ok(number)
    }
}

impl CardNumber {
    /// Spaces and dashes between digits are taken, as people type them. The error never repeats the number.
    pub fn parse(text: &str) -> Result<Self, CardError> {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let is_number = (12..=19).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || !luhn(digits.as_bytes()) {
            return Err(CardError::InvalidNumber);
        }
        let brand = brand(&digits).ok_or(CardError::UnknownBrand)?;
        Ok(Self { digits: Secret(digits), brand })
    }

    /// For the vault's hash and for the card network.
    pub fn reveal(&self) -> &str {
        self.digits.reveal()
    }

    pub fn brand(&self) -> Brand {
        self.brand
    }

    pub fn last_four(&self) -> &str {
        let digits = self.digits.reveal();
        digits.get(digits.len().saturating_sub(4)..).unwrap_or_default()
    }
}

/// The check digit of ISO/IEC 7812: from the right, every second digit doubled, the digits of all that add up to tens.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit.saturating_sub(b'0')) << (place % 2);
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// By the ranges that the schemes publish, narrowed to the length they issue.
fn brand(digits: &str) -> Option<Brand> {
    let prefix = |length: usize| digits.get(..length).and_then(|text| text.parse::<u32>().ok());
    let (two, three, four) = (prefix(2)?, prefix(3)?, prefix(4)?);
    let (brand, lengths): (Brand, &[usize]) = match () {
        () if digits.starts_with('4') => (Brand::Visa, &[13, 16, 19]),
        () if matches!(two, 51..=55) || matches!(four, 2221..=2720) => (Brand::Mastercard, &[16]),
        () if matches!(two, 34 | 37) => (Brand::AmericanExpress, &[15]),
        () if four == 6011 || two == 65 || matches!(three, 644..=649) => (Brand::Discover, &[16, 19]),
        () if matches!(four, 3528..=3589) => (Brand::Jcb, &[16, 19]),
        () if matches!(three, 300..=305) || matches!(two, 36 | 38 | 39) => (Brand::DinersClub, &[14, 16, 19]),
        () if two == 62 => (Brand::UnionPay, &[16, 17, 18, 19]),
        () => return None,
    };
    lengths.contains(&digits.len()).then_some(brand)
}

impl fmt::Debug for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Visa => "visa",
            Self::Mastercard => "mastercard",
            Self::AmericanExpress => "american express",
            Self::Discover => "discover",
            Self::Jcb => "jcb",
            Self::DinersClub => "diners club",
            Self::UnionPay => "unionpay",
        })
    }
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidNumber => "not a card number",
            Self::UnknownBrand => "a card of no known brand",
            Self::InvalidExpiry => "not a month of expiry",
            Self::Expired => "the card has expired",
            Self::InvalidCvc => "not a card's security code",
        })
    }
}

impl std::error::Error for CardError {}

#[cfg(test)]
#[allow(clippy::allow_attributes, clippy::unwrap_used, reason = "a panic is a failed test")]
mod tests {
    use super::*;

    const TODAY: Expiry = Expiry { year: 2031, month: 6 };

    fn card(number: &str, year: u16, month: u8, cvc: &str) -> NewCard {
        NewCard { number: Secret::new(number.into()), expiry: Expiry { year, month }, cvc: Secret::new(cvc.into()) }
    }

    #[test]
    fn a_brand_is_known_by_prefix_and_length() {
        let known = [
            ("4242424242424242", Brand::Visa),
            ("4222222222222", Brand::Visa),
            ("5555 5555 5555 4444", Brand::Mastercard),
            ("2223003122003222", Brand::Mastercard),
            ("378282246310005", Brand::AmericanExpress),
            ("6011-1111-1111-1117", Brand::Discover),
            ("3566002020360505", Brand::Jcb),
            ("30569309025904", Brand::DinersClub),
            ("6200000000000005", Brand::UnionPay),
        ];
        for (number, brand) in known {
            assert_eq!(CardNumber::parse(number).map(|number| number.brand), Ok(brand), "{number}");
        }
        // The check digit is right, the brand is not.
        assert_eq!(CardNumber::parse("9999999999999995").map(|_| ()), Err(CardError::UnknownBrand));
        assert_eq!(CardNumber::parse("42424242424242424242").map(|_| ()), Err(CardError::InvalidNumber));
    }

    #[test]
    fn one_wrong_digit_is_found_wherever_it_is() {
        let good = "4242424242424242";
        for place in 0..good.len() {
            for digit in '0'..='9' {
                let mut wrong = good.to_owned();
                wrong.replace_range(place..=place, &digit.to_string());
                assert_eq!(CardNumber::parse(&wrong).is_ok(), wrong == good, "{wrong}");
            }
        }
    }

    #[test]
    fn a_card_is_good_to_the_end_of_its_last_month() {
        assert!(card("4242424242424242", 2031, 6, "123").check(TODAY).is_ok());
        assert_eq!(card("4242424242424242", 2031, 5, "123").check(TODAY).map(|_| ()), Err(CardError::Expired));
        assert_eq!(card("4242424242424242", 2031, 13, "123").check(TODAY).map(|_| ()), Err(CardError::InvalidExpiry));
    }

    #[test]
    fn a_moment_is_in_its_month() {
        for (seconds, year, month) in
            [(0, 1970, 1), (951_782_399, 2000, 2), (951_782_400 + 86_400, 2000, 3), (1_735_689_599, 2024, 12), (1_735_689_600, 2025, 1)]
        {
            assert_eq!(Expiry::at(seconds * 1000), Expiry { year, month }, "{seconds}");
        }
    }

    #[test]
    fn a_security_code_has_the_length_of_its_brand() {
        assert_eq!(card("4242424242424242", 2032, 1, "1234").check(TODAY).map(|_| ()), Err(CardError::InvalidCvc));
        assert_eq!(card("4242424242424242", 2032, 1, "12a").check(TODAY).map(|_| ()), Err(CardError::InvalidCvc));
        assert!(card("378282246310005", 2032, 1, "1234").check(TODAY).is_ok());
    }

    #[test]
    fn a_secret_is_never_printed() {
        let card = card("4242424242424242", 2032, 1, "987");
        let number = CardNumber::parse("4242424242424242");
        let printed = format!("{card:?} {card:#?} {number:?}");
        assert!(!printed.contains("42") && !printed.contains("987"), "{printed}");
        let error = serde_json::from_str::<NewCard>(r#"{"number":4242424242424242,"expiry":{"year":2032,"month":1},"cvc":"987"}"#).unwrap_err();
        assert!(!error.to_string().contains("4242"), "{error}");
    }
}
