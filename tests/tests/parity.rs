//! Conformance 10: unix/tcp/in-memory parity. Every behaviour below is one test for each transport, and the outcomes are the
//! same.

use std::collections::BTreeMap;
use std::sync::Arc;

use rpc::{CallError, ErrorKind, Executed, Named};
use rpc_tests::lab::pattern;
use rpc_tests::{Blob, Kind, LabError, Rig, over};
use serde::Serialize;

macro_rules! over_every_transport {
    ($($case:ident)*) => {
        over!(tcp Tcp "current_thread" $($case)*);
        over!(tcp_on_two_threads Tcp "multi_thread" $($case)*);
        over!(tcp6 Tcp6 "current_thread" $($case)*);
        over!(unix Unix "current_thread" $($case)*);
        over!(memory Memory "current_thread" $($case)*);
        over!(memory_on_two_threads Memory "multi_thread" $($case)*);
        over!(any_stream Over "current_thread" $($case)*);
        over!(local Local "current_thread" $($case)*);
    };
}

over_every_transport! {
    an_empty_call_is_small
    a_large_call_arrives_whole
    a_thousand_large_calls_at_once
    fast_calls_overtake_a_slow_one
    an_unknown_method_is_named
    an_unknown_service_is_named
    metadata_arrives_as_it_was_sent
    too_much_metadata_is_refused_at_the_caller
    a_notification_is_not_answered
    a_panicking_notification_harms_nobody
    a_trait_method_is_called_by_name
    a_run_time_method_is_called_by_name
    wrong_arguments_by_name_are_malformed
    a_typed_error_keeps_every_character
    a_panic_is_internal_and_says_nothing
    dropping_a_call_drops_its_handler
    ten_thousand_calls
}

// What only moves bytes is the same inside TLS. Cases that count bytes stay outside.
over! { tls Tls "current_thread"
    a_large_call_arrives_whole
    fast_calls_overtake_a_slow_one
    an_unknown_method_is_named
    metadata_arrives_as_it_was_sent
    a_run_time_method_is_called_by_name
    a_typed_error_keeps_every_character
    a_panic_is_internal_and_says_nothing
    dropping_a_call_drops_its_handler
    ten_thousand_calls
}
over! { tls_on_two_threads Tls "multi_thread"
    a_large_call_arrives_whole
    a_thousand_large_calls_at_once
    dropping_a_call_drops_its_handler
    ten_thousand_calls
}

/// Conformance 1: empty_call
async fn an_empty_call_is_small(kind: Kind) {
    let rig = Rig::new(kind).await;
    rig.client.nothing().await.unwrap();

    let rig = Rig::counted(kind).await;
    let counts = rig.counts.unwrap();
    rig.client.nothing().await.unwrap();
    let first = counts.now();
    let mut last = first;
    for _ in 0..100 {
        rig.client.nothing().await.unwrap();
        let now = counts.now();
        let moved = now - last;
        last = now;
        assert!(moved.written_bytes <= 32, "an empty call of {} bytes", moved.written_bytes);
        assert!(moved.read_bytes <= 32, "an empty reply of {} bytes", moved.read_bytes);
    }
    assert_eq!((last - first).writes, 100, "one write a call");
}

/// Conformance 2: large_call
async fn a_large_call_arrives_whole(kind: Kind) {
    let rig = Rig::new(kind).await;
    let request = pattern(1, 271_828);
    let reply = rig.client.resize(1, &request, 314_159).await.unwrap();
    assert!(reply.0 == pattern(2, 314_159));
}

/// Conformance 3: parallel_1000_large
async fn a_thousand_large_calls_at_once(kind: Kind) {
    let rig = Rig::new(kind).await;
    let request: Vec<_> = (0..8).map(|seed| pattern(seed, 271_828)).collect();
    let expected: Vec<_> = (0..8).map(|seed| Blob(pattern(seed + 1, 314_159))).collect();
    let shared = Arc::new((request, expected));
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..1000 {
        let (client, shared) = (rig.client.clone(), shared.clone());
        calls.spawn(async move {
            let seed = call % 8;
            let reply = client.resize(seed as u64, &shared.0[seed], 314_159).timeout(std::time::Duration::from_secs(600)).await.unwrap();
            assert!(reply == shared.1[seed], "the reply of another call");
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
}

/// Conformance 4: out_of_order
async fn fast_calls_overtake_a_slow_one(kind: Kind) {
    let rig = Rig::new(kind).await;
    let slow = tokio::spawn(rig.client.wait(1).owned());
    rig.lab.until_live(1).await;
    for n in 0..100 {
        assert_eq!(rig.client.add(n, 1).await.unwrap(), n + 1);
    }
    assert!(!slow.is_finished());
    rig.lab.open(1);
    assert_eq!(slow.await.unwrap().unwrap(), 1);
}

/// Conformance 6: unknown_method
async fn an_unknown_method_is_named(kind: Kind) {
    let rig = Rig::new(kind).await;
    // The second is refused by what the client has learnt of the first.
    for _ in 0..2 {
        let error = rig.client.call::<u32>("Lab.nonsense", (1,)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No));
        assert!(error.to_string().contains("Lab.nonsense"), "{error}");
    }
    assert_eq!(rig.client.add(1, 1).await.unwrap(), 2);
}

#[rpc::service]
trait Elsewhere {
    async fn nowhere(&self) -> u32;
}

/// Conformance 6: unknown_service
async fn an_unknown_service_is_named(kind: Kind) {
    let rig = Rig::new(kind).await;
    let elsewhere = ElsewhereClient::from((*rig.client).clone());
    for _ in 0..2 {
        let error = elsewhere.nowhere().await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No));
        assert!(error.to_string().contains("Elsewhere"), "{error}");
    }
    assert_eq!(rig.client.add(1, 1).await.unwrap(), 2);
}

