//! Calls that go to every service of a port in turn, on one connection, against how many services there are. Over memory, one call at
//! a time.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rpc_benches::wide::{Wide, calls_in_turn};
use rpc_benches::{many_services, runtime};

const SERVICES: [usize; 4] = [1, 10, 100, 500];

fn services(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("services");
    for count in SERVICES {
        let runtime = runtime();
        let services: Vec<Wide> = (0..count).map(|number| Wide::new(&format!("Service{number}"), 4)).collect();
        let client = many_services(&runtime, services.clone());
        let targets: Vec<(Wide, usize)> = services.into_iter().map(|service| (service, 3)).collect();
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_custom(|calls| calls_in_turn(&runtime, &client, &targets, calls))
        });
    }
    group.finish();
}

criterion_group!(benches, services);
criterion_main!(benches);
