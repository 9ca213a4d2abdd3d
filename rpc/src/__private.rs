//! The only door for generated code. Nothing here is part of the public API.

pub use crate::client::call::{Fallible, NotResult, Probe};
pub use crate::frame::payload::{Bytes, CowStr, Fault};
pub use crate::schema::{Reader, Root, Run};
pub use crate::server::handler::{Request, blocking, next};
pub use crate::service::{Contract, Contracts, Handler, HasContract, Method};
pub use crate::streaming::Upload;
pub use crate::{Call, Client, IntoStreaming, SlowConsumer, Streaming};
pub use std::borrow::Cow;
pub use std::boxed::Box;
pub use std::sync::Arc;
pub use std::vec::Vec;

use std::marker::PhantomData;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::frame::limits::SCHEMA_MEMORY;
use crate::frame::payload::{self, Budget, Encoding};
use crate::schema;
use crate::schema::lock::{self, Lock};
use crate::{Stream, streaming};

/// What every type parameter of a generic service has to be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a type parameter of a service",
    note = "it travels between the ends: it must be `Serialize + DeserializeOwned + Send + Sync + 'static`"
)]
pub trait Wire: Serialize + DeserializeOwned + Send + Sync + 'static {}
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Wire for T {}

/// What every argument has to be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a service",
    label = "it cannot be sent",
    note = "an argument travels to a task on the server: it must be `Serialize`, `Deserialize` and `Send`"
)]
pub trait Argument<'de>: Serialize + Deserialize<'de> + Send {}
#[diagnostic::do_not_recommend]
impl<'de, T: Serialize + Deserialize<'de> + Send> Argument<'de> for T {}

/// What a return value has to be, and its error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a service",
    label = "it cannot be sent",
    note = "a return value and its error travel to the caller: both must be `Serialize` and `DeserializeOwned`"
)]
pub trait Reply: Serialize + DeserializeOwned {}
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Reply for T {}

/// What every item of a stream has to be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an item of a stream",
    label = "it cannot be sent",
    note = "an item travels to the other end: it must be `Serialize`, `DeserializeOwned`, `Send` and `'static`"
)]
pub trait Item: Serialize + DeserializeOwned + Send + 'static {}
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Item for T {}

/// Stands for the type of an argument in generated code.
///
/// Its bound is the only one that a user's type meets there, so a type that cannot be sent is one error, at the place
/// where the user wrote it. What comes back is opaque and promises all that the rest of the code asks.
#[must_use]
pub fn argument<'de, T: Argument<'de>>() -> impl Passes<'de, Value = T> {
    Typed(PhantomData)
}

/// The same for what a method returns, as a whole or each half of a `Result`.
#[must_use]
pub fn reply<T: Reply>() -> impl Returns<Value = T> {
    Typed(PhantomData)
}

/// The same for the items of a stream.
#[must_use]
pub fn item<T: Item>() -> impl Items<Value = T> {
    Typed(PhantomData)
}

/// See [`item`].
pub trait Items: Sized {
    /// The type.
    type Value: Send;
    /// On a server: sends every item, and ends the request.
    fn send_all(self, request: &Request, stream: impl Stream<Item = Self::Value> + Send) -> impl Future<Output = ()> + Send;
    /// On a server: the caller's items.
    fn receive(self, request: &Request) -> Streaming<Self::Value>;
    /// On a client.
    fn upload(self, items: impl IntoStreaming<Self::Value>) -> Upload;
    /// Reads an item.
    ///
    /// # Errors
    /// As [`Reader::read`].
    fn read(self, reader: Reader<'_, '_>) -> Result<(), Fault>;
}

impl<T: Item> Items for Typed<T> {
    type Value = T;
    fn send_all(self, request: &Request, stream: impl Stream<Item = T> + Send) -> impl Future<Output = ()> + Send {
        streaming::send_all(request, stream)
    }
    fn receive(self, request: &Request) -> Streaming<T> {
        streaming::receive(request)
    }
    fn upload(self, items: impl IntoStreaming<T>) -> Upload {
        items.into_upload()
    }
    fn read(self, reader: Reader<'_, '_>) -> Result<(), Fault> {
        reader.read::<T>()
    }
}

/// See [`argument`].
pub trait Passes<'de>: Sized {
    /// The type.
    type Value: Deserialize<'de>;
    /// A value of it, for the client to encode.
    fn lend(self, value: &Self::Value) -> impl Serialize;
    /// Several of it.
    fn lend_all(self, values: &[Self::Value]) -> impl Serialize;
    /// The type of several.
    fn many(self) -> impl Passes<'de, Value = Vec<Self::Value>>;
    /// Reads a value of it.
    ///
    /// # Errors
    /// As [`Reader::read`].
    fn read(self, reader: Reader<'_, 'de>) -> Result<(), Fault>;
}

