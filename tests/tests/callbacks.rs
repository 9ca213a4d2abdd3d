//! A server that calls its caller, over the connection it was called by: conformance 19.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rpc::transport::{self, Transport};
use rpc::{Client, Context, ErrorKind, Executed, Limits, Server, Stream, Streaming};
use rpc_tests::rig::socket_path;
use rpc_tests::{Kind, ON_PURPOSE, Pki, quiet, settle};
use tokio::sync::{oneshot, watch};

/// Both ends serve it.
#[rpc::service]
trait Peer {
    /// How often it was handed back and forth.
    async fn bounce(&self, cx: &Context, left: u32) -> Result<u32, String>;
    async fn where_from(&self) -> String;
    /// What the other end says, asked once the gate here is open.
    async fn ask(&self, cx: &Context) -> Result<String, String>;
    async fn ask_for_ever(&self, cx: &Context) -> Result<String, String>;
    async fn for_ever(&self) -> String;
    /// Milliseconds left, here and at the other end.
    async fn remaining(&self, cx: &Context, ask: bool) -> Vec<u64>;
    async fn panics(&self) -> String;
    async fn ask_for_a_panic(&self, cx: &Context) -> Result<String, String>;
    /// Says these to the other end, each once it has answered the one before.
    fn echo_back(&self, cx: &Context, lines: Streaming<u32>) -> impl Stream<Item = u32>;
    fn count(&self, to: u32) -> impl Stream<Item = u32>;
    /// The other end's stream, handed on.
    fn counted_there(&self, cx: &Context, to: u32) -> impl Stream<Item = u32>;
    /// Keeps its caller.
    async fn subscribe(&self, cx: &Context);
}

struct End {
    name: &'static str,
    live: watch::Sender<usize>,
    gate: watch::Sender<bool>,
    subscriber: std::sync::Mutex<Option<PeerClient>>,
}

struct Live<'a>(&'a watch::Sender<usize>);

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|live| *live -= 1);
    }
}

impl End {
    fn new(name: &'static str) -> Arc<Self> {
        quiet();
        Arc::new(Self { name, live: watch::Sender::new(0), gate: watch::Sender::new(false), subscriber: std::sync::Mutex::default() })
    }

    fn enter(&self) -> Live<'_> {
        self.live.send_modify(|live| *live += 1);
        Live(&self.live)
    }

    async fn until_live(&self, count: usize) {
        self.live.subscribe().wait_for(|live| *live == count).await.unwrap();
    }
}

fn caller(cx: &Context) -> PeerClient {
    PeerClient::from(cx.caller())
}

impl Peer for End {
    async fn bounce(&self, cx: &Context, left: u32) -> Result<u32, String> {
        match left {
            0 => Ok(0),
            _ => caller(cx).bounce(left - 1).await.map(|times| times + 1).map_err(|error| error.to_string()),
        }
    }
    async fn where_from(&self) -> String {
        self.name.to_owned()
    }
    async fn ask(&self, cx: &Context) -> Result<String, String> {
        let _live = self.enter();
        self.gate.subscribe().wait_for(|open| *open).await.unwrap();
        caller(cx).where_from().await.map_err(|error| error.to_string())
    }
    async fn ask_for_ever(&self, cx: &Context) -> Result<String, String> {
        let _live = self.enter();
        caller(cx).for_ever().await.map_err(|error| error.to_string())
    }
    async fn for_ever(&self) -> String {
        let _live = self.enter();
        std::future::pending().await
    }
    async fn remaining(&self, cx: &Context, ask: bool) -> Vec<u64> {
        let mut all = vec![cx.remaining().map_or(0, |left| left.as_millis() as u64)];
        if ask {
            all.extend(caller(cx).remaining(false).timeout(Duration::from_secs(600)).await.unwrap());
        }
        all
    }
    async fn panics(&self) -> String {
        panic!("{ON_PURPOSE}")
    }
    async fn ask_for_a_panic(&self, cx: &Context) -> Result<String, String> {
        caller(cx).panics().await.map_err(|error| format!("{:?}", error.kind()))
    }
    fn echo_back(&self, cx: &Context, lines: Streaming<u32>) -> impl Stream<Item = u32> {
        let caller = caller(cx);
        lines.filter_map(async |line| line.ok()).then(move |line| {
            let caller = caller.clone();
            async move { caller.bounce(line).await.unwrap() }
        })
    }
    fn count(&self, to: u32) -> impl Stream<Item = u32> {
        stream::iter(0..to)
    }
    fn counted_there(&self, cx: &Context, to: u32) -> impl Stream<Item = u32> {
        let caller = caller(cx);
        stream::once(async move { caller.count(to).await.unwrap() }).flatten().map(Result::unwrap)
    }
    async fn subscribe(&self, cx: &Context) {
        *self.subscriber.lock().unwrap() = Some(caller(cx));
    }
}

