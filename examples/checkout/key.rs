//! Names that callers choose or are given: of a call that moves money, of an order, of a card.
//!
//! Each is checked when it is decoded: a handler never sees one that is empty or endless, or has control characters.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$attribute:meta])* $name:ident, 1 to $most:literal, $what:literal) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                // A name stands in a log, where the end of a line would forge the next one; and not every database keeps a zero.
                if text.chars().take($most).any(char::is_control) {
                    return Err(concat!($what, " has no control characters"));
                }
                // Never more than four bytes a character: a long text is not counted.
                match text.len() {
                    1..=$most => Ok(Self(text)),
                    bytes if (1..=4 * $most).contains(&bytes) && text.chars().count() <= $most => Ok(Self(text)),
                    _ => Err(concat!($what, " has 1 to ", $most, " characters")),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.to_owned().try_into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Says which call this is, however often it is sent: 1 to 255 characters, chosen by the client, good for a week.
    IdempotencyKey, 1 to 255, "an idempotency key"
}
name! {
    /// What is paid for, as the shop calls it: 1 to 128 characters.
    OrderId, 1 to 128, "an order"
}
name! {
    /// Stands for a card. Two tokens may stand for one card.
    CardToken, 1 to 64, "a card's token"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_255_characters_whatever_their_bytes() {
        for (text, good) in [("", false), ("k", true), (&"k".repeat(255), true), (&"k".repeat(256), false), (&"ü".repeat(255), true)] {
            assert_eq!(text.parse::<IdempotencyKey>().is_ok(), good, "{} characters", text.chars().count());
        }
        assert!("😀".repeat(256).parse::<IdempotencyKey>().is_err());
    }

    #[test]
    fn a_name_forges_no_line_of_a_log() {
        let last = "k".repeat(254) + "\n";
        for text in ["a\nb", "\r", "a\0", "\u{1b}[31m", "a\u{85}b", &last] {
            assert!(text.parse::<IdempotencyKey>().is_err(), "{text:?}");
            assert!(text.parse::<OrderId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_not_decoded() {
        assert!(serde_json::from_str::<IdempotencyKey>("\"\"").is_err());
        assert!(serde_json::from_str::<IdempotencyKey>("\"a\"").is_ok());
    }
}
