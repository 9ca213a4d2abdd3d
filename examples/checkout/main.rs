//! A payment checkout: a server that takes payments by card, and clients that pay.
//!
//! ```text
//! cargo run --example checkout                # server and client in one command
//! cargo run --example checkout -- server      # in two terminals
//! cargo run --example checkout -- client
//! cargo run --example checkout -- --help      # and one payment at a time, for scripts
//! ```
//! This file is the command line. `api.rs` is the contract, to be read first. Behind it, from the wire to the disk:
//! `service.rs`, `desk.rs`, `domain/` (the rules), `store/` (the book), `network.rs` (the card network, simulated), and
//! `recovery.rs` (what a crash leaves). `commands/` is what can be run.

#![expect(unreachable_pub, reason = "the files of a program are open to each other, and to nobody else")]

mod access;
mod api;
mod card;
mod commands;
mod decline;
mod desk;
mod domain;
mod key;
mod money;
mod network;
mod recovery;
mod service;
mod store;
mod turns;
mod vault;
mod wording;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::api::{Currency, IdempotencyKey, Money, OrderId};
use crate::card::CardNumber;
use crate::commands::{Trust, audit, client, load, pay, server, status, story};

/// A payment checkout over RPC. Without a command: server and client in one, on a free port.
///
/// Clients of a server that asks for API keys take theirs from CHECKOUT_API_KEY.
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
    /// Prints `READY ADDR` once it accepts, and logs one line a request on stderr.
    Server(server::Options),
    /// Tells a full checkout on screen and says goodbye.
    Client {
        /// The server.
        #[arg(long, default_value = "localhost:8080")]
        addr: String,
        #[command(flatten)]
        trust: Trust,
    },
    /// Pays once and prints one line of JSON: outcome, receipt, reason.
    ///
    /// Exits with 0 when captured, 1 when refused, 2 when nobody knows (ask again with the same key), 3 when it was not
    /// sent, 64 on a usage error.
    Pay(PayArguments),
    /// Says what became of a key, in one line of JSON.
    Status {
        /// The server.
        #[arg(long)]
        addr: String,
        /// The key of the call in question.
        #[arg(long)]
        key: IdempotencyKey,
        #[command(flatten)]
        trust: Trust,
    },
    /// Prints one line of JSON a charge, and exits with 1 if the books do not balance. The server may be up or down.
    Audit(server::Place),
    /// Pays as many customers would, and says how fast that was.
    Load(load::Options),
}

#[derive(clap::Args)]
struct PayArguments {
    /// The server.
    #[arg(long)]
    addr: String,
    /// Which payment this is, however often it is sent.
    #[arg(long)]
    key: IdempotencyKey,
    /// What is paid for.
    #[arg(long)]
    order: OrderId,
    /// In the currency's smallest unit: 1990 is USD 19.90.
    #[arg(long)]
    amount: u64,
    /// USD, EUR, GBP, CHF, JPY, BHD or KWD.
    #[arg(long)]
    currency: Currency,
    /// A test card: ..4242 is good, ..0002 declined, ..9995 without funds, ..6009 slow.
    #[arg(long, value_name = "PAN")]
    card: Option<String>,
    /// Gives up after this long.
    #[arg(long)]
    timeout_ms: Option<u64>,
    #[command(flatten)]
    trust: Trust,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Arguments = rpc_examples::arguments();
    let result = match arguments.command {
        None => story::run().await,
        Some(Command::Server(options)) => server::run(options).await,
        Some(Command::Client { addr, trust }) => client::run(&addr, &trust).await,
        Some(Command::Pay(arguments)) => return pay_once(arguments).await,
        Some(Command::Status { addr, key, trust }) => return ExitCode::from(status::run(&addr, &trust, key).await),
        Some(Command::Audit(server::Place { data: None, store: None })) => {
            eprintln!("error: which books? --data PATH or --store URL");
            return ExitCode::from(64);
        }
        Some(Command::Audit(place)) => audit::run(place).await,
        Some(Command::Load(options)) => load::run(options).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn pay_once(arguments: PayArguments) -> ExitCode {
    let PayArguments { addr, key, order, amount, currency, card, timeout_ms, trust } = arguments;
    let number = card.unwrap_or_else(|| commands::GOOD_CARD.to_owned());
    // Parsed here and not by clap, which would repeat the number in its message.
    if CardNumber::parse(&number).is_err() {
        eprintln!("error: --card is not a card number");
        return ExitCode::from(64);
    }
    let card = commands::card(&number);
    let timeout = timeout_ms.map(Duration::from_millis);
    ExitCode::from(pay::run(&addr, &trust, pay::Payment { key, order, amount: Money::new(amount, currency), card, timeout }).await)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source()).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
