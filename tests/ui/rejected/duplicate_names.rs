//! Two methods with one name on the wire.
use rpc::service;

#[service]
pub trait Shop {
    async fn quote(&self) -> u32;
    #[rpc(name = "quote")]
    async fn price(&self) -> u32;
    #[rpc(name = "pay")]
    async fn settle(&self) -> u32;
    async fn pay(&self) -> u32;
    async fn quote(&self, again: bool) -> u32;
}

struct Mine;
impl Shop for Mine {
    async fn quote(&self) -> u32 {
        1
    }
    async fn price(&self) -> u32 {
        1
    }
    async fn settle(&self) -> u32 {
        1
    }
    async fn pay(&self) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.quote());
}
