//! Methods that a macro would write.
use rpc::service;
#[allow(unused_macros)]
macro_rules! more {
    () => {
        async fn more(&self);
    };
}

#[service]
pub trait Shop {
    more!();
    async fn quote(&self) -> u32;
}

fn main() {
    let _: Option<ShopClient> = None;
}
