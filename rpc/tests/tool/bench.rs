//! `rpc bench`: what is counted, and how it ends. How fast it is depends on the machine, and is nobody's business here.

use std::process::{Child, Stdio};

use crate::support::{Server, kill};
use crate::{Ran, checkout, command, ran, rpc};

/// `p50 1.2 ms` as the words.
fn row<'a>(report: &'a str, name: &str) -> Vec<&'a str> {
    let line = report.lines().find(|line| line.trim_start().starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in\n{report}")).split_whitespace().collect()
}

#[test]
fn so_many_calls_are_made_and_told() {
    let server = Server::start("conformance");
    let report = rpc(&["bench", &server.address, "ping", "[1]", "-n", "500", "-c", "8", "--connections", "2"]).well();
    assert!(report.starts_with("ping: 500 calls in "), "{report}");
    assert!(report.lines().next().unwrap().ends_with(", 8 in flight on 2 connections"), "{report}");
    assert_eq!(row(&report, "answered"), ["answered", "500"]);
    for quantile in ["p50", "p90", "p99", "p99.9", "max"] {
        assert_eq!(row(&report, quantile).len(), 3, "{report}");
    }
    let counts = report.lines().filter(|line| line.starts_with("  to ")).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(counts.sum::<u64>(), 500, "the rows of the histogram hold every call\n{report}");
    assert!(!report.contains('\x1b'), "no colour into a pipe");
}

#[test]
fn the_methods_own_errors_are_answers() {
    let server = checkout();
    let arguments = r#"[[{"sku":"gin","quantity":1}]]"#;
    let report = rpc(&["bench", &server.address, "Checkout.quote", arguments, "-n", "20", "-c", "2"]).well();
    assert_eq!(row(&report, "answered"), ["answered", "20"]);
    assert!(report.contains("  of these 20 with the method's own error\n"), "{report}");
}

#[test]
fn a_mistake_shows_at_the_first_call() {
    let server = checkout();
    let said = rpc(&["bench", &server.address, "Checkout.quot", "[]", "-d", "1h"]).failed(68);
    assert!(said.ends_with("hint: did you mean `Checkout.quote`?\n"), "{said}");
    let said = rpc(&["bench", &server.address, "Checkout.quote", "[]", "-d", "1s", "-n", "5"]).failed(64);
    assert!(said.contains("cannot be used with"), "{said}");
    assert_eq!(rpc(&["bench", &server.address, "Checkout.quote", "-c", "0"]).code, Some(64));
}

/// A load of an hour, once it has begun.
fn begun(server: &Server) -> Child {
    let load = command()
        .args(["bench", &server.address, "Checkout.last_event", "-d", "1h", "-c", "4"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first call is the one that would show a mistake.
    for _ in 0..2 {
        server.logged("Checkout.last_event");
    }
    load
}

#[test]
fn an_interrupt_ends_the_load_and_tells_what_was_seen() {
    let server = checkout();
    let load = begun(&server);
    kill("INT", load.id());
    let report = ran(load.wait_with_output().unwrap()).well();
    assert!(report.starts_with("Checkout.last_event: ") && row(&report, "answered")[1] != "0", "{report}");
}

#[test]
fn calls_that_fail_are_counted_by_what_they_say_and_give_the_exit_code() {
    let server = checkout();
    let load = begun(&server);
    // The calls in flight fail, and so does every other.
    drop(server);
    kill("INT", load.id());
    let Ran { out, err, code } = ran(load.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (Some(69), "error: some calls failed\n"), "{out}");
    assert!(row(&out, "failed").contains(&"unavailable:"), "{out}");
}
