//! `impl Trait` as an argument.
use rpc::service;

#[service]
pub trait Shop {
    async fn quote(&self, sku: impl Into<String> + Send) -> u32;
    async fn many(&self, skus: Vec<Option<impl ToString + Send>>) -> u32;
}

struct Mine;
impl Shop for Mine {
    async fn quote(&self, _: impl Into<String> + Send) -> u32 {
        1
    }
    async fn many(&self, _: Vec<Option<impl ToString + Send>>) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.quote("a"));
}
