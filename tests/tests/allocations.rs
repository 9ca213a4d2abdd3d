//! No allocation per call in steady state, on both ends together: counted by the allocator itself, over everything that the
//! thread does (the test's own code, client, server, tokio's tasks, timers and I/O), which all run on one thread.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rpc::transport::Transport;
use rpc::{Client, Context, Server};

#[rpc::service]
trait Scalars {
    async fn add(&self, a: u32, b: u32) -> u32;
    async fn length(&self, text: &str) -> usize;
    async fn later(&self, n: u64) -> u64;
    async fn context(&self, cx: &Context, n: u64) -> bool;
    async fn fail(&self, n: u64) -> Result<u64, u64>;
    async fn relay(&self, a: u32, b: u32) -> u32;
    async fn echo(&self, bytes: rpc::Bytes) -> rpc::Bytes;
    #[rpc(oneway)]
    async fn note(&self, n: u64);
}

struct Impl {
    next: Option<ScalarsClient>,
}

impl Scalars for Impl {
    async fn add(&self, a: u32, b: u32) -> u32 {
        a + b
    }
    async fn length(&self, text: &str) -> usize {
        text.len()
    }
    async fn later(&self, n: u64) -> u64 {
        tokio::task::yield_now().await;
        n
    }
    async fn context(&self, cx: &Context, n: u64) -> bool {
        n > 0 && cx.deadline().is_some()
    }
    async fn fail(&self, n: u64) -> Result<u64, u64> {
        Err(n)
    }
    async fn relay(&self, a: u32, b: u32) -> u32 {
        match &self.next {
            Some(next) => next.add(a, b).await.unwrap_or(0),
            None => 0,
        }
    }
    async fn echo(&self, bytes: rpc::Bytes) -> rpc::Bytes {
        bytes
    }
    async fn note(&self, _: u64) {}
}

#[derive(Clone, Copy, Debug)]
enum Over {
    Tcp,
    Memory,
}

async fn client(over: Over, service: Impl) -> ScalarsClient {
    let server = Server::new().add(ScalarsServer::new(service));
    match over {
        Over::Tcp => {
            let server = server.bind("127.0.0.1:0").await.unwrap();
            let address = server.local_addr();
            tokio::spawn(server.serve());
            ScalarsClient::connect(address).await.unwrap()
        }
        Over::Memory => {
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::spawn(server.serve_connection(Transport::over(far, "far")));
            Client::options().over(Transport::over(near, "near")).into()
        }
    }
}

/// How long large buffers wait is a matter of the clock, and they wait for all of the process: a test that moves its own clock on is not to
/// end the wait of another's.
static CLOCK: RwLock<()> = RwLock::new(());

/// Whoever allocates a buffer for each large message has the system make its pages each time.
#[test]
fn a_large_call_uses_the_buffers_of_the_one_before() {
    let _alone = CLOCK.write().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(client(Over::Tcp, Impl { next: None }));
    let text = "x".repeat(1 << 20);
    let calls = |count: usize| {
        runtime.block_on(async {
            for _ in 0..count {
                assert_eq!(client.length(&text).await.unwrap(), text.len());
            }
        });
    };
    calls(4);
    let bytes = allocation_counter::measure(|| calls(20)).bytes_total;
    rpc_tests::report!("{{\"suite\":\"allocations\",\"case\":\"large\",\"calls\":20,\"bytes\":{bytes}}}");
    assert!(bytes < 20 * (64 << 10), "{bytes} bytes were allocated for 20 calls of 1 MiB");
}

/// Both ends have bytes that they send, and bytes that they received, and copy neither.
#[test]
fn large_bytes_that_come_back_take_no_memory_of_their_own() {
    let _alone = CLOCK.write().unwrap_or_else(PoisonError::into_inner);
    for over in [Over::Tcp, Over::Memory] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(client(over, Impl { next: None }));
        let sent = rpc::Bytes::from(vec![7; 1 << 20]);
        let calls = |count: usize| {
            runtime.block_on(async {
                for _ in 0..count {
                    let came = client.echo(sent.clone()).await.unwrap();
                    assert!(came.len() == sent.len() && came[..10] == sent[..10]);
                }
            });
        };
        calls(4);
        let allocated = allocation_counter::measure(|| calls(20));
        let (count, bytes) = (allocated.count_total, allocated.bytes_total);
        rpc_tests::report!(
            "{{\"suite\":\"allocations\",\"case\":\"large_echo\",\"over\":\"{over:?}\",\"calls\":20,\"allocations\":{count},\"bytes\":{bytes}}}"
        );
        assert!(bytes < 20 * (64 << 10), "{bytes} bytes were allocated for 20 calls of 1 MiB each way over {over:?}");
    }
}

