//! Options that are not there.
use rpc::service;

#[service(version = "1")]
pub trait Shop {
    #[rpc(retry)]
    async fn quote(&self) -> u32;
    #[rpc(deadline = "5s")]
    async fn price(&self) -> u32;
    #[rpc]
    async fn pay(&self) -> u32;
}

fn main() {
}
