//! Lifetimes and constants of the trait.
use rpc::service;

#[service]
pub trait Shop<'a, T, const N: usize> {
    async fn quote(&self, text: &'a str, more: T) -> u32;
}

struct Mine;
impl<'a, T: Send + 'static> Shop<'a, T, 1> for Mine {
    async fn quote(&self, _: &'a str, _: T) -> u32 {
        1
    }
}

fn main() {
    let client: ShopClient<'_, u8, 1> = ShopClient::local(Mine);
    drop(client.quote("a", 1));
}
