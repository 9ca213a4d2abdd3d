//! `rpc::Bytes`: what travels is what travels of any bytes, over every transport and whatever becomes of the call; how little is
//! copied is in `copies.rs` and `allocations.rs`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use futures_util::stream;
use rpc::transport::{Dial, Transport};
use rpc::{Bytes, CallError, Client, Error, ErrorKind, Executed, Limits, Server, Stream, Streaming};
use rpc_tests::{Kind, Rig, over, over_each_transport};
use tokio::sync::Semaphore;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

type Mixed = (Bytes, String, Vec<Option<Bytes>>);

#[rpc::service]
trait Depot {
    async fn echo(&self, bytes: Bytes) -> Bytes;
    /// Not ready at once.
    async fn later(&self, bytes: Bytes) -> Bytes;
    async fn mixed(&self, first: Bytes, name: String, list: Vec<Option<Bytes>>) -> Result<Mixed, String>;
    async fn refuse(&self, bytes: Bytes) -> Result<u64, Bytes>;
    #[rpc(oneway)]
    async fn note(&self, bytes: Bytes);
    /// The lengths of all notes so far, once there are this many.
    async fn noted(&self, count: usize) -> Vec<usize>;
    /// These bytes, so many at a time.
    fn pieces(&self, bytes: Bytes, length: usize) -> impl Stream<Item = Bytes>;
    /// All of these, behind the first.
    async fn join(&self, first: Bytes, pieces: Streaming<Bytes>) -> Result<Bytes, String>;
    /// Of memory that the test watches.
    async fn load(&self, length: usize) -> Bytes;
}

/// Its `strong_count` falls when bytes of it are dropped.
type Sign = Arc<()>;

struct Watched(Vec<u8>, #[expect(dead_code, reason = "it is there to be dropped")] Sign);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn watched(length: usize, sign: &Sign) -> Bytes {
    bytes::Bytes::from_owner(Watched(pattern(length).to_vec(), sign.clone())).into()
}

#[derive(Default)]
struct Shelf {
    notes: Mutex<Vec<usize>>,
    news: Arc<tokio::sync::Notify>,
    sign: Sign,
}

impl Depot for Shelf {
    async fn echo(&self, bytes: Bytes) -> Bytes {
        bytes
    }
    async fn later(&self, bytes: Bytes) -> Bytes {
        tokio::task::yield_now().await;
        bytes
    }
    async fn mixed(&self, first: Bytes, name: String, list: Vec<Option<Bytes>>) -> Result<Mixed, String> {
        Ok((first, name, list))
    }
    async fn refuse(&self, bytes: Bytes) -> Result<u64, Bytes> {
        Err(bytes)
    }
    async fn note(&self, bytes: Bytes) {
        self.notes.lock().unwrap().push(bytes.len());
        self.news.notify_one();
    }
    async fn noted(&self, count: usize) -> Vec<usize> {
        loop {
            let notes = self.notes.lock().unwrap().clone();
            if notes.len() >= count {
                return notes;
            }
            self.news.notified().await;
        }
    }
    fn pieces(&self, bytes: Bytes, length: usize) -> impl Stream<Item = Bytes> {
        let pieces: Vec<_> = bytes.chunks(length).map(Bytes::copied).collect();
        stream::iter(pieces)
    }
    async fn join(&self, first: Bytes, mut pieces: Streaming<Bytes>) -> Result<Bytes, String> {
        let mut all = first.to_vec();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.map_err(|error| error.to_string())?);
        }
        Ok(all.into())
    }
    async fn load(&self, length: usize) -> Bytes {
        watched(length, &self.sign)
    }
}

/// So many bytes without a period that a frame could hide.
fn pattern(length: usize) -> Bytes {
    static PATTERN: OnceLock<bytes::Bytes> = OnceLock::new();
    let all = PATTERN.get_or_init(|| (0..9 * MIB).map(|at| (at * 31 + at / 251 + at / 65_521) as u8).collect());
    all.slice(..length).into()
}

