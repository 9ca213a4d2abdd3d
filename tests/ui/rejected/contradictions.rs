//! Options that do not go together.
use rpc::service;

#[service]
pub trait Shop {
    #[rpc(oneway, idempotent)]
    async fn note(&self);
    #[rpc(blocking, spawn)]
    fn store(&self) -> u32;
    #[rpc(blocking)]
    async fn load(&self) -> u32;
}

struct Mine;
impl Shop for Mine {
    async fn note(&self) {}
    fn store(&self) -> u32 {
        1
    }
    async fn load(&self) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.note());
}
