//! The caller's side: one inherent method for each of the trait's, and what makes it a handle.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::types::Way;
use super::{Scope, contract};
use crate::model::{Argument, Method, Output, Passing, carried, docs};

/// ```text
/// Output  impl ShopClient { /* connect, local, and the methods */ }
///         impl Clone, Debug, HasContract, From<Client>, Deref<Target = Client> for ShopClient
/// ```
pub(super) fn expand(scope: &Scope<'_>) -> TokenStream {
    let handle = handle(scope);
    let constructors = constructors(scope);
    let (generics, client_type, where_clause) = (scope.client_generics(), scope.client_type(), scope.where_clause());
    let methods = scope.service.methods.iter().map(|method| self::method(scope, method));
    quote! {
        impl #generics #client_type #where_clause {
            #constructors
            #(#methods)*
        }
        #handle
    }
}

/// Left out where the trait has a method of that name: the trait's methods win, always.
fn constructors(scope: &Scope<'_>) -> TokenStream {
    let Scope { library, server, service, .. } = scope;
    let (vis, definition, phantom) = (&service.item.vis, scope.definition(), scope.phantom());
    let connect = (!service.has_method("connect")).then(|| {
        quote! {
            /// Connects to a server, such as `localhost:8080`.
            ///
            /// # Errors
            /// When nothing answers there, or what answers does not speak the protocol.
            #vis async fn connect(address: impl ::core::convert::AsRef<::core::primitive::str>) -> ::core::result::Result<Self, #library::Error> {
                match #library::Client::connect(address).await {
                    ::core::result::Result::Ok(client) => ::core::result::Result::Ok(Self(client #phantom)),
                    ::core::result::Result::Err(error) => ::core::result::Result::Err(error),
                }
            }
        }
    });
    let local = (!service.has_method("local")).then(|| {
        quote! {
            /// Calls an implementation in this process, without a socket.
            #[must_use]
            #vis fn local(service: impl #definition) -> Self {
                Self(#library::Client::local(#server::new(service)) #phantom)
            }
        }
    });
    quote!(#connect #local)
}

fn handle(scope: &Scope<'_>) -> TokenStream {
    let Scope { library, client, .. } = scope;
    let (client_type, phantom, generics, where_clause) = (scope.client_type(), scope.phantom(), scope.client_generics(), scope.where_clause());
    let (contract, same) = (scope.contract(), scope.is_generic().then(|| quote!(, self.1, ::core::marker::PhantomData)));
    let title = client.to_string();
    quote! {
        impl #generics ::core::clone::Clone for #client_type #where_clause {
            fn clone(&self) -> Self {
                Self(::core::clone::Clone::clone(&self.0) #same)
            }
        }

        impl #generics ::core::fmt::Debug for #client_type #where_clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_tuple(#title).field(&self.0).finish()
            }
        }

        impl #generics __rpc::HasContract for #client_type #where_clause {
            fn contract() -> &'static __rpc::Contract {
                #contract
            }
        }

        impl #generics ::core::convert::From<#library::Client> for #client_type #where_clause {
            fn from(client: #library::Client) -> Self {
                Self(client #phantom)
            }
        }

        impl #generics ::core::ops::Deref for #client_type #where_clause {
            type Target = #library::Client;
            fn deref(&self) -> &#library::Client {
                &self.0
            }
        }
    }
}

