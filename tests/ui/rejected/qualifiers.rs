//! `unsafe`, `const` and `extern`.
use rpc::service;

#[service]
pub trait Shop {
    async unsafe fn quote(&self) -> u32;
    async extern "C" fn price(&self) -> u32;
}

struct Mine;
impl Shop for Mine {
    async unsafe fn quote(&self) -> u32 {
        1
    }
    async fn price(&self) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.quote());
}
