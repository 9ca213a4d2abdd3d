//! `Result`s under other paths and names, and values that only look like one.
#![deny(warnings)]

use rpc::{CallError, service};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub struct PayError;

pub mod mine {
    pub type Result<T> = std::result::Result<T, super::PayError>;
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ResultSet(u8);

#[service]
pub trait Results {
    async fn full(&self) -> std::result::Result<u32, PayError>;
    async fn alias(&self, values: &[u32]) -> mine::Result<u32>;
    async fn nothing(&self) -> mine::Result<()>;
    async fn inside(&self) -> Option<Result<u32, PayError>>;
    async fn nested(&self) -> Result<Result<u32, String>, PayError>;
    async fn set(&self) -> ResultSet;
    async fn pair(&self) -> (ResultSet, [u8; 4]);
    async fn unit(&self) -> ();
}

async fn use_it(client: ResultsClient) -> Result<(), rpc::Error> {
    let _: Result<u32, CallError<PayError>> = client.full().await;
    let _: Result<u32, CallError<PayError>> = client.alias(&[1]).await;
    let _: Result<(), CallError<PayError>> = client.nothing().await;
    let _: Option<Result<u32, PayError>> = client.inside().await?;
    let _: Result<Result<u32, String>, CallError<PayError>> = client.nested().await;
    let _: ResultSet = client.set().await?;
    let _: (ResultSet, [u8; 4]) = client.pair().await?;
    client.unit().await
}

fn main() {
    let _ = use_it;
}
