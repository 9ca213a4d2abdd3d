//! An `unsafe` trait.
use rpc::service;

#[service]
pub unsafe trait Shop {
    async fn quote(&self) -> u32;
}

struct Mine;
unsafe impl Shop for Mine {
    async fn quote(&self) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.quote());
}
