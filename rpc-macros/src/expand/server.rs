//! The callee's side: one function a method, and the table that finds it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};

use super::types::Way;
use super::{Scope, contract};
use crate::model::{Argument, Method, Outgoing, Output, Passing};
use crate::names;

/// ```text
/// Output  impl<S: Shop> ShopServer<S> { pub fn new(service: S) -> Self; pub fn shared(service: Arc<S>) -> Self; }
///         impl<S: Shop> Service for ShopServer<S> {
///             fn contract(&self) -> &'static Contract { &__CONTRACT }
///             fn handler(&self, method: usize) -> Handler { [__pay::<S>, __quote::<S>][method](self.0.clone()) }
///         }
///         fn __pay<S: Shop>(service: Arc<S>) -> Handler { .. }
///         fn __quote<S: Shop>(service: Arc<S>) -> Handler { .. }
/// ```
pub(super) fn expand(scope: &Scope<'_>) -> TokenStream {
    let constructors = constructors(scope);
    let service = service(scope);
    let handlers = scope.service.methods.iter().map(|method| handler(scope, method));
    quote!(#constructors #service #(#handlers)*)
}

fn constructors(scope: &Scope<'_>) -> TokenStream {
    let Scope { implementation, server, .. } = scope;
    let vis = &scope.service.item.vis;
    let (generics, server_type, where_clause, phantom) = (scope.server_generics(), scope.server_type(), scope.where_clause(), scope.phantom());
    let bounded = scope.bounded_parameters();
    let title = server.to_string();
    quote! {
        impl #generics #server_type #where_clause {
            /// Serves this implementation.
            #[must_use]
            #vis fn new(service: #implementation) -> Self {
                Self(__rpc::Arc::new(service) #phantom)
            }

            /// Serves an implementation that others hold too.
            #[must_use]
            #vis fn shared(service: __rpc::Arc<#implementation>) -> Self {
                Self(service #phantom)
            }
        }

        impl<#implementation #(, #bounded)*> ::core::fmt::Debug for #server_type #where_clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(#title)
            }
        }
    }
}

fn service(scope: &Scope<'_>) -> TokenStream {
    let Scope { library, implementation, .. } = scope;
    let (generics, server_type, where_clause) = (scope.server_generics(), scope.server_type(), scope.where_clause());
    let (parameters, contract) = (scope.parameters(), scope.held_contract());
    let functions = contract::sorted(scope).into_iter().map(|method| {
        let (cfgs, function) = (method.cfgs(), names::hidden(method.ident()));
        quote!(#(#cfgs)* #function::<#implementation #(, #parameters)*>)
    });
    quote! {
        impl #generics #server_type #where_clause {
            const __HANDLERS: &'static [fn(__rpc::Arc<#implementation>) -> __rpc::Handler] = &[#(#functions),*];
        }

        impl #generics #library::Service for #server_type #where_clause {
            fn contract(&self) -> &'static __rpc::Contract {
                #contract
            }

            fn handler(&self, method: ::core::primitive::usize) -> __rpc::Handler {
                __rpc::handler(Self::__HANDLERS, &self.0, method)
            }
        }
    }
}

/// ```text
/// Output  fn __quote<S: Shop>(service: Arc<S>) -> Handler { Box::pin(async move { loop {
///             let request = next().await;
///             match arguments(&request, (argument::<Cart>(),)) {
///                 Ok((cart,)) => request.returned(&reply::<Quote>().lend(&Shop::quote(&*service, cart).await)),
///                 Err(error) => request.refused(error),
///             }
///         } }) }
/// ```
fn handler(scope: &Scope<'_>, method: &Method) -> TokenStream {
    let names = Names::new();
    let Names { service, request, .. } = &names;
    let step = if method.options.blocking.is_some() { blocking(scope, method, &names) } else { waiting(scope, method, &names) };
    let (cfgs, function) = (method.cfgs(), names::hidden(method.ident()));
    let (generics, where_clause, implementation) = (scope.server_generics(), scope.where_clause(), &scope.implementation);
    quote! {
        #(#cfgs)*
        fn #function #generics(#service: __rpc::Arc<#implementation>) -> __rpc::Handler #where_clause {
            __rpc::Box::pin(async move {
                loop {
                    let #request = __rpc::next().await;
                    // A statement: before edition 2024 the last expression of a block outlives what it borrows from.
                    #step;
                }
            })
        }
    }
}

