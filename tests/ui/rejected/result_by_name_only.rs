//! A type that is called `Result` and is none.
use rpc::service;
pub mod mine {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Result;
}

#[service]
pub trait Shop {
    async fn pay(&self) -> mine::Result;
}

fn main() {
}
