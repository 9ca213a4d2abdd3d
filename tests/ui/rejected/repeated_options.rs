//! Options that are set twice.
use rpc::service;

#[service(name = "a", name = "b")]
pub trait Shop {
    #[rpc(idempotent, idempotent)]
    async fn quote(&self) -> u32;
    #[rpc(timeout = "5s")]
    #[rpc(timeout = "6s")]
    async fn price(&self) -> u32;
}

fn main() {
}
