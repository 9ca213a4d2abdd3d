//! The types that travel, each named once for all methods that use it.
//!
//! ```text
//! Input   async fn quote(&self, cart: Cart) -> Quote;
//!
//! Output  fn __argument_0<'de>() -> impl Passes<'de, Value = Cart> { argument::<Cart>() }
//!         fn __reply_1() -> impl Returns<Value = Quote> { reply::<Quote>() }
//! ```
//! What such a function returns promises all that the methods ask of the type. So a type that cannot be sent is one
//! error, where the user wrote it first, instead of one in each place that would send it.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::visit::Visit;
use syn::{Lifetime, Type, TypeReference};

use super::Scope;
use crate::model::{Method, Output, Passing};
use crate::names;

/// Which way a type goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Argument,
    Reply,
    Item,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Argument => "argument",
            Self::Reply => "reply",
            Self::Item => "item",
        }
    }
}

struct Entry<'a> {
    way: Way,
    ty: &'a Type,
    method: &'a Method,
    text: String,
    /// A type that is there only under a `#[cfg]` is not the same as one that is always there.
    conditions: String,
}

/// The functions, in the order of first use.
pub(super) struct Types<'a>(Vec<Entry<'a>>);

impl<'a> Types<'a> {
    pub(super) fn new(methods: &'a [Method]) -> Self {
        let mut types = Self(Vec::new());
        for method in methods {
            for argument in method.given() {
                match &argument.passing {
                    Passing::Stream(Some(item)) => types.add(Way::Item, item, method),
                    Passing::Value => types.add(Way::Argument, &argument.written.ty, method),
                    Passing::Reference(ty) | Passing::Slice(ty) => types.add(Way::Argument, ty, method),
                    _ => {}
                }
            }
            match &method.output {
                Output::Value(ty) | Output::NamedResult(ty) => types.add(Way::Reply, ty, method),
                Output::Result(ok, error) => {
                    types.add(Way::Reply, ok, method);
                    types.add(Way::Reply, error, method);
                }
                Output::Stream(outgoing) => {
                    if let Some(item) = &outgoing.item {
                        types.add(Way::Item, item, method);
                    }
                    if let Some(error) = &outgoing.error {
                        types.add(Way::Reply, error, method);
                    }
                }
                Output::Nothing => {}
            }
        }
        types
    }

    fn add(&mut self, way: Way, ty: &'a Type, method: &'a Method) {
        if !borrows(ty) && self.place(way, ty, method).is_none() {
            self.0.push(Entry { way, ty, method, text: names::text(ty), conditions: conditions(method) });
        }
    }

    fn place(&self, way: Way, ty: &Type, method: &Method) -> Option<usize> {
        let (text, conditions) = (names::text(ty), conditions(method));
        self.0.iter().position(|entry| entry.way == way && entry.text == text && entry.conditions == conditions)
    }

    /// The functions themselves.
    pub(super) fn expand(&self, scope: &Scope<'_>) -> TokenStream {
        self.0.iter().enumerate().map(|(place, entry)| function(scope, place, entry)).collect()
    }

    /// A call of the function for this type.
    pub(super) fn stand_in(&self, scope: &Scope<'_>, way: Way, ty: &Type, method: &Method) -> TokenStream {
        match self.place(way, ty, method) {
            Some(place) => {
                let (name, parameters) = (name(way, place), scope.parameters());
                quote!(#name::<#(#parameters),*>())
            }
            // It borrows: only where it is used has its lifetime a meaning.
            None => constructor(way, ty),
        }
    }
}

fn conditions(method: &Method) -> String {
    method.cfgs().into_iter().map(names::text).collect()
}

fn name(way: Way, place: usize) -> Ident {
    format_ident!("__{}_{place}", way.name())
}

/// All of it stands, for the compiler, exactly where the type does. What it says of the type then has one place.
fn function(scope: &Scope<'_>, place: usize, Entry { way, ty, method, .. }: &Entry<'_>) -> TokenStream {
    let (name, cfgs, constructor) = (name(*way, place), method.cfgs(), constructor(*way, ty));
    let (parameters, where_clause) = (scope.bounded_parameters(), scope.where_clause());
    let (first, last) = ends(ty);
    // Lifetimes are hygienic, and the type may come from another macro.
    let de = Lifetime::new("'de", Span::call_site());
    let (lifetime, open) = match way {
        Way::Argument => (Some(quote!(#de,)), quote_spanned!(first=> impl __rpc::Passes<#de, Value = )),
        Way::Reply => (None, quote_spanned!(first=> impl __rpc::Returns<Value = )),
        Way::Item => (None, quote_spanned!(first=> impl __rpc::Items<Value = )),
    };
    let close = quote_spanned!(last=> >);
    quote! {
        #(#cfgs)*
        fn #name<#lifetime #(#parameters),*>() -> #open #ty #close #where_clause { #constructor }
    }
}

/// `__rpc::argument::<Cart>()`.
fn constructor(way: Way, ty: &Type) -> TokenStream {
    let (first, last) = ends(ty);
    let function = Ident::new(way.name(), first);
    let open = quote_spanned!(first=> __rpc::#function::<);
    let close = quote_spanned!(last=> >());
    quote!(#open #ty #close)
}

/// Where the type begins and where it ends.
fn ends(ty: &Type) -> (Span, Span) {
    let tokens: Vec<TokenTree> = ty.to_token_stream().into_iter().collect();
    let place = |token: Option<&TokenTree>| token.map_or_else(Span::call_site, TokenTree::span);
    (place(tokens.first()), place(tokens.last()))
}

/// Whether the type has a lifetime, as far as its tokens tell.
fn borrows(ty: &Type) -> bool {
    struct Find(bool);
    impl<'ast> Visit<'ast> for Find {
        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            self.0 |= lifetime.ident != "static";
        }
        fn visit_type_reference(&mut self, _: &'ast TypeReference) {
            self.0 = true;
        }
    }
    let mut find = Find(false);
    find.visit_type(ty);
    find.0
}
