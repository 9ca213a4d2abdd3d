//! Arguments that cannot be sent.
use rpc::service;

pub struct Plain;
pub struct Lent;
pub struct Row;
pub struct Blocked;

#[service]
pub trait Shop {
    async fn pay(&self, plain: Plain, one: &Lent, many: &[Row]) -> u32;
    #[rpc(blocking)]
    fn block(&self, blocked: Vec<Blocked>) -> u32;
}

impl Shop for Plain {
    async fn pay(&self, _: Plain, _: &Lent, _: &[Row]) -> u32 {
        1
    }
    fn block(&self, _: Vec<Blocked>) -> u32 {
        1
    }
}

fn main() {
    drop(ShopClient::local(Plain).pay(Plain, &Lent, &[]));
}
