//! What the trait says, taken apart and not yet judged: `check` decides what of it is allowed.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Expr, ExprLit, FnArg, GenericArgument, Ident, ItemTrait, Lit, Meta, MetaNameValue, Pat, PatType, Path, PathArguments, ReturnType,
    Token, TraitItem, TraitItemFn, Type, TypeParamBound,
};

use crate::args::{self, MethodArguments, ServiceArguments};
use crate::errors::Errors;

/// A trait under `#[service]`.
pub(crate) struct Service {
    /// As written, without any `#[rpc]`; its functions stand in `methods`.
    pub(crate) item: ItemTrait,
    /// `#[rpc]` on the trait itself, where it means nothing.
    pub(crate) misplaced: Vec<Attribute>,
    pub(crate) arguments: ServiceArguments,
    /// The path of the library.
    pub(crate) library: TokenStream,
    pub(crate) methods: Vec<Method>,
}

/// A function of the trait.
pub(crate) struct Method {
    /// As written, without `#[rpc]`.
    pub(crate) item: TraitItemFn,
    pub(crate) options: MethodArguments,
    /// `#[cfg_attr(.., rpc(..))]`, which `check` refuses.
    pub(crate) conditional: Vec<Attribute>,
    /// Every argument after the receiver, in order.
    pub(crate) arguments: Vec<Argument>,
    pub(crate) output: Output,
}

/// An argument as its place in the tuple needs it.
pub(crate) struct Argument {
    /// As written.
    pub(crate) written: PatType,
    /// `None` where the pattern is not a plain name.
    pub(crate) name: Option<Ident>,
    pub(crate) passing: Passing,
}

/// How an argument gets from the request to the implementation.
pub(crate) enum Passing {
    /// `&Context`: it does not travel.
    Context,
    /// `Context` by value or `&mut Context`, which `check` refuses.
    ContextByValue,
    /// `Streaming<T>`: its items travel, one after the other, beside the tuple. `None` where the item is not written.
    Stream(Option<Box<Type>>),
    /// `T`, also one that borrows, such as `Option<&str>`: decoded as written.
    Value,
    /// `&str`: decoded as text that borrows where it can.
    Str,
    /// `Cow<'_, str>`: the same, handed over whole.
    CowStr,
    /// `&[u8]`: decoded as bytes in one piece.
    Bytes,
    /// `Cow<'_, [u8]>`: the same, handed over whole.
    CowBytes,
    /// `&T`: a `T` is decoded and lent.
    Reference(Box<Type>),
    /// `&[T]`: a `Vec<T>` is decoded and lent.
    Slice(Box<Type>),
}

/// What a method gives back.
pub(crate) enum Output {
    /// `()`, written or not.
    Nothing,
    /// A value that is not called `Result`.
    Value(Box<Type>),
    /// `Result<T, E>`, word for word.
    Result(Box<Type>, Box<Type>),
    /// Another path that ends in `Result`: the type system knows what is in it.
    NamedResult(Box<Type>),
    /// `impl Stream<Item = T>`, alone or in a `Result`.
    Stream(Box<Outgoing>),
}

/// A stream that a method returns.
pub(crate) struct Outgoing {
    /// As written, the `Result` included.
    pub(crate) ty: Type,
    /// What follows `Item =`, if it is written.
    pub(crate) item: Option<Type>,
    /// The error of the `Result` that it stands in.
    pub(crate) error: Option<Type>,
    /// It stands in a `Result` whose error is not written.
    pub(crate) in_alias: bool,
}

impl Service {
    /// Takes the functions out of the trait and reads their options.
    pub(crate) fn new(arguments: ServiceArguments, mut item: ItemTrait, errors: &mut Errors) -> Self {
        let library = args::library(&arguments);
        let (misplaced, attributes) = item.attrs.drain(..).partition(is_rpc);
        item.attrs = attributes;
        let (functions, rest): (Vec<_>, Vec<_>) = item.items.drain(..).partition(|item| matches!(item, TraitItem::Fn(_)));
        item.items = rest;
        let library_name = arguments.library.as_ref().and_then(|path| path.segments.last()).map(|segment| segment.ident.clone());
        let mut methods = Vec::new();
        for function in functions {
            if let TraitItem::Fn(function) = function {
                methods.push(Method::new(function, library_name.as_ref(), errors));
            }
        }
        Self { item, misplaced, arguments, library, methods }
    }

    pub(crate) fn wire_name(&self) -> String {
        self.arguments.name.as_ref().map_or_else(|| self.item.ident.unraw().to_string(), syn::LitStr::value)
    }

    /// Whether the trait has a method with this Rust name.
    pub(crate) fn has_method(&self, name: &str) -> bool {
        self.methods.iter().any(|method| method.item.sig.ident == name)
    }
}

