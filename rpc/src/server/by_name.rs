//! Methods registered at run time: closures, called by name.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::handler::next;
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

    #[doc(hidden)]
    fn handler(self: Arc<Self>) -> Handler;
}

macro_rules! function {
    ($($argument:ident $position:literal)*) => {
        #[expect(non_snake_case, reason = "an argument is named after its type")]
        #[allow(clippy::allow_attributes, unused_parens, unused_variables, clippy::unused_unit)]
        impl<Fun, Fut, $($argument),*> Function<($($argument,)*)> for Fun
        where
            Fun: Fn($($argument),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: Serialize> + Send + 'static,
            $($argument: DeserializeOwned + Send + 'static),*
        {
            const ARGUMENTS: &'static [&'static str] = &[$($position),*];

            fn handler(self: Arc<Self>) -> Handler {
                Box::pin(async move {
                    loop {
                        let request = next().await;
                        match request.arguments::<($($argument,)*)>() {
                            Ok(($($argument,)*)) => {
                                let result = self($($argument),*).await;
                                request.returned(&result);
                            }
                            Err(error) => request.refused(error),
                        }
                    }
                })
            }
        }
    };
}
function!(A "0");
function!(A "0" B "1");
function!(A "0" B "1" C "2");
function!(A "0" B "1" C "2" D "3");
function!(A "0" B "1" C "2" D "3" E "4");
function!(A "0" B "1" C "2" D "3" E "4" F "5");

impl<Fun, Fut> Function<()> for Fun
where
    Fun: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Serialize> + Send + 'static,
{
    const ARGUMENTS: &'static [&'static str] = &[];

    fn handler(self: Arc<Self>) -> Handler {
        Box::pin(async move {
            loop {
                let request = next().await;
                match request.arguments::<()>() {
                    Ok(()) => {
                        let result = self().await;
                        request.returned(&result);
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
    make: Box<dyn Fn() -> Handler + Send + Sync>,
}

impl RunTimeMethod {
    pub(crate) fn new<Arguments: 'static, F: Function<Arguments>>(name: String, function: F) -> Self {
        // Contracts are static tables everywhere else; a few bytes a registered name keep it that way.
        let method = Method { name: name.leak(), arguments: F::ARGUMENTS, ..Method::DEFAULT };
        let methods = Vec::leak(vec![method]);
        let contract = Box::leak(Box::new(Contract::new("", "", methods)));
        let function = Arc::new(function);
        Self { contract, make: Box::new(move || function.clone().handler()) }
    }
}

impl Service for RunTimeMethod {
    fn contract(&self) -> &'static Contract {
        self.contract
    }

    fn handler(&self, _method: usize) -> Handler {
        (self.make)()
    }
}
