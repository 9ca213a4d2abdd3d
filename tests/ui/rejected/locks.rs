//! Lock files that cannot be.
use rpc::service;

#[service(lock = "")]
pub trait Nowhere {
    async fn get(&self) -> u8;
}

#[service(lock = "store.schema")]
pub trait Store<K> {
    async fn get(&self, key: K) -> u8;
}

#[service(lock)]
pub trait Unnamed {
    async fn get(&self) -> u8;
}

fn main() {}
