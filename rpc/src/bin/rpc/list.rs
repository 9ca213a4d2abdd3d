//! `rpc list`: the names of all methods.

use std::io::{self, Write as _};

use crate::connect::{self, is_own, names};
use crate::failure::Outcome;
use crate::screen;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The server.
    addr: String,
    /// With what each method is for: the first line of its docs.
    #[arg(short, long)]
    long: bool,
    /// With the services of the framework itself.
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    connection: connect::Options,
}

pub(crate) async fn run(options: Options) -> Outcome {
    let Options { addr, long, all, connection } = options;
    let mut services = connection.connect(&addr).await?.services().await?;
    services.retain(|service| all || !is_own(service));
    let width = names(&services).map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let mut out = io::stdout().lock();
    let color = screen::has_color(&out);
    for (name, method) in names(&services) {
        let name = screen::printable(&name);
        let docs = screen::printable(method.docs.lines().next().unwrap_or_default());
        match docs.as_str() {
            docs if long && !docs.is_empty() => writeln!(out, "{name:width$}  {}", screen::paint(color, screen::DIM, docs))?,
            _ => writeln!(out, "{name}")?,
        }
    }
    Ok(())
}
