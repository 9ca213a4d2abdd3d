//! Small calls beside a large message on the same connection: how long they take while 64 MiB go up, or come down, over and over.
//!
//! Prints percentiles, and their ratio to those of the same calls on an idle connection: means would hide what matters here.
//! Over loopback TCP, server and client on runtimes of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rpc::{Client, Limits, Server};
use rpc_benches::{only_once, runtime};
use tokio::task::JoinSet;

const LARGE: usize = 64 << 20;

#[rpc::service]
trait Mixed {
    async fn next(&self, n: u64) -> u64;
    async fn up(&self, bytes: &[u8]) -> usize;
    async fn down(&self, length: usize) -> Bytes;
}

struct Both;

impl Mixed for Both {
    async fn next(&self, n: u64) -> u64 {
        n.wrapping_add(1)
    }

    async fn up(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    async fn down(&self, length: usize) -> Bytes {
        Bytes::from(vec![7; length])
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_message = LARGE + 1024;
    limits.max_assembly = 2 * LARGE;
    limits.max_decoded = 2 * LARGE;
    limits
}

/// A call every millisecond, whatever became of those before it, until told to stop: how long each took, in order of that.
/// One after the other they would leave out most of those that have to wait.
async fn small_calls(client: MixedClient, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let mut calls = JoinSet::new();
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let client = client.clone();
        calls.spawn(async move {
            let began = Instant::now();
            client.next(1).await.expect("the call succeeds");
            began.elapsed()
        });
    }
    let mut took = calls.join_all().await;
    took.sort_unstable();
    took
}

#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    Up,
    Down,
}

async fn large_calls(client: MixedClient, beside: Beside, stop: Arc<AtomicBool>, moved: Arc<AtomicU64>) {
    let bytes = vec![7; LARGE];
    while !stop.load(Ordering::Relaxed) {
        let length = match beside {
            Beside::Nothing => return,
            Beside::Up => client.up(&bytes).await.expect("the call succeeds"),
            Beside::Down => client.down(LARGE).await.expect("the call succeeds").len(),
        };
        assert_eq!(length, LARGE);
        moved.fetch_add(length as u64, Ordering::Relaxed);
    }
}

fn main() {
    // criterion's option: `cargo bench -- --quick`.
    let quick = only_once() || std::env::args().any(|argument| argument == "--quick");
    let time = Duration::from_millis(if quick { 300 } else { 4000 });
    let server_runtime = runtime();
    let address = server_runtime.block_on(async {
        let server = Server::new().limits(limits()).add(MixedServer::new(Both)).bind("127.0.0.1:0").await.expect("a socket");
        let address = server.local_addr();
        tokio::spawn(server.serve());
        address
    });
    let client_runtime = runtime();
    let mut idle = None;
    for (name, beside) in [("idle", Beside::Nothing), ("64 MiB up", Beside::Up), ("64 MiB down", Beside::Down)] {
        let address = address.clone();
        let (took, moved) = client_runtime.block_on(async move {
            let client = Client::options().limits(limits()).connect(address).await.expect("a connection");
            let client = MixedClient::from(client);
            client.next(0).await.expect("the call succeeds");
            // Once, so that the server knows what it takes.
            client.down(LARGE).await.expect("the call succeeds");
            let (stop, moved) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
            let large = tokio::spawn(large_calls(client.clone(), beside, stop.clone(), moved.clone()));
            let small = tokio::spawn(small_calls(client, stop.clone()));
            tokio::time::sleep(time).await;
            stop.store(true, Ordering::Relaxed);
            let took = small.await.expect("the calls succeed");
            let moved = moved.load(Ordering::Relaxed);
            large.await.expect("the calls succeed");
            (took, moved)
        });
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        let (median, p99) = (at(0.5), at(0.99));
        let (idle_median, idle_p99) = *idle.get_or_insert((median, p99));
        println!(
            "mixed/{name}: p50 {median:.0} us ({:.1} x idle), p99 {p99:.0} us ({:.1} x idle), {} calls, {:.0} MiB/s beside them",
            median / idle_median,
            p99 / idle_p99,
            took.len(),
            moved as f64 / (1 << 20) as f64 / time.as_secs_f64(),
        );
    }
}
