//! Every rule a trait has to keep, each with the words that say what to write instead.
//!
//! Nothing here stops at the first error, and no mistake is reported twice.

use proc_macro2::TokenStream;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    FnArg, GenericParam, ItemTrait, Lifetime, LitStr, Pat, Path, Receiver, ReceiverKind, ReturnType, Safety, TraitItem, Type, TypeFnPtr,
    TypeImplTrait, TypeInfer, TypeNever, TypeParamBound, TypePtr, TypeReference, TypeTraitObject,
};

use crate::errors::Errors;
use crate::model::{Argument, Method, Outgoing, Output, Passing, Service, bare, is_stream};
use crate::names;

/// serde implements tuples of up to 16.
const MOST_ARGUMENTS: usize = 16;

/// Adds what is wrong with this service.
pub(crate) fn service(service: &Service, errors: &mut Errors) {
    for attribute in &service.misplaced {
        errors.at(attribute, "`#[rpc(..)]` belongs on a method: options of the whole service go into `#[service(..)]`");
    }
    if let Some(name) = &service.arguments.name
        && let Some(fault) = names::fault(&name.value(), false)
    {
        errors.at(name, fault);
    }
    if let Some(lock) = &service.arguments.lock {
        self::lock(service, lock, errors);
    }
    header(&service.item, errors);
    for item in &service.item.items {
        other_item(item, errors);
    }
    let lifetimes = service.item.generics.lifetimes().next().is_some();
    for method in &service.methods {
        self::method(method, lifetimes, errors);
    }
    duplicates(&service.methods, errors);
}

/// A lock file holds one contract.
fn lock(service: &Service, lock: &LitStr, errors: &mut Errors) {
    if lock.value().trim().is_empty() {
        errors.at(lock, "name the file, from the root of the package: `lock = \"shop.schema\"`");
    } else if service.item.generics.type_params().next().is_some() {
        errors.at(lock, "a trait with type parameters has a contract for each choice of types, and a lock file holds one: remove `lock`");
    }
}

/// What stands before the braces.
fn header(item: &ItemTrait, errors: &mut Errors) {
    if let Some(token) = &item.unsafety {
        errors.at(token, "a service is a safe trait: remove `unsafe`");
    }
    if let Some(token) = &item.modifiers.auto_token {
        errors.at(token, "a service has methods, which an auto trait cannot have: remove `auto`");
    }
    for parameter in &item.generics.params {
        match parameter {
            GenericParam::Lifetime(lifetime) => {
                errors.at(lifetime, "a service has no lifetime parameters: what it serves is `'static`; use owned types or type parameters");
            }
            GenericParam::Const(constant) => {
                errors.at(
                    constant,
                    "a service has no const parameters: both ends would have to agree on the value; write the value, or use a type parameter",
                );
            }
            GenericParam::Type(_) => {}
        }
    }
}

/// What is in the trait and is not a function.
fn other_item(item: &TraitItem, errors: &mut Errors) {
    match item {
        TraitItem::Type(item) => {
            errors.at(item, "a service has no associated types: write the concrete type, or make it a type parameter of the trait")
        }
        TraitItem::Const(item) => errors.at(item, "a service has no associated constants: write a method that returns the value"),
        TraitItem::Macro(item) => errors.at(item, "a macro's methods are not seen by `#[service]`: write the methods out"),
        item => errors.at(item, "a service has methods only"),
    }
}

/// `lifetimes`: the trait declares some, which was reported; so what names them is not.
fn method(method: &Method, lifetimes: bool, errors: &mut Errors) {
    let signature = &method.item.sig;
    for attribute in &method.conditional {
        errors.at(attribute, "`#[rpc(..)]` cannot be conditional: write the method twice, each under its own `#[cfg(..)]`");
    }
    qualifiers(method, errors);
    asyncness(method, errors);
    let lifetimes = generics(method, errors) || lifetimes;
    match signature.inputs.first() {
        Some(FnArg::Receiver(receiver)) => self::receiver(receiver, lifetimes, errors),
        _ => errors.at(&signature.ident, format!("a method is called on a service: write `{}(&self, ..)`", signature.ident)),
    }
    arguments(method, lifetimes, errors);
    output(method, lifetimes, errors);
    options(method, errors);
}

