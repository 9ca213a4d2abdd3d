//! From the model to tokens. Generated code names types and calls `__private`; it decides nothing.
//!
//! Local variables are at [`mixed_site`](proc_macro2::Span::mixed_site), so no name of the user's can meet them. Items
//! have no such shelter: those inside the hidden block begin with `__`, for the user's types are looked up through it.

mod client;
mod contract;
mod definition;
mod fallback;
mod server;
mod tests;
mod types;

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{GenericParam, Item, ItemTrait, Path, TypeParam, WherePredicate};

use self::types::Types;
use crate::args::ServiceArguments;
use crate::check;
use crate::errors::Errors;
use crate::model::{Service, cfgs, is_deprecated};
use crate::names;

/// ```text
/// Input   #[service] trait Shop { async fn quote(&self, cart: Cart) -> Quote; }
///
/// Output  trait Shop: Send + Sync + 'static { fn quote(&self, cart: Cart) -> impl Future<Output = Quote> + Send; }
///         struct ShopServer<S>(Arc<S>);
///         struct ShopClient(rpc::Client);
///         const _: () = { /* the contract, and what server and client do */ };
///         #[cfg(test)] mod __rpc_Shop { #[test] fn travels() { .. } }
/// ```
pub(crate) fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let parsed = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Trait(parsed)) => parsed,
        Ok(other) => {
            let error = check::not_a_trait(&other, &item).into_compile_error();
            return quote!(#error #item);
        }
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#error #item);
        }
    };
    let mut errors = Errors::default();
    let arguments = ServiceArguments::parse(arguments, &mut errors);
    let service = Service::new(arguments, parsed, &mut errors);
    check::service(&service, &mut errors);
    match errors.into_error() {
        None => valid(&service),
        Some(error) => {
            let error = error.into_compile_error();
            let fallback = fallback::expand(&service);
            quote!(#error #fallback)
        }
    }
}

