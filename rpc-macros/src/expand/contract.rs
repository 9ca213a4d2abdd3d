//! The static table that both ends share, the numbers of its methods, and what the compiler has to verify about it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Lifetime, Type};

use super::types::Way;
use super::{Scope, server};
use crate::model::{Method, Output, Passing, bare, deprecated, docs};
use crate::names;

/// ```text
/// Input   trait Shop { #[rpc(timeout = "5s")] async fn quote(&self, cart: Cart) -> Quote; #[cfg(x)] async fn pay(&self); }
///
/// Output  enum __Number { #[cfg(x)] pay, quote }
///         static __CONTRACT: Contract = Contract::new("Shop", "", &[
///             #[cfg(x)] Method { name: "pay", .. },
///             Method { name: "quote", arguments: &["cart"], timeout: Some(..), run: |root, reader| .., .. },
///         ]);
///
/// Output  static __CONTRACTS: Contracts = Contracts::new();      // of a trait with parameters: its types are known where it is used
///         fn __contract<K: Wire>() -> &'static Contract {
///             __CONTRACTS.of::<(K,)>("Store", "", const { &[Method { .. }, ..] })
///         }
/// ```
/// A method's number is its place in the order of wire names. The enum counts after `#[cfg]`, as the table does.
pub(super) fn expand(scope: &Scope<'_>) -> TokenStream {
    let service = scope.service.wire_name();
    let docs = docs(&scope.service.item.attrs);
    let sorted = sorted(scope);
    let variants = sorted.iter().map(|method| {
        let (cfgs, ident) = (method.cfgs(), number_variant(method));
        quote!(#(#cfgs)* #ident)
    });
    let entries = sorted.iter().map(|method| entry(scope, method));
    let table = quote!(#service, #docs);
    let (parameters, bounded, where_clause) = (scope.parameters(), scope.bounded_parameters(), scope.where_clause());
    let contract = if scope.is_generic() {
        quote! {
            static __CONTRACTS: __rpc::Contracts = __rpc::Contracts::new();
            fn __contract<#(#bounded),*>() -> &'static __rpc::Contract #where_clause {
                __CONTRACTS.of::<(#(#parameters,)*)>(#table, const { &[#(#entries),*] })
            }
        }
    } else {
        quote!(static __CONTRACT: __rpc::Contract = __rpc::Contract::new(#table, &[#(#entries),*]);)
    };
    let assertions = scope.service.methods.iter().filter_map(|method| not_a_result(scope, method));
    quote! {
        enum __Number { #(#variants),* }
        #contract
        struct __Result;
        #(#assertions)*
    }
}

/// The methods in the order of the table.
pub(super) fn sorted<'a>(scope: &Scope<'a>) -> Vec<&'a Method> {
    let mut methods: Vec<_> = scope.service.methods.iter().collect();
    methods.sort_by_key(|method| method.wire_name());
    methods
}

/// `__Number::quote as usize`.
pub(super) fn number(method: &Method) -> TokenStream {
    let variant = number_variant(method);
    quote!(__Number::#variant as ::core::primitive::usize)
}

/// Not the user's token, or editors would show the enum where the method is meant.
fn number_variant(method: &Method) -> Ident {
    names::hidden(method.ident())
}

fn entry(scope: &Scope<'_>, method: &Method) -> TokenStream {
    let cfgs = method.cfgs();
    let name = method.wire_name();
    let docs = docs(&method.item.attrs);
    let arguments = method.travelling().map(|argument| argument.wire_name());
    let options = &method.options;
    let timeout = options.timeout.as_ref().map(|timeout| {
        let milliseconds = timeout.milliseconds;
        quote!(timeout: ::core::option::Option::Some(::core::time::Duration::from_millis(#milliseconds)),)
    });
    let slow_consumer = options.slow_consumer.as_ref().map(|slow| {
        let variant = Ident::new(slow.variant, Span::call_site());
        quote!(slow_consumer: ::core::option::Option::Some(__rpc::SlowConsumer::#variant),)
    });
    let upload = method.upload().map(|argument| {
        let name = argument.wire_name();
        quote!(upload: ::core::option::Option::Some(#name),)
    });
    let deprecated = deprecated(&method.item.attrs).map(|note| quote!(deprecated: ::core::option::Option::Some(#note),));
    let run = run(scope, method);
    let flags = [
        (options.idempotent.is_some(), quote!(idempotent)),
        (options.oneway.is_some(), quote!(oneway)),
        (options.detached.is_some(), quote!(detached)),
        (options.spawn.is_some(), quote!(spawn)),
        (method.upload().is_some(), quote!(uploads)),
        (method.download().is_some(), quote!(downloads)),
        (method.takes_context(), quote!(context)),
        (method.is_fallible(), quote!(fallible)),
    ];
    let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag);
    quote! {
        #(#cfgs)*
        __rpc::Method {
            name: #name,
            arguments: &[#(#arguments),*],
            docs: #docs,
            #timeout
            #slow_consumer
            #upload
            #deprecated
            run: #run,
            #(#flags: true,)*
            ..__rpc::Method::DEFAULT
        }
    }
}

/// ```text
/// Input   async fn pay(&self, cx: &Context, order: Order) -> Result<Receipt, PayError>
/// Output  |root, reader| match root {
///             Root::Argument(0) => Passes::read(argument::<Order>(), reader),
///             Root::Returns => Returns::read(reply::<Receipt>(), reader),
///             Root::Error => Returns::read(reply::<PayError>(), reader),
///             _ => Reader::none(reader),
///         }
/// ```
/// Arguments are read as the server reads them: as what travels. What is in a `Result` by another path the type system finds out,
/// as below; if it is none, that is said where it is called.
fn run(scope: &Scope<'_>, method: &Method) -> TokenStream {
    let name = |name| Ident::new(name, Span::mixed_site());
    let (root, reader) = (name("root"), name("reader"));
    let stand_in = |way, ty| scope.types.stand_in(scope, way, ty, method);
    let item = |root: TokenStream, ty| {
        let item = stand_in(Way::Item, ty);
        quote!(__rpc::Root::#root => __rpc::Items::read(#item, #reader),)
    };
    let reply = |root: TokenStream, ty| {
        let reply = stand_in(Way::Reply, ty);
        quote!(__rpc::Root::#root => __rpc::Returns::read(#reply, #reader),)
    };
    let arguments = method.travelling().enumerate().map(|(place, argument)| {
        let argument = server::decoded(scope, method, argument);
        quote!(__rpc::Root::Argument(#place) => __rpc::Passes::read(#argument, #reader),)
    });
    let upload = method.upload().and_then(|argument| match &argument.passing {
        Passing::Stream(Some(ty)) => Some(item(quote!(Upload), ty)),
        _ => None,
    });
    let outputs = match &method.output {
        Output::Nothing if method.options.oneway.is_some() => Vec::new(),
        Output::Nothing => vec![quote!(__rpc::Root::Returns => __rpc::Returns::read(__rpc::reply::<()>(), #reader),)],
        Output::Value(ty) => vec![reply(quote!(Returns), ty)],
        Output::Result(ok, error) => vec![reply(quote!(Returns), ok), reply(quote!(Error), error)],
        Output::NamedResult(ty) => vec![quote! {
            __rpc::Root::Returns | __rpc::Root::Error => {
                use __rpc::NotResult as _;
                __rpc::Probe::<#ty>::read(#root, #reader)
            }
        }],
        Output::Stream(outgoing) => {
            let download = outgoing.item.as_ref().map(|ty| item(quote!(Download), ty));
            download.into_iter().chain(outgoing.error.as_ref().map(|ty| reply(quote!(Error), ty))).collect()
        }
    };
    quote! {
        |#root, #reader| match #root {
            #(#arguments)*
            #upload
            #(#outputs)*
            _ => __rpc::Reader::none(#reader),
        }
    }
}

/// ```text
/// Input   async fn pay(&self) -> Outcome;    // type Outcome = Result<Receipt, PayError>
/// Output  impl __Result { const __pay: bool = Probe::<Outcome>::IS_RESULT; }
///         const _: () = assert!(!__Result::__pay, "`pay` returns a `Result` under another name: ..");
/// ```
/// Its caller would get a `Result` within a `Result`. Types that name a parameter of the trait cannot be asked; nor
/// need the compiler be, where the name tells.
fn not_a_result(scope: &Scope<'_>, method: &Method) -> Option<TokenStream> {
    let Output::Value(ty) = &method.output else { return None };
    if is_known(ty) || depends(scope, ty) {
        return None;
    }
    let cfgs = method.cfgs();
    let message = format!(
        "`{}` returns a `Result` under another name: write `Result<T, E>`, or name the alias itself `Result`, as in `io::Result<T>`",
        method.ident()
    );
    // Inherent items win over the trait's, which has to be in scope only here.
    let variant = number_variant(method);
    let assertion = quote_spanned!(ty.span()=> ::core::assert!(!__Result::#variant, #message));
    // The type stands in an `impl`: to a constant the compiler would propose a parameter of the type's name.
    Some(quote! {
        #(#cfgs)*
        impl __Result {
            const #variant: ::core::primitive::bool = {
                use __rpc::NotResult as _;
                __rpc::Probe::<#ty>::IS_RESULT
            };
        }
        #(#cfgs)*
        const _: () = #assertion;
    })
}

/// Plain words of the language and the prelude that are never a `Result`.
fn is_known(ty: &Type) -> bool {
    let Type::Path(path) = bare(ty) else { return !matches!(bare(ty), Type::Macro(_)) };
    let Some(only) = path.path.segments.first().filter(|_| path.path.segments.len() == 1) else { return false };
    let known = [
        "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "u8", "u16", "u32", "u64", "u128", "usize", "isize", "String", "Vec",
        "Option",
    ];
    known.iter().any(|name| only.ident == name)
}

/// Whether the type names a parameter of the trait, or a lifetime.
fn depends(scope: &Scope<'_>, ty: &Type) -> bool {
    struct Lifetimes(bool);
    impl<'ast> Visit<'ast> for Lifetimes {
        fn visit_lifetime(&mut self, _: &'ast Lifetime) {
            self.0 = true;
        }
    }
    let mut lifetimes = Lifetimes(false);
    lifetimes.visit_type(ty);
    lifetimes.0 || scope.parameters().into_iter().any(|parameter| names::mentions(ty.to_token_stream(), parameter))
}
