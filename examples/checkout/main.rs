//! A payment checkout: a server that takes payments, and clients that pay.
//!
//! ```text
//! cargo run --example checkout                # server and client in one command
//! cargo run --example checkout -- server      # in two terminals
//! cargo run --example checkout -- client
//! cargo run --example checkout -- --help      # and one payment at a time, for scripts
//! ```
//! `api.rs` is the contract, `shop.rs` its implementation, `story.rs` the client.

#![expect(unreachable_pub, reason = "the files of a program are open to each other, and to nobody else")]

mod api;
mod shop;
mod story;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use rpc::transport::Address;
use rpc::{CallInfo, Server};
use tokio::sync::oneshot;

use crate::api::{CardNumber, CheckoutClient, CheckoutServer, Currency, IdempotencyKey, Money};
use crate::shop::Shop;

/// A payment checkout over RPC. Without a command: server and client in one, on a free port.
#[derive(Parser)]
#[command(name = "checkout", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or ctrl-c, then drains; a second signal stops at once.
    ///
    /// Prints `READY ADDR` once it accepts, and logs one line a request on stderr. Payments are kept in memory: they and
    /// their keys are forgotten when it stops.
    Server {
        /// Where to listen; port 0 takes a free one.
        #[arg(long, default_value = "0.0.0.0:8080")]
        addr: String,
    },
    /// Tells a checkout on screen and says goodbye.
    Client {
        /// The server.
        #[arg(long, default_value = "localhost:8080")]
        addr: String,
    },
    /// Pays once and prints one line of JSON.
    ///
    /// Exits with 0 when captured, 1 when refused, 2 when nobody knows (ask again with the same key), 3 when it was not
    /// sent, 64 on a usage error.
    Pay {
        /// The server.
        #[arg(long)]
        addr: String,
        /// Which payment this is, however often it is sent.
        #[arg(long)]
        key: IdempotencyKey,
        /// What is paid for.
        #[arg(long)]
        order: String,
        /// In the currency's smallest unit: 1990 is USD 19.90.
        #[arg(long)]
        amount: u64,
        /// USD, EUR, JPY or BHD.
        #[arg(long)]
        currency: Currency,
        /// A test card: ..4242 is good, ..0002 declined, ..9995 without funds.
        #[arg(long, default_value = story::GOOD_CARD, hide_default_value = true)]
        card: String,
        /// Gives up after this long.
        #[arg(long)]
        timeout_ms: Option<u64>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Arguments = rpc_examples::arguments();
    let result = match arguments.command {
        None => both().await,
        Some(Command::Server { addr }) => serve(&addr).await,
        Some(Command::Client { addr }) => client(&addr).await,
        Some(Command::Pay { addr, key, order, amount, currency, card, timeout_ms }) => {
            // Parsed here and not by clap, which would repeat the number in its message.
            let Ok(card) = CardNumber::try_from(card) else {
                eprintln!("error: --card is not a card number");
                return ExitCode::from(64);
            };
            let amount = Money { minor: amount, currency };
            let timeout = timeout_ms.map(Duration::from_millis);
            return ExitCode::from(story::pay(&addr, story::Payment { key, order, amount, card, timeout }).await);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The shop on the wire, with a line on stderr for every request.
fn server(shop: Arc<Shop>) -> Server {
    Server::new().add(CheckoutServer::shared(shop)).hook(|call: &CallInfo| {
        tracing::info!(method = call.method, peer = call.peer.address(), "request");
        Ok(())
    })
}

async fn serve(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    rpc_examples::log_to_stderr();
    let stop = rpc_examples::stop_signal()?;
    let server = server(Arc::default()).bind(address).await?;
    if !is_loopback(&server.local_addr()) {
        tracing::warn!("listening beyond this machine without TLS: card numbers travel in clear");
    }
    println!("READY {}", server.local_addr());
    server.serve_until(stop).await?;
    tracing::info!("drained");
    Ok(())
}

async fn client(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let shop = CheckoutClient::connect(address).await?;
    println!("connected to {address}");
    story::tell(&shop).await?;
    shop.close().await;
    println!("disconnected");
    Ok(())
}

/// Both ends in one process, on real calls over a real socket.
async fn both() -> Result<(), Box<dyn std::error::Error>> {
    rpc_examples::log_to_stderr();
    let shop = Arc::new(Shop::default());
    let server = server(shop.clone()).bind("127.0.0.1:0").await?;
    let address = server.local_addr();
    println!("listening on {address}");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve_until(async move {
        // The sender never goes without sending; if it did, that would be a reason to stop too.
        stopped.await.ok();
    }));

    client(address.as_ref()).await?;

    stop.send(()).ok();
    serving.await??;
    println!("drained");
    let charges = shop.charges();
    match &charges[..] {
        [once] => println!("the books: 1 charge, {once}"),
        _ => return Err(format!("the books: expected 1 charge, found {charges:?}").into()),
    }
    Ok(())
}

fn is_loopback(address: &Address) -> bool {
    address.socket().is_none_or(|socket| socket.ip().is_loopback())
}

fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source()).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
