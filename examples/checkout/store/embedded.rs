//! A book in one file, by redb. One server writes it; `audit` reads beside it.
//!
//! Every commit is in two phases: the new pages are synced before the header that points at them, so a crash at any write
//! leaves the last commit. At open every page's checksum is verified, and the state of a killed server repaired.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{
    Builder, ConcurrencyMode, Database, DatabaseError, Error, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use rpc::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::writer::{WriteGroup, Writer};
use super::{Committed, Store, StoreError, fits, numbered};
use crate::api::Event;
use crate::card::Secret;
use crate::domain::audit::Book;
use crate::domain::charge::Charge;
use crate::domain::ledger::Account;
use crate::domain::record::{KeyChange, KeyRecord};
use crate::domain::{Change, Millis};
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::money::Currency;
use crate::vault::{Card, Vault};

/// Values are JSON: a book outlives the program that wrote it.
type Json = &'static [u8];

const KEYS: TableDefinition<'_, &str, Json> = TableDefinition::new("keys");
const CHARGES: TableDefinition<'_, &str, Json> = TableDefinition::new("charges");
/// When a charge is due, and its order: a start and a sweep look at no others.
const DUE: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("due");
const CARDS: TableDefinition<'_, &str, Json> = TableDefinition::new("cards");
const ENTRIES: TableDefinition<'_, u64, Json> = TableDefinition::new("entries");
/// By currency and account.
const BALANCES: TableDefinition<'_, (&str, &str), i128> = TableDefinition::new("balances");
const EVENTS: TableDefinition<'_, u64, Json> = TableDefinition::new("events");
const META: TableDefinition<'_, &str, Json> = TableDefinition::new("meta");

const VAULT_KEY: &str = "vault key";
const FORMAT: &str = "format";
const THIS_FORMAT: &[u8] = b"1";

/// Memory that redb may use for pages.
const CACHE: usize = 64 << 20;

pub struct EmbeddedStore {
    database: Arc<Database>,
    writer: Writer,
    vault_key: Secret<Vec<u8>>,
}

impl EmbeddedStore {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When another server has it open, when it is damaged, or when it is something else. The message names the file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::with(path, || builder().create(path))
    }

    /// As [`open`](Self::open), on anything that can keep bytes. Nobody can read beside it.
    #[cfg(test)]
    pub fn on(backend: impl redb::StorageBackend) -> Result<Self, StoreError> {
        let name = Path::new("a test's backend");
        Self::with(name, || builder().set_concurrency_mode(ConcurrencyMode::ExclusiveWriter).create_with_backend(backend))
    }

    fn with(path: &Path, open: impl FnOnce() -> Result<Database, DatabaseError>) -> Result<Self, StoreError> {
        let named = |error: &dyn std::fmt::Display| StoreError(format!("{}: {error}", path.display()));
        let begin = || -> Result<Self, Error> {
            let database = Arc::new(open()?);
            let (vault_key, last_event) = prepare(&database)?;
            let writer = Writer::start(Group(database.clone()), last_event).map_err(|error| Error::Corrupted(error.to_string()))?;
            Ok(Self { database, writer, vault_key })
        };
        unpanicking(begin).unwrap_or_else(|| Err(Error::Corrupted("its pages contradict each other".into()))).map_err(|error| match error {
            Error::DatabaseAlreadyOpen => named(&"another server has it open"),
            Error::Corrupted(what) => named(&format_args!("the file is damaged: {what}")),
            Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => named(&"the file is damaged, or not a book"),
            other => named(&other),
        })
    }

    fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, Error>) -> Result<T, StoreError> {
        let read = || read(&self.database.begin_read()?);
        Ok(read()?)
    }
}

/// Reads the book at this path, beside a server or without one.
///
/// # Errors
/// When there is none, or when it is damaged.
pub fn read_book(path: &Path) -> Result<Book, StoreError> {
    let named = |error: &dyn std::fmt::Display| StoreError(format!("{}: {error}", path.display()));
    // A server that starts or stops meanwhile lets the next attempt find another state; a large book takes a while to open.
    for _ in 0..1500 {
        let read_only = unpanicking(|| match builder().open_read_only(path) {
            Ok(database) => book(&database.begin_read()?).map(Some),
            Err(DatabaseError::RepairAborted | DatabaseError::DatabaseAlreadyOpen) => Ok(None),
            Err(error) => Err(error.into()),
        });
        let attempt = match read_only {
            // A server was killed, and none has started since: what it would do first is done here.
            Some(Ok(None)) => unpanicking(|| match builder().open(path) {
                Ok(database) => book(&database.begin_read()?).map(Some),
                Err(DatabaseError::DatabaseAlreadyOpen) => Ok(None),
                Err(error) => Err(error.into()),
            }),
            other => other,
        };
        match attempt {
            Some(Ok(Some(book))) => return Ok(book),
            Some(Ok(None)) => std::thread::sleep(std::time::Duration::from_millis(20)),
            Some(Err(error)) => return Err(named(&error)),
            None => return Err(named(&"the file is damaged")),
        }
    }
    Err(named(&"a server is starting or stopping again and again"))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_concurrency_mode(ConcurrencyMode::SingleWriter).set_check_integrity_on_open(true).set_cache_size(CACHE);
    builder
}

