//! The proof that the books balance: entries against themselves, against the payments, against the running balances, and
//! payments against keys and events. It believes nothing that it can add up again.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::charge::Charge;
use super::ledger::{Account, Entry};
use super::record::{Done, KEY_LIFE, KeyRecord};
use crate::api::{Event, EventKind, PaymentState};
use crate::key::{IdempotencyKey, OrderId};
use crate::money::Currency;

/// Everything that is in a book, as it stood at one moment.
#[derive(Debug, Default)]
pub struct Book {
    pub charges: Vec<Charge>,
    pub keys: Vec<KeyRecord>,
    pub entries: Vec<Entry>,
    /// As the store keeps them, entry by entry.
    pub balances: BTreeMap<(Currency, Account), i128>,
    pub events: Vec<Event>,
}

/// A charge, as `audit` prints it: amounts in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChargeLine {
    pub key: IdempotencyKey,
    pub order: OrderId,
    pub state: PaymentState,
    pub authorized: u64,
    pub captured: u64,
    pub refunded: u64,
    pub currency: Currency,
}

/// What came of an audit.
#[derive(Debug, Default)]
pub struct Report {
    /// What was held, taken or is not known yet. A declined payment is no charge.
    pub charges: Vec<ChargeLine>,
    /// Why the books do not balance; empty if they do.
    pub faults: Vec<String>,
}

pub fn audit(book: &Book) -> Report {
    let mut faults = Vec::new();
    entries_balance(book, &mut faults);
    balances_add_up(book, &mut faults);
    charges_agree_with_their_entries(book, &mut faults);
    keys_agree_with_their_charges(book, &mut faults);
    events_are_complete(book, &mut faults);
    let is_charge = |charge: &&Charge| charge.authorized.minor > 0 || charge.state == PaymentState::Processing;
    Report { charges: book.charges.iter().filter(is_charge).map(line).collect(), faults }
}

fn line(charge: &Charge) -> ChargeLine {
    ChargeLine {
        key: charge.key.clone(),
        order: charge.order.clone(),
        state: charge.state,
        authorized: charge.authorized.minor,
        captured: charge.captured.minor,
        refunded: charge.refunded.minor,
        currency: charge.amount.currency,
    }
}

fn entries_balance(book: &Book, faults: &mut Vec<String>) {
    for entry in book.entries.iter().filter(|entry| entry.sum() != 0) {
        faults.push(format!("an entry of order {} is off by {} {}", entry.order, entry.sum(), entry.currency));
    }
}

fn balances_add_up(book: &Book, faults: &mut Vec<String>) {
    let mut sums: BTreeMap<(Currency, Account), i128> = BTreeMap::new();
    for entry in &book.entries {
        for (account, minor) in &entry.lines {
            *sums.entry((entry.currency, *account)).or_default() += i128::from(*minor);
        }
    }
    let keys: HashSet<_> = sums.keys().chain(book.balances.keys()).copied().collect();
    for key in keys {
        let (sum, kept) = (sums.get(&key).copied().unwrap_or_default(), book.balances.get(&key).copied().unwrap_or_default());
        if sum != kept {
            faults.push(format!("the balance of {:?} in {} is kept as {kept}, its entries add up to {sum}", key.1, key.0));
        }
    }
}