impl Method {
    fn new(mut item: TraitItemFn, library: Option<&Ident>, errors: &mut Errors) -> Self {
        let (own, attributes): (Vec<_>, Vec<_>) = item.attrs.drain(..).partition(is_rpc);
        let (conditional, attributes) = attributes.into_iter().partition(|attribute| is_conditional(attribute, &["rpc"]));
        item.attrs = attributes;
        let options = MethodArguments::parse(own.iter(), errors);
        let typed = item.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        });
        let arguments = typed.map(|argument| Argument::new(argument, library)).collect();
        let output = Output::new(&item.sig.output);
        Self { item, options, conditional, arguments, output }
    }

    pub(crate) fn ident(&self) -> &Ident {
        &self.item.sig.ident
    }

    pub(crate) fn wire_name(&self) -> String {
        self.options.name.as_ref().map_or_else(|| self.ident().unraw().to_string(), syn::LitStr::value)
    }

    /// The arguments that the caller gives.
    pub(crate) fn given(&self) -> impl Iterator<Item = &Argument> {
        self.arguments.iter().filter(|argument| !matches!(argument.passing, Passing::Context | Passing::ContextByValue))
    }

    /// Those of them that travel as one tuple.
    pub(crate) fn travelling(&self) -> impl Iterator<Item = &Argument> {
        self.given().filter(|argument| !matches!(argument.passing, Passing::Stream(_)))
    }

    /// The one whose items travel by themselves.
    pub(crate) fn upload(&self) -> Option<&Argument> {
        self.arguments.iter().find(|argument| matches!(argument.passing, Passing::Stream(_)))
    }

    pub(crate) fn download(&self) -> Option<&Outgoing> {
        match &self.output {
            Output::Stream(outgoing) => Some(outgoing),
            _ => None,
        }
    }

    /// It has an error of its own.
    pub(crate) fn is_fallible(&self) -> bool {
        match &self.output {
            Output::Result(..) | Output::NamedResult(_) => true,
            Output::Stream(outgoing) => outgoing.error.is_some(),
            Output::Nothing | Output::Value(_) => false,
        }
    }

    pub(crate) fn takes_context(&self) -> bool {
        self.arguments.iter().any(|argument| matches!(argument.passing, Passing::Context))
    }

    /// What stands after the arrow, `()` if nothing does.
    pub(crate) fn returns(&self) -> TokenStream {
        match &self.item.sig.output {
            ReturnType::Default => quote!(()),
            ReturnType::Type(_, ty) => quote!(#ty),
        }
    }

    /// The attributes under which the method exists at all: they go wherever it is named.
    pub(crate) fn cfgs(&self) -> Vec<&Attribute> {
        cfgs(&self.item.attrs)
    }
}

impl Argument {
    fn new(written: &PatType, library: Option<&Ident>) -> Self {
        let name = match &*written.pat {
            Pat::Ident(pattern) => Some(pattern.ident.clone()),
            _ => None,
        };
        Self { written: written.clone(), name, passing: Passing::new(&written.ty, library) }
    }

    /// The name in the contract.
    pub(crate) fn wire_name(&self) -> String {
        self.name.as_ref().map(|name| name.unraw().to_string()).unwrap_or_default()
    }
}

impl Passing {
    fn new(ty: &Type, library: Option<&Ident>) -> Self {
        match bare(ty) {
            ty if is_context(ty, library) => Self::ContextByValue,
            Type::Reference(reference) if is_context(bare(&reference.elem), library) => {
                if reference.mutability.is_some() {
                    Self::ContextByValue
                } else {
                    Self::Context
                }
            }
            Type::Reference(reference) => match bare(&reference.elem) {
                Type::Path(path) if path.qself.is_none() && path.path.is_ident("str") => Self::Str,
                Type::Slice(slice) if is_byte(&slice.elem) => Self::Bytes,
                Type::Slice(slice) => Self::Slice(slice.elem.clone()),
                _ => Self::Reference(reference.elem.clone()),
            },
            Type::Path(path) => Self::path(&path.path),
            _ => Self::Value,
        }
    }

    fn path(path: &Path) -> Self {
        match path.segments.last() {
            // Without its item the compiler says what is missing.
            Some(segment) if segment.ident == "Streaming" && !segment.arguments.is_none() => {
                let item = generic_arguments(&segment.arguments).into_iter().find_map(|argument| match argument {
                    GenericArgument::Type(ty) => Some(Box::new(ty.clone())),
                    _ => None,
                });
                Self::Stream(item)
            }
            Some(segment) if segment.ident == "Cow" => {
                let arguments = generic_arguments(&segment.arguments);
                // A `Cow<'static, _>` is owned, and decoded as any other value.
                if arguments.iter().any(|argument| matches!(argument, GenericArgument::Lifetime(lifetime) if lifetime.ident != "_")) {
                    return Self::Value;
                }
                match arguments.iter().find_map(|argument| if let GenericArgument::Type(ty) = argument { Some(bare(ty)) } else { None }) {
                    Some(Type::Path(path)) if path.path.is_ident("str") => Self::CowStr,
                    Some(Type::Slice(slice)) if is_byte(&slice.elem) => Self::CowBytes,
                    _ => Self::Value,
                }
            }
            _ => Self::Value,
        }
    }
}

