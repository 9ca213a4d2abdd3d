//! One thread that writes: it takes every change that waits, writes them with one commit, and answers after the disk has it.
//!
//! While a commit is being synced the next group gathers, so the more callers there are, the less a sync costs each of them.
//! After a failed commit nobody can say what the disk holds (a sync that is tried again may succeed without having written
//! anything): the writer takes nothing more, and the server stops. A new start looks.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::sync::{oneshot, watch};

use super::{Committed, StoreError};
use crate::domain::Change;

/// The most changes in one commit: what the first of them waits for is bounded.
const GROUP: usize = 512;

/// What can write a group of changes with one commit.
pub trait WriteGroup: Send + 'static {
    /// Writes those that fit, in this order, and gives the last sequence of an event in the book.
    ///
    /// # Errors
    /// When it is not certain that all of it is durable.
    fn write(&mut self, changes: &[Change]) -> Result<(Vec<Committed>, u64), StoreError>;
}

struct Job {
    change: Change,
    done: oneshot::Sender<Result<Committed, StoreError>>,
}

/// The way to the thread. When it is dropped, the thread ends, and lets go of the file.
pub struct Writer {
    /// `None` once it is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    news: watch::Sender<u64>,
    failed: watch::Receiver<Option<StoreError>>,
}

impl Writer {
    /// # Errors
    /// When the system starts no thread.
    pub fn start(write: impl WriteGroup, last_event: u64) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel();
        let news = watch::Sender::new(last_event);
        let told = news.clone();
        let (fail, failed) = watch::channel(None);
        let thread = thread::Builder::new().name("book".into()).spawn(move || run(write, &queue, &told, &fail)).map_err(StoreError::of)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), news, failed })
    }

    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub async fn failure(&self) -> StoreError {
        let mut failed = self.failed.clone();
        let error = failed.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
        error.unwrap_or_else(stopped)
    }

    pub async fn commit(&self, change: Change) -> Result<Committed, StoreError> {
        let (done, answer) = oneshot::channel();
        self.jobs.as_ref().ok_or_else(stopped)?.send(Job { change, done }).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        // It ends after the group it is writing. If it has panicked, its callers know.
        self.thread.take().map(JoinHandle::join);
    }
}

fn stopped() -> StoreError {
    StoreError("the thread that writes the book has stopped".into())
}

fn run(mut write: impl WriteGroup, queue: &mpsc::Receiver<Job>, news: &watch::Sender<u64>, fail: &watch::Sender<Option<StoreError>>) {
    while let Ok(first) = queue.recv() {
        let (mut changes, mut callers) = (vec![first.change], vec![first.done]);
        for job in queue.try_iter().take(GROUP - 1) {
            changes.push(job.change);
            callers.push(job.done);
        }
        // Bound, so that nothing is borrowed while the group is written.
        let failed = fail.borrow().clone();
        let written = match failed {
            Some(error) => Err(StoreError(format!("the book takes no changes since {error}"))),
            None => write.write(&changes),
        };
        match written {
            Ok((committed, last)) => {
                // A caller that is gone needs no answer.
                callers.into_iter().zip(committed).for_each(|(caller, committed)| drop(caller.send(Ok(committed))));
                news.send_if_modified(|known| std::mem::replace(known, last) != last);
            }
            Err(error) => {
                fail.send_if_modified(|failed| failed.is_none() && failed.replace(error.clone()).is_none());
                callers.into_iter().for_each(|caller| drop(caller.send(Err(error.clone()))));
            }
        }
    }
}