fn qualifiers(method: &Method, errors: &mut Errors) {
    let signature = &method.item.sig;
    if let Some(token) = &method.item.modifiers.defaultness {
        errors.at(token, "remove `default`: a method with a body is a default already");
    }
    if let Some(token) = &signature.constness {
        errors.at(token, format!("a method of a service runs when it is called: write `async fn {}`", signature.ident));
    }
    if let Safety::Unsafe(_) | Safety::Safe(_) = &signature.safety {
        errors.at(&signature.safety, "a caller in another process can keep no safety promise: remove it, and check the arguments instead");
    }
    if let Some(abi) = &signature.abi {
        errors.at(abi, "a method of a service is called over a connection: remove `extern`");
    }
    if let Some(variadic) = &signature.variadic {
        errors.at(variadic, "a method of a service has a fixed number of arguments: take a `Vec`");
    }
}

/// `async fn`, or `fn` with `#[rpc(blocking)]`.
fn asyncness(method: &Method, errors: &mut Errors) {
    let signature = &method.item.sig;
    let name = &signature.ident;
    match (&signature.asyncness, &method.options.blocking) {
        (Some(token), Some(_)) => errors.at(token, format!("a blocking method is a plain `fn`: remove `async`, or `blocking` if `{name}` awaits")),
        (None, None) if !matches!(method.output, Output::Stream(_)) && signature.constness.is_none() => {
            errors.at(signature.fn_token, format!("write `async fn {name}`, or mark it `#[rpc(blocking)]` if it blocks its thread"));
        }
        _ => {}
    }
}

/// Tells whether the method declares lifetimes: what names them then is part of the same mistake.
fn generics(method: &Method, errors: &mut Errors) -> bool {
    let generics = &method.item.sig.generics;
    let mut lifetimes = false;
    for parameter in &generics.params {
        match parameter {
            GenericParam::Lifetime(lifetime) => {
                lifetimes = true;
                errors.at(lifetime, "a method declares no lifetimes: leave them out, each borrowed argument gets its own");
            }
            GenericParam::Type(parameter) => {
                let name = &parameter.ident;
                errors.at(parameter, format!("a method has no type parameters: write a concrete type, or put `{name}` on the trait"));
            }
            GenericParam::Const(parameter) => errors.at(parameter, "a method has no const parameters: write the value, or take it as an argument"),
        }
    }
    // Those of a refused parameter go with it.
    if generics.params.is_empty()
        && let Some(clause) = &generics.where_clause
    {
        errors.at(clause, "a method has no `where` clause: put the bound on the trait");
    }
    lifetimes
}

fn receiver(receiver: &Receiver, lifetimes: bool, errors: &mut Errors) {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, Some(_)) => {
            errors.at(receiver, "one service answers many calls at once: write `&self`, and keep what changes in a lock or an atomic");
        }
        ReceiverKind::Reference(_, Some(lifetime), None) if !lifetimes => errors.at(lifetime, "write `&self`, without a lifetime"),
        ReceiverKind::Reference(..) => {}
        ReceiverKind::Typed(_, ty) if matches!(bare(ty), Type::Reference(reference) if reference.mutability.is_none()) => {
            errors.at(receiver, "write `&self`")
        }
        _ => errors.at(receiver, "one service answers many calls, so none may consume it: write `&self`"),
    }
}

