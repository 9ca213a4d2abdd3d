//! A connection to the database and the statements that were prepared on it; a lost one is made anew.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, NoTls, Row, Statement};

use crate::store::StoreError;

/// How long a database may take until a new session can be used.
const CONNECT_PATIENCE: Duration = Duration::from_secs(8);

/// After how long without a sign of life a connection is lost. What was asked on it fails then, instead of waiting for ever.
const SILENCE: Duration = Duration::from_secs(15);

/// A statement that runs for longer is given up by the database itself, in milliseconds. Longer than anybody here waits.
const STATEMENT_TIMEOUT: &str = "set statement_timeout = 30000";

/// One connection, made anew when it was lost.
pub struct Link {
    config: Config,
    /// What a new session is told first.
    setup: &'static str,
    patience: Duration,
    session: Mutex<Option<Arc<Session>>>,
}

/// A connection, and the statements that were prepared on it.
pub struct Session {
    client: Client,
    prepared: Mutex<HashMap<&'static str, Statement>>,
}

pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

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
        let mut config = Config::from_str(url).map_err(|error| StoreError(format!("--store is no URL of a database: {error}")))?;
        config.tcp_user_timeout(SILENCE).keepalives_idle(SILENCE / 3).keepalives_interval(SILENCE / 3).keepalives_retries(2);
        Ok(Self { config, setup: "set synchronous_commit = on", patience: CONNECT_PATIENCE, session: Mutex::new(None) })
    }

    #[cfg(test)]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Commits are answered before they are on disk.
    pub fn without_waiting_for_the_disk(self) -> Self {
        Self { setup: "set synchronous_commit = off", ..self }
    }

    /// A connection of one's own.
    ///
    /// # Errors
    /// When the database is not reached, or does not answer.
    pub async fn connect(&self) -> Result<Client, StoreError> {
        self.in_time(self.client()).await
    }

    async fn client(&self) -> Result<Client, Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        // Its error is also that of every call on it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(client)
    }

    /// The connection that all share.
    ///
    /// # Errors
    /// When it was lost and the database is not reached, or does not answer.
    pub async fn session(&self) -> Result<Arc<Session>, StoreError> {
        let known = locked(&self.session).clone();
        if let Some(session) = known.filter(|session| !session.client.is_closed()) {
            return Ok(session);
        }
        let client = self.in_time(async {
            let client = self.client().await?;
            client.batch_execute(self.setup).await?;
            client.batch_execute(STATEMENT_TIMEOUT).await?;
            Ok(client)
        });
        let client = client.await?;
        let session = Arc::new(Session { client, prepared: Mutex::default() });
        *locked(&self.session) = Some(session.clone());
        Ok(session)
    }

    /// The driver's own limit ends once TCP is connected, and a database that hangs is connected to all the same.
    async fn in_time(&self, connected: impl Future<Output = Result<Client, Error>>) -> Result<Client, StoreError> {
        let connected = tokio::time::timeout(self.patience, connected).await;
        Ok(connected.map_err(|_| StoreError(format!("the database has no session for us within {:?}", self.patience)))??)
    }
}
