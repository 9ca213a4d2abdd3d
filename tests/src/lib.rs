//! What the tests share: the service they call, a server and a client over each transport, and transports that count
//! or fail.

pub mod certs;
pub mod count;
pub mod door;
pub mod evolve;
pub mod fault;
pub mod feeds;
pub mod flows;
pub mod lab;
pub mod log;
pub mod mutate;
pub mod rig;
pub mod rng;
pub mod wire;

pub use self::certs::Pki;
pub use self::feeds::{Feeds, FeedsClient, FeedsServer, TestFeeds};
pub use self::flows::{Flows, FlowsClient, FlowsServer};
pub use self::lab::{Blob, Lab, LabClient, LabError, LabServer, Plan, TestLab};
pub use self::rig::{Kind, Rig};

use std::sync::Once;

/// The text of every panic that a test wants.
pub const ON_PURPOSE: &str = "on purpose";

/// Panics on purpose leave no trace in the output; others do.
pub fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let on_purpose = info.payload_as_str().is_some_and(|text| text.contains(ON_PURPOSE));
            if !on_purpose {
                hook(info);
            }
        }));
    });
}

/// A runtime on one thread whose clock stands still until there is nothing else to do.
pub fn virtual_time<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(test)
}

/// Lets every task that is ready run until it is not.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Prints a line that the test harness does not swallow: what a suite has counted.
#[macro_export]
macro_rules! report {
    ($($text:tt)*) => {
        ::std::io::Write::write_all(&mut ::std::io::stderr(), format!("{}\n", format_args!($($text)*)).as_bytes()).expect("standard error is open")
    };
}
