//! The client as a handle: clones, redial, loss, goodbye.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::transport::{Dial, Transport};
use rpc::{Client, ErrorKind, Executed, Limits, Server};
use rpc_tests::fault::{self, Cut, wire};
use rpc_tests::{Kind, LabClient, LabServer, Plan, Rig, TestLab, rig, settle, virtual_time, wire as by_hand};
use tokio::time::Instant;

#[test]
fn an_owned_call_outlives_its_client() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        let lab = rig.lab.clone();
        let call = {
            let client = rig.client.clone();
            client.wait(1).metadata("key", "value").owned()
        };
        drop(rig.client);
        let call = tokio::spawn(call);
        lab.until_live(1).await;
        lab.open(1);
        assert_eq!(call.await.unwrap().unwrap(), 1);
    });
}

/// Serves every dial, and counts them.
struct Counting {
    lab: Arc<TestLab>,
    dials: Arc<AtomicUsize>,
    servers: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
    refuses: Arc<AtomicUsize>,
}

#[rpc::async_trait]
impl Dial for Counting {
    async fn dial(&self) -> io::Result<Transport> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        if self.refuses.load(Ordering::Relaxed) > 0 {
            self.refuses.fetch_sub(1, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = rpc::transport::memory::connection();
        let server = tokio::spawn(rig::server(&self.lab).serve_connection(far));
        self.servers.lock().unwrap().push(server.abort_handle());
        Ok(near)
    }
}

struct Counted {
    client: LabClient,
    lab: Arc<TestLab>,
    dials: Arc<AtomicUsize>,
    servers: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
    refuses: Arc<AtomicUsize>,
}

async fn counted() -> Counted {
    let (lab, dials, servers, refuses) = (TestLab::new(), Arc::default(), Arc::default(), Arc::default());
    let dialer = Counting { lab: Arc::clone(&lab), dials: Arc::clone(&dials), servers: Arc::clone(&servers), refuses: Arc::clone(&refuses) };
    let client = Client::options().dial(dialer).await.unwrap().into();
    Counted { client, lab, dials, servers, refuses }
}

#[test]
fn clones_share_one_connection() {
    virtual_time(async {
        let Counted { client, dials, .. } = counted().await;
        let clones: Vec<_> = (0..100).map(|_| client.clone()).collect();
        for (n, client) in clones.iter().enumerate() {
            assert_eq!(client.add(n as u32, 1).await.unwrap(), n as u32 + 1);
        }
        assert_eq!(dials.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn the_next_call_dials_again_once_for_all_who_wait() {
    virtual_time(async {
        let Counted { client, lab, dials, servers, refuses } = counted().await;
        for round in 1..=5 {
            let pending = tokio::spawn(client.wait(1000).owned());
            lab.until_live(1).await;
            servers.lock().unwrap().pop().unwrap().abort();
            let error = pending.await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::Maybe));
            lab.until_live(0).await;
            let calls: Vec<_> = (0..50).map(|n| tokio::spawn(client.add(n, 1).owned())).collect();
            for (n, call) in calls.into_iter().enumerate() {
                assert_eq!(call.await.unwrap().unwrap(), n as u32 + 1);
            }
            assert_eq!(dials.load(Ordering::Relaxed), 1 + round);
        }
        // A failure to dial is this call's, not the next one's.
        servers.lock().unwrap().pop().unwrap().abort();
        settle().await;
        refuses.store(1, Ordering::Relaxed);
        let error = client.add(1, 2).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
        assert_eq!(client.add(1, 2).await.unwrap(), 3);
    });
}

#[tokio::test]
async fn a_server_that_comes_back_at_its_address_is_found_again() {
    let lab = TestLab::new();
    let bound = rig::server(&lab).bind("127.0.0.1:0").await.unwrap();
    let address = bound.local_addr();
    let task = tokio::spawn(bound.serve());
    let client = LabClient::connect(&address).await.unwrap();
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
    let pending = tokio::spawn(client.wait(1).owned());
    lab.until_live(1).await;
    task.abort();
    let error = pending.await.unwrap().unwrap_err();
    assert_eq!(error.executed(), Executed::Maybe);
    let error = client.add(1, 2).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));

    let bound = rig::server(&lab).bind(&address).await.unwrap();
    tokio::spawn(bound.serve());
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
}

#[tokio::test]
async fn a_unix_socket_is_taken_over_from_a_dead_server_and_removed_in_the_end() {
    let path = rig::socket_path();
    let address = format!("unix:{}", path.display());
    let lab = TestLab::new();
    // A socket whose server died without a word.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let bound = rig::server(&lab).bind(&address).await.unwrap();
    // Two cannot have it.
    let error = rig::server(&lab).bind(&address).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let task = tokio::spawn(bound.serve());
    let client = LabClient::connect(&address).await.unwrap();
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
    task.abort();
    let _ = task.await;
    assert!(!path.exists());
    // Another file is nobody's to take.
    std::fs::write(&path, "precious").unwrap();
    rig::server(&lab).bind(&address).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn what_is_no_address_is_invalid_input() {
    for address in ["", "localhost", "localhost:", ":80", "localhost:99999", "unix:", "host:port"] {
        assert_eq!(Client::connect(address).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{address}");
        assert_eq!(Server::new().bind(address).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{address}");
    }
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Client::connect(port.to_string()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

#[test]
fn a_lost_call_says_no_if_it_never_left_and_maybe_if_it_did() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_in_flight = 64;
        let (near, far, wire) = wire(Default::default(), Default::default(), 3);
        let lab = TestLab::new();
        tokio::spawn(rig::server(&lab).limits(limits).serve_connection(far));
        let client: LabClient = Client::options().over(near).into();
        client.nothing().await.unwrap();
        let sent: Vec<_> =
            (0..64).map(|id| tokio::spawn(client.run(id, Plan::Sleep(60_000), &[]).timeout(Duration::from_secs(90)).owned())).collect();
        lab.until_live(64).await;
        let queued: Vec<_> = (64..100).map(|id| tokio::spawn(client.run(id, Plan::Return, &[]).owned())).collect();
        settle().await;
        wire.fail(fault::UP, Cut::Reset);
        for call in sent {
            let error = call.await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::Maybe));
        }
        for call in queued {
            let error = call.await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
        }
        // A client of one connection has no other.
        let error = client.add(1, 2).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
        lab.until_live(0).await;
        assert!((64..100).all(|id| lab.runs(id) == 0));
    });
}

#[test]
fn close_lets_calls_in_flight_end_and_refuses_new_ones() {
    virtual_time(async {
        let rig = Rig::new(Kind::Memory).await;
        let call = tokio::spawn(rig.client.wait(1).owned());
        rig.lab.until_live(1).await;
        let clone = rig.client.clone();
        let close = tokio::spawn(async move { Client::close(&clone).await });
        settle().await;
        assert!(!close.is_finished());
        let error = rig.client.add(1, 2).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::No));
        assert!(error.to_string().contains("closed"), "{error}");
        rig.lab.open(1);
        assert_eq!(call.await.unwrap().unwrap(), 1);
        close.await.unwrap();
        // Again, and once more from a clone: nothing is left to do.
        rig.client.close().await;
        assert_eq!(rig.client.add(1, 2).await.unwrap_err().executed(), Executed::No);
    });
}

