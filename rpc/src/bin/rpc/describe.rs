//! `rpc describe`: services as Rust traits, or as JSON for programs and for `rpc diff`.

use std::io::{self, Write as _};

use rpc::reflection::Service;
use rpc::schema::Schema;
use serde::{Deserialize, Serialize};

use crate::connect::{self, Server, find, is_own, unknown};
use crate::failure::{Failure, Outcome};
use crate::{json, screen};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The server.
    addr: String,
    /// A service, or one method: all services without it.
    name: Option<String>,
    /// As JSON: what reflection says, with the schemas by which `rpc diff` compares.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: connect::Options,
}

/// A service as `--json` prints it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Described {
    #[serde(flatten)]
    pub(crate) service: Service,
    pub(crate) schema: Schema,
}

impl Described {
    /// All services that were meant for callers.
    pub(crate) async fn all(server: &Server) -> Outcome<Vec<Self>> {
        let mut services = server.services().await?;
        services.retain(|service| !is_own(service));
        Self::of(server, services).await
    }

    async fn of(server: &Server, services: Vec<Service>) -> Outcome<Vec<Self>> {
        let mut described = Vec::new();
        for service in services {
            let reflection = server.reflection();
            let schema = server.options.add_to(reflection.schema(&service.name)).await;
            let schema = schema.map_err(|error| server.without_reflection(error))?;
            let schema = schema.ok_or_else(|| Failure::new(format!("the server knows nothing of its own service `{}`", service.name), 70))?;
            described.push(Self { service, schema });
        }
        Ok(described)
    }
}

pub(crate) async fn run(options: Options) -> Outcome {
    let Options { addr, name, json: as_json, connection } = options;
    let server = connection.connect(&addr).await?;
    let mut services = server.services().await?;
    let mut one = None;
    match &name {
        None => services.retain(|service| !is_own(service)),
        Some(name) if services.iter().any(|service| service.name == *name) => services.retain(|service| service.name == *name),
        Some(name) => {
            let Some((service, method)) = find(&services, name) else { return Err(unknown(&services, name)) };
            one = Some((service.clone(), method.clone()));
        }
    }
    if as_json {
        if let Some((mut service, method)) = one {
            service.methods.retain(|known| known.name == method.name);
            services = vec![service];
        }
        let text = serde_json::to_string_pretty(&Described::of(&server, services).await?).map_err(io::Error::other)?;
        return Ok(writeln!(io::stdout(), "{}", json::shown(&text))?);
    }
    let text = match one {
        Some((service, method)) => [method.to_string(), service.definitions_for(&method)].into_iter().filter(|part| !part.is_empty()).collect(),
        None => services.iter().map(Service::to_string).collect::<Vec<_>>(),
    };
    print(text.join("\n").trim_end())
}

/// What is not code stands back.
fn print(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    let color = screen::has_color(&out);
    for line in text.lines() {
        let code = line.trim_start();
        match code {
            _ if code.starts_with("//") || code.starts_with("#[") => writeln!(out, "{}", screen::paint(color, screen::DIM, line))?,
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}
