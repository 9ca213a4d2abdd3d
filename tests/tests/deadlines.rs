//! Deadlines, under a clock that moves only when nothing else can: every figure is exact.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rpc::transport::{Dial, Transport, memory};
use rpc::{Client, ErrorKind, Executed, Limits};
use rpc_tests::fault::{self, wire};
use rpc_tests::{Blob, Kind, LabClient, Rig, TestLab, rig, settle, virtual_time};
use tokio::time::{Instant, advance};

const MS: Duration = Duration::from_millis(1);

/// Conformance 20: deadline_1ms on a sleeping handler
#[test]
fn a_deadline_of_one_millisecond_ends_a_call_in_time() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        for round in 0..3 {
            let begun = Instant::now();
            let error = rig.client.sleep(60_000).timeout(MS).await.unwrap_err();
            assert_eq!((error.kind(), error.executed(), error.is_timeout()), (ErrorKind::DeadlineExceeded, Executed::Maybe, true));
            assert!(begun.elapsed() >= MS && begun.elapsed() <= 21 * MS, "round {round} took {:?}", begun.elapsed());
            // Conformance 23: the handler is dropped within 50 ms.
            rig.lab.until_live(0).await;
            assert!(begun.elapsed() <= 51 * MS, "its handler lived {:?}", begun.elapsed());
            assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
        }
        assert_eq!(rig.lab.begun(), 3);
    });
}

/// Whatever it is: only what nobody has asked for is counted from when the connection comes to its turn.
#[test]
fn a_timeout_is_counted_from_the_first_poll_though_nothing_else_runs() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        rig.client.nothing().await.unwrap();
        for timeout in [29_000, 30_000, 31_000] {
            let begun = Instant::now();
            // The driver is awake by the second of them, and comes to its turn when this task waits.
            let (mut one, mut two, mut call) = (pin!(rig.client.wait(1)), pin!(rig.client.wait(2)), pin!(rig.client.wait(3).timeout(timeout * MS)));
            poll_fn(|cx| {
                let pending = one.as_mut().poll(cx).is_pending() && two.as_mut().poll(cx).is_pending() && call.as_mut().poll(cx).is_pending();
                assert!(pending);
                Poll::Ready(())
            })
            .await;
            advance(20_000 * MS).await;
            assert!(call.await.unwrap_err().is_timeout());
            assert!(begun.elapsed() >= timeout * MS && begun.elapsed() <= (timeout + 20) * MS, "{:?}", begun.elapsed());
        }
    });
}

#[test]
fn the_default_deadline_is_thirty_seconds() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        let begun = Instant::now();
        assert!(rig.client.wait(1).await.unwrap_err().is_timeout());
        assert!(begun.elapsed() >= 30_000 * MS && begun.elapsed() <= 30_020 * MS, "{:?}", begun.elapsed());
        rig.lab.until_live(0).await;
        assert!(begun.elapsed() <= 30_050 * MS);
    });
}

#[test]
fn a_methods_own_timeout_stands_for_the_default_and_the_calls_own_wins() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        let begun = Instant::now();
        assert!(rig.client.hurried().await.unwrap_err().is_timeout());
        assert!(begun.elapsed() >= 250 * MS && begun.elapsed() <= 270 * MS, "{:?}", begun.elapsed());
        let begun = Instant::now();
        assert!(rig.client.hurried().timeout(2 * Duration::from_secs(60)).await.unwrap_err().is_timeout());
        assert!(begun.elapsed() >= 120_000 * MS && begun.elapsed() <= 120_020 * MS, "{:?}", begun.elapsed());
        rig.lab.until_live(0).await;
    });
}

/// Thirty seconds that were asked for are not thirty seconds by default, which the callee would take its method's own time for.
#[test]
fn a_timeout_of_a_call_by_name_wins_whatever_it_is() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        rig.client.nothing().await.unwrap();
        for seconds in [29, 30, 31] {
            let begun = Instant::now();
            let call = rig.client.call::<u32>("Lab.hurried", ()).timeout(Duration::from_secs(seconds));
            assert!(call.await.unwrap_err().is_timeout());
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
        let begun = Instant::now();
        assert!(rig.client.call::<u32>("Lab.hurried", ()).await.unwrap_err().is_timeout());
        assert!(begun.elapsed() <= 270 * MS, "{:?}", begun.elapsed());
    });
}

