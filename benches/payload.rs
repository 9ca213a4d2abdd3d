//! How long a call takes against the bytes that go there and come back, one call at a time.

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use rpc::Limits;
use rpc_benches::{Over, Rig, points};

const SIZES: [usize; 9] = [0, 64, 1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];

fn payload(criterion: &mut Criterion) {
    let largest = SIZES[SIZES.len() - 1];
    let mut limits = Limits::default();
    limits.max_message = largest + 1024;
    limits.max_assembly = 2 * largest;
    limits.max_decoded = 2 * largest;
    let mut group = criterion.benchmark_group("payload");
    for over in Over::ALL {
        let rig = Rig::with(over, 1, limits);
        for &size in points(&SIZES, 8) {
            if size >= 1 << 20 {
                // Few calls a sample, as many in each, or the slowest point would take minutes.
                group.sampling_mode(SamplingMode::Flat).sample_size(20);
            }
            // What a call without payload moves are no bytes a second.
            group.throughput(if size == 0 { Throughput::Elements(1) } else { Throughput::Bytes(size as u64) });
            group.bench_function(BenchmarkId::new(over.name(), size), |bencher| bencher.iter_custom(|calls| rig.echo(calls, size)));
        }
        group.sampling_mode(SamplingMode::Auto).sample_size(100);
    }
    group.finish();
}

criterion_group!(benches, payload);
criterion_main!(benches);
