//! `impl Trait` as a return type.
use rpc::service;

#[service]
pub trait Shop {
    async fn quotes(&self) -> impl Iterator<Item = u32>;
    async fn quote(&self) -> Option<impl ToString>;
}

struct Mine;
impl Shop for Mine {
    async fn quotes(&self) -> impl Iterator<Item = u32> {
        std::iter::empty()
    }
    async fn quote(&self) -> Option<impl ToString> {
        Some(1)
    }
}

fn main() {
    drop(ShopClient::local(Mine));
}