/// `None` if it panics: with debug assertions, redb may where a damaged file contradicts itself.
fn unpanicking<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

/// Every table exists, and so does the vault's key. Gives it, and the last event's sequence.
fn prepare(database: &Database) -> Result<(Secret<Vec<u8>>, u64), Error> {
    let transaction = database.begin_write()?;
    let found = {
        let mut meta = transaction.open_table(META)?;
        let format = meta.get(FORMAT)?.map(|format| format.value().to_vec());
        match format {
            None => drop(meta.insert(FORMAT, THIS_FORMAT)?),
            Some(format) if format == THIS_FORMAT => {}
            Some(_) => return Err(Error::Corrupted("it was written by another version".into())),
        }
        let known = meta.get(VAULT_KEY)?.map(|key| Secret::new(key.value().to_vec()));
        let key = match known {
            Some(key) => key,
            None => {
                let key = Vault::new_key().map_err(|error| Error::Corrupted(error.to_string()))?;
                meta.insert(VAULT_KEY, key.reveal().as_slice())?;
                key
            }
        };
        transaction.open_table(KEYS)?;
        transaction.open_table(CHARGES)?;
        transaction.open_table(DUE)?;
        transaction.open_table(CARDS)?;
        transaction.open_table(ENTRIES)?;
        transaction.open_table(BALANCES)?;
        let events = transaction.open_table(EVENTS)?;
        let last = events.last()?.map_or(0, |(sequence, _)| sequence.value());
        (key, last)
    };
    transaction.commit()?;
    Ok(found)
}

struct Group(Arc<Database>);

impl WriteGroup for Group {
    fn write(&mut self, changes: &[Change]) -> Result<(Vec<Committed>, u64), StoreError> {
        let write = || -> Result<_, Error> {
            let transaction = self.0.begin_write()?;
            let written = write_all(&transaction, changes)?;
            // Returns once the disk has it.
            transaction.commit()?;
            Ok(written)
        };
        Ok(write()?)
    }
}

fn write_all(transaction: &WriteTransaction, changes: &[Change]) -> Result<(Vec<Committed>, u64), Error> {
    let mut keys = transaction.open_table(KEYS)?;
    let mut charges = transaction.open_table(CHARGES)?;
    let mut due = transaction.open_table(DUE)?;
    let mut cards = transaction.open_table(CARDS)?;
    let mut entries = transaction.open_table(ENTRIES)?;
    let mut balances = transaction.open_table(BALANCES)?;
    let mut events = transaction.open_table(EVENTS)?;
    let mut last_entry = entries.last()?.map_or(0, |(number, _)| number.value());
    let mut last_event = events.last()?.map_or(0, |(sequence, _)| sequence.value());
    let mut committed = Vec::with_capacity(changes.len());
    for change in changes {
        let key: Option<KeyRecord> = match &change.key {
            Some(change) => keys.get(change.key().as_str())?.map(|value| from_json(value.value())).transpose()?,
            None => None,
        };
        let before: Option<Charge> = match &change.charge {
            Some(charge) => charges.get(charge.order.as_str())?.map(|value| from_json(value.value())).transpose()?,
            None => None,
        };
        if !fits(change, key.as_ref(), before.as_ref().map(|charge| charge.version)) {
            committed.push(Committed::Stale);
            continue;
        }
        match &change.key {
            Some(KeyChange::Insert(record) | KeyChange::Update(record)) => {
                keys.insert(record.key.as_str(), json(record)?.as_slice())?;
            }
            Some(KeyChange::Release(key)) => drop(keys.remove(key.as_str())?),
            None => {}
        }
        if let Some(charge) = &change.charge {
            charges.insert(charge.order.as_str(), json(charge)?.as_slice())?;
            if let Some(at) = before.as_ref().and_then(Charge::due) {
                due.remove((at, charge.order.as_str()))?;
            }
            if let Some(at) = charge.due() {
                due.insert((at, charge.order.as_str()), ())?;
            }
        }
        if let Some(card) = &change.card {
            cards.insert(card.token.as_str(), json(card)?.as_slice())?;
        }
        for entry in &change.entries {
            last_entry += 1;
            entries.insert(last_entry, json(entry)?.as_slice())?;
            for (account, minor) in &entry.lines {
                let name = account_name(*account)?;
                let place = (entry.currency.code(), name.as_str());
                let before = balances.get(place)?.map_or(0, |balance| balance.value());
                let balance = before.checked_add(i128::from(*minor)).ok_or_else(|| Error::Corrupted("a balance is out of range".into()))?;
                balances.insert(place, balance)?;
            }
        }
        for event in &change.events {
            last_event += 1;
            events.insert(last_event, json(&numbered(event, last_event))?.as_slice())?;
        }
        committed.push(Committed::Written);
    }
    Ok((committed, last_event))
}

