//! What goes wrong inside a server, and what its callers hear of it.

use std::error::Error as _;

use rpc::transport::Transport;
use rpc::{Client, ErrorKind, Executed, Limits};
use rpc_tests::count::counted;
use rpc_tests::{Kind, LabClient, Rig, TestLab, rig, virtual_time};

/// Conformance 28: the source of an error of the transport is kept
#[test]
fn the_source_of_a_failure_is_kept_as_text() {
    virtual_time(async {
        let (near, far, wire) = rpc_tests::fault::wire(Default::default(), Default::default(), 1);
        let lab = TestLab::new();
        tokio::spawn(rig::server(&lab).serve_connection(far));
        let client: LabClient = Client::options().over(near).into();
        let call = tokio::spawn(client.wait(1).owned());
        lab.until_live(1).await;
        wire.fail(rpc_tests::fault::DOWN, rpc_tests::fault::Cut::Reset);
        let error = call.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::Maybe));
        assert!(error.to_string().starts_with("Lab.wait: "), "{error}");
        let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        assert!(error.to_string().contains("reset") || io.is_some(), "{error:?}");
    });
}

/// Conformance 29: 10,000 panics leak nothing
#[test]
fn ten_thousand_panics_leave_nothing_behind() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_in_flight = 64;
        let rig = Rig::limited(limits).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let client = rig.client.clone();
            tasks.spawn(async move {
                for n in 0..50u32 {
                    let at_once = client.panics("x".into()).await.unwrap_err();
                    let later = client.panics_later().await.unwrap_err();
                    for error in [at_once, later] {
                        assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes));
                    }
                    assert_eq!(client.add(n, 1).await.unwrap(), n + 1);
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        assert_eq!((rig.lab.live(), rig.lab.begun()), (0, 10_000));
        let calls: Vec<_> = (0..64).map(|_| tokio::spawn(rig.client.wait(1).owned())).collect();
        rig.lab.until_live(64).await;
        rig.lab.open(1);
        for call in calls {
            call.await.unwrap().unwrap();
        }
    });
}

/// Conformance 30: panic_in_Drop / in Serialize
#[test]
fn a_panic_anywhere_in_the_servers_code_is_internal() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        for _ in 0..20 {
            let errors = [
                rig.client.panics_writing().await.map(drop).unwrap_err(),
                rig.client.panics_writing_later().await.map(drop).unwrap_err(),
                rig.client.panics_dropping().await.map(drop).unwrap_err(),
                rig.client.panics_dropping_argument().await.map(drop).unwrap_err(),
                rig.client.call::<u32>("Lab.panics_writing", ()).await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes), "{error}");
                assert!(!error.to_string().contains(rpc_tests::ON_PURPOSE), "{error}");
            }
            assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
        }
    });
}

/// A number whose decoding panics if it is 13.
struct Unlucky;

impl<'de> serde::Deserialize<'de> for Unlucky {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        assert_ne!(u32::deserialize(deserializer)?, 13, "{}", rpc_tests::ON_PURPOSE);
        Ok(Self)
    }
}

/// Conformance 30: a panic while the arguments are read comes before the method: it has not run.
#[test]
fn a_panic_while_arguments_are_read_is_not_executed() {
    virtual_time(async {
        let change = |server: rpc::Server| {
            server.method("at_once", |_: Unlucky| async { 1 }).method("later", |_: Unlucky| async { panic!("{}", rpc_tests::ON_PURPOSE) as u32 })
        };
        let rig = Rig::with(Kind::Memory, change, rpc::Client::options()).await;
        let client: &rpc::Client = &rig.client;
        for _ in 0..3 {
            let error = client.call::<u32>("at_once", (13,)).await.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::No), "{error}");
            assert_eq!(client.call::<u32>("at_once", (12,)).await.unwrap(), 1);
            let error = client.call::<u32>("later", (12,)).await.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes), "{error}");
        }
    });
}