/// A client of a depot, and what has to live as long.
async fn depot(kind: Kind) -> (DepotClient, Arc<Shelf>, Option<Rig>) {
    let shelf = Arc::new(Shelf::default());
    if kind == Kind::Local {
        return (Client::local(DepotServer::shared(shelf.clone())).into(), shelf, None);
    }
    let rig = Rig::with(kind, |server| server.add(DepotServer::shared(shelf.clone())), Client::options()).await;
    (DepotClient::from((*rig.client).clone()), shelf, Some(rig))
}

over_each_transport! {
    bytes_of_every_length_come_back
    several_among_other_values_come_back
    the_errors_of_methods_carry_them
    notifications_and_streams_carry_them
    many_at_once_wait_for_each_other
    a_call_that_is_dropped_midway_harms_nobody_and_lets_go_of_its_bytes
    a_reply_that_nobody_wants_lets_go_of_its_bytes
    an_owner_that_calls_when_it_is_dropped_meets_no_lock
}
over! { tcp6 Tcp6 "current_thread" bytes_of_every_length_come_back several_among_other_values_come_back }
over! { local Local "current_thread"
    bytes_of_every_length_come_back
    several_among_other_values_come_back
    the_errors_of_methods_carry_them
    notifications_and_streams_carry_them
    many_at_once_wait_for_each_other
    a_call_that_is_dropped_midway_harms_nobody_and_lets_go_of_its_bytes
    a_reply_that_nobody_wants_lets_go_of_its_bytes
    an_owner_that_calls_when_it_is_dropped_meets_no_lock
}

async fn bytes_of_every_length_come_back(kind: Kind) {
    let (client, _, _rig) = depot(kind).await;
    for length in [0, 1, 10, 4 * KIB, 64 * KIB - 20, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 200_000, MIB, 3 * MIB + 7] {
        let sent = pattern(length);
        assert!(client.echo(sent.clone()).await.unwrap() == sent, "{length} bytes");
        assert!(client.later(sent.clone()).await.unwrap() == sent, "{length} bytes, not at once");
    }
}

async fn several_among_other_values_come_back(kind: Kind) {
    let (client, _, _rig) = depot(kind).await;
    let lengths = [10, 64 * KIB + 1, 0, 300_000, 64 * KIB, 500_000];
    let list: Vec<_> = lengths.iter().flat_map(|length| [Some(pattern(*length)), None]).collect();
    for first in [0, 5 * KIB, 700_000] {
        // Much between the large ones, and little.
        for name in ["name".to_owned(), "long".repeat(50_000)] {
            let mixed = client.mixed(pattern(first), name.clone(), list.clone()).await.unwrap();
            assert!(mixed == (pattern(first), name, list.clone()));
        }
    }
}

async fn the_errors_of_methods_carry_them(kind: Kind) {
    let (client, _, _rig) = depot(kind).await;
    for length in [10, 64 * KIB + 1, MIB] {
        match client.refuse(pattern(length)).await {
            Err(CallError::Service(bytes)) => assert!(bytes == pattern(length)),
            other => panic!("{other:?}"),
        }
    }
}

async fn notifications_and_streams_carry_them(kind: Kind) {
    let (client, _, _rig) = depot(kind).await;
    for length in [10, MIB] {
        client.note(pattern(length)).await.unwrap();
    }
    let mut notes = client.noted(2).await.unwrap();
    notes.sort_unstable();
    assert_eq!(notes, [10, MIB]);
    let whole = pattern(MIB);
    for length in [1000, 64 * KIB + 1, 300_000, 2 * MIB] {
        let mut pieces = client.pieces(whole.clone(), length).await.unwrap();
        let mut came = Vec::new();
        while let Some(piece) = pieces.next().await {
            came.extend_from_slice(&piece.unwrap());
        }
        assert!(whole == came, "{length} at a time");
        let pieces: Vec<_> = whole.chunks(length).map(Bytes::copied).collect();
        let joined = client.join(whole.clone(), stream::iter(pieces)).await.unwrap();
        assert!(joined == [&whole[..], &whole].concat());
    }
}

