//! Changes in groups: one transaction for all that wait, in one order with the groups of all other servers.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_postgres::types::{Json, ToSql};

use super::session::{Link, Session};
use super::{json, signed, unsigned};
use crate::api::Event;
use crate::domain::Change;
use crate::domain::charge::Charge;
use crate::domain::ledger::{Account, Entry};
use crate::domain::record::{KeyChange, KeyRecord};
use crate::money::Currency;
use crate::store::{Committed, StoreError, fits, numbered};
use crate::vault::Card;

/// The most changes in one transaction.
const GROUP: usize = 512;

pub struct Job {
    pub change: Change,
    pub done: oneshot::Sender<Result<Committed, StoreError>>,
}

/// Until the store is dropped.
pub async fn write_groups(link: Link, mut queue: mpsc::UnboundedReceiver<Job>, news: watch::Sender<u64>) {
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
    match write_between(&session, changes).await {
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
    // What is joined leaves together, in this order, and is answered in it: one round trip.
    let ((), counters) =
        tokio::try_join!(session.batch("begin"), session.query_one("select entries, events from checkout_counters for update", &[]),)?;
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
            Some(record) if was_there => updated.add(name, record)?,
            Some(record) => inserted.add(name, record)?,
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
    write_charges(session, rows.new_charges).await?;
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

async fn write_charges(session: &Session, new: HashMap<String, Charge>) -> Result<(), StoreError> {
    if new.is_empty() {
        return Ok(());
    }
    let (mut orders, mut versions, mut dues, mut charges) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (order, charge) in &new {
        orders.push(order);
        versions.push(signed(charge.version)?);
        dues.push(charge.due().map(signed).transpose()?);
        charges.push(Json(charge));
    }
    let write = r#"insert into checkout_charges ("order", version, due, charge)
                   select * from unnest($1::text[], $2::bigint[], $3::bigint[], $4::jsonb[])
                   on conflict ("order") do update set version = excluded.version, due = excluded.due, charge = excluded.charge"#;
    session.execute(write, &[&orders, &versions, &dues, &charges]).await?;
    Ok(())
}

/// Keys, column by column, for one statement.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
    answered: Vec<bool>,
    begun_at: Vec<i64>,
    records: Vec<Json<KeyRecord>>,
}

impl Columns {
    fn add(&mut self, name: String, record: KeyRecord) -> Result<(), StoreError> {
        self.names.push(name);
        self.answered.push(record.answer.is_some());
        self.begun_at.push(signed(record.begun_at)?);
        self.records.push(Json(record));
        Ok(())
    }

    async fn run(&self, session: &Session, statement: &'static str) -> Result<(), StoreError> {
        if !self.names.is_empty() {
            session.execute(statement, &[&self.names, &self.answered, &self.begun_at, &self.records]).await?;
        }
        Ok(())
    }
}
