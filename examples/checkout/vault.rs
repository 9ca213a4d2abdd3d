//! What becomes of a card's number: a token to name it, a keyed hash to compare it, the network's own token to charge it.
//!
//! The number itself is stored nowhere, and the security code not even hashed. The hash is keyed because card numbers are few
//! enough to be tried out one by one; its key is made when the book is opened first, and kept there. A shop that runs this
//! for money keeps that key in hardware, apart from the book.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::api::Unavailable;
use crate::card::{Brand, CardNumber, Secret};
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::network::NetworkToken;

/// A card as the book has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    pub token: CardToken,
    pub brand: Brand,
    pub last_four: String,
    /// Equal for equal numbers: what tells whether two tokens are one card.
    pub fingerprint: String,
    pub network: NetworkToken,
}

/// Makes tokens and fingerprints.
#[derive(Debug)]
pub struct Vault {
    key: Secret<Vec<u8>>,
}

impl Vault {
    pub fn new(key: Secret<Vec<u8>>) -> Self {
        Self { key }
    }

    /// A key for a vault that has none.
    pub fn new_key() -> Result<Secret<Vec<u8>>, getrandom::Error> {
        let mut key = vec![0; 32];
        getrandom::fill(&mut key)?;
        Ok(Secret::new(key))
    }

    /// Everything about a card that may be kept.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn seal(&self, number: &CardNumber, network: NetworkToken) -> Result<Card, Unavailable> {
        let (token, fingerprint) = (new_token()?, self.keyed_hash(number.reveal())?);
        Ok(Card { token, brand: number.brand(), last_four: number.last_four().to_owned(), fingerprint, network })
    }

    fn keyed_hash(&self, number: &str) -> Result<String, Unavailable> {
        let mut hash = <Hmac<Sha256> as KeyInit>::new_from_slice(self.key.reveal()).map_err(|_| Unavailable)?;
        hash.update(number.as_bytes());
        Ok(hex(&hash.finalize().into_bytes()))
    }
}

/// A text that is always the same for these parts, and for no others.
pub fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// An identifier that follows from a call and the version of the payment that it makes: whoever makes it, it is the same one. The
/// key alone would not do: once it is forgotten it may stand for another call.
pub fn identifier(kind: &str, key: &IdempotencyKey, order: &OrderId, version: u64) -> String {
    let mut text = hash(&[kind, key.as_str(), order.as_str(), &version.to_string()]);
    text.truncate(24);
    format!("{kind}_{text}")
}

fn new_token() -> Result<CardToken, Unavailable> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| Unavailable)?;
    CardToken::try_from(format!("tok_{}", hex(&random))).map_err(|_| Unavailable)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(vault: &Vault, number: &str) -> Card {
        let number = CardNumber::parse(number).expect("a good number");
        vault.seal(&number, NetworkToken::of(&number)).expect("random bytes")
    }

    #[test]
    fn two_tokens_of_one_card_have_one_fingerprint_and_another_vault_has_another() {
        let (vault, other) = (Vault::new(Secret::new(vec![1; 32])), Vault::new(Secret::new(vec![2; 32])));
        let (a, b) = (seal(&vault, "4242424242424242"), seal(&vault, "4242 4242 4242 4242"));
        assert_ne!(a.token, b.token);
        assert_eq!(a.fingerprint, b.fingerprint);
        assert_ne!(a.fingerprint, seal(&vault, "4000000000000002").fingerprint);
        assert_ne!(a.fingerprint, seal(&other, "4242424242424242").fingerprint);
    }

    #[test]
    fn nothing_that_is_kept_holds_the_number() {
        let card = seal(&Vault::new(Secret::new(vec![1; 32])), "4242424242424242");
        let kept = serde_json::to_string(&card).expect("a card is JSON");
        assert!(!kept.contains("42424242"), "{kept}");
    }
}
