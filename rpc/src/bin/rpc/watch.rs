//! `rpc watch`: the items of a stream, one JSON value a line, as they come.

use std::io::{self, Write as _};
use std::pin::pin;
use std::time::Duration;

use rpc::Streaming;
use serde_json::Value;

use crate::call::{self, Arguments};
use crate::connect;
use crate::failure::{Failure, Outcome};
use crate::interrupt::interrupt;
use crate::json;

/// How long a server may take to hear that nobody watches any more.
const COURTESY: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The server.
    addr: String,
    /// The method: `Shop.events`.
    name: String,
    #[command(flatten)]
    arguments: Arguments,
    #[command(flatten)]
    connection: connect::Options,
}

pub(crate) async fn run(options: Options) -> Outcome {
    let Options { addr, name, arguments, connection } = options;
    let arguments = arguments.read()?;
    let mut interrupt = pin!(interrupt()?);
    let server = tokio::select! {
        server = connection.connect(&addr) => server?,
        () = &mut interrupt => return Err(Failure::interrupted()),
    };
    let watched = tokio::select! {
        watched = async {
            match server.options.add_to(server.client.watch_json(&name, arguments)).await {
                Ok(items) => print(items).await,
                Err(error) => Err(call::failure(&server, &name, error).await),
            }
        } => watched,
        // What was watched is dropped, and that cancels the call.
        () = interrupt => Err(Failure::interrupted()),
    };
    // Nothing to be done about a server that does not answer.
    let _ = tokio::time::timeout(COURTESY, server.client.close()).await;
    watched
}

async fn print(mut items: Streaming<Value>) -> Outcome {
    while let Some(item) = items.next().await {
        match item {
            Ok(item) => {
                let mut out = io::stdout().lock();
                writeln!(out, "{}", json::text(&item, false))?;
                out.flush()?;
            }
            Err(error) => match error.missed() {
                // The stream goes on behind them.
                Some(count) => writeln!(io::stderr(), "warning: {count} items were left out, since they were not taken in time")?,
                None => return Err(error.into()),
            },
        }
    }
    Ok(())
}
