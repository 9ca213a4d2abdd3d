//! The trait itself, as implementations and callers of it see it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::visit_mut::{self, VisitMut};
use syn::{Block, ItemTrait, Signature, Type, TypeParamBound};

use crate::model::{Method, Service, is_stream};

/// ```text
/// Input   pub trait Shop: Debug { async fn quote(&self, cart: Cart) -> Quote; }
///
/// Output  pub trait Shop: Debug + Send + Sync + 'static {
///             fn quote(&self, cart: Cart) -> impl Future<Output = Quote> + Send;
///         }
/// ```
pub(super) fn expand(service: &Service) -> TokenStream {
    let ItemTrait { attrs, vis, trait_token, ident, generics, .. } = &service.item;
    let where_clause = &generics.where_clause;
    // Else the compiler would propose, for each type it cannot find, to make it a parameter of the trait.
    let empty = generics.params.is_empty().then(|| quote!(<>));
    let supertraits = supertraits(&service.item);
    let methods = service.methods.iter().map(method);
    quote! {
        #(#attrs)*
        #vis #trait_token #ident #empty #generics: #(#supertraits)+* #where_clause {
            #(#methods)*
        }
    }
}

/// The user's, and those of ours that are not among them: clippy complains of bounds that stand twice.
pub(super) fn supertraits(item: &ItemTrait) -> Vec<TokenStream> {
    let written = |name: &str| {
        item.supertraits.iter().any(|bound| match bound {
            TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|segment| segment.ident == name),
            TypeParamBound::Lifetime(lifetime) => lifetime.ident == name,
            _ => false,
        })
    };
    let ours = [("Send", quote!(::core::marker::Send)), ("Sync", quote!(::core::marker::Sync)), ("static", quote!('static))];
    let ours = ours.into_iter().filter(|(name, _)| !written(name)).map(|(_, bound)| bound);
    item.supertraits.iter().map(ToTokens::to_token_stream).chain(ours).collect()
}

fn method(method: &Method) -> TokenStream {
    let attributes = &method.item.attrs;
    if method.options.blocking.is_some() {
        let (signature, body) = (&method.item.sig, body(method.item.default.as_ref(), |block| block.to_token_stream()));
        return quote!(#(#attributes)* #signature #body);
    }
    if let Some(outgoing) = method.download() {
        return stream(method, &outgoing.ty);
    }
    let signature = future(&method.item.sig, &method.returns());
    let body = body(method.item.default.as_ref(), |block| waiting(block, &method.returns()));
    quote!(#(#attributes)* #signature #body)
}

/// ```text
/// Input   fn events(&self) -> impl Stream<Item = Event>          async fn watch(&self) -> Result<impl Stream<Item = Event>, Refused>
/// Output  fn events(&self) -> impl Stream<Item = Event> + Send   fn watch(&self) -> impl Future<Output = Result<impl Stream<Item = Event> + Send, Refused>> + Send
/// ```
fn stream(method: &Method, ty: &Type) -> TokenStream {
    let attributes = &method.item.attrs;
    let mut returns = ty.clone();
    Sendable.visit_type_mut(&mut returns);
    if method.item.sig.asyncness.is_some() {
        let signature = future(&method.item.sig, &returns.to_token_stream());
        let body = body(method.item.default.as_ref(), |block| quote!({ async move #block }));
        return quote!(#(#attributes)* #signature #body);
    }
    let Signature { fn_token, ident, generics, inputs, .. } = &method.item.sig;
    let body = body(method.item.default.as_ref(), |block| block.to_token_stream());
    quote!(#(#attributes)* #fn_token #ident #generics(#inputs) -> #returns #body)
}

/// Adds `Send` to streams that do not promise it.
struct Sendable;

impl VisitMut for Sendable {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        let stream = is_stream(ty);
        match ty {
            Type::ImplTrait(opaque) if stream => {
                let promised = opaque.bounds.iter().any(|bound| match bound {
                    TypeParamBound::Trait(bound) => bound.path.segments.last().is_some_and(|segment| segment.ident == "Send"),
                    _ => false,
                });
                if !promised {
                    opaque.bounds.push(syn::parse_quote!(::core::marker::Send));
                }
            }
            _ => visit_mut::visit_type_mut(self, ty),
        }
    }
}

/// ```text
/// Input   async fn quote(&self, cart: Cart) -> Quote
/// Output  fn quote(&self, cart: Cart) -> impl Future<Output = Quote> + Send
/// ```
/// An `async fn` in a trait cannot promise `Send`; an implementation of this may still be written as one.
pub(super) fn future(signature: &Signature, returns: &TokenStream) -> TokenStream {
    let Signature { fn_token, ident, generics, inputs, .. } = signature;
    let where_clause = &generics.where_clause;
    // Where the method is, or lints about it would point at the attribute.
    let place = Span::call_site().located_at(ident.span());
    let returns = quote_spanned!(place=> -> impl ::core::future::Future<Output = #returns> + ::core::marker::Send);
    quote!(#fn_token #ident #generics(#inputs) #returns #where_clause)
}

fn body(block: Option<&Block>, wrap: impl FnOnce(&Block) -> TokenStream) -> TokenStream {
    block.map_or_else(|| quote!(;), wrap)
}

/// ```text
/// Input   { Ok(self.quote(cart).await?) }
/// Output  { async move {
///             if let Some(returned) = None::<R> { return returned; }
///             { Ok(self.quote(cart).await?) }
///         } }
/// ```
/// A bare async block would leave the compiler to guess the type at each `?` and `return`.
fn waiting(block: &Block, returns: &TokenStream) -> TokenStream {
    let returned = Ident::new("returned", Span::mixed_site());
    quote! {{
        async move {
            if let ::core::option::Option::Some(#returned) = ::core::option::Option::None::<#returns> {
                return #returned;
            }
            #block
        }
    }}
}
