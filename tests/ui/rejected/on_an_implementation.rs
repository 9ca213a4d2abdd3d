//! On the implementation.
use rpc::service;
#[service]
pub trait Shop {
    async fn quote(&self) -> u32;
}

struct Mine;

#[service]
impl Shop for Mine {
    async fn quote(&self) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.quote());
}
