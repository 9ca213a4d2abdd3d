//! What a call costs on the wire: bytes of framing, and writes and reads of the transport, which over a socket are system
//! calls. One thread, memory between the ends: the figures are the same on every machine.

use std::sync::Arc;

use rpc::Client;
use rpc::transport::Transport;
use rpc_tests::count::{Counts, counted};
use rpc_tests::{FlowsClient, LabClient, TestLab, rig};

async fn world() -> (LabClient, Arc<Counts>, Arc<Counts>) {
    let (near, far) = tokio::io::duplex(256 << 10);
    let (read, write) = tokio::io::split(near);
    let (near, client_counts) = counted(read, write, "near");
    let (read, write) = tokio::io::split(far);
    let (far, server_counts) = counted(read, write, "far");
    let lab = TestLab::new();
    tokio::spawn(rig::server(&lab).serve_connection(far));
    let client: LabClient = Client::options().over(near).into();
    client.nothing().await.unwrap();
    (client, client_counts, server_counts)
}

/// Conformance 1: at most 8 bytes of framing each way
#[tokio::test]
async fn a_small_call_adds_at_most_eight_bytes_each_way() {
    let (client, counts, _) = world().await;
    for (n, payload) in [(0, 2), (127, 2), (128, 3), (1 << 20, 4)] {
        for _ in 0..3 {
            let before = counts.now();
            assert_eq!(client.add(n, 1).await.unwrap(), n + 1);
            let moved = counts.now() - before;
            assert!(moved.written_bytes - payload <= 8, "{} bytes around {payload}", moved.written_bytes - payload);
            assert!(moved.read_bytes - (payload - 1) <= 8, "{} bytes around {}", moved.read_bytes - (payload - 1), payload - 1);
            rpc_tests::report!(
                "{{\"suite\":\"wire costs\",\"payload\":{payload},\"call_bytes\":{},\"reply_bytes\":{}}}",
                moved.written_bytes,
                moved.read_bytes
            );
        }
    }
}

async fn writes_of(tasks: u32, calls: u32, client: &LabClient, counts: [&Counts; 2]) -> [f64; 2] {
    let before = counts.map(Counts::now);
    let mut running = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let client = client.clone();
        running.spawn(async move {
            for n in 0..calls {
                assert_eq!(client.add(task, n).await.unwrap(), task + n);
            }
        });
    }
    while let Some(task) = running.join_next().await {
        task.unwrap();
    }
    [0, 1].map(|end| {
        let moved = counts[end].now() - before[end];
        let calls = f64::from(tasks * calls);
        rpc_tests::report!(
            "{{\"suite\":\"wire costs\",\"in_flight\":{tasks},\"end\":{end},\"writes_per_call\":{:.4},\"reads_per_call\":{:.4}}}",
            moved.writes as f64 / calls,
            moved.reads as f64 / calls
        );
        moved.writes as f64 / calls
    })
}

#[tokio::test]
async fn sixty_four_calls_in_flight_share_their_writes() {
    let (client, near, far) = world().await;
    let writes = writes_of(64, 200, &client, [&near, &far]).await;
    assert!(writes[0] <= 1.0 / 16.0, "the client wrote {} times a call", writes[0]);
    assert!(writes[1] <= 1.0 / 16.0, "the server wrote {} times a call", writes[1]);
}

#[tokio::test]
async fn a_lone_call_is_one_write_each_way() {
    let (client, near, far) = world().await;
    let writes = writes_of(1, 200, &client, [&near, &far]).await;
    assert_eq!(writes, [1.0, 1.0]);
}

/// Calls that are issued together leave together, without a word from the user: the first finds itself alone and leaves at
/// once, the others with one write.
#[tokio::test]
async fn calls_issued_together_leave_together() {
    let (client, near, far) = world().await;
    for count in [2, 10, 64, 500] {
        let before = [&near, &far].map(|end| end.now());
        let sums = futures_util::future::try_join_all((0..count).map(|n| client.add(n, 1))).await.unwrap();
        assert!(sums.into_iter().eq(1..=count));
        let (client_end, server_end) = (near.now() - before[0], far.now() - before[1]);
        rpc_tests::report!(
            "{{\"suite\":\"wire costs\",\"together\":{count},\"writes\":{},\"reply_writes\":{}}}",
            client_end.writes,
            server_end.writes
        );
        assert!(client_end.writes <= 2, "{count} calls took {} writes", client_end.writes);
        assert!(server_end.writes <= 2, "{count} replies took {} writes", server_end.writes);
    }
}

/// The same for the items of a stream: many to a frame, and a frame to a write.
#[tokio::test]
async fn small_items_share_their_writes() {
    let (near, far) = tokio::io::duplex(256 << 10);
    let (read, write) = tokio::io::split(far);
    let (far, counts) = counted(read, write, "far");
    tokio::spawn(rig::server(&TestLab::new()).serve_connection(far));
    let flows: FlowsClient = Client::options().over(Transport::over(near, "near")).into();
    let before = counts.now();
    let mut items = flows.count(0, 100_000).await.unwrap();
    let mut next = 0;
    while let Some(item) = items.next().await {
        assert_eq!(item.unwrap(), next);
        next += 1;
    }
    assert_eq!(next, 100_000);
    let moved = counts.now() - before;
    rpc_tests::report!("{{\"suite\":\"wire costs\",\"items\":{next},\"writes\":{},\"bytes\":{}}}", moved.writes, moved.written_bytes);
    assert!(moved.writes <= 100, "{} writes for 100,000 items", moved.writes);
    // A length and three bytes each, but for the first few.
    assert!(moved.written_bytes < 400_000 + 1_000, "{} bytes for 100,000 items", moved.written_bytes);
}
