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
#[diagnostic::do_not_recommend]
impl<T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static> Wire for T {}

/// What every argument has to be.
///
/// Generated code names the type of an argument as `<Cart as Argument<'_>>::Itself`. Where `Cart` is none, that path is
/// the one error: the compiler knows nothing of the type behind it and so finds no fault with what is done to it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a service",
    label = "it cannot be sent",
    note = "an argument travels to the server, into a task there: it must be `Serialize`, `Deserialize` and `Send`"
)]
pub trait Argument<'de> {
    /// The type.
    type Itself: serde::Serialize + serde::Deserialize<'de> + Send;
    /// The value.
    fn itself(&self) -> &Self::Itself;
}
#[diagnostic::do_not_recommend]
impl<'de, T: serde::Serialize + serde::Deserialize<'de> + Send> Argument<'de> for T {
    type Itself = T;
    #[inline]
    fn itself(&self) -> &T {
        self
    }
}

/// A slice, by the type of its items.
#[inline]
pub fn items<T: serde::Serialize>(items: &[T]) -> &[T] {
    items
}

/// What a return value has to be, and an error: the same for the way back.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a service",
    label = "it cannot be sent",
    note = "a return value and its error travel to the caller: both must be `Serialize` and `DeserializeOwned`"
)]
pub trait Reply {
    /// The type.
    type Itself: serde::Serialize + serde::de::DeserializeOwned;
}
#[diagnostic::do_not_recommend]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Reply for T {
    type Itself = T;
}
