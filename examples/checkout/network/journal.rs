//! What the simulated network remembers: in memory, in a file beside the book, or in a table for several replicas.
//!
//! It stands for another company's computers: it shares no transaction with our book, on purpose. A line of the file is
//! written before the answer leaves, so that a killed process forgets nothing that it has told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rpc::async_trait;

use super::{Answer, Hold, Reference};

/// Why the network has no answer.
#[derive(Debug)]
pub struct JournalError(pub String);

/// References and what was answered to them.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Records this, unless the reference is known; gives what stands.
    async fn record(&self, hold: Hold) -> Result<Hold, JournalError>;

    /// Another answer, if what stands is one of these; gives what stands then.
    async fn change(&self, reference: &Reference, from: &[Answer], to: Answer) -> Result<Option<Hold>, JournalError>;

    async fn find(&self, reference: &Reference) -> Result<Option<Hold>, JournalError>;

    /// Everything that is held or waits for a challenge.
    async fn holds(&self) -> Result<Vec<Hold>, JournalError>;
}

/// In memory, and in a file if there is one.
#[derive(Default)]
pub struct Local {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    holds: HashMap<Reference, Hold>,
    file: Option<File>,
}

impl Local {
    /// Reads the file, or begins it. The last line, if the process was killed while it wrote it, was told to nobody.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        let mut holds = HashMap::new();
        for line in text.get(..whole).unwrap_or_default().lines() {
            let hold: Hold = serde_json::from_str(line).map_err(|error| JournalError(format!("{}: {error}", path.display())))?;
            holds.insert(hold.reference.clone(), hold);
        }
        Ok(Self { inner: Mutex::new(Inner { holds, file: Some(file) }) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics under this lock; if it did, the map would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, hold: &Hold) -> Result<(), JournalError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut line = serde_json::to_vec(hold).map_err(|error| JournalError(error.to_string()))?;
        line.push(b'\n');
        let before = file.metadata()?.len();
        if let Err(error) = file.write_all(&line) {
            // Half a line would be taken for damage by the next start.
            file.set_len(before)?;
            return Err(error.into());
        }
        Ok(())
    }
}

#[async_trait]
impl Journal for Local {
    async fn record(&self, hold: Hold) -> Result<Hold, JournalError> {
        let mut inner = self.lock();
        if let Some(known) = inner.holds.get(&hold.reference) {
            return Ok(known.clone());
        }
        inner.write(&hold)?;
        inner.holds.insert(hold.reference.clone(), hold.clone());
        Ok(hold)
    }

    async fn change(&self, reference: &Reference, from: &[Answer], to: Answer) -> Result<Option<Hold>, JournalError> {
        let mut inner = self.lock();
        let Entry::Occupied(known) = inner.holds.entry(reference.clone()) else { return Ok(None) };
        let mut hold = known.get().clone();
        if from.contains(&hold.answer) {
            hold.answer = to;
            inner.write(&hold)?;
            inner.holds.insert(reference.clone(), hold.clone());
        }
        Ok(Some(hold))
    }

    async fn find(&self, reference: &Reference) -> Result<Option<Hold>, JournalError> {
        Ok(self.lock().holds.get(reference).cloned())
    }

    async fn holds(&self) -> Result<Vec<Hold>, JournalError> {
        let holds = self.lock();
        Ok(holds.holds.values().filter(|hold| matches!(hold.answer, Answer::Approved | Answer::Challenge)).cloned().collect())
    }
}

/// For several desks in one process.
#[cfg(test)]
#[async_trait]
impl<J: Journal> Journal for std::sync::Arc<J> {
    async fn record(&self, hold: Hold) -> Result<Hold, JournalError> {
        (**self).record(hold).await
    }

    async fn change(&self, reference: &Reference, from: &[Answer], to: Answer) -> Result<Option<Hold>, JournalError> {
        (**self).change(reference, from, to).await
    }

    async fn find(&self, reference: &Reference) -> Result<Option<Hold>, JournalError> {
        (**self).find(reference).await
    }

    async fn holds(&self) -> Result<Vec<Hold>, JournalError> {
        (**self).holds().await
    }
}

impl From<std::io::Error> for JournalError {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl std::fmt::Display for JournalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JournalError {}