/// Conformance 30: panic_in_Drop, of a handler that is cancelled, times out, or loses its connection
#[test]
fn a_handler_that_panics_when_it_is_stopped_harms_nobody() {
    virtual_time(async {
        let mut rig = Rig::new(Kind::Memory).await;
        let call = tokio::spawn(rig.client.panics_when_stopped().owned());
        rig.lab.until_live(1).await;
        call.abort();
        rig.lab.until_live(0).await;
        assert!(rig.client.panics_when_stopped().timeout(std::time::Duration::from_millis(5)).await.unwrap_err().is_timeout());
        rig.lab.until_live(0).await;
        assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
        let call = tokio::spawn(rig.client.panics_when_stopped().owned());
        rig.lab.until_live(1).await;
        rig.crash().await;
        assert_eq!(call.await.unwrap().unwrap_err().executed(), Executed::Maybe);
        rig.lab.until_live(0).await;
    });
}

/// Conformance 30: a panic while the caller encodes is the caller's own, and its client lives on
#[test]
fn a_panic_while_arguments_are_written_leaves_the_client_whole() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        for _ in 0..10 {
            let writing = std::panic::AssertUnwindSafe(|| drop(rig.client.call::<u32>("Lab.add", (rpc_tests::lab::PanicsWriting(1), 2))));
            std::panic::catch_unwind(writing).unwrap_err();
            assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
        }
        let error = rig.client.call::<u32>("Lab.add", (rpc_tests::lab::Unwritable, 2)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
    });
}

/// Conformance 31: unserializable reply
#[test]
fn a_reply_that_cannot_be_written_is_told_to_the_caller() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        let error = rig.client.unwritable().await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes));
        // Postcard keeps no text of a type's own, and JSON is written from what postcard wrote.
        assert!(error.to_string().contains("Lab.unwritable"), "{error}");
        let error = rig.client.call::<u32>("Lab.unwritable", ()).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes));
        assert!(error.to_string().contains("Lab.unwritable: the reply cannot be encoded"), "{error}");
        let error = rig.client.unwritable_error().await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes));
        assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
    });
}

/// Conformance 31: reply > limit
#[test]
fn a_reply_above_the_callers_limit_is_too_large() {
    virtual_time(async {
        let lab = TestLab::new();
        let mut limits = Limits::default();
        limits.max_message = 100_000;
        let (near, far) = rpc::transport::memory::connection();
        tokio::spawn(rig::server(&lab).serve_connection(far));
        let client: LabClient = Client::options().limits(limits).over(near).into();
        for _ in 0..3 {
            let error = client.run(1, rpc_tests::Plan::Reply(100_001), &[]).await.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::Yes));
            assert!(error.to_string().contains("Limits::max_message"), "{error}");
            assert_eq!(client.resize(1, &[], 90_000).await.unwrap().0.len(), 90_000);
        }
        assert_eq!(lab.runs(1), 3);
    });
}

/// Conformance 31: the other direction never runs
#[test]
fn arguments_above_the_servers_limit_are_too_large() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_message = 100_000;
        let rig = Rig::with(Kind::Memory, |server| server.limits(limits), Client::options()).await;
        // The first is refused by the server or by its hello, later ones by the client itself.
        for _ in 0..3 {
            let error = rig.client.run(1, rpc_tests::Plan::Return, &vec![0; 100_001]).await.unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::No), "{error}");
            assert!(error.to_string().contains("Limits::max_message"), "{error}");
            assert_eq!(rig.client.add(1, 2).await.unwrap(), 3);
        }
        assert_eq!(rig.lab.runs(1), 0);
    });
}

/// A method that fails to be encoded half way leaves no half frame: what follows is read as ever.
#[test]
fn nothing_of_a_failed_reply_reaches_the_wire() {
    virtual_time(async {
        let (near, far) = tokio::io::duplex(64 << 10);
        let (read, write) = tokio::io::split(near);
        let (near, counts) = counted(read, write, "near");
        let lab = TestLab::new();
        tokio::spawn(rig::server(&lab).serve_connection(Transport::over(far, "far")));
        let client: LabClient = Client::options().over(near).into();
        client.nothing().await.unwrap();
        let before = counts.now();
        client.panics_writing().await.map(drop).unwrap_err();
        let moved = counts.now() - before;
        assert!(moved.read_bytes < 80, "{} bytes", moved.read_bytes);
        assert_eq!(client.add(1, 2).await.unwrap(), 3);
    });
}