/// Conformance 7: metadata_round_trip
async fn metadata_arrives_as_it_was_sent(kind: Kind) {
    let rig = Rig::new(kind).await;
    let pairs = [("tenant", "a"), ("empty", ""), ("schlüssel", "grüße, 世界 🦀"), ("lines", "one\r\ntwo\ttabs\0nul"), ("", "no key")];
    for (key, value) in pairs {
        let mut call = rig.client.metadata(key);
        for (key, value) in pairs {
            call = call.metadata(key, value);
        }
        assert_eq!(call.await.unwrap().as_deref(), Some(value), "{key}");
    }
    // Unknown keys are ignored, by methods that look at none and by those that look for others.
    assert_eq!(rig.client.add(1, 2).metadata("unheard of", "x").await.unwrap(), 3);
    assert_eq!(rig.client.metadata("absent").metadata("unheard of", "x").await.unwrap(), None);
    assert_eq!(rig.client.metadata("absent").await.unwrap(), None);
    let twice = rig.client.metadata("key").metadata("key", "first").metadata("key", "last").await.unwrap();
    assert_eq!(twice.as_deref(), Some("last"));
    let by_name: Option<String> = rig.client.call("Lab.metadata", ("key",)).metadata("key", "by name").await.unwrap();
    assert_eq!(by_name.as_deref(), Some("by name"));
}

/// Conformance 7: metadata_round_trip, the limit
async fn too_much_metadata_is_refused_at_the_caller(kind: Kind) {
    let rig = Rig::new(kind).await;
    let error = rig.client.metadata("key").metadata("key", "x".repeat(9000)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::No));
    assert!(error.to_string().contains("Limits::max_metadata"), "{error}");
    assert!(error.to_string().contains("Lab.metadata"), "{error}");
    let just_fits = rig.client.metadata("key").metadata("key", "x".repeat(8000)).await.unwrap();
    assert_eq!(just_fits.unwrap().len(), 8000);
}

/// Conformance 8: one_way
async fn a_notification_is_not_answered(kind: Kind) {
    let rig = Rig::counted(kind).await;
    rig.client.nothing().await.unwrap();
    let before = rig.counts.as_ref().unwrap().now();
    for n in 0..2000 {
        rig.client.note(format!("{n}")).await.unwrap();
    }
    rig.lab.until_notes(2000).await;
    // Each once.
    let mut notes: Vec<u32> = rig.lab.notes().iter().map(|note| note.parse().unwrap()).collect();
    notes.sort_unstable();
    assert_eq!(notes, (0..2000).collect::<Vec<_>>());
    rig.client.nothing().await.unwrap();
    let moved = rig.counts.as_ref().unwrap().now() - before;
    assert!(moved.read_bytes <= 32, "only one call was answered, with {} bytes", moved.read_bytes);
    // No notification holds a slot of the caller, running or not.
    for key in 1..=100 {
        rig.client.note_waits(key).await.unwrap();
    }
    rig.lab.until_live(100).await;
    assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
    rig.lab.open(100);
    rig.lab.until_live(0).await;
}

/// Conformance 8: one_way, a panic
async fn a_panicking_notification_harms_nobody(kind: Kind) {
    let rig = Rig::new(kind).await;
    for _ in 0..100 {
        rig.client.note_panics().await.unwrap();
    }
    rig.lab.until_begun(100).await;
    rig.lab.until_live(0).await;
    assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
}

/// Conformance 9: dynamic_call_by_name, of a trait
async fn a_trait_method_is_called_by_name(kind: Kind) {
    let rig = Rig::new(kind).await;
    let sum: u32 = rig.client.call("Lab.add", (4, 5)).await.unwrap();
    assert_eq!(sum, 9);
    let upper: String = rig.client.call("Lab.upper", ("grüße",)).await.unwrap();
    assert_eq!(upper, "GRÜSSE");
    let () = rig.client.call("Lab.nothing", ()).await.unwrap();

    #[derive(Serialize)]
    struct Sum {
        b: u32,
        a: u32,
    }
    let sum: u32 = rig.client.call("Lab.add", Named(Sum { a: 4, b: 5 })).await.unwrap();
    assert_eq!(sum, 9);
    let sum: u32 = rig.client.call("Lab.add", Named(BTreeMap::from([("a", 1), ("b", 2)]))).await.unwrap();
    assert_eq!(sum, 3);

    let wanted = LabError::Text("no\t\"quotes\"\r\n🦀".into());
    let error = rig.client.call::<u32>("Lab.fail", (&wanted,)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Service, Executed::Yes));
    assert_eq!(error.service::<LabError>(), Some(wanted));
    assert_eq!(error.service::<Vec<u8>>(), None);
}

