//! What one peer can make the other hold, counted by the allocator. Everything runs on one thread and in virtual time, so
//! the peaks repeat.

use std::future::Future;
use std::time::Duration;

use rpc::{Context, Server};
use rpc_tests::wire::{self, Raw, flag, kind};
use rpc_tests::{LabServer, TestLab, settle, virtual_time};
use tokio::sync::mpsc;

const MIB: u64 = 1 << 20;

/// The most bytes that this thread held while the test ran, beyond what it held before.
fn peak(test: impl Future<Output = ()>) -> u64 {
    allocation_counter::measure(|| virtual_time(test)).bytes_max
}

#[rpc::service]
trait Store {
    /// Empty text of this length.
    async fn get(&self, length: u64) -> String;
    async fn never(&self);
    #[rpc(oneway)]
    async fn note(&self, text: String);
    /// Keeps what it got for ever.
    #[rpc(oneway)]
    async fn hold(&self, text: String);
    #[rpc(oneway)]
    async fn hold_context(&self, cx: &Context);
}

struct Shelf;

impl Store for Shelf {
    async fn get(&self, length: u64) -> String {
        " ".repeat(length as usize)
    }
    async fn never(&self) {
        std::future::pending().await
    }
    async fn note(&self, text: String) {
        drop(text);
    }
    async fn hold(&self, text: String) {
        std::future::pending::<()>().await;
        drop(text);
    }
    async fn hold_context(&self, cx: &Context) {
        std::future::pending::<()>().await;
        let _ = cx;
    }
}

fn server() -> Server {
    Server::new().add(StoreServer::new(Shelf))
}

/// A peer of the server that takes replies of 4 MiB, with these methods bound by name.
async fn peer(methods: &[&str]) -> Raw {
    let (mut raw, _task) = wire::serve(server());
    raw.send(wire::opening(&[(1, 4 << 20), (2, 1024), (4, 8 << 20)])).await;
    for (number, method) in methods.iter().enumerate() {
        raw.send(wire::bind_name(number as u64, method)).await;
    }
    raw
}

/// Sends until the server takes no more and gives up, or has taken this many bytes.
async fn flood(raw: &mut Raw, packet: &[u8], most: usize) -> usize {
    let mut sent = 0;
    while sent < most && raw.send(packet).await {
        sent += packet.len();
    }
    sent
}

/// A notification by name.
fn notify(number: u64, metadata: &[u8], payload: &[u8]) -> Vec<u8> {
    let options = match metadata.len() {
        0 => vec![4],
        _ => [&[4 | 2], metadata].concat(),
    };
    wire::frame(kind::NOTIFY, flag::OPTIONS, &[&wire::varint(number), &options, payload])
}

/// A pair of an empty key and a value of this length, as often as it fits.
fn metadata(bytes: usize, value: usize) -> Vec<u8> {
    let pair = [wire::text(""), wire::text(&"v".repeat(value))].concat();
    let pairs = (bytes - 8) / pair.len();
    [wire::varint(pairs as u64), pair.repeat(pairs)].concat()
}

/// So many replies that nothing more leaves.
async fn block(raw: &mut Raw) {
    raw.send([wire::json_call(1000, 0, "[1000000]"), wire::json_call(1001, 0, "[1000000]")].concat()).await;
    settle().await;
}

/// Conformance 43: control flood
#[test]
fn pings_that_are_never_read_are_bounded() {
    let peak = peak(async {
        let mut raw = peer(&[]).await;
        flood(&mut raw, &wire::frame(kind::PING, 0, &[b"12345678"]).repeat(1000), 64 << 20).await;
    });
    assert!(peak < 6 * MIB, "{peak} bytes");
}

/// Conformance 43: control flood
#[test]
fn refusals_of_too_large_calls_that_are_never_read_are_bounded() {
    let peak = peak(async {
        let mut raw = peer(&["Store.get"]).await;
        flood(&mut raw, &wire::large_call(0, 0, 100 << 20, &[]).repeat(1000), 64 << 20).await;
    });
    assert!(peak < 6 * MIB, "{peak} bytes");
}

/// Conformance 43: control flood
#[test]
fn a_thousand_large_replies_that_nobody_reads_are_bounded() {
    let peak = peak(async {
        let mut raw = peer(&["Store.get"]).await;
        let calls: Vec<u8> = (0..1000).flat_map(|id| wire::json_call(id, 0, "[1000000]")).collect();
        raw.send(calls).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    });
    assert!(peak < 16 * MIB, "{peak} bytes");
}

