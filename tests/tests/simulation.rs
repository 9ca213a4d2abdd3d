//! Whole systems under virtual time: several clients, a server that crashes and drains, connections that are cut, slowed down
//! and split. Everything follows from a seed: `RPC_SEED=17 cargo test -p rpc-tests --test simulation` repeats one,
//! `RPC_SEEDS=100000` runs more.
//!
//! What must hold for every seed: no call runs twice, every call ends, `executed` is the truth, and no handler is left.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::transport::{Dial, Listen, Transport};
use rpc::{Address, CallError, Client, Error, Executed, Limits};
use rpc_tests::fault::{Cut, Plan, Wire, wire};
use rpc_tests::lab::{LabError, Plan as Work};
use rpc_tests::rng::Rng;
use rpc_tests::{Blob, LabClient, TestLab, rig, virtual_time};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

const CLIENTS: u64 = 3;
const FAULTS: u64 = 5;

/// Connections of one world.
struct Net {
    rng: Mutex<Rng>,
    wires: Mutex<Vec<Wire>>,
    listener: Mutex<Option<mpsc::UnboundedSender<Transport>>>,
}

impl Net {
    /// The next listener; the one before hears nothing more.
    fn listen(&self) -> Door {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.listener.lock().unwrap() = Some(sender);
        Door(receiver)
    }

    fn faults(&self) -> u64 {
        self.wires.lock().unwrap().iter().map(Wire::faults).sum()
    }

    fn plan(rng: &mut Rng) -> Plan {
        let piece = [1, 7, 100, 5_000, 100_000, usize::MAX][rng.below(6) as usize];
        // Large messages byte by byte would take all the time there is.
        let tiny = piece < 1_000;
        let cut = (tiny || !rng.once_in(4)).then(|| {
            let reach = [300, 2_500, 6_000, 250_000][rng.below(if tiny { 3 } else { 4 }) as usize];
            (rng.below(reach), Cut::ALL[rng.below(Cut::ALL.len() as u64) as usize])
        });
        let delay = Duration::from_micros([0, 10, 500, 30_000][rng.below(4) as usize]);
        // Many small pieces, each delayed, would outlast every deadline.
        let delay = if piece < 5_000 { delay.min(Duration::from_micros(500)) } else { delay };
        Plan { cut, piece, ragged: rng.once_in(2), delay, capacity: [100, 4_000, 64 << 10][rng.below(3) as usize], ..Plan::default() }
    }
}

struct Dialer(Arc<Net>);

#[rpc::async_trait]
impl Dial for Dialer {
    async fn dial(&self) -> io::Result<Transport> {
        let (slow, near, far) = {
            let mut rng = self.0.rng.lock().unwrap();
            let (up, down) = (Net::plan(&mut rng), Net::plan(&mut rng));
            let (near, far, wire) = wire(up, down, rng.draw());
            self.0.wires.lock().unwrap().push(wire);
            (Duration::from_micros(rng.below(5_000)), near, far)
        };
        sleep(slow).await;
        let listener = self.0.listener.lock().unwrap().clone();
        listener.and_then(|listener| listener.send(far).ok()).ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }
}

struct Door(mpsc::UnboundedReceiver<Transport>);

#[rpc::async_trait]
impl Listen for Door {
    async fn accept(&mut self) -> io::Result<Transport> {
        match self.0.recv().await {
            Some(transport) => Ok(transport),
            None => std::future::pending().await,
        }
    }

    fn address(&self) -> Address {
        Address::named("simulated")
    }
}

/// What is known of one call.
#[derive(Debug)]
struct Told {
    id: u64,
    what: &'static str,
    /// None: its caller gave it up, or there is no answer.
    executed: Option<Executed>,
    text: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    calls: u64,
    faults: u64,
    crashes: u64,
    no: u64,
    maybe: u64,
    yes: u64,
    cancelled: u64,
}

