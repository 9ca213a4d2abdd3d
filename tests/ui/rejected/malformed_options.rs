//! Options with a value too many, too few, or of another kind.
use rpc::service;

#[service(crate = "no path")]
pub trait Shop {
    #[rpc(idempotent = true)]
    async fn quote(&self) -> u32;
    #[rpc(timeout)]
    async fn price(&self) -> u32;
    #[rpc(timeout = 5)]
    async fn pay(&self) -> u32;
    #[rpc(name("x"))]
    async fn watch(&self) -> u32;
}

fn main() {
}
