//! What a server says of itself, to whoever may ask: its services and methods, with docs and types.
//!
//! [`Reflection`] is a service like any other, written as a trait: [`Server::reflection`](crate::Server::reflection) adds it to
//! a server, whose hook and limits hold for it too. Callers use [`ReflectionClient`], or `rpc.Reflection.services` by name.
//! The command line tool lives by it.
//!
//! ```
//! use rpc::Server;
//! use rpc::reflection::ReflectionClient;
//!
//! #[rpc::service]
//! trait Greeter {
//!     /// Says hello.
//!     async fn greet(&self, name: &str) -> String;
//! }
//!
//! # struct Polite;
//! # impl Greeter for Polite { async fn greet(&self, name: &str) -> String { format!("Hello, {name}!") } }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rpc::Error> {
//! let server = Server::new().add(GreeterServer::new(Polite)).reflection(true).bind("127.0.0.1:0").await?;
//! # let address = server.local_addr();
//! # tokio::spawn(server.serve());
//! let services = ReflectionClient::connect(address).await?.services().await?;
//! assert_eq!(services[0].to_string(), "\
//! #[rpc::service]
//! pub trait Greeter {
//!     /// Says hello.
//!     async fn greet(&self, name: String) -> String;
//! }
//! ");
//! # Ok(()) }
//! ```
//!
//! - `mod.rs`: what travels
//! - `answer.rs`: how a server answers
//! - `text.rs`: a service as a Rust trait

pub(crate) mod answer;
mod text;

use serde::{Deserialize, Serialize};

use crate::schema::Schema;

/// What a server says of itself.
#[crate::service(crate = "crate", name = "rpc.Reflection")]
pub trait Reflection {
    /// All services, in the order in which they were added, and after them the methods registered at run time, as a service
    /// without a name.
    #[rpc(blocking, idempotent)]
    fn services(&self) -> Vec<Service>;

    /// The types of all methods of this service, for tools that compare them; none if there is no such service.
    #[rpc(blocking, idempotent)]
    fn schema(&self, service: &str) -> Option<Schema>;
}

/// One service. Its `Display` is the trait as Rust text, with all types that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Service {
    /// Its name on the wire; empty for the methods that were registered at run time.
    pub name: String,
    /// The trait's doc comment.
    pub docs: String,
    /// In the order of their names.
    pub methods: Vec<Method>,
    /// The types that the methods name, as Rust text.
    pub definitions: String,
}

/// One method. Types are Rust text: `Vec<Line>`; what a `Line` is stands in [`Service::definitions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Method {
    /// Its name on the wire, without the service's.
    pub name: String,
    /// Its doc comment.
    pub docs: String,
    /// In order; without the stream, if it takes one.
    pub arguments: Vec<Argument>,
    /// The stream that it takes, with the type of the items.
    pub upload: Option<Argument>,
    /// What it returns, without its error. None of a method that gives no reply, or a stream.
    pub returns: Option<String>,
    /// Its own error.
    pub error: Option<String>,
    /// The items of the stream that it returns.
    pub items: Option<String>,
    /// There is no reply.
    pub oneway: bool,
    /// It may be sent again.
    pub idempotent: bool,
    /// It runs to its end whatever becomes of its caller.
    pub detached: bool,
    /// The deadline of a call that sets none, if it is not the client's.
    pub timeout_ms: Option<u64>,
    /// Why it should not be called any more; never empty.
    pub deprecated: Option<String>,
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Argument {
    /// Its name; of a method that was registered at run time, its position.
    pub name: String,
    /// As Rust text.
    pub r#type: String,
}
