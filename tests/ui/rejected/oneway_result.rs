//! A reply where there is none.
use rpc::service;

#[service]
pub trait Shop {
    #[rpc(oneway)]
    async fn note(&self) -> u32;
    #[rpc(oneway)]
    async fn log(&self) -> Result<(), String>;
}

fn main() {
}
