//! No name of a method, an argument or a type is reserved.
#![deny(warnings)]

use rpc::service;
use serde::{Deserialize, Serialize};

/// What generated code could be thought to call its own things.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct S;
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Implementation;
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request;
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Method;
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Contract;

#[service]
pub trait Account {
    async fn connect(&self, address: String) -> u8;
    async fn local(&self) -> S;
    async fn close(&self, s: S, implementation: Implementation) -> u8;
    async fn call(&self, method: Method) -> Contract;
    async fn clone(&self) -> u8;
    async fn from(&self, client: u8) -> u8;
    async fn new(&self, service: u8) -> u8;
    async fn deref(&self) -> u8;
    async fn fmt(&self, f: u8) -> u8;
    async fn contract(&self) -> u8;
    async fn handler(&self, method: u8) -> u8;
    async fn r#type(&self, r#match: u8) -> u8;
    async fn awkward(&self, request: Request, service: u8, error: u8, result: u8, self_: u8, arguments: u8, argument_0: u8, argument_1: u8, _unused: u8) -> u8;
    #[rpc(blocking)]
    fn block(&self, request: Request, service: &str, error: &[u8], result: &u8, argument_0: u8) -> Result<u8, u8>;
}

fn use_it(account: &AccountClient) {
    let _: rpc::Call<'_, Result<u8, rpc::Error>> = account.connect(String::new());
    let _: rpc::Call<'_, Result<S, rpc::Error>> = account.local();
    let _: rpc::Call<'_, Result<u8, rpc::Error>> = account.clone();
    let _: rpc::Call<'_, Result<u8, rpc::Error>> = account.r#type(1);
    let _: rpc::Call<'_, Result<u8, rpc::Error>> = account.awkward(Request, 1, 2, 3, 4, 5, 6, 7, 8);
    let _: AccountClient = Clone::clone(account);
}

async fn connect() -> Result<AccountClient, rpc::Error> {
    Ok(From::from(rpc::Client::connect("localhost:8080").await?))
}

fn main() {
    let _ = (use_it, connect);
}
