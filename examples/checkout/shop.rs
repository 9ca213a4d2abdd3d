//! The server's side: prices, the issuer (simulated, by card number), and payments by key.
//!
//! Payments live in memory: keys and charges are forgotten when the process ends. A shop that must not forget needs a
//! store that is on disk before it answers.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::OnceCell;

use crate::api::{CardNumber, Checkout, Currency, Decline, IdempotencyKey, Item, Money, PayError, QuoteError, Receipt, Status};

const PRICES: [(&str, u64); 3] = [("tea", 450), ("pot", 3640), ("cup", 990)];

/// A shop that keeps its payments in memory.
#[derive(Default)]
pub struct Shop {
    payments: Mutex<HashMap<IdempotencyKey, Arc<Payment>>>,
    /// Keyed anew in every process: a card is compared, and never kept.
    fingerprints: RandomState,
    charges: Mutex<Vec<Money>>,
}

/// What a key stands for, and its one outcome.
struct Payment {
    fingerprint: u64,
    outcome: OnceCell<Result<Receipt, Decline>>,
}

impl Shop {
    /// Every charge so far.
    pub fn charges(&self) -> Vec<Money> {
        lock(&self.charges).clone()
    }

    fn payment(&self, key: &IdempotencyKey) -> Option<Arc<Payment>> {
        lock(&self.payments).get(key).cloned()
    }

    /// The payment of this key, begun by whoever comes first.
    fn begin(&self, key: IdempotencyKey, fingerprint: u64) -> Arc<Payment> {
        lock(&self.payments).entry(key).or_insert_with(|| Arc::new(Payment { fingerprint, outcome: OnceCell::new() })).clone()
    }

    fn charge(&self, order: String, amount: Money, card: &CardNumber) -> Receipt {
        let mut charges = lock(&self.charges);
        charges.push(amount);
        Receipt { id: format!("ch_{}", charges.len()), order, captured: amount, last_four: card.last_four().to_owned() }
    }
}

impl Checkout for Shop {
    async fn quote(&self, items: Vec<Item>) -> Result<Money, QuoteError> {
        let mut total = 0u64;
        for Item { sku, quantity } in items {
            let price = PRICES.iter().find(|(known, _)| *known == sku);
            let Some((_, price)) = price else { return Err(QuoteError::UnknownSku(sku)) };
            let sum = price.checked_mul(u64::from(quantity)).and_then(|price| total.checked_add(price));
            total = sum.ok_or(QuoteError::TooMuch)?;
        }
        Ok(Money { minor: total, currency: Currency::Eur })
    }

    async fn pay(&self, key: IdempotencyKey, order: String, amount: Money, card: CardNumber) -> Result<Receipt, PayError> {
        if amount.minor == 0 {
            return Err(PayError::ZeroAmount);
        }
        let fingerprint = self.fingerprints.hash_one((&order, amount, &card));
        let payment = self.begin(key, fingerprint);
        if payment.fingerprint != fingerprint {
            return Err(PayError::Conflict);
        }
        // Callers with one key wait for the first of them, and all get its answer.
        let authorize_and_capture = || async {
            issuer(&card).await?;
            let receipt = self.charge(order, amount, &card);
            tracing::info!(charge = receipt.id, order = receipt.order, %amount, "captured");
            Ok(receipt)
        };
        payment.outcome.get_or_init(authorize_and_capture).await.clone().map_err(PayError::Declined)
    }

    async fn status(&self, key: &IdempotencyKey) -> Status {
        match self.payment(key).map(|payment| payment.outcome.get().cloned()) {
            None => Status::Unknown,
            Some(None) => Status::Pending,
            Some(Some(Ok(receipt))) => Status::Captured(receipt),
            Some(Some(Err(decline))) => Status::Declined(decline),
        }
    }
}

/// The card network: the number decides.
async fn issuer(card: &CardNumber) -> Result<(), Decline> {
    match card.reveal() {
        "4000000000000002" => Err(Decline::GenericDecline),
        "4000000000009995" => Err(Decline::InsufficientFunds),
        _ => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}
