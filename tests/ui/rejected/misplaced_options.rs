//! Options on the trait, on an argument, and under a condition.
use rpc::service;

#[service]
#[rpc(timeout = "5s")]
pub trait Shop {
    async fn quote(&self, #[rpc(name = "id")] sku: String) -> u32;
    #[cfg_attr(all(), rpc(idempotent))]
    async fn price(&self) -> u32;
}

struct Mine;
impl Shop for Mine {
    async fn quote(&self, _: String) -> u32 {
        1
    }
    async fn price(&self) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.quote(String::new()));
}