/// See [`reply`].
pub trait Returns: Sized {
    /// The type.
    type Value: Serialize;
    /// A value of it, for the server to encode.
    fn lend(self, value: &Self::Value) -> impl Serialize;
    /// A `Result` with this error, for the server to encode.
    fn lend_result<E: Returns>(self, _: E, value: &Result<Self::Value, E::Value>) -> impl Serialize;
    /// Reads a value of it.
    ///
    /// # Errors
    /// As [`Reader::read`].
    fn read(self, reader: Reader<'_, '_>) -> Result<(), Fault>;
}

struct Typed<T>(PhantomData<fn() -> T>);

impl<'de, T: Serialize + Deserialize<'de>> Passes<'de> for Typed<T> {
    type Value = T;
    #[inline]
    fn lend(self, value: &T) -> impl Serialize {
        value
    }
    #[inline]
    fn lend_all(self, values: &[T]) -> impl Serialize {
        values
    }
    #[inline]
    fn many(self) -> impl Passes<'de, Value = Vec<T>> {
        Typed(PhantomData)
    }
    fn read(self, reader: Reader<'_, 'de>) -> Result<(), Fault> {
        reader.read::<T>()
    }
}

impl<T: Serialize + DeserializeOwned> Returns for Typed<T> {
    type Value = T;
    #[inline]
    fn lend(self, value: &T) -> impl Serialize {
        value
    }
    #[inline]
    fn lend_result<E: Returns>(self, _: E, value: &Result<T, E::Value>) -> impl Serialize {
        value
    }
    fn read(self, reader: Reader<'_, '_>) -> Result<(), Fault> {
        reader.read::<T>()
    }
}

/// All arguments of a method.
pub trait Arguments<'de> {
    /// Their values, as a tuple.
    type Values: Deserialize<'de>;
}

macro_rules! arguments {
    ($($name:ident)*) => {
        impl<'de, $($name: Passes<'de>),*> Arguments<'de> for ($($name,)*) {
            type Values = ($($name::Value,)*);
        }
    };
}
arguments!();
arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
arguments!(A B C D E F);
arguments!(A B C D E F G);
arguments!(A B C D E F G H);
arguments!(A B C D E F G H I);
arguments!(A B C D E F G H I J);
arguments!(A B C D E F G H I J K);
arguments!(A B C D E F G H I J K L);
arguments!(A B C D E F G H I J K L M);
arguments!(A B C D E F G H I J K L M N);
arguments!(A B C D E F G H I J K L M N O);
arguments!(A B C D E F G H I J K L M N O P);

/// A handler of the method with this number.
///
/// # Panics
/// If there is none.
#[inline]
pub fn handler<S>(handlers: &[fn(Arc<S>) -> Handler], service: &Arc<S>, method: usize) -> Handler {
    handlers[method](service.clone())
}

/// The arguments of this request.
///
/// # Errors
/// As [`Request::arguments`].
#[inline]
pub fn arguments<'a, A: Arguments<'a>>(request: &'a Request, _: A) -> Result<A::Values, crate::Error> {
    request.arguments()
}

/// The codec alone, for its bench: appends a value as it travels.
///
/// # Errors
/// As for an item of a stream.
#[inline]
pub fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), crate::Error> {
    payload::encode_item(value, usize::MAX, out)
}

/// The other way, within the default budget.
///
/// # Errors
/// As for a reply.
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, crate::Error> {
    payload::decode_reply(bytes, Encoding::Postcard, Budget::default())
}

/// For the bench of adapting: what the writer of a message knows of its type.
#[derive(Debug)]
pub struct Writer {
    peer: schema::peer::Peer,
    root: schema::Id,
}

impl Writer {
    /// From the bytes of a schema, as a peer sends it, and the place of a type in its table.
    ///
    /// # Errors
    /// What is wrong with the schema.
    pub fn new(schema: &[u8], root: schema::Id) -> Result<Self, String> {
        let peer = schema::peer::Peer::parse(schema, SCHEMA_MEMORY)?;
        if root as usize >= peer.schema().nodes.len() {
            return Err(format!("a schema without a type with the number {root}"));
        }
        Ok(Self { peer, root })
    }

    /// As [`decode`], of what this writer wrote.
    ///
    /// # Errors
    /// As for a reply.
    #[inline]
    pub fn adapt<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Fault> {
        schema::adapt::value(&self.peer, self.root, bytes, Budget::default())
    }
}

/// In a generated test: what is in this service's types arrives as it was sent.
///
/// # Panics
/// When it does not, with what to change.
pub fn assert_travels(contract: &'static Contract) {
    let problems = &contract.own().problems;
    assert!(problems.is_empty(), "{} has types that do not travel as they are:\n{}", contract.name, problems.join("\n"));
}

/// In a generated test: the service is what its lock file says, or the file is written anew if that is asked for. Some of its methods may be
/// behind a `#[cfg]`.
///
/// # Panics
/// When it is not, with what that breaks.
pub fn assert_locked(contract: &'static Contract, root: &str, file: &str, conditional: &[&str]) {
    let variable = std::env::var(lock::VARIABLE).ok();
    if let Err(text) = lock::check(&Lock::of(contract), &Path::new(root).join(file), variable.as_deref()) {
        panic!("{text}{}", lock::of_features(contract, conditional));
    }
}
