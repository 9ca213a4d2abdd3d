//! What the simulated network remembers, for several servers: a table. It stands in the same database, and shares no
//! connection and no transaction with the book.

use rpc::async_trait;
use tokio_postgres::types::Json;

use super::journal::{Journal, JournalError};
use super::{Answer, Hold, Reference};
use crate::store::StoreError;
use crate::store::postgres::json;
use crate::store::postgres::session::Link;

const SCHEMA: &str = "
begin;
select pg_advisory_xact_lock(7203302);
create table if not exists card_network (reference text primary key, answer jsonb not null, hold jsonb not null);
commit;
";

pub struct SharedJournal {
    link: Link,
}

impl SharedJournal {
    /// # Errors
    /// When the database is not reached, or does not let us.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        // A server of ours that is killed loses nothing of it. What it loses when the database is, is not our durability.
        let link = Link::to(url)?.without_waiting_for_the_disk();
        link.session().await?.batch(SCHEMA).await?;
        Ok(Self { link })
    }
}

#[async_trait]
impl Journal for SharedJournal {
    async fn record(&self, hold: Hold) -> Result<Hold, JournalError> {
        let session = self.link.session().await?;
        // The update changes nothing: it lets the row that stands be returned.
        let add = "insert into card_network as known values ($1, $2, $3) \
                   on conflict (reference) do update set reference = known.reference returning hold";
        Ok(json(&session.query_one(add, &[&hold.reference.as_str(), &Json(hold.answer), &Json(&hold)]).await?)?)
    }

    async fn change(&self, reference: &Reference, from: &[Answer], to: Answer) -> Result<Option<Hold>, JournalError> {
        let session = self.link.session().await?;
        let from: Vec<_> = from.iter().map(Json).collect();
        let change = "update card_network set answer = $1, hold = jsonb_set(hold, '{answer}', $1) where reference = $2 and answer = any($3)";
        session.execute(change, &[&Json(to), &reference.as_str(), &from]).await?;
        self.find(reference).await
    }

    async fn find(&self, reference: &Reference) -> Result<Option<Hold>, JournalError> {
        let session = self.link.session().await?;
        let row = session.query_opt("select hold from card_network where reference = $1", &[&reference.as_str()]).await?;
        Ok(row.as_ref().map(json).transpose()?)
    }

    async fn holds(&self) -> Result<Vec<Hold>, JournalError> {
        let session = self.link.session().await?;
        let open = [Json(Answer::Approved), Json(Answer::Challenge)].to_vec();
        let rows = session.query("select hold from card_network where answer = any($1)", &[&open]).await?;
        Ok(rows.iter().map(json).collect::<Result<_, _>>()?)
    }
}

impl From<StoreError> for JournalError {
    fn from(error: StoreError) -> Self {
        Self(error.0)
    }
}

impl From<tokio_postgres::Error> for JournalError {
    fn from(error: tokio_postgres::Error) -> Self {
        StoreError::from(error).into()
    }
}
