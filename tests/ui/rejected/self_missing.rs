//! A method without `&self`.
use rpc::service;

#[service]
pub trait Shop {
    async fn quote(sku: String) -> u32;
}

struct Mine;
impl Shop for Mine {
    async fn quote(_: String) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.quote(String::new()));
    drop(rpc::Client::local(ShopServer::new(Mine)));
}
