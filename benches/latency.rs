//! How long a lone call takes: one connection, one call in flight, nothing else to do.
//!
//! Over TCP on an idle machine most of this is the time that a sleeping core takes to wake.

use criterion::{Criterion, criterion_group, criterion_main};
use rpc_benches::{Over, Rig};

fn lone_call(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("latency/lone_call");
    for over in Over::ALL {
        let rig = Rig::new(over, 1);
        group.bench_function(over.name(), |bencher| bencher.iter_custom(|calls| rig.one_by_one(calls)));
    }
    group.finish();
}

criterion_group!(benches, lone_call);
criterion_main!(benches);
