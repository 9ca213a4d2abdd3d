//! A reply that borrows.
use rpc::service;
use std::borrow::Cow;

#[service]
pub trait Shop {
    async fn name(&self) -> &str;
    async fn text(&self) -> Cow<'_, str>;
    async fn first(&self) -> Result<Option<&'static [u8]>, String>;
}

struct Mine;
impl Shop for Mine {
    async fn name(&self) -> &str {
        ""
    }
    async fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
    async fn first(&self) -> Result<Option<&'static [u8]>, String> {
        Ok(None)
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.name());
}
