//! M4, M5: a server is killed at any moment, again and again. What it has acknowledged is there; what it has not is there once
//! at most, and once exactly after the same call was sent again; nothing is left between two states.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::shop::{Folder, pay, status};
use crate::support::{Server, example, kill};
use crate::till::Till;

/// Payers at the same time.
const PAYERS: u64 = 6;

/// What a payer wants, by order: pay it, or authorize, capture and refund a part.
#[derive(Clone, Copy, PartialEq)]
enum Wish {
    Pay,
    InThreeSteps,
}

/// What a payer knows of an order.
#[derive(Clone, Debug, Default)]
struct Known {
    captured: bool,
    refunded: bool,
    receipt: Option<Value>,
}

fn wish(order: u64) -> Wish {
    if order.is_multiple_of(3) { Wish::InThreeSteps } else { Wish::Pay }
}

/// Goes as far as it can; stops at the first call without an answer.
async fn fulfil(till: &Till, order: u64, known: &Mutex<HashMap<u64, Known>>) -> Result<(), rpc::Error> {
    let (name, minor) = (format!("o{order}"), 100 + order % 50);
    let note = |note: &dyn Fn(&mut Known)| note(known.lock().unwrap().entry(order).or_default());
    note(&|_| {});
    match wish(order) {
        Wish::Pay => {
            let receipt = till.pay(&format!("k{order}"), &name, minor).await?;
            note(&|known| {
                assert!(known.receipt.as_ref().is_none_or(|before| *before == receipt), "the same key, another receipt");
                (known.captured, known.receipt) = (true, Some(receipt.clone()));
            });
        }
        Wish::InThreeSteps => {
            till.authorize(&format!("k{order}"), &name, minor).await?;
            till.capture(&format!("k{order}-capture"), &name, minor).await?;
            note(&|known| known.captured = true);
            till.refund(&format!("k{order}-refund"), &name, 1).await?;
            note(&|known| known.refunded = true);
        }
    }
    Ok(())
}

async fn pay_on(address: String, payer: u64, next: Arc<Mutex<u64>>, known: Arc<Mutex<HashMap<u64, Known>>>) {
    let Ok(till) = Till::open(&address).await else { return };
    loop {
        let order = {
            let mut next = next.lock().unwrap();
            *next += 1;
            *next
        };
        if let Err(error) = fulfil(&till, order, &known).await {
            assert!(error.executed() != rpc::Executed::Yes, "payer {payer}, order {order}: {error:?} {:?}", error.service::<Value>());
            return;
        }
    }
}

/// Everything the books say of an order.
fn by_order(charges: Vec<Value>) -> BTreeMap<u64, Value> {
    let mut found = BTreeMap::new();
    for charge in charges {
        let order: u64 = charge["order"].as_str().unwrap()[1..].parse().unwrap();
        assert!(found.insert(order, charge).is_none(), "order {order} was charged twice");
    }
    found
}