fn arguments(method: &Method, lifetimes: bool, errors: &mut Errors) {
    for (place, argument) in method.arguments.iter().enumerate() {
        if let Some(attribute) = argument.written.attrs.first() {
            errors.at(attribute, "an argument has no attributes: both ends have to agree on the arguments; put the attribute on the method");
        }
        pattern(argument, errors);
        let ty = &argument.written.ty;
        match &argument.passing {
            Passing::ContextByValue => errors.at(ty, "the context is lent: write `&Context`"),
            Passing::Context if method.arguments.iter().take(place).any(|before| matches!(before.passing, Passing::Context)) => {
                errors.at(&argument.written, "a method has one context: remove this one");
            }
            Passing::Context if place > 0 => errors.at(&argument.written, "the context comes first: put it right after `&self`"),
            Passing::Context => {}
            Passing::Stream(_) if method.arguments.iter().take(place).any(|before| matches!(before.passing, Passing::Stream(_))) => {
                errors.at(&argument.written, "a method takes one stream: send both kinds of items in an enum");
            }
            Passing::Stream(Some(item)) => travels(item, Role::Item { lifetimes }, errors),
            Passing::Stream(None) => errors.at(ty, "both ends have to know the items: write `Streaming<T>`"),
            Passing::Reference(inner) if names_streaming(inner) => {
                errors.at(ty, "a stream is read by taking it: write `Streaming<T>`, not a reference")
            }
            _ if names_streaming(ty) => {
                errors.at(ty, "only the whole argument can be a stream: write `Streaming<T>`, and other values as arguments beside it")
            }
            _ if is_stream(ty) => errors.at(ty, "the caller's items are taken as `Streaming<T>`: write that instead of `impl Stream<Item = T>`"),
            _ => travels(ty, Role::Argument { lifetimes }, errors),
        }
    }
    if let Some(argument) = method.travelling().nth(MOST_ARGUMENTS) {
        errors.at(&argument.written, format!("a method has at most {MOST_ARGUMENTS} arguments: put them into a struct"));
    }
}

/// Arguments are matched by name, so each has exactly one.
fn pattern(argument: &Argument, errors: &mut Errors) {
    let pattern = &*argument.written.pat;
    match pattern {
        Pat::Ident(name) if name.by_ref.is_some() || name.mutability.is_some() || name.subpat.is_some() => {
            let name = &name.ident;
            errors.at(pattern, format!("the contract has only names: write `{name}`, and `let mut {name} = {name};` in the body"));
        }
        Pat::Ident(_) => {}
        Pat::Wild(_) => errors.at(pattern, "give this argument a name: it is part of the contract"),
        pattern => errors.at(pattern, "the contract has only names: write one, and take the value apart in the body"),
    }
}

fn output(method: &Method, lifetimes: bool, errors: &mut Errors) {
    let ReturnType::Type(_, ty) = &method.item.sig.output else { return };
    match &method.output {
        Output::Nothing => {}
        Output::Stream(outgoing) => stream(method, outgoing, lifetimes, errors),
        _ if method.options.oneway.is_some() => {
            errors.at(ty, "a one-way method has no reply, so it returns nothing: remove the return type, or `oneway`");
        }
        // `asyncness` has said what to write.
        _ if is_future(ty) && method.item.sig.asyncness.is_none() && method.options.blocking.is_none() => {}
        _ => travels(ty, Role::Returned { lifetimes }, errors),
    }
}

/// What a method may return as a stream.
fn stream(method: &Method, outgoing: &Outgoing, lifetimes: bool, errors: &mut Errors) {
    let Outgoing { ty, item, error, in_alias } = outgoing;
    if method.options.oneway.is_some() {
        errors.at(ty, "a one-way method has no reply, so it returns no stream: remove the return type, or `oneway`");
        return;
    }
    let Some(item) = item else {
        errors.at(ty, "both ends have to know the items: write `impl Stream<Item = T>`");
        return;
    };
    travels(item, Role::Item { lifetimes }, errors);
    if *in_alias {
        errors.at(ty, "both ends have to know the error: write `Result<impl Stream<Item = T>, E>`");
    } else if let Some(error) = error {
        if method.item.sig.asyncness.is_none() && method.options.blocking.is_none() {
            errors.at(method.item.sig.fn_token, format!("whether there is a stream is known after a while: write `async fn {}`", method.ident()));
        }
        travels(error, Role::Returned { lifetimes }, errors);
    }
}

