//! `rpc diff`: what the second of two servers does to those who know the first.

use std::io::{self, Write as _};
use std::path::Path;

use rpc::schema::{Change, Schema, Verdict, compare};
use serde::Deserialize;

use crate::connect;
use crate::describe::Described;
use crate::failure::{Failure, NO, Outcome};
use crate::screen;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What there was: a server, a lock file, or a file that `rpc describe --json` has printed.
    #[arg(value_name = "ADDR|FILE")]
    old: String,
    /// What there is: the same.
    #[arg(value_name = "ADDR|FILE")]
    new: String,
    /// Without the methods that are identical.
    #[arg(short, long)]
    brief: bool,
    #[command(flatten)]
    connection: connect::Options,
}

/// Services by their names.
struct Side {
    services: Vec<(String, Schema)>,
    /// There may be more, of which it says nothing: a lock file.
    partial: bool,
}

impl Side {
    fn schema(&self, name: &str) -> Option<&Schema> {
        self.services.iter().find(|(known, _)| known == name).map(|(_, schema)| schema)
    }
}

/// As `rpc describe --json` prints it.
#[derive(Deserialize)]
struct Saved {
    name: String,
    schema: Schema,
}

pub(crate) async fn run(options: Options) -> Outcome {
    let Options { old, new, brief, connection } = options;
    let old = side(&old, &connection).await?;
    let new = side(&new, &connection).await?;
    let changes = changes(&old, &new)?;

    let mut out = io::stdout().lock();
    let color = screen::has_color(&out);
    let width = changes.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    for (name, change) in &changes {
        let (word, paint) = match change.verdict {
            Verdict::Identical if brief => continue,
            Verdict::Identical => ("identical", screen::DIM),
            Verdict::Compatible => ("compatible", screen::GREEN),
            _ => ("breaks", screen::RED),
        };
        let name = screen::printable(name);
        // A word stands beside the verdict, sentences below it.
        match change.reasons.as_slice() {
            [reason] if !reason.contains(' ') => {
                writeln!(out, "{name:width$}  {}: {}", screen::paint(color, paint, word), screen::printable(reason))?
            }
            reasons => {
                writeln!(out, "{name:width$}  {}", screen::paint(color, paint, word))?;
                reasons.iter().try_for_each(|reason| writeln!(out, "    {}", screen::printable(reason)))?;
            }
        }
    }
    let count = |verdict| changes.iter().filter(|(_, change)| change.verdict == verdict).count();
    let (identical, compatible) = (count(Verdict::Identical), count(Verdict::Compatible));
    let breaks = changes.len() - identical - compatible;
    writeln!(out, "{} methods: {identical} identical, {compatible} compatible, {breaks} broken", changes.len())?;
    if breaks > 0 { Err(Failure::said()) } else { Ok(()) }
}

/// All methods by their full names.
fn changes(old: &Side, new: &Side) -> Outcome<Vec<(String, Change)>> {
    let empty = Schema { methods: Vec::new(), nodes: Vec::new() };
    let mut names: Vec<&str> = old.services.iter().map(|(name, _)| name.as_str()).collect();
    names.extend(new.services.iter().map(|(name, _)| name.as_str()).filter(|name| old.schema(name).is_none()));
    // A lock file says nothing of other services.
    names.retain(|name| (!old.partial || old.schema(name).is_some()) && (!new.partial || new.schema(name).is_some()));
    let mut all = Vec::new();
    for name in names {
        let (old, new) = (old.schema(name).unwrap_or(&empty), new.schema(name).unwrap_or(&empty));
        let changes = compare(old, new).map_err(|error| Failure::new(format!("the schema of {name} makes no sense: {error}"), NO))?;
        let full = |method: &str| if name.is_empty() { method.to_owned() } else { format!("{name}.{method}") };
        all.extend(changes.into_iter().map(|change| (full(&change.method), change)));
    }
    Ok(all)
}

async fn side(place: &str, connection: &connect::Options) -> Outcome<Side> {
    // Also a pipe: `rpc diff <(rpc describe --json ADDR) ADDR`.
    if !place.starts_with("unix:") && Path::new(place).metadata().is_ok_and(|there| !there.is_dir()) {
        return read(place);
    }
    let server = connection.connect(place).await.map_err(|failure| {
        let looks_like_a_file = !place.contains(':') || place.ends_with(".json");
        if looks_like_a_file {
            Failure::usage(format!("`{place}` is neither a file nor an address: an address is `host:port` or `unix:PATH`"))
        } else {
            failure
        }
    })?;
    let described = Described::all(&server).await?;
    server.client.close().await;
    Ok(Side { services: described.into_iter().map(|described| (described.service.name, described.schema)).collect(), partial: false })
}

fn read(path: &str) -> Outcome<Side> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{path}: {error}")))?;
    if text.trim_start().starts_with('[') {
        let saved: Vec<Saved> =
            serde_json::from_str(&text).map_err(|error| Failure::usage(format!("{path} is not what `rpc describe --json` prints: {error}")))?;
        return Ok(Side { services: saved.into_iter().map(|saved| (saved.name, saved.schema)).collect(), partial: false });
    }
    let service = rpc::schema::read_lock(&text).map_err(|error| {
        Failure::usage(format!("{path}, {error}")).hint("the file is to be a lock file of a service, or what `rpc describe --json` has printed")
    })?;
    Ok(Side { services: vec![service], partial: true })
}
