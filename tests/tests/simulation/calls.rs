//! Calls of every kind but streams, and what their callers were told.

use std::time::Duration;

use rpc::{CallError, Error, Executed};
use rpc_tests::lab::{LabError, Plan as Work};
use rpc_tests::rng::Rng;
use rpc_tests::{Blob, LabClient, TestLab};
use tokio::time::{Instant, timeout};

use crate::Sums;

/// What is known of one call.
#[derive(Debug)]
pub(crate) struct Told {
    id: u64,
    what: &'static str,
    /// None: its caller gave it up, or there is no answer.
    executed: Option<Executed>,
    text: String,
}

impl Told {
    /// Holds it against what the server has counted.
    pub(crate) fn check(&self, lab: &TestLab, sums: &mut Sums) {
        let Self { id, what, executed, text } = self;
        let runs = lab.runs(*id);
        assert!(runs <= 1, "call {id} ({what}) ran {runs} times: {text}");
        sums.calls += 1;
        sums.count(*executed, runs, || format!("call {id} ({what}): {text}"));
        sums.digest(format_args!("{self:?} {runs}"));
    }
}

pub(crate) async fn one_call(client: &LabClient, rng: &mut Rng, id: u64) -> Told {
    let padding = vec![0; [0, 10, 3_000, 90_000][(rng.below(12) as usize).min(3)].min(if rng.once_in(3) { 90_000 } else { 100 })];
    let (what, work) = match rng.below(8) {
        0 => ("fail", Work::Fail),
        1 => ("panic", Work::Panic),
        2 => ("sleep", Work::Sleep(rng.below(2_000))),
        3 => ("large reply", Work::Reply(rng.below(200_000) as u32)),
        4 => ("yield", Work::Yield(rng.below(4) as u32)),
        _ => ("return", Work::Return),
    };
    let within = Duration::from_micros([200, 20_000, 1_000_000, 20_000_000, 20_000_000][rng.below(5) as usize]);
    let begun = Instant::now();
    let (what, ended): (_, Result<(), CallError<LabError>>) = match rng.below(12) {
        0 => {
            // Given up after a while.
            let patience = Duration::from_micros(rng.below(20_000));
            match timeout(patience, client.run(id, work, &padding).timeout(within)).await {
                Ok(ended) => ("cancel came late", ended.map(drop)),
                Err(_) => return Told { id, what: "cancelled", executed: None, text: String::new() },
            }
        }
        1 => {
            drop(client.run(id, work, &padding));
            return Told { id, what: "never polled", executed: Some(Executed::No), text: String::new() };
        }
        2 => {
            let ended = client.run_note(id).timeout(within).await;
            let executed = match &ended {
                // It left, no more is known.
                Ok(()) => None,
                Err(error) => Some(error.executed()),
            };
            return Told { id, what: "notification", executed, text: format!("{ended:?}") };
        }
        3 => {
            // By name, and from a struct of arguments.
            let ended: Result<Blob, Error> = client.call("Lab.run", (id, work, Blob(padding))).timeout(within).await;
            let ended = ended.map(drop).map_err(|error| match error.service::<LabError>() {
                Some(own) => CallError::Service(own),
                None => error.into(),
            });
            ("by name", ended)
        }
        4 => {
            // Two at once.
            let (ended, other) = tokio::join!(client.run(id, work, &padding).timeout(within), client.upper("x").timeout(within));
            if let Ok(other) = other {
                assert_eq!(other, "X");
            }
            ("beside another", ended.map(drop))
        }
        _ => {
            let ended = client.run(id, work.clone(), &padding).timeout(within).await;
            if let (Ok(Blob(bytes)), Work::Reply(length)) = (&ended, &work) {
                assert!(*bytes == rpc_tests::lab::pattern(id, *length as usize), "the reply of another call");
            }
            (what, ended.map(drop))
        }
    };
    // A deadline is kept whatever the network does.
    assert!(begun.elapsed() <= within + Duration::from_millis(20), "call {id} ({what}) took {:?} of {within:?}", begun.elapsed());
    let executed = match &ended {
        Ok(()) | Err(CallError::Service(_)) => Executed::Yes,
        Err(CallError::Rpc(error)) => error.executed(),
    };
    Told { id, what, executed: Some(executed), text: format!("{ended:?}") }
}
