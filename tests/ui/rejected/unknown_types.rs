//! Types that are not there: the compiler says so once for each.
use rpc::service;

#[service]
pub trait Shop {
    async fn quote(&self, cart: Cart, more: &Vec<Mistyped>, many: &[Absent]) -> Money;
    async fn pay(&self) -> Result<Vec<Receipt>, PayError>;
}

fn main() {}
