//! What a service's methods cost that nobody calls: a call to the last one, and connecting with a first call, against how many there
//! are. Over memory, one call at a time.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rpc::{Limits, Server};
use rpc_benches::wide::{Wide, calls_in_turn};
use rpc_benches::{Over, many_services, runtime, serve};

const METHODS: [usize; 4] = [1, 10, 100, 500];

fn call(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("methods/call");
    for methods in METHODS {
        let (runtime, service) = (runtime(), Wide::new("Wide", methods));
        let client = many_services(&runtime, vec![service]);
        let last = [(service, methods - 1)];
        group.bench_function(BenchmarkId::from_parameter(methods), |bencher| {
            bencher.iter_custom(|calls| calls_in_turn(&runtime, &client, &last, calls))
        });
    }
    group.finish();
}

fn connect(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("methods/connect_and_call");
    for methods in METHODS {
        let (runtime, service) = (runtime(), Wide::new("Wide", methods));
        let place = runtime.block_on(serve(Over::Memory, Server::new().add(service))).expect("a server");
        group.bench_function(BenchmarkId::from_parameter(methods), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let client = place.connect(Limits::default()).await.expect("a client");
                    service.call(&client, methods - 1, 1).await.expect("the call succeeds")
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, call, connect);
criterion_main!(benches);