fn valid(service: &Service) -> TokenStream {
    let scope = Scope::new(service);
    let definition = definition::expand(service);
    let structs = structs(&scope);
    let contract = contract::expand(&scope);
    let types = scope.types.expand(&scope);
    let server = server::expand(&scope);
    let client = client::expand(&scope);
    let (tests, bodies) = (tests::module(&scope), tests::bodies(&scope));
    let hidden = hidden(&scope, &quote!(#contract #types #server #client #bodies));
    quote!(#definition #structs #hidden #tests)
}

/// What all parts of an expansion need to know.
struct Scope<'a> {
    service: &'a Service,
    library: &'a TokenStream,
    server: Ident,
    client: Ident,
    /// The type parameter that stands for the implementation.
    implementation: Ident,
    types: Types<'a>,
}

impl<'a> Scope<'a> {
    fn new(service: &'a Service) -> Self {
        let ident = &service.item.ident;
        let functions = service.methods.iter().map(|method| &method.item);
        let header = ItemTrait { attrs: Vec::new(), ..service.item.clone() };
        Self {
            service,
            library: &service.library,
            server: names::joined(ident, "Server"),
            client: names::joined(ident, "Client"),
            implementation: names::unused(quote!(#header #(#functions)*)),
            types: Types::new(&service.methods),
        }
    }

    /// `K, V`, for each of the trait's type parameters.
    fn parameters(&self) -> Vec<&Ident> {
        type_parameters(&self.service.item).map(|parameter| &parameter.ident).collect()
    }

    /// `Store<K, V>`.
    fn definition(&self) -> TokenStream {
        let ident = &self.service.item.ident;
        let parameters = self.parameters();
        if parameters.is_empty() { ident.to_token_stream() } else { quote!(#ident<#(#parameters),*>) }
    }

    /// `StoreClient<K, V>`.
    fn client_type(&self) -> TokenStream {
        let (client, parameters) = (&self.client, self.parameters());
        if parameters.is_empty() { client.to_token_stream() } else { quote!(#client<#(#parameters),*>) }
    }

    /// `StoreServer<S, K, V>`.
    fn server_type(&self) -> TokenStream {
        let (server, implementation, parameters) = (&self.server, &self.implementation, self.parameters());
        quote!(#server<#implementation #(, #parameters)*>)
    }

    /// `K: Key + rpc::__private::Wire, V: rpc::__private::Wire`.
    fn bounded_parameters(&self) -> Vec<TokenStream> {
        let library = self.library;
        let bounded = |parameter: &TypeParam| {
            let TypeParam { ident, bounds, .. } = parameter;
            let plus = (!bounds.is_empty() && !bounds.trailing_punct()).then(|| quote!(+));
            quote!(#ident: #bounds #plus #library::__private::Wire)
        };
        type_parameters(&self.service.item).map(bounded).collect()
    }

    /// `<K: Key + Wire>`, or nothing.
    fn client_generics(&self) -> TokenStream {
        let parameters = self.bounded_parameters();
        if parameters.is_empty() { TokenStream::new() } else { quote!(<#(#parameters),*>) }
    }

    /// `<S: Store<K>, K: Key + Wire>`.
    fn server_generics(&self) -> TokenStream {
        let (implementation, definition, parameters) = (&self.implementation, self.definition(), self.bounded_parameters());
        quote!(<#implementation: #definition #(, #parameters)*>)
    }

    /// The trait's where clause, without what it says of `Self`: that is a supertrait, which the implementation has.
    fn where_clause(&self) -> TokenStream {
        let Some(clause) = &self.service.item.generics.where_clause else { return TokenStream::new() };
        let predicates: Vec<_> = clause.predicates.iter().filter(|predicate| !names_self(predicate)).collect();
        if predicates.is_empty() { TokenStream::new() } else { quote!(where #(#predicates),*) }
    }

    fn is_generic(&self) -> bool {
        !self.parameters().is_empty()
    }

    /// The contract, wherever the parameters are known: `&__CONTRACT`, or `__contract::<K, V>()`.
    fn contract(&self) -> TokenStream {
        let parameters = self.parameters();
        if parameters.is_empty() { quote!(&__CONTRACT) } else { quote!(__contract::<#(#parameters),*>()) }
    }

    /// The contract in a method of server or client: a generic one was looked up when that was made.
    fn held_contract(&self) -> TokenStream {
        if self.is_generic() { quote!(self.1) } else { quote!(&__CONTRACT) }
    }

    /// `, __contract::<K, V>(), PhantomData`, if there are parameters: what else server and client hold.
    fn phantom(&self) -> Option<TokenStream> {
        let contract = self.contract();
        self.is_generic().then(|| quote!(, #contract, ::core::marker::PhantomData))
    }
}

fn type_parameters(item: &ItemTrait) -> impl Iterator<Item = &TypeParam> {
    item.generics.params.iter().filter_map(|parameter| match parameter {
        GenericParam::Type(parameter) => Some(parameter),
        _ => None,
    })
}

fn names_self(predicate: &WherePredicate) -> bool {
    struct Find(bool);
    impl<'ast> Visit<'ast> for Find {
        fn visit_path(&mut self, path: &'ast Path) {
            self.0 |= path.segments.first().is_some_and(|segment| segment.ident == "Self");
            visit::visit_path(self, path);
        }
    }
    let mut find = Find(false);
    find.visit_where_predicate(predicate);
    find.0
}

/// ```text
/// Input   pub trait Store<K: Key, V> { .. }
///
/// Output  pub struct StoreServer<S, K: Key + Wire, V: Wire>(Arc<S>, &'static Contract, PhantomData<fn() -> (K, V)>);
///         pub struct StoreClient<K: Key + Wire, V: Wire>(rpc::Client, &'static Contract, PhantomData<fn() -> (K, V)>);
/// ```
/// Without parameters there is one contract, which need not be held.
/// The bounds stand here already, so that a type which cannot travel is refused where it is named.
fn structs(scope: &Scope<'_>) -> TokenStream {
    let ItemTrait { vis, ident, attrs, .. } = &scope.service.item;
    let Scope { server, client, implementation, library, .. } = scope;
    let cfgs = cfgs(attrs);
    let deprecated: Vec<_> = attrs.iter().filter(|attribute| attribute.path().is_ident("deprecated")).collect();
    let (idents, where_clause) = (scope.parameters(), scope.where_clause());
    let defaults = type_parameters(&scope.service.item).map(|parameter| parameter.default.as_ref().map(|(equals, ty)| quote!(#equals #ty)));
    let declared: Vec<_> = scope.bounded_parameters().into_iter().zip(defaults).map(|(bounded, default)| quote!(#bounded #default)).collect();
    let phantom = (!idents.is_empty()).then(|| quote!(, &'static #library::__private::Contract, ::core::marker::PhantomData<fn() -> (#(#idents,)*)>));
    let client_generics = (!idents.is_empty()).then(|| quote!(<#(#declared),*>));
    let server_docs = format!("Serves a [`{ident}`]: hand it to a server's `add`.");
    let client_docs = format!(
        "Calls a [`{ident}`] in another process.\n\nIt is a handle: clones share one connection. What is not a method of the service comes from the client it derefs to."
    );
    quote! {
        #(#cfgs)* #(#deprecated)*
        #[doc = #server_docs]
        #vis struct #server<#implementation #(, #declared)*>(::std::sync::Arc<#implementation> #phantom) #where_clause;

        #(#cfgs)* #(#deprecated)*
        #[doc = #client_docs]
        #vis struct #client #client_generics(#library::Client #phantom) #where_clause;
    }
}

/// The one block that hides everything else. Lints do not look at what the user did not write, and an `allow` that is not needed would
/// stand in the way of a crate that forbids the lint.
fn hidden(scope: &Scope<'_>, contents: &TokenStream) -> TokenStream {
    let library = scope.library;
    let cfgs = cfgs(&scope.service.item.attrs);
    let allowed = allowed(scope.service);
    quote! {
        #(#cfgs)*
        #allowed
        const _: () = {
            use #library::__private as __rpc;
            #contents
        };
    }
}

/// What the user has named in a way that lints look at stands in the trait, where they look; they need not say it again. Of a method that
/// is deprecated a crate that forbids its use could not even be the server.
fn allowed(service: &Service) -> TokenStream {
    let ItemTrait { attrs, ident, .. } = &service.item;
    let methods = || service.methods.iter();
    let is_deprecated = is_deprecated(attrs) || methods().any(|method| is_deprecated(&method.item.attrs));
    let is_plain = |name: &Ident| !name.unraw().to_string().contains(char::is_uppercase);
    let names_are_plain =
        methods().all(|method| is_plain(method.ident()) && method.arguments.iter().filter_map(|argument| argument.name.as_ref()).all(is_plain));
    let is_camel = !ident.unraw().to_string().contains('_') && !is_plain(ident);
    let deprecated = is_deprecated.then(|| quote!(#[allow(deprecated)]));
    let style = (!names_are_plain || !is_camel).then(|| quote!(#[allow(nonstandard_style)]));
    let written = attrs.iter().filter(|attribute| attribute.path().is_ident("allow"));
    quote!(#deprecated #style #(#written)*)
}