impl Output {
    fn new(output: &ReturnType) -> Self {
        let ReturnType::Type(_, ty) = output else { return Self::Nothing };
        match bare(ty) {
            Type::Tuple(tuple) if tuple.elems.is_empty() => Self::Nothing,
            Type::Path(path) if path.qself.is_none() => {
                let last = path.path.segments.last().filter(|segment| segment.ident == "Result");
                let Some(last) = last else { return Self::Value(ty.clone()) };
                let types = generic_arguments(&last.arguments);
                match types.as_slice() {
                    [GenericArgument::Type(value), rest @ ..] if is_stream(value) => {
                        let error = match rest {
                            [GenericArgument::Type(error)] => Some(error.clone()),
                            _ => None,
                        };
                        let in_alias = error.is_none();
                        Self::Stream(Box::new(Outgoing { ty: (**ty).clone(), item: item(value), error, in_alias }))
                    }
                    [GenericArgument::Type(value), GenericArgument::Type(error)] => Self::Result(Box::new(value.clone()), Box::new(error.clone())),
                    _ => Self::NamedResult(ty.clone()),
                }
            }
            inner if is_stream(inner) => Self::Stream(Box::new(Outgoing { ty: (**ty).clone(), item: item(inner), error: None, in_alias: false })),
            _ => Self::Value(ty.clone()),
        }
    }
}

/// The text of the doc comments, as rustdoc reads it.
pub(crate) fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<String> = lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n").trim().to_owned()
}

/// What `#[deprecated]` says, empty if it says nothing; none without it.
pub(crate) fn deprecated(attributes: &[Attribute]) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.path().is_ident("deprecated"))?;
    let text = |expression: &Expr| match expression {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    };
    let note = match &attribute.meta {
        Meta::Path(_) => None,
        Meta::NameValue(pair) => text(&pair.value),
        Meta::List(list) => {
            let pairs = list.parse_args_with(Punctuated::<MetaNameValue, Token![,]>::parse_terminated).unwrap_or_default();
            pairs.iter().find(|pair| pair.path.is_ident("note")).and_then(|pair| text(&pair.value))
        }
    };
    Some(note.unwrap_or_default())
}

/// The `#[cfg]`s among these.
pub(crate) fn cfgs(attributes: &[Attribute]) -> Vec<&Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect()
}

/// Those that a client's method repeats: docs, cfg, deprecated.
pub(crate) fn carried(attributes: &[Attribute]) -> Vec<&Attribute> {
    let carries = |attribute: &&Attribute| {
        let path = attribute.path();
        path.is_ident("doc") || path.is_ident("cfg") || path.is_ident("deprecated") || is_conditional(attribute, &["doc", "deprecated"])
    };
    attributes.iter().filter(carries).collect()
}

/// Its use is warned of, or may be.
pub(crate) fn is_deprecated(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("deprecated") || is_conditional(attribute, &["deprecated"]))
}

/// `#[cfg_attr(.., name ..)]` with one of these names.
fn is_conditional(attribute: &Attribute, names: &[&str]) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let mut tokens = list.tokens.clone().into_iter();
    attribute.path().is_ident("cfg_attr") && tokens.any(|token| matches!(token, TokenTree::Ident(word) if names.iter().any(|name| word == name)))
}

fn is_rpc(attribute: &Attribute) -> bool {
    attribute.path().is_ident("rpc")
}

/// The type without parentheses and without the invisible ones of `macro_rules!`.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Paren(inner) => bare(&inner.elem),
        Type::Group(inner) => bare(&inner.elem),
        ty => ty,
    }
}

/// `impl Stream<..>`.
pub(crate) fn is_stream(ty: &Type) -> bool {
    let Type::ImplTrait(opaque) = bare(ty) else { return false };
    opaque.bounds.iter().any(|bound| match bound {
        TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|segment| segment.ident == "Stream"),
        _ => false,
    })
}

/// `Event`, of `impl Stream<Item = Event>`.
fn item(ty: &Type) -> Option<Type> {
    let Type::ImplTrait(opaque) = bare(ty) else { return None };
    opaque.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last().filter(|segment| segment.ident == "Stream")?;
        generic_arguments(&last.arguments).into_iter().find_map(|argument| match argument {
            GenericArgument::AssocType(assigned) if assigned.ident == "Item" => Some(assigned.ty.clone()),
            _ => None,
        })
    })
}

/// `Context`, `rpc::Context`, or the same under the path that the service names; a `my::Context` is a value like any other.
fn is_context(ty: &Type, library: Option<&Ident>) -> bool {
    let Type::Path(path) = ty else { return false };
    let segments: Vec<_> = path.path.segments.iter().collect();
    match segments.as_slice() {
        [only] => only.ident == "Context" && only.arguments.is_none(),
        [.., parent, last] => last.ident == "Context" && (parent.ident == "rpc" || Some(&parent.ident) == library),
        [] => false,
    }
}

fn is_byte(ty: &Type) -> bool {
    matches!(bare(ty), Type::Path(path) if path.path.is_ident("u8"))
}

fn generic_arguments(arguments: &PathArguments) -> Vec<&GenericArgument> {
    match arguments {
        PathArguments::AngleBracketed(arguments) => arguments.args.iter().collect(),
        _ => Vec::new(),
    }
}
