//! Conformance 5: at_most_once. A connection is cut at every byte of a request and of a reply: the method runs once or not at
//! all, the caller hears of it in any case, and is told the truth.

use std::sync::Arc;
use std::time::Duration;

use rpc::{CallError, Client, Error, ErrorKind, Executed};
use rpc_tests::fault::{Cut, DOWN, Plan, UP, Wire, wire};
use rpc_tests::{LabClient, TestLab, rig, virtual_time};
use tokio::time::Instant;

use rpc_tests::lab::{LabError, Plan as Work};

struct World {
    client: LabClient,
    lab: Arc<TestLab>,
    wire: Wire,
    server: tokio::task::JoinHandle<Result<(), Error>>,
}

fn world(up: Plan, down: Plan) -> World {
    let (near, far, wire) = wire(up, down, 5);
    let lab = TestLab::new();
    let server = tokio::spawn(rig::server(&lab).serve_connection(far));
    World { client: Client::options().over(near).into(), lab, wire, server }
}

/// What the call with id 1 is.
#[derive(Clone)]
struct Shape {
    /// Calls before it.
    earlier: u32,
    work: Work,
    padding: usize,
}

impl Shape {
    async fn warm(&self, world: &World) {
        for _ in 0..self.earlier {
            world.client.run(0, Work::Return, &[]).await.unwrap();
        }
    }

    async fn call(&self, world: &World) -> Result<(), CallError<LabError>> {
        world.client.run(1, self.work.clone(), &vec![0; self.padding]).timeout(Duration::from_secs(20)).await.map(drop)
    }

    /// Bytes of this call each way, and where they begin.
    async fn extent(&self) -> [(u64, u64); 2] {
        let world = world(Plan::default(), Plan::default());
        self.warm(&world).await;
        let begun = [world.wire.taken(UP), world.wire.taken(DOWN)];
        drop(self.call(&world).await);
        [(begun[UP], world.wire.taken(UP)), (begun[DOWN], world.wire.taken(DOWN))]
    }
}

fn check(ended: Result<(), CallError<LabError>>, runs: u32, what: &str) -> Option<Executed> {
    assert!(runs <= 1, "{what}: ran {runs} times");
    match ended {
        Ok(()) | Err(CallError::Service(_)) => {
            assert_eq!(runs, 1, "{what}: answered");
            None
        }
        Err(CallError::Rpc(error)) => {
            match error.executed() {
                Executed::No => assert_eq!(runs, 0, "{what}: {error:?}"),
                Executed::Yes => assert_eq!(runs, 1, "{what}: {error:?}"),
                Executed::Maybe => {}
            }
            assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::Internal), "{what}: {error:?}");
            Some(error.executed())
        }
    }
}

/// Cuts at every `step`th byte, and at those beside the borders of chunks.
fn cut_everywhere(name: &str, shape: &Shape, step: u64) {
    let extent = virtual_time(shape.extent());
    let (mut cuts, mut no, mut maybe, mut answered, mut ran) = (0u64, 0u64, 0u64, 0u64, 0u64);
    for direction in [UP, DOWN] {
        let (begin, end) = extent[direction];
        for offset in (begin..=end).filter(|offset| step == 1 || (offset - begin) % step == 0 || (offset - begin) % 65_536 < 40 || end - offset < 20)
        {
            for how in Cut::ALL {
                let what = format!("{name}: {how:?} of direction {direction} at byte {offset} ({begin}..{end})");
                let (executed, runs) = virtual_time(async {
                    let world = world(Plan::default(), Plan::default());
                    shape.warm(&world).await;
                    world.wire.fail_after(direction, offset - begin, how);
                    let begun = Instant::now();
                    let ended = shape.call(&world).await;
                    assert!(begun.elapsed() <= Duration::from_secs(21), "{what}: {:?}", begun.elapsed());
                    // Whatever was on its way has time to arrive, and handlers to end.
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    let runs = world.lab.runs(1);
                    assert_eq!(world.lab.live(), 0, "{what}");
                    let World { client, server, .. } = world;
                    drop(client);
                    // Nothing of the connection is left, at either end.
                    tokio::time::timeout(Duration::from_secs(120), server).await.expect(&what).unwrap().unwrap();
                    (check(ended, runs, &what), runs)
                });
                cuts += 1;
                ran += u64::from(runs);
                match executed {
                    Some(Executed::No) => no += 1,
                    Some(Executed::Maybe) => maybe += 1,
                    _ => answered += 1,
                }
            }
        }
    }
    rpc_tests::report!(
        "{{\"suite\":\"cut\",\"case\":\"{name}\",\"cuts\":{cuts},\"ran\":{ran},\"executed_no\":{no},\"executed_maybe\":{maybe},\"answered\":{answered}}}"
    );
    assert!(maybe > 0 && answered > 0 && ran > 0);
}

/// Conformance 5: preface, hello, bind and call in one packet
#[test]
fn the_first_call_is_cut_at_every_byte() {
    cut_everywhere("first call", &Shape { earlier: 0, work: Work::Return, padding: 10 }, 1);
}

/// Conformance 5
#[test]
fn a_later_call_is_cut_at_every_byte() {
    cut_everywhere("later call", &Shape { earlier: 2, work: Work::Reply(100), padding: 100 }, 1);
}

/// Conformance 5
#[test]
fn a_call_that_waits_is_cut_at_every_byte() {
    cut_everywhere("waiting call", &Shape { earlier: 1, work: Work::Sleep(5), padding: 0 }, 1);
}

/// Conformance 5
#[test]
fn a_call_that_fails_is_cut_at_every_byte() {
    cut_everywhere("failing call", &Shape { earlier: 1, work: Work::Fail, padding: 0 }, 1);
}

/// Conformance 5
#[test]
fn a_call_that_panics_is_cut_at_every_byte() {
    cut_everywhere("panicking call", &Shape { earlier: 1, work: Work::Panic, padding: 0 }, 1);
}

/// Conformance 5: in chunks
#[test]
fn a_large_first_call_is_cut_here_and_there() {
    cut_everywhere("large first call", &Shape { earlier: 0, work: Work::Reply(271_828), padding: 271_828 }, 16_411);
}

/// Conformance 5: in chunks
#[test]
fn a_large_later_call_is_cut_here_and_there() {
    cut_everywhere("large later call", &Shape { earlier: 1, work: Work::Reply(150_000), padding: 150_000 }, 16_411);
}

/// A connection in pieces of any size is a connection.
#[test]
fn calls_in_pieces_of_any_size_arrive() {
    for piece in [1, 2, 3, 5, 7, 8, 64, 1000, 65_535, 65_536, 65_537] {
        for ragged in [false, true] {
            virtual_time(async {
                let plan = Plan { piece, ragged, delay: Duration::from_micros(50), ..Plan::default() };
                let world = world(plan.clone(), plan);
                for round in 0..3u64 {
                    let request = rpc_tests::lab::pattern(round, 70_000);
                    let (large, small) = tokio::join!(world.client.resize(round, &request, 70_001), world.client.upper("abc"));
                    assert!(large.unwrap().0 == rpc_tests::lab::pattern(round + 1, 70_001));
                    assert_eq!(small.unwrap(), "ABC");
                    let error = world.client.fail(LabError::Text("no".into())).await.unwrap_err();
                    assert_eq!(error.into_service().unwrap(), LabError::Text("no".into()));
                }
                assert_eq!(world.wire.faults(), 0);
            });
        }
    }
}
