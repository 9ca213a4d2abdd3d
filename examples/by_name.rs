//! Methods registered at run time, and calls by name, without the trait: `cargo run --example by_name`.

use rpc::{Client, Named, Server};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Serialize, Deserialize, PartialEq)]
enum PriceError {
    UnknownSku(String),
}

#[rpc::service]
trait Shop {
    /// In cents.
    async fn price(&self, sku: &str, quantity: u32) -> Result<u64, PriceError>;
}

struct Stall;

impl Shop for Stall {
    async fn price(&self, sku: &str, quantity: u32) -> Result<u64, PriceError> {
        match sku {
            "tea" => Ok(u64::from(quantity) * 450),
            _ => Err(PriceError::UnknownSku(sku.to_owned())),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), rpc::Error> {
    // A trait's methods and closures share one address. What a closure borrows is not allowed: it lives as long as the server.
    let server = Server::new()
        .add(ShopServer::new(Stall))
        .method("ping", |n: u64| async move { n + 1 })
        .method("join", |words: Vec<String>, by: String| async move { words.join(&by) })
        .bind("127.0.0.1:0")
        .await?;
    let address = server.local_addr();
    tokio::spawn(server.serve());

    // The caller knows names and shapes, nothing else. Arguments are a tuple, by position ..
    let client = Client::connect(address).await?;
    let n: u64 = client.call("ping", (41,)).await?;
    println!("ping [41]                           -> {n}");
    let text: String = client.call("join", (["a", "b", "c"], "-")).await?;
    println!("join [[a, b, c], -]                 -> {text}");

    // .. or a struct or map, by the argument's names.
    let cents: Value = client.call("Shop.price", Named(json!({ "quantity": 3, "sku": "tea" }))).await?;
    println!("Shop.price {{quantity: 3, sku: tea}}  -> {cents}");

    // The method's own error is decoded on demand.
    let error = client.call::<Value>("Shop.price", ("coffee", 1)).await.expect_err("there is no coffee");
    println!("Shop.price [coffee, 1]              -> {:?}, executed: {}", error.service::<PriceError>(), error.executed());

    // Mistakes of the caller are found before anything runs.
    for (name, arguments) in [("Shop.price", json!(["tea", -1])), ("Shop.prise", json!(["tea", 1]))] {
        let error = client.call::<Value>(name, (&arguments[0], &arguments[1])).await.expect_err("a mistake");
        println!("{name} {arguments} -> {:?}, executed: {}", error.kind(), error.executed());
    }
    client.close().await;
    Ok(())
}
