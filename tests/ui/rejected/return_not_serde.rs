//! A return value and an error that cannot be sent.
use rpc::service;
pub struct Plain;

#[service]
pub trait Shop {
    async fn get(&self) -> Plain;
    async fn pay(&self) -> Result<u32, Plain>;
}

struct Mine;
impl Shop for Mine {
    async fn get(&self) -> Plain {
        Plain
    }
    async fn pay(&self) -> Result<u32, Plain> {
        Ok(1)
    }
}

fn main() {
}
