//! The tests that a service brings into its crate: that its types travel, and that its contract is the one of the lock file.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;

use super::Scope;
use crate::model::{Method, cfgs};

/// ```text
/// Input   #[service(lock = "shop.schema")] trait Shop { .. }
///
/// Output  #[cfg(test)] mod __rpc_Shop {
///             pub(super) struct Tests;
///             #[test] fn travels() { Tests::travels(); }
///             #[test] fn is_locked() { Tests::is_locked(); }
///         }
/// ```
/// It stands beside the trait: a test inside a block is not found. In the body of a function it is not found either, which is no
/// mistake of the user's; there a module is needed to say so, which cannot name what is around it. What a trait with parameters is,
/// is known only where it is used.
pub(super) fn module(scope: &Scope<'_>) -> TokenStream {
    if is_empty(scope) {
        return TokenStream::new();
    }
    let (module, cfgs) = (name(scope), cfgs(&scope.service.item.attrs));
    // By its full path: `test` may be another macro here.
    let travels = scope.service.arguments.untested.is_none().then(|| {
        quote! {
            #[::core::prelude::v1::test]
            fn travels() {
                Tests::travels();
            }
        }
    });
    let locked = scope.service.arguments.lock.is_some().then(|| {
        quote! {
            #[::core::prelude::v1::test]
            fn is_locked() {
                Tests::is_locked();
            }
        }
    });
    quote! {
        #(#cfgs)*
        #[cfg(test)]
        #[doc(hidden)]
        mod #module {
            pub(super) struct Tests;
            #travels
            #locked
        }
    }
}

/// ```text
/// Output  impl __rpc_Shop::Tests {
///             fn travels() { assert_travels(&__CONTRACT); }
///             fn is_locked() { assert_locked(&__CONTRACT, env!("CARGO_MANIFEST_DIR"), "shop.schema", &["refund"]); }
///         }
/// ```
/// What they do, in the hidden block. Methods behind a `#[cfg]` are named: the file holds the contract of one set of features.
pub(super) fn bodies(scope: &Scope<'_>) -> TokenStream {
    if is_empty(scope) {
        return TokenStream::new();
    }
    let (module, contract) = (name(scope), scope.contract());
    let conditional = scope.service.methods.iter().filter(|method| !method.cfgs().is_empty()).map(Method::wire_name);
    let locked = scope.service.arguments.lock.as_ref().map(|file| {
        quote! {
            fn is_locked() {
                __rpc::assert_locked(#contract, ::core::env!("CARGO_MANIFEST_DIR"), #file, &[#(#conditional),*]);
            }
        }
    });
    quote! {
        #[cfg(test)]
        impl #module::Tests {
            fn travels() {
                __rpc::assert_travels(#contract);
            }

            #locked
        }
    }
}

fn is_empty(scope: &Scope<'_>) -> bool {
    let arguments = &scope.service.arguments;
    scope.is_generic() || (arguments.untested.is_some() && arguments.lock.is_none())
}

fn name(scope: &Scope<'_>) -> Ident {
    format_ident!("__rpc_{}", scope.service.item.ident.unraw(), span = Span::call_site())
}
