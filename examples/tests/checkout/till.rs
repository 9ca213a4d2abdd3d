//! A client in this process, by name and without the trait: what a program that has never seen `api.rs` can do.

use rpc::{Client, Error};
use serde_json::{Value, json};

#[derive(Clone)]
pub struct Till {
    pub client: Client,
    pub token: String,
}

impl Till {
    /// With a good card.
    pub async fn open(address: &str) -> Result<Self, Error> {
        Self::with(address, "4242424242424242").await
    }

    pub async fn with(address: &str, number: &str) -> Result<Self, Error> {
        let client = Client::connect(address).await?;
        let saved: Value = client.call("Checkout.tokenize", (card(number),)).await?;
        Ok(Self { client, token: saved["token"].as_str().unwrap().to_owned() })
    }

    pub async fn pay(&self, key: &str, order: &str, minor: u64) -> Result<Value, Error> {
        self.client.call("Checkout.pay", (key, order, usd(minor), &self.token)).await
    }

    pub async fn authorize(&self, key: &str, order: &str, minor: u64) -> Result<Value, Error> {
        self.client.call("Checkout.authorize", (key, order, usd(minor), &self.token)).await
    }

    pub async fn capture(&self, key: &str, order: &str, minor: u64) -> Result<Value, Error> {
        self.client.call("Checkout.capture", (key, order, usd(minor))).await
    }

    pub async fn refund(&self, key: &str, order: &str, minor: u64) -> Result<Value, Error> {
        self.client.call("Checkout.refund", (key, order, usd(minor))).await
    }
}

pub fn card(number: &str) -> Value {
    json!({ "number": number, "expiry": { "year": 2099, "month": 12 }, "cvc": "123" })
}

pub fn usd(minor: u64) -> Value {
    json!({ "minor": minor, "currency": "USD" })
}

/// For tests that are not async themselves.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