#[test]
fn close_waits_no_longer_than_the_grace() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.drain_grace = Duration::from_secs(2);
        let rig = Rig::with(Kind::Memory, |server| server, Client::options().limits(limits).timeout(None)).await;
        let call = tokio::spawn(rig.client.wait(1).owned());
        rig.lab.until_live(1).await;
        let begun = Instant::now();
        rig.client.close().await;
        assert!(begun.elapsed() >= Duration::from_secs(2) && begun.elapsed() <= Duration::from_millis(2200), "{:?}", begun.elapsed());
        assert_eq!(call.await.unwrap().unwrap_err().executed(), Executed::Maybe);
        rig.lab.until_live(0).await;
    });
}

#[test]
fn the_last_clone_closes_the_connection() {
    virtual_time(async {
        let lab = TestLab::new();
        let (near, far) = rpc::transport::memory::connection();
        let server = tokio::spawn(rig::server(&lab).serve_connection(far));
        let client: LabClient = Client::options().over(near).into();
        assert_eq!(client.add(1, 2).await.unwrap(), 3);
        let clone = client.clone();
        drop(client);
        settle().await;
        assert!(!server.is_finished());
        assert_eq!(clone.add(1, 2).await.unwrap(), 3);
        drop(clone);
        let begun = Instant::now();
        server.await.unwrap().unwrap();
        assert!(begun.elapsed() <= Duration::from_millis(100), "{:?}", begun.elapsed());
    });
}

/// Conformance 32: dispatch_death, of either half
#[test]
fn the_death_of_either_half_ends_every_call() {
    for how in [Cut::ReadError, Cut::WriteError, Cut::Reset, Cut::Fin, Cut::HalfClose] {
        for direction in [fault::UP, fault::DOWN] {
            virtual_time(async {
                let (near, far, wire) = wire(Default::default(), Default::default(), 3);
                let lab = TestLab::new();
                let server = tokio::spawn(rig::server(&lab).serve_connection(far));
                let client: LabClient = Client::options().over(near).into();
                let calls: Vec<_> = (0..50).map(|_| tokio::spawn(client.wait(1).owned())).collect();
                lab.until_live(50).await;
                let begun = Instant::now();
                wire.fail(direction, how);
                // A dead writer is noticed by whoever writes.
                let mut more = Vec::new();
                if how == Cut::WriteError {
                    lab.open(1);
                    more.push(tokio::spawn(client.wait(2).owned()));
                }
                for call in calls {
                    if let Err(error) = call.await.unwrap() {
                        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::Maybe), "{how:?} {direction}");
                    }
                }
                for call in more {
                    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
                }
                assert!(begun.elapsed() <= Duration::from_millis(100), "{how:?} of {direction}: {:?}", begun.elapsed());
                drop(client);
                server.await.unwrap().unwrap();
                lab.until_live(0).await;
            });
        }
    }
}

