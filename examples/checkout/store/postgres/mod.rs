//! A book in a PostgreSQL database, for several servers at once.
//!
//! Each server writes in groups, as the embedded store does: a group is one transaction, so its sync is shared. It begins by
//! locking one row, which puts the groups of all servers in one order: what is read after that lock cannot change before the
//! commit, and events are numbered in the order in which they can be seen. That a key and an order are there once is
//! also held by primary keys.
//!
//! `session.rs` is a connection, `groups.rs` what is written. Nothing here gives up: a lost connection is made anew. What was
//! being committed when it was lost is not known.

mod groups;
pub mod session;

use std::collections::BTreeMap;

use rpc::async_trait;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_postgres::types::Json;
use tokio_postgres::{Error, IsolationLevel, Row};

use self::groups::{Job, write_groups};
use self::session::{Link, Parameters};
use super::{Committed, Store, StoreError};
use crate::api::Event;
use crate::card::Secret;
use crate::domain::audit::Book;
use crate::domain::charge::Charge;
use crate::domain::ledger::Account;
use crate::domain::record::{KEY_LIFE, KeyRecord};
use crate::domain::{Change, Millis};
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::money::Currency;
use crate::vault::{Card, Vault};

/// Servers that start together make the tables one after the other.
const SCHEMA: &str = r#"
begin;
select pg_advisory_xact_lock(7203301);
create table if not exists checkout_keys (
    key text primary key, answered boolean not null, begun_at bigint not null, record jsonb not null);
create table if not exists checkout_charges (
    "order" text collate "C" primary key, version bigint not null, due bigint, charge jsonb not null);
create index if not exists checkout_due_charges on checkout_charges (due) where due is not null;
create table if not exists checkout_cards (token text primary key, card jsonb not null);
create table if not exists checkout_entries (number bigint primary key, entry jsonb not null);
create table if not exists checkout_balances (
    currency text not null, account text not null, minor numeric not null, primary key (currency, account));
create table if not exists checkout_events (sequence bigint primary key, event jsonb not null);
create table if not exists checkout_vault (one boolean primary key default true check (one), key bytea not null);
create table if not exists checkout_counters (
    one boolean primary key default true check (one), entries bigint not null, events bigint not null);
insert into checkout_counters (entries, events) values (0, 0) on conflict do nothing;
commit;
"#;

pub struct PostgresStore {
    link: Link,
    jobs: mpsc::UnboundedSender<Job>,
    news: watch::Receiver<u64>,
    vault_key: Secret<Vec<u8>>,
}

