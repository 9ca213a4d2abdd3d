//! `rpc call`: one call, its arguments and its reply as JSON.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rpc::{Error, ErrorKind};
use serde_json::Value;

use crate::connect::{self, Server};
use crate::failure::{Failure, NO, Outcome};
use crate::json;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The server.
    addr: String,
    /// The method: `Shop.pay`, or the name of one that was registered at run time.
    name: String,
    #[command(flatten)]
    arguments: Arguments,
    /// On one line, even on a terminal.
    #[arg(long)]
    compact: bool,
    #[command(flatten)]
    connection: connect::Options,
}

#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    /// The arguments as JSON: an array by position, an object by name, any other value alone. None without it; `-` reads it from
    /// stdin.
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    arguments: Option<String>,
}

impl Arguments {
    pub(crate) fn read(self) -> Outcome<Value> {
        let text = match self.arguments.as_deref() {
            None => return Ok(Value::Array(Vec::new())),
            Some("-") => {
                let mut text = String::new();
                io::stdin().lock().read_to_string(&mut text)?;
                text
            }
            Some(text) => text.to_owned(),
        };
        let value = json::parse(&text).map_err(|error| {
            Failure::usage(format!("the arguments are not JSON: {error}"))
                .hint("an array by position, an object by name, in quotes: rpc call ADDR Shop.price '[\"tea\", 2]'")
        })?;
        Ok(json::arguments(value))
    }
}

pub(crate) async fn run(options: Options) -> Outcome {
    let Options { addr, name, arguments, compact, connection } = options;
    let arguments = arguments.read()?;
    let server = connection.connect(&addr).await?;
    let reply = once(&server, &name, &arguments).await;
    server.client.close().await;
    let pretty = !compact && io::stdout().is_terminal();
    Ok(writeln!(io::stdout(), "{}", json::text(&reply?, pretty))?)
}

/// Calls once.
pub(crate) async fn once(server: &Server, name: &str, arguments: &Value) -> Outcome<Value> {
    match server.options.add_to(server.client.call_json(name, arguments.clone())).await {
        Ok(reply) => Ok(reply),
        Err(error) => Err(failure(server, name, error).await),
    }
}

/// Why this method gave nothing.
pub(crate) async fn failure(server: &Server, name: &str, error: Error) -> Failure {
    if error.kind() != ErrorKind::Service {
        return server.explain(name, error).await;
    }
    Failure::new(format!("{name} refuses: {}", json::text(&error.service().unwrap_or_default(), false)), NO)
}
