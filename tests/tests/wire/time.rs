//! Peers that are slow, or do nothing at all. Time is virtual.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc::transport::{Listen, Transport, memory};
use rpc::{Address, Client, ErrorKind, Executed, Limits};
use rpc_tests::wire::{self, Raw, kind};
use tokio::time::Instant;

use crate::service::{self, ADD, ECHO, NEVER, ShopClient, server};

/// Conformance 46: a peer that does not say hello is closed after 10 s.
#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_closed_by_the_handshake_timeout() {
    for sent in [&b""[..], b"\xf5rp", &wire::PREFACE, &[&wire::PREFACE[..], &[1, 9]].concat()] {
        let began = Instant::now();
        let (mut raw, task) = wire::serve(server());
        raw.send(sent).await;
        raw.opened().await;
        let (code, _, message) = raw.frame().await.unwrap().go_away();
        assert_eq!((code, began.elapsed().as_secs()), (3, 10), "{message}");
        task.await.unwrap();
    }
}

/// Conformance 33, 46: a frame that does not get on is closed after 30 s, however it drips.
#[tokio::test(start_paused = true)]
async fn a_frame_that_does_not_arrive_is_closed_by_the_progress_timeout() {
    let started = [
        wire::header(kind::CALL, 0, 65_536).to_vec(),
        [wire::large_call(0, ECHO, 1 << 20, &[0]), wire::header(kind::CALL_CHUNK, 0, 60_000).to_vec()].concat(),
    ];
    for bytes in started {
        let mut raw = wire::opened(server()).await;
        raw.send([service::bind(), bytes].concat()).await;
        raw.frame().await.unwrap();
        let began = Instant::now();
        let mut alive = true;
        while alive && began.elapsed() < Duration::from_secs(100) {
            alive = raw.send([0]).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let took = began.elapsed().as_secs();
        assert!((29..=33).contains(&took), "closed after {took} s");
        assert_eq!(raw.frames().await.pop().unwrap().go_away().0, 3);
    }
}

/// Conformance 47: a peer that never reads is closed after 30 s, and makes us hold little.
#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_is_closed_by_the_write_timeout() {
    let mut raw = wire::opened(server()).await;
    raw.send(service::bind()).await;
    let began = Instant::now();
    // Within the allowance; the answers to it are more than the transport holds.
    for id in 0..16 {
        assert!(raw.send(wire::call(id, ECHO, &[&wire::varint(60_000)[..], &vec![0; 60_000]].concat())).await);
    }
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(raw.send(wire::frame(kind::PING, 0, &[])).await, "alive after {:?}", began.elapsed());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!raw.send(wire::frame(kind::PING, 0, &[])).await, "closed after {:?}", began.elapsed());
}

/// Conformance 47: nor may a peer that reads, but owes the answers that let large messages go on, hold them for ever.
#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_the_pings_behind_chunks_is_closed_by_the_write_timeout() {
    const LENGTH: usize = 600_000;
    let (mut raw, _task) = wire::serve(server());
    raw.send([wire::opening(&[(1, 4 << 20), (4, 5 << 20)]), service::bind()].concat()).await;
    raw.opened().await;
    let payload = [&wire::varint(LENGTH as u64)[..], &[0; LENGTH]].concat();
    let (first, rest) = payload.split_at(60_000);
    raw.send(wire::large_call(0, ECHO, payload.len() as u64, first)).await;
    for chunk in rest.chunks(60_000) {
        raw.send(wire::frame(kind::CALL_CHUNK, 0, &[&[0], chunk])).await;
    }
    let (began, mut got) = (Instant::now(), 0);
    let (code, _, message) = loop {
        match tokio::time::timeout(Duration::from_secs(5), raw.frame()).await {
            Ok(frame) => match frame.expect("a go-away comes first") {
                frame if frame.kind == kind::GO_AWAY => break frame.go_away(),
                frame => got += frame.body.len(),
            },
            // There it is.
            Err(_) => drop(raw.send(wire::frame(kind::PING, 0, &[])).await),
        }
        assert!(began.elapsed() < Duration::from_secs(100), "{got} bytes came, and no end");
    };
    assert_eq!((code, began.elapsed().as_secs()), (3, 30), "{message}");
    assert!(got < LENGTH, "the rest was held back");
}