async fn many_at_once_wait_for_each_other(kind: Kind) {
    let (client, _, _rig) = depot(kind).await;
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..24 {
        // More than the other end takes at once.
        let length = [MIB, 10, 2 * MIB, 100_000][call % 4] + call;
        let client = client.clone();
        calls.spawn(async move {
            let came = client.echo(pattern(length)).timeout(Duration::from_secs(600)).await.unwrap();
            assert!(came == pattern(length), "the bytes of another call");
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
}

/// Waits until nobody holds what the sign is a sign of. What is let go of may wait for its connection's next turn, or its socket.
async fn let_go(client: &DepotClient, sign: &Sign) {
    let patience = async {
        while Arc::strong_count(sign) > 1 {
            client.echo(pattern(100)).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), patience).await.expect("somebody still holds the bytes");
}

async fn a_call_that_is_dropped_midway_harms_nobody_and_lets_go_of_its_bytes(kind: Kind) {
    let (client, _, _rig) = depot(kind).await;
    client.echo(pattern(10)).await.unwrap();
    let sign = Sign::default();
    for polls in 1..20 {
        let mut call = client.echo(watched(3 * MIB, &sign));
        let mut polled = 0;
        // Some of it has left by then, more each time.
        let cut = std::future::poll_fn(|cx| {
            polled += 1;
            let ready = std::pin::Pin::new(&mut call).poll(cx).is_ready();
            if !ready && polled < polls {
                cx.waker().wake_by_ref();
            }
            if ready || polled == polls { std::task::Poll::Ready(ready) } else { std::task::Poll::Pending }
        });
        let ready = cut.await;
        drop(call);
        let sent = pattern(MIB + polls);
        assert!(client.echo(sent.clone()).await.unwrap() == sent, "after {polls} polls");
        if ready {
            break;
        }
    }
    let_go(&client, &sign).await;
}

async fn a_reply_that_nobody_wants_lets_go_of_its_bytes(kind: Kind) {
    let (client, shelf, _rig) = depot(kind).await;
    for _ in 0..10 {
        let call = client.load(3 * MIB);
        let call = tokio::spawn(call.owned());
        // It waits for the reply or for its rest.
        while Arc::strong_count(&shelf.sign) == 1 && !call.is_finished() {
            tokio::task::yield_now().await;
        }
        call.abort();
        if let Ok(reply) = call.await {
            assert!(reply.unwrap() == pattern(3 * MIB));
        }
        assert!(client.load(200_000).await.unwrap() == pattern(200_000));
    }
    let_go(&client, &shelf.sign).await;
}

/// Memory whose owner does, when it goes, what only user code would: it begins a call on the connection that its bytes left by, and takes
/// it back.
struct Calls(Vec<u8>, DepotClient, Arc<AtomicUsize>);

impl AsRef<[u8]> for Calls {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let mut call = self.1.echo(pattern(10));
        drop(std::pin::Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop())));
        self.2.fetch_add(1, Ordering::Relaxed);
    }
}

async fn an_owner_that_calls_when_it_is_dropped_meets_no_lock(kind: Kind) {
    let (client, _, _rig) = depot(kind).await;
    client.echo(pattern(10)).await.unwrap();
    let gone = Arc::new(AtomicUsize::new(0));
    for polls in 0..10 {
        let owner = Calls(pattern(2 * MIB).to_vec(), (*client).clone().into(), gone.clone());
        let mut call = client.echo(bytes::Bytes::from_owner(owner).into());
        for _ in 0..polls {
            if std::pin::Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
        while gone.load(Ordering::Relaxed) == polls {
            assert!(client.echo(pattern(100)).await.unwrap() == pattern(100));
        }
    }
}

/// Memory whose owner, if it goes in the thread that it is from, waits for a call that another thread makes on the connection that its
/// bytes left by.
struct Waits {
    bytes: Vec<u8>,
    from: ThreadId,
    client: DepotClient,
    runtime: tokio::runtime::Handle,
    /// Whether that call was answered.
    gone: mpsc::Sender<Option<bool>>,
}

impl AsRef<[u8]> for Waits {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let is_answered = (std::thread::current().id() == self.from).then(|| {
            let (client, (answered, answer)) = (DepotClient::from((*self.client).clone()), mpsc::channel());
            self.runtime.spawn(async move { answered.send(client.echo(pattern(10)).await.is_ok()) });
            answer.recv_timeout(Duration::from_secs(20)) == Ok(true)
        });
        let _ = self.gone.send(is_answered);
    }
}

