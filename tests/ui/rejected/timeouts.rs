//! Durations that are none.
use rpc::service;

#[service]
pub trait Shop {
    #[rpc(timeout = "5")]
    async fn unit(&self);
    #[rpc(timeout = "1.5s")]
    async fn fraction(&self);
    #[rpc(timeout = "0s")]
    async fn zero(&self);
    #[rpc(timeout = "soon")]
    async fn word(&self);
    #[rpc(timeout = "999999h")]
    async fn long(&self);
}

fn main() {
}
