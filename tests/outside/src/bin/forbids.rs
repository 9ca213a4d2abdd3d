//! A service in a crate that forbids what others only deny: no `allow` may stand anywhere, in generated code either. (serde's derives
//! have some, so there are no types of its own here; main.rs has those.)
#![forbid(unsafe_code, missing_docs, warnings, unused, dead_code, unreachable_code, deprecated, nonstandard_style, rust_2018_idioms)]
#![forbid(unreachable_pub, unused_qualifications, missing_debug_implementations, private_interfaces, private_bounds)]
#![forbid(non_local_definitions, async_fn_in_trait)]
#![forbid(clippy::all, clippy::pedantic, clippy::nursery, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![forbid(clippy::manual_async_fn, clippy::needless_return, clippy::let_unit_value, clippy::unused_unit, clippy::absolute_paths)]

use std::future::pending;

use rpc::{Client, Context, Stream, Streaming};

/// Everything that a method can be.
#[rpc::service(name = "all.v1")]
trait All {
    /// Nothing in, nothing out.
    async fn nothing(&self);
    /// Borrowed arguments, and a typed error.
    async fn price(&self, sku: &str, days: &[u8], note: Option<String>) -> Result<u64, String>;
    /// A body of its own, with an early way out.
    async fn checked(&self, text: &str) -> Result<u64, String> {
        if text.is_empty() {
            return Err("nothing".to_owned());
        }
        let number: u64 = text.parse().map_err(|_| "no number")?;
        Ok(self.price(text, &[], None).await? + number)
    }
    /// One that comes to no end.
    async fn never(&self) -> u32 {
        pending().await
    }
    /// One that does nothing.
    async fn unit(&self, _cx: &Context) {}
    /// Goes unanswered.
    #[rpc(oneway)]
    async fn hint(&self, text: String);
    /// Takes as long as it takes.
    #[rpc(blocking)]
    fn hash(&self, bytes: Vec<u8>) -> u64;
    /// Items from the server.
    fn events(&self, after: u64) -> impl Stream<Item = u64>;
    /// The same, or a refusal.
    async fn watch(&self, sku: &str) -> Result<impl Stream<Item = u64>, String>;
    /// Items both ways.
    fn chat(&self, lines: Streaming<String>) -> impl Stream<Item = String>;
}

/// One with a parameter, of which only the client is used.
#[rpc::service]
trait Keeps<V: Clone> {
    /// Keeps it.
    async fn keep(&self, value: V) -> V;
}

fn main() {
    let _: fn(Client) -> KeepsClient<u32> = KeepsClient::from;
}