impl PostgresStore {
    /// Makes the tables if they are not there.
    ///
    /// # Errors
    /// When the database is not reached, or does not let us.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let link = Link::to(url)?;
        let session = link.session().await?;
        session.batch(SCHEMA).await?;
        let key = Vault::new_key().map_err(StoreError::of)?;
        session.execute("insert into checkout_vault (key) values ($1) on conflict do nothing", &[key.reveal()]).await?;
        let vault_key = Secret::new(session.query_one("select key from checkout_vault", &[]).await?.get(0));
        let last: i64 = session.query_one("select events from checkout_counters", &[]).await?.get(0);
        let (jobs, queue) = mpsc::unbounded_channel();
        let (tell, news) = watch::channel(unsigned(last));
        tokio::spawn(write_groups(Link::to(url)?, queue, tell));
        Ok(Self { link, jobs, news, vault_key })
    }

    async fn all<T>(&self, query: &'static str, parameters: Parameters<'_>, read: fn(&Row) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
        self.link.session().await?.query(query, parameters).await?.iter().map(read).collect()
    }

    async fn one<T: DeserializeOwned>(&self, query: &'static str, name: &str) -> Result<Option<T>, StoreError> {
        self.link.session().await?.query_opt(query, &[&name]).await?.as_ref().map(json).transpose()
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, change: Change) -> Result<Committed, StoreError> {
        let (done, answer) = oneshot::channel();
        let stopped = || StoreError("the task that writes the book has stopped".into());
        self.jobs.send(Job { change, done }).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    async fn key(&self, key: &IdempotencyKey) -> Result<Option<KeyRecord>, StoreError> {
        self.one("select record from checkout_keys where key = $1", key.as_str()).await
    }

    async fn charge(&self, order: &OrderId) -> Result<Option<Charge>, StoreError> {
        self.one(r#"select charge from checkout_charges where "order" = $1"#, order.as_str()).await
    }

    async fn card(&self, token: &CardToken) -> Result<Option<Card>, StoreError> {
        self.one("select card from checkout_cards where token = $1", token.as_str()).await
    }

    async fn charges(&self, after: Option<&OrderId>, limit: usize) -> Result<Vec<Charge>, StoreError> {
        let (after, limit) = (after.map_or("", OrderId::as_str), i64::try_from(limit).map_err(StoreError::of)?);
        self.all(r#"select charge from checkout_charges where "order" > $1 order by "order" limit $2"#, &[&after, &limit], json).await
    }

    async fn due_charges(&self, now: Millis) -> Result<Vec<Result<Charge, StoreError>>, StoreError> {
        let read = |row: &Row| Ok(json(row).map_err(|error| StoreError::about(row.get(1), error)));
        self.all(r#"select charge, "order" from checkout_charges where due <= $1"#, &[&signed(now)?], read).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).map_err(StoreError::of)?);
        self.all("select event from checkout_events where sequence > $1 order by sequence limit $2", &[&after, &limit], json).await
    }

    async fn last_event(&self) -> Result<u64, StoreError> {
        Ok(unsigned(self.link.session().await?.query_one("select events from checkout_counters", &[]).await?.get(0)))
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }

    async fn failure(&self) -> StoreError {
        std::future::pending().await
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn vault_key(&self) -> Secret<Vec<u8>> {
        self.vault_key.clone()
    }

    async fn forget_keys(&self, now: Millis) -> Result<u64, StoreError> {
        let before = signed(now.saturating_sub(KEY_LIFE))?;
        Ok(self.link.session().await?.execute("delete from checkout_keys where answered and begun_at < $1", &[&before]).await?)
    }

    async fn book(&self) -> Result<Book, StoreError> {
        // A connection of its own: one moment for all tables.
        let mut client = self.link.connect().await?;
        let moment = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
        let mut book = Book {
            charges: rows(&moment.query(r#"select charge from checkout_charges order by "order""#, &[]).await?)?,
            keys: rows(&moment.query("select record from checkout_keys order by key", &[]).await?)?,
            entries: rows(&moment.query("select entry from checkout_entries order by number", &[]).await?)?,
            balances: BTreeMap::new(),
            events: rows(&moment.query("select event from checkout_events order by sequence", &[]).await?)?,
        };
        for row in moment.query("select currency, account, minor::text from checkout_balances", &[]).await? {
            let currency: Currency = row.get::<_, String>(0).parse().map_err(StoreError::of)?;
            let account: Account = serde_json::from_str(row.get(1)).map_err(StoreError::of)?;
            book.balances.insert((currency, account), row.get::<_, String>(2).parse().map_err(StoreError::of)?);
        }
        moment.commit().await?;
        Ok(book)
    }
}

fn rows<T: DeserializeOwned>(rows: &[Row]) -> Result<Vec<T>, StoreError> {
    rows.iter().map(json).collect()
}

/// The first column.
pub fn json<T: DeserializeOwned>(row: &Row) -> Result<T, StoreError> {
    let value: Json<serde_json::Value> = row.try_get(0)?;
    serde_json::from_value(value.0).map_err(StoreError::of)
}

fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(StoreError::of)
}

/// Numbers that we have written, and none of them is negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        // The text of a database's error is its source.
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Self(format!("{error}{}", cause.unwrap_or_default()))
    }
}
