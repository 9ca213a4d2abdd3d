//! Calls without the trait: by name, with JSON.

use serde::Serialize;
use serde_json::Value;

use futures_core::Stream;

use super::call::Call;
use crate::connection::link::Callee;
use crate::frame::payload::{self, Encoding};
use crate::streaming::Upload;
use crate::{Client, Error, Streaming};

impl Client {
    /// Calls a method by its name: `Shop.pay` for a trait's, or the name a run-time method was registered under.
    ///
    /// Arguments are a tuple, by position, or [`Named`], by name. They travel as JSON, and so does the result.
    ///
    /// # Errors
    /// `Unimplemented` when the server has no such method; `Malformed` when it takes other arguments, or gives another
    /// result; `Service` when the method returned an error of its own: see [`Error::service`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (listener, dialer) = rpc::transport::memory::pair();
    /// let server = rpc::Server::new().method("add", |a: u32, b: u32| async move { a + b }).listen(listener)?;
    /// tokio::spawn(server.serve());
    ///
    /// let client = rpc::Client::options().dial(dialer).await?;
    /// let sum: u32 = client.call("add", (1, 2)).await?;
    /// assert_eq!(sum, 3);
    /// # Ok(()) }
    /// ```
    pub fn call<T>(&self, method: &str, arguments: impl Arguments) -> Call<'_, Result<T, Error>> {
        Call::new(&self.inner, Callee::Named(method.into()), false, |limit, out, _| {
            payload::encode_arguments(&arguments, Encoding::Json, limit, out, None)
        })
    }

    /// Calls a method by its name with JSON as it is: an array of arguments by position, or an object by their names. So is the result.
    ///
    /// # Errors
    /// Those of [`call`](Self::call). The method's own error is JSON too: `error.service::<serde_json::Value>()`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (listener, dialer) = rpc::transport::memory::pair();
    /// # let server = rpc::Server::new().method("add", |a: u32, b: u32| async move { a + b }).listen(listener)?;
    /// # tokio::spawn(server.serve());
    /// # let client = rpc::Client::options().dial(dialer).await?;
    /// let arguments: serde_json::Value = serde_json::from_str("[1, 2]")?;
    /// assert_eq!(client.call_json("add", arguments).await?, 3);
    /// # Ok(()) }
    /// ```
    pub fn call_json(&self, method: &str, arguments: impl Into<Value>) -> Call<'_, Result<Value, Error>> {
        let arguments = arguments.into();
        Call::new(&self.inner, Callee::Named(method.into()), false, |limit, out, _| payload::encode_value(&arguments, limit, out))
    }

    /// Calls a method that returns a stream by its name, with JSON as it is. So are the items.
    ///
    /// # Errors
    /// Those of [`call_json`](Self::call_json), the method's own error among them if it refuses the stream. `Unimplemented` when the
    /// method returns no stream, as it is when [`call_json`](Self::call_json) meets one that does: it has not run then.
    ///
    /// ```
    /// # #[rpc::service] trait Count { fn to(&self, end: u32) -> impl rpc::Stream<Item = u32>; }
    /// # struct My; impl Count for My { fn to(&self, end: u32) -> impl rpc::Stream<Item = u32> { futures_util::stream::iter(0..end) } }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = rpc::Client::local(CountServer::new(My));
    /// let mut numbers = client.watch_json("Count.to", vec![3]).await?;
    /// while let Some(number) = numbers.next().await {
    ///     println!("{}", number?);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn watch_json(&self, method: &str, arguments: impl Into<Value>) -> Call<'_, Result<Streaming<Value>, Error>> {
        let arguments = arguments.into();
        Call::new(&self.inner, Callee::Named(method.into()), false, |limit, out, _| payload::encode_value(&arguments, limit, out))
            .streaming(true, None)
    }

    /// Calls a method that takes a stream, and returns none, by its name. Arguments, items and reply are JSON as they are; the argument that
    /// is the stream is not one of the arguments.
    ///
    /// # Errors
    /// Those of [`call_json`](Self::call_json); `Unimplemented` when the method takes no stream, or returns one too.
    pub fn upload_json(
        &self,
        method: &str,
        arguments: impl Into<Value>,
        items: impl Stream<Item = Value> + Send + 'static,
    ) -> Call<'_, Result<Value, Error>> {
        let arguments = arguments.into();
        Call::new(&self.inner, Callee::Named(method.into()), false, |limit, out, _| payload::encode_value(&arguments, limit, out))
            .streaming(false, Some(Upload::json(items)))
    }

    /// As [`call_json`](Self::call_json), or one of those with streams, with arguments that are JSON already; reply and items stay JSON.
    #[cfg(feature = "http")]
    pub(crate) fn call_raw_json(&self, method: &str, arguments: &[u8], upload: Option<Upload>, downloads: bool) -> Call<'_, super::call::Json> {
        let write = |_: usize, out: &mut Vec<u8>, _: &mut _| {
            out.extend_from_slice(arguments);
            Ok(())
        };
        let call = Call::new(&self.inner, Callee::Named(method.into()), false, write);
        if downloads || upload.is_some() { call.streaming(downloads, upload) } else { call }
    }
}

/// Arguments of a call by name: a tuple, or [`Named`].
#[diagnostic::on_unimplemented(
    message = "arguments of a call by name are a tuple",
    label = "write `(value,)` for one argument, `()` for none",
    note = "or `Named(value)` to pass a struct or map by argument names"
)]
pub trait Arguments: Serialize {}

macro_rules! arguments {
    ($($argument:ident)*) => {
        impl<$($argument: Serialize),*> Arguments for ($($argument,)*) {}
    };
}
arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
arguments!(A B C D E F);
arguments!(A B C D E F G);
arguments!(A B C D E F G H);

/// No arguments. As an empty array: JSON's `null` would be one argument.
impl Arguments for () {}

/// Arguments by name: a struct or a map whose fields are named as the method's arguments.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub struct Named<T>(pub T);

impl<T: Serialize> Arguments for Named<T> {}