#[test]
fn a_client_without_a_default_waits_as_long_as_it_takes() {
    virtual_time(async {
        let rig = Rig::with(Kind::Memory, |server| server, Client::options().timeout(None)).await;
        assert_eq!(rig.client.remaining().await.unwrap(), None);
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(rig.client.sleep(day).await.unwrap(), day);
    });
}

#[test]
fn a_deadline_beyond_the_clock_is_none() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        assert_eq!(rig.client.add(1, 2).timeout(Duration::MAX).await.unwrap(), 3);
        assert_eq!(rig.client.add(1, 2).timeout(Duration::from_secs(u64::MAX / 1_000_000)).await.unwrap(), 3);
    });
}

#[test]
fn a_deadline_of_zero_is_over_before_anything_is_sent() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        let error = rig.client.wait(1).timeout(Duration::ZERO).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::DeadlineExceeded, Executed::No));
        settle().await;
        assert_eq!(rig.lab.begun(), 0);
    });
}

/// Conformance 21: deadline with a blocked write
#[test]
fn a_deadline_holds_while_the_peer_does_not_read() {
    virtual_time(async {
        // Nobody reads the other end, which holds 64 KiB.
        let (near, _far) = tokio::io::duplex(64 << 10);
        let client: LabClient = Client::options().over(Transport::over(near, "deaf")).into();
        let padding = vec![0; 30_000];
        let begun = Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..20 {
            calls.spawn(client.resize(0, &padding, 1).timeout(100 * MS).owned());
        }
        while let Some(ended) = calls.join_next().await {
            let error = ended.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
            assert!(begun.elapsed() >= 100 * MS && begun.elapsed() <= 120 * MS, "{:?}", begun.elapsed());
        }
    });
}

/// Conformance 21: deadline with a blocked write, of a large message
/// The peer has nothing to say, so that nothing but its own timer wakes the caller's connection.
#[test]
fn one_deadline_after_the_other_holds_while_the_peer_is_silent() {
    virtual_time(async {
        // Held, and never read.
        let (near, _far) = tokio::io::duplex(64 << 10);
        let client: LabClient = Client::options().over(Transport::over(near, "silent")).into();
        let begun = Instant::now();
        let calls = [10, 20, 20, 70].map(|after| {
            let call = client.add(1, 2).timeout(after * MS).owned();
            tokio::spawn(async move { (call.await.unwrap_err().kind(), begun.elapsed()) })
        });
        for (call, after) in calls.into_iter().zip([10, 20, 20, 70]) {
            let (kind, took) = call.await.unwrap();
            assert_eq!(kind, ErrorKind::DeadlineExceeded);
            assert!(took >= after * MS && took <= (after + 2) * MS, "{took:?} instead of {after} ms");
        }
    });
}

#[test]
fn a_deadline_holds_in_the_middle_of_a_large_call() {
    virtual_time(async {
        let (near, far, wire) = wire(fault::Plan::default(), fault::Plan::default(), 1);
        let lab = TestLab::new();
        tokio::spawn(rig::server(&lab).serve_connection(far));
        let client: LabClient = Client::options().over(near).into();
        assert_eq!(client.add(1, 2).await.unwrap(), 3);
        wire.fail_after(fault::UP, 100_000, fault::Cut::Stall);
        let begun = Instant::now();
        let error = client.resize(0, &vec![0; 1 << 20], 1).timeout(200 * MS).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        assert!(begun.elapsed() >= 200 * MS && begun.elapsed() <= 220 * MS, "{:?}", begun.elapsed());
        // The peer stays deaf, and is given up in time.
        let error = client.wait(1).timeout(Duration::from_secs(3600)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(begun.elapsed() <= Limits::default().write_timeout + Duration::from_secs(31), "{:?}", begun.elapsed());
    });
}

struct Never;

#[rpc::async_trait]
impl Dial for Never {
    async fn dial(&self) -> std::io::Result<Transport> {
        std::future::pending().await
    }
}

/// Conformance 22: deadline while queued for a connection
#[test]
fn a_deadline_holds_while_there_is_no_connection() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.connect_timeout = Duration::from_secs(5);
        let begun = Instant::now();
        let error = Client::options().limits(limits).dial(Never).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
        assert!(begun.elapsed() >= limits.connect_timeout && begun.elapsed() <= limits.connect_timeout + 20 * MS);

        let client: LabClient = Client::options().limits(limits).dial(Once::new()).await.unwrap().into();
        // The only connection ends; the next never comes.
        assert_eq!(client.add(1, 2).await.unwrap_err().kind(), ErrorKind::Unavailable);
        let begun = Instant::now();
        let error = client.add(1, 2).timeout(20 * MS).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::DeadlineExceeded, Executed::No));
        assert!(begun.elapsed() >= 20 * MS && begun.elapsed() <= 40 * MS, "{:?}", begun.elapsed());
        // A patient one hears that none could be made.
        let error = client.add(1, 2).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
        assert!(error.to_string().contains("Lab.add"), "{error}");
    });
}

