//! A connection from its first bytes to its end: recognised, kept, cut, drained.

use std::sync::Arc;
use std::time::Duration;

use rpc::transport::Dial;
use rpc::{Client, Http, Limits, Server};
use rpc_tests::door::Door;
use rpc_tests::wire::{self, Raw};
use rpc_tests::{LabClient, TestLab, rig, settle};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::{Visitor, ask, lab, limited, post};

/// A lab that can be told to drain.
struct Drained {
    door: Door,
    lab: Arc<TestLab>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), rpc::Error>>,
}

impl Drained {
    fn new() -> Self {
        let lab = TestLab::new();
        let (door, doorman) = Door::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = rig::server(&lab).http(Http::new()).listen(doorman).unwrap();
        let task = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
        Self { door, lab, stop: Some(stop), task }
    }

    async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn both_protocols_are_spoken_on_one_port() {
    let (door, _lab) = lab();
    let client: LabClient = Client::options().dial(door.clone()).await.unwrap().into();
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
    ask(&door, post("/Lab/add", "[1, 2]")).await.is_value(3);
    assert_eq!(client.add(3, 4).await.unwrap(), 7);
    client.close().await;
}

/// As bytes may come: one by one.
#[tokio::test(start_paused = true)]
async fn a_protocol_is_recognised_in_pieces() {
    let (door, _lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    for byte in post("/Lab/add", "[1, 2]").bytes() {
        assert!(visitor.send([byte]).await);
        settle().await;
    }
    visitor.answer().await.unwrap().is_value(3);
    let mut raw = Raw::over(door.knock());
    for byte in [wire::opening(&[]), wire::bind_name(0, "Lab.add"), wire::json_call(0, 0, "[1, 2]")].concat() {
        assert!(raw.send([byte]).await);
        settle().await;
    }
    raw.opened().await;
    assert_eq!(raw.frame().await.unwrap().kind, wire::kind::BOUND);
    assert_eq!(raw.frame().await.unwrap().body, b"\x003");
}

#[tokio::test(start_paused = true)]
async fn without_a_door_http_is_not_spoken() {
    let lab = TestLab::new();
    let (door, doorman) = Door::new();
    tokio::spawn(rig::server(&lab).listen(doorman).unwrap().serve());
    let mut visitor = Visitor::over(door.knock());
    visitor.send(post("/Lab/add", "[1, 2]")).await;
    assert!(visitor.is_closed().await, "without a word");
}

#[tokio::test(start_paused = true)]
async fn what_is_neither_is_closed_without_a_word() {
    let (door, _lab) = lab();
    for bytes in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"SSH-2.0-x\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\0\0\0\0\0\0\0\0"] {
        let mut visitor = Visitor::over(door.knock());
        visitor.send(bytes).await;
        assert!(visitor.is_closed().await);
    }
}

/// Conformance 46, over HTTP: silence, the beginning of a first line, the beginning of a head.
#[tokio::test(start_paused = true)]
async fn a_request_whose_head_does_not_come_is_closed_by_the_handshake_timeout() {
    let (door, _lab) = lab();
    for sent in ["PO", "POST /Lab/add HT", "POST /Lab/add HTTP/1.1\r\nHost: localhost\r\n"] {
        let began = Instant::now();
        let mut visitor = Visitor::over(door.knock());
        visitor.send(sent).await;
        // However it drips.
        let mut open = true;
        while open && began.elapsed() < Duration::from_secs(60) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // A header that goes on and on; while it is not even known what is spoken, nothing.
            open = visitor.send(if sent == "PO" { "" } else { "x" }).await && tokio::time::timeout(Duration::ZERO, visitor.more()).await.is_err();
        }
        assert!((10..=11).contains(&began.elapsed().as_secs()), "{sent}: {:?}", began.elapsed());
    }
    // Nobody knows what a silent peer speaks: it is told as ever.
    let (mut raw, began) = (Raw::over(door.knock()), Instant::now());
    raw.opened().await;
    assert_eq!((raw.frame().await.unwrap().go_away().0, began.elapsed().as_secs()), (3, 10));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_kept_for_further_requests() {
    let (door, lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    for n in 0..100 {
        visitor.ask(post("/Lab/add", &json!([n, 1]).to_string())).await.is_value(n + 1);
    }
    visitor.ask(post("/Lab/add", "[]")).await.is_error(400, "malformed", "no", "");
    visitor.ask(post("/Lab/panics", r#"["x"]"#)).await.is_error(500, "internal", "yes", "");
    visitor.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);
    // Requests that come together are answered in their order.
    visitor.send([post("/Lab/add", "[1, 2]"), post("/Lab/sleep", "[20]"), post("/Lab/add", "[3, 4]")].concat()).await;
    for value in [3, 20, 7] {
        visitor.answer().await.unwrap().is_value(value);
    }
    assert_eq!(lab.most_live(), 1);
    // Without a request for as long as a head may take, it is closed.
    let began = Instant::now();
    assert!(visitor.is_closed().await);
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// What a peer took of the time for its first word is no loss to its later requests.
/// Only the last request may leave something unread, which is waited for before the connection is closed.
#[tokio::test(start_paused = true)]
async fn what_was_left_of_a_request_does_not_hold_up_the_end_after_the_next() {
    let (near, far) = tokio::io::duplex(16 << 10);
    let transport = rpc::transport::Transport::over(far, "far");
    let task = tokio::spawn(rig::server(&TestLab::new()).http(Http::new()).serve_connection(transport));
    let mut visitor = Visitor::over(near);
    assert_eq!(visitor.ask(post("/Lab/add", "[1, 2]").replace("json", "xml")).await.status, 415, "its body was not looked at");
    visitor.ask(crate::with("/Lab/add", "Connection: close\r\n", "[1, 2]")).await.is_value(3);
    let began = Instant::now();
    assert!(visitor.is_closed().await);
    task.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(visitor);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_begins_late_has_as_long_for_its_next_request_as_others() {
    let (door, _lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    tokio::time::sleep(Duration::from_secs(8)).await;
    visitor.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);
    tokio::time::sleep(Duration::from_secs(8)).await;
    visitor.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);
}

#[tokio::test(start_paused = true)]
async fn many_connections_call_at_the_same_time() {
    let (door, lab) = lab();
    let mut visitors: Vec<_> = (0..64).map(|_| Visitor::over(door.knock())).collect();
    for visitor in &mut visitors {
        visitor.send(post("/Lab/wait", "[1]")).await;
    }
    lab.until_live(64).await;
    lab.open(1);
    for visitor in &mut visitors {
        visitor.answer().await.unwrap().is_value(1);
    }
}

/// Conformance 27, over HTTP.
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_cancels_its_call() {
    let (door, lab) = lab();
    for round in 1..=20 {
        let mut visitor = Visitor::over(door.knock());
        visitor.send(post("/Lab/wait", "[1]")).await;
        lab.until_begun(round).await;
        visitor.leaves(&lab).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_method_outlives_the_client_that_called_it() {
    let (door, lab) = lab();
    let mut visitor = Visitor::over(door.knock());
    visitor.send(post("/Lab/outlive", "[1]")).await;
    lab.until_live(1).await;
    drop(visitor);
    settle().await;
    assert_eq!(lab.live(), 1);
    lab.open(1);
    lab.until_noted("outlived 1, cancelled: true").await;
}

/// Conformance 47, over HTTP.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_closed_by_the_write_timeout() {
    let mut drained = Drained::new();
    let mut visitor = Visitor::over(drained.door.knock());
    let began = Instant::now();
    visitor.send(post("/Lab/run", r#"[1, {"Reply": 500000}, []]"#)).await;
    settle().await;
    // The server is done when its connections are.
    drained.stop().await;
    assert!(!drained.task.is_finished(), "the answer is under way");
    (&mut drained.task).await.unwrap().unwrap();
    assert!((29..=31).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

/// Conformance 56, over HTTP.
#[tokio::test(start_paused = true)]
async fn a_drain_lets_requests_in_flight_end_and_takes_no_others() {
    let mut drained = Drained::new();
    let door = &drained.door;
    let (mut idle, mut running, mut reading, mut begun) =
        (Visitor::over(door.knock()), Visitor::over(door.knock()), Visitor::over(door.knock()), Visitor::over(door.knock()));
    idle.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);
    running.send(post("/Lab/wait", "[1]")).await;
    reading.send(post("/Lab/add", "[1, 2]").replace("[1, 2]", "[1")).await;
    begun.send("POST /Lab/add HTTP/1.1\r\n").await;
    drained.lab.until_live(1).await;
    settle().await;
    let began = Instant::now();
    drained.stop().await;
    assert!(idle.is_closed().await);
    reading.answer().await.unwrap().is_error(503, "draining", "no", "shutting down");
    assert!(begun.is_closed().await);
    assert!(began.elapsed() <= Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(!drained.task.is_finished());
    drained.lab.open(1);
    let answer = running.answer().await.unwrap();
    answer.is_value(1);
    assert_eq!(answer.header("connection"), Some("close"));
    drop(reading);
    drained.task.await.unwrap().unwrap();
    assert!(began.elapsed() <= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_being_read_is_not_cut_off_by_a_drain() {
    let mut drained = Drained::new();
    let mut visitor = Visitor::over(drained.door.knock());
    visitor.send(post("/Lab/upper", &json!(["x".repeat(1 << 20)]).to_string())).await;
    // The answer has begun; the transport holds 16 KiB of it.
    while visitor.rest.len() < 1000 {
        visitor.more().await;
    }
    drained.stop().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    visitor.answer().await.unwrap().is_value("X".repeat(1 << 20));
    drained.task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_grace_ends_for_http_too() {
    let mut drained = Drained::new();
    let mut visitor = Visitor::over(drained.door.knock());
    visitor.send(crate::with("/Lab/wait", "Rpc-Timeout: 1h\r\n", "[1]")).await;
    drained.lab.until_live(1).await;
    let began = Instant::now();
    drained.stop().await;
    drained.task.await.unwrap().unwrap();
    assert_eq!(began.elapsed().as_secs(), 30);
    assert!(visitor.is_closed().await);
    drained.lab.until_live(0).await;
}

/// Conformance 55: one too many is told so, in its own protocol.
#[tokio::test(start_paused = true)]
async fn one_connection_too_many_is_told_so() {
    let mut limits = Limits::default();
    limits.max_connections = 2;
    let (door, _lab) = limited(limits);
    let mut first = Visitor::over(door.knock());
    first.ask(post("/Lab/add", "[1, 2]")).await.is_value(3);
    let client: LabClient = Client::options().dial(door.clone()).await.unwrap().into();
    client.nothing().await.unwrap();

    let mut third = Visitor::over(door.knock());
    let answer = third.ask(post("/Lab/add", "[1, 2]")).await;
    answer.is_error(503, "overloaded", "no", "Limits::max_connections");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(third.is_closed().await);
    let mut raw = Raw::over(door.knock());
    raw.send(wire::opening(&[])).await;
    raw.opened().await;
    assert_eq!(raw.frame().await.unwrap().go_away().0, 2);

    drop(first);
    settle().await;
    ask(&door, post("/Lab/add", "[1, 2]")).await.is_value(3);
}

#[tokio::test(start_paused = true)]
async fn one_connection_alone_is_served_as_well() {
    let lab = TestLab::new();
    let (near, far) = tokio::io::duplex(1024);
    let transport = rpc::transport::Transport::over(far, "alone");
    let task = tokio::spawn(rig::server(&lab).http(Http::new()).serve_connection(transport));
    let mut visitor = Visitor::over(near);
    visitor.ask(post("/Lab/peer", "")).await.is_value("alone");
    drop(visitor);
    task.await.unwrap().unwrap();
}

/// Dropping a server drops its connections of either kind, and what runs on them.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_cancels_its_calls() {
    let drained = Drained::new();
    let mut visitor = Visitor::over(drained.door.knock());
    visitor.send(post("/Lab/wait", "[1]")).await;
    drained.lab.until_live(1).await;
    drained.task.abort();
    drained.lab.until_live(0).await;
    assert!(visitor.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_serves_opens_no_door() {
    // What a client serves it serves to its server alone.
    let lab = TestLab::new();
    let (door, doorman) = Door::new();
    tokio::spawn(Server::new().method("ping", |n: u64| async move { n }).listen(doorman).unwrap().serve());
    let client = Client::options().serve(rig::server(&lab).http(Http::new())).unwrap().over(door.dial().await.unwrap());
    assert_eq!(client.call::<u64>("ping", (7u64,)).await.unwrap(), 7);
}
