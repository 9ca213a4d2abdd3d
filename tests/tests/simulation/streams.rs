//! Streams of every kind: server to client, client to server, both ways; read to their end, dropped, aborted, answered early. Every
//! item is known to both ends (`rpc_tests::feeds`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use rpc::{CallError, Error, Executed, Streaming};
use rpc_tests::feeds::{self, Ending, Lengths, Script, Taking, Took, WHOLE_WINDOW};
use rpc_tests::lab::LabError;
use rpc_tests::rng::Rng;
use rpc_tests::{Blob, FeedsClient, TestFeeds};
use tokio::time::{Instant, sleep, timeout};

use crate::Sums;

/// What is known of one call with streams.
#[derive(Debug)]
pub(crate) struct Flowed {
    id: u64,
    what: &'static str,
    /// None: its caller gave it up.
    pub(crate) executed: Option<Executed>,
    text: String,
    /// What the caller was to send, if it sent a stream.
    sends: Option<Script>,
    /// How many items it has made of it.
    made: Arc<AtomicU32>,
    /// Items that came, each as it was sent.
    came: u32,
    /// They came to a normal end.
    ended: bool,
    /// What the server says that it took.
    took: Option<Took>,
}

impl Flowed {
    fn new(id: u64, what: &'static str) -> Self {
        Self { id, what, executed: None, text: String::new(), sends: None, made: Arc::default(), came: 0, ended: false, took: None }
    }

    fn failed(&mut self, error: &Error) {
        self.executed = Some(error.executed());
        self.text = error.to_string();
    }

    /// Holds it against what the server has seen.
    pub(crate) fn check(&self, feeds: &TestFeeds, sums: &mut Sums) {
        let seen = feeds.seen(self.id);
        let what = || format!("stream {} ({}): {self:?}; the server has seen {seen:?}", self.id, self.what);
        assert!(seen.runs <= 1, "ran twice: {}", what());
        assert_eq!(seen.wrong, None, "an item is not as it was sent: {}", what());
        if self.came > 0 || self.ended {
            assert_eq!(seen.runs, 1, "{}", what());
        }
        if let Some(script) = self.sends {
            // What came is the beginning of what was sent, and a normal end stands behind all of it.
            assert!(seen.taken <= self.made.load(Ordering::Relaxed), "{}", what());
            if seen.end == Some(None) {
                assert_eq!((seen.taken, script.ending), (script.count, Ending::Normal), "an end that is none: {}", what());
            }
        }
        if let Some(took) = self.took {
            assert_eq!((took.items, took.ended), (seen.taken, seen.end == Some(None)), "{}", what());
        }
        sums.streams += 1;
        sums.items += u64::from(self.came + seen.taken);
        sums.streams_ended += u64::from(self.ended || seen.end == Some(None));
        sums.streams_cut += u64::from(seen.end.flatten().is_some() || (self.came > 0 && !self.ended));
        sums.count(self.executed, seen.runs, what);
        sums.digest(format_args!("{self:?} {} {} {:?}", seen.runs, seen.taken, seen.end));
    }
}

/// How long a caller waits, and how.
#[derive(Clone, Copy, Debug)]
enum Patience {
    /// The call has a deadline.
    Deadline(Duration),
    /// The caller goes.
    Drop(Duration),
}

impl Patience {
    fn of(rng: &mut Rng) -> Self {
        let within = Duration::from_micros([2_000, 50_000, 1_000_000, 20_000_000, 20_000_000][rng.below(5) as usize]);
        if rng.once_in(4) { Self::Drop(within) } else { Self::Deadline(within) }
    }

    fn deadline(self) -> Duration {
        match self {
            Self::Deadline(within) => within,
            Self::Drop(_) => Duration::from_secs(3600),
        }
    }

    /// Waits so long and no longer; the caller's own pauses in between are not the library's.
    async fn hold(self, what: &str, call: impl Future<Output = Duration>) {
        let begun = Instant::now();
        let paused = match self {
            Self::Deadline(within) => {
                let paused = call.await;
                let took = begun.elapsed().saturating_sub(paused);
                assert!(took <= within + Duration::from_millis(20), "{what} took {took:?} of {within:?}");
                return;
            }
            Self::Drop(within) => timeout(within, call).await,
        };
        drop(paused);
    }
}

