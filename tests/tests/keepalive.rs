//! Peers that are gone without a word: conformance 48. In memory with exact times; over sockets through a proxy that
//! swallows everything.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use rpc::transport::Transport;
use rpc::{Client, ErrorKind, Executed, Limits, Server, Streaming};
use rpc_tests::fault::{self, Cut, Plan};
use rpc_tests::flows::flows;
use rpc_tests::rig::server;
use rpc_tests::{FlowsClient, Kind, LabClient, Rig, TestLab, virtual_time, wire};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

/// A server and a client over a connection in memory that can fail.
fn connected(limits: Limits) -> (Client, Arc<TestLab>, fault::Wire) {
    let lab = TestLab::new();
    let (near, far, wire) = fault::wire(Plan::default(), Plan::default(), 48);
    tokio::spawn(server(&lab).limits(limits).serve_connection(far));
    (Client::options().limits(limits).over(near), lab, wire)
}

fn quick() -> Limits {
    let mut limits = Limits::default();
    limits.keepalive_interval = Duration::from_secs(2);
    limits.keepalive_timeout = Duration::from_secs(1);
    limits
}

/// Conformance 48: black_hole mid-call
#[test]
fn a_black_hole_ends_calls_with_maybe_and_frees_the_server() {
    for (limits, within) in [(Limits::default(), 30), (quick(), 3)] {
        virtual_time(async {
            let (client, lab, wire) = connected(limits);
            let call = tokio::spawn(LabClient::from(client).wait(1).timeout(Duration::from_secs(600)).owned());
            lab.until_live(1).await;
            wire.fail(fault::UP, Cut::BlackHole);
            let began = Instant::now();
            let error = call.await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::Maybe), "{error}");
            assert!(error.message().contains("Limits::keepalive_timeout"), "{error}");
            assert_eq!(began.elapsed().as_secs(), within, "counted from the last byte");
            lab.until_live(0).await;
            assert_eq!(began.elapsed().as_secs(), within);
        });
    }
}

/// Conformance 48, for streams: neither an end nor silence.
#[test]
fn a_black_hole_is_an_error_to_the_readers_of_streams() {
    virtual_time(async {
        let (client, lab, wire) = connected(quick());
        let flows = FlowsClient::from(client);
        let mut items = flows.one_and_wait().await.unwrap();
        items.next().await.unwrap().unwrap();
        let (sender, numbers) = Streaming::channel();
        let witness = tokio::spawn(flows.witness(numbers).owned());
        sender.send(1).await.unwrap();
        lab.until_live(2).await;
        wire.fail(fault::UP, Cut::BlackHole);
        let began = Instant::now();
        assert_eq!(items.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(witness.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
        sender.closed().await;
        lab.until_live(0).await;
        assert_eq!(began.elapsed().as_secs(), 3);
        assert!(lab.notes().iter().any(|note| note.contains("Unavailable")), "{:?}", lab.notes());
    });
}

/// Conformance 48: who has nothing to say answers all the same, for as long as it likes.
#[test]
fn a_quiet_connection_lives_and_a_long_call_on_it_too() {
    virtual_time(async {
        let (client, lab, _) = connected(quick());
        let lab_client = LabClient::from(client);
        let call = tokio::spawn(lab_client.wait(1).timeout(Duration::from_secs(7200)).owned());
        lab.until_live(1).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        lab.open(1);
        assert_eq!(call.await.unwrap().unwrap(), 1);
    });
}

/// Conformance 48: off is off.
#[test]
fn without_an_interval_nobody_is_asked() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.keepalive_interval = Duration::MAX;
        let (client, lab, wire) = connected(limits);
        let call = tokio::spawn(LabClient::from(client).wait(1).timeout(Duration::from_secs(3600)).owned());
        lab.until_live(1).await;
        wire.fail(fault::UP, Cut::BlackHole);
        let began = Instant::now();
        assert!(call.await.unwrap().unwrap_err().is_timeout());
        assert_eq!(began.elapsed().as_secs(), 3600);
    });
}

/// A handler that computes keeps its connection from answering; what has come meanwhile still counts.
#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_finds_the_answers_that_wait_for_it() {
    let (client, _lab, _) = connected(quick());
    let client = LabClient::from(client);
    client.nothing().await.unwrap();
    // Both ends sleep through interval and timeout at once, with the pings of each in the other's socket.
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(60)).await;
        client.nothing().await.unwrap();
    }
}

