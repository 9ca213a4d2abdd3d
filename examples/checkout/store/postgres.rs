//! A book in a PostgreSQL database, for several servers at once.
//!
//! Each server writes in groups, as the embedded store does: a group is one transaction, so its sync is shared. It begins by
//! locking one row, which puts the groups of all servers in one order: what is read after that lock cannot change before the
//! commit, and events are numbered in the order in which they can be seen. That a key and an order are there once is
//! also held by primary keys.
//!
//! Nothing here gives up: a lost connection is made anew. What was being committed when it was lost is not known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rpc::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Client, Config, Error, IsolationLevel, NoTls, Row, Statement};

use super::{Committed, Store, StoreError, fits, numbered};
use crate::api::Event;
use crate::card::Secret;
use crate::domain::audit::Book;
use crate::domain::charge::Charge;
use crate::domain::ledger::{Account, Entry};
use crate::domain::record::{KEY_LIFE, KeyChange, KeyRecord};
use crate::domain::{Change, Millis};
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::money::Currency;
use crate::vault::{Card, Vault};

/// The most changes in one transaction.
const GROUP: usize = 512;

/// Servers that start together make the tables one after the other.
const SCHEMA: &str = r#"
begin;
select pg_advisory_xact_lock(7203301);
create table if not exists checkout_keys (
    key text primary key, answered boolean not null, begun_at bigint not null, record jsonb not null);
create table if not exists checkout_charges (
    "order" text collate "C" primary key, version bigint not null, open boolean not null, charge jsonb not null);
create index if not exists checkout_open_charges on checkout_charges ("order") where open;
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

struct Job {
    change: Change,
    done: oneshot::Sender<Result<Committed, StoreError>>,
}

/// One connection, made anew when it was lost.
pub struct Link {
    config: Config,
    session: Mutex<Option<Arc<Session>>>,
}

/// A connection, and the statements that were prepared on it.
pub struct Session {
    client: Client,
    prepared: Mutex<HashMap<&'static str, Statement>>,
}

type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Session {
    async fn prepared(&self, text: &'static str) -> Result<Statement, Error> {
        let known = locked(&self.prepared).get(text).cloned();
        match known {
            Some(statement) => Ok(statement),
            None => {
                let statement = self.client.prepare(text).await?;
                locked(&self.prepared).insert(text, statement.clone());
                Ok(statement)
            }
        }
    }

    pub async fn query(&self, text: &'static str, parameters: Parameters<'_>) -> Result<Vec<Row>, Error> {
        self.client.query(&self.prepared(text).await?, parameters).await
    }

    pub async fn query_opt(&self, text: &'static str, parameters: Parameters<'_>) -> Result<Option<Row>, Error> {
        self.client.query_opt(&self.prepared(text).await?, parameters).await
    }

    pub async fn query_one(&self, text: &'static str, parameters: Parameters<'_>) -> Result<Row, Error> {
        self.client.query_one(&self.prepared(text).await?, parameters).await
    }

    pub async fn execute(&self, text: &'static str, parameters: Parameters<'_>) -> Result<u64, Error> {
        self.client.execute(&self.prepared(text).await?, parameters).await
    }

    /// Several statements without parameters.
    pub async fn batch(&self, text: &str) -> Result<(), Error> {
        self.client.batch_execute(text).await
    }
}

/// Nothing panics under these locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// # Errors
    /// When the URL is none.
    pub fn to(url: &str) -> Result<Self, StoreError> {
        // The URL may hold a password: it is never repeated.
        let config = Config::from_str(url).map_err(|error| StoreError(format!("--store is no URL of a database: {error}")))?;
        Ok(Self { config, session: Mutex::new(None) })
    }

    pub async fn session(&self) -> Result<Arc<Session>, StoreError> {
        let known = locked(&self.session).clone();
        if let Some(session) = known.filter(|session| !session.client.is_closed()) {
            return Ok(session);
        }
        let (client, connection) = self.config.connect(NoTls).await?;
        // Its error is also that of every call on it.
        tokio::spawn(async move { drop(connection.await) });
        client.batch_execute("set synchronous_commit = on").await?;
        let session = Arc::new(Session { client, prepared: Mutex::default() });
        *locked(&self.session) = Some(session.clone());
        Ok(session)
    }
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

