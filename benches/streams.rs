//! Items a second, and bytes a second, of one stream: server and client in one process, on two threads.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rpc_benches::{Over, Rig};

/// Bytes of an item: a small event, a record, a piece of a file.
const SIZES: [usize; 3] = [16, 450, 64 << 10];

fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("streams");
    for over in Over::ALL {
        let rig = Rig::new(over, 1);
        for size in SIZES {
            group.throughput(if size < 1024 { Throughput::Elements(1) } else { Throughput::Bytes(size as u64) });
            group.bench_function(format!("{}/download_{size}_bytes", over.name()), |bencher| bencher.iter_custom(|items| rig.download(items, size)));
            group.bench_function(format!("{}/upload_{size}_bytes", over.name()), |bencher| bencher.iter_custom(|items| rig.upload(items, size)));
        }
    }
    group.finish();
}

criterion_group!(benches, streams);
criterion_main!(benches);
