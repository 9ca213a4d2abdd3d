//! A `Result` under a name that does not say so.
use rpc::service;
pub type Outcome = std::result::Result<u32, String>;

#[service]
pub trait Shop {
    async fn pay(&self) -> Outcome;
}

fn main() {
}
