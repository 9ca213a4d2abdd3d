//! Names that cannot be sent.
use rpc::service;

#[service(name = "")]
pub trait Shop {
    #[rpc(name = "")]
    async fn quote(&self) -> u32;
    #[rpc(name = "price of")]
    async fn price(&self) -> u32;
    #[rpc(name = "v1.pay")]
    async fn pay(&self) -> u32;
}

fn main() {
}
