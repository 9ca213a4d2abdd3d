//! Neither `async` nor blocking.
use rpc::service;

#[service]
pub trait Shop {
    fn quote(&self) -> u32;
    fn price(&self) -> impl Future<Output = u32> + Send;
}

struct Mine;
impl Shop for Mine {
    fn quote(&self) -> u32 {
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
