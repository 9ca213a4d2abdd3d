//! Turn a Rust trait into a server and a client.
mod client;
mod context;
mod error;
mod frame;
mod server;
mod service;
#[doc(hidden)]
pub mod __private;

pub use client::{Call, Client, Returned};
pub use context::{Context, Metadata, Peer};
pub use error::{CallError, Error, ErrorKind, Executed};
pub use rpc_macros::service;
pub use service::Service;
