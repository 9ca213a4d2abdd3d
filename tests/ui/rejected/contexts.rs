//! Contexts in the wrong place, number and form.
use rpc::{Context, service};

#[service]
pub trait Shop {
    async fn late(&self, sku: String, cx: &Context) -> u32;
    async fn twice(&self, cx: &Context, again: &Context) -> u32;
    async fn owned(&self, cx: Context) -> u32;
    async fn changed(&self, cx: &mut rpc::Context) -> u32;
}

struct Mine;
impl Shop for Mine {
    async fn late(&self, _: String, _: &Context) -> u32 {
        1
    }
    async fn twice(&self, _: &Context, _: &Context) -> u32 {
        1
    }
    async fn owned(&self, _: Context) -> u32 {
        1
    }
    async fn changed(&self, _: &mut rpc::Context) -> u32 {
        1
    }
}

fn main() {
    let client = ShopClient::local(Mine);
    drop(client.late(String::new()));
    drop(client.owned());
}
