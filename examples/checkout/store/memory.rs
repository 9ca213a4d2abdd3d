//! A book in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rpc::async_trait;
use tokio::sync::watch;

use super::{Committed, Store, StoreError, fits, numbered};
use crate::api::Event;
use crate::card::Secret;
#[cfg(any(test, feature = "postgres"))]
use crate::domain::audit::Book;
use crate::domain::charge::Charge;
use crate::domain::ledger::{Account, Entry};
use crate::domain::record::{KeyChange, KeyRecord};
use crate::domain::{Change, Millis};
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::money::Currency;
use crate::vault::{Card, Vault};

pub struct MemoryStore {
    pages: Mutex<Pages>,
    news: watch::Sender<u64>,
    vault_key: Secret<Vec<u8>>,
}

#[derive(Default)]
struct Pages {
    keys: HashMap<IdempotencyKey, KeyRecord>,
    charges: BTreeMap<OrderId, Charge>,
    cards: HashMap<CardToken, Card>,
    entries: Vec<Entry>,
    balances: BTreeMap<(Currency, Account), i128>,
    events: Vec<Event>,
}

impl MemoryStore {
    /// # Errors
    /// When the system has no random numbers for the vault's key.
    pub fn new() -> Result<Self, StoreError> {
        let vault_key = Vault::new_key().map_err(StoreError::of)?;
        Ok(Self { pages: Mutex::default(), news: watch::Sender::new(0), vault_key })
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // Nothing panics under this lock.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn write(&mut self, change: Change) -> Committed {
        let key = change.key.as_ref().and_then(|change| self.keys.get(change.key()));
        let version = change.charge.as_ref().and_then(|charge| self.charges.get(&charge.order)).map(|charge| charge.version);
        if !fits(&change, key, version) {
            return Committed::Stale;
        }
        let Change { charge, key, entries, events, card } = change;
        match key {
            Some(KeyChange::Insert(record) | KeyChange::Update(record)) => drop(self.keys.insert(record.key.clone(), record)),
            Some(KeyChange::Release(key)) => drop(self.keys.remove(&key)),
            None => {}
        }
        self.charges.extend(charge.map(|charge| (charge.order.clone(), charge)));
        self.cards.extend(card.map(|card| (card.token.clone(), card)));
        for entry in entries {
            for (account, minor) in &entry.lines {
                *self.balances.entry((entry.currency, *account)).or_default() += i128::from(*minor);
            }
            self.entries.push(entry);
        }
        for event in events {
            let sequence = self.events.len() as u64 + 1;
            self.events.push(numbered(&event, sequence));
        }
        Committed::Written
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, change: Change) -> Result<Committed, StoreError> {
        let (committed, last) = {
            let mut pages = self.pages();
            (pages.write(change), pages.events.len() as u64)
        };
        self.news.send_if_modified(|known| std::mem::replace(known, last.max(*known)) < last);
        Ok(committed)
    }

    async fn key(&self, key: &IdempotencyKey) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.pages().keys.get(key).cloned())
    }

    async fn charge(&self, order: &OrderId) -> Result<Option<Charge>, StoreError> {
        Ok(self.pages().charges.get(order).cloned())
    }

    async fn card(&self, token: &CardToken) -> Result<Option<Card>, StoreError> {
        Ok(self.pages().cards.get(token).cloned())
    }

    async fn charges(&self, after: Option<&OrderId>, limit: usize) -> Result<Vec<Charge>, StoreError> {
        let pages = self.pages();
        let later = pages.charges.iter().skip_while(|(order, _)| after.is_some_and(|after| *order <= after));
        Ok(later.take(limit).map(|(_, charge)| charge.clone()).collect())
    }

    async fn due_charges(&self, now: Millis) -> Result<Vec<Result<Charge, StoreError>>, StoreError> {
        Ok(self.pages().charges.values().filter(|charge| charge.due().is_some_and(|due| due <= now)).cloned().map(Ok).collect())
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let pages = self.pages();
        let from = usize::try_from(after).unwrap_or(usize::MAX).min(pages.events.len());
        Ok(pages.events.iter().skip(from).take(limit).cloned().collect())
    }

    async fn last_event(&self) -> Result<u64, StoreError> {
        Ok(self.pages().events.len() as u64)
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    async fn failure(&self) -> StoreError {
        std::future::pending().await
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn vault_key(&self) -> Secret<Vec<u8>> {
        self.vault_key.clone()
    }

    async fn forget_keys(&self, now: Millis) -> Result<u64, StoreError> {
        let keys = &mut self.pages().keys;
        let before = keys.len();
        keys.retain(|_, record| !record.has_expired(now));
        Ok((before - keys.len()) as u64)
    }

    #[cfg(any(test, feature = "postgres"))]
    async fn book(&self) -> Result<Book, StoreError> {
        let pages = self.pages();
        Ok(Book {
            charges: pages.charges.values().cloned().collect(),
            keys: pages.keys.values().cloned().collect(),
            entries: pages.entries.clone(),
            balances: pages.balances.clone(),
            events: pages.events.clone(),
        })
    }
}
