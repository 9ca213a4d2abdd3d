//! The `#[service]` attribute.

use proc_macro::TokenStream;

/// See `rpc::service`.
#[proc_macro_attribute]
pub fn service(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    item
}
