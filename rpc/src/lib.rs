//! Turn a Rust trait into a server and a client.
//!
//! The trait is the whole contract. [`service`] makes of `trait Shop` a `ShopServer`, which serves any implementation, and a
//! `ShopClient`, which has the same methods and calls them in another process. Arguments and results are any serde types.
//! Calls are multiplexed on one connection, deadlines and cancellation cross it, and every error says whether the method ran.
//!
//! ```
//! use rpc::Server;
//!
//! #[rpc::service]
//! trait Greeter {
//!     async fn greet(&self, name: &str) -> String;
//! }
//!
//! struct Polite;
//!
//! impl Greeter for Polite {
//!     async fn greet(&self, name: &str) -> String {
//!         format!("Hello, {name}!")
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rpc::Error> {
//! let server = Server::new().add(GreeterServer::new(Polite)).bind("127.0.0.1:0").await?;
//! let address = server.local_addr();
//! tokio::spawn(server.serve());
//!
//! let greeter = GreeterClient::connect(address).await?;
//! assert_eq!(greeter.greet("world").await?, "Hello, world!");
//! greeter.close().await;
//! # Ok(()) }
//! ```
//!
//! # The trait
//!
//! Methods are `async fn`s on `&self` and return whatever serde can write and read; a `Result` is not forced on them. Arguments
//! may be borrowed: the implementation borrows from the request. An argument `cx: &Context` is the server's alone, and the
//! client's method has no such argument. [`service`] has the options of services and methods.
//!
//! ```
//! use rpc::Context;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Receipt {
//!     id: u64,
//! }
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! enum PayError {
//!     Declined,
//! }
//!
//! /// Doc comments travel to the client's methods.
//! #[rpc::service(name = "shop.v1")]
//! trait Shop {
//!     #[rpc(idempotent, timeout = "5s")]
//!     async fn price(&self, sku: &str) -> Option<u64>;
//!
//!     #[rpc(idempotent, detached)]
//!     async fn pay(&self, cx: &Context, key: String, cents: u64) -> Result<Receipt, PayError>;
//!
//!     #[rpc(oneway)]
//!     async fn note(&self, text: String);
//! }
//! # fn main() {}
//! ```
//!
//! # The server
//!
//! A [`Server`] takes services and run-time methods, all on one address: `host:port`, `unix:PATH`, or any [`transport`]. A
//! [`Hook`] sees each call before its arguments are decoded, and may refuse it. [`Bound::serve_until`] drains: no new calls,
//! those in flight may end.
//!
//! ```
//! use rpc::{CallInfo, Error, ErrorKind, Server};
//!
//! # #[cfg(feature = "json")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let server = Server::new()
//!     .method("ping", |n: u64| async move { n + 1 })
//!     .hook(|call: &CallInfo| match call.metadata.get("token") {
//!         Some("secret") => Ok(()),
//!         _ => Err(Error::new(ErrorKind::Unauthenticated, "who are you?")),
//!     })
//!     .bind("127.0.0.1:0")
//!     .await?;
//! let address = server.local_addr();
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let serving = tokio::spawn(server.serve_until(async {
//!     stopped.await.ok();
//! }));
//!
//! let client = rpc::Client::connect(address).await?;
//! let n: u64 = client.call("ping", (41,)).metadata("token", "secret").await?;
//! assert_eq!(n, 42);
//! let error = client.call::<u64>("ping", (41,)).await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Unauthenticated);
//!
//! stop.send(()).ok();
//! serving.await.expect("the server does not panic")?;
//! # Ok(()) }
//! # #[cfg(not(feature = "json"))] fn main() {}
//! ```
//!
//! # The client
//!
//! A client is a handle: clones are cheap and share one connection, every method takes `&self`. It derefs to [`Client`] for
//! `close` and `call`. When the connection is lost, the next call dials again. A [`Call`] is a future: it is sent at its first
//! poll and borrows the client unless it is [`owned`](Call::owned).
//!
//! `local` serves in the same process: any implementation of the trait is a fake for a test.
//!
//! ```
//! # #[rpc::service] trait Adder { async fn add(&self, a: u32, b: u32) -> u32; }
//! # struct Plain; impl Adder for Plain { async fn add(&self, a: u32, b: u32) -> u32 { a + b } }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let adder = AdderClient::local(Plain);
//! let (three, seven) = tokio::try_join!(adder.add(1, 2), adder.add(3, 4))?;
//! assert_eq!((three, seven), (3, 7));
//! let spawned = tokio::spawn(adder.add(5, 6).owned());
//! assert_eq!(spawned.await??, 11);
//! # Ok(()) }
//! ```
//!
//! # Streams
//!
//! Items can travel during a call: from the server, from the client, or both ways. They are any serde types, and go many to a
//! frame. A method that returns an `impl Stream` gives its caller a [`Streaming`]: each item is a `Result`, since the
//! connection may be lost between any two of them. The stream may borrow from `self` and the arguments.
//!
//! ```
//! use futures_util::stream;
//! use rpc::Stream;
//!
//! #[rpc::service]
//! trait Shop {
//!     fn prices(&self, skus: Vec<String>) -> impl Stream<Item = (String, u64)>;
//! }
//!
//! struct Stall;
//!
//! impl Shop for Stall {
//!     fn prices(&self, skus: Vec<String>) -> impl Stream<Item = (String, u64)> {
//!         stream::iter(skus.into_iter().zip([450, 1200]))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rpc::Error> {
//! let shop = ShopClient::local(Stall);
//! let mut prices = shop.prices(vec!["tea".to_owned(), "pot".to_owned()]).await?;
//! while let Some(price) = prices.next().await {
//!     let (sku, cents) = price?;
//!     println!("{sku}: {cents}");
//! }
//! # Ok(()) }
//! ```
//!
//! An `async fn` may refuse before there is a stream; its caller then has the method's own error and no `Streaming`. Errors that
//! come between items are an item type: `impl Stream<Item = Result<T, E>>`.
//!
//! ```
//! # use futures_util::stream;
//! # use rpc::{CallError, Stream};
//! # use serde::{Deserialize, Serialize};
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! enum WatchError {
//!     UnknownSku,
//! }
//!
//! #[rpc::service]
//! trait Shop {
//!     async fn watch(&self, sku: &str) -> Result<impl Stream<Item = u64>, WatchError>;
//! }
//!
//! # struct Stall;
//! impl Shop for Stall {
//!     async fn watch(&self, sku: &str) -> Result<impl Stream<Item = u64>, WatchError> {
//!         if sku != "tea" {
//!             return Err(WatchError::UnknownSku);
//!         }
//!         Ok(stream::iter([450, 460, 440]))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let shop = ShopClient::local(Stall);
//! match shop.watch("coffee").await {
//!     Ok(_) => println!("there is coffee"),
//!     Err(CallError::Service(WatchError::UnknownSku)) => println!("there is no coffee"),
//!     Err(CallError::Rpc(error)) => println!("{error}"),
//! }
//! # assert!(matches!(shop.watch("coffee").await, Err(CallError::Service(WatchError::UnknownSku))));
//! # assert_eq!(shop.watch("tea").await.ok().unwrap().next().await.unwrap()?, 450);
//! # Ok(()) }
//! ```
//!
//! An argument that is a `Streaming` takes items from the client, which passes any [`Stream`].
//!
//! ```
//! use futures_util::stream;
//! use rpc::Streaming;
//!
//! #[rpc::service]
//! trait Stock {
//!     /// Adds these quantities; the sum.
//!     async fn add(&self, sku: &str, quantities: Streaming<u32>) -> Result<u32, String>;
//! }
//!
//! # struct Shelf;
//! impl Stock for Shelf {
//!     async fn add(&self, sku: &str, mut quantities: Streaming<u32>) -> Result<u32, String> {
//!         let mut sum = 0;
//!         while let Some(quantity) = quantities.next().await {
//!             sum += quantity.map_err(|error| format!("{sku}: {error}"))?;
//!         }
//!         Ok(sum)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let stock = StockClient::local(Shelf);
//! assert_eq!(stock.add("tea", stream::iter([1, 2, 3])).await.unwrap(), 6);
//! # }
//! ```
//!
//! Both together are a conversation. [`Streaming::channel`] gives a [`Sender`] and the stream to pass.
//!
//! ```
//! use futures_util::stream;
//! use rpc::{Stream, Streaming};
//!
//! #[rpc::service]
//! trait Echo {
//!     fn echo(&self, lines: Streaming<String>) -> impl Stream<Item = String>;
//! }
//!
//! # struct Loud;
//! impl Echo for Loud {
//!     fn echo(&self, lines: Streaming<String>) -> impl Stream<Item = String> {
//!         stream::unfold(lines, |mut lines| async move {
//!             let line = lines.next().await?.ok()?;
//!             Some((line.to_uppercase(), lines))
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rpc::Error> {
//! # let client = EchoClient::local(Loud);
//! let (say, lines) = Streaming::channel();
//! let mut answers = client.echo(lines).await?;
//! say.send("hello".to_owned()).await?;
//! assert_eq!(answers.next().await.unwrap()?, "HELLO");
//! say.finish();
//! assert!(answers.next().await.is_none());
//! # Ok(()) }
//! ```
//!
//! - **Flow control.** Who does not read stops the sender, and nobody else: 16 KiB wait for a reader at first, up to 256 KiB once
//!   it has kept up. Until then [`Sender::send`] waits, and any other stream is not polled.
//! - **Cancellation.** A client that drops its [`Streaming`] cancels the call, and with it the handler. A handler that drops its
//!   own stops the sender, while the call goes on; so does an answer before the last item.
//! - **Deadlines.** A call with streams has none, unless its method or the caller names one; it then covers the whole stream.
//! - **Aborts.** Only the sender's own end is a normal end, [`Sender::finish`] or `None`. A `Sender` that is dropped, a panic, a
//!   cancelled call or a lost connection is an error to a reader before it is `None`. It also ends the handler, which may be
//!   dropped before it has read that far; one that has to know is `#[rpc(detached)]`.
//!
//! # Errors
//!
//! A method that returns `T` gives `Result<T, `[`Error`]`>` to its caller; one that returns `Result<T, E>` gives
//! `Result<T, `[`CallError<E>`](CallError)`>`. Both answer `kind` and `executed`: [`Executed::No`] means that a call can be made
//! again, [`Executed::Maybe`] that nobody knows, [`Executed::Yes`] that it happened.
//!
//! ```
//! use rpc::{CallError, Executed};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Debug, Serialize, Deserialize)] enum PriceError { UnknownSku }
//! # #[rpc::service] trait Shop { async fn price(&self, sku: &str) -> Result<u64, PriceError>; }
//! # struct Empty; impl Shop for Empty { async fn price(&self, _: &str) -> Result<u64, PriceError> { Err(PriceError::UnknownSku) } }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let shop = ShopClient::local(Empty);
//! match shop.price("tea").await {
//!     Ok(cents) => println!("{cents}"),
//!     Err(CallError::Service(PriceError::UnknownSku)) => println!("there is no tea"),
//!     Err(CallError::Rpc(error)) if error.executed() == Executed::No => println!("try again: {error}"),
//!     Err(CallError::Rpc(error)) => println!("{error}, executed: {}", error.executed()),
//! }
//! # }
//! ```
//!
//! # Deadlines and cancellation
//!
//! Every call without streams has a deadline: its own [`timeout`](Call::timeout), or its method's, or the client's, which is
//! 30 s. It travels with the call, and the handler is dropped at its next await once it has passed. Calls made inside a handler
//! have no more time than that handler. Dropping a call cancels its handler too. `#[rpc(detached)]` handlers run to their end regardless.
//!
//! ```
//! use std::time::Duration;
//! # #[rpc::service] trait Sleeper { async fn sleep(&self, seconds: u64); }
//! # struct Deep; impl Sleeper for Deep { async fn sleep(&self, s: u64) { tokio::time::sleep(Duration::from_secs(s)).await } }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! # let sleeper = SleeperClient::local(Deep);
//! let error = sleeper.sleep(3600).timeout(Duration::from_secs(2)).await.unwrap_err();
//! assert!(error.is_timeout());
//! assert_eq!(error.executed(), rpc::Executed::Maybe);
//! # }
//! ```
//!
//! # Calls by name
//!
//! With the feature `json` (on by default) every method can be called without its trait, by name, with JSON values: arguments
//! are a tuple, by position, or [`Named`]. A mistake in them is found before the method runs.
//!
//! ```
//! # #[cfg(feature = "json")] mod example {
//! use rpc::{ErrorKind, Executed, Named};
//! # #[rpc::service] trait Adder { async fn add(&self, a: u32, b: u32) -> u32; }
//! # struct Plain; impl Adder for Plain { async fn add(&self, a: u32, b: u32) -> u32 { a + b } }
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let client = rpc::Client::local(AdderServer::new(Plain));
//! let sum: u32 = client.call("Adder.add", (1, 2)).await?;
//! assert_eq!(sum, 3);
//! let sum: u32 = client.call("Adder.add", Named(std::collections::BTreeMap::from([("b", 2), ("a", 1)]))).await?;
//! assert_eq!(sum, 3);
//!
//! let error = client.call::<u32>("Adder.add", (1, -2)).await.unwrap_err();
//! assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::No));
//! # Ok(()) }
//! # }
//! # #[cfg(feature = "json")] fn main() { example::main().unwrap() }
//! # #[cfg(not(feature = "json"))] fn main() {}
//! ```
//!
//! # Limits
//!
//! Both ends bound what they accept, before it is allocated, and for how long they wait: [`Limits`] has every limit with its
//! reason. What goes beyond one fails its own call and names the limit.
//!
//! ```
//! use rpc::{Client, Limits};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rpc::Error> {
//! # let (listener, dialer) = rpc::transport::memory::pair();
//! # tokio::spawn(rpc::Server::new().listen(listener)?.serve());
//! let mut limits = Limits::default();
//! limits.max_message = 16 << 20;
//! let client = Client::options().limits(limits).dial(dialer).await?;
//! # Ok(()) }
//! ```
//!
#![cfg_attr(feature = "tls", doc = "# TLS\n\n[`Server::tls`] and [`ClientOptions::tls`] encrypt connections: see [`tls`].\n")]
#![cfg_attr(feature = "http", doc = "# HTTP\n\n[`Server::http`] takes `POST /Shop/price` with JSON on the same port: see [`Http`].\n")]
//! # Panics
//!
//! A panic of a handler, or of a type's `Serialize`, `Deserialize` or `Drop`, is [`ErrorKind::Internal`] to the caller it
//! concerns; the connection and all other calls go on. That takes a build that unwinds, which is Cargo's default.

// The items stand in the order of a call's life.

mod client;
mod connection;
mod context;
mod error;
mod frame;
#[cfg(feature = "http")]
mod http;
mod log;
pub mod reflection;
pub mod schema;
mod server;
mod service;
mod streaming;
#[cfg(feature = "tls")]
pub mod tls;
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
pub use frame::payload::SharedBytes as Bytes;
#[cfg(feature = "http")]
pub use http::Http;
pub use schema::exchange::Strictness;
#[cfg(feature = "json")]
pub use server::by_name::Function;
pub use server::hook::{CallInfo, Hook};
pub use server::{Bound, Server};
pub use streaming::{IntoStreaming, Sender, SlowConsumer, Streaming};
pub use transport::Address;

pub use futures_core::Stream;

/// For users' own objects that must be `dyn`: hooks, dialers, listeners.
pub use async_trait::async_trait;
