//! Calls a second against connections over loopback TCP: how many of them are busy, and how many idle ones there are beside
//! those. `elem/s` reads calls/s.
//!
//! A connection takes two file descriptors, as both ends are in this process. Where the limit is too low for a point of the curve, the
//! point has as many connections as there is room for, and that is printed.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rpc::Limits;
use rpc_benches::{Over, Rig, points};

/// Each with 32 calls in flight.
const BUSY: [usize; 4] = [1, 4, 16, 64];

/// Beside [`LOAD`] connections with 32 calls in flight each.
const IDLE: [usize; 6] = [0, 1, 10, 100, 1_000, 10_000];
const LOAD: usize = 16;
const IN_FLIGHT: u64 = 32;

/// For all else that this process has open.
const OTHER_FILES: u64 = 100;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_connections = 2 * IDLE[IDLE.len() - 1];
    limits
}

fn busy(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connections/busy");
    group.throughput(Throughput::Elements(1));
    for &connections in points(&BUSY, 3) {
        let rig = Rig::new(Over::Tcp, connections);
        group.bench_function(BenchmarkId::from_parameter(connections), |bencher| bencher.iter_custom(|calls| rig.at_once(calls, IN_FLIGHT)));
    }
    group.finish();
}

fn idle(criterion: &mut Criterion) {
    let wanted = 2 * (IDLE[IDLE.len() - 1] + LOAD) as u64 + OTHER_FILES;
    let files = rlimit::increase_nofile_limit(wanted).unwrap_or(256);
    let room = (files.saturating_sub(OTHER_FILES) / 2) as usize;
    let room = room.saturating_sub(LOAD);
    let rig = Rig::with(Over::Tcp, LOAD, limits());
    let mut group = criterion.benchmark_group("connections/idle");
    group.throughput(Throughput::Elements(1));
    let mut held = Vec::new();
    for &connections in points(&IDLE, 4) {
        let possible = connections.min(room);
        if possible < connections {
            println!("connections/idle: {connections} take more than the {files} file descriptors that this process may open: {possible} instead");
        }
        if connections > 0 && possible <= held.len() {
            continue;
        }
        held.extend(rig.idle(possible - held.len()).expect("so many connections"));
        group.bench_function(BenchmarkId::from_parameter(possible), |bencher| bencher.iter_custom(|calls| rig.at_once(calls, IN_FLIGHT)));
    }
    group.finish();
}

criterion_group!(benches, busy, idle);
criterion_main!(benches);