fn book(transaction: &ReadTransaction) -> Result<Book, Error> {
    let mut book = Book::default();
    for item in transaction.open_table(CHARGES)?.iter()? {
        book.charges.push(from_json(item?.1.value())?);
    }
    for item in transaction.open_table(KEYS)?.iter()? {
        book.keys.push(from_json(item?.1.value())?);
    }
    for item in transaction.open_table(ENTRIES)?.iter()? {
        book.entries.push(from_json(item?.1.value())?);
    }
    for item in transaction.open_table(EVENTS)?.iter()? {
        book.events.push(from_json(item?.1.value())?);
    }
    for item in transaction.open_table(BALANCES)?.iter()? {
        let (place, balance) = item?;
        let (currency, account) = place.value();
        let currency: Currency = currency.parse().map_err(|error: &str| Error::Corrupted(error.into()))?;
        let account: Account = from_json(format!("\"{account}\"").as_bytes())?;
        book.balances.insert((currency, account), balance.value());
    }
    Ok(book)
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn commit(&self, change: Change) -> Result<Committed, StoreError> {
        self.writer.commit(change).await
    }

    async fn key(&self, key: &IdempotencyKey) -> Result<Option<KeyRecord>, StoreError> {
        self.read(|book| book.open_table(KEYS)?.get(key.as_str())?.map(|value| from_json(value.value())).transpose())
    }

    async fn charge(&self, order: &OrderId) -> Result<Option<Charge>, StoreError> {
        self.read(|book| book.open_table(CHARGES)?.get(order.as_str())?.map(|value| from_json(value.value())).transpose())
    }

    async fn card(&self, token: &CardToken) -> Result<Option<Card>, StoreError> {
        self.read(|book| book.open_table(CARDS)?.get(token.as_str())?.map(|value| from_json(value.value())).transpose())
    }

    async fn charges(&self, after: Option<&OrderId>, limit: usize) -> Result<Vec<Charge>, StoreError> {
        self.read(|book| {
            let table = book.open_table(CHARGES)?;
            // No order's name is empty: all are after it.
            let after = after.map_or("", OrderId::as_str);
            let later = table.range(after..)?.filter(|item| item.as_ref().map_or(true, |(order, _)| order.value() != after));
            later.take(limit).map(|item| from_json(item?.1.value())).collect()
        })
    }

    async fn due_charges(&self, now: Millis) -> Result<Vec<Result<Charge, StoreError>>, StoreError> {
        self.read(|book| {
            let charges = book.open_table(CHARGES)?;
            let mut found = Vec::new();
            // No order's name is empty: what is due at this very moment comes before the next one.
            for item in book.open_table(DUE)?.range(..(now.saturating_add(1), ""))? {
                let item = item?;
                let (_, order) = item.0.value();
                if let Some(value) = charges.get(order)? {
                    found.push(from_json(value.value()).map_err(|error| StoreError::about(order, error)));
                }
            }
            Ok(found)
        })
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read(|book| {
            let later = book.open_table(EVENTS)?;
            let later = later.range(after.saturating_add(1)..)?;
            later.take(limit).map(|item| from_json(item?.1.value())).collect()
        })
    }

    async fn last_event(&self) -> Result<u64, StoreError> {
        self.read(|book| Ok(book.open_table(EVENTS)?.last()?.map_or(0, |(sequence, _)| sequence.value())))
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.writer.news()
    }

    async fn failure(&self) -> StoreError {
        self.writer.failure().await
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn vault_key(&self) -> Secret<Vec<u8>> {
        self.vault_key.clone()
    }

    async fn forget_keys(&self, now: Millis) -> Result<u64, StoreError> {
        let database = self.database.clone();
        let forget = move || -> Result<u64, Error> {
            let transaction = database.begin_write()?;
            let mut forgotten = 0;
            transaction.open_table(KEYS)?.retain(|_, value| {
                // What cannot be read is not forgotten.
                let expired = from_json::<KeyRecord>(value).is_ok_and(|record| record.has_expired(now));
                forgotten += u64::from(expired);
                !expired
            })?;
            transaction.commit()?;
            Ok(forgotten)
        };
        Ok(tokio::task::spawn_blocking(forget).await.map_err(StoreError::of)??)
    }

    #[cfg(any(test, feature = "postgres"))]
    async fn book(&self) -> Result<Book, StoreError> {
        self.read(book)
    }
}

fn account_name(account: Account) -> Result<String, Error> {
    let name = serde_json::to_string(&account).map_err(|error| Error::Corrupted(error.to_string()))?;
    Ok(name.trim_matches('"').to_owned())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Corrupted(error.to_string()))
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Corrupted(error.to_string()))
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        Self::of(error)
    }
}

/// Where a book is: for a server to write, and for an audit to read.
pub fn book_path(path: PathBuf) -> PathBuf {
    if path.is_dir() { path.join("checkout.redb") } else { path }
}