/// Until the store is dropped.
async fn write_groups(link: Link, mut queue: mpsc::UnboundedReceiver<Job>, news: watch::Sender<u64>) {
    while let Some(first) = queue.recv().await {
        let (mut changes, mut callers) = (vec![first.change], vec![first.done]);
        while changes.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            changes.push(job.change);
            callers.push(job.done);
        }
        match write(&link, &changes).await {
            Ok((committed, last)) => {
                // A caller that is gone needs no answer.
                callers.into_iter().zip(committed).for_each(|(caller, committed)| drop(caller.send(Ok(committed))));
                news.send_if_modified(|known| std::mem::replace(known, last) != last);
            }
            Err(error) => {
                tracing::error!(%error, "a group of changes was not written");
                callers.into_iter().for_each(|caller| drop(caller.send(Err(error.clone()))));
            }
        }
    }
}

/// The rows that a group touches: as they were, and as they are to be.
#[derive(Default)]
struct Rows {
    keys: HashMap<String, KeyRecord>,
    versions: HashMap<String, u64>,
    new_keys: HashMap<String, Option<KeyRecord>>,
    new_charges: HashMap<String, Charge>,
    cards: Vec<Card>,
    entries: Vec<Entry>,
    events: Vec<Event>,
    balances: BTreeMap<(Currency, Account), i128>,
}

impl Rows {
    fn apply(&mut self, change: &Change, last_event: &mut u64) -> Committed {
        let name = change.key.as_ref().map(|change| change.key().as_str());
        let key = name.and_then(|name| match self.new_keys.get(name) {
            Some(new) => new.as_ref(),
            None => self.keys.get(name),
        });
        let version = change.charge.as_ref().and_then(|charge| self.versions.get(charge.order.as_str()).copied());
        if !fits(change, key, version) {
            return Committed::Stale;
        }
        match &change.key {
            Some(KeyChange::Insert(record) | KeyChange::Update(record)) => {
                self.new_keys.insert(record.key.to_string(), Some(record.clone()));
            }
            Some(KeyChange::Release(key)) => drop(self.new_keys.insert(key.to_string(), None)),
            None => {}
        }
        if let Some(charge) = &change.charge {
            self.versions.insert(charge.order.to_string(), charge.version);
            self.new_charges.insert(charge.order.to_string(), charge.clone());
        }
        self.cards.extend(change.card.clone());
        for entry in &change.entries {
            for (account, minor) in &entry.lines {
                *self.balances.entry((entry.currency, *account)).or_default() += i128::from(*minor);
            }
            self.entries.push(entry.clone());
        }
        for event in &change.events {
            *last_event += 1;
            self.events.push(numbered(event, *last_event));
        }
        Committed::Written
    }
}

async fn write(link: &Link, changes: &[Change]) -> Result<(Vec<Committed>, u64), StoreError> {
    let session = link.session().await?;
    session.batch("begin").await?;
    let written = write_between(&session, changes).await;
    match written {
        Ok(written) => {
            // Returns once the database has it on disk.
            session.batch("commit").await?;
            Ok(written)
        }
        Err(error) => {
            // Or it is lost with its connection.
            session.batch("rollback").await.ok();
            Err(error)
        }
    }
}

