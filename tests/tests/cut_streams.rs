//! Conformance 5, 18: a connection is cut at every byte of a call with streams: up, down and both ways. The method runs once or not
//! at all, its caller is told the truth, and neither end sees a normal end unless it has got every item.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rpc::{CallError, Client, Error, Executed, Server};
use rpc_tests::fault::{Cut, DOWN, Plan, UP, Wire, wire};
use rpc_tests::feeds::{self, Ending, Lengths, Script, Took};
use rpc_tests::lab::LabError;
use rpc_tests::{FeedsClient, FeedsServer, TestFeeds, virtual_time};
use tokio::time::{Instant, sleep, timeout};

const ID: u64 = 1;
const WITHIN: Duration = Duration::from_secs(20);

struct World {
    client: FeedsClient,
    feeds: Arc<TestFeeds>,
    wire: Wire,
    server: tokio::task::JoinHandle<Result<(), Error>>,
}

fn world() -> World {
    let (near, far, wire) = wire(Plan::default(), Plan::default(), 5);
    let feeds = TestFeeds::new();
    let server = tokio::spawn(Server::new().add(FeedsServer::shared(feeds.clone())).serve_connection(far));
    World { client: Client::options().over(near).into(), feeds, wire, server }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Down,
    Up,
    /// To a handler that outlives its caller, and sees how the items end.
    Kept,
    Both,
}

/// How a caller sees its call end.
struct Outcome {
    /// Items that came.
    came: u32,
    /// To a normal end.
    ended: bool,
    took: Option<Took>,
    executed: Executed,
    made: u32,
    error: String,
}

#[derive(Clone, Copy)]
struct Shape {
    way: Way,
    /// Streams before this one.
    earlier: u64,
    script: Script,
}

impl Shape {
    async fn warm(&self, world: &World) {
        for id in 0..self.earlier {
            let items = feeds::items(100 + id, Script::of(1, Lengths::Small), Arc::default());
            assert!(world.client.keep(100 + id, Lengths::Small, items).await.unwrap().ended);
        }
    }

    async fn call(&self, world: &World) -> Outcome {
        let Self { script, way, .. } = *self;
        let made = Arc::new(AtomicU32::new(0));
        let items = feeds::items(ID, script, made.clone());
        let mut outcome = Outcome { came: 0, ended: false, took: None, executed: Executed::Yes, made: 0, error: String::new() };
        let client = &world.client;
        let ended: Result<(), CallError<LabError>> = async {
            match way {
                Way::Up => outcome.took = Some(client.up(ID, script.lengths, feeds::Taking::All, items).timeout(WITHIN).await?),
                Way::Kept => outcome.took = Some(client.keep(ID, script.lengths, items).timeout(WITHIN).await?),
                Way::Down => {
                    let mut items = client.down(ID, script).timeout(WITHIN).await?;
                    while let Some(item) = items.next().await {
                        assert!(item? == feeds::item(ID, outcome.came, script.lengths));
                        outcome.came += 1;
                    }
                    outcome.ended = true;
                }
                Way::Both => {
                    let mut items = client.both(ID, script.lengths, items).timeout(WITHIN).await?;
                    while let Some(item) = items.next().await {
                        // What ended the upload at the server.
                        assert!(item?.map_err(CallError::Service)? == feeds::item(ID, outcome.came, script.lengths));
                        outcome.came += 1;
                    }
                    outcome.ended = true;
                }
            }
            Ok(())
        }
        .await;
        match ended {
            Ok(()) => {}
            Err(CallError::Service(error)) => outcome.error = error.to_string(),
            Err(CallError::Rpc(error)) => {
                outcome.executed = error.executed();
                outcome.error = format!("{error:?}");
            }
        }
        outcome.made = made.load(Ordering::Relaxed);
        outcome
    }

    fn check(&self, outcome: &Outcome, feeds: &TestFeeds, what: &str) {
        let seen = feeds.seen(ID);
        let Outcome { came, ended, took, executed, made, error } = outcome;
        let count = self.script.count;
        assert!(seen.runs <= 1, "{what}: ran {} times", seen.runs);
        assert_eq!(seen.wrong, None, "{what}");
        match executed {
            Executed::No => assert_eq!(seen.runs, 0, "{what}: {error}"),
            Executed::Yes => assert_eq!(seen.runs, 1, "{what}: {error}"),
            Executed::Maybe => {}
        }
        if *ended {
            assert_eq!(*came, count, "{what}: an end that is none");
        }
        if let Some(took) = took {
            assert_eq!(*took, Took { items: count, ended: true }, "{what}");
        }
        if seen.end == Some(None) {
            assert_eq!(seen.taken, count, "{what}: an end that is none at the server");
        }
        assert!(self.way == Way::Down || seen.taken <= *made, "{what}: {} items of {made} came", seen.taken);
        if self.way == Way::Kept && seen.runs == 1 {
            assert!(seen.end.is_some(), "{what}: the handler waits for ever");
        }
    }

