//! Code that calls a service, tested with a fake in the same process: `cargo test --example in_process`.
//!
//! There is no mock to generate: any implementation of the trait is one, and every byte goes the same way as over a socket.

use rpc::CallError;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, PartialEq)]
enum StockError {
    SoldOut,
}

#[rpc::service]
trait Stock {
    /// Takes items from the shelf; what is left.
    async fn take(&self, sku: &str, quantity: u32) -> Result<u32, StockError>;
}

/// The code under test: it takes a client and does not care what is behind it.
async fn order(stock: &StockClient, sku: &str, quantity: u32) -> Result<String, rpc::Error> {
    match stock.take(sku, quantity).await {
        Ok(left) => Ok(format!("{quantity} x {sku} is yours, {left} left")),
        Err(CallError::Service(StockError::SoldOut)) => Ok(format!("{sku} is sold out")),
        Err(CallError::Rpc(error)) => Err(error),
    }
}

/// A shelf that never changes.
struct Shelf(u32);

impl Stock for Shelf {
    async fn take(&self, _sku: &str, quantity: u32) -> Result<u32, StockError> {
        self.0.checked_sub(quantity).ok_or(StockError::SoldOut)
    }
}

#[tokio::main]
async fn main() -> Result<(), rpc::Error> {
    let stock = StockClient::local(Shelf(5));
    println!("{}", order(&stock, "tea", 2).await?);
    println!("{}", order(&stock, "tea", 9).await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_empty_shelf_is_sold_out() -> Result<(), rpc::Error> {
        let stock = StockClient::local(Shelf(0));
        assert_eq!(order(&stock, "tea", 1).await?, "tea is sold out");
        Ok(())
    }
}
