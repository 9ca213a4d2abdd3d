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

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rpc::tls::ClientTls;
use rpc::{Client, ClientOptions, Limits};

use crate::api::{CheckoutClient, Expiry, NewCard, Secret};

/// Whatever goes wrong is told on stderr, with its causes.
pub type Tried<T = ()> = Result<T, Box<dyn std::error::Error>>;

pub const GOOD_CARD: &str = "4242424242424242";

/// A card with this number that will not expire while anybody uses this program.
pub fn card(number: &str) -> NewCard {
    // As many digits as American Express has, however they are grouped.
    let cvc = if number.bytes().filter(u8::is_ascii_digit).count() == 15 { "1234" } else { "123" };
    NewCard { number: Secret::new(number.into()), expiry: Expiry { year: 2099, month: 12 }, cvc: Secret::new(cvc.into()) }
}

/// How a client tells its server from another.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Trust {
    /// Speaks TLS, and trusts servers with a certificate of an authority in this PEM file.
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
}

impl Trust {
    fn options(&self) -> Result<ClientOptions, rpc::Error> {
        Ok(match &self.tls_ca {
            Some(file) => Client::options().tls(ClientTls::from_ca_file(file)?),
            None => Client::options(),
        })
    }

    /// For a way to the server that has another address than the server itself.
    fn options_by_way_of(&self, server: &str) -> Result<ClientOptions, rpc::Error> {
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(match &self.tls_ca {
            Some(file) => Client::options().tls(ClientTls::from_ca_file(file)?.server_name(host)?),
            None => Client::options(),
        })
    }
}

/// The one way to a server.
pub async fn connect(address: &str, trust: &Trust, within: Option<Duration>) -> Result<CheckoutClient, rpc::Error> {
    let mut limits = Limits::default();
    limits.connect_timeout = within.unwrap_or(limits.connect_timeout).min(limits.connect_timeout);
    Ok(trust.options()?.limits(limits).connect(address).await?.into())
}

/// A script's line. If nobody can read it, what it says is still true, and the exit code says so too.
fn print_line(line: &serde_json::Value) {
    if let Err(error) = writeln!(io::stdout(), "{line}") {
        // It may be gone as well.
        let _ = writeln!(io::stderr(), "error: the answer cannot be written: {error}");
    }
}

/// A beginning for keys and orders that no earlier run has used.
pub fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{}-{now}", std::process::id())
}
