//! What a trait can hold beside methods.
use rpc::service;

#[service]
pub trait Shop {
    type Money;
    const LIMIT: u32;
    async fn quote(&self) -> u32;
}

struct Mine;
impl Shop for Mine {
    type Money = u32;
    const LIMIT: u32 = 1;
    async fn quote(&self) -> u32 {
        Self::LIMIT
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.quote());
}
