//! Calls that their callers give up.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use rpc::{ErrorKind, Executed, Limits};
use rpc_tests::flows::flows;
use rpc_tests::rng::Rng;
use rpc_tests::{Kind, Plan, Rig, settle, virtual_time};
use tokio::time::Instant;

/// Conformance 24: cancel_before_send
#[test]
fn a_call_that_is_never_polled_is_never_sent() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        rig.client.nothing().await.unwrap();
        drop(rig.client.wait(1));
        drop(rig.client.wait(1).owned());
        settle().await;
        assert_eq!(rig.lab.begun(), 0);
    });
}

/// Conformance 24: cancel_before_send, while it waits for a connection
#[test]
fn a_call_that_is_dropped_while_it_waits_is_never_sent() {
    virtual_time(async {
        let rig = Rig::new(Kind::Local).await;
        {
            // The first poll only begins to dial.
            let mut call = pin!(rig.client.run(1, Plan::Return, &[]));
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        settle().await;
        assert_eq!(rig.lab.runs(1), 0);
        assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
    });
}

/// Conformance 24: cancel_before_send, while it waits for its turn
#[test]
fn a_call_that_is_dropped_in_the_queue_is_never_sent() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_in_flight = 64;
        let rig = Rig::limited(limits).await;
        let calls: Vec<_> = (0..64).map(|_| tokio::spawn(rig.client.wait(1).owned())).collect();
        rig.lab.until_live(64).await;
        let queued: Vec<_> = (0..100).map(|id| tokio::spawn(rig.client.run(id, Plan::Return, &[]).owned())).collect();
        settle().await;
        for call in queued.iter().step_by(2) {
            call.abort();
        }
        settle().await;
        rig.lab.open(1);
        for call in calls {
            call.await.unwrap().unwrap();
        }
        for (id, call) in queued.into_iter().enumerate() {
            let ended = call.await;
            assert_eq!(ended.is_ok(), id % 2 == 1);
            assert_eq!(rig.lab.runs(id as u64), id as u32 % 2);
        }
    });
}

/// Conformance 24: cancel_after_send
#[test]
fn a_cancelled_handler_is_dropped_at_once_and_its_place_is_free() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_in_flight = 64;
        let rig = Rig::limited(limits).await;
        rig.client.nothing().await.unwrap();
        let begun = Instant::now();
        // Ten times as many as there are places.
        for round in 1..=10 {
            let calls: Vec<_> = (0..64).map(|_| tokio::spawn(rig.client.wait(1).owned())).collect();
            rig.lab.until_live(64).await;
            for call in calls {
                call.abort();
            }
            rig.lab.until_live(0).await;
            assert!(begun.elapsed() <= round * Duration::from_millis(50), "{:?}", begun.elapsed());
        }
        assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
    });
}

/// Conformance 24: a late reply is ignored, and its id is not used while it is on its way
#[test]
fn the_reply_of_a_cancelled_call_reaches_nobody_else() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        rig.client.nothing().await.unwrap();
        for n in 0..1000u32 {
            {
                let mut call = pin!(rig.client.add(n, 1_000_000));
                assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            // Sent, not yet answered, dropped; the next call follows at once.
            assert_eq!(rig.client.add(n, 1).await.unwrap(), n + 1);
        }
    });
}

/// Conformance 24: a cancelled upload
#[test]
fn a_large_call_that_is_dropped_half_sent_gives_its_room_back() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        rig.client.nothing().await.unwrap();
        let large = vec![0; 3 << 20];
        for _ in 0..20 {
            let call = tokio::spawn(rig.client.resize(0, &large, 1).owned());
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            call.abort();
            let _ = call.await;
        }
        let bytes = rpc_tests::lab::pattern(0, 4 << 20);
        assert_eq!(rig.client.resize(0, &bytes[..(4 << 20) - 64], 1).await.unwrap().0.len(), 1);
        assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
    });
}

#[test]
fn a_cancelled_caller_of_a_nested_call_cancels_both_handlers() {
    virtual_time(async {
        let (front, back) = (Rig::new(Kind::Memory).await, Rig::new(Kind::Memory).await);
        front.lab.next.set(back.client.clone()).unwrap();
        let call = tokio::spawn(front.client.relay_remaining(10_000).owned());
        front.lab.until_live(1).await;
        call.abort();
        front.lab.until_live(0).await;
        back.lab.until_live(0).await;
    });
}

