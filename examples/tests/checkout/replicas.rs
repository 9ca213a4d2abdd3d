//! Two servers share one book in a PostgreSQL database; one of them is killed under load and started again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::shop::{audited, pay, status};
use crate::support::Server;
use crate::till::Till;

fn serve(cluster: &Cluster) -> Server {
    Server::with("checkout", &["--store", &cluster.url()], &[])
}

/// Where the two servers are, as their clients find them.
type Addresses = Arc<Mutex<[String; 2]>>;

/// One payer: pays at its own server, and when that gives no answer, sends the same call to the other one.
async fn pay_on(payer: u64, addresses: Addresses, stop: Arc<AtomicBool>, next: Arc<AtomicU64>) -> Vec<(u64, Value)> {
    let mut receipts = Vec::new();
    let mut home = (payer % 2) as usize;
    'connect: while !stop.load(Ordering::Acquire) {
        let address = addresses.lock().unwrap()[home].clone();
        let Ok(till) = Till::open(&address).await else {
            home = 1 - home;
            continue;
        };
        while !stop.load(Ordering::Acquire) {
            let order = next.fetch_add(1, Ordering::AcqRel);
            let (key, name) = (format!("k{order}"), format!("o{order}"));
            match till.pay(&key, &name, 100 + order % 50).await {
                Ok(receipt) => receipts.push((order, receipt)),
                Err(error) => {
                    assert_ne!(error.executed(), rpc::Executed::Yes, "{error:?} {:?}", error.service::<Value>());
                    // The other server waits for as long as the first one may need, and ends it.
                    home = 1 - home;
                    let address = addresses.lock().unwrap()[home].clone();
                    let other = Till::open(&address).await.unwrap();
                    receipts.push((order, other.pay(&key, &name, 100 + order % 50).await.unwrap()));
                    continue 'connect;
                }
            }
        }
    }
    receipts
}

#[test]
fn two_servers_share_a_book_and_one_that_is_killed_takes_nothing_with_it() {
    let Some(cluster) = Cluster::start("replicas") else { return };
    let (mut first, second) = (serve(&cluster), serve(&cluster));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();

    // M3, over two servers: fifty calls with one key.
    let receipts = runtime.block_on(async {
        let tills = [Till::open(&first.address).await.unwrap(), Till::open(&second.address).await.unwrap()];
        let calls: Vec<_> = (0..50)
            .map(|n| {
                let till = tills[n % 2].clone();
                tokio::spawn(async move { till.pay("shared", "shared", 1990).await.unwrap() })
            })
            .collect();
        let mut receipts = Vec::new();
        for call in calls {
            receipts.push(call.await.unwrap());
        }
        receipts
    });
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]));
    let (conflict, code) = pay(&second.address, "shared", "another", &[]);
    assert_eq!((&conflict["outcome"], code), (&json!("conflict"), Some(1)));
    assert_eq!(status(&second.address, "shared")["receipt"], receipts[0]);

    let addresses: Addresses = Arc::new(Mutex::new([first.address.clone(), second.address.clone()]));
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let paying: Vec<_> = (0..6).map(|payer| runtime.spawn(pay_on(payer, addresses.clone(), stop.clone(), next.clone()))).collect();
    let kills = if std::env::var_os("RPC_LONG").is_some() { 20 } else { 2 };
    for _ in 0..kills {
        let before = next.load(Ordering::Acquire);
        while next.load(Ordering::Acquire) < before + 60 {
            std::thread::sleep(Duration::from_millis(1));
        }
        first.signal("KILL");
        drop(first);
        first = serve(&cluster);
        addresses.lock().unwrap()[0].clone_from(&first.address);
    }
    stop.store(true, Ordering::Release);
    let mut acknowledged: HashMap<u64, Value> = HashMap::new();
    for payer in paying {
        acknowledged.extend(runtime.block_on(payer).unwrap());
    }

    let charges = audited(&["--store", &cluster.url()]);
    println!("{} payments on two servers, {kills} kills", acknowledged.len());
    assert_eq!(charges.len(), acknowledged.len() + 1, "every payment once, and the shared one");
    for charge in charges.iter().filter(|charge| charge["order"] != "shared") {
        let order: u64 = charge["order"].as_str().unwrap()[1..].parse().unwrap();
        let receipt = &acknowledged[&order];
        assert_eq!((&charge["state"], &charge["captured"]), (&json!("captured"), &receipt["captured"]["minor"]), "order {order}");
    }
    for server in [first, second] {
        server.signal("TERM");
        let (code, log) = server.ended();
        assert_eq!(code, Some(0));
        assert!(!log.iter().any(|line| line.contains("a hold without a payment")), "a hold hangs");
    }
}
