//! A `const` method.
use rpc::service;

#[service]
pub trait Shop {
    const fn quote(&self) -> u32;
}

struct Mine;
impl Shop for Mine {
    fn quote(&self) -> u32 {
        1
    }
}

fn main() {
}
