//! Calls a second: server and clients in one process, on two threads. `elem/s` reads calls/s.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rpc_benches::{Over, Rig};

/// Connections, and calls in flight on each.
const LOADS: [(usize, u64); 3] = [(1, 1), (1, 64), (16, 32)];

fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("throughput");
    group.throughput(Throughput::Elements(1));
    for over in Over::ALL {
        for (connections, in_flight) in LOADS {
            let rig = Rig::new(over, connections);
            let name = format!("{}/{connections}_connections_{in_flight}_in_flight", over.name());
            group.bench_function(name, |bencher| bencher.iter_custom(|calls| rig.at_once(calls, in_flight)));
        }
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
