//! Methods registered at run time: closures, called by name.

use std::any::type_name;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::handler::next;
use crate::schema::{Root, Run};
use crate::service::{Contract, Handler, Method, Service};

/// A closure that can be a method: owned arguments, one plain parameter each, any result serde can write.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a method",
    label = "not a function of owned arguments that returns a future",
    note = "write the argument types: `|n: u64, name: String| async move {{ .. }}`",
    note = "arguments and result must be serde types, `Send` and `'static`; at most 6 arguments"
)]
pub trait Function<Arguments>: Send + Sync + 'static {
    /// The names that stand for the positions of its arguments.
    #[doc(hidden)]
    const ARGUMENTS: &'static [&'static str];

    /// Reads a value of one of them.
    #[doc(hidden)]
    const RUN: Run;

    /// The Rust name of the type that its future gives.
    #[doc(hidden)]
    fn returns() -> &'static str;

    #[doc(hidden)]
    fn handler(self: Arc<Self>) -> Handler;
}

macro_rules! function {
    ($($argument:ident $place:literal $position:literal)*) => {
        #[expect(non_snake_case, reason = "an argument is named after its type")]
        #[allow(clippy::allow_attributes, unused_parens, unused_variables, clippy::unused_unit)]
        impl<Fun, Fut, $($argument),*> Function<($($argument,)*)> for Fun
        where
            Fun: Fn($($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: Serialize> + Send + 'static,
            $($argument: DeserializeOwned + Send + 'static),*
        {
            const ARGUMENTS: &'static [&'static str] = &[$($position),*];
            const RUN: Run = |root, reader| match root {
                $(Root::Argument($place) => reader.only_read::<$argument>(),)*
                _ => reader.none(),
            };

            fn returns() -> &'static str {
                type_name::<Fut::Output>()
            }

            fn handler(self: Arc<Self>) -> Handler {
                Box::pin(async move {
                    loop {
                        let request = next().await;
                        match request.arguments::<($($argument,)*)>() {
                            Ok(($($argument,)*)) => {
                                let result = self($($argument),*).await;
                                request.returned_untraced(&result);
                            }
                            Err(error) => request.refused(error),
                        }
                    }
                })
            }
        }
    };
}
function!(A 0 "0");
function!(A 0 "0" B 1 "1");
function!(A 0 "0" B 1 "1" C 2 "2");
function!(A 0 "0" B 1 "1" C 2 "2" D 3 "3");
function!(A 0 "0" B 1 "1" C 2 "2" D 3 "3" E 4 "4");
function!(A 0 "0" B 1 "1" C 2 "2" D 3 "3" E 4 "4" F 5 "5");

impl<Fun, Fut> Function<()> for Fun
where
    Fun: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Serialize> + Send + 'static,
{
    const ARGUMENTS: &'static [&'static str] = &[];
    const RUN: Run = |_, reader| reader.none();

    fn returns() -> &'static str {
        type_name::<Fut::Output>()
    }

    fn handler(self: Arc<Self>) -> Handler {
        Box::pin(async move {
            loop {
                let request = next().await;
                match request.arguments::<()>() {
                    Ok(()) => {
                        let result = self().await;
                        request.returned_untraced(&result);
                    }
                    Err(error) => request.refused(error),
                }
            }
        })
    }
}

/// One closure as a service without a name.
pub(crate) struct RunTimeMethod {
    contract: &'static Contract,
    returns: &'static str,
    make: Box<dyn Fn() -> Handler + Send + Sync>,
}

impl RunTimeMethod {
    pub(crate) fn new<Arguments: 'static, F: Function<Arguments>>(name: String, function: F) -> Self {
        // Contracts are static tables everywhere else; a few bytes a registered name keep it that way.
        let method = Method { name: name.leak(), arguments: F::ARGUMENTS, run: F::RUN, ..Method::DEFAULT };
        let methods = Vec::leak(vec![method]);
        let contract = Box::leak(Box::new(Contract::new("", "", methods)));
        let function = Arc::new(function);
        Self { contract, returns: F::returns(), make: Box::new(move || function.clone().handler()) }
    }
}

impl Service for RunTimeMethod {
    fn contract(&self) -> &'static Contract {
        self.contract
    }

    fn handler(&self, _method: usize) -> Handler {
        (self.make)()
    }

    fn returns(&self) -> &'static str {
        self.returns
    }
}