/// Conformance 9: dynamic_call_by_name, registered at run time
async fn a_run_time_method_is_called_by_name(kind: Kind) {
    let rig = Rig::new(kind).await;
    // `local` serves one service and nothing else.
    let doubled = rig.client.call::<u64>("double", (21u64,)).await;
    match kind {
        Kind::Local => assert_eq!(doubled.unwrap_err().kind(), ErrorKind::Unimplemented),
        _ => assert_eq!(doubled.unwrap(), 42),
    }
}

/// Conformance 9: dynamic_call_by_name, wrong arity and types
async fn wrong_arguments_by_name_are_malformed(kind: Kind) {
    let rig = Rig::new(kind).await;
    let errors = [
        rig.client.call::<u32>("Lab.add", ()).await.unwrap_err(),
        rig.client.call::<u32>("Lab.add", (1,)).await.unwrap_err(),
        rig.client.call::<u32>("Lab.add", (1, 2, 3)).await.unwrap_err(),
        rig.client.call::<u32>("Lab.add", (1, "two")).await.unwrap_err(),
        rig.client.call::<u32>("Lab.add", (1, -2)).await.unwrap_err(),
        rig.client.call::<u32>("Lab.add", (1, 2.5)).await.unwrap_err(),
        rig.client.call::<u32>("Lab.add", (1, u64::MAX)).await.unwrap_err(),
        rig.client.call::<u32>("Lab.add", Named(BTreeMap::from([("a", 1)]))).await.unwrap_err(),
        rig.client.call::<u32>("Lab.add", Named(BTreeMap::from([("a", 1), ("c", 2)]))).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::No), "{error}");
        assert!(error.to_string().contains("add"), "{error}");
    }
    // A result of another type: the method ran.
    let error = rig.client.call::<String>("Lab.add", (1, 2)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::Yes), "{error}");
    assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
}

/// Conformance 28: typed_error
async fn a_typed_error_keeps_every_character(kind: Kind) {
    let rig = Rig::new(kind).await;
    let errors = [
        LabError::Plain,
        LabError::Text("tab\t CRLF\r\n nul\0 emoji 🦀👩‍👩‍👧 combining e\u{301} right-to-left \u{202e}abc".into()),
        LabError::Text(String::new()),
        LabError::Text("x".repeat(200_000)),
        LabError::Fields { code: i32::MIN, causes: vec!["disk full\r\n".into(), "errno 28\t".into()] },
    ];
    for error in errors {
        match rig.client.fail(error.clone()).await {
            Err(CallError::Service(came)) => assert!(came == error),
            other => panic!("{other:?} instead of the method's own error"),
        }
    }
    let error = rig.client.fail(LabError::Plain).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Service, Executed::Yes));
    assert_eq!(error.service(), Some(&LabError::Plain));
    assert_eq!(error.to_string(), "plain");
    assert_eq!(error.into_service().unwrap(), LabError::Plain);
}

/// Conformance 29: panic_in_handler
async fn a_panic_is_internal_and_says_nothing(kind: Kind) {
    let rig = Rig::new(kind).await;
    let other = tokio::spawn(rig.client.wait(1).owned());
    rig.lab.until_live(1).await;
    let errors = [
        rig.client.panics("password 1234".into()).await.unwrap_err(),
        rig.client.panics_later().await.unwrap_err(),
        rig.client.blocking_panics().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes));
        let text = format!("{error} {error:?}");
        assert!(!text.contains("1234") && !text.contains(rpc_tests::ON_PURPOSE), "{text}");
    }
    assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
    rig.lab.open(1);
    assert_eq!(other.await.unwrap().unwrap(), 1);
}

/// Conformance 24: cancel_after_send
async fn dropping_a_call_drops_its_handler(kind: Kind) {
    let rig = Rig::new(kind).await;
    let call = tokio::spawn(rig.client.wait(1).owned());
    rig.lab.until_live(1).await;
    call.abort();
    rig.lab.until_live(0).await;
    assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
}

/// Small calls of all shapes from many tasks: each gets its own reply.
async fn ten_thousand_calls(kind: Kind) {
    let rig = Rig::new(kind).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..100u32 {
        let client = rig.client.clone();
        tasks.spawn(async move {
            for n in 0..25 {
                assert_eq!(client.add(task, n).await.unwrap(), task + n);
                assert_eq!(client.upper(&format!("a{task}b{n}")).await.unwrap(), format!("A{task}B{n}"));
                assert_eq!(client.yields(n % 3).await.unwrap(), n % 3);
                let error = LabError::Fields { code: task as i32, causes: vec![n.to_string()] };
                assert_eq!(client.fail(error.clone()).await.unwrap_err().into_service().unwrap(), error);
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(rig.lab.live(), 0);
}