fn script(rng: &mut Rng) -> Script {
    let lengths = [Lengths::Small, Lengths::Small, Lengths::Mixed, Lengths::Long][rng.below(4) as usize];
    let most = if lengths == Lengths::Long { 8 } else { [2, 20, 200][rng.below(3) as usize] };
    let ending = [Ending::Normal, Ending::Normal, Ending::Normal, Ending::Panic, Ending::Open][rng.below(5) as usize];
    let pause = [0, 0, 100, 10_000][rng.below(4) as usize];
    Script { count: rng.below(most) as u32, lengths, pause, ending }
}

pub(crate) async fn one_stream(client: &FeedsClient, rng: &mut Rng, id: u64) -> Flowed {
    let patience = Patience::of(rng);
    match rng.below(5) {
        0 | 1 => down(client, rng, id, patience).await,
        2 | 3 => up(client, rng, id, patience).await,
        _ => both(client, rng, id, patience).await,
    }
}

/// Reads to the end, or a few and drops the rest, or not at all.
async fn down(client: &FeedsClient, rng: &mut Rng, id: u64, patience: Patience) -> Flowed {
    let script = script(rng);
    let most = if rng.once_in(3) { rng.below(u64::from(script.count) + 1) as u32 } else { u32::MAX };
    let pause = Duration::from_micros([0, 0, 1_000][rng.below(3) as usize]);
    let mut flowed = Flowed::new(id, if most < u32::MAX { "down, dropped early" } else { "down" });
    let told = &mut flowed;
    let call = async move {
        let mut paused = Duration::ZERO;
        match client.down(id, script).timeout(patience.deadline()).await {
            Ok(mut items) => {
                while told.came < most {
                    match items.next().await {
                        Some(Ok(item)) => {
                            assert!(item == feeds::item(id, told.came, script.lengths), "item {} of {id} is another", told.came);
                            told.came += 1;
                        }
                        Some(Err(error)) => {
                            told.failed(&error);
                            assert!(items.next().await.is_none(), "after an error there is nothing");
                            return paused;
                        }
                        None => {
                            told.ended = true;
                            told.executed = Some(Executed::Yes);
                            assert_eq!((told.came, script.ending), (script.count, Ending::Normal), "an end that is none: {script:?}");
                            return paused;
                        }
                    }
                    if pause > Duration::ZERO {
                        sleep(pause).await;
                        paused += pause;
                    }
                }
            }
            Err(CallError::Service(error)) => {
                assert_eq!((error, script.count, script.ending), (LabError::Plain, 0, Ending::Panic));
                told.executed = Some(Executed::Yes);
            }
            Err(CallError::Rpc(error)) => told.failed(&error),
        }
        paused
    };
    patience.hold("down", call).await;
    flowed
}

/// Sends items as any stream, or through a channel, whose sender may go before it has finished.
fn sent(rng: &mut Rng, id: u64, script: Script, made: &Arc<AtomicU32>) -> Streaming<Blob> {
    let items = feeds::items(id, script, made.clone());
    let (sender, streaming) = Streaming::channel();
    let pause = rng.once_in(2);
    tokio::spawn(async move {
        let mut items = std::pin::pin!(items.take(script.count as usize));
        while let Some(item) = items.next().await {
            if sender.send(item).await.is_err() {
                return;
            }
            if pause {
                tokio::task::yield_now().await;
            }
        }
        match script.ending {
            Ending::Normal => sender.finish(),
            Ending::Open => sender.closed().await,
            // Here it is an abort.
            Ending::Panic => drop(sender),
        }
    });
    streaming
}

