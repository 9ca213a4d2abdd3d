//! `self` by value, and in a box.
use rpc::service;

#[service]
pub trait Shop {
    async fn quote(self) -> u32;
    async fn price(self: Box<Self>) -> u32;
}

struct Mine;
impl Shop for Mine {
    async fn quote(self) -> u32 {
        1
    }
    async fn price(self: Box<Self>) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.quote());
}
