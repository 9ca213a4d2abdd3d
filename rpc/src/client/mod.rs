//! The caller's side.
pub(crate) mod call;

use serde::Serialize;

pub use self::call::{Call, Returned};
use crate::Error;
use crate::service::{Contract, Service};

/// A handle to a server.
#[derive(Clone, Debug)]
pub struct Client {}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// None yet.
    pub async fn connect(_address: impl AsRef<str>) -> Result<Self, Error> {
        Ok(Self {})
    }
    /// A service in this process, without a socket.
    #[must_use]
    pub fn local<S: Service>(_service: S) -> Self {
        Self {}
    }
    /// For generated code: a call to the method with this number, its arguments a tuple of references.
    #[doc(hidden)]
    pub fn __call<O>(&self, _contract: &'static Contract, _method: usize, _arguments: &(impl Serialize + ?Sized)) -> Call<'_, O> {
        Call::new(self)
    }
}
