//! Turn a Rust trait into a server and a client.
//!
//! The items stand in the order of a call's life.

mod client;
mod connection;
mod context;
mod error;
mod frame;
mod server;
mod service;
pub mod transport;

#[doc(hidden)]
pub mod __private;

pub use rpc_macros::service;
pub use service::Service;

#[cfg(feature = "json")]
pub use client::by_name::{Arguments, Named};
pub use client::{Call, Client, ClientOptions, Returned};
pub use context::{Context, Metadata, Peer};
pub use error::{CallError, Error, ErrorKind, Executed};
pub use frame::limits::Limits;
#[cfg(feature = "json")]
pub use server::by_name::Function;
pub use server::registry::{CallInfo, Hook};
pub use server::{Bound, Server};
pub use transport::Address;

/// For users' own objects that must be `dyn`: hooks, dialers, listeners.
pub use async_trait::async_trait;
