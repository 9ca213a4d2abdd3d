//! Conformance 42, 43: peers that make others work for little: calls that are cancelled at once, without end, and frames that
//! change nothing. A good client on another connection is answered meanwhile, handlers are bounded, and nothing grows. Everything
//! runs on one thread, so the allocator's counts are of both ends, and in memory they repeat.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use rpc::transport::{Listen, Transport};
use rpc::{Address, Client, Server, Stream, Streaming};
use rpc_tests::wire::{self, Raw, cancel, credit, flag, items, kind};
use rpc_tests::{rig, virtual_time};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

const MIB: u64 = 1 << 20;

#[rpc::service]
trait Desk {
    async fn add(&self, a: u32, b: u32) -> u32;
    async fn hold(&self, numbers: Streaming<u32>) -> u32;
    async fn never(&self) -> u32;
    fn wait(&self) -> impl Stream<Item = u32>;
}

const ADD: u64 = 0;
const HOLD: u64 = 1;
const NEVER: u64 = 2;
const WAIT: u64 = 3;

/// Counts its handlers.
#[derive(Debug, Default)]
struct Clerk {
    live: AtomicUsize,
    most: AtomicUsize,
    begun: AtomicU64,
}

struct Live<'a>(&'a Clerk);

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Clerk {
    fn enter(&self) -> Live<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.most.fetch_max(self.live.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Live(self)
    }
}

impl Desk for Clerk {
    async fn add(&self, a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
    async fn hold(&self, numbers: Streaming<u32>) -> u32 {
        let _live = self.enter();
        std::future::pending::<()>().await;
        drop(numbers);
        0
    }
    async fn never(&self) -> u32 {
        let _live = self.enter();
        std::future::pending().await
    }
    fn wait(&self) -> impl Stream<Item = u32> {
        let live = self.enter();
        stream::iter([7]).chain(stream::pending()).inspect(move |_| {
            let _ = &live;
        })
    }
}

fn bind() -> Vec<u8> {
    let returns = "7:returns 0\nu32\n";
    let methods = [
        ("add", "1:a 0\n1:b 0\nu32\n", returns),
        ("hold", "14:stream numbers 0\nu32\n", returns),
        ("never", "", returns),
        ("wait", "", "8:download 0\nu32\n"),
    ];
    let methods = methods.map(|(name, arguments, results)| (name, wire::method_hash(arguments, results)));
    wire::bind_service(0, "Desk", &methods)
}

fn server(clerk: &Arc<Clerk>) -> Server {
    Server::new().add(DeskServer::shared(clerk.clone()))
}

/// A listener for connections that are made elsewhere.
struct Door(mpsc::UnboundedReceiver<Transport>);

#[rpc::async_trait]
impl Listen for Door {
    async fn accept(&mut self) -> io::Result<Transport> {
        match self.0.recv().await {
            Some(transport) => Ok(transport),
            None => std::future::pending().await,
        }
    }

