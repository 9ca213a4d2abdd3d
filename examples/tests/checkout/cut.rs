//! What lies between the ends is cut, recorded, or slow.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::shop::{Folder, pay, status};
use crate::support::{Server, example, kill};
use crate::till::{Till, block_on};
use crate::wire::Wire;

/// What a receipt has in it, and a token has not.
const RECEIPT: &str = "ch_";

#[test]
fn m1_a_lost_reply_is_unknown_and_the_same_key_gets_the_same_receipt() {
    let folder = Folder::new("m1");
    let server = folder.serve(&[]);
    let wire = Wire::to(&server.address);
    wire.lose(RECEIPT);
    let (lost, code) = pay(&wire.address, "key", "order", &[]);
    assert_eq!((&lost["outcome"], code), (&json!("unknown"), Some(2)), "{lost}");
    assert!(wire.lost(), "the server had answered");
    let truth = status(&server.address, "key");
    assert_eq!(truth["outcome"], "captured");

    let (first, code) = pay(&wire.address, "key", "order", &[]);
    assert_eq!((code, &first["receipt"]), (Some(0), &truth["receipt"]));
    let (second, _) = pay(&server.address, "key", "order", &[]);
    assert_eq!(first.to_string(), second.to_string(), "byte for byte");
    let charges = folder.audit();
    assert_eq!((charges.len(), &charges[0]["captured"]), (1, &json!(1990)));
}

#[test]
fn m3_a_hundred_calls_with_one_key_at_the_same_time_are_one_charge() {
    let folder = Folder::new("m3");
    let server = folder.serve(&["--network-ms", "20"]);
    block_on(async {
        let mut calls = Vec::new();
        for _ in 0..10 {
            let till = Till::open(&server.address).await.unwrap();
            for _ in 0..10 {
                let till = till.clone();
                calls.push(tokio::spawn(async move { till.pay("key", "order", 1990).await.unwrap() }));
            }
        }
        let mut receipts = Vec::new();
        for call in calls {
            receipts.push(call.await.unwrap());
        }
        assert_eq!(receipts.len(), 100);
        assert!(receipts.iter().all(|receipt| *receipt == receipts[0]));
    });
    assert_eq!(folder.audit().len(), 1);
}

#[test]
fn m6_a_client_that_is_killed_in_the_middle_is_run_again_with_the_same_key() {
    let folder = Folder::new("m6");
    let server = folder.serve(&["--network-ms", "100"]);
    for round in 0..3 {
        let wire = Wire::to(&server.address);
        let (key, order) = (format!("key-{round}"), format!("order-{round}"));
        let mut client = example("checkout");
        client.args(["pay", "--addr", &wire.address, "--key", &key, "--order", &order, "--amount", "1990", "--currency", "JPY"]);
        let mut client = client.stdout(std::process::Stdio::null()).spawn().unwrap();
        // The call with the key has left, and its answer takes a while.
        wire.hears(&key);
        kill("KILL", client.id());
        client.wait().unwrap();
        assert_eq!(pay(&server.address, &key, &order, &[]).1, Some(0));
    }
    assert_eq!(folder.audit().len(), 3);
}

#[test]
fn m11_a_recorded_session_that_is_sent_again_charges_nothing() {
    let folder = Folder::new("m11");
    let server = folder.serve(&[]);
    let wire = Wire::to(&server.address);
    let (paid, code) = pay(&wire.address, "key", "order", &[]);
    assert_eq!(code, Some(0));
    let session = wire.said();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(&session).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(!answer.is_empty());
    }
    assert_eq!(status(&server.address, "key")["receipt"], paid["receipt"]);
    let charges = folder.audit();
    assert_eq!((charges.len(), &charges[0]["captured"]), (1, &json!(1990)));
}

#[test]
fn m12_a_deadline_on_a_slow_issuer_is_unknown_and_status_has_the_truth_later() {
    let folder = Folder::new("m12");
    let server = folder.serve(&[]);
    let slow = ["--card", "4000000000006009", "--timeout-ms", "400"];
    loop {
        let (late, code) = pay(&server.address, "key", "order", &slow);
        assert_eq!((&late["outcome"], code), (&json!("unknown"), Some(2)), "{late}");
        // On a slow machine the time may be over before the payment itself was sent.
        if status(&server.address, "key")["outcome"] != "not_found" {
            break;
        }
    }
    assert_eq!(captured_at_last(&server, "key")["captured"]["minor"], 1990);
    assert_eq!(folder.audit().len(), 1);
}

fn captured_at_last(server: &Server, key: &str) -> serde_json::Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let status = status(&server.address, key);
        match status["outcome"].as_str().unwrap() {
            "captured" => return status["receipt"].clone(),
            "pending" if Instant::now() < until => {}
            other => panic!("{other}"),
        }
    }
}
