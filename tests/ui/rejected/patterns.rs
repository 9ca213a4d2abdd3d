//! Arguments that are not plain names.
use rpc::service;

#[service]
pub trait Shop {
    async fn pair(&self, (a, b): (u32, u32)) -> u32;
    async fn changed(&self, mut n: u32) -> u32 {
        n += 1;
        n
    }
    async fn unnamed(&self, _: u32) -> u32;
}

struct Mine;
impl Shop for Mine {
    async fn pair(&self, (a, b): (u32, u32)) -> u32 {
        a + b
    }
    async fn unnamed(&self, n: u32) -> u32 {
        n
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.pair((1, 2)));
    drop(client.changed(1));
}
