//! Types that mean nothing in another process.
use rpc::service;

#[service]
pub trait Shop {
    async fn object(&self, value: Box<dyn ToString + Send>) -> u32;
    async fn function(&self, value: fn(u32) -> u32) -> u32;
    async fn pointer(&self) -> *const u8;
    async fn never(&self) -> !;
    async fn other(&self, other: &Self) -> u32;
    async fn unknown(&self, value: Vec<_>) -> u32;
}

fn main() {
}