/// The driver needs nothing that a caller holds while it drops what it has written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_may_wait_for_another_call_when_it_is_dropped() {
    let (near, far) = tokio::io::duplex(MIB);
    tokio::spawn(Server::new().add(DepotServer::new(Shelf::default())).serve_connection(Transport::over(far, "far")));
    let client: DepotClient = Client::options().over(Transport::over(near, "near")).into();
    let (gone, went) = mpsc::channel();
    // A caller writes its bytes itself when the driver sleeps.
    for _ in 0..10_000 {
        assert!(client.echo(pattern(10)).await.unwrap() == pattern(10));
        let owner = Waits {
            bytes: pattern(100 * KIB).to_vec(),
            from: std::thread::current().id(),
            client: DepotClient::from((*client).clone()),
            runtime: tokio::runtime::Handle::current(),
            gone: gone.clone(),
        };
        assert!(client.echo(bytes::Bytes::from_owner(owner).into()).await.unwrap() == pattern(100 * KIB));
        if let Some(is_answered) = went.recv().unwrap() {
            assert!(is_answered, "the other call waited for the one whose bytes were dropped");
            return;
        }
    }
    panic!("no caller has written its bytes itself");
}

/// It holds up what is being written, and nothing that was taken back.
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_keeps_no_bytes_of_calls_that_are_over() {
    let ((near, up), (down, far)) = (tokio::io::duplex(64 << 10), tokio::io::duplex(64 << 10));
    tokio::spawn(Server::new().add(DepotServer::new(Shelf::default())).serve_connection(Transport::over(far, "far")));
    let client: DepotClient = Client::options().over(Transport::over(near, "near")).into();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (tokio::io::split(up), tokio::io::split(down));
    let stop = Arc::new(tokio::sync::Notify::new());
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
            () = stopped.notified() => {}
        }
        // Both ways stay open.
        std::future::pending::<()>().await;
    });
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    assert!(client.echo(pattern(10)).await.unwrap() == pattern(10));
    stop.notify_one();
    let sign = Sign::default();
    for _ in 0..20 {
        let error = client.echo(watched(2 * MIB, &sign)).timeout(std::time::Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    }
    tokio::task::yield_now().await;
    // Beside this one there is what was being written.
    assert!(Arc::strong_count(&sign) <= 3, "{} of 20 calls are held", Arc::strong_count(&sign) - 1);
}

// ---- beside other types for bytes

mod other {
    use bytes::Bytes;

    #[rpc::service]
    pub(super) trait Depot {
        async fn echo(&self, bytes: Bytes) -> Bytes;
        async fn load(&self, length: usize) -> Bytes;
    }
}

mod borrowed {
    #[rpc::service]
    pub(super) trait Swap {
        async fn swap(&self, bytes: &[u8]) -> bytes::Bytes;
    }
}

mod numbers {
    #[rpc::service]
    pub(super) trait Swap {
        async fn swap(&self, bytes: Vec<u8>) -> Vec<u8>;
    }
}

#[rpc::service]
trait Swap {
    async fn swap(&self, bytes: Bytes) -> Bytes;
}

struct Same;

impl Swap for Same {
    async fn swap(&self, bytes: Bytes) -> Bytes {
        bytes
    }
}

impl borrowed::Swap for Same {
    async fn swap(&self, bytes: &[u8]) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(bytes)
    }
}