/// Gives one connection, to nobody, and no other.
struct Once(std::sync::Mutex<Option<Transport>>);

impl Once {
    fn new() -> Self {
        let (near, _) = memory::connection();
        Self(std::sync::Mutex::new(Some(near)))
    }
}

#[rpc::async_trait]
impl Dial for Once {
    async fn dial(&self) -> std::io::Result<Transport> {
        let first = self.0.lock().unwrap().take();
        match first {
            Some(transport) => Ok(transport),
            None => std::future::pending().await,
        }
    }
}

#[test]
fn a_deadline_holds_while_waiting_for_a_place_in_flight() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_in_flight = 64;
        let rig = Rig::limited(limits).await;
        let mut calls: Vec<_> = (0..64).map(|_| tokio::spawn(rig.client.wait(1).owned())).collect();
        rig.lab.until_live(64).await;
        let begun = Instant::now();
        let error = rig.client.wait(1).timeout(20 * MS).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::DeadlineExceeded, Executed::No));
        assert!(begun.elapsed() >= 20 * MS && begun.elapsed() <= 40 * MS, "{:?}", begun.elapsed());
        assert_eq!(rig.lab.begun(), 64);
        rig.lab.open(1);
        for call in calls.drain(..) {
            call.await.unwrap().unwrap();
        }
    });
}

/// Conformance 23: deadline_propagates
#[test]
fn a_nested_call_has_what_is_left_and_never_more() {
    virtual_time(async {
        let (front, back) = (Rig::new(Kind::Memory).await, Rig::new(Kind::Memory).await);
        front.lab.next.set(back.client.clone()).unwrap();
        let (before, after) = front.client.relay_remaining(300).timeout(Duration::from_secs(1)).await.unwrap();
        let (before, after) = (before.unwrap(), after.unwrap());
        assert!(before <= 1_000_000 && before > 980_000, "{before} us left at first");
        assert!(after <= 700_000 && after > 680_000, "{after} us left after 300 ms");

        // Neither handler outlives the first caller's deadline.
        let begun = Instant::now();
        front.lab.next.get().unwrap();
        let error = front.client.relay_remaining(5000).timeout(100 * MS).await.unwrap_err();
        assert!(error.is_timeout());
        front.lab.until_live(0).await;
        back.lab.until_live(0).await;
        assert!(begun.elapsed() <= 150 * MS, "{:?}", begun.elapsed());
    });
}

#[test]
fn the_failure_of_a_nested_call_is_the_handlers_to_tell() {
    virtual_time(async {
        let (front, mut back) = (Rig::new(Kind::Memory).await, Rig::new(Kind::Memory).await);
        front.lab.next.set(back.client.clone()).unwrap();
        let sum = front.client.relay_add(2, 3).await.unwrap();
        assert_eq!(sum, 5);
        back.crash().await;
        let error = front.client.relay_add(2, 3).await.unwrap_err();
        assert_eq!(error.executed(), Executed::Yes);
    });
}