/// Conformance 24: 10,000 calls, cancelled at random
#[test]
fn ten_thousand_calls_with_random_cancels_leave_nothing_behind() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_in_flight = 64;
        let rig = Rig::limited(limits).await;
        let mut rng = Rng::new(24);
        let (mut ended, mut cancelled) = (0, 0);
        for round in 0..100u64 {
            let mut calls = Vec::new();
            for n in 0..100u64 {
                let plan = match rng.below(6) {
                    0 => Plan::Return,
                    1 => Plan::Fail,
                    2 => Plan::Sleep(rng.below(20)),
                    3 => Plan::Yield(rng.below(5) as u32),
                    4 => Plan::Reply(100_000),
                    _ => Plan::Panic,
                };
                let padding = vec![0; if rng.once_in(20) { 100_000 } else { 10 }];
                let id = round * 100 + n;
                calls.push((id, tokio::spawn(rig.client.run(id, plan, &padding).owned())));
                // Some are cancelled before their first poll, some in the queue, some on their way, some at work.
                match rng.below(8) {
                    0..4 => calls[rng.below(calls.len() as u64) as usize].1.abort(),
                    4 => tokio::task::yield_now().await,
                    5 => tokio::time::sleep(Duration::from_millis(rng.below(3))).await,
                    _ => {}
                }
            }
            for (id, call) in calls {
                match call.await {
                    Ok(Err(error)) if error.kind() == ErrorKind::Service => assert_eq!(rig.lab.runs(id), 1),
                    Ok(Err(error)) => {
                        assert_eq!((error.kind(), error.executed(), rig.lab.runs(id)), (ErrorKind::Internal, Executed::Yes, 1), "{error}")
                    }
                    Ok(Ok(_)) => {
                        ended += 1;
                        assert_eq!(rig.lab.runs(id), 1);
                    }
                    Err(_) => {
                        cancelled += 1;
                        assert!(rig.lab.runs(id) <= 1);
                    }
                }
            }
        }
        rig.lab.until_live(0).await;
        // All 64 places can be taken again, and no more than these.
        let mut calls: Vec<_> = (0..65).map(|_| tokio::spawn(rig.client.wait(1).owned())).collect();
        rig.lab.until_live(64).await;
        settle().await;
        assert_eq!(rig.lab.live(), 64);
        rig.lab.open(1);
        for call in calls.drain(..) {
            call.await.unwrap().unwrap();
        }
        // And all the room of large ones.
        let bytes = rpc_tests::lab::pattern(3, 4_000_000);
        rig.client.resize(3, &bytes, 4_000_000).await.unwrap();
        rpc_tests::report!("{{\"suite\":\"random cancels\",\"calls\":10000,\"answered\":{ended},\"cancelled\":{cancelled}}}");
        assert!(ended > 1000 && cancelled > 1000);
    });
}

/// Answers that came long before their callers look, or go: what the connection has given back meanwhile is not theirs.
#[test]
fn answers_wait_while_their_connection_gives_back_what_it_does_not_need() {
    for looks in [false, true] {
        virtual_time(async {
            let rig = Rig::new(Kind::Memory).await;
            let flows = flows(&rig);
            // Both services are bound by then.
            rig.client.nothing().await.unwrap();
            flows.count(0, 1).await.unwrap().next().await.unwrap().unwrap();
            let mut context = Context::from_waker(Waker::noop());
            let mut sums: Vec<_> = (0..50).map(|n| Box::pin(rig.client.add(n, 1))).collect();
            let mut counts: Vec<_> = (0..50).map(|n| Box::pin(flows.count(n, n + 1))).collect();
            for n in 0..50 {
                assert!(sums[n].as_mut().poll(&mut context).is_pending());
                assert!(counts[n].as_mut().poll(&mut context).is_pending());
            }
            // Several times as long as it takes until nothing has come for a while.
            tokio::time::sleep(Duration::from_secs(100)).await;
            assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
            if looks {
                for (n, sum) in sums.drain(..).enumerate() {
                    assert_eq!(sum.await.unwrap(), n as u32 + 1);
                }
                for (n, count) in counts.drain(..).enumerate() {
                    assert_eq!(count.await.unwrap().next().await.unwrap().unwrap(), n as u64);
                }
            }
            drop((sums, counts));
            assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
        });
    }
}
