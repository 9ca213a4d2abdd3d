//! The list of what is wrong with a trait. It never stops at the first.

use std::fmt::Display;

use quote::ToTokens;

/// Errors in the order they were found.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// One more, with the caret under these tokens.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    /// One more that knows its place.
    pub(crate) fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// All of them, if there is one.
    pub(crate) fn into_error(self) -> Option<syn::Error> {
        self.0
    }
}
