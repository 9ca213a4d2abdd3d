//! What every example prints is a promise: an example cannot rot.
#![cfg(unix)]
#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "a panic is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Server, run};

const STORY: &str = "  quote      3 tea, 1 pot                   EUR 49.90
  pay        card 4242                      captured, receipt ch_1
  pay again  the same key                   the same receipt, nothing charged
  pay again  the same key, another amount   refused: the key belongs to another payment
  pay        card 9995                      declined, insufficient_funds: try again later, or another card
  by name    Checkout.quote [..]            {\"currency\":\"EUR\",\"minor\":4990}
  by name    Checkout.refund                unimplemented, executed: no
";

const LOG: &str = " INFO request method=\"Checkout.quote\" peer=\"127.0.0.1:PORT\"
 INFO request method=\"Checkout.pay\" peer=\"127.0.0.1:PORT\"
 INFO captured charge=\"ch_1\" order=\"order-1\" amount=EUR 49.90
 INFO request method=\"Checkout.pay\" peer=\"127.0.0.1:PORT\"
 INFO request method=\"Checkout.pay\" peer=\"127.0.0.1:PORT\"
 INFO request method=\"Checkout.pay\" peer=\"127.0.0.1:PORT\"
 INFO request method=\"Checkout.quote\" peer=\"127.0.0.1:PORT\"
";

#[track_caller]
fn prints(name: &str, transcript: &str) {
    let ran = run(name, &[]);
    assert_eq!(ran.out, transcript);
    assert_eq!((ran.log.as_str(), ran.code), ("", Some(0)));
}

#[test]
fn hello() {
    prints("hello", "Hello, world!\n");
}

#[test]
fn by_name() {
    prints(
        "by_name",
        "ping [41]                           -> 42
join [[a, b, c], -]                 -> a-b-c
Shop.price {quantity: 3, sku: tea}  -> 1350
Shop.price [coffee, 1]              -> Some(UnknownSku(\"coffee\")), executed: yes
Shop.price [\"tea\",-1] -> Malformed, executed: no
Shop.prise [\"tea\",1] -> Unimplemented, executed: no
",
    );
}

#[test]
fn unix_socket() {
    prints("unix_socket", "1 + 2 -> 3\nthe socket's file is gone\n");
}

#[test]
fn in_process() {
    prints("in_process", "2 x tea is yours, 3 left\ntea is sold out\n");
}

#[test]
fn streams() {
    prints(
        "streams",
        "Monday: 12 degrees
Tuesday: 13 degrees
Wednesday: 14 degrees
Oslo now: 11
Oslo now: 12
Oslo now: 13
Oslo now: 14
Oslo now: 11
refused: there is no station in Atlantis
on average: 13.5
",
    );
}

#[test]
fn chat() {
    prints(
        "chat",
        "ann joins
bob joins
    ann sees bob join
cleo joins
    ann sees cleo join
    bob sees cleo join
ann: who has the keys?
    bob hears ann: who has the keys?
    cleo hears ann: who has the keys?
bob: cleo has
    ann hears bob: cleo has
    cleo hears bob: cleo has
cleo vanishes
    ann sees cleo leave
    bob sees cleo leave
bob leaves
    bob hears no more
    ann sees bob leave
ann leaves
    ann hears no more
",
    );
}

#[test]
fn upload() {
    prints(
        "upload",
        "whole.bin: 25 %
whole.bin: 50 %
whole.bin: 75 %
whole.bin: 100 %
whole.bin: 1048576 bytes stored, the checksum matches
half.bin: 25 %
half.bin: 50 %
half.bin: given up
the server: half.bin: Cancelled after 524288 bytes, nothing is kept
the client: Cancelled, executed: maybe
files: [\"whole.bin\"]
",
    );
}

#[test]
fn checkout_in_one_command() {
    let ran = run("checkout", &[]);
    let transcript = format!(
        "listening on 127.0.0.1:PORT
connected to 127.0.0.1:PORT
{STORY}disconnected
drained
the books: 1 charge, EUR 49.90
"
    );
    assert_eq!(ran.out, transcript);
    assert_eq!(ran.log, LOG);
    assert_eq!(ran.code, Some(0));
}

#[test]
fn the_readme_shows_what_the_checkout_prints() {
    let readme = include_str!("../../README.md");
    for line in STORY.lines() {
        assert!(readme.contains(line), "README.md lacks the line\n{line}");
    }
}

#[test]
fn checkout_in_two_processes_drains_at_sigterm() {
    let server = Server::start("checkout");
    let ran = run("checkout", &["client", "--addr", &server.address]);
    assert_eq!(ran.out, format!("connected to 127.0.0.1:PORT\n{STORY}disconnected\n"));
    assert_eq!((ran.log.as_str(), ran.code), ("", Some(0)));

    server.signal("TERM");
    let (code, log) = server.ended();
    let log = support::without_ports(&format!("{}\n", log.join("\n")));
    assert_eq!(log, format!("{LOG} INFO draining: no new calls; a second signal stops at once\n INFO drained\n"));
    assert_eq!(code, Some(0));
}

/// One payment from the command line: its line of JSON, and its exit code.
fn pay(address: &str, more: &[&str]) -> (Value, Option<i32>) {
    let mut arguments = vec!["pay", "--addr", address, "--order", "order-7", "--currency", "JPY"];
    arguments.extend(more);
    let ran = run("checkout", &arguments);
    assert_eq!(ran.log, "");
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    (serde_json::from_str(&ran.out).unwrap(), ran.code)
}

#[test]
fn a_payment_is_one_line_of_json_and_an_exit_code() {
    let server = Server::start("checkout");
    let receipt = json!({ "id": "ch_1", "order": "order-7", "captured": { "minor": 1990, "currency": "JPY" }, "last_four": "4242" });
    let captured = json!({ "outcome": "captured", "receipt": receipt, "reason": null });
    assert_eq!(pay(&server.address, &["--key", "a", "--amount", "1990"]), (captured.clone(), Some(0)));
    assert_eq!(pay(&server.address, &["--key", "a", "--amount", "1990"]), (captured, Some(0)), "the same key charges once");

    let (conflict, code) = pay(&server.address, &["--key", "a", "--amount", "1991"]);
    assert_eq!((&conflict["outcome"], code), (&json!("conflict"), Some(1)));

    for (key, card, reason) in [("b", "4000000000000002", "generic_decline"), ("c", "4000000000009995", "insufficient_funds")] {
        let declined = json!({ "outcome": "declined", "receipt": null, "reason": reason });
        assert_eq!(pay(&server.address, &["--key", key, "--amount", "1", "--card", card]), (declined, Some(1)));
    }
    let (zero, code) = pay(&server.address, &["--key", "d", "--amount", "0"]);
    assert_eq!((&zero["outcome"], code), (&json!("error"), Some(1)));

    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    let log = log.join("\n");
    assert!(!log.contains("40000000") && !log.contains("42424242"), "a card number is in the log:\n{log}");
}

#[test]
fn a_payment_without_an_answer_is_unknown_and_one_without_a_server_was_not_sent() {
    // Takes the connection, and never reads nor answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (unknown, code) = pay(&address, &["--key", "a", "--amount", "1", "--timeout-ms", "200"]);
    assert_eq!((&unknown["outcome"], code), (&json!("unknown"), Some(2)));

    drop(silent);
    let (not_sent, code) = pay(&address, &["--key", "a", "--amount", "1"]);
    assert_eq!((&not_sent["outcome"], code), (&json!("not_sent"), Some(3)));
}

#[test]
fn a_usage_error_exits_with_64_and_repeats_no_card_number() {
    for arguments in [
        &["pay", "--addr", "127.0.0.1:1", "--order", "o", "--amount", "1", "--currency", "USD"][..],
        &["pay", "--addr", "127.0.0.1:1", "--key", "", "--order", "o", "--amount", "1", "--currency", "USD"],
        &["pay", "--addr", "127.0.0.1:1", "--key", "k", "--order", "o", "--amount", "1", "--currency", "usd"],
        &["pay", "--addr", "127.0.0.1:1", "--key", "k", "--order", "o", "--amount", "-1", "--currency", "USD"],
        &["pay", "--addr", "127.0.0.1:1", "--key", "k", "--order", "o", "--amount", "1", "--currency", "USD", "--card", "4242424242424241"],
        &["refund"],
    ] {
        let ran = run("checkout", arguments);
        assert_eq!((ran.out.as_str(), ran.code), ("", Some(64)), "{arguments:?}");
        assert!(!ran.log.contains("42424242"), "{}", ran.log);
    }
    assert_eq!(run("checkout", &["--help"]).code, Some(0));
}
