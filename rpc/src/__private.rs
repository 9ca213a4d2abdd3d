//! The only door for generated code. Nothing here is part of the public API.

pub use crate::client::call::{Fallible, NotResult, Probe};
pub use crate::frame::payload::{Bytes, CowStr};
pub use crate::server::handler::{Request, blocking, next};
pub use crate::service::{Contract, Handler, Hash, Method};
pub use std::borrow::Cow;
pub use std::boxed::Box;
pub use std::sync::{Arc, OnceLock};
pub use std::vec::Vec;

/// What every type parameter of a generic service has to be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a type parameter of a service",
    note = "it travels between the ends: it must be `Serialize + DeserializeOwned + Send + Sync + 'static`"
)]
pub trait Wire: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static {}
impl<T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static> Wire for T {}
