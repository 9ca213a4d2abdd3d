//! The client's side: a checkout told on screen, and one payment for scripts.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rpc::{CallError, Client, Executed, Limits};
use serde_json::{Value, json};

use crate::api::{CardNumber, CheckoutClient, IdempotencyKey, Item, Money, PayError, Receipt};

pub const GOOD_CARD: &str = "4242424242424242";
const POOR_CARD: &str = "4000000000009995";

/// Calls remote methods as if they were local, and says what came of it.
pub async fn tell(shop: &CheckoutClient) -> Result<(), Box<dyn std::error::Error>> {
    let items = vec![Item { sku: "tea".into(), quantity: 3 }, Item { sku: "pot".into(), quantity: 1 }];

    let total = shop.quote(items.clone()).await?;
    step("quote", "3 tea, 1 pot", total);

    let key = new_key()?;
    let receipt = shop.pay(key.clone(), "order-1".into(), total, GOOD_CARD.parse()?).await?;
    step("pay", "card 4242", format_args!("captured, receipt {}", receipt.id));

    let again = shop.pay(key.clone(), "order-1".into(), total, GOOD_CARD.parse()?).await?;
    step("pay again", "the same key", if again == receipt { "the same receipt, nothing charged" } else { "ANOTHER RECEIPT" });

    let other = Money { minor: total.minor + 1, ..total };
    let conflict = shop.pay(key.clone(), "order-1".into(), other, GOOD_CARD.parse()?).await;
    step("pay again", "the same key, another amount", outcome(&conflict));

    // A decline is data: an enum to match, from the other process.
    let declined = shop.pay(new_key()?, "order-2".into(), total, POOR_CARD.parse()?).await;
    match declined {
        Err(CallError::Service(PayError::Declined(reason))) => {
            step("pay", "card 9995", format_args!("declined, {}: {}", reason.code(), reason.advice()));
        }
        other => step("pay", "card 9995", outcome(&other)),
    }

    // The same server, without its trait.
    let by_name: Value = shop.call("Checkout.quote", (&items,)).await?;
    step("by name", "Checkout.quote [..]", by_name);
    let unknown = shop.call::<Value>("Checkout.refund", (&receipt.id,)).await;
    if let Err(error) = unknown {
        step("by name", "Checkout.refund", format_args!("{}, executed: {}", error.kind(), error.executed()));
    }
    Ok(())
}

fn step(what: &str, with: &str, came: impl std::fmt::Display) {
    println!("  {what:<10} {with:<30} {came}");
}

fn outcome<T>(result: &Result<T, CallError<PayError>>) -> String {
    match result {
        Ok(_) => "captured".to_owned(),
        Err(error) => format!("refused: {error}"),
    }
}

/// A key that no earlier run has used.
fn new_key() -> Result<IdempotencyKey, Box<dyn std::error::Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    Ok(format!("story-{}-{now}", std::process::id()).parse()?)
}

/// One payment, from the command line.
pub struct Payment {
    pub key: IdempotencyKey,
    pub order: String,
    pub amount: Money,
    pub card: CardNumber,
    pub timeout: Option<Duration>,
}

/// Pays, prints one line of JSON, and gives the exit code: 0 captured, 1 refused, 2 unknown, 3 not sent.
pub async fn pay(address: &str, payment: Payment) -> u8 {
    let (outcome, receipt, reason, code) = match try_pay(address, payment).await {
        Ok(receipt) => ("captured", json!(receipt), json!(null), 0),
        Err(CallError::Service(PayError::Declined(decline))) => ("declined", json!(null), json!(decline.code()), 1),
        Err(CallError::Service(PayError::Conflict)) => ("conflict", json!(null), json!(PayError::Conflict.to_string()), 1),
        Err(CallError::Service(error)) => ("error", json!(null), json!(error.to_string()), 1),
        // "Unknown" is not "failed": the key asks again without a second charge.
        Err(CallError::Rpc(error)) => match error.executed() {
            Executed::No => ("not_sent", json!(null), json!(error.to_string()), 3),
            Executed::Maybe | Executed::Yes => ("unknown", json!(null), json!(error.to_string()), 2),
        },
    };
    println!("{}", json!({ "outcome": outcome, "receipt": receipt, "reason": reason }));
    code
}

async fn try_pay(address: &str, payment: Payment) -> Result<Receipt, CallError<PayError>> {
    let Payment { key, order, amount, card, timeout } = payment;
    let began = Instant::now();
    let shop: CheckoutClient = match timeout {
        None => Client::connect(address).await?,
        Some(timeout) => {
            let mut limits = Limits::default();
            limits.connect_timeout = limits.connect_timeout.min(timeout);
            Client::options().limits(limits).connect(address).await?
        }
    }
    .into();
    let call = shop.pay(key, order, amount, card);
    let receipt = match timeout {
        None => call.await,
        Some(timeout) => call.timeout(timeout.saturating_sub(began.elapsed())).await,
    };
    if receipt.as_ref().map_or_else(CallError::executed, |_| Executed::Yes) == Executed::Yes {
        shop.close().await;
    }
    receipt
}