    /// Bytes of this call each way, and where they begin.
    async fn extent(&self) -> [(u64, u64); 2] {
        let world = world();
        self.warm(&world).await;
        let begun = [world.wire.taken(UP), world.wire.taken(DOWN)];
        let outcome = self.call(&world).await;
        assert!(outcome.ended || outcome.took.is_some(), "{}", outcome.error);
        // Credit may follow.
        sleep(Duration::from_secs(1)).await;
        [(begun[UP], world.wire.taken(UP)), (begun[DOWN], world.wire.taken(DOWN))]
    }
}

/// Cuts at every `step`th byte, and at each of the first and the last ones.
fn cut_everywhere(name: &str, shape: Shape, step: u64) {
    let extent = virtual_time(shape.extent());
    let (mut cuts, mut ran, mut whole, mut part, mut no, mut maybe) = (0u64, 0u64, 0u64, 0u64, 0u64, 0u64);
    for direction in [UP, DOWN] {
        let (begin, end) = extent[direction];
        for offset in (begin..=end).filter(|offset| (offset - begin) % step == 0 || offset - begin < 100 || end - offset < 100) {
            for how in Cut::ALL {
                let what = format!("{name}: {how:?} of direction {direction} at byte {offset} ({begin}..{end})");
                let (outcome, seen) = virtual_time(async {
                    let world = world();
                    shape.warm(&world).await;
                    world.wire.fail_after(direction, offset - begin, how);
                    let begun = Instant::now();
                    let outcome = shape.call(&world).await;
                    assert!(begun.elapsed() <= WITHIN + Duration::from_secs(1), "{what}: {:?}", begun.elapsed());
                    // Whatever was on its way has time to arrive, and handlers to end.
                    sleep(Duration::from_secs(60)).await;
                    let World { client, server, feeds, .. } = world;
                    // Nothing but a lost connection ends a handler that outlives its caller.
                    assert!(shape.way == Way::Kept || feeds.live() == 0, "{what}");
                    drop(client);
                    timeout(Duration::from_secs(120), server).await.expect(&what).unwrap().unwrap();
                    sleep(Duration::from_secs(1)).await;
                    assert_eq!(feeds.live(), 0, "{what}");
                    shape.check(&outcome, &feeds, &what);
                    (outcome, feeds.seen(ID))
                });
                cuts += 1;
                ran += u64::from(seen.runs);
                whole += u64::from(outcome.ended || outcome.took.is_some() || seen.end == Some(None));
                part += u64::from((outcome.came > 0 && !outcome.ended) || (seen.taken > 0 && seen.end != Some(None)));
                match outcome.executed {
                    Executed::No => no += 1,
                    Executed::Maybe => maybe += 1,
                    Executed::Yes => {}
                }
            }
        }
    }
    rpc_tests::report!(
        "{{\"suite\":\"cut_streams\",\"case\":\"{name}\",\"cuts\":{cuts},\"ran\":{ran},\"ended\":{whole},\"cut_off\":{part},\"executed_no\":{no},\"executed_maybe\":{maybe}}}"
    );
    assert!(maybe > 0 && whole > 0 && part > 0 && ran > 0);
}

const FEW: Script = Script { count: 4, lengths: Lengths::Each(9), pause: 0, ending: Ending::Normal };
const SLOW: Script = Script { pause: 10, ..FEW };
/// More than one window, and credit back.
const MANY: Script = Script { count: 40, lengths: Lengths::Each(1_000), pause: 0, ending: Ending::Normal };
/// Longer than a window each.
const LONG: Script = Script { count: 2, lengths: Lengths::Each(40_000), pause: 0, ending: Ending::Normal };

/// Conformance 5, 18
#[test]
fn a_download_is_cut_at_every_byte() {
    cut_everywhere("first download", Shape { way: Way::Down, earlier: 0, script: FEW }, 1);
    cut_everywhere("later download", Shape { way: Way::Down, earlier: 1, script: SLOW }, 1);
}

/// Conformance 5, 18
#[test]
fn an_upload_is_cut_at_every_byte() {
    cut_everywhere("first upload", Shape { way: Way::Up, earlier: 0, script: FEW }, 1);
    cut_everywhere("later upload", Shape { way: Way::Up, earlier: 1, script: SLOW }, 1);
}

/// Conformance 5, 18
#[test]
fn an_upload_to_a_detached_handler_is_cut_at_every_byte() {
    cut_everywhere("first upload, detached", Shape { way: Way::Kept, earlier: 0, script: FEW }, 1);
    cut_everywhere("later upload, detached", Shape { way: Way::Kept, earlier: 1, script: SLOW }, 1);
}

/// Conformance 5, 18
#[test]
fn a_stream_both_ways_is_cut_at_every_byte() {
    cut_everywhere("both ways", Shape { way: Way::Both, earlier: 1, script: SLOW }, 1);
}

/// Conformance 5, 18: with credit on its way back
#[test]
fn streams_of_many_windows_are_cut_here_and_there() {
    for way in [Way::Down, Way::Kept, Way::Both] {
        cut_everywhere(&format!("many items, {way:?}"), Shape { way, earlier: 1, script: MANY }, 509);
    }
}

/// Conformance 5, 18: items that have to ask for room
#[test]
fn streams_of_long_items_are_cut_here_and_there() {
    for way in [Way::Down, Way::Kept, Way::Both] {
        cut_everywhere(&format!("long items, {way:?}"), Shape { way, earlier: 1, script: LONG }, 1_021);
    }
}
