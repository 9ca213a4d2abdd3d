//! A type parameter that cannot be sent.
use rpc::service;
pub struct Plain;

#[service]
pub trait Store<K> {
    async fn get(&self, key: K) -> u32;
}

fn main() {
    drop(StoreClient::<Plain>::connect("localhost:1"));
}
