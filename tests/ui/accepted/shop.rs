//! The shapes of an ordinary service, under every lint that a careful crate turns on.
#![deny(warnings, missing_debug_implementations, rust_2018_idioms, unused_qualifications)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]
#![forbid(unsafe_code, missing_docs, unreachable_pub)]

use rpc::{CallError, Context, service};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// A price.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Money(pub i64);

/// Why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PriceError(pub String);

/// Borrows from the request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View<'a> {
    /// A part of it.
    pub text: &'a str,
}

/// Sells things.
#[service]
pub trait Shop {
    /// A plain value.
    async fn quote(&self, items: Vec<String>) -> Money;
    /// A typed error, and a borrowed argument.
    #[rpc(idempotent, timeout = "5s")]
    async fn price(&self, sku: &str, quantity: u32) -> Result<Money, PriceError>;
    /// What the server knows of the call.
    #[rpc(detached)]
    async fn pay(&self, cx: &Context, amount: Money) -> Result<u64, PriceError>;
    /// Every way to borrow.
    async fn borrow(&self, text: Cow<'_, str>, bytes: &[u8], more: Cow<'_, [u8]>, one: &Money, many: &[Money], perhaps: Option<&str>, view: View<'_>) -> usize;
    /// No reply.
    #[rpc(oneway)]
    async fn note(&self, text: String);
    /// Nothing to say.
    async fn touch(&self);
    /// Computes.
    #[rpc(spawn, name = "compute")]
    async fn count(&self, upto: u64) -> u64;
    /// Blocks its thread.
    #[rpc(blocking, timeout = "250ms")]
    fn store(&self, cx: &Context, key: &str, value: &[u8]) -> Result<(), PriceError>;
    /// Blocks its thread and does not answer.
    #[rpc(blocking, oneway)]
    fn forget(&self, key: String);
}

struct Mine;

impl Shop for Mine {
    async fn quote(&self, items: Vec<String>) -> Money {
        Money(i64::try_from(items.len()).unwrap_or_default())
    }
    async fn price(&self, sku: &str, quantity: u32) -> Result<Money, PriceError> {
        if quantity == 0 { Err(PriceError(sku.to_owned())) } else { Ok(Money(1)) }
    }
    async fn pay(&self, cx: &Context, amount: Money) -> Result<u64, PriceError> {
        tokio::task::yield_now().await;
        cx.remaining().map(|_| amount.0.unsigned_abs()).ok_or_else(|| PriceError(String::new()))
    }
    async fn borrow(&self, text: Cow<'_, str>, bytes: &[u8], more: Cow<'_, [u8]>, one: &Money, many: &[Money], perhaps: Option<&str>, view: View<'_>) -> usize {
        tokio::task::yield_now().await;
        text.len() + bytes.len() + more.len() + many.len() + perhaps.map_or(0, str::len) + view.text.len() + usize::try_from(one.0).unwrap_or_default()
    }
    async fn note(&self, text: String) {
        drop(text);
    }
    async fn touch(&self) {}
    async fn count(&self, upto: u64) -> u64 {
        upto
    }
    fn store(&self, _: &Context, key: &str, value: &[u8]) -> Result<(), PriceError> {
        if key.len() > value.len() { Err(PriceError(key.to_owned())) } else { Ok(()) }
    }
    fn forget(&self, key: String) {
        drop(key);
    }
}

/// What each call gives, by its type; nothing runs.
async fn use_it(shop: ShopClient) -> Result<(), rpc::Error> {
    let _: Money = shop.quote(Vec::new()).timeout(Duration::from_secs(1)).await?;
    let _: Result<Money, CallError<PriceError>> = shop.price("a", 1).await;
    let _: Result<u64, CallError<PriceError>> = shop.pay(Money(1)).metadata("tenant", "a").await;
    let text = String::from("a");
    let call = shop.borrow(Cow::Borrowed(&text), b"b", Cow::Borrowed(b"c"), &Money(1), &[], None, View { text: &text });
    drop(text);
    let _: usize = call.await?;
    let () = shop.note(String::new()).await?;
    let () = shop.touch().await?;
    let _: u64 = shop.count(1).await?;
    let _: Result<(), CallError<PriceError>> = shop.store("a", b"b").await;
    let () = shop.forget(String::new()).await?;
    Ok(())
}

fn main() {
    let served: ShopServer<Mine> = ShopServer::new(Mine);
    assert_eq!(format!("{served:?}"), "ShopServer");
    drop(ShopServer::shared(std::sync::Arc::new(Mine)));
    let client = ShopClient::local(Mine);
    let other = client.clone();
    let plain: &rpc::Client = &other;
    drop(ShopClient::from(plain.clone()));
    drop(ShopClient::connect("localhost:8080"));
    drop(use_it(client));
}