/// Conformance 43: answers that nobody reads are bounded: reading stops, and the write timeout ends it.
#[tokio::test(start_paused = true)]
async fn a_flood_of_requests_without_reading_is_bounded() {
    let floods = [
        wire::large_call(0, ECHO, 1 << 30, &[0]),
        [wire::call(0, NEVER, &[]), wire::frame(kind::CANCEL, 0, &[&[0]])].concat(),
        [wire::large_call(0, ECHO, 1 << 20, &[0]), wire::frame(kind::CANCEL, 0, &[&[0]])].concat(),
    ];
    for flood in floods {
        let mut raw = wire::opened(server()).await;
        raw.send(service::bind()).await;
        let packet: Vec<u8> = flood.repeat(1000);
        let (began, mut sent) = (Instant::now(), 0);
        while sent < 64 << 20 && raw.send(&packet).await {
            sent += packet.len();
        }
        assert!(sent < 8 << 20, "{sent} bytes of {:02x?} were taken", &flood[..4]);
        // A second use of an id that is still open is a violation and ends it sooner.
        assert!(began.elapsed() <= Duration::from_secs(31));
    }
}

/// Conformance 43: however many pings come together, one answer stands for them.
#[tokio::test(start_paused = true)]
async fn pings_that_come_together_are_answered_once() {
    let mut raw = wire::opened(server()).await;
    let mut flood = wire::frame(kind::PING, 0, &[b"12345678"]).repeat(100_000);
    flood.extend(wire::frame(kind::PING, 0, &[b"the last"]));
    raw.send(&flood).await;
    let mut answers = 1;
    loop {
        let pong = raw.frame().await.unwrap();
        assert_eq!(pong.kind, kind::PONG);
        if pong.body == b"the last" {
            break;
        }
        assert_eq!(pong.body, b"12345678");
        answers += 1;
    }
    assert!(answers < 200, "{answers} answers to 100,001 pings");
}

/// Behind each chunk of a large message there is a ping, and its answer lets a further chunk go: that does not wait for the end of all
/// that has come.
#[tokio::test(start_paused = true)]
async fn one_answer_stands_for_no_more_than_three_pings_between_chunks() {
    const CHUNK: usize = 60_000;
    const CHUNKS: u64 = 24;
    // All of it is there at once.
    let (near, far) = tokio::io::duplex(2 << 20);
    tokio::spawn(server().serve_connection(Transport::over(far, "far")));
    let mut raw = Raw::over(near);
    // And a little more, without which the message is not complete.
    let length = CHUNKS as usize * CHUNK;
    let payload = [&wire::varint(length as u64)[..], &vec![7; length]].concat();
    let mut chunks = payload.chunks(CHUNK);
    let first = wire::large_call(0, ECHO, payload.len() as u64, chunks.next().unwrap());
    let mut message = [wire::opening(&[(1, 4 << 20), (4, 5 << 20)]), service::bind(), first].concat();
    for number in 1..=CHUNKS {
        message.extend(wire::frame(kind::PING, 0, &[&number.to_le_bytes()]));
        if number < CHUNKS {
            message.extend(wire::frame(kind::CALL_CHUNK, 0, &[&[0], chunks.next().unwrap()]));
        }
    }
    raw.send(message).await;
    raw.opened().await;
    assert_eq!(raw.frame().await.unwrap().kind, kind::BOUND);
    let mut answered = vec![0];
    while *answered.last().unwrap() < CHUNKS {
        let pong = raw.frame().await.unwrap();
        assert_eq!(pong.kind, kind::PONG);
        answered.push(u64::from_le_bytes(pong.body.try_into().unwrap()));
    }
    assert!(answered.windows(2).all(|pair| (1..=3).contains(&(pair[1] - pair[0]))), "{answered:?}");
    assert!(answered.windows(2).any(|pair| pair[1] - pair[0] == 3), "{answered:?}: they could have come together");
    raw.send(wire::frame(kind::CALL_CHUNK, 0, &[&[0], chunks.next().unwrap()])).await;
    assert_eq!(raw.frame().await.unwrap().kind, kind::REPLY);
}

