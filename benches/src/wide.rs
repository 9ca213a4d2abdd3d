//! Services of any number of methods, and of any name: what `#[service]` writes for a trait, without a trait for each.
//!
//! The one place beside generated code that goes by `rpc::__private`. A trait of 500 methods takes the compiler a while, and says nothing
//! more about how many methods cost while they run.

use std::time::{Duration, Instant};

use rpc::__private::{Contract, Fault, Handler, Method, Reader, Root, arguments, next};
use rpc::{Call, Client, Service};
use tokio::runtime::Runtime;

/// A service whose methods all take a number and return the one after it.
#[derive(Clone, Copy, Debug)]
pub struct Wide(&'static Contract);

impl Wide {
    /// This many methods. The table lives as long as the process, as every contract.
    #[must_use]
    pub fn new(service: &str, methods: usize) -> Self {
        let methods: Vec<Method> = (0..methods).map(method).collect();
        Self(Box::leak(Box::new(Contract::new(service.to_owned().leak(), "", methods.leak()))))
    }

    /// A call of the method with this number.
    pub fn call(self, client: &Client, method: usize, n: u64) -> Call<'_, Result<u64, rpc::Error>> {
        client.__call(self.0, method, &(&n,))
    }
}

/// In the order of their numbers names are in the order that a contract asks for.
fn method(number: usize) -> Method {
    let name: &'static str = format!("method_{number:04}").leak();
    Method { name, arguments: &["n"], run: types, ..Method::DEFAULT }
}

fn types(root: Root, reader: Reader<'_, '_>) -> Result<(), Fault> {
    match root {
        Root::Argument(0) | Root::Returns => reader.read::<u64>(),
        _ => reader.none(),
    }
}

impl Service for Wide {
    fn contract(&self) -> &'static Contract {
        self.0
    }

    fn handler(&self, _: usize) -> Handler {
        Box::pin(async {
            loop {
                let request = next().await;
                match arguments(&request, (rpc::__private::argument::<u64>(),)) {
                    Ok((n,)) => request.returned(&n.wrapping_add(1)),
                    Err(error) => request.refused(error),
                }
            }
        })
    }
}

/// This many calls, one after the other, each to the next of these methods.
///
/// # Panics
/// When a call fails.
#[must_use]
pub fn calls_in_turn(runtime: &Runtime, client: &Client, targets: &[(Wide, usize)], calls: u64) -> Duration {
    let (client, targets) = (client.clone(), targets.to_vec());
    runtime.block_on(async {
        // In a task: the thread that blocks is none of the runtime's.
        let task = tokio::spawn(async move {
            // Each once before, or the first round would bind them.
            for &(service, method) in &targets {
                one(&client, service, method, 0).await;
            }
            let began = Instant::now();
            for (n, &(service, method)) in (0..calls).zip(targets.iter().cycle()) {
                one(&client, service, method, n).await;
            }
            began.elapsed()
        });
        task.await.expect("every call succeeds")
    })
}

async fn one(client: &Client, service: Wide, method: usize, n: u64) {
    assert_eq!(service.call(client, method, n).await.expect("the call succeeds"), n + 1);
}