    fn address(&self) -> Address {
        Address::named("door")
    }
}

/// Whatever carries bytes.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

type Peer = Raw<Box<dyn Io>>;

/// A good client of a server that has another peer, who has bound the service.
async fn desk(over: &str, clerk: &Arc<Clerk>) -> (DeskClient, Peer) {
    let (good, io): (DeskClient, Box<dyn Io>) = match over {
        "memory" => {
            let (send, receive) = mpsc::unbounded_channel();
            tokio::spawn(server(clerk).listen(Door(receive)).unwrap().serve());
            let connect = || {
                let (near, far) = tokio::io::duplex(64 << 10);
                send.send(Transport::over(far, "peer")).unwrap();
                near
            };
            (Client::options().over(Transport::over(connect(), "server")).into(), Box::new(connect()))
        }
        "tcp" => {
            let bound = server(clerk).bind("127.0.0.1:0").await.unwrap();
            let address = bound.local_addr();
            tokio::spawn(bound.serve());
            let stream = tokio::net::TcpStream::connect(address.socket().unwrap()).await.unwrap();
            stream.set_nodelay(true).unwrap();
            (DeskClient::connect(&address).await.unwrap(), Box::new(stream))
        }
        _ => {
            let path = rig::socket_path();
            let address = format!("unix:{}", path.display());
            tokio::spawn(server(clerk).bind(&address).await.unwrap().serve());
            (DeskClient::connect(&address).await.unwrap(), Box::new(tokio::net::UnixStream::connect(&path).await.unwrap()))
        }
    };
    let mut peer = Raw::over(io);
    peer.send([wire::opening(&[]), bind()].concat()).await;
    peer.opened().await;
    assert_eq!(peer.frame().await.unwrap().body, [0], "bound, all equal");
    (good, peer)
}

/// The good client calls until the flood is over; returns how many answers it got, and the most that the flood got done between two.
async fn meanwhile(good: &DeskClient, done: &AtomicU64, flood: impl Future<Output = ()> + Send + 'static) -> (u64, u64) {
    let flood = tokio::spawn(flood);
    let (mut answered, mut last, mut most, mut still) = (0, 0, 0, 0);
    while !flood.is_finished() {
        assert_eq!(good.add(1, 2).await.unwrap(), 3);
        answered += 1;
        let now = done.load(Ordering::Relaxed);
        most = most.max(now - last);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        if still > 100 {
            // What it waits for now is time.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    flood.await.unwrap();
    (answered, most)
}

/// Pairs that a peer has open at the same time: as many as it may.
const BATCH: usize = 1000;

/// Calls, each with its cancel behind it: of methods that wait, that are ready, that stream either way, and calls that are not complete.
fn pairs(round: u64) -> Vec<u8> {
    let payload = [wire::varint(100_000), vec![0; 10]].concat();
    (0..BATCH as u64)
        .flat_map(|id| match round % 5 {
            0 => [wire::call(id, NEVER, &[]), cancel(id)].concat(),
            1 => [wire::call(id, ADD, &[1, 2]), cancel(id)].concat(),
            2 => [wire::call(id, WAIT, &[]), cancel(id)].concat(),
            3 => [wire::call(id, HOLD, &[]), items(kind::CALL_ITEMS, id, &[1, 1, 1]), cancel(id)].concat(),
            _ => [wire::large_call(id, NEVER, 100_003, &payload), cancel(id)].concat(),
        })
        .collect()
}

/// Every call is answered, so that its id can be used again.
async fn answered(peer: &mut Peer, mut calls: usize) {
    while calls > 0 {
        let frame = peer.frame().await.expect("it stays open");
        calls -= usize::from(matches!(frame.kind, kind::REPLY | kind::FAIL | kind::ERROR));
    }
}

async fn rapid_reset(over: &'static str, count: u64) {
    let began = Instant::now();
    let clerk = Arc::<Clerk>::default();
    let (good, mut peer) = desk(over, &clerk).await;
    let done = Arc::new(AtomicU64::new(0));
    let counts = done.clone();
    let flood = async move {
        for round in 0..count.div_ceil(BATCH as u64) {
            peer.send(pairs(round)).await;
            answered(&mut peer, BATCH).await;
            counts.fetch_add(BATCH as u64, Ordering::Relaxed);
        }
    };
    let (answers, most) = meanwhile(&good, &done, flood).await;
    assert!(most <= 2 * BATCH as u64, "{most} pairs between two answers to a good client");
    assert!(clerk.most.load(Ordering::Relaxed) <= 1024, "within Limits::max_in_flight");
    while clerk.live.load(Ordering::Relaxed) > 0 {
        tokio::task::yield_now().await;
    }
    rpc_tests::report!(
        "{{\"suite\":\"rapid_reset\",\"over\":\"{over}\",\"pairs\":{count},\"begun\":{},\"most_live\":{},\"answers_meanwhile\":{answers},\"most_pairs_between\":{most},\"seconds\":{:.1}}}",
        clerk.begun.load(Ordering::Relaxed),
        clerk.most.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64()
    );
}

fn peak(test: impl Future<Output = ()>) -> u64 {
    allocation_counter::measure(|| virtual_time(test)).bytes_max
}

/// Conformance 42: rapid_reset. A cancelled call keeps its id until it has been answered, so cancelling makes no room for more.
#[test]
fn a_million_calls_that_are_cancelled_at_once_harm_nobody() {
    peak(rapid_reset("memory", 50_000));
    let few = peak(rapid_reset("memory", 50_000));
    let many = peak(rapid_reset("memory", 1_000_000));
    assert!(many <= few + (256 << 10), "{few} bytes for 50,000 pairs, {many} for a million");
}

/// Conformance 42: rapid_reset
#[tokio::test]
async fn calls_that_are_cancelled_at_once_harm_nobody_over_tcp() {
    rapid_reset("tcp", 50_000).await;
}

/// Conformance 42: rapid_reset
#[tokio::test]
async fn calls_that_are_cancelled_at_once_harm_nobody_over_unix() {
    rapid_reset("unix", 50_000).await;
}

/// Frames that change nothing, or little, and what each is called.
fn floods() -> Vec<(&'static str, Vec<u8>)> {
    let metadata = [&[2_u8, 1][..], &wire::text("key"), &wire::text(&"v".repeat(100))].concat();
    vec![
        ("pings", wire::frame(kind::PING, 0, &[b"12345678"])),
        ("pongs", wire::frame(kind::PONG, 0, &[b"12345678"])),
        ("empty items", items(kind::CALL_ITEMS, 0, &[])),
        ("empty items of no call", items(kind::CALL_ITEMS, 9, &[])),
        ("items of no call", items(kind::CALL_ITEMS, 9, &[7; 100])),
        ("no credit", credit(kind::REPLY_CREDIT, 1, 0)),
        ("much credit", credit(kind::REPLY_CREDIT, 1, 1 << 30)),
        ("credit of no call", credit(kind::REPLY_CREDIT, 9, 1)),
        ("ends of no call", wire::end(9, 0)),
        ("stops", wire::frame(kind::CALL_STOP, 0, &[&[0]])),
        ("cancels of no call", cancel(9)),
        ("unknown frames to be skipped", wire::frame(24, flag::SKIP, &[&[0; 20]])),
        ("nothing but metadata", wire::frame(kind::NOTIFY, flag::OPTIONS, &[&wire::varint(ADD), &metadata])),
        ("go-aways", wire::frame(kind::GO_AWAY, 0, &[&[0, 0], &wire::text("bye")])),
    ]
}

/// A call is answered; pongs and items come before.
async fn still_adds(peer: &mut Peer, name: &str) {
    peer.send(wire::call(2, ADD, &[1, 2])).await;
    let mut frame = peer.frame().await.expect(name);
    while matches!(frame.kind, kind::PONG | kind::REPLY_ITEMS) {
        frame = peer.frame().await.expect(name);
    }
    assert_eq!((frame.kind, &frame.body[..]), (kind::REPLY, &[2, 3][..]), "{name}");
}

/// Sends so many bytes of these frames; the peer reads its answers, or does not. The good client is answered meanwhile.
async fn control(over: &'static str, name: &'static str, frame: Vec<u8>, bytes: usize, reads: bool) {
    let clerk = Arc::<Clerk>::default();
    let (good, mut peer) = desk(over, &clerk).await;
    // An upload and a download that stay open.
    peer.send([wire::call(0, HOLD, &[]), wire::call(1, WAIT, &[])].concat()).await;
    assert_eq!(peer.frame().await.unwrap().kind, kind::REPLY_ITEMS);
    let packet = frame.repeat((32 << 10) / frame.len());
    let done = Arc::new(AtomicU64::new(0));
    let counts = done.clone();
    let flood = async move {
        let mut sent = 0;
        while sent < bytes && peer.send(&packet).await {
            sent += packet.len();
            counts.fetch_add(packet.len() as u64, Ordering::Relaxed);
            if reads {
                still_adds(&mut peer, name).await;
            }
        }
        // One pong stands for all pings of a read: even of those not enough wait to stop reading (protocol 6.6).
        assert!(sent >= bytes, "{name}: it reads on");
        still_adds(&mut peer, name).await;
    };
    let (answers, most) = meanwhile(&good, &done, flood).await;
    assert!(answers > 0);
    assert!(most <= 8 * MIB, "{name}: {most} bytes between two answers to a good client");
}

/// Conformance 43: control flood. Nothing that a peer sends for nothing makes a queue grow, whether or not it reads its answers.
#[test]
fn frames_that_change_nothing_make_nothing_grow() {
    for (name, frame) in floods() {
        for reads in [true, false] {
            let peak = peak(control("memory", name, frame.clone(), 4 << 20, reads));
            rpc_tests::report!("{{\"suite\":\"control_flood\",\"case\":\"{name}\",\"reads\":{reads},\"peak\":{peak}}}");
            assert!(peak < MIB, "{name}: {peak} bytes");
        }
    }
}

/// Conformance 43: control flood
#[tokio::test]
async fn frames_that_change_nothing_harm_nobody_over_tcp() {
    for (name, frame) in floods() {
        control("tcp", name, frame, 1 << 20, true).await;
    }
}

/// Conformance 43: control flood
#[tokio::test]
async fn frames_that_change_nothing_harm_nobody_over_unix() {
    for (name, frame) in floods() {
        control("unix", name, frame, 1 << 20, true).await;
    }
}

/// Calls that are refused or taken back before they are complete, whose ids are free at once: a peer need not wait for anything.
async fn taken_back(over: &'static str, bytes: u64) {
    let began = Instant::now();
    let clerk = Arc::<Clerk>::default();
    let (good, peer) = desk(over, &clerk).await;
    let (mut read, mut write) = tokio::io::split(peer.into_io());
    let payload = [wire::varint(100_000), vec![0; 10]].concat();
    let packet = [wire::large_call(0, NEVER, 100_003, &payload), cancel(0), wire::large_call(0, NEVER, 1 << 40, &[0])].concat().repeat(500);
    let done = Arc::new(AtomicU64::new(0));
    let counts = done.clone();
    let flood = async move {
        let drain = tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
        while counts.load(Ordering::Relaxed) < bytes {
            write.write_all(&packet).await.unwrap();
            counts.fetch_add(packet.len() as u64, Ordering::Relaxed);
        }
        write.shutdown().await.unwrap();
        drain.await.unwrap().unwrap();
    };
    let (answers, most) = meanwhile(&good, &done, flood).await;
    rpc_tests::report!(
        "{{\"suite\":\"rapid_reset\",\"over\":\"{over}\",\"bytes\":{bytes},\"answers_meanwhile\":{answers},\"most_bytes_between\":{most},\"seconds\":{:.1}}}",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(clerk.begun.load(Ordering::Relaxed), 0, "no handler has begun");
    assert!(answers >= 5, "a good client got {answers} answers meanwhile");
}

/// Conformance 42: rapid_reset
#[test]
fn calls_that_are_taken_back_harm_nobody() {
    let peak = peak(taken_back("memory", 16 * MIB));
    assert!(peak < 4 * MIB, "{peak} bytes");
}

/// Conformance 42: rapid_reset
#[tokio::test]
async fn calls_that_are_taken_back_harm_nobody_over_tcp() {
    taken_back("tcp", 8 * MIB).await;
}

/// Conformance 42: rapid_reset
#[tokio::test]
async fn calls_that_are_taken_back_harm_nobody_over_unix() {
    taken_back("unix", 8 * MIB).await;
}
