//! What can be run from the command line, one command a file. `steps.rs` is what `story` and `client` have in common.

pub mod audit;
pub mod client;
pub mod load;
pub mod pay;
mod proxy;
pub mod server;
pub mod status;
mod steps;
pub mod story;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rpc::{Client, Limits};

use crate::api::{CheckoutClient, Expiry, NewCard, Secret};

/// Whatever goes wrong is told on stderr, with its causes.
pub type Tried<T = ()> = Result<T, Box<dyn std::error::Error>>;

pub const GOOD_CARD: &str = "4242424242424242";

/// A card with this number that will not expire while anybody uses this program.
pub fn card(number: &str) -> NewCard {
    let cvc = if number.len() == 15 { "1234" } else { "123" };
    NewCard { number: Secret::new(number.into()), expiry: Expiry { year: 2099, month: 12 }, cvc: Secret::new(cvc.into()) }
}

/// The one way to a server.
pub async fn connect(address: &str, within: Option<Duration>) -> Result<CheckoutClient, rpc::Error> {
    let mut limits = Limits::default();
    limits.connect_timeout = within.unwrap_or(limits.connect_timeout).min(limits.connect_timeout);
    Ok(Client::options().limits(limits).connect(address).await?.into())
}

/// A beginning for keys and orders that no earlier run has used.
pub fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{}-{now}", std::process::id())
}