/// Conformance 32: dispatch_death, of the runtime that runs the connection's task
#[test]
fn a_runtime_that_shuts_down_ends_the_calls_of_another() {
    let dialing = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let rig = dialing.block_on(Rig::new(Kind::Memory));
    let (client, lab) = (&rig.client, &rig.lab);
    dialing.block_on(client.nothing()).unwrap();
    let calling = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let calls: Vec<_> = (0..20).map(|_| calling.spawn(client.wait(1).owned())).collect();
    calling.block_on(lab.until_live(20));
    dialing.shutdown_background();
    for call in calls {
        let error = calling.block_on(call).unwrap().unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::Maybe));
    }
    calling.block_on(lab.until_live(0));
}

/// Conformance 27: orphan
#[test]
fn handlers_are_dropped_when_their_caller_is_cut_off() {
    for how in [Cut::Fin, Cut::Reset] {
        virtual_time(async {
            let (near, far, wire) = wire(Default::default(), Default::default(), 3);
            let lab = TestLab::new();
            tokio::spawn(rig::server(&lab).serve_connection(far));
            let client: LabClient = Client::options().over(near).into();
            let calls: Vec<_> = (0..50).map(|_| tokio::spawn(client.wait(1).owned())).collect();
            for _ in 0..10 {
                client.note_waits(1).await.unwrap();
            }
            let detached = tokio::spawn(client.outlive(1).owned());
            let told = tokio::spawn(client.until_cancelled().owned());
            lab.until_live(62).await;
            let begun = Instant::now();
            wire.fail(fault::UP, how);
            // Of the detached ones, one ends because it is told.
            lab.until_noted("told").await;
            lab.until_live(1).await;
            assert!(begun.elapsed() <= Duration::from_millis(100), "{:?}", begun.elapsed());
            lab.open(1);
            lab.until_noted("outlived 1, cancelled: true").await;
            lab.until_live(0).await;
            for call in calls.into_iter().chain([detached]) {
                assert_eq!(call.await.unwrap().unwrap_err().executed(), Executed::Maybe);
            }
            assert_eq!(told.await.unwrap().unwrap_err().executed(), Executed::Maybe);
        });
    }
}

#[test]
fn calls_beyond_the_servers_limit_wait_at_the_caller() {
    virtual_time(async {
        let mut limits = Limits::default();
        limits.max_in_flight = 64;
        let rig = Rig::limited(limits).await;
        let calls: Vec<_> = (0..200).map(|_| tokio::spawn(rig.client.wait(1).owned())).collect();
        rig.lab.until_live(64).await;
        settle().await;
        assert_eq!(rig.lab.begun(), 64);
        rig.lab.open(1);
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), 1);
        }
        assert_eq!((rig.lab.begun(), rig.lab.most_live()), (200, 64));
    });
}

#[test]
fn a_local_client_serves_a_fake() {
    virtual_time(async {
        let lab = TestLab::new();
        let client = LabClient::from(Client::local(LabServer::shared(lab)));
        assert_eq!(client.add(1, 2).await.unwrap(), 3);
        assert_eq!(client.peer().await.unwrap(), "memory");
    });
}

/// Conformance 27, over sockets: the process of a caller has ended, and its socket was closed for it.
#[tokio::test]
async fn handlers_are_dropped_when_the_socket_of_their_caller_is_closed() {
    for address in ["127.0.0.1:0".to_owned(), format!("unix:{}", rig::socket_path().display())] {
        let lab = TestLab::new();
        let bound = rig::server(&lab).bind(&address).await.unwrap();
        let at = bound.local_addr();
        tokio::spawn(bound.serve());
        let calls =
            [by_hand::opening(&[]), by_hand::bind_name(0, "Lab.wait"), by_hand::json_call(0, 0, "[1]"), by_hand::json_call(1, 0, "[1]")].concat();
        match at.socket() {
            Some(socket) => {
                let mut raw = by_hand::Raw::over(tokio::net::TcpStream::connect(socket).await.unwrap());
                raw.send(calls).await;
                lab.until_live(2).await;
            }
            None => {
                let mut raw = by_hand::Raw::over(tokio::net::UnixStream::connect(address.trim_start_matches("unix:")).await.unwrap());
                raw.send(calls).await;
                lab.until_live(2).await;
            }
        }
        lab.until_live(0).await;
    }
}