/// Conformance 33: idle connections are nobody's fault; they may stay as long as they answer.
#[tokio::test(start_paused = true)]
async fn a_quiet_connection_stays_open() {
    let mut raw = wire::opened(server()).await;
    let began = Instant::now();
    for asked in 1..=180 {
        let ping = raw.frame().await.unwrap();
        assert_eq!((ping.kind, ping.body), (kind::PING, vec![0; 8]));
        assert_eq!(began.elapsed().as_secs(), 20 * asked);
        raw.send(wire::frame(kind::PONG, 0, &[])).await;
    }
    raw.send([service::bind(), wire::call(0, ADD, &[1, 2])].concat()).await;
    raw.frame().await.unwrap();
    assert_eq!(raw.frame().await.unwrap().body, [0, 3]);
}

/// Conformance 48: who is asked and says nothing is gone.
#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_let_go() {
    let mut raw = wire::opened(server()).await;
    let began = Instant::now();
    assert_eq!(raw.frame().await.unwrap().kind, kind::PING);
    tokio::time::sleep(Duration::from_millis(9_900)).await;
    raw.send(wire::frame(kind::PONG, 0, &[])).await;
    assert_eq!(raw.frame().await.unwrap().kind, kind::PING, "asked again, after as long a time");
    assert_eq!(began.elapsed().as_millis(), 20_000 + 9_900 + 20_000);
    let (code, _, message) = raw.frame().await.unwrap().go_away();
    assert_eq!(code, 3);
    assert!(message.contains("keepalive_timeout"), "{message}");
    assert_eq!(began.elapsed().as_millis(), 20_000 + 9_900 + 30_000);
    assert!(raw.frame().await.is_none());
}