async fn one_call(client: &LabClient, rng: &mut Rng, id: u64) -> Told {
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

/// One world, from its beginning to its end.
async fn world(seed: u64) -> Sums {
    let mut rng = Rng::new(seed);
    let lab = TestLab::new();
    let net = Arc::new(Net { rng: Mutex::new(rng.fork()), wires: Mutex::default(), listener: Mutex::default() });
    let over = Rc::new(Cell::new(false));
    let crashes = Rc::new(Cell::new(0));

    let mut limits = Limits::default();
    limits.max_in_flight = [64, 1024][rng.below(2) as usize];
    limits.write_timeout = Duration::from_secs(2);
    limits.drain_grace = Duration::from_millis(500);
    let operator = {
        let (lab, net, over, crashes, mut rng) = (lab.clone(), net.clone(), over.clone(), crashes.clone(), rng.fork());
        async move {
            while !over.get() {
                let server = rig::server(&lab).limits(limits).listen(net.listen()).unwrap();
                let (stop, stopped) = oneshot::channel::<()>();
                let server = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
                for _ in 0..2 + rng.below(30) {
                    sleep(Duration::from_millis(rng.below(500))).await;
                    if over.get() {
                        break;
                    }
                }
                crashes.set(crashes.get() + 1);
                if rng.once_in(2) {
                    server.abort();
                    let _ = server.await;
                } else {
                    drop(stop);
                    server.await.unwrap().unwrap();
                }
                *net.listener.lock().unwrap() = None;
                sleep(Duration::from_millis(rng.below(50))).await;
            }
        }
    };

    let clients = (0..CLIENTS).map(|number| {
        let (net, mut rng) = (net.clone(), rng.fork());
        async move {
            let options = Client::options().limits(limits);
            let client: LabClient = loop {
                match options.clone().dial(Dialer(net.clone())).await {
                    Ok(client) => break client.into(),
                    Err(error) => assert_eq!(error.executed(), Executed::No),
                }
            };
            let mut told = Vec::new();
            for call in 0..150 {
                if call >= 25 && net.faults() >= FAULTS {
                    break;
                }
                told.push(one_call(&client, &mut rng, number * 1000 + call).await);
                if rng.once_in(5) {
                    sleep(Duration::from_micros(rng.below(50_000))).await;
                }
            }
            if rng.once_in(2) {
                client.close().await;
            }
            told
        }
    });
    let callers = async {
        let tasks = tokio::task::LocalSet::new();
        let tasks_of_clients: Vec<_> = clients.map(|client| tasks.spawn_local(client)).collect();
        let told = tasks
            .run_until(async {
                let mut told = Vec::new();
                for task in tasks_of_clients {
                    told.extend(task.await.expect("no assertion failed in a client"));
                }
                told
            })
            .await;
        over.set(true);
        told
    };
    let (told, ()) = tokio::join!(callers, operator);

    // Whatever is still on its way arrives, or does not.
    sleep(Duration::from_secs(120)).await;
    assert_eq!(lab.live(), 0, "handlers are left");
    let mut sums = Sums { calls: told.len() as u64, faults: net.faults(), crashes: crashes.get(), ..Sums::default() };
    for Told { id, what, executed, text } in told {
        let runs = lab.runs(id);
        assert!(runs <= 1, "call {id} ({what}) ran {runs} times: {text}");
        match executed {
            Some(Executed::No) => {
                assert_eq!(runs, 0, "call {id} ({what}): {text}");
                sums.no += 1;
            }
            Some(Executed::Yes) => {
                assert_eq!(runs, 1, "call {id} ({what}): {text}");
                sums.yes += 1;
            }
            Some(Executed::Maybe) => sums.maybe += 1,
            None => sums.cancelled += 1,
        }
    }
    assert!(sums.faults >= FAULTS, "only {} faults", sums.faults);
    sums
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Conformance 5, 24, 32 and the simulation of the numbers to aim for
#[test]
fn five_hundred_seeds() {
    rpc_tests::quiet();
    let seeds = match variable("RPC_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("RPC_SEEDS").unwrap_or(500),
    };
    let mut total = Sums::default();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let run = || virtual_time(async { timeout(Duration::from_secs(24 * 3600), world(seed)).await.expect("it ends") });
        match std::panic::catch_unwind(run) {
            Ok(sums) => {
                if variable("RPC_VERBOSE").is_some() {
                    println!("seed {seed}: {sums:?}");
                }
                total.calls += sums.calls;
                total.faults += sums.faults;
                total.crashes += sums.crashes;
                total.no += sums.no;
                total.maybe += sums.maybe;
                total.yes += sums.yes;
                total.cancelled += sums.cancelled;
            }
            Err(panic) => {
                println!("seed {seed} failed; repeat it with RPC_SEED={seed} cargo test -p rpc-tests --test simulation");
                std::panic::resume_unwind(panic);
            }
        }
    }
    let Sums { calls, faults, crashes, no, maybe, yes, cancelled } = total;
    rpc_tests::report!(
        "{{\"suite\":\"simulation\",\"seeds\":{count},\"calls\":{calls},\"faults\":{faults},\"crashes_and_drains\":{crashes},\"executed_no\":{no},\"executed_maybe\":{maybe},\"executed_yes\":{yes},\"given_up\":{cancelled}}}"
    );
}

/// A seed is worth nothing if it does not repeat.
#[test]
fn a_seed_repeats() {
    rpc_tests::quiet();
    for seed in 1000..1005 {
        let sums = || format!("{:?}", virtual_time(world(seed)));
        assert_eq!(sums(), sums(), "seed {seed}");
    }
}