const CALLS: u64 = 10_000;

/// Allocations of [`CALLS`] calls by so many tasks together, after 1,000 to warm up.
fn allocations<F, C>(over: Over, tasks: usize, call: F) -> u64
where
    F: Fn(Arc<ScalarsClient>) -> C + Copy + Send + 'static,
    C: Future<Output = ()> + Send,
{
    let _together = CLOCK.read().unwrap_or_else(PoisonError::into_inner);
    // The clock stands still: how fast this machine is decides nothing. It would run ahead whenever all tasks wait for a
    // socket, if it were not for a blocking task.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let holds_the_clock = runtime.spawn_blocking(move || _ = released.recv());
    let client = runtime.block_on(async {
        let back = client(over, Impl { next: None }).await;
        Arc::new(client(over, Impl { next: Some(back) }).await)
    });
    // The tasks go on and on; what is counted begins and ends in the middle of them.
    let made = Arc::new(AtomicU64::new(0));
    for _ in 0..tasks {
        let (client, made) = (client.clone(), made.clone());
        runtime.spawn(async move {
            loop {
                call(client.clone()).await;
                made.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let run = |calls: u64| {
        let end = made.load(Ordering::Relaxed) + calls;
        runtime.block_on(async {
            while made.load(Ordering::Relaxed) < end {
                tokio::task::yield_now().await;
            }
        });
    };
    run(1_000);
    // `block_on` itself allocates a list or two each time: what a tenth of the calls needs is no call's.
    let own = allocation_counter::measure(|| run(CALLS / 10)).count_total;
    let counted = allocation_counter::measure(|| run(CALLS)).count_total;
    drop(release);
    runtime.block_on(holds_the_clock).unwrap();
    counted.saturating_sub(own)
}

fn none_of<F, C>(what: &str, call: F)
where
    F: Fn(Arc<ScalarsClient>) -> C + Copy + Send + 'static,
    C: Future<Output = ()> + Send,
{
    for over in [Over::Memory, Over::Tcp] {
        for tasks in [1, 64] {
            let count = allocations(over, tasks, call);
            rpc_tests::report!(
                "{{\"suite\":\"allocations\",\"case\":\"{what}\",\"over\":\"{over:?}\",\"in_flight\":{tasks},\"calls\":{CALLS},\"allocations\":{count}}}"
            );
            assert_eq!(count, 0, "{what} over {over:?}, {tasks} in flight: {count} allocations in {CALLS} calls");
        }
    }
}

#[test]
fn a_call_allocates_nothing() {
    none_of("scalars", |client| async move { assert_eq!(client.add(2, 3).await.unwrap(), 5) });
}

#[test]
fn a_call_with_borrowed_text_allocates_nothing() {
    none_of("&str", |client| async move { assert_eq!(client.length("some text to be borrowed").await.unwrap(), 24) });
}

#[test]
fn a_handler_that_is_not_ready_at_once_allocates_nothing() {
    none_of("yield_now", |client| async move { assert_eq!(client.later(7).await.unwrap(), 7) });
}

#[test]
fn a_context_allocates_nothing() {
    none_of("&Context", |client| async move { assert!(client.context(7).await.unwrap()) });
}

#[test]
fn a_timeout_allocates_nothing() {
    none_of("timeout", |client| async move { assert_eq!(client.add(2, 3).timeout(Duration::from_secs(5)).await.unwrap(), 5) });
}

#[test]
fn an_error_of_the_methods_own_allocates_nothing() {
    none_of("Err(E)", |client| async move { assert_eq!(client.fail(7).await.unwrap_err().into_service().unwrap(), 7) });
}

#[test]
fn a_nested_call_allocates_nothing() {
    none_of("nested", |client| async move { assert_eq!(client.relay(2, 3).await.unwrap(), 5) });
}

#[test]
fn a_notification_allocates_nothing() {
    none_of("notification", |client| async move {
        client.note(7).await.unwrap();
        assert_eq!(client.add(2, 3).await.unwrap(), 5);
    });
}
