//! Services in a crate that allows no warning: a generic one with a borrowed argument, a typed error and every option; one under a
//! lock file; one without a prelude; and one in a function.
#![deny(missing_docs, warnings, rust_2018_idioms, unreachable_pub, unused_qualifications, missing_debug_implementations)]
#![deny(clippy::all, clippy::pedantic, clippy::unwrap_used)]
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use rpc::{CallError, Context, Executed, Server};
use serde::{Deserialize, Serialize};

/// Why there is no such entry.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum StoreError {
    /// Nobody has put it there.
    Missing(String),
}

/// Tells the time, and is held by a lock file.
#[rpc::service(lock = "clock.schema")]
pub trait Clock {
    /// What time it is.
    async fn now(&self) -> Time;

    /// Which zones there are.
    #[cfg(feature = "zones")]
    async fn zones(&self) -> Vec<String>;
}

/// A time.
#[derive(Debug, Serialize, Deserialize)]
pub struct Time {
    /// Since the epoch.
    pub seconds: u64,
    /// Where.
    #[serde(default)]
    pub zone: String,
}

/// Where generated code has nothing to lean on, and `test` is another macro.
pub mod bare {
    #![no_implicit_prelude]
    #![allow(unused_imports)]

    use ::tokio::test;

    /// Counts.
    #[::rpc::service]
    pub trait Counter {
        /// The next number.
        async fn next(&self, by: u32) -> u32;
    }
}

/// Keeps values of any type by name.
#[rpc::service(name = "store.v1")]
pub trait Store<V: Clone> {
    /// Replaces the value; gives the old one.
    #[rpc(idempotent, detached, timeout = "5s")]
    async fn put(&self, name: &str, value: V) -> Option<V>;

    /// The value of this name.
    ///
    /// # Errors
    /// `Missing` when there is none.
    async fn take(&self, name: &str) -> Result<V, StoreError>;

    /// Who asks, by its own account.
    async fn tenant(&self, cx: &Context) -> Option<String>;

    /// Goes unanswered.
    #[rpc(oneway, name = "hint")]
    async fn hint(&self, names: Vec<String>);
}

/// A store in memory.
#[derive(Debug, Default)]
pub struct Memory<V>(Mutex<BTreeMap<String, V>>);

impl<V: Clone + Serialize + serde::de::DeserializeOwned + Send + Sync + 'static> Store<V> for Memory<V> {
    async fn put(&self, name: &str, value: V) -> Option<V> {
        self.0.lock().ok()?.insert(name.to_owned(), value)
    }

    async fn take(&self, name: &str) -> Result<V, StoreError> {
        let found = self.0.lock().ok().and_then(|mut values| values.remove(name));
        found.ok_or_else(|| StoreError::Missing(name.to_owned()))
    }

    async fn tenant(&self, cx: &Context) -> Option<String> {
        cx.metadata("tenant").map(str::to_owned)
    }

    async fn hint(&self, _names: Vec<String>) {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[rpc::service]
    trait Inner {
        async fn nothing(&self);
    }
    let _ = std::any::type_name::<InnerClient>();

    let server = Server::new().add(StoreServer::new(Memory::<Vec<u32>>::default())).bind("127.0.0.1:0").await?;
    let address = server.local_addr();
    tokio::spawn(server.serve());

    let store = StoreClient::<Vec<u32>>::connect(&address).await?;
    let name = String::from("primes");
    assert_eq!(store.put(&name, vec![2, 3, 5]).await?, None);
    assert_eq!(store.put(&name, vec![7]).timeout(Duration::from_secs(1)).await?, Some(vec![2, 3, 5]));
    store.hint(vec![name.clone()]).await?;
    assert_eq!(store.take(&name).owned().await.ok(), Some(vec![7]));
    match store.take("primes").await {
        Err(CallError::Service(StoreError::Missing(name))) => assert_eq!(name, "primes"),
        other => return Err(format!("expected an error of the service: {other:?}").into()),
    }
    assert_eq!(store.tenant().metadata("tenant", "a").await?.as_deref(), Some("a"));
    assert_eq!(store.call::<Vec<u32>>("store.v1.take", ("none",)).await.map_err(|error| error.executed()), Err(Executed::Yes));
    store.close().await;
    println!("ok");
    Ok(())
}