/// The amounts of a payment follow from its entries, and its state from its amounts.
fn charges_agree_with_their_entries(book: &Book, faults: &mut Vec<String>) {
    let mut sums: HashMap<(&OrderId, Currency, Account), i128> = HashMap::new();
    for entry in &book.entries {
        for (account, minor) in &entry.lines {
            *sums.entry((&entry.order, entry.currency, *account)).or_default() += i128::from(*minor);
        }
    }
    for charge in &book.charges {
        let mut sum = |account| sums.remove(&(&charge.order, charge.amount.currency, account)).unwrap_or_default();
        let (held, cardholders) = (sum(Account::Held), sum(Account::Cardholders));
        let (receivable, sales, refunds) = (sum(Account::Receivable), sum(Account::Sales), sum(Account::Refunds));
        let amounts = [charge.authorized, charge.captured, charge.refunded].map(|amount| i128::from(amount.minor));
        let [authorized, captured, refunded] = amounts;
        let holds = if charge.state == PaymentState::Authorized { authorized } else { 0 };
        let agrees = held == holds
            && cardholders == -holds
            && sales == -captured
            && refunds == refunded
            && receivable == captured - refunded
            && refunded <= captured
            && captured <= authorized
            && (captured > 0) == (charge.state == PaymentState::Captured);
        if !agrees {
            faults.push(format!(
                "order {} is {} with {authorized} authorized, {captured} captured, {refunded} refunded; its entries say \
                 {held} held, {} sold, {refunds} refunded, {receivable} receivable",
                charge.order, charge.state, -sales
            ));
        }
    }
    // What is left belongs to no payment, or to another currency than its own.
    for ((order, currency, account), minor) in sums.into_iter().filter(|(_, minor)| *minor != 0) {
        faults.push(format!("{minor} {currency} of {account:?} belong to order {order}, whose payment does not know of them"));
    }
}

/// Every captured payment has one key, and what the key was answered is what the payment says.
fn keys_agree_with_their_charges(book: &Book, faults: &mut Vec<String>) {
    let keys: HashMap<&IdempotencyKey, &KeyRecord> = book.keys.iter().map(|record| (&record.key, record)).collect();
    // A key that has had its time is gone, and may have been used for another order since.
    let in_one_life = |earlier: u64, later: u64| later <= earlier.saturating_add(KEY_LIFE);
    let mut in_time: Vec<&Charge> = book.charges.iter().collect();
    in_time.sort_by_key(|charge| charge.asked_at);
    let mut owners: HashMap<&IdempotencyKey, &Charge> = HashMap::new();
    for charge in in_time {
        if let Some(other) = owners.insert(&charge.key, charge)
            && in_one_life(other.asked_at, charge.asked_at)
        {
            faults.push(format!("orders {} and {} have one key", other.order, charge.order));
        }
        let Some(record) = keys.get(&charge.key) else { continue };
        if record.order != charge.order {
            if in_one_life(charge.asked_at, record.begun_at) {
                faults.push(format!("the key of order {} belongs to order {}", charge.order, record.order));
            }
            continue;
        }
        if let Some(Ok(Done::Receipt(receipt))) = &record.answer
            && receipt.captured != charge.captured
        {
            faults.push(format!("order {} has a receipt for {}, and {} captured", charge.order, receipt.captured, charge.captured));
        }
    }
    let charges: HashMap<&OrderId, &Charge> = book.charges.iter().map(|charge| (&charge.order, charge)).collect();
    for record in &book.keys {
        let charge = charges.get(&record.order);
        let runs = charge.is_some_and(|charge| charge.running.as_ref().is_some_and(|running| running.key == record.key));
        if record.answer.is_none() != runs {
            faults.push(format!("a key of order {} and its payment differ on whether it still runs", record.order));
        }
        if matches!(&record.answer, Some(Ok(Done::Receipt(_)))) && charge.is_none_or(|charge| charge.key != record.key) {
            faults.push(format!("a receipt was given for order {}, which knows nothing of it", record.order));
        }
    }
}

fn events_are_complete(book: &Book, faults: &mut Vec<String>) {
    for (expected, event) in (1..).zip(&book.events) {
        if event.sequence != expected {
            faults.push(format!("event {expected} is missing"));
            return;
        }
    }
    let mut captures: HashMap<&OrderId, u64> = HashMap::new();
    for event in book.events.iter().filter(|event| event.kind == EventKind::Captured) {
        *captures.entry(&event.order).or_default() += 1;
    }
    for charge in &book.charges {
        let told = captures.get(&charge.order).copied().unwrap_or_default();
        if told != u64::from(charge.captured.minor > 0) {
            faults.push(format!("order {} was told to be captured {told} times", charge.order));
        }
    }
}
