//! What stands in for the expansion of a trait with errors, so that nobody who uses its names sees another error.
//!
//! The trait stays as close to what was written as the compiler lets it, for its implementations follow it. Server and
//! client are empty shells with the same generics, constructors and methods; what cannot be known, such as the type of
//! an argument that was refused, is whatever the caller gives. None of it ever runs.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{FnArg, GenericParam, ItemTrait, Lifetime, Pat, Path, ReturnType, Safety, Signature, TraitItem, Type};

use super::{Scope, definition, hidden};
use crate::check;
use crate::model::{Argument, Method, Output, Passing, Service, cfgs};

/// ```text
/// Input   trait Shop { async fn quote(&mut self, cart: Cart) -> &Quote; }
///
/// Output  trait Shop: Send + Sync + 'static { fn quote(&mut self, cart: Cart) -> impl Future<Output = &Quote> + Send; }
///         struct ShopServer<S>(PhantomData<fn() -> (S,)>);
///         struct ShopClient(rpc::Client, PhantomData<fn() -> ()>);
///         const _: () = { /* constructors and methods that do nothing */ };
/// ```
pub(super) fn expand(service: &Service) -> TokenStream {
    let scope = Scope::new(service);
    let generics = Generics::new(&scope);
    let definition = definition(service);
    let structs = structs(&scope, &generics);
    let server = server(&scope, &generics);
    let client = client(&scope, &generics);
    let hidden = hidden(&scope, &quote!(#server #client));
    quote!(#definition #structs #hidden)
}

/// The trait's own parameters, lifetimes and constants too, in the order that the language wants.
struct Generics {
    /// With defaults, without bounds: for a declaration.
    lifetimes: Vec<Lifetime>,
    declared: Vec<TokenStream>,
    /// With bounds, without defaults: for an `impl`.
    bounded: Vec<TokenStream>,
    named: Vec<Ident>,
    /// What a marker has to mention.
    held: Vec<TokenStream>,
}

impl Generics {
    fn new(scope: &Scope<'_>) -> Self {
        let mut generics = Self { lifetimes: Vec::new(), declared: Vec::new(), bounded: Vec::new(), named: Vec::new(), held: Vec::new() };
        for parameter in &scope.service.item.generics.params {
            match parameter {
                GenericParam::Lifetime(parameter) => {
                    let lifetime = &parameter.lifetime;
                    generics.held.push(quote!(&#lifetime ()));
                    generics.lifetimes.push(lifetime.clone());
                }
                GenericParam::Type(parameter) => {
                    let (ident, bounds) = (&parameter.ident, &parameter.bounds);
                    let default = parameter.default.as_ref().map(|(equals, ty)| quote!(#equals #ty));
                    generics.declared.push(quote!(#ident #default));
                    generics.bounded.push(quote!(#ident: #bounds));
                    generics.held.push(quote!(#ident));
                    generics.named.push(ident.clone());
                }
                GenericParam::Const(parameter) => {
                    let (ident, ty) = (&parameter.ident, &parameter.ty);
                    generics.declared.push(quote!(const #ident: #ty));
                    generics.bounded.push(quote!(const #ident: #ty));
                    generics.named.push(ident.clone());
                }
            }
        }
        generics
    }
}

fn definition(service: &Service) -> TokenStream {
    let ItemTrait { attrs, vis, unsafety, ident, generics, items, .. } = &service.item;
    let where_clause = &generics.where_clause;
    let supertraits = definition::supertraits(&service.item);
    let items = items.iter().filter(|item| matches!(item, TraitItem::Type(_) | TraitItem::Const(_)));
    let methods = distinct(service).map(|method| self::method(service, method));
    quote! {
        #(#attrs)*
        #[allow(async_fn_in_trait)]
        #vis #unsafety trait #ident #generics: #(#supertraits)+* #where_clause {
            #(#items)*
            #(#methods)*
        }
    }
}

/// Without those that repeat a name: the compiler would say again what has been said.
fn distinct(service: &Service) -> impl Iterator<Item = &Method> {
    let repeats =
        |place: usize, method: &Method| service.methods.iter().take(place).any(|before| before.ident() == method.ident() && before.cfgs().is_empty());
    service.methods.iter().enumerate().filter(move |(place, method)| !repeats(*place, method)).map(|(_, method)| method)
}

fn method(service: &Service, method: &Method) -> TokenStream {
    let attributes = &method.item.attrs;
    let mut signature = tolerable(service, method);
    let body = method.item.default.as_ref().map_or_else(|| quote!(;), ToTokens::to_token_stream);
    if signature.asyncness.is_some() && method.item.default.is_none() && !stays_async(&signature) {
        signature.asyncness = None;
        let returns = match &signature.output {
            ReturnType::Default => quote!(()),
            ReturnType::Type(_, ty) => quote!(#ty),
        };
        let signature = definition::future(&signature, &returns);
        return quote!(#(#attributes)* #signature;);
    }
    quote!(#(#attributes)* #signature #body)
}

/// What asks too much of the type that an `async fn` is written out to: `Send` of a parameter that was not allowed, or
/// a type that may only stand after the arrow.
fn stays_async(signature: &Signature) -> bool {
    let never = matches!(&signature.output, ReturnType::Type(_, ty) if matches!(**ty, Type::Never(_)));
    never || !signature.generics.params.is_empty() || !matches!(signature.safety, Safety::Default)
}

/// The signature without what the compiler would refuse too.
fn tolerable(service: &Service, method: &Method) -> Signature {
    let mut signature = method.item.sig.clone();
    signature.constness = None;
    signature.abi = None;
    signature.variadic = None;
    if let Safety::Safe(_) = signature.safety {
        signature.safety = Safety::Default;
    }
    for input in &mut signature.inputs {
        let FnArg::Typed(argument) = input else { continue };
        argument.attrs.clear();
        let plain = matches!(&*argument.pat, Pat::Ident(name) if name.by_ref.is_none() && name.mutability.is_none() && name.subpat.is_none());
        if !plain && method.item.default.is_none() {
            *argument.pat = Pat::Wild(syn::PatWild { attrs: Vec::new(), underscore_token: <syn::Token![_]>::default() });
        }
    }
    let declared = signature.generics.lifetimes().chain(service.item.generics.lifetimes()).map(|parameter| parameter.lifetime.ident.to_string());
    Undeclared { declared: declared.collect() }.visit_signature_mut(&mut signature);
    signature
}

/// Makes `'_` of lifetimes that nobody declared, and `()` of types that nobody wrote.
struct Undeclared {
    declared: Vec<String>,
}

impl VisitMut for Undeclared {
    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident != "static" && !self.declared.iter().any(|declared| lifetime.ident == declared) {
            lifetime.ident = Ident::new("_", lifetime.ident.span());
        }
    }

    /// What a method declares stays; what its bounds name is declared too, or a mistake of its own.
    fn visit_generics_mut(&mut self, _: &mut syn::Generics) {}

    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::Infer(_) = ty {
            *ty = syn::parse_quote!(());
        }
        visit_mut::visit_type_mut(self, ty);
    }
}

fn structs(scope: &Scope<'_>, generics: &Generics) -> TokenStream {
    let Scope { server, client, implementation, library, .. } = scope;
    let Generics { lifetimes, declared, held, .. } = generics;
    let (vis, cfgs) = (&scope.service.item.vis, cfgs(&scope.service.item.attrs));
    quote! {
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(dead_code, unreachable_pub)]
        #vis struct #server<#(#lifetimes,)* #implementation #(, #declared)*>(::core::marker::PhantomData<fn() -> (#implementation, #(#held,)*)>);

        #(#cfgs)*
        #[doc(hidden)]
        #[allow(dead_code, unreachable_pub)]
        #vis struct #client<#(#lifetimes,)* #(#declared),*>(#library::Client, ::core::marker::PhantomData<fn() -> (#(#held,)*)>);
    }
}

fn server(scope: &Scope<'_>, generics: &Generics) -> TokenStream {
    let Scope { server, implementation, library, .. } = scope;
    let Generics { lifetimes, bounded, named, .. } = generics;
    let (vis, where_clause) = (&scope.service.item.vis, scope.where_clause());
    let forever = lifetimes.iter().map(|_| quote!('static,));
    quote! {
        impl<#(#lifetimes,)* #implementation #(, #bounded)*> #server<#(#lifetimes,)* #implementation #(, #named)*> #where_clause {
            #vis fn new(_: #implementation) -> Self {
                Self(::core::marker::PhantomData)
            }
            #vis fn shared(_: __rpc::Arc<#implementation>) -> Self {
                Self(::core::marker::PhantomData)
            }
        }

        impl<#implementation #(, #bounded)*> #library::Service for #server<#(#forever)* #implementation #(, #named)*>
        where
            Self: ::core::marker::Send + ::core::marker::Sync + 'static,
        {
            fn contract(&self) -> &'static __rpc::Contract {
                loop {}
            }
            fn handler(&self, _: ::core::primitive::usize) -> __rpc::Handler {
                loop {}
            }
        }
    }
}

fn client(scope: &Scope<'_>, generics: &Generics) -> TokenStream {
    let Scope { client, library, service, .. } = scope;
    let Generics { lifetimes, bounded, named, .. } = generics;
    let (vis, where_clause) = (&service.item.vis, scope.where_clause());
    let (introduced, client_type) = (quote!(<#(#lifetimes,)* #(#bounded),*>), quote!(#client<#(#lifetimes,)* #(#named),*>));
    let constructor = |name: &str, constructor: TokenStream| (!service.has_method(name)).then_some(constructor);
    let connect = constructor(
        "connect",
        quote!(#vis async fn connect(_: impl ::core::convert::AsRef<::core::primitive::str>) -> ::core::result::Result<Self, #library::Error> { loop {} }),
    );
    let local = constructor("local", quote!(#vis fn local(_: impl ::core::marker::Sized) -> Self { loop {} }));
    let methods = distinct(service).map(|method| called(scope, method));
    quote! {
        impl #introduced #client_type #where_clause {
            #connect
            #local
            #(#methods)*
        }
        impl #introduced ::core::clone::Clone for #client_type #where_clause {
            fn clone(&self) -> Self {
                loop {}
            }
        }
        impl #introduced ::core::fmt::Debug for #client_type #where_clause {
            fn fmt(&self, _: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                loop {}
            }
        }
        impl #introduced ::core::convert::From<#library::Client> for #client_type #where_clause {
            fn from(_: #library::Client) -> Self {
                loop {}
            }
        }
        impl #introduced ::core::ops::Deref for #client_type #where_clause {
            type Target = #library::Client;
            fn deref(&self) -> &#library::Client {
                &self.0
            }
        }
    }
}

/// A client's method with the types that may be trusted, and `impl Sized` for the others.
fn called(scope: &Scope<'_>, method: &Method) -> TokenStream {
    let library = scope.library;
    let (vis, cfgs, ident) = (&scope.service.item.vis, method.cfgs(), method.ident());
    let generic = !method.item.sig.generics.params.is_empty();
    let arguments = method.given().enumerate().map(|(place, argument)| {
        let (name, ty) = (format_ident!("argument_{place}"), &argument.written.ty);
        if !generic && means_the_same(argument) { quote!(#name: #ty) } else { quote!(#name: impl ::core::marker::Sized) }
    });
    let nothing = quote!(::core::result::Result<(), #library::Error>);
    let result = match &method.output {
        Output::Value(ty) if !generic && check::may_be_returned(ty) => quote!(::core::result::Result<#ty, #library::Error>),
        Output::NamedResult(ty) if !generic && check::may_be_returned(ty) => quote!(<#ty as __rpc::Fallible>::Called),
        Output::Result(value, error) if !generic && check::may_be_returned(value) && check::may_be_returned(error) => {
            quote!(::core::result::Result<#value, #library::CallError<#error>>)
        }
        Output::Stream(outgoing) => match (&outgoing.item, &outgoing.error) {
            (Some(item), None) if !generic && check::may_be_returned(item) => {
                quote!(::core::result::Result<#library::Streaming<#item>, #library::Error>)
            }
            (Some(item), Some(error)) if !generic && check::may_be_returned(item) && check::may_be_returned(error) => {
                quote!(::core::result::Result<#library::Streaming<#item>, #library::CallError<#error>>)
            }
            _ => nothing,
        },
        _ => nothing,
    };
    quote!(#(#cfgs)* #vis fn #ident(&self #(, #arguments)*) -> #library::Call<'_, #result> { loop {} })
}

/// Whether this type may stand in a method of the client as it stands in the trait, be it allowed there or not.
fn means_the_same(argument: &Argument) -> bool {
    struct Differs(bool);
    impl<'ast> Visit<'ast> for Differs {
        fn visit_type(&mut self, ty: &'ast Type) {
            self.0 |= matches!(ty, Type::Infer(_) | Type::Never(_));
            visit::visit_type(self, ty);
        }
        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            self.0 |= lifetime.ident != "_" && lifetime.ident != "static";
        }
        fn visit_path(&mut self, path: &'ast Path) {
            self.0 |= path.segments.first().is_some_and(|segment| segment.ident == "Self");
            visit::visit_path(self, path);
        }
    }
    let mut differs = Differs(matches!(argument.passing, Passing::Stream(_)));
    differs.visit_type(&argument.written.ty);
    !differs.0
}
