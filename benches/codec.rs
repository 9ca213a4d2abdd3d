//! The codec alone: an order of about 450 bytes and a small message, to bytes and back, beside plain postcard, which has no limits and
//! no budget for what a stranger sent.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rpc::__private::{decode, encode};
use rpc_benches::types::{Order, Small};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn codec<T: Serialize + DeserializeOwned + PartialEq>(criterion: &mut Criterion, name: &str, value: &T) {
    let mut bytes = Vec::new();
    encode(value, &mut bytes).expect("it can be encoded");
    assert!(decode::<T>(&bytes).expect("it can be decoded") == *value);
    assert!(postcard::from_bytes::<T>(&bytes).expect("it is postcard") == *value);

    let mut group = criterion.benchmark_group(format!("codec/encode_{name}"));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    let mut out = Vec::with_capacity(1024);
    group.bench_function("rpc", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode(black_box(value), &mut out)
        });
    });
    let mut out = [0; 1024];
    group.bench_function("postcard", |bencher| bencher.iter(|| postcard::to_slice(black_box(value), &mut out).map(|bytes| bytes.len())));
    group.finish();

    let mut group = criterion.benchmark_group(format!("codec/decode_{name}"));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    // Dropping what was decoded is timed by neither.
    group.bench_function("rpc", |bencher| bencher.iter_batched(|| (), |()| decode::<T>(black_box(&bytes)), BatchSize::SmallInput));
    group.bench_function("postcard", |bencher| bencher.iter_batched(|| (), |()| postcard::from_bytes::<T>(black_box(&bytes)), BatchSize::SmallInput));
    group.finish();
}

fn codecs(criterion: &mut Criterion) {
    codec(criterion, "order", &Order::sample(1));
    codec(criterion, "small", &Small::new(1));
}

criterion_group!(benches, codecs);
criterion_main!(benches);
