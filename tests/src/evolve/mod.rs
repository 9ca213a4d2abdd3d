//! One service of two ages. Each of these modules is what a program of its time knows, and nothing of the other.

pub mod new;
pub mod old;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// What the handlers of a server have run, whatever its age.
#[derive(Clone, Default)]
pub struct Ran(Arc<(watch::Sender<Vec<String>>, AtomicU64)>);

impl Ran {
    pub fn note(&self, text: impl Into<String>) {
        self.0.1.fetch_add(1, Ordering::Relaxed);
        self.0.0.send_modify(|all| all.push(text.into()));
    }

    pub fn all(&self) -> Vec<String> {
        self.0.0.borrow().clone()
    }

    pub fn count(&self) -> u64 {
        self.0.1.load(Ordering::Relaxed)
    }

    pub async fn until(&self, text: &str) {
        self.0.0.subscribe().wait_for(|all| all.iter().any(|noted| noted == text)).await.unwrap();
    }
}
