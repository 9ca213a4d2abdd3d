//! Parameters of a method.
use rpc::service;

#[service]
pub trait Shop {
    async fn by_type<T: Clone>(&self, value: T) -> u32;
    async fn by_const<const N: usize>(&self, values: [u8; N]) -> u32;
    async fn by_lifetime<'a>(&'a self, text: &'a str) -> u32;
    async fn bounded(&self) -> u32 where Self: Clone;
}

#[derive(Clone)]
struct Mine;
impl Shop for Mine {
    async fn by_type<T: Clone>(&self, _: T) -> u32 {
        1
    }
    async fn by_const<const N: usize>(&self, _: [u8; N]) -> u32 {
        1
    }
    async fn by_lifetime<'a>(&'a self, _: &'a str) -> u32 {
        1
    }
    async fn bounded(&self) -> u32
    where
        Self: Clone,
    {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.by_type(1));
}
