//! Conformance 40: a recorded session, damaged in every way that comes to mind. Never a panic, a hang, or growth; and a
//! good client is served after it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use rpc::transport::Transport;
use rpc::{Client, Server, Stream, Streaming};
use rpc_tests::mutate::mutations;
use rpc_tests::wire::{self, Raw, Recorder, Writes, kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[rpc::service]
trait Shop {
    async fn add(&self, a: u32, b: u32) -> u32;
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
    async fn fail(&self, why: String) -> Result<u8, String>;
    async fn later(&self, millis: u16) -> u16;
    #[rpc(oneway)]
    async fn note(&self, text: String);
    fn texts(&self, count: u16, length: u16) -> impl Stream<Item = String>;
    async fn sum(&self, numbers: Streaming<u32>) -> u32;
    fn doubles(&self, numbers: Streaming<u32>) -> impl Stream<Item = u32>;
}

struct My;

impl Shop for My {
    async fn add(&self, a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
    async fn fail(&self, why: String) -> Result<u8, String> {
        Err(why)
    }
    async fn later(&self, millis: u16) -> u16 {
        tokio::time::sleep(Duration::from_millis(millis.into())).await;
        millis
    }
    async fn note(&self, _text: String) {}
    fn texts(&self, count: u16, length: u16) -> impl Stream<Item = String> {
        stream::repeat_with(move || "a".repeat(length.into())).take(count.into())
    }
    async fn sum(&self, mut numbers: Streaming<u32>) -> u32 {
        let mut sum = 0_u32;
        while let Some(Ok(number)) = numbers.next().await {
            sum = sum.wrapping_add(number);
        }
        sum
    }
    fn doubles(&self, numbers: Streaming<u32>) -> impl Stream<Item = u32> {
        numbers.map(|number| number.unwrap_or_default().wrapping_mul(2))
    }
}

fn server() -> Server {
    Server::new().add(ShopServer::new(My)).method("ping", |n: u64| async move { n.wrapping_add(1) })
}

/// What a good client sends: every kind of frame that a client has.
async fn recorded() -> Vec<u8> {
    let (near, far) = tokio::io::duplex(1 << 20);
    tokio::spawn(server().serve_connection(Transport::over(far, "test")));
    let writes = Writes::default();
    let shop: ShopClient = Client::options().over(Transport::over(Recorder::new(near, writes.clone()), "test")).into();
    assert_eq!(shop.add(1, 300).await.unwrap(), 301);
    assert_eq!(shop.add(1, 2).metadata("tenant", "a").timeout(Duration::from_secs(9)).await.unwrap(), 3);
    shop.fail("no".into()).await.unwrap_err();
    shop.note("hi".into()).await.unwrap();
    assert_eq!(shop.call::<u64>("ping", (4,)).await.unwrap(), 5);
    assert_eq!(shop.call::<u32>("Shop.add", rpc::Named(std::collections::BTreeMap::from([("a", 1), ("b", 2)]))).await.unwrap(), 3);
    shop.later(9).timeout(Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(shop.later(3).await.unwrap(), 3);
    assert_eq!(shop.echo(vec![7; 300]).await.unwrap().len(), 300);
    // Down, far enough for credit to go back, and dropped before its end; up; both ways; and given up.
    let mut texts = shop.texts(3, 9_000).await.unwrap();
    for _ in 0..2 {
        assert_eq!(texts.next().await.unwrap().unwrap().len(), 9_000);
    }
    drop(texts);
    assert_eq!(shop.sum(stream::iter([1, 2, 300])).await.unwrap(), 303);
    let (say, numbers) = Streaming::channel();
    let mut doubles = shop.doubles(numbers).await.unwrap();
    for number in [1, 200] {
        say.send(number).await.unwrap();
        assert_eq!(doubles.next().await.unwrap().unwrap(), 2 * number);
    }
    drop(say);
    while doubles.next().await.is_some_and(|last| last.is_ok()) {}
    Client::close(&shop).await;
    let session = writes.bytes();
    let kinds: std::collections::BTreeSet<u8> = wire::frames(&session[wire::PREFACE.len()..]).iter().map(|frame| frame.kind).collect();
    for kind in [kind::CALL, kind::NOTIFY, kind::CANCEL, kind::CALL_ITEMS, kind::CALL_END, kind::REPLY_CREDIT, kind::GO_AWAY] {
        assert!(kinds.contains(&kind), "no frame of kind {kind} is on record");
    }
    session
}

/// Pages of memory that this process has, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

async fn one(server: Server, bytes: &[u8], shut: bool) {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    let task = tokio::spawn(server.serve_connection(Transport::over(far, "test")));
    near.write_all(bytes).await.unwrap();
    if shut {
        near.shutdown().await.unwrap();
    }
    // Whatever it waits for, some timeout ends it; only a good session may stay open.
    let mut answers = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(100), near.read_to_end(&mut answers)).await;
    assert!(ended.is_ok() || !shut, "an ended session stays open: {bytes:02x?}");
    assert!(answers.len() < 1 << 20, "{} bytes were answered to {}", answers.len(), bytes.len());
    drop(near);
    let ended = tokio::time::timeout(Duration::from_secs(100), task).await;
    ended.expect("the server's side ends too").expect("no panic").unwrap();
}

#[tokio::test(start_paused = true)]
async fn mutated_sessions_harm_nobody() {
    let began = Instant::now();
    let session = recorded().await;
    one(server(), &session, true).await;
    let (mut count, mut early) = (0, 0);
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for bytes in mutations(&session).take(60_000) {
        count += 1;
        one(server(), &bytes, count % 8 != 0).await;
        if count == 4_000 {
            early = resident();
        }
    }
    // Handlers that were asked to wait end with their connection.
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), alive, "tasks are left");
    let grown = resident().saturating_sub(early);
    rpc_tests::report!("{count} mutated sessions of {} bytes in {:?}, {} KiB grown", session.len(), began.elapsed(), grown >> 10);
    assert!(grown < 32 << 20, "{grown} bytes grown");
    let shop: ShopClient = Client::local(ShopServer::new(My)).into();
    assert_eq!(shop.add(1, 2).await.unwrap(), 3);
}

