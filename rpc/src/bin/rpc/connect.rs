//! The server at an address, and what it says of itself.

use std::time::Duration;

use rpc::reflection::{Method, ReflectionClient, Service};
use rpc::{Call, Client, Error, ErrorKind};

use crate::duration;
use crate::failure::{Failure, Outcome};

/// The framework's own services begin so.
const OWN: &str = "rpc.";

/// What goes with every call.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Options {
    /// Gives up after this long: 250ms, 2s, 1m.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// Sent along with every call, for servers that ask who calls; may be given several times.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    #[cfg(feature = "tls")]
    #[command(flatten)]
    tls: Tls,
}

/// Speaks TLS.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Tls {
    /// Speaks TLS, with a server whose certificate is from this authority: PEM.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<std::path::PathBuf>,
    /// The certificate to show to the server: PEM.
    #[arg(long, value_name = "FILE", requires = "tls_ca", requires = "tls_key")]
    tls_cert: Option<std::path::PathBuf>,
    /// Its private key: PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<std::path::PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write a name and a value: NAME=VALUE".to_owned()),
    }
}

impl Options {
    /// Connects.
    pub(crate) async fn connect(&self, address: &str) -> Outcome<Server> {
        let options = Client::options();
        #[cfg(feature = "tls")]
        let options = self.tls.add_to(options)?;
        let client = options.connect(address).await?;
        Ok(Server { address: address.to_owned(), client, options: self.clone() })
    }

    /// The call with what goes along.
    pub(crate) fn add_to<'c, O>(&self, mut call: Call<'c, O>) -> Call<'c, O> {
        if let Some(timeout) = self.timeout {
            call = call.timeout(timeout);
        }
        self.metadata.iter().fold(call, |call, (name, value)| call.metadata(name, value.clone()))
    }
}

#[cfg(feature = "tls")]
impl Tls {
    fn add_to(&self, options: rpc::ClientOptions) -> Outcome<rpc::ClientOptions> {
        let Some(authority) = &self.tls_ca else { return Ok(options) };
        let mut tls = rpc::tls::ClientTls::from_ca_file(authority)?;
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls.client_certificate(certificate, key)?;
        }
        Ok(options.tls(tls))
    }
}

/// A server that has been connected to.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) client: Client,
    pub(crate) options: Options,
}

impl Server {
    pub(crate) fn reflection(&self) -> ReflectionClient {
        ReflectionClient::from(self.client.clone())
    }

    /// All that it serves.
    pub(crate) async fn services(&self) -> Outcome<Vec<Service>> {
        let reflection = self.reflection();
        self.options.add_to(reflection.services()).await.map_err(|error| self.without_reflection(error))
    }

    /// The failure, with what to do if it is for want of reflection.
    pub(crate) fn without_reflection(&self, error: Error) -> Failure {
        if error.kind() != ErrorKind::Unimplemented {
            return error.into();
        }
        Failure::of_kind(ErrorKind::Unimplemented, format!("the server at {} does not say what it serves", self.address)).hint(
            "reflection is off: turn it on where the server is made, `Server::new().add(..).reflection(true)`\n`rpc call` needs none, if you know the method",
        )
    }

    /// The failure of a call to this method, with what to do about it if the server can tell.
    pub(crate) async fn explain(&self, name: &str, error: Error) -> Failure {
        let kind = error.kind();
        let failure = Failure::from(error);
        let is_known = kind == ErrorKind::Unimplemented && failure.has_hint();
        if is_known || !matches!(kind, ErrorKind::Unimplemented | ErrorKind::Malformed) {
            return failure;
        }
        // Only for a better message: a server that says nothing of itself is no failure here.
        let Ok(services) = self.services().await else { return failure };
        match find(&services, name) {
            Some((_, method)) => failure.hint(format!("the method is `{}`", signature(method))),
            None if kind == ErrorKind::Unimplemented => unknown(&services, name),
            None => failure,
        }
    }
}

/// The full names of all methods, in order.
pub(crate) fn names(services: &[Service]) -> impl Iterator<Item = (String, &Method)> {
    services.iter().flat_map(|service| service.methods.iter().map(|method| (full_name(service, method), method)))
}

pub(crate) fn full_name(service: &Service, method: &Method) -> String {
    if service.name.is_empty() { method.name.clone() } else { format!("{}.{}", service.name, method.name) }
}

pub(crate) fn find<'a>(services: &'a [Service], name: &str) -> Option<(&'a Service, &'a Method)> {
    let methods = services.iter().flat_map(|service| service.methods.iter().map(move |method| (service, method)));
    methods.into_iter().find(|(service, method)| full_name(service, method) == name)
}

/// Part of the framework, and not of what a server was made for.
pub(crate) fn is_own(service: &Service) -> bool {
    service.name.starts_with(OWN)
}

/// The last line of the method as Rust text: no docs, no attributes.
fn signature(method: &Method) -> String {
    let text = method.to_string();
    let lines = text.lines().skip_while(|line| line.starts_with("//") || line.starts_with("#["));
    lines.collect::<Vec<_>>().join(" ").trim_end_matches(';').to_owned()
}

/// There is no such method or service: those that may have been meant.
pub(crate) fn unknown(services: &[Service], name: &str) -> Failure {
    let failure = Failure::of_kind(ErrorKind::Unimplemented, format!("the server has no method or service `{name}`"));
    let known: Vec<String> = names(services).map(|(name, _)| name).chain(services.iter().map(|service| service.name.clone())).collect();
    let near = |known: &&String| {
        let (known, name) = (known.to_lowercase(), name.to_lowercase());
        let short = known.rsplit('.').next().unwrap_or_default();
        short == name || distance(&known, &name) <= 2
    };
    let meant: Vec<String> = known.iter().filter(near).map(|name| format!("`{name}`")).collect();
    match meant.as_slice() {
        [] => failure.hint("`rpc list ADDR` prints what there is"),
        meant => failure.hint(format!("did you mean {}?", meant.join(" or "))),
    }
}

/// How many letters have to be added, left out or changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, known) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *known);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        let distances =
            [("", ""), ("pay", "pay"), ("pay", "pray"), ("quote", "qoute"), ("", "abc"), ("abc", "")].map(|(one, other)| distance(one, other));
        assert_eq!(distances, [0, 0, 1, 2, 3, 3]);
    }

    #[test]
    fn metadata_is_a_name_and_a_value() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