/// ```text
/// Input   async fn pay(&self, cx: &Context, order: Order) -> Result<Receipt, PayError>;
///
/// Output  pub fn pay(&self, order: Order) -> Call<'_, Result<Receipt, CallError<PayError>>> {
///             Client::__call(&self.0, &__CONTRACT, __Number::__pay as usize, &(argument::<Order>().lend(&order),))
///         }
/// ```
fn method(scope: &Scope<'_>, method: &Method) -> TokenStream {
    let signature = signature(scope, method);
    let number = contract::number(method);
    let values = method.travelling().map(|argument| encoded(scope, method, argument));
    let place = place(method);
    let inner = quote!(&(#(#values,)*));
    let (client, contract) = (quote!(&self.0), scope.held_contract());
    let upload = method.upload().map(|argument| {
        let name = &argument.name;
        let Passing::Stream(Some(item)) = &argument.passing else { return TokenStream::new() };
        let item = scope.types.stand_in(scope, Way::Item, item, method);
        quote!(::core::option::Option::Some(__rpc::Items::upload(#item, #name)))
    });
    let call = match (upload, method.download()) {
        (None, None) => quote_spanned!(place=> __rpc::Client::__call(#client, #contract, #number, #inner)),
        (upload, _) => {
            let upload = upload.unwrap_or_else(|| quote!(::core::option::Option::None));
            quote_spanned!(place=> __rpc::Client::__stream(#client, #contract, #number, #inner, #upload))
        }
    };
    quote!(#signature { #call })
}

/// For a named `Result`, its place: what the compiler says of it in signature and body is then said once.
fn place(method: &Method) -> Span {
    match &method.output {
        Output::NamedResult(ty) => ty.span(),
        _ => Span::call_site(),
    }
}

/// All of the method but its body.
fn signature(scope: &Scope<'_>, method: &Method) -> TokenStream {
    let vis = &scope.service.item.vis;
    let attributes = carried(&method.item.attrs);
    let ident = method.ident();
    let own_docs = docs(&method.item.attrs).is_empty().then(|| {
        let text = format!("Calls `{}.{}`.", scope.service.item.ident, ident);
        quote!(#[doc = #text])
    });
    let arguments = method.given().map(|argument| {
        let (pattern, ty) = (&argument.name, &argument.written.ty);
        match &argument.passing {
            Passing::Stream(item) => quote!(#pattern: impl __rpc::IntoStreaming<#item>),
            _ => quote!(#pattern: #ty),
        }
    });
    let called = called(scope, method);
    let call = quote_spanned!(place(method)=> __rpc::Call<'_, #called>);
    quote! {
        #own_docs #(#attributes)*
        #vis fn #ident(&self #(, #arguments)*) -> #call
    }
}

/// ```text
/// Input   Quote                 Result<Receipt, PayError>             io::Result<T>                      ()
/// Output  Result<Quote, Error>  Result<Receipt, CallError<PayError>>  <io::Result<T> as Fallible>::Called  Result<(), Error>
/// ```
fn called(scope: &Scope<'_>, method: &Method) -> TokenStream {
    let library = scope.library;
    match &method.output {
        Output::Nothing => quote!(::core::result::Result<(), #library::Error>),
        Output::Stream(outgoing) => {
            let item = &outgoing.item;
            match &outgoing.error {
                Some(error) => quote!(::core::result::Result<#library::Streaming<#item>, #library::CallError<#error>>),
                None => quote!(::core::result::Result<#library::Streaming<#item>, #library::Error>),
            }
        }
        Output::Value(ty) => quote!(::core::result::Result<#ty, #library::Error>),
        Output::Result(value, error) => quote!(::core::result::Result<#value, #library::CallError<#error>>),
        Output::NamedResult(ty) => quote_spanned!(ty.span()=> <#ty as __rpc::Fallible>::Called),
    }
}

/// One place of the tuple: arguments are encoded where they stand, by reference.
fn encoded(scope: &Scope<'_>, method: &Method, argument: &Argument) -> TokenStream {
    let stand_in = |ty| scope.types.stand_in(scope, Way::Argument, ty, method);
    let Some(name) = &argument.name else { return TokenStream::new() };
    match &argument.passing {
        Passing::Str => quote!(#name),
        Passing::Reference(inner) => {
            let ty = stand_in(inner);
            quote!(__rpc::Passes::lend(#ty, #name))
        }
        Passing::Slice(item) => {
            let ty = stand_in(item);
            quote!(__rpc::Passes::lend_all(#ty, #name))
        }
        Passing::Bytes => quote!(__rpc::Bytes(__rpc::Cow::Borrowed(#name))),
        Passing::CowBytes => quote!(__rpc::Bytes(__rpc::Cow::Borrowed(&*#name))),
        Passing::CowStr => quote!(&#name),
        Passing::Value | Passing::Stream(_) | Passing::Context | Passing::ContextByValue => {
            let ty = stand_in(&argument.written.ty);
            quote!(__rpc::Passes::lend(#ty, &#name))
        }
    }
}
