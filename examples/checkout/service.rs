//! The contract's methods, each a line or two: what they mean is in `desk.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use rpc::Stream;
use tokio::sync::watch;

use crate::api::{Checkout, Event, Item, Operation, PayError, Payment, QuoteError, Receipt, Refund, SavedCard, Status, TokenizeError, Unavailable};
use crate::card::{NewCard, Secret};
use crate::desk::{Desk, unreadable};
use crate::domain::charge::Charge;
use crate::domain::record::{Answer, Done};
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::money::{Currency, Money};

const PRICES: [(&str, u64); 3] = [("tea", 450), ("pot", 3640), ("cup", 990)];

/// The most payments that one `list` gives, and the most events that are read at once.
const PAGE: usize = 1000;

/// How often a shared book is looked at for events that other replicas have written.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub struct Counter {
    desk: Arc<Desk>,
    /// True once the server drains.
    closing: watch::Receiver<bool>,
}

impl Counter {
    pub fn new(desk: Arc<Desk>, closing: watch::Receiver<bool>) -> Self {
        Self { desk, closing }
    }
}

impl Checkout for Counter {
    async fn quote(&self, items: Vec<Item>) -> Result<Money, QuoteError> {
        let mut total = Money::zero(Currency::Eur);
        for Item { sku, quantity } in items {
            let price = PRICES.iter().find(|(known, _)| *known == sku);
            let Some((_, price)) = price else { return Err(QuoteError::UnknownSku(sku)) };
            let price = price.checked_mul(u64::from(quantity)).ok_or(QuoteError::TooMuch)?;
            total = total.checked_add(Money::new(price, Currency::Eur)).map_err(|_| QuoteError::TooMuch)?;
        }
        Ok(total)
    }

    async fn tokenize(&self, card: NewCard) -> Result<SavedCard, TokenizeError> {
        let card = self.desk.save(&card).await?;
        Ok(SavedCard { token: card.token, brand: card.brand, last_four: card.last_four })
    }

    async fn pay(&self, key: IdempotencyKey, order: OrderId, amount: Money, card: CardToken) -> Result<Receipt, PayError> {
        receipt(self.desk.authorize(Operation::Pay, key, order, amount, &card).await)
    }

    async fn authorize(&self, key: IdempotencyKey, order: OrderId, amount: Money, card: CardToken) -> Result<Payment, PayError> {
        payment(self.desk.authorize(Operation::Authorize, key, order, amount, &card).await)
    }

    async fn confirm_challenge(&self, key: IdempotencyKey, order: OrderId, code: Secret<String>) -> Result<Payment, PayError> {
        payment(self.desk.confirm(key, order, &code).await)
    }

    async fn capture(&self, key: IdempotencyKey, order: OrderId, amount: Money) -> Result<Payment, PayError> {
        payment(self.desk.capture(key, order, amount).await)
    }

    async fn void(&self, key: IdempotencyKey, order: OrderId) -> Result<Payment, PayError> {
        payment(self.desk.void(key, order).await)
    }

    async fn refund(&self, key: IdempotencyKey, order: OrderId, amount: Money) -> Result<Refund, PayError> {
        match self.desk.refund(key, order, amount).await? {
            Done::Refund(refund) => Ok(refund),
            // A key's fingerprint holds its method: this is no refund's.
            Done::Receipt(_) | Done::Payment(_) => Err(PayError::Conflict),
        }
    }

    async fn status(&self, key: &IdempotencyKey) -> Result<Status, Unavailable> {
        // Before the book is read: a call that ends in between has written what is found there.
        let begun = self.desk.turns.is_taken(key);
        let record = self.desk.store.key(key).await.map_err(|error| unreadable(&error))?;
        Ok(match record {
            Some(record) => record.status(),
            None if begun => Status::Pending,
            None => Status::NotFound,
        })
    }

    async fn get(&self, order: &OrderId) -> Result<Option<Payment>, Unavailable> {
        let charge = self.desk.store.charge(order).await.map_err(|error| unreadable(&error))?;
        Ok(charge.as_ref().map(Charge::payment))
    }

    async fn list(&self, after: Option<OrderId>, limit: u32) -> Result<Vec<Payment>, Unavailable> {
        let limit = usize::try_from(limit).unwrap_or(PAGE).min(PAGE);
        let charges = self.desk.store.charges(after.as_ref(), limit).await.map_err(|error| unreadable(&error))?;
        Ok(charges.iter().map(Charge::payment).collect())
    }

    async fn last_event(&self) -> Result<u64, Unavailable> {
        self.desk.store.last_event().await.map_err(|error| unreadable(&error))
    }

    fn events(&self, after: u64) -> impl Stream<Item = Event> {
        let news = self.desk.store.news();
        let reader = Reader { desk: &self.desk, after, read: VecDeque::new(), news, closing: self.closing.clone() };
        stream::unfold(reader, |mut reader| async move { Some((reader.next().await?, reader)) })
    }
}

/// Where one stream of events stands.
struct Reader<'a> {
    desk: &'a Desk,
    after: u64,
    read: VecDeque<Event>,
    news: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
}

impl Reader<'_> {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.read.pop_front() {
                self.after = event.sequence;
                return Some(event);
            }
            if *self.closing.borrow() {
                return None;
            }
            // Seen before the book is read: what is written from here on is news again.
            self.news.borrow_and_update();
            match self.desk.store.events(self.after, PAGE).await {
                Ok(events) if events.is_empty() => self.wait().await?,
                Ok(events) => self.read = events.into(),
                Err(error) => {
                    // An event has no way to say so; the contract lets nobody take an end for the last of the events.
                    tracing::error!(%error, after = self.after, "an event stream ends early: the book cannot be read");
                    return None;
                }
            }
        }
    }

    async fn wait(&mut self) -> Option<()> {
        let shared = self.desk.store.is_shared();
        tokio::select! {
            news = self.news.changed() => news.ok(),
            () = tokio::time::sleep(LOOK_AGAIN), if shared => Some(()),
            closing = self.closing.changed() => closing.ok(),
        }
    }
}

fn receipt(answer: Answer) -> Result<Receipt, PayError> {
    match answer? {
        Done::Receipt(receipt) => Ok(receipt),
        Done::Payment(_) | Done::Refund(_) => Err(PayError::Conflict),
    }
}

fn payment(answer: Answer) -> Result<Payment, PayError> {
    match answer? {
        Done::Payment(payment) => Ok(payment),
        Done::Receipt(_) | Done::Refund(_) => Err(PayError::Conflict),
    }
}
