//! `&mut T`, and what lives longer than the request.
use rpc::service;

#[service]
pub trait Shop {
    async fn fill(&self, rows: &mut Vec<u32>) -> u32;
    async fn keep(&self, text: &'static str) -> u32;
    async fn named(&self, text: &'a str) -> u32;
}

struct Mine;
impl Shop for Mine {
    async fn fill(&self, _: &mut Vec<u32>) -> u32 {
        1
    }
    async fn keep(&self, _: &'static str) -> u32 {
        1
    }
    async fn named(&self, _: &str) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.fill(&mut Vec::new()));
}
