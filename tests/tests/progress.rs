//! Nobody waits for what cannot come any more: calls end, queues move on, lost connections are made again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rpc::transport::{Dial, Listen, Transport, memory};
use rpc::{Address, Client, ErrorKind, Executed, Limits, Server};
use rpc_tests::wire::{self, Raw, kind};
use rpc_tests::{Kind, LabClient, LabServer, ON_PURPOSE, Rig, TestLab, quiet, rig, settle, virtual_time};
use tokio::io::AsyncWrite;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Only against hanging.
const LONG: Duration = Duration::from_secs(30);

// ---- listeners

/// Fails this often in each of these ways, then takes connections.
struct Flaky(Vec<io::ErrorKind>, memory::Listener);

#[rpc::async_trait]
impl Listen for Flaky {
    async fn accept(&mut self) -> io::Result<Transport> {
        match self.0.pop() {
            Some(error) => Err(error.into()),
            None => self.1.accept().await,
        }
    }

    fn address(&self) -> Address {
        Address::named("flaky")
    }
}

#[test]
fn connections_that_are_gone_before_they_are_accepted_delay_nobody() {
    virtual_time(async {
        let (listener, dialer) = memory::pair();
        let gone = [io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted, io::ErrorKind::NotConnected];
        let flaky = Flaky(gone.repeat(1000), listener);
        tokio::spawn(rig::server(&TestLab::new()).listen(flaky).unwrap().serve());
        let began = Instant::now();
        let lab = LabClient::from(Client::options().dial(dialer).await.unwrap());
        assert_eq!(lab.add(1, 2).await.unwrap(), 3);
        assert!(began.elapsed() < Duration::from_millis(1), "{:?}", began.elapsed());
    });
}

#[tokio::test]
async fn connections_that_are_reset_at_once_keep_nobody_else_out() {
    let server = rig::server(&TestLab::new()).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve());
    for _ in 0..5 {
        for _ in 0..100 {
            // This end and the server share a thread: the server sees it only when it is gone.
            let stream = std::net::TcpStream::connect(address.socket().unwrap()).unwrap();
            stream.set_nonblocking(true).unwrap();
            tokio::net::TcpStream::from_std(stream).unwrap().set_zero_linger().unwrap();
        }
        let call = async { LabClient::connect(&address).await?.add(1, 2).await };
        assert_eq!(timeout(LONG, call).await.expect("it is accepted").unwrap(), 3);
    }
}

// ---- queues

#[tokio::test(start_paused = true)]
async fn notifications_that_wait_for_room_all_leave_when_the_peer_reads_again() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let lab = LabClient::from(Client::options().over(Transport::over(near, "far")));
    let mut raw = Raw::over(far);
    raw.send(wire::opening(&[])).await;
    let notes: Vec<_> = (0..60).map(|_| tokio::spawn(lab.note("x".repeat(30_000)).owned())).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(notes.iter().any(|note| !note.is_finished()), "they fit without waiting");
    raw.opened().await;
    let reader = tokio::spawn(async move {
        let mut seen = 0;
        while seen < 60 {
            seen += usize::from(raw.frame().await.unwrap().kind == kind::NOTIFY);
        }
        // Not dropped here: the connection goes on.
        raw
    });
    let began = Instant::now();
    for note in notes {
        note.await.unwrap().unwrap();
    }
    reader.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_free_slot_is_not_left_idle_behind_a_caller_that_has_been_granted_one() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_in_flight = 64;
        let rig = Rig::with(Kind::Memory, |server| server.limits(limits), Client::options().timeout(None)).await;
        rig.client.nothing().await.unwrap();
        let hour = || rig.client.sleep(3_600_000).owned();
        let mut held = JoinSet::new();
        for _ in 0..62 {
            held.spawn(hour());
        }
        let first = tokio::spawn(rig.client.sleep(1000).owned());
        let second = tokio::spawn({
            let client = rig.client.clone();
            async move {
                client.sleep(1000).await.unwrap();
                client.sleep(1).await.unwrap();
            }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        held.spawn(hour());
        let began = Instant::now();
        first.await.unwrap().unwrap();
        second.await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(rig.lab.live(), 63);
    });
}

#[test]
fn closing_ends_calls_that_wait_in_the_queue_at_once() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_in_flight = 64;
        let rig = Rig::limited(limits).await;
        rig.client.nothing().await.unwrap();
        let mut running = JoinSet::new();
        for _ in 0..64 {
            running.spawn(rig.client.wait(1).owned());
        }
        rig.lab.until_live(64).await;
        let mut waiting = JoinSet::new();
        for _ in 0..10 {
            waiting.spawn(rig.client.wait(1).owned());
        }
        settle().await;
        let began = Instant::now();
        let closing = tokio::spawn({
            let client = rig.client.clone();
            async move { client.close().await }
        });
        while let Some(ended) = waiting.join_next().await {
            let error = ended.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No), "{error}");
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        rig.lab.open(1);
        while let Some(ended) = running.join_next().await {
            assert_eq!(ended.unwrap().unwrap(), 1);
        }
        closing.await.unwrap();
        assert_eq!(rig.lab.begun(), 64);
    });
}

// ---- lost connections