impl numbers::Swap for Same {
    async fn swap(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

/// A client whose calls this server takes, whatever its trait.
fn over_memory(server: Server) -> Client {
    let (near, far) = tokio::io::duplex(64 * KIB);
    tokio::spawn(server.serve_connection(Transport::over(far, "far")));
    Client::options().over(Transport::over(near, "near"))
}

#[tokio::test]
async fn either_end_may_have_another_type_for_bytes() {
    for length in [0, 10, 5 * KIB, 64 * KIB + 1, MIB] {
        let (sent, plain) = (pattern(length), pattern(length).to_vec());
        let client = SwapClient::from(over_memory(Server::new().add(borrowed::SwapServer::new(Same))));
        assert!(client.swap(sent.clone()).await.unwrap() == sent);
        let client = borrowed::SwapClient::from(over_memory(Server::new().add(SwapServer::new(Same))));
        assert!(client.swap(&sent).await.unwrap() == sent[..]);
        // A sequence of numbers is another type with the same bytes: the ends tell each other, and adapt.
        let client = SwapClient::from(over_memory(Server::new().add(numbers::SwapServer::new(Same))));
        assert!(client.swap(sent.clone()).await.unwrap() == sent);
        let client = numbers::SwapClient::from(over_memory(Server::new().add(SwapServer::new(Same))));
        assert!(client.swap(plain.clone()).await.unwrap() == plain);
        let client = over_memory(Server::new().add(SwapServer::new(Same)));
        if length < MIB {
            let bytes: Bytes = client.call("Swap.swap", (sent.clone(),)).await.unwrap();
            assert!(bytes == sent, "by name, as base64");
            let numbers = serde_json::Value::from(plain.clone());
            let bytes: Bytes = client.call("Swap.swap", (numbers,)).await.unwrap();
            assert!(bytes == sent, "by name, as an array");
        }
    }
}

fn said(error: &Error) -> (ErrorKind, Executed, String) {
    (error.kind(), error.executed(), error.to_string())
}

/// Of arguments, and of replies, at the very limit: as of bytes that are copied.
#[tokio::test]
async fn one_byte_too_many_is_refused_as_it_is_of_other_bytes() {
    let most = Limits::default().max_message;
    let (client, _, _rig) = depot(Kind::Tcp).await;
    let other = other::DepotClient::from((*client).clone());
    client.echo(pattern(10)).await.unwrap();
    // Three bytes say how long they are.
    let largest = most - 4;
    assert!(client.echo(pattern(largest)).await.unwrap() == pattern(largest));
    assert!(client.load(largest).await.unwrap() == pattern(largest));
    for length in [largest + 1, largest + 2, most, most + 1, 2 * most] {
        let of_ours = client.echo(pattern(length)).await.unwrap_err();
        let of_other = other.echo(pattern(length).into()).await.unwrap_err();
        assert_eq!(said(&of_ours), said(&of_other));
        assert_eq!((of_ours.kind(), of_ours.executed()), (ErrorKind::TooLarge, Executed::No));
        let of_ours = client.load(length).await.unwrap_err();
        assert_eq!((of_ours.kind(), of_ours.executed()), (ErrorKind::TooLarge, Executed::Yes));
        assert!(of_ours.to_string().contains("max_message"), "{of_ours}");
    }
    assert!(client.echo(pattern(MIB)).await.unwrap() == pattern(MIB), "nothing is left of those");
}

/// A server for each connection; a connection for each permit.
struct Gate {
    permits: Arc<Semaphore>,
    serving: Arc<Mutex<Vec<tokio::task::JoinHandle<()>>>>,
}

#[rpc::async_trait]
impl Dial for Gate {
    async fn dial(&self) -> std::io::Result<Transport> {
        self.permits.acquire().await.unwrap().forget();
        let (near, far) = tokio::io::duplex(64 * KIB);
        let server = Server::new().add(SwapServer::new(Same));
        let task = tokio::spawn(async move { drop(server.serve_connection(Transport::over(far, "far")).await) });
        self.serving.lock().unwrap().push(task);
        Ok(Transport::over(near, "near"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_another_connection_takes_its_bytes_along() {
    let (permits, serving) = (Arc::new(Semaphore::new(1)), Arc::default());
    let gate = Gate { permits: permits.clone(), serving: Arc::clone(&serving) };
    let client = SwapClient::from(Client::options().dial(gate).await.unwrap());
    assert!(client.swap(pattern(MIB)).await.unwrap() == pattern(MIB));
    for task in serving.lock().unwrap().drain(..) {
        task.abort();
    }
    // Until the loss is known.
    while client.swap(pattern(1)).timeout(Duration::from_millis(1)).await.is_err_and(|error| !error.is_timeout()) {}
    let calls: Vec<_> = (0..3).map(|call| tokio::spawn(client.swap(pattern(2 * MIB + call)).owned())).collect();
    tokio::task::yield_now().await;
    permits.add_permits(1);
    for (call, reply) in calls.into_iter().enumerate() {
        assert!(reply.await.unwrap().unwrap() == pattern(2 * MIB + call));
    }
}