/// A line that is seen whether or not the test passes: a run can be repeated from its seed.
fn report(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

#[test]
fn m4_m5_a_server_that_is_killed_at_any_moment_loses_nothing_and_charges_nothing_twice() {
    let rounds = std::env::var("RPC_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds: u64 = rounds.unwrap_or(if std::env::var_os("RPC_LONG").is_some() { 2000 } else { 200 });
    let seed = std::env::var("RPC_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64);
    report(&format!("kill -9: {rounds} rounds, RPC_SEED={seed}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let began = Instant::now();
    let (mut random, mut resolved, mut again, mut acknowledged) = (seed, 0, 0, 0);
    // A fresh book from time to time: every start reads all of it.
    let mut folder = Folder::new("crash");
    let (mut next, mut known) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(HashMap::new())));
    for round in 0..rounds {
        if round % 50 == 0 {
            folder = Folder::new("crash");
            (next, known) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(HashMap::new())));
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let server = folder.serve(&["--network-ms", "4", "--network-seed", &round.to_string()]);
        let settled = by_order(folder.audit());
        let told: HashMap<u64, Known> = known.lock().unwrap().clone();
        runtime.block_on(async {
            // What the last server has left is as it should be, and goes to its end with the same keys.
            let till = Till::open(&server.address).await.unwrap();
            for (order, told) in &told {
                let charge = settled.get(order);
                let state = charge.map_or("none", |charge| charge["state"].as_str().unwrap());
                if told.captured {
                    assert_eq!(state, "captured", "round {round}: order {order} was acknowledged");
                }
                assert!(state != "processing", "round {round}: order {order} hangs");
                assert!(wish(*order) != Wish::Pay || state != "authorized", "round {round}: order {order} hangs");
                if told.refunded {
                    assert_eq!(charge.unwrap()["refunded"], 1, "round {round}: order {order}");
                }
                let open = !told.captured || (wish(*order) == Wish::InThreeSteps && !told.refunded);
                if open {
                    again += 1;
                    resolved += u64::from(state != "none");
                    fulfil(&till, *order, &known).await.unwrap_or_else(|error| panic!("round {round}, order {order}: {error:?}"));
                }
            }
            // Only what is new can be open after the next kill.
            acknowledged += known.lock().unwrap().len();
            let settled = by_order(folder.audit());
            for order in known.lock().unwrap().keys() {
                let charge = &settled[order];
                let refunded = u64::from(wish(*order) == Wish::InThreeSteps);
                let amounts = (charge["authorized"].as_u64(), charge["captured"].as_u64(), charge["refunded"].as_u64());
                assert_eq!(amounts, (Some(100 + order % 50), Some(100 + order % 50), Some(refunded)), "round {round}: order {order}");
            }
            holds_are_all_captured(&folder, &settled);
            known.lock().unwrap().clear();
        });
        let paying: Vec<_> = (0..PAYERS).map(|payer| runtime.spawn(pay_on(server.address.clone(), payer, next.clone(), known.clone()))).collect();
        std::thread::sleep(Duration::from_micros(1000 + (random >> 33) % 60_000));
        server.signal("KILL");
        drop(server);
        runtime.block_on(async {
            for payer in paying {
                payer.await.unwrap();
            }
        });
    }
    report(&format!(
        "{rounds} kills in {:.0?}: {acknowledged} orders, {again} of them open after a kill, {resolved} of those known to the book",
        began.elapsed()
    ));
    assert!(again > rounds / 4, "the kills have hit something");
}

/// What the card network holds, it holds for a payment of ours: nothing hangs there either.
fn holds_are_all_captured(folder: &Folder, settled: &BTreeMap<u64, Value>) {
    let journal = std::fs::read_to_string(folder.book() + ".network").unwrap();
    let holds: HashMap<String, Value> = journal
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|hold| (hold["reference"].as_str().unwrap().to_owned(), hold))
        .collect();
    for hold in holds.values().filter(|hold| hold["answer"] == "approved" || hold["answer"] == "collected") {
        let order: u64 = hold["order"].as_str().unwrap()[1..].parse().unwrap();
        let charge = settled.get(&order).unwrap_or_else(|| panic!("a hold for order {order} hangs"));
        assert_eq!((&charge["state"], &charge["authorized"]), (&json!("captured"), &hold["amount"]["minor"]));
    }
}

#[test]
fn a_start_says_what_became_of_each_payment_that_was_left_open() {
    let folder = Folder::new("resolved");
    let pay = |server: &Server, name: &str, card: &str| {
        let mut client = example("checkout");
        client.args(["pay", "--addr", &server.address, "--key", name, "--order", name, "--amount", "1990", "--currency", "JPY", "--card", card]);
        client.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let killed = |server: Server, client: Child| {
        server.signal("KILL");
        drop(server);
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "unknown: {}", String::from_utf8_lossy(&output.stdout));
    };
    // The network has heard, and its answer is lost.
    let server = folder.serve(&[]);
    let client = pay(&server, "silent", "4000000000000184");
    while !std::fs::read_to_string(folder.book() + ".network").unwrap().contains("silent") {}
    killed(server, client);
    let open = folder.audit();
    assert_eq!((open.len(), &open[0]["state"]), (1, &json!("processing")), "an audit lists what is open: {open:?}");
    let server = folder.serve(&["--network-ms", "100000"]);
    let line = server.logged("resolved: completed");
    assert!(line.contains("order=silent key=silent operation=pay"), "{line}");
    // This network takes its time: the call is written down, and has not arrived there.
    let client = pay(&server, "slow", "4242424242424242");
    while status(&server.address, "slow")["outcome"] == "not_found" {}
    killed(server, client);

    let server = folder.serve(&[]);
    let line = server.logged("resolved: released: the network was never asked");
    assert!(line.contains("order=slow key=slow operation=pay"), "{line}");
    assert_eq!(status(&server.address, "silent")["outcome"], "captured");
    assert_eq!(status(&server.address, "slow")["outcome"], "not_found");
    let charges = folder.audit();
    assert_eq!((charges.len(), &charges[0]["state"]), (1, &json!("captured")));
}

#[test]
fn m13_a_restart_forgets_no_key() {
    let folder = Folder::new("m13");
    let server = folder.serve(&[]);
    let (captured, _) = pay(&server.address, "a", "order-a", &[]);
    let (declined, _) = pay(&server.address, "b", "order-b", &["--card", "4000000000000002"]);
    assert_eq!((&captured["outcome"], &declined["outcome"]), (&json!("captured"), &json!("declined")));
    server.signal("KILL");
    drop(server);
    for signal in ["KILL", "TERM"] {
        let server = folder.serve(&[]);
        assert_eq!(pay(&server.address, "a", "order-a", &[]), (captured.clone(), Some(0)));
        assert_eq!(pay(&server.address, "b", "order-b", &["--card", "4000000000000002"]), (declined.clone(), Some(1)));
        let (conflict, code) = pay(&server.address, "a", "order-c", &[]);
        assert_eq!((&conflict["outcome"], code), (&json!("conflict"), Some(1)));
        kill(signal, server.pid());
        if signal == "TERM" {
            assert_eq!(server.ended().0, Some(0));
        }
    }
    assert_eq!(folder.audit().len(), 1);
}