/// Conformance 43: control flood
#[test]
fn replies_of_the_largest_length_that_nobody_reads_are_bounded() {
    let peak = peak(async {
        let mut raw = peer(&["Store.get"]).await;
        for id in 0..1000 {
            raw.send(wire::json_call(id, 0, "[4000000]")).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    });
    assert!(peak < 32 * MIB, "{peak} bytes");
}

/// Conformance 43: control flood
#[test]
fn notifications_that_wait_for_replies_to_leave_are_bounded_with_their_metadata() {
    for value in [0, 100, 8000] {
        let peak = peak(async {
            let mut raw = peer(&["Store.get", "Store.note"]).await;
            block(&mut raw).await;
            let packet = notify(1, &metadata(8 << 10, value), b"[]");
            flood(&mut raw, &packet, 16 << 20).await;
        });
        assert!(peak < 10 * MIB, "{peak} bytes with values of {value}");
    }
}

#[test]
fn empty_notifications_that_wait_for_replies_to_leave_are_bounded() {
    let peak = peak(async {
        let mut raw = peer(&["Store.get", "Store.note"]).await;
        block(&mut raw).await;
        flood(&mut raw, &notify(1, b"", b"").repeat(1000), 16 << 20).await;
    });
    assert!(peak < 10 * MIB, "{peak} bytes");
}

#[test]
fn handlers_of_notifications_that_wait_are_bounded_by_their_bytes() {
    let peak = peak(async {
        let mut raw = peer(&["Store.get", "Store.hold"]).await;
        let packet = notify(1, b"", format!("[\"{}\"]", "x".repeat(60_000)).as_bytes());
        assert!(flood(&mut raw, &packet, 32 << 20).await >= 32 << 20, "it reads on");
        settle().await;
    });
    assert!(peak < 8 * MIB, "{peak} bytes");
}

#[test]
fn handlers_of_notifications_that_wait_are_bounded_by_their_metadata() {
    let peak = peak(async {
        let mut raw = peer(&["Store.get", "Store.hold_context"]).await;
        let packet = notify(1, &metadata(8 << 10, 0), b"[]");
        assert!(flood(&mut raw, &packet, 10 << 20).await >= 10 << 20, "it reads on");
        settle().await;
    });
    assert!(peak < 32 * MIB, "{peak} bytes");
}

#[test]
fn a_bind_of_a_long_name_is_a_violation() {
    virtual_time(async {
        for length in [512, 513, 60_000] {
            let mut raw = wire::opened(server()).await;
            raw.send([wire::bind_name(0, &"x".repeat(length)), wire::frame(kind::PING, 0, &[])].concat()).await;
            let first = raw.frame().await.unwrap();
            if length <= 512 {
                assert_eq!((first.kind, raw.frame().await.unwrap().kind), (kind::BOUND, kind::PONG));
            } else {
                assert_eq!(first.go_away().0, 1, "{length}: a violation");
                assert!(raw.frame().await.is_none());
            }
        }
    });
}

#[test]
fn as_many_binds_as_are_allowed_are_cheap() {
    let unknown: fn(u64) -> String = |number| format!("{number:0>512}");
    let known: fn(u64) -> String = |_| "Lab.add".to_owned();
    for name in [unknown, known] {
        let mut taken = 0;
        let peak = peak(async {
            let mut raw = wire::opened(Server::new().add(LabServer::shared(TestLab::new()))).await;
            for number in 0..4096 {
                raw.send(wire::bind_name(number, &name(number))).await;
                assert_eq!(raw.frame().await.unwrap().kind, kind::BOUND);
                // The call, too, may leave something behind.
                raw.send(wire::json_call(0, number, "[1,2]")).await;
                raw.frame().await.unwrap();
                taken += 1;
            }
            raw.send(wire::bind_name(4096, "Lab.add")).await;
            assert_eq!(raw.frame().await.unwrap().go_away().0, 1, "one too many");
        });
        assert!(peak < 10 * MIB, "{peak} bytes");
        assert_eq!(taken, 4096);
    }
}

#[test]
fn a_bind_of_no_method_is_a_violation() {
    virtual_time(async {
        let mut raw = wire::opened(server()).await;
        raw.send(wire::bind_service(0, "Store", &[])).await;
        assert_eq!(raw.frame().await.unwrap().go_away().0, 1);
    });
}

#[rpc::service]
trait Teller {
    #[rpc(detached)]
    async fn tell(&self, cx: &Context);
}

struct Tells(mpsc::UnboundedSender<Context>);

impl Teller for Tells {
    async fn tell(&self, cx: &Context) {
        self.0.send(cx.clone()).unwrap();
        std::future::pending().await
    }
}

#[test]
fn short_tasks_that_wait_for_a_cancellation_leave_nothing_behind() {
    let with = |tasks: usize| {
        peak(async move {
            let (send, mut contexts) = mpsc::unbounded_channel();
            let client = TellerClient::local(Tells(send));
            let call = tokio::spawn(client.tell().owned());
            let cx = contexts.recv().await.unwrap();
            for _ in 0..tasks {
                let cx = cx.clone();
                let short = tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        () = cx.cancelled() => panic!("nobody cancelled it"),
                        () = tokio::task::yield_now() => {}
                    }
                });
                short.await.unwrap();
            }
            // And one that waits is told.
            let waits = tokio::spawn({
                let cx = cx.clone();
                async move { cx.cancelled().await }
            });
            settle().await;
            call.abort();
            waits.await.unwrap();
        })
    };
    with(10);
    let (few, many) = (with(10), with(10_000));
    assert!(many < few + (64 << 10), "{few} bytes with few tasks, {many} with many");
}

/// Protocol 9.5: a mebibyte of schemas whose fields are four bytes each on the wire and many more in memory.
#[test]
fn the_schemas_of_a_peer_are_bounded_in_memory() {
    let peak = peak(async {
        let (mut raw, _task) = wire::serve(server());
        raw.send([wire::opening(&[(5, 1)]), wire::bind_service(0, "Store", &[("never", 7)])].concat()).await;
        raw.opened().await;
        let fields = 200_000;
        let nodes = [vec![0, 1, 24], wire::text(""), wire::varint(fields), vec![0; 4 * fields as usize], vec![0]].concat();
        for (at, part) in nodes.chunks(60_000).enumerate() {
            let more = if (at + 1) * 60_000 < nodes.len() { flag::MORE } else { 0 };
            raw.send(wire::frame(kind::SCHEMA, more, &[&[1, 0], part])).await;
        }
        let frames = raw.frames().await;
        let (code, _, why) = frames.last().unwrap().go_away();
        assert_eq!((code, why.as_str()), (1, "malformed schema: schemas that fill more than 4194304 bytes of memory (protocol 9.5)"));
    });
    // They are put together first.
    assert!(peak < 7 * MIB, "{peak} bytes");
}