/// Conformance 55: one connection too many is told so, and its calls were not executed.
#[tokio::test(start_paused = true)]
async fn a_connection_too_many_is_refused_with_words() {
    let (listener, dialer) = memory::pair();
    let mut limits = Limits::default();
    limits.max_connections = 1;
    tokio::spawn(server().limits(limits).listen(listener).unwrap().serve());
    let first: ShopClient = Client::options().dial(dialer.clone()).await.unwrap().into();
    assert_eq!(first.add(1, 2).await.unwrap(), 3);
    let second: ShopClient = Client::options().dial(dialer.clone()).await.unwrap().into();
    let error = second.add(1, 2).timeout(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
    assert!(error.message().contains("Limits::max_connections"), "{error}");
    // Its place is free once it has left.
    Client::close(&first).await;
    let third: ShopClient = Client::options().dial(dialer).await.unwrap().into();
    assert_eq!(third.add(1, 2).await.unwrap(), 3);
}

/// A listener whose first accepts fail, as when file descriptors run out.
struct Failing {
    inner: memory::Listener,
    asked: Arc<AtomicUsize>,
}

#[rpc::async_trait]
impl Listen for Failing {
    async fn accept(&mut self) -> io::Result<Transport> {
        if self.asked.fetch_add(1, Ordering::Relaxed) < 10 {
            return Err(io::Error::other("too many open files"));
        }
        self.inner.accept().await
    }

    fn address(&self) -> Address {
        Address::named("failing")
    }
}

/// Conformance 54: a listener that fails is asked again, not in a loop.
#[tokio::test(start_paused = true)]
async fn errors_of_a_listener_are_waited_out() {
    let (inner, dialer) = memory::pair();
    let asked = Arc::new(AtomicUsize::new(0));
    tokio::spawn(server().listen(Failing { inner, asked: asked.clone() }).unwrap().serve());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!((5..9).contains(&asked.load(Ordering::Relaxed)), "asked {asked:?} times in a second of errors");
    let shop: ShopClient = Client::options().dial(dialer).await.unwrap().into();
    assert_eq!(shop.add(1, 2).await.unwrap(), 3);
}

/// Protocol 7.1: a client closes a server that never says hello.
#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_closed_by_the_handshake_timeout() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let _client = Client::options().over(Transport::over(near, "test"));
    let mut raw = Raw::over(far);
    let began = Instant::now();
    raw.opened().await;
    assert_eq!(raw.frame().await.unwrap().go_away().0, 3);
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// What handlers do where they stand may use up the budget that the runtime gives a task for one turn; then its timers only say that
/// they want to be asked again.
#[tokio::test(start_paused = true)]
async fn a_deadline_is_kept_though_the_budget_of_a_turn_was_used_up_when_it_was_set() {
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    let spend = move || {
        let lock = lock.clone();
        async move {
            for _ in 0..200 {
                drop(lock.lock().await);
            }
        }
    };
    let server = rpc::Server::new().method("spend", spend).method("never", || async { std::future::pending::<()>().await });
    let (mut raw, _task) = wire::serve(server);
    // 250 ms and JSON.
    let never = wire::frame(kind::CALL, wire::flag::OPTIONS, &[&[1], &[1], &[5], &wire::varint(250_000), b"[]"]);
    let calls = [wire::opening(&[]), wire::bind_name(0, "spend"), wire::bind_name(1, "never"), wire::json_call(0, 0, "[]"), never];
    let began = Instant::now();
    raw.send(calls.concat()).await;
    raw.opened().await;
    let mut frames = Vec::new();
    while frames.len() < 4 {
        let frame = tokio::time::timeout(Duration::from_secs(100), raw.frame()).await.expect("a frame is owed").unwrap();
        frames.push((frame.kind, began.elapsed().as_millis()));
    }
    assert!(frames.iter().all(|(kind, _)| *kind != kind::GO_AWAY), "{frames:?}");
    let (last, took) = frames[3];
    assert_eq!(last, kind::ERROR, "{frames:?}");
    assert!((250..=270).contains(&took), "{frames:?}");
}

/// Whatever comes is a sign of life, and the next ping is due an interval after it. Here the timeout is longer than the interval, so that is
/// before what the timer was set to.
#[tokio::test(start_paused = true)]
async fn a_reply_instead_of_a_pong_moves_the_next_ping() {
    let mut limits = Limits::default();
    (limits.keepalive_interval, limits.keepalive_timeout) = (Duration::from_secs(1), Duration::from_secs(100));
    let (near, far) = tokio::io::duplex(64 << 10);
    let shop: ShopClient = Client::options().limits(limits).over(Transport::over(near, "test")).into();
    let mut raw = Raw::over(far);
    let call = tokio::spawn(async move { (shop.add(1, 2).await, shop) });
    raw.opened().await;
    assert_eq!([raw.frame().await.unwrap().kind, raw.frame().await.unwrap().kind], [kind::BIND, kind::CALL]);
    raw.send([wire::opening(&[]), wire::frame(kind::BOUND, 0, &[&[0]])].concat()).await;
    assert_eq!(raw.frame().await.unwrap().kind, kind::PING);
    raw.send(wire::frame(kind::REPLY, 0, &[&[0, 3]])).await;
    let (sum, _shop) = call.await.unwrap();
    assert_eq!(sum.unwrap(), 3);
    let answered = Instant::now();
    assert_eq!(raw.frame().await.unwrap().kind, kind::PING);
    assert!(answered.elapsed() < Duration::from_secs(2), "after {:?}", answered.elapsed());
}
