//! The commands, as scripts use them: one line of JSON, and an exit code.

use serde_json::json;

use crate::shop::{Folder, line, pay, pay_amount, status};
use crate::support::{Server, example, run};

#[test]
fn a_payment_is_one_line_of_json_and_an_exit_code() {
    let server = Server::start("checkout");
    let (captured, code) = pay(&server.address, "a", "order-1", &[]);
    assert_eq!(code, Some(0));
    assert_eq!(captured["outcome"], "captured");
    assert_eq!(captured["receipt"]["captured"], json!({ "minor": 1990, "currency": "JPY" }));
    assert_eq!((&captured["receipt"]["order"], &captured["receipt"]["last_four"]), (&json!("order-1"), &json!("4242")));
    assert_eq!(captured["reason"], json!(null));
    assert_eq!(pay(&server.address, "a", "order-1", &[]), (captured.clone(), Some(0)), "the same key charges once");
    assert_eq!(status(&server.address, "a")["receipt"], captured["receipt"]);

    // M2: another amount, order or card under one key.
    let conflicts = [
        pay_amount(&server.address, "a", "order-1", "1991", &[]),
        pay(&server.address, "a", "order-2", &[]),
        pay(&server.address, "a", "order-1", &["--card", "5555555555554444"]),
    ];
    for (conflict, code) in conflicts {
        assert_eq!((&conflict["outcome"], code), (&json!("conflict"), Some(1)), "{conflict}");
    }
    assert_eq!(status(&server.address, "a")["receipt"], captured["receipt"], "the first charge is untouched");

    let (zero, code) = pay_amount(&server.address, "b", "order-3", "0", &[]);
    assert_eq!((&zero["outcome"], code), (&json!("error"), Some(1)));
    let (huge, code) = pay_amount(&server.address, "b", "order-3", "1000000000000", &[]);
    assert_eq!((&huge["outcome"], code), (&json!("error"), Some(1)));
    // M13: a validation failure does not burn a key.
    assert_eq!(status(&server.address, "b")["outcome"], "not_found");
    assert_eq!(pay(&server.address, "b", "order-3", &[]).1, Some(0));
}

#[test]
fn every_test_card_is_declined_as_it_should_be_and_the_key_keeps_the_answer() {
    let server = Server::start("checkout");
    for (card, reason, advice) in [
        ("4000000000000002", "generic_decline", "contact_issuer"),
        ("4000000000009995", "insufficient_funds", "retry_later"),
        ("4000000000009987", "generic_decline", "contact_issuer"),
        ("4000000000009979", "generic_decline", "contact_issuer"),
        ("4000000000000069", "expired_card", "never_retry"),
        ("4000000000000127", "incorrect_cvc", "never_retry"),
        ("4000000000000119", "processing_error", "retry_later"),
        ("4000000000003220", "authentication_required", "authenticate"),
    ] {
        let declined = json!({ "outcome": "declined", "receipt": null, "reason": reason, "advice": advice });
        assert_eq!(pay(&server.address, card, card, &["--card", card]), (declined.clone(), Some(1)));
        assert_eq!(pay(&server.address, card, card, &["--card", card]), (declined, Some(1)), "declined for good");
        assert_eq!(status(&server.address, card)["reason"], reason);
        // The order is not lost: another card pays it.
        assert_eq!(pay(&server.address, &format!("again-{card}"), card, &[]).1, Some(0));
    }
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    // Orders and keys are named like cards here: what is logged of a request must have no more than its order and key.
    for line in log.iter().filter(|line| line.contains(" request ")) {
        assert!(!line.contains("40000000") && !line.contains("42424242"), "a card number is in the log: {line}");
    }
}

#[test]
fn a_payment_without_an_answer_is_unknown_and_one_without_a_server_was_not_sent() {
    // Takes the connection, and never reads nor answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (unknown, code) = pay(&address, "a", "o", &["--timeout-ms", "200"]);
    assert_eq!((&unknown["outcome"], code), (&json!("unknown"), Some(2)));

    drop(silent);
    let (not_sent, code) = pay(&address, "a", "o", &[]);
    assert_eq!((&not_sent["outcome"], code), (&json!("not_sent"), Some(3)));
    let (not_sent, code) = line(&["status", "--addr", &address, "--key", "a"]);
    assert_eq!((&not_sent["outcome"], code), (&json!("not_sent"), Some(3)));
}

