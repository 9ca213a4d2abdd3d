//! Which keys are being worked on in this process. The first call with a key gets its turn; the others wait until it is over
//! and then read the answer in the book. A turn is over when its guard is dropped, a panic included.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::key::IdempotencyKey;

#[derive(Clone, Default)]
pub struct Turns {
    /// The receiver of a key's turn sees its sender go.
    turns: Arc<Mutex<HashMap<IdempotencyKey, watch::Receiver<()>>>>,
}

pub enum Turn {
    Mine(Guard),
    /// Somebody else's.
    Theirs(Over),
}

/// The turn lasts as long as this.
pub struct Guard {
    turns: Turns,
    key: IdempotencyKey,
    /// Dropped after the key was taken off the list.
    _ends: watch::Sender<()>,
}

/// Ready when somebody's turn is over.
pub struct Over(watch::Receiver<()>);

impl Turns {
    pub fn enter(&self, key: &IdempotencyKey) -> Turn {
        let mut turns = self.lock();
        if let Some(turn) = turns.get(key) {
            return Turn::Theirs(Over(turn.clone()));
        }
        let (ends, turn) = watch::channel(());
        turns.insert(key.clone(), turn);
        Turn::Mine(Guard { turns: self.clone(), key: key.clone(), _ends: ends })
    }

    /// Whether somebody has this key's turn.
    pub fn is_taken(&self, key: &IdempotencyKey) -> bool {
        self.lock().contains_key(key)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IdempotencyKey, watch::Receiver<()>>> {
        // Nothing panics under this lock.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Over {
    pub async fn wait(mut self) {
        // Nothing is ever sent: it ends with the sender.
        while self.0.changed().await.is_ok() {}
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first_however_it_ends() {
        let turns = Turns::default();
        let key: IdempotencyKey = "k".parse().expect("a key");
        let Turn::Mine(first) = turns.enter(&key) else { panic!("nobody else is there") };
        let Turn::Theirs(over) = turns.enter(&key) else { panic!("the turn is taken") };
        let failed = tokio::spawn(async move {
            let _turn = first;
            std::panic::resume_unwind(Box::new(()));
        });
        over.wait().await;
        assert!(failed.await.is_err());
        assert!(matches!(turns.enter(&key), Turn::Mine(_)));
    }
}
