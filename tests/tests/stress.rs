//! Real threads, real sockets, everything at once: no call may hang, lie or leak. The schedule is the machine's, so this
//! finds what virtual time cannot: races. Bounds in wall time are only against hanging.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use rpc::{CallError, Context, ErrorKind, Executed, Server};

#[rpc::service]
trait Work {
    async fn add(&self, a: u64, b: u64) -> u64;
    async fn text(&self, text: &str) -> String;
    async fn later(&self, turns: u32) -> u32;
    async fn never(&self, cx: &Context) -> u32;
    async fn fail(&self, code: u32) -> Result<u32, u32>;
    async fn panics(&self) -> u32;
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
    #[rpc(oneway)]
    async fn note(&self, n: u64);
}

#[derive(Default)]
struct Worker {
    live: AtomicI64,
    notes: AtomicU64,
}

struct Live<'a>(&'a AtomicI64);

impl<'a> Live<'a> {
    fn new(live: &'a AtomicI64) -> Self {
        live.fetch_add(1, SeqCst);
        Self(live)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Work for Worker {
    async fn add(&self, a: u64, b: u64) -> u64 {
        a + b
    }
    async fn text(&self, text: &str) -> String {
        let _live = Live::new(&self.live);
        tokio::task::yield_now().await;
        text.to_uppercase()
    }
    async fn later(&self, turns: u32) -> u32 {
        let _live = Live::new(&self.live);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        turns
    }
    async fn never(&self, _cx: &Context) -> u32 {
        let _live = Live::new(&self.live);
        std::future::pending().await
    }
    async fn fail(&self, code: u32) -> Result<u32, u32> {
        Err(code)
    }
    async fn panics(&self) -> u32 {
        let _live = Live::new(&self.live);
        panic!("expected in this test")
    }
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
    async fn note(&self, _n: u64) {
        self.notes.fetch_add(1, SeqCst);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

async fn caller(work: WorkClient, seed: u64, rounds: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for round in 0..rounds {
        match random.below(20) {
            0 => assert_eq!(work.fail(7).await.map_err(CallError::into_service).unwrap_err().unwrap(), 7),
            1 => {
                let error = work.panics().await.unwrap_err();
                assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes));
            }
            2 => {
                let bytes = vec![round as u8; random.below(300_000) as usize];
                assert_eq!(work.echo(bytes.clone()).await.unwrap(), bytes);
            }
            3 => {
                let error = work.never().timeout(Duration::from_millis(1 + random.below(5))).await.unwrap_err();
                assert!(error.is_timeout(), "{error:?}");
            }
            4..=6 => {
                // Dropped somewhere on its way.
                let call = work.never();
                let _ = tokio::time::timeout(Duration::from_micros(random.below(2000)), call).await;
            }
            7 => {
                let call = work.echo(vec![1; 200_000]);
                let _ = tokio::time::timeout(Duration::from_micros(random.below(500)), call).await;
            }
            8 => work.note(round).await.unwrap(),
            9 => assert_eq!(work.call::<u64>("Work.add", (round, 1u64)).await.unwrap(), round + 1),
            10..=12 => assert_eq!(work.text("abc").await.unwrap(), "ABC"),
            13..=15 => assert_eq!(work.later(3).await.unwrap(), 3),
            _ => assert_eq!(work.add(round, 2).await.unwrap(), round + 2),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_at_once_neither_hangs_nor_leaks() {
    std::panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("expected in this test") {
            eprintln!("{info}");
        }
    }));
    let (callers, rounds) = if std::env::var_os("RPC_LONG").is_some() { (512, 500) } else { (256, 30) };
    let worker = Arc::new(Worker::default());
    let server = Server::new().add(WorkServer::shared(worker.clone())).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(server.serve_until(async move { drop(stopped.await) }));
    let all = async {
        let mut tasks = tokio::task::JoinSet::new();
        for connection in 0..4 {
            let work = WorkClient::connect(&address).await.unwrap();
            for number in 0..callers / 4 {
                tasks.spawn(caller(work.clone(), connection * 1000 + number + 1, rounds));
            }
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(120), all).await.expect("no call hangs");
    // Every client is gone: the server has nothing left to wait for.
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), server).await.expect("the drain ends").unwrap().unwrap();
    assert_eq!(worker.live.load(SeqCst), 0, "handlers that were cancelled are gone");
    rpc_tests::report!("{} calls by {callers} callers over 4 connections", callers * rounds);
}