/// Conformance 25: 10,000 simultaneous timeouts
#[test]
fn ten_thousand_calls_time_out_together() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        let begun = Instant::now();
        let mut calls = tokio::task::JoinSet::new();
        // 1,024 are in flight, the others wait for a place.
        for _ in 0..10_000 {
            calls.spawn(rig.client.wait(1).timeout(100 * MS).owned());
        }
        let (mut no, mut maybe) = (0, 0);
        while let Some(ended) = calls.join_next().await {
            let error = ended.unwrap().unwrap_err();
            assert!(error.is_timeout(), "{error}");
            match error.executed() {
                Executed::No => no += 1,
                Executed::Maybe => maybe += 1,
                Executed::Yes => panic!("nobody answered"),
            }
        }
        assert!(begun.elapsed() >= 100 * MS && begun.elapsed() <= 200 * MS, "{:?}", begun.elapsed());
        assert!(maybe as u64 >= rig.lab.begun() && maybe >= 64 && no >= 10_000 - 1024, "{no} no, {maybe} maybe, {} begun", rig.lab.begun());
        rig.lab.until_live(0).await;
        assert!(begun.elapsed() <= 200 * MS, "{:?}", begun.elapsed());
        // Every place is free again.
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..1024 {
            calls.spawn(rig.client.wait(1).owned());
        }
        rig.lab.until_live(1024).await;
        rig.lab.open(1);
        while let Some(ended) = calls.join_next().await {
            assert_eq!(ended.unwrap().unwrap(), 1);
        }
        rpc_tests::report!("{{\"suite\":\"timeouts\",\"calls\":10000,\"executed_no\":{no},\"executed_maybe\":{maybe}}}");
    });
}

/// Conformance 26: clock_jump. Tokio's clock jumps by an hour while the machine's stands still; deadlines follow the former,
/// so they cannot follow the latter.
#[test]
fn deadlines_follow_the_monotonic_clock_alone() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        let wall = std::time::SystemTime::now();
        let hour = Duration::from_secs(3600);
        let short = tokio::spawn(rig.client.wait(1).timeout(hour).owned());
        let long = tokio::spawn(rig.client.wait(1).timeout(2 * hour + MS).owned());
        rig.lab.until_live(2).await;
        advance(hour - MS).await;
        settle().await;
        assert!(!short.is_finished(), "early");
        advance(2 * MS).await;
        assert!(short.await.unwrap().unwrap_err().is_timeout());
        assert!(!long.is_finished());
        rig.lab.until_live(1).await;
        advance(hour - 2 * MS).await;
        settle().await;
        assert!(!long.is_finished(), "early");
        rig.lab.open(1);
        assert_eq!(long.await.unwrap().unwrap(), 1);
        assert!(wall.elapsed().unwrap() < hour, "the wall clock took no part");
    });
}

#[test]
fn a_reply_that_comes_after_the_deadline_is_ignored() {
    virtual_time(async {
        // Replies take a second on their way.
        let slow = fault::Plan { delay: Duration::from_secs(1), ..fault::Plan::default() };
        let (near, far, _wire) = wire(fault::Plan::default(), slow, 7);
        let lab = TestLab::new();
        tokio::spawn(rig::server(&lab).serve_connection(far));
        let client: LabClient = Client::options().over(near).into();
        let mut late = 0;
        for n in 0..50 {
            match client.add(n, 1).timeout(300 * MS).await {
                Ok(sum) => assert_eq!(sum, n + 1),
                Err(error) => {
                    assert!(error.is_timeout());
                    late += 1;
                }
            }
            assert_eq!(client.resize(1, &[], 10).await.unwrap(), Blob(rpc_tests::lab::pattern(2, 10)));
        }
        assert!(late > 0);
    });
}

#[rpc::service]
trait Till {
    #[rpc(detached)]
    async fn pay(&self) -> u32;
}

/// Adds by asking the next server, after a second.
struct Pays(LabClient, tokio::sync::mpsc::UnboundedSender<Result<u32, rpc::Error>>);

impl Till for Pays {
    async fn pay(&self) -> u32 {
        self.1.send(self.0.add(1, 1).await).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.1.send(self.0.add(1, 2).await).unwrap();
        3
    }
}

#[test]
fn a_detached_handler_calls_others_after_the_deadline_of_its_caller() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        let (send, mut sums) = tokio::sync::mpsc::unbounded_channel();
        let till = TillClient::local(Pays(rig.client.clone(), send));
        let error = till.pay().timeout(50 * MS).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::DeadlineExceeded, Executed::Maybe));
        assert_eq!(sums.recv().await.unwrap().unwrap(), 2);
        assert_eq!(sums.recv().await.unwrap().unwrap(), 3);
    });
}