mod old {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Line {
        pub sku: String,
        pub qty: u32,
    }

    #[rpc::service(name = "Store")]
    pub trait Store {
        async fn keep(&self, n: u32) -> u32;
        async fn lines(&self, lines: Vec<Line>) -> Option<Line>;
        async fn pour(&self, items: rpc::Streaming<u32>) -> u32;
    }
}

mod new {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Line {
        pub qty: u64,
        #[serde(default)]
        pub gift: bool,
        pub sku: String,
    }

    #[rpc::service(name = "Store")]
    pub trait Store {
        async fn keep(&self, n: u32) -> u32;
        async fn lines(&self, lines: Vec<Line>) -> Option<Line>;
        async fn pour(&self, items: rpc::Streaming<u64>) -> u32;
    }

    pub struct My;

    impl Store for My {
        async fn keep(&self, n: u32) -> u32 {
            n
        }
        async fn lines(&self, mut lines: Vec<Line>) -> Option<Line> {
            lines.pop()
        }
        async fn pour(&self, mut items: rpc::Streaming<u64>) -> u32 {
            let mut count = 0;
            while let Some(Ok(_)) = items.next().await {
                count += 1;
            }
            count
        }
    }
}

fn new_server() -> Server {
    Server::new().add(new::StoreServer::new(new::My))
}

/// What a client sends whose contract is another than its server's: a schema among it.
async fn recorded_exchange() -> Vec<u8> {
    let (near, far) = tokio::io::duplex(1 << 20);
    tokio::spawn(new_server().serve_connection(Transport::over(far, "test")));
    let writes = Writes::default();
    let store: old::StoreClient = Client::options().over(Transport::over(Recorder::new(near, writes.clone()), "test")).into();
    let line = |qty| old::Line { sku: "tea".into(), qty };
    let (kept, lines, poured) = tokio::join!(store.keep(7), store.lines(vec![line(1), line(300)]), store.pour(stream::iter([1, 300])));
    assert_eq!((kept.unwrap(), lines.unwrap().unwrap().qty, poured.unwrap()), (7, 300, 2));
    let session = writes.bytes();
    assert!(wire::frames(&session[wire::PREFACE.len()..]).iter().any(|frame| frame.kind == kind::SCHEMA));
    session
}

/// Schemas of strangers, and what is read by them.
#[tokio::test(start_paused = true)]
async fn mutated_exchanges_harm_nobody() {
    let session = recorded_exchange().await;
    one(new_server(), &session, true).await;
    let (mut count, mut early) = (0, 0);
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for bytes in mutations(&session).take(20_000) {
        count += 1;
        one(new_server(), &bytes, count % 8 != 0).await;
        if count == 4_000 {
            early = resident();
        }
    }
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), alive, "tasks are left");
    let grown = resident().saturating_sub(early);
    rpc_tests::report!("{count} mutated exchanges of {} bytes, {} KiB grown", session.len(), grown >> 10);
    assert!(grown < 32 << 20, "{grown} bytes grown");
}

/// As many as a machine does in seconds; `RPC_LONG=1` for 5,000.
#[tokio::test]
async fn mutated_sessions_over_tcp_harm_nobody() {
    let wanted = if std::env::var_os("RPC_LONG").is_some() { 5_000 } else { 500 };
    let session = recorded().await;
    let bound = server().bind("127.0.0.1:0").await.unwrap();
    let address = bound.local_addr();
    tokio::spawn(bound.serve());
    let stride = mutations(&session).take(12_000).count() / wanted + 1;
    let mut count = 0;
    for bytes in mutations(&session).step_by(stride.max(1)).take(wanted) {
        count += 1;
        let stream = tokio::net::TcpStream::connect(address.as_ref()).await.unwrap();
        let mut raw = Raw::over(stream);
        raw.send(&bytes).await;
        raw.shut().await;
        // Only against hanging.
        tokio::time::timeout(Duration::from_secs(10), raw.bytes()).await.expect("an ended session is closed");
    }
    assert_eq!(count, wanted);
    rpc_tests::report!("{count} mutated sessions over TCP");
    let shop = ShopClient::connect(&address).await.unwrap();
    assert_eq!(shop.add(1, 2).await.unwrap(), 3);
}
