//! Calls a second against calls in flight on one connection, and with one in flight how long a lone call takes. `elem/s` reads calls/s.
//!
//! Over TCP on an idle machine most of a lone call is the time that a sleeping core takes to wake.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rpc::Limits;
use rpc_benches::{Over, Rig};

const IN_FLIGHT: [u64; 5] = [1, 8, 64, 512, 4096];

fn in_flight(criterion: &mut Criterion) {
    let mut limits = Limits::default();
    // Else the callers beyond it would wait for each other.
    limits.max_in_flight = 4096;
    let mut group = criterion.benchmark_group("in_flight");
    group.throughput(Throughput::Elements(1));
    for over in Over::ALL {
        let rig = Rig::with(over, 1, limits);
        for in_flight in IN_FLIGHT {
            let id = BenchmarkId::new(over.name(), in_flight);
            group.bench_function(id, |bencher| bencher.iter_custom(|calls| rig.at_once(calls, in_flight)));
        }
    }
    group.finish();
}

criterion_group!(benches, in_flight);
criterion_main!(benches);
