//! A type parameter that cannot be sent.
use rpc::service;

pub struct Plain;

#[service]
pub trait Store<K> {
    async fn get(&self, key: K) -> u32;
}

pub fn look(_: StoreClient<Plain>) {}

fn main() {}
