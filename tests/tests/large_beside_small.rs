//! Small calls beside a large message on the same connection: they are not to wait for more of it than the way holds.
//!
//! Over a way in memory of known speed, in virtual time: exact, and the same on every machine.

use std::time::Duration;

use rpc::{Client, Limits};
use rpc_tests::fault::{self, Plan};
use rpc_tests::lab::pattern;
use rpc_tests::rig::server;
use rpc_tests::{LabClient, TestLab, virtual_time};
use tokio::task::JoinSet;
use tokio::time::Instant;

const LARGE: usize = 64 << 20;

/// 100 Mbit/s, 20 ms there and back, and sockets that hold a third of a second of it.
fn way() -> Plan {
    Plan { piece: 16 << 10, capacity: 4 << 20, rate: 12_500_000, latency: Duration::from_millis(10), ..Plan::default() }
}

fn connected() -> LabClient {
    let mut limits = Limits::default();
    limits.max_message = LARGE + 1024;
    limits.max_assembly = 2 * LARGE;
    limits.max_decoded = 2 * LARGE;
    let lab = TestLab::new();
    let (near, far, _) = fault::wire(way(), way(), 4);
    tokio::spawn(server(&lab).limits(limits).serve_connection(far));
    Client::options().limits(limits).over(near).into()
}

/// A call every 10 ms for so many times: how long each took, in order of that.
async fn small_calls(client: &LabClient, count: usize) -> Vec<Duration> {
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let client = client.clone();
        calls.spawn(async move {
            let began = Instant::now();
            client.add(1, 2).await.unwrap();
            began.elapsed()
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut took = calls.join_all().await;
    took.sort_unstable();
    took
}

fn p99(took: &[Duration]) -> Duration {
    took[(took.len() - 1) * 99 / 100]
}

/// `argument` and `result` are the lengths of one call's; 400 small ones are made meanwhile.
fn beside(argument: usize, result: usize) {
    virtual_time(async {
        let client = connected();
        client.nothing().await.unwrap();
        let idle = p99(&small_calls(&client, 200).await);
        let request = pattern(1, argument);
        let large = tokio::spawn({
            let client = client.clone();
            async move {
                let began = Instant::now();
                let reply = client.resize(1, &request, result as u32).timeout(Duration::from_secs(600)).await.unwrap();
                (began.elapsed(), reply.0.len())
            }
        });
        let busy = small_calls(&client, 400).await;
        assert!(!large.is_finished(), "the small ones were all made beside it");
        let (took, length) = large.await.unwrap();
        assert_eq!(length, result);
        let alone = Duration::from_secs_f64(argument.max(result) as f64 / way().rate as f64);
        let (beside, worst) = (p99(&busy), busy[busy.len() - 1]);
        rpc_tests::report!(
            "{{\"suite\":\"large_beside_small\",\"up\":{argument},\"down\":{result},\"idle_p99_ms\":{},\"p99_ms\":{},\"worst_ms\":{},\"share_of_the_way\":{:.2}}}",
            idle.as_millis(),
            beside.as_millis(),
            worst.as_millis(),
            alone.as_secs_f64() / took.as_secs_f64(),
        );
        assert!(beside <= 3 * idle, "p99 of {beside:?}, {idle:?} when nothing else goes on");
        assert!(took <= alone.mul_f64(1.25), "{took:?} for what takes {alone:?} by itself");
    });
}

#[test]
fn a_large_argument_leaves_room_for_small_calls() {
    beside(LARGE, 10);
}

#[test]
fn a_large_result_leaves_room_for_small_calls() {
    beside(10, LARGE);
}
