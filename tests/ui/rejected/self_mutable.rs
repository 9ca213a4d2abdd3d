//! `&mut self`.
use rpc::service;

#[service]
pub trait Shop {
    async fn quote(&mut self, sku: String) -> u32;
}

struct Mine;
impl Shop for Mine {
    async fn quote(&mut self, _: String) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.quote(String::new()));
}
