//! The `#[service]` attribute: from a trait to its contract, its server and its client.
//!
//! Four steps, each in its own file: `args` and `model` read what was written and judge nothing; `check` holds every
//! rule and collects every error; `expand` writes code that names types and calls `rpc::__private`, where the
//! behaviour lives. A trait that breaks a rule goes to `expand/fallback.rs` instead, so that its users see its own
//! errors and no others.

mod args;
mod check;
mod errors;
mod expand;
mod model;
mod names;

use proc_macro::TokenStream;

/// Makes a service of a trait.
///
/// For `trait Shop` it writes `ShopServer`, which serves any implementation, and `ShopClient`, which calls one.
/// Implementations write plain `async fn`s. The trait's visibility, docs, type parameters, `#[cfg]` and
/// `#[deprecated]` carry over.
///
/// When the crate is built for tests, a test comes with it, which finds types that cannot travel as they are, such as untagged enums.
///
/// # Options
/// Of the service, `#[service(..)]`:
/// - `name = "shop.v1"`: its name on the wire, if not the trait's;
/// - `lock = "shop.schema"`: a file in the package, of this service alone, that holds what travels; a generated test fails when the two
///   differ, and says what would break. `RPC_LOCK=rewrite cargo test` writes it. It holds one contract: with methods behind a `#[cfg]`, that of
///   one set of features;
/// - `untested`: no test of its types;
/// - `crate = "my_framework::rpc"`: where the library is found, if not at `::rpc`.
///
/// Of a method, `#[rpc(..)]`:
/// - `name = "pay"`: its name on the wire, if not the method's;
/// - `timeout = "5s"`: the deadline of a call that sets none (`ms`, `s`, `m` or `h`);
/// - `idempotent`: may be sent again when nobody knows whether it ran;
/// - `oneway`: there is no reply;
/// - `detached`: runs to its end whatever becomes of its caller;
/// - `spawn`: always runs in a task of its own, for methods that compute;
/// - `blocking`: a plain `fn` that may block its thread;
/// - `slow_consumer = "drop_oldest"`, of a method that returns a stream: what becomes of it when its consumer does not keep up
///   (`wait`, `drop_oldest` or `close`).
#[proc_macro_attribute]
pub fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::service(arguments.into(), item.into()).into()
}