struct Ends {
    client: PeerClient,
    here: Arc<End>,
    there: Arc<End>,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<Result<(), rpc::Error>>,
}

fn serves(end: &Arc<End>) -> Server {
    Server::new().add(PeerServer::shared(end.clone()))
}

async fn ends(kind: Kind, limits: Limits) -> Ends {
    let (here, there) = (End::new("here"), End::new("there"));
    let server = serves(&there).limits(limits);
    let options = Client::options().limits(limits).serve(serves(&here)).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let (client, server) = match kind {
        Kind::Memory | Kind::Local => {
            let (listener, dialer) = transport::memory::pair();
            let task = tokio::spawn(server.listen(listener).unwrap().serve_until(stopped));
            (options.dial(dialer).await.unwrap(), task)
        }
        Kind::Tls => {
            // Read once; that they are gone later changes nothing.
            let pki = Pki::new();
            let (listener, dialer) = transport::memory::pair();
            let task = tokio::spawn(server.tls(pki.mutual_tls()).listen(listener).unwrap().serve_until(stopped));
            (options.tls(pki.client_tls_as("client")).dial(dialer).await.unwrap(), task)
        }
        Kind::Over => {
            let (near, far) = tokio::io::duplex(16 << 10);
            let task = tokio::spawn(server.serve_connection(Transport::over(far, "far")));
            (options.over(Transport::over(near, "near")), task)
        }
        Kind::Tcp | Kind::Tcp6 | Kind::Unix => {
            let address = if kind == Kind::Unix { format!("unix:{}", socket_path().display()) } else { "127.0.0.1:0".to_owned() };
            let bound = server.bind(address).await.unwrap();
            let address = bound.local_addr();
            let task = tokio::spawn(bound.serve_until(stopped));
            (options.connect(address).await.unwrap(), task)
        }
    };
    Ends { client: client.into(), here, there, stop: Some(stop), server }
}

rpc_tests::over_each_transport! {
    both_ends_call_each_other_sixty_four_deep
    streams_within_streams
    a_handler_asks_its_caller
    a_caller_that_serves_nothing_is_unimplemented
    a_deadline_goes_on_to_the_caller_and_back
    a_cancel_goes_on_to_the_caller_and_back
    a_panic_at_the_caller_is_an_error_to_the_handler
    a_caller_is_told_later
    a_draining_server_still_asks
    a_closing_client_still_answers
}

/// Conformance 19: callback cycle
async fn both_ends_call_each_other_sixty_four_deep(kind: Kind) {
    let ends = ends(kind, Limits::default()).await;
    assert_eq!(ends.client.bounce(64).await.unwrap(), 64);
    let calls = (0..16).map(|_| ends.client.bounce(64));
    for times in futures_util::future::join_all(calls).await {
        assert_eq!(times.unwrap(), 64);
    }
    assert_eq!(ends.client.bounce(500).await.unwrap(), 500);
}

/// Conformance 19: stream_of_streams
async fn streams_within_streams(kind: Kind) {
    let ends = ends(kind, Limits::default()).await;
    let mut echoes = ends.client.echo_back(stream::iter([0, 1, 5, 64])).await.unwrap();
    for expected in [0, 1, 5, 64] {
        assert_eq!(echoes.next().await.unwrap().unwrap(), expected);
    }
    assert!(echoes.next().await.is_none());
    let mut counted = ends.client.counted_there(20_000).await.unwrap();
    for expected in 0..20_000 {
        assert_eq!(counted.next().await.unwrap().unwrap(), expected);
    }
    assert!(counted.next().await.is_none());
}

async fn a_handler_asks_its_caller(kind: Kind) {
    let ends = ends(kind, Limits::default()).await;
    ends.there.gate.send_replace(true);
    for _ in 0..100 {
        assert_eq!(ends.client.ask().await.unwrap(), "here");
        assert_eq!(ends.client.where_from().await.unwrap(), "there");
    }
}

async fn a_caller_that_serves_nothing_is_unimplemented(_: Kind) {
    let there = End::new("there");
    there.gate.send_replace(true);
    let client = PeerClient::from(Client::local(PeerServer::shared(there)));
    let rpc::CallError::Service(text) = client.ask().await.unwrap_err() else { panic!("the handler said what it met") };
    assert!(text.starts_with("Peer.where_from: "), "{text}");
    assert_eq!(client.where_from().await.unwrap(), "there", "the connection goes on");
}

