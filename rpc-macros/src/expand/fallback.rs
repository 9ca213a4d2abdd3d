//! What stands in for the expansion of a trait with errors.
use proc_macro2::TokenStream;
use quote::quote;
use crate::model::Service;
pub(super) fn expand(_service: &Service) -> TokenStream {
    quote!()
}