async fn write_between(session: &Session, changes: &[Change]) -> Result<(Vec<Committed>, u64), StoreError> {
    let counters = session.query_one("select entries, events from checkout_counters for update", &[]).await?;
    let (mut last_entry, mut last_event) = (counters.get::<_, i64>(0), unsigned(counters.get(1)));
    let names: HashSet<&str> = changes.iter().filter_map(|change| change.key.as_ref()).map(|change| change.key().as_str()).collect();
    let orders: HashSet<&str> = changes.iter().filter_map(|change| change.charge.as_ref()).map(|charge| charge.order.as_str()).collect();
    let (names, orders): (Vec<_>, Vec<_>) = (names.into_iter().collect(), orders.into_iter().collect());
    let mut rows = Rows::default();
    let (names, orders): ([&(dyn ToSql + Sync); 1], [&(dyn ToSql + Sync); 1]) = ([&names], [&orders]);
    let (keys, versions) = tokio::try_join!(
        session.query("select record, key from checkout_keys where key = any($1)", &names),
        session.query(r#"select version, "order" from checkout_charges where "order" = any($1)"#, &orders),
    )?;
    for row in &keys {
        rows.keys.insert(row.get(1), json(row)?);
    }
    for row in &versions {
        rows.versions.insert(row.get(1), unsigned(row.get(0)));
    }
    let committed = changes.iter().map(|change| rows.apply(change, &mut last_event)).collect();
    write_rows(session, rows, &mut last_entry).await?;
    let last = signed(last_event)?;
    session.execute("update checkout_counters set entries = $1, events = $2", &[&last_entry, &last]).await?;
    Ok((committed, last_event))
}

async fn write_rows(session: &Session, rows: Rows, last_entry: &mut i64) -> Result<(), StoreError> {
    let (mut inserted, mut updated, mut released) = (Columns::default(), Columns::default(), Vec::new());
    for (name, new) in rows.new_keys {
        let was_there = rows.keys.contains_key(&name);
        match new {
            Some(record) if was_there => updated.key(name, &record)?,
            Some(record) => inserted.key(name, &record)?,
            None => released.push(name),
        }
    }
    // No `on conflict`: a key that is there twice must fail.
    inserted.run(session, "insert into checkout_keys select * from unnest($1::text[], $2::boolean[], $3::bigint[], $4::jsonb[])").await?;
    updated
        .run(
            session,
            "update checkout_keys as kept set answered = new.answered, begun_at = new.begun_at, record = new.record \
             from unnest($1::text[], $2::boolean[], $3::bigint[], $4::jsonb[]) as new (key, answered, begun_at, record) \
             where kept.key = new.key",
        )
        .await?;
    if !released.is_empty() {
        session.execute("delete from checkout_keys where key = any($1)", &[&released]).await?;
    }
    let mut charges = Columns::default();
    for (order, charge) in rows.new_charges {
        charges.add(order, charge.is_open(), signed(charge.version)?, &charge);
    }
    charges
        .run(
            session,
            r#"insert into checkout_charges ("order", open, version, charge)
               select * from unnest($1::text[], $2::boolean[], $3::bigint[], $4::jsonb[])
               on conflict ("order") do update set version = excluded.version, open = excluded.open, charge = excluded.charge"#,
        )
        .await?;
    for card in &rows.cards {
        session.execute("insert into checkout_cards (token, card) values ($1, $2)", &[&card.token.as_str(), &Json(card)]).await?;
    }
    if !rows.entries.is_empty() {
        let numbers: Vec<i64> = (*last_entry + 1..).take(rows.entries.len()).collect();
        *last_entry = numbers.last().copied().unwrap_or(*last_entry);
        let entries: Vec<Json<&Entry>> = rows.entries.iter().map(Json).collect();
        session.execute("insert into checkout_entries select * from unnest($1::bigint[], $2::jsonb[])", &[&numbers, &entries]).await?;
    }
    if !rows.events.is_empty() {
        let sequences = rows.events.iter().map(|event| signed(event.sequence)).collect::<Result<Vec<_>, _>>()?;
        let events: Vec<Json<&Event>> = rows.events.iter().map(Json).collect();
        session.execute("insert into checkout_events select * from unnest($1::bigint[], $2::jsonb[])", &[&sequences, &events]).await?;
    }
    for ((currency, account), minor) in rows.balances {
        let account = serde_json::to_string(&account).map_err(StoreError::of)?;
        let add = "insert into checkout_balances as kept values ($1, $2, $3::text::numeric) \
                   on conflict (currency, account) do update set minor = kept.minor + excluded.minor";
        session.execute(add, &[&currency.code(), &account, &minor.to_string()]).await?;
    }
    Ok(())
}

/// Many rows of a name, a flag, a number and a value, for one statement.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
    flags: Vec<bool>,
    numbers: Vec<i64>,
    values: Vec<Json<serde_json::Value>>,
}

impl Columns {
    fn key(&mut self, name: String, record: &KeyRecord) -> Result<(), StoreError> {
        self.add(name, record.answer.is_some(), signed(record.begun_at)?, record);
        Ok(())
    }

    fn add(&mut self, name: String, flag: bool, number: i64, value: &impl Serialize) {
        self.names.push(name);
        self.flags.push(flag);
        self.numbers.push(number);
        self.values.push(Json(serde_json::json!(value)));
    }

    async fn run(&self, session: &Session, statement: &'static str) -> Result<(), StoreError> {
        if !self.names.is_empty() {
            session.execute(statement, &[&self.names, &self.flags, &self.numbers, &self.values]).await?;
        }
        Ok(())
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

    async fn open_charges(&self) -> Result<Vec<Charge>, StoreError> {
        self.all(r#"select charge from checkout_charges where open order by "order""#, &[], json).await
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
        let (mut client, connection) = self.link.config.connect(NoTls).await?;
        tokio::spawn(async move { drop(connection.await) });
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