/// A writing half that fails once it is told to.
struct Breaks<W>(W, Arc<AtomicBool>);

impl<W: AsyncWrite + Unpin> AsyncWrite for Breaks<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.1.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn replies_that_have_arrived_are_delivered_although_the_next_write_fails() {
    virtual_time(async {
        let (near, far) = tokio::io::duplex(64 << 10);
        let (read, write) = tokio::io::split(near);
        let broken = Arc::new(AtomicBool::new(false));
        let client = Client::options().over(Transport::new(read, Breaks(write, broken.clone()), "far"));
        let mut raw = Raw::over(far);
        let mut first = client.call::<u64>("x", ());
        assert!(polled(&mut first).await.is_none());
        raw.opened().await;
        // Nothing else runs between the answer and the write that fails.
        broken.store(true, Ordering::Relaxed);
        raw.send([wire::opening(&[]), wire::frame(kind::BOUND, 0, &[&[0]]), wire::frame(kind::REPLY, 0, &[&[0], b"7"])].concat()).await;
        let mut second = client.call::<u64>("x", ());
        assert!(polled(&mut second).await.is_none());
        assert_eq!(first.await.unwrap(), 7);
        assert_eq!(second.await.unwrap_err().kind(), ErrorKind::Unavailable);
    });
}

/// Polls it once.
async fn polled<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Serves every dial but the one that panics.
struct Panics {
    dials: Arc<AtomicUsize>,
    panics: usize,
    servers: std::sync::Mutex<Option<tokio::task::AbortHandle>>,
}

#[rpc::async_trait]
impl Dial for Panics {
    async fn dial(&self) -> io::Result<Transport> {
        let dial = self.dials.fetch_add(1, Ordering::Relaxed);
        assert!(dial != self.panics, "{ON_PURPOSE}: while it dials");
        let (near, far) = memory::connection();
        let server = tokio::spawn(Server::new().method("add", |a: u32, b: u32| async move { a + b }).serve_connection(far));
        // The one before is gone.
        if let Some(before) = self.servers.lock().unwrap().replace(server.abort_handle()) {
            before.abort();
        }
        if dial + 1 == self.panics {
            // This one will be lost after its first call.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                server.abort();
            });
        }
        Ok(near)
    }
}

#[test]
fn after_a_dialer_that_panicked_the_next_call_dials_again() {
    quiet();
    virtual_time(async {
        let dials = Arc::<AtomicUsize>::default();
        let client = Client::options().dial(Panics { dials: dials.clone(), panics: 1, servers: Default::default() }).await.unwrap();
        assert_eq!(client.call::<u32>("add", (1, 2)).await.unwrap(), 3);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let error = client.call::<u32>("add", (1, 2)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No), "{error}");
        assert_eq!(client.call::<u32>("add", (1, 2)).await.unwrap(), 3);
        assert_eq!(dials.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn a_dialer_that_panics_at_first_is_an_error() {
    quiet();
    virtual_time(async {
        let error = Client::options().dial(Panics { dials: Arc::default(), panics: 0, servers: Default::default() }).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No), "{error}");
    });
}

#[test]
fn a_connection_whose_task_never_ran_ends_its_calls() {
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (near, _far) = tokio::io::duplex(64 << 10);
    let client = {
        let _entered = other.enter();
        Client::options().over(Transport::over(near, "far"))
    };
    virtual_time(async move {
        let mut begun = client.call::<u32>("add", (1, 2));
        assert!(polled(&mut begun).await.is_none());
        std::thread::spawn(move || drop(other)).join().unwrap();
        let began = Instant::now();
        let error = begun.await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No), "{error}");
        assert_eq!(client.call::<u32>("add", (1, 2)).await.unwrap_err().executed(), Executed::No);
        assert_eq!(began.elapsed(), Duration::ZERO);
    });
}

#[test]
fn a_client_that_has_used_up_its_numbers_goes_on_over_a_new_connection() {
    virtual_time(async {
        let lab = TestLab::new();
        let dials = Arc::<AtomicUsize>::default();
        let client = Client::options().dial(Serves(lab.clone(), dials.clone())).await.unwrap();
        let pending = tokio::spawn(client.call::<u64>("Lab.wait", (1,)).owned());
        lab.until_live(1).await;
        for n in 0..5000 {
            let error = client.call::<u64>(&format!("unknown {n}"), ()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unimplemented, "{n}: {error}");
        }
        assert_eq!(client.call::<u64>("double", (4,)).await.unwrap(), 8);
        assert_eq!(LabClient::from(client).add(1, 2).await.unwrap(), 3);
        assert_eq!(dials.load(Ordering::Relaxed), 2);
        // The first connection stays until its calls have ended.
        lab.open(1);
        assert_eq!(pending.await.unwrap().unwrap(), 1);
    });
}

/// Serves every dial, and counts them.
struct Serves(Arc<TestLab>, Arc<AtomicUsize>);

#[rpc::async_trait]
impl Dial for Serves {
    async fn dial(&self) -> io::Result<Transport> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let (near, far) = memory::connection();
        tokio::spawn(Server::new().add(LabServer::shared(self.0.clone())).method("double", |n: u64| async move { 2 * n }).serve_connection(far));
        Ok(near)
    }
}