/// The handler's own variables. They are at the macro's own place: an argument of the same name is another variable.
struct Names {
    service: Ident,
    request: Ident,
    result: Ident,
    error: Ident,
}

impl Names {
    fn new() -> Self {
        let name = |name| Ident::new(name, Span::mixed_site());
        Self { service: name("service"), request: name("request"), result: name("result"), error: name("error") }
    }
}

fn waiting(scope: &Scope<'_>, method: &Method, names: &Names) -> TokenStream {
    let Names { request, error, .. } = names;
    let Decoded { types, bindings } = Decoded::new(scope, method);
    let call = call(scope, method, names);
    let finish = if method.options.oneway.is_some() {
        quote!({ #call.await; #request.done() })
    } else if let Some(outgoing) = method.download() {
        streamed(scope, method, outgoing, names, &call)
    } else {
        returned(scope, method, request, &quote!(#call.await))
    };
    quote! {
        match __rpc::arguments(&#request, #types) {
            ::core::result::Result::Ok(#bindings) => #finish,
            ::core::result::Result::Err(#error) => #request.refused(#error),
        }
    }
}

/// ```text
/// Input   fn events(&self) -> impl Stream<Item = Event>                          async fn watch(&self) -> Result<impl Stream<Item = Event>, Refused>
/// Output  item::<Event>().send_all(&request, Shop::events(&*service)).await      match Shop::watch(&*service).await { Ok(result) => .., Err(error) => .. }
/// ```
fn streamed(scope: &Scope<'_>, method: &Method, outgoing: &Outgoing, names: &Names, call: &TokenStream) -> TokenStream {
    let Names { request, result, error, .. } = names;
    let Some(item) = &outgoing.item else { return TokenStream::new() };
    let item = scope.types.stand_in(scope, Way::Item, item, method);
    let waits = method.item.sig.asyncness.map(|_| quote!(.await));
    let Some(failure) = &outgoing.error else {
        return quote!(__rpc::Items::send_all(#item, &#request, #call #waits).await);
    };
    let failure = scope.types.stand_in(scope, Way::Reply, failure, method);
    quote! {
        match #call #waits {
            ::core::result::Result::Ok(#result) => __rpc::Items::send_all(#item, &#request, #result).await,
            ::core::result::Result::Err(#error) => #request.returned(
                &__rpc::Returns::lend_result(__rpc::reply::<()>(), #failure, &::core::result::Result::Err(#error))
            ),
        }
    }
}

/// ```text
/// Output  let (request, result) = blocking(request, { let service = service.clone(); move |request| {
///             match arguments(request, (argument::<Cart>(),)) { Ok((cart,)) => Ok(Shop::quote(&*service, cart)), Err(error) => Err(error) }
///         } }).await;
///         match result { Ok(Ok(result)) => request.returned(&reply::<Quote>().lend(&result)), Ok(Err(error)) | Err(error) => request.refused(error) }
/// ```
fn blocking(scope: &Scope<'_>, method: &Method, names: &Names) -> TokenStream {
    let Names { service, request, result, error } = names;
    let Decoded { types, bindings } = Decoded::new(scope, method);
    let call = call(scope, method, names);
    let returns = method.returns();
    let library = scope.library;
    let finish = if method.options.oneway.is_some() { quote!(#request.done()) } else { returned(scope, method, request, &quote!(#result)) };
    quote! {
        let (#request, #result) = __rpc::blocking(#request, {
            let #service = ::core::clone::Clone::clone(&#service);
            move |#request: &__rpc::Request| -> ::core::result::Result<#returns, #library::Error> {
                match __rpc::arguments(#request, #types) {
                    ::core::result::Result::Ok(#bindings) => ::core::result::Result::Ok(#call),
                    ::core::result::Result::Err(#error) => ::core::result::Result::Err(#error),
                }
            }
        })
        .await;
        match #result {
            ::core::result::Result::Ok(::core::result::Result::Ok(#result)) => #finish,
            ::core::result::Result::Ok(::core::result::Result::Err(#error)) | ::core::result::Result::Err(#error) => #request.refused(#error),
        }
    }
}

/// `<S as Shop>::pay(&*service, request.context(), order)`.
fn call(scope: &Scope<'_>, method: &Method, names: &Names) -> TokenStream {
    let Names { service, request, .. } = names;
    let (implementation, definition, ident) = (&scope.implementation, scope.definition(), method.ident());
    let mut travelling = 0..;
    let arguments = method.arguments.iter().map(|argument| match argument.passing {
        Passing::Context => quote!(#request.context()),
        Passing::Stream(Some(ref item)) => {
            let item = scope.types.stand_in(scope, Way::Item, item, method);
            quote!(__rpc::Items::receive(#item, &#request))
        }
        _ => handed_over(argument, &binding(travelling.next().unwrap_or_default())),
    });
    quote!(<#implementation as #definition>::#ident(&*#service #(, #arguments)*))
}

/// The arguments as the request gives them.
struct Decoded {
    /// `(argument::<Cart>(), argument::<CowStr<'_>>(),)`.
    types: TokenStream,
    /// `(argument_0, argument_1,)`.
    bindings: TokenStream,
}

impl Decoded {
    fn new(scope: &Scope<'_>, method: &Method) -> Self {
        let types = method.travelling().map(|argument| decoded(scope, method, argument));
        let bindings = method.travelling().enumerate().map(|(place, _)| binding(place));
        Self { types: quote!((#(#types,)*)), bindings: quote!((#(#bindings,)*)) }
    }
}

fn binding(place: usize) -> Ident {
    format_ident!("argument_{place}", span = Span::mixed_site())
}

/// ```text
/// Input   &str                       Cow<'_, str>  &[u8]                     &T                &[T]                     T
/// Output  argument::<CowStr<'_>>()   the same      argument::<Bytes<'_>>()   argument::<T>()   argument::<T>().many()   argument::<T>()
/// ```
pub(super) fn decoded(scope: &Scope<'_>, method: &Method, argument: &Argument) -> TokenStream {
    let stand_in = |ty| scope.types.stand_in(scope, Way::Argument, ty, method);
    let ty = &argument.written.ty;
    match &argument.passing {
        Passing::Str | Passing::CowStr => quote!(__rpc::argument::<__rpc::CowStr<'_>>()),
        Passing::Bytes | Passing::CowBytes => quote!(__rpc::argument::<__rpc::Bytes<'_>>()),
        Passing::Reference(inner) => stand_in(inner),
        Passing::Slice(item) => {
            let item = stand_in(item);
            quote!(__rpc::Passes::many(#item))
        }
        Passing::Value | Passing::Stream(_) | Passing::Context | Passing::ContextByValue => stand_in(ty),
    }
}

/// ```text
/// Input   Quote                            Result<Receipt, PayError>
/// Output  reply::<Quote>().lend(&value)    reply::<Receipt>().lend_result(reply::<PayError>(), &value)
/// ```
/// Ends the request with it.
fn returned(scope: &Scope<'_>, method: &Method, request: &Ident, value: &TokenStream) -> TokenStream {
    let stand_in = |ty| scope.types.stand_in(scope, Way::Reply, ty, method);
    let value = match &method.output {
        Output::Nothing => quote!(#value),
        Output::Stream(_) => return TokenStream::new(),
        Output::Value(ty) | Output::NamedResult(ty) => {
            let ty = stand_in(ty);
            quote!(__rpc::Returns::lend(#ty, &#value))
        }
        Output::Result(ok, error) => {
            let (ok, error) = (stand_in(ok), stand_in(error));
            quote!(__rpc::Returns::lend_result(#ok, #error, &#value))
        }
    };
    quote!(#request.returned(&#value))
}

/// ```text
/// Input   &str     Cow<'_, str>  &[u8]    &T  &[T]  T
/// Output  &name.0  name.0        &name.0  &name     name
/// ```
fn handed_over(argument: &Argument, name: &Ident) -> TokenStream {
    match argument.passing {
        Passing::Str | Passing::Bytes => quote!(&#name.0),
        Passing::CowStr | Passing::CowBytes => quote!(#name.0),
        Passing::Reference(_) | Passing::Slice(_) => quote!(&#name),
        Passing::Value | Passing::Stream(_) | Passing::Context | Passing::ContextByValue => quote!(#name),
    }
}
