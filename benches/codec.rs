//! The codec alone: an order of about 450 bytes and a small message, to bytes and back, beside plain postcard, which has no limits and
//! no budget for what a stranger sent.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rpc::__private::{Writer, decode, encode};
use rpc_benches::orders::{self, v1, v2};
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

fn adapted<T: Serialize + DeserializeOwned + PartialEq>(criterion: &mut Criterion, name: &str, written: &v1::Order) {
    let (mut schema, mut old, mut own) = (Vec::new(), Vec::new(), Vec::new());
    encode(&orders::schema(), &mut schema).expect("it can be encoded");
    let writer = Writer::new(&schema, 0).expect("it is a schema");
    encode(written, &mut old).expect("it can be encoded");
    let value: T = writer.adapt(&old).expect("it adapts");
    encode(&value, &mut own).expect("it can be encoded");
    assert!(decode::<T>(&own).expect("it can be decoded") == value);

    // What was decoded is dropped in all of them, as users do.
    let mut group = criterion.benchmark_group(format!("codec/adapted_{name}"));
    group.throughput(Throughput::Bytes(old.len() as u64));
    group.bench_function("adapted", |bencher| bencher.iter(|| drop(black_box(writer.adapt::<T>(black_box(&old))))));
    group.bench_function("plain", |bencher| bencher.iter(|| drop(black_box(decode::<T>(black_box(&own))))));
    group.bench_function("postcard", |bencher| bencher.iter(|| drop(black_box(postcard::from_bytes::<T>(black_box(&own))))));
    group.finish();
}

fn codecs(criterion: &mut Criterion) {
    codec(criterion, "order", &Order::sample(1));
    codec(criterion, "small", &Small::new(1));
    adapted::<v1::Order>(criterion, "same", &orders::order());
    adapted::<v2::Order>(criterion, "changed", &orders::order());
}

criterion_group!(benches, codecs);
criterion_main!(benches);
