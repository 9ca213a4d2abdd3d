//! Streams, both ways.
use rpc::service;
pub trait Stream {
    type Item;
}
pub struct Empty;
impl Stream for Empty {
    type Item = u32;
}
pub struct Streaming<T>(T);

#[service]
pub trait Shop {
    fn events(&self, after: u64) -> impl Stream<Item = u32> + Send;
    async fn watch(&self, sku: &str) -> Result<impl Stream<Item = u32> + Send, String>;
    async fn import(&self, rows: Streaming<u32>) -> u32;
}

struct Mine;
impl Shop for Mine {
    fn events(&self, _: u64) -> impl Stream<Item = u32> + Send {
        Empty
    }
    async fn watch(&self, _: &str) -> Result<impl Stream<Item = u32> + Send, String> {
        Ok(Empty)
    }
    async fn import(&self, _: Streaming<u32>) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.events(0));
    drop(client.import(vec![1]));
}