/// `Streaming` somewhere in a type.
fn names_streaming(ty: &Type) -> bool {
    struct Find(bool);
    impl<'ast> Visit<'ast> for Find {
        fn visit_path(&mut self, path: &'ast Path) {
            self.0 |= path.segments.last().is_some_and(|segment| segment.ident == "Streaming" && !segment.arguments.is_none());
            visit::visit_path(self, path);
        }
    }
    let mut find = Find(false);
    find.visit_type(ty);
    find.0
}

fn is_future(ty: &Type) -> bool {
    let Type::ImplTrait(opaque) = bare(ty) else { return false };
    opaque
        .bounds
        .iter()
        .any(|bound| matches!(bound, TypeParamBound::Trait(bound) if bound.path.segments.last().is_some_and(|segment| segment.ident == "Future")))
}

/// Which options stand together.
fn options(method: &Method, errors: &mut Errors) {
    let options = &method.options;
    if let Some(name) = &options.name
        && let Some(fault) = names::fault(&name.value(), true)
    {
        errors.at(name, fault);
    }
    if let (Some(_), Some(idempotent)) = (&options.oneway, &options.idempotent) {
        errors.at(idempotent, "a one-way method has no reply, so nobody learns that it should be sent again: remove `idempotent` or `oneway`");
    }
    let streams = method.upload().is_some() || method.download().is_some();
    if let (true, Some(oneway)) = (method.upload().is_some() && method.download().is_none(), &options.oneway) {
        errors.at(oneway, "a one-way method is one message, so it takes no stream: remove `oneway`");
    }
    if let (true, Some(blocking)) = (streams, &options.blocking) {
        errors.at(blocking, "a stream is read and sent by tasks: remove `blocking`, and use `tokio::task::spawn_blocking` for what blocks");
    }
    if let (true, Some(idempotent)) = (streams, &options.idempotent) {
        errors.at(idempotent, "a call with streams is never sent again, for its items are gone: remove `idempotent`");
    }
    if let (None, Some(slow)) = (method.download(), &options.slow_consumer) {
        errors.at(&slow.written, "`slow_consumer` is for methods that return a stream: remove it");
    }
    if let (Some(_), Some(spawn)) = (&options.blocking, &options.spawn) {
        errors.at(spawn, "a blocking method runs on a thread of its own already: remove `spawn`");
    }
}

/// Under `#[cfg]`s two methods may share a name, if only one of them is ever there: rustc sees to that.
fn duplicates(methods: &[Method], errors: &mut Errors) {
    for (place, method) in methods.iter().enumerate() {
        let name = method.wire_name();
        let always = method.cfgs().is_empty();
        let mut before = methods.iter().take(place).filter(|before| before.wire_name() == name);
        let Some(before) = before.find(|before| always || before.cfgs().is_empty()) else { continue };
        let message = format!("`{}` already has the wire name `{name}`: write `#[rpc(name = \"..\")]` to give this one another", before.ident());
        match &method.options.name {
            Some(written) => errors.at(written, message),
            None if before.ident() == method.ident() => {
                errors.at(method.ident(), format!("`{name}` stands twice in this trait: give one of them another name"))
            }
            None => errors.at(method.ident(), message),
        }
    }
}

/// What a type is for.
#[derive(Clone, Copy)]
enum Role {
    /// `lifetimes`: an error about the lifetimes it names has been reported.
    Argument {
        lifetimes: bool,
    },
    Returned {
        lifetimes: bool,
    },
    Item {
        lifetimes: bool,
    },
}

/// Adds the first reason why a value of this type cannot travel, as far as its tokens tell.
fn travels(ty: &Type, role: Role, errors: &mut Errors) {
    let mut travels = Travels { role, fault: None };
    // A reference at the top of an argument is how it is lent; what matters is behind it.
    travels.visit_type(ty);
    if let Some(error) = travels.fault {
        errors.add(error);
    }
}

/// Whether nothing speaks against a type as a return type.
pub(crate) fn may_be_returned(ty: &Type) -> bool {
    let mut errors = Errors::default();
    travels(ty, Role::Returned { lifetimes: false }, &mut errors);
    errors.into_error().is_none()
}

struct Travels {
    role: Role,
    fault: Option<syn::Error>,
}

