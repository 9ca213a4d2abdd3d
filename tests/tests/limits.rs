//! Limits: `docs/limits.md` says what `Limits::default()` is, field by field; and extreme ones work.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use rpc::{Client, ErrorKind, Executed, Limits};
use rpc_tests::{Kind, Rig, virtual_time};

/// `4 MiB`, `1,024` and `10 s` as `Debug` writes the field.
fn value(text: &str) -> String {
    match text.split_once(' ') {
        Some((number, "KiB")) => (number.parse::<usize>().unwrap() << 10).to_string(),
        Some((number, "MiB")) => (number.parse::<usize>().unwrap() << 20).to_string(),
        Some((number, unit)) => format!("{number}{unit}"),
        None => text.replace(',', ""),
    }
}

#[test]
fn the_document_and_the_defaults_agree() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md")).unwrap();
    let documented: BTreeMap<String, String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter(|(name, _)| *name != "Limits")
        .map(|(name, rest)| (name.to_owned(), value(rest.split_once(" |").unwrap().0)))
        .collect();
    let limits = format!("{:?}", Limits::default());
    let fields = limits.strip_prefix("Limits { ").and_then(|fields| fields.strip_suffix(" }")).unwrap();
    let defaults: BTreeMap<String, String> =
        fields.split(", ").map(|field| field.split_once(": ").unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(documented, defaults);
}

fn all(size: usize, time: Duration) -> Limits {
    let mut limits = Limits::default();
    let sizes = [
        &mut limits.max_message,
        &mut limits.max_in_flight,
        &mut limits.max_call_bytes,
        &mut limits.max_assembly,
        &mut limits.max_streams,
        &mut limits.max_stream_bytes,
        &mut limits.max_metadata,
        &mut limits.max_binds,
        &mut limits.max_decoded,
        &mut limits.max_connections,
        &mut limits.max_handlers,
    ];
    sizes.into_iter().for_each(|limit| *limit = size);
    let times = [
        &mut limits.handshake_timeout,
        &mut limits.progress_timeout,
        &mut limits.write_timeout,
        &mut limits.keepalive_interval,
        &mut limits.keepalive_timeout,
        &mut limits.connect_timeout,
        &mut limits.drain_grace,
    ];
    times.into_iter().for_each(|limit| *limit = time);
    limits
}

#[test]
fn the_largest_limits_are_none() {
    virtual_time(async {
        let limits = all(usize::MAX, Duration::MAX);
        let options = Client::options().limits(limits).timeout(Duration::MAX);
        for kind in [Kind::Memory, Kind::Over] {
            let mut rig = Rig::with(kind, |server| server.limits(limits), options.clone()).await;
            assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
            let large = rpc_tests::lab::pattern(1, 20 << 20);
            assert_eq!(rig.client.resize(1, &large, 6 << 20).await.unwrap().0, rpc_tests::lab::pattern(2, 6 << 20));
            assert_eq!(rig.client.metadata("key").metadata("key", "x".repeat(30_000)).await.unwrap().unwrap().len(), 30_000);
            let pending = tokio::spawn(rig.client.wait(1).owned());
            rig.lab.until_live(1).await;
            tokio::time::sleep(Duration::from_secs(1 << 20)).await;
            rig.lab.open(1);
            assert_eq!(pending.await.unwrap().unwrap(), 1);
            rig.client.close().await;
            if kind == Kind::Memory {
                rig.stop();
            }
            rig.ended().await;
        }
    });
}

#[test]
fn what_does_not_fit_a_frame_is_refused_and_the_connection_lives_on() {
    virtual_time(async {
        for limits in [Limits::default(), all(usize::MAX, Duration::MAX)] {
            let rig = Rig::limited(limits).await;
            let client: &Client = &rig.client;
            let begun = rig.lab.begun();
            for _ in 0..2 {
                let error = client.call::<u32>(&"x".repeat(70_000), ()).await.unwrap_err();
                assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
                let error = client.call::<u32>(&"x".repeat(513), ()).await.unwrap_err();
                assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
                let pairs = (0..40_000).fold(rig.client.wait(0), |call, _| call.metadata("", ""));
                let error = pairs.await.unwrap_err();
                assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::No), "{error}");
                assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
                assert_eq!(client.call::<u64>("double", (4,)).await.unwrap(), 8);
            }
            assert_eq!(rig.lab.begun(), begun);
        }
    });
}