#[test]
fn a_usage_error_exits_with_64_and_repeats_no_card_number() {
    for arguments in [
        &["pay", "--addr", "127.0.0.1:1", "--order", "o", "--amount", "1", "--currency", "USD"][..],
        &["pay", "--addr", "127.0.0.1:1", "--key", "", "--order", "o", "--amount", "1", "--currency", "USD"],
        &["pay", "--addr", "127.0.0.1:1", "--key", "k", "--order", "o", "--amount", "1", "--currency", "usd"],
        &["pay", "--addr", "127.0.0.1:1", "--key", "k", "--order", "o", "--amount", "-1", "--currency", "USD"],
        &["pay", "--addr", "127.0.0.1:1", "--key", "k", "--order", "o", "--amount", "1.5", "--currency", "USD"],
        &["pay", "--addr", "127.0.0.1:1", "--key", "k", "--order", "o", "--amount", "1", "--currency", "USD", "--card", "4242424242424241"],
        &["pay", "--addr", "127.0.0.1:1", "--key", "k\nINFO payment.captured", "--order", "o", "--amount", "1", "--currency", "USD"],
        &["pay", "--addr", "127.0.0.1:1", "--key", "k", "--order", "o\u{1b}[31m", "--amount", "1", "--currency", "USD"],
        &["load", "--addr", "127.0.0.1:1", "--customers", "0"],
        &["load", "--addr", "127.0.0.1:1", "--seconds", "18446744073709551615"],
        &["server", "--data", "a", "--store", "b"],
        &["audit"],
        &["refund"],
    ] {
        let ran = run("checkout", arguments);
        assert_eq!((ran.out.as_str(), ran.code), ("", Some(64)), "{arguments:?}");
        assert!(!ran.log.contains("42424242"), "{}", ran.log);
    }
    assert_eq!(run("checkout", &["--help"]).code, Some(0));
}

/// What a script goes by, if it does not read the line.
#[test]
fn an_exit_code_is_given_when_the_line_cannot_be_written() {
    let server = Server::start("checkout");
    let paying = |card| ["pay", "--addr", &server.address, "--key", card, "--order", card, "--amount", "1", "--currency", "USD", "--card", card];
    for (arguments, code) in [
        (&paying("4242424242424242")[..], 0),
        (&paying("4000000000000002"), 1),
        (&["status", "--addr", &server.address, "--key", "4242424242424242"], 0),
    ] {
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        let ran = example("checkout").args(arguments).stdout(write).output().unwrap();
        assert_eq!(ran.status.code(), Some(code), "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn a_card_of_four_groups_or_three_is_one_card() {
    let server = Server::start("checkout");
    for card in ["4242 4242 4242 4242", "3782 822463 10005", "3782-822463-10005"] {
        let (paid, code) = pay(&server.address, card, card, &["--card", card]);
        assert_eq!(code, Some(0), "{paid}");
    }
}

#[test]
fn an_audit_has_a_line_a_charge_with_the_server_up_down_or_killed() {
    let folder = Folder::new("audit");
    let mut server = folder.serve(&[]);
    assert_eq!(pay(&server.address, "a", "order-a", &[]).1, Some(0));
    assert_eq!(pay(&server.address, "b", "order-b", &["--card", "4000000000000002"]).1, Some(1));
    let charge =
        json!({ "key": "a", "order": "order-a", "state": "captured", "authorized": 1990, "captured": 1990, "refunded": 0, "currency": "JPY" });
    assert_eq!(folder.audit(), std::slice::from_ref(&charge), "beside the server");
    assert!(server.is_running());
    assert_eq!(pay(&server.address, "c", "order-c", &[]).1, Some(0));
    assert_eq!(folder.audit().len(), 2, "the next audit sees the next charge");

    server.signal("KILL");
    drop(server);
    assert_eq!(folder.audit()[0], charge, "after a kill");

    let server = folder.serve(&[]);
    server.signal("TERM");
    assert_eq!(server.ended().0, Some(0));
    assert_eq!(folder.audit()[0], charge, "after a drain");
    assert_eq!(run("checkout", &["audit", "--data", "/nowhere/at/all"]).code, Some(1));
}

#[test]
fn a_second_server_on_one_book_is_refused() {
    let folder = Folder::new("second");
    let first = folder.serve(&[]);
    let second = run("checkout", &["server", "--addr", "127.0.0.1:0", "--data", &folder.book()]);
    assert_eq!(second.code, Some(1));
    assert_eq!(second.log, format!("error: {}: another server has it open\n", folder.book()));
    assert_eq!(pay(&first.address, "a", "o", &[]).1, Some(0));
}

#[test]
fn a_load_says_how_many_payments_were_made_and_all_of_them_are_in_the_book() {
    let folder = Folder::new("load");
    let server = folder.serve(&[]);
    let ran = run("checkout", &["load", "--addr", &server.address, "--customers", "70", "--seconds", "1"]);
    assert_eq!((ran.log.as_str(), ran.code), ("", Some(0)), "no progress bar where there is no terminal");
    let mut lines = ran.out.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with("70 customers, ") && first.ends_with(" 0 refused, 0 unanswered"), "{first}");
    let captured: usize = first.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(captured > 0 && !ran.out.contains('\u{1b}'), "{}", ran.out);
    for line in ["payments a second ", "latency p50 ", "latency p90 ", "latency p99 ", "latency p99.9 ", "latency max "] {
        assert!(lines.next().is_some_and(|found| found.starts_with(line)), "{}", ran.out);
    }
    assert_eq!(folder.audit().len(), captured);
}