async fn a_deadline_goes_on_to_the_caller_and_back(kind: Kind) {
    let ends = ends(kind, Limits::default()).await;
    let left = ends.client.remaining(true).timeout(Duration::from_secs(60)).await.unwrap();
    assert!(left[0] <= 60_000 && left[1] <= left[0] && left[1] > 0, "{left:?}");
}

async fn a_cancel_goes_on_to_the_caller_and_back(kind: Kind) {
    let ends = ends(kind, Limits::default()).await;
    let call = tokio::spawn(ends.client.ask_for_ever().owned());
    ends.here.until_live(1).await;
    assert_eq!(*ends.there.live.borrow(), 1);
    call.abort();
    ends.there.until_live(0).await;
    ends.here.until_live(0).await;
}

async fn a_panic_at_the_caller_is_an_error_to_the_handler(kind: Kind) {
    let ends = ends(kind, Limits::default()).await;
    for _ in 0..10 {
        assert_eq!(ends.client.ask_for_a_panic().await.unwrap_err().into_service().unwrap(), "Internal");
    }
    assert_eq!(ends.client.where_from().await.unwrap(), "there");
}

/// The handle outlives its call, and keeps nothing open.
async fn a_caller_is_told_later(kind: Kind) {
    let ends = ends(kind, Limits::default()).await;
    ends.client.subscribe().await.unwrap();
    let subscriber = ends.there.subscriber.lock().unwrap().take().unwrap();
    assert_eq!(subscriber.where_from().await.unwrap(), "here");
    let other = subscriber.clone();
    other.close().await;
    assert!(other.where_from().await.unwrap_err().is_unavailable(), "closed is closed");
    assert_eq!(ends.client.where_from().await.unwrap(), "there", "but not the connection");
    ends.client.subscribe().await.unwrap();
    let subscriber = ends.there.subscriber.lock().unwrap().take().unwrap();
    ends.client.close().await;
    let error = subscriber.where_from().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}

/// Handlers in flight end, and what they ask is part of that.
async fn a_draining_server_still_asks(kind: Kind) {
    if kind == Kind::Over {
        // One connection, which nobody tells to drain.
        return;
    }
    let mut ends = ends(kind, Limits::default()).await;
    let call = tokio::spawn(ends.client.ask().owned());
    ends.there.until_live(1).await;
    ends.stop.take().unwrap().send(()).unwrap();
    settle().await;
    ends.there.gate.send_replace(true);
    assert_eq!(call.await.unwrap().unwrap(), "here");
    ends.server.await.unwrap().unwrap();
}

async fn a_closing_client_still_answers(kind: Kind) {
    let ends = ends(kind, Limits::default()).await;
    let call = tokio::spawn(ends.client.ask().owned());
    ends.there.until_live(1).await;
    let mut closing = Box::pin(ends.client.close());
    let pending = std::future::poll_fn(|cx| std::task::Poll::Ready(closing.as_mut().poll(cx).is_pending()));
    assert!(pending.await);
    let error = ends.client.where_from().await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No), "no new calls of its own");
    ends.there.gate.send_replace(true);
    assert_eq!(call.await.unwrap().unwrap(), "here");
    closing.await;
}

/// Conformance 19: beyond what may be in flight the deadline ends it, on both ends.
#[tokio::test(start_paused = true)]
async fn a_cycle_that_is_too_deep_ends_at_its_deadline() {
    let mut limits = Limits::default();
    limits.max_in_flight = 64;
    let ends = ends(Kind::Memory, limits).await;
    assert_eq!(ends.client.bounce(127).await.unwrap(), 127, "as deep as both ends let it");
    let began = tokio::time::Instant::now();
    ends.client.bounce(200).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    assert_eq!(ends.client.bounce(127).await.unwrap(), 127, "and nothing is left of it");
}

#[test]
fn two_services_of_one_name_are_refused_where_they_are_served() {
    let end = End::new("here");
    let error = Client::options().serve(serves(&end).add(PeerServer::shared(end.clone()))).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// A client without a server to dial: what `local` calls can call back too.
#[tokio::test]
async fn a_local_service_asks_its_caller() {
    let (here, there) = (End::new("here"), End::new("there"));
    there.gate.send_replace(true);
    let client = PeerClient::from(Client::options().serve(serves(&here)).unwrap().local(PeerServer::shared(there)));
    assert_eq!(client.ask().await.unwrap(), "here");
}
