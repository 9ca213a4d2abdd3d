//! The command line tool: asks a server what it serves, calls it, compares it, loads it. It needs no file, for servers with
//! reflection describe themselves, and arguments are JSON.
//!
//! This file is the command line. Each command has a file of its own; what they share are `connect.rs` (the server at an
//! address, and what it says of itself), `failure.rs` (errors as sentences, exit codes), `json.rs`, `duration.rs`,
//! `interrupt.rs` and `screen.rs`. A user of the library and no part of it: it uses what any other could.

mod bench;
mod call;
mod connect;
mod describe;
mod diff;
mod duration;
mod failure;
mod interrupt;
mod json;
mod list;
mod screen;
mod watch;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::failure::{CODES, Outcome};

/// Calls and inspects servers of the Rust crate `rpc`, without their traits.
///
/// ADDR is `host:port` or `unix:PATH`. What a server serves is asked of the server: it has to be built with
/// `Server::reflection(true)` for all commands but `call`, `watch` and `bench`.
#[derive(Parser)]
#[command(name = "rpc", version, after_help = CODES, after_long_help = CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the names of all methods, one a line.
    List(list::Options),
    /// Prints services as Rust traits, with docs and all types.
    Describe(describe::Options),
    /// Calls a method and prints what it returns as JSON.
    Call(call::Options),
    /// Calls a method that returns a stream and prints its items as JSON, one a line, as they come.
    Watch(watch::Options),
    /// Compares what two servers serve, or a server and what `describe --json` has printed of one.
    Diff(diff::Options),
    /// Calls a method as often as it is answered, and says how fast that was.
    Bench(bench::Options),
    /// Prints what a shell needs to complete this command line.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing better can be done when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    let outcome = match arguments.command {
        Command::List(options) => list::run(options).await,
        Command::Describe(options) => describe::run(options).await,
        Command::Call(options) => call::run(options).await,
        Command::Watch(options) => watch::run(options).await,
        Command::Diff(options) => diff::run(options).await,
        Command::Bench(options) => bench::run(options).await,
        Command::Completions { shell } => completions(shell),
    };
    outcome.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
}

fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "rpc", &mut script);
    Ok(io::stdout().write_all(&script)?)
}
