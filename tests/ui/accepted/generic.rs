//! Type parameters with bounds, defaults and where clauses.
#![deny(warnings, missing_docs)]

use std::hash::Hash;
use std::marker::PhantomData;

use rpc::{Context, service};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What can be a key.
pub trait Key: Serialize + DeserializeOwned + Send + Sync + Eq + Hash + Clone + 'static {}
impl<T: Serialize + DeserializeOwned + Send + Sync + Eq + Hash + Clone + 'static> Key for T {}

/// Keeps values.
#[service]
pub trait Store<K: Key, V = String>
where
    V: Clone,
{
    /// Finds one.
    async fn get(&self, key: K) -> Option<V>;
    /// Keeps one.
    async fn put(&self, cx: &Context, key: &K, value: V) -> Result<V, String>;
    /// Keeps many.
    async fn fill(&self, rows: &[(K, V)]) -> usize;
    /// Computes.
    #[rpc(blocking)]
    fn sum(&self, rows: Vec<K>) -> Vec<V>;
}

struct Memory<K, V>(PhantomData<fn() -> (K, V)>);

impl<K: Key, V: Clone + Send + Sync + 'static> Store<K, V> for Memory<K, V> {
    async fn get(&self, _: K) -> Option<V> {
        None
    }
    async fn put(&self, _: &Context, _: &K, value: V) -> Result<V, String> {
        Ok(value)
    }
    async fn fill(&self, rows: &[(K, V)]) -> usize {
        rows.len()
    }
    fn sum(&self, _: Vec<K>) -> Vec<V> {
        Vec::new()
    }
}

async fn use_it(store: StoreClient<u8>) -> Result<(), rpc::Error> {
    let _: Option<String> = store.get(1).await?;
    let _ = store.clone().put(&1, String::new()).await;
    let _: usize = store.fill(&[]).await?;
    Ok(())
}

fn main() {
    let _: StoreServer<_, u8, bool> = StoreServer::new(Memory(PhantomData));
    let client: StoreClient<u8, bool> = StoreClient::local(Memory(PhantomData));
    println!("{client:?}");
    let _ = use_it;
}
