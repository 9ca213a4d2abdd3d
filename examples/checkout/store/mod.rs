//! The book on disk, behind one small trait. What is written is decided in `domain/`; a store only keeps it, whole or not at
//! all, and says so once it is durable.
//!
//! | | |
//! |---|---|
//! | `memory.rs` | forgets when the process ends: tests, and a server without `--data` |
//! | `embedded.rs`, `writer.rs` | one file (redb), one server; commits are grouped on one thread |
//! | `postgres.rs` | a database that several servers share |

pub mod embedded;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
mod writer;

use std::fmt;

use rpc::async_trait;
use tokio::sync::watch;

use crate::api::Event;
use crate::card::Secret;
#[cfg(any(test, feature = "postgres"))]
use crate::domain::audit::Book;
use crate::domain::charge::Charge;
use crate::domain::record::KeyRecord;
use crate::domain::{Change, Millis, NewEvent};
use crate::key::{CardToken, IdempotencyKey, OrderId};
use crate::vault::Card;

/// Keeps the book.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes this, if the book still stands as it was when the change was decided. Durable when it returns.
    ///
    /// # Errors
    /// Nobody knows then whether it was written. An embedded store takes no further changes: see [`failure`](Self::failure).
    ///
    /// # Cancellation
    /// The change may be written or not.
    async fn commit(&self, change: Change) -> Result<Committed, StoreError>;

    async fn key(&self, key: &IdempotencyKey) -> Result<Option<KeyRecord>, StoreError>;

    async fn charge(&self, order: &OrderId) -> Result<Option<Charge>, StoreError>;

    async fn card(&self, token: &CardToken) -> Result<Option<Card>, StoreError>;

    /// In the order of their names, after this one.
    async fn charges(&self, after: Option<&OrderId>, limit: usize) -> Result<Vec<Charge>, StoreError>;

    /// Payments that are [due](Charge::due) by now. One that cannot be read hides no other: its error names its order.
    async fn due_charges(&self, now: Millis) -> Result<Vec<Result<Charge, StoreError>>, StoreError>;

    /// After this sequence, in order.
    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// The sequence of the last event; 0 before there is one.
    async fn last_event(&self) -> Result<u64, StoreError>;

    /// Changes when there are new events. A hint: other servers may have written some that it does not tell of.
    fn news(&self) -> watch::Receiver<u64>;

    /// Ready once the book can no longer be used, and only a new start can say what it holds.
    async fn failure(&self) -> StoreError;

    /// Whether other servers may write to the same book.
    fn is_shared(&self) -> bool;

    /// The vault's key, made when the book was.
    fn vault_key(&self) -> Secret<Vec<u8>>;

    /// Forgets keys that were answered long ago.
    async fn forget_keys(&self, now: Millis) -> Result<u64, StoreError>;

    /// All of it, as it stood at one moment.
    #[cfg(any(test, feature = "postgres"))]
    async fn book(&self) -> Result<Book, StoreError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Written,
    /// Somebody else was faster: nothing was written. Look again and decide anew.
    Stale,
}

/// The book cannot be read or written.
#[derive(Clone, Debug)]
pub struct StoreError(pub String);

/// Whether a change may be written where this is what stands.
fn fits(change: &Change, key: Option<&KeyRecord>, version: Option<u64>) -> bool {
    let key_fits = change.key.as_ref().is_none_or(|change| change.fits(key));
    let charge_fits = change.charge.as_ref().is_none_or(|charge| charge.version == version.unwrap_or_default() + 1);
    key_fits && charge_fits
}

fn numbered(event: &NewEvent, sequence: u64) -> Event {
    let NewEvent { kind, order, key, amount, decline, at } = event.clone();
    Event { sequence, id: format!("evt_{sequence}"), kind, order, key, amount, decline, at }
}

impl StoreError {
    /// What is wrong with the payment of this order.
    fn about(order: &str, error: impl fmt::Display) -> Self {
        Self(format!("order {order:?}: {error}"))
    }

    fn of(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}