async fn up(client: &FeedsClient, rng: &mut Rng, id: u64, patience: Patience) -> Flowed {
    let script = script(rng);
    let few = rng.below(u64::from(script.count) + 2) as u32;
    let taking = match rng.below(6) {
        0 => Taking::First(few),
        1 => Taking::Refuse(few, rng.below(20)),
        _ => Taking::All,
    };
    let made = Arc::new(AtomicU32::new(0));
    // A detached handler outlives its caller, and sees what becomes of the items.
    let detached = taking == Taking::All && rng.once_in(2);
    let call = match (rng.once_in(2), detached) {
        (true, false) => client.up(id, script.lengths, taking, feeds::items(id, script, made.clone())),
        (false, false) => client.up(id, script.lengths, taking, sent(rng, id, script, &made)),
        (true, true) => client.keep(id, script.lengths, feeds::items(id, script, made.clone())),
        (false, true) => client.keep(id, script.lengths, sent(rng, id, script, &made)),
    };
    let what = match taking {
        Taking::All if detached => "up, detached",
        Taking::All => "up",
        Taking::First(_) => "up, answered early",
        Taking::Refuse(..) | Taking::Hold(_) => "up, not taken",
    };
    let mut flowed = Flowed::new(id, what);
    (flowed.sends, flowed.made) = (Some(script), made);
    let told = &mut flowed;
    let call = async move {
        match call.timeout(patience.deadline()).await {
            Ok(took) => {
                if taking == Taking::All {
                    assert_eq!((took.items, took.ended, script.ending), (script.count, true, Ending::Normal), "{took:?} of {script:?}");
                }
                told.took = Some(took);
                told.executed = Some(Executed::Yes);
            }
            Err(CallError::Service(error)) => {
                told.text = error.to_string();
                told.executed = Some(Executed::Yes);
            }
            Err(CallError::Rpc(error)) => told.failed(&error),
        }
        Duration::ZERO
    };
    patience.hold("up", call).await;
    flowed
}

/// Items come back as they are sent.
async fn both(client: &FeedsClient, rng: &mut Rng, id: u64, patience: Patience) -> Flowed {
    let script = script(rng);
    let most = if rng.once_in(3) { rng.below(u64::from(script.count) + 1) as u32 } else { u32::MAX };
    let made = Arc::new(AtomicU32::new(0));
    let call = match rng.once_in(2) {
        true => client.both(id, script.lengths, feeds::items(id, script, made.clone())),
        false => client.both(id, script.lengths, sent(rng, id, script, &made)),
    };
    let mut flowed = Flowed::new(id, "both ways");
    (flowed.sends, flowed.made) = (Some(script), made);
    let told = &mut flowed;
    let call = async move {
        let mut items = match call.timeout(patience.deadline()).await {
            Ok(items) => items,
            Err(error) => {
                told.failed(&error);
                return Duration::ZERO;
            }
        };
        let mut aborted = false;
        while told.came < most {
            match items.next().await {
                Some(Ok(Ok(item))) => {
                    assert!(item == feeds::item(id, told.came, script.lengths), "item {} of {id} is another", told.came);
                    told.came += 1;
                }
                Some(Ok(Err(_))) => aborted = true,
                Some(Err(error)) => {
                    told.failed(&error);
                    break;
                }
                None => {
                    told.executed = Some(Executed::Yes);
                    if !aborted {
                        told.ended = true;
                        assert_eq!((told.came, script.ending), (script.count, Ending::Normal), "an end that is none: {script:?}");
                    }
                    break;
                }
            }
        }
        Duration::ZERO
    };
    patience.hold("both", call).await;
    flowed
}

/// In calm weather everything works, and no credit has been lost: a window still grows to its full length, each way.
pub(crate) async fn works_again(client: &FeedsClient, feeds: &TestFeeds, rng: &mut Rng, id: u64) {
    let begun = Instant::now();
    let script = Script::of(8, Lengths::Long);
    // Connections that are broken are found out, and the server may be on its way back.
    let took = loop {
        let id = id + 1000 * begun.elapsed().as_millis() as u64;
        match client.up(id, script.lengths, Taking::All, feeds::items(id, script, Arc::default())).timeout(Duration::from_secs(3)).await {
            Ok(took) => break took,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
        sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(took, Took { items: script.count, ended: true });
    let mut items = client.down(id, script).await.unwrap();
    for index in 0..script.count {
        assert!(items.next().await.unwrap().unwrap() == feeds::item(id, index, script.lengths));
    }
    assert!(items.next().await.is_none());

    let length = [900, 1_021, 4_000][rng.below(3) as usize];
    let under_way = feeds::under_way_up(client, feeds, id + 1, length).await;
    assert!(under_way > WHOLE_WINDOW, "{under_way} bytes are under way up");
    let under_way = feeds::under_way_down(client, feeds, id + 10, length).await;
    assert!(under_way > WHOLE_WINDOW, "{under_way} bytes are under way down");
}