impl Travels {
    fn refuse(&mut self, tokens: impl quote::ToTokens, message: &str) {
        self.fault.get_or_insert_with(|| syn::Error::new_spanned(tokens, message));
    }
}

impl<'ast> Visit<'ast> for Travels {
    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        match self.role {
            Role::Argument { .. } => self.refuse(ty, "both ends have to know the type: write a concrete one instead of `impl ..`"),
            Role::Returned { .. } => self.refuse(ty, "the caller has to know the type: return a concrete one instead of `impl ..`"),
            Role::Item { .. } => self.refuse(ty, "both ends have to know the items: write a concrete type instead of `impl ..`"),
        }
    }

    fn visit_type_trait_object(&mut self, ty: &'ast TypeTraitObject) {
        self.refuse(ty, "a trait object cannot travel: write an enum of what it can be");
    }

    fn visit_type_fn_ptr(&mut self, ty: &'ast TypeFnPtr) {
        self.refuse(ty, "a function cannot travel: send the data it would work on");
    }

    fn visit_type_ptr(&mut self, ty: &'ast TypePtr) {
        self.refuse(ty, "a pointer means nothing in another process: send the value");
    }

    fn visit_type_infer(&mut self, ty: &'ast TypeInfer) {
        self.refuse(ty, "both ends have to know the type: write it out");
    }

    fn visit_type_never(&mut self, ty: &'ast TypeNever) {
        self.refuse(ty, "there is no value of `!` that could travel: write `()` for nothing");
    }

    fn visit_type_reference(&mut self, ty: &'ast TypeReference) {
        match self.role {
            Role::Returned { .. } => self.refuse(ty, "a reply travels, so it cannot borrow: return an owned type, such as `String` or `Vec<T>`"),
            Role::Item { .. } => self.refuse(ty, "items travel, so they cannot borrow: write an owned type, such as `String` or `Vec<T>`"),
            Role::Argument { .. } if ty.mutability.is_some() => {
                self.refuse(ty, "what the server changes does not travel back: take `&T` or `T`, and return what changed");
            }
            Role::Argument { .. } if ty.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static") => {
                self.refuse(ty, "an argument borrows from the request, which does not last: leave `'static` out, or take an owned type");
            }
            Role::Argument { .. } => visit::visit_type_reference(self, ty),
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        match self.role {
            Role::Argument { lifetimes: true } | Role::Returned { lifetimes: true } | Role::Item { lifetimes: true } => {}
            _ if lifetime.ident == "static" => {}
            Role::Argument { .. } if lifetime.ident == "_" => {}
            Role::Argument { .. } => self.refuse(lifetime, "write `'_`: an argument borrows from the request, which is shorter than anything else"),
            Role::Item { .. } => self.refuse(lifetime, "items travel, so they cannot borrow: write an owned type"),
            Role::Returned { .. } => self.refuse(lifetime, "a reply travels, so it cannot borrow: return an owned type"),
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.segments.first().is_some_and(|segment| segment.ident == "Self") {
            self.refuse(path, "`Self` is the server's own type, which the caller does not know: write a concrete type");
            return;
        }
        visit::visit_path(self, path);
    }
}

/// For an item under `#[service]` that is not a trait.
pub(crate) fn not_a_trait(item: &syn::Item, tokens: &TokenStream) -> syn::Error {
    let message = "`#[service]` belongs on a trait: write the methods as `trait Shop { async fn quote(&self, ..) -> Quote; }`";
    match item {
        syn::Item::Struct(item) => syn::Error::new(item.struct_token.span, message),
        syn::Item::Enum(item) => syn::Error::new(item.enum_token.span, message),
        syn::Item::Impl(item) => {
            syn::Error::new(item.impl_token.span, "`#[service]` belongs on the trait, not on its implementation: remove it here")
        }
        syn::Item::Fn(item) => syn::Error::new(item.sig.span(), message),
        syn::Item::Mod(item) => syn::Error::new(item.mod_token.span, message),
        _ => syn::Error::new_spanned(tokens, message),
    }
}