/// Moves bytes between two streams until told to swallow them.
async fn proxy(near: impl AsyncRead + AsyncWrite, far: impl AsyncRead + AsyncWrite, hole: watch::Receiver<bool>) {
    async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, hole: watch::Receiver<bool>) {
        let mut bytes = [0; 4096];
        loop {
            match from.read(&mut bytes).await {
                // A black hole does not say that one end has closed, either.
                _ if *hole.borrow() => std::future::pending().await,
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    if to.write_all(&bytes[..read]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    tokio::join!(copy(near_read, far_write, hole.clone()), copy(far_read, near_write, hole));
}

/// Conformance 48, over sockets: what is between the ends vanishes.
async fn over_sockets(kind: Kind) {
    let mut limits = Limits::default();
    limits.keepalive_interval = Duration::from_millis(200);
    limits.keepalive_timeout = Duration::from_millis(200);
    let lab = TestLab::new();
    let (tell, hole) = watch::channel(false);
    let (near, middle) = tokio::io::duplex(64 << 10);
    let server: Server = server(&lab).limits(limits);
    if kind == Kind::Tcp {
        let bound = server.bind("127.0.0.1:0").await.unwrap();
        let far = tokio::net::TcpStream::connect(bound.local_addr().socket().unwrap()).await.unwrap();
        tokio::spawn(bound.serve());
        tokio::spawn(proxy(middle, far, hole));
    } else {
        let path = rpc_tests::rig::socket_path();
        let bound = server.bind(format!("unix:{}", path.display())).await.unwrap();
        let far = tokio::net::UnixStream::connect(&path).await.unwrap();
        tokio::spawn(bound.serve());
        tokio::spawn(proxy(middle, far, hole));
    }
    let client = LabClient::from(Client::options().limits(limits).over(Transport::over(near, "near")));
    // The other's hello has come, or the handshake's timeout would be the first to notice.
    client.nothing().await.unwrap();
    let call = tokio::spawn(client.wait(1).timeout(Duration::from_secs(600)).owned());
    lab.until_live(1).await;
    tell.send(true).unwrap();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::Maybe), "{error}");
    assert!(error.message().contains("Limits::keepalive_timeout"), "{error}");
    lab.until_live(0).await;
}

#[tokio::test]
async fn a_black_hole_over_tcp() {
    over_sockets(Kind::Tcp).await;
}

#[tokio::test]
async fn a_black_hole_over_unix() {
    over_sockets(Kind::Unix).await;
}

/// Many streams and calls go on while both ends ask and answer all the time.
#[tokio::test(start_paused = true)]
async fn pings_disturb_nothing() {
    let mut limits = Limits::default();
    limits.keepalive_interval = Duration::from_millis(1);
    let rig = Rig::limited(limits).await;
    let mut items = flows(&rig).count_slowly(50).await.unwrap();
    let mut next = 0;
    while let Some(item) = items.next().await {
        assert_eq!(item.unwrap(), next);
        next += 1;
        assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
    }
    assert_eq!(next, 50);
}

/// Whose connection is served in a task that has used up its budget: then a read says that nothing has come, though it has.
#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_finds_the_answer_though_its_task_has_no_budget() {
    let mut limits = Limits::default();
    (limits.keepalive_interval, limits.keepalive_timeout) = (Duration::from_secs(20), Duration::from_secs(10));
    let (near, far) = tokio::io::duplex(64 << 10);
    let mut raw = wire::Raw::over(near);
    let stands = Arc::new(AtomicBool::new(false));
    let still = stands.clone();
    let server = Server::new().limits(limits).method("one", || async { 1 });
    tokio::spawn(async move {
        let mut connection = pin!(server.serve_connection(Transport::over(far, "test")));
        let mut stood = false;
        poll_fn(|cx| {
            if still.load(Ordering::Relaxed) {
                stood = true;
                let waker = cx.waker().clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(12)).await;
                    waker.wake();
                });
                return Poll::Pending;
            }
            if std::mem::take(&mut stood) {
                while pin!(tokio::task::coop::consume_budget()).poll(cx).is_ready() {}
            }
            connection.as_mut().poll(cx)
        })
        .await
    });
    raw.send(wire::opening(&[])).await;
    raw.opened().await;
    let ping = raw.frame().await.unwrap();
    assert_eq!(ping.kind, wire::kind::PING);
    stands.store(true, Ordering::Relaxed);
    raw.send(wire::frame(wire::kind::PONG, 0, &[&ping.body])).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    stands.store(false, Ordering::Relaxed);
    raw.send([wire::bind_name(0, "one"), wire::json_call(0, 0, "[]")].concat()).await;
    assert_eq!(raw.frame().await.unwrap().kind, wire::kind::BOUND);
    assert_eq!(raw.frame().await.unwrap().kind, wire::kind::REPLY);
}
