//! `rpc watch`: a stream's items, one line of JSON each, and every way in which they end.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::support::{Server, kill};
use crate::{Ran, checkout, command, ran, rpc, rpc_reads};

/// Pays, so that something has happened.
fn pay(server: &Server, key: &str) {
    let card = r#"{"card":{"number":"4242424242424242","expiry":{"month":12,"year":2099},"cvc":"123"}}"#;
    let saved: Value = serde_json::from_str(&rpc_reads(&["call", &server.address, "Checkout.tokenize", "-"], card).well()).unwrap();
    let token = saved["token"].as_str().unwrap();
    let pay = format!(r#"{{"card":"{token}","amount":{{"minor":1990,"currency":"USD"}},"order":"{key}","key":"{key}"}}"#);
    rpc(&["call", &server.address, "Checkout.pay", &pay]).well();
}

/// The tool while it watches the checkout's events, which never end by themselves.
fn watching(server: &Server) -> (Child, BufReader<ChildStdout>) {
    let mut child =
        command().args(["watch", &server.address, "Checkout.events", "[0]"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn event(out: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn items_are_lines_as_they_come_and_an_interrupt_ends_them() {
    let server = checkout();
    pay(&server, "k-1");
    let (child, mut out) = watching(&server);
    let types = [event(&mut out), event(&mut out)].map(|event| event["type"].clone());
    assert_eq!(types, ["payment.authorized", "payment.captured"]);
    // It is read while the stream goes on.
    pay(&server, "k-2");
    assert_eq!(event(&mut out)["sequence"], 3);
    assert_eq!(event(&mut out)["key"], "k-2");
    kill("INT", child.id());
    let Ran { err, code, .. } = ran(child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (Some(72), ""));
    let mut rest = String::new();
    assert_eq!(out.read_line(&mut rest).unwrap(), 0, "{rest}");
}

#[test]
fn the_end_of_a_stream_is_the_end_of_the_command() {
    let server = Server::start("conformance");
    let out = rpc(&["watch", &server.address, "Conformance.download", r#"{"sizes":[3,0,1]}"#]).well();
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lengths: Vec<usize> = lines.iter().map(|line| line.as_array().unwrap().len()).collect();
    assert_eq!(lengths, [3, 0, 1], "{out}");
    assert_eq!(rpc(&["watch", &server.address, "Conformance.download", "[[]]"]).well(), "", "no items");
    // A server that drains ends its events.
    let shop = checkout();
    pay(&shop, "k-1");
    let (child, mut out) = watching(&shop);
    event(&mut out);
    shop.signal("TERM");
    assert_eq!(ran(child.wait_with_output().unwrap()).code, Some(0));
}

#[test]
fn a_stream_that_fails_is_an_error_with_its_code() {
    let server = Server::start("conformance");
    let watch = |name: &str, arguments: &str| rpc(&["watch", &server.address, name, arguments]);
    let said = watch("Conformance.download", "[[4294967295]]").failed(1);
    assert!(said.starts_with("error: Conformance.download refuses: \"no item may have more than "), "{said}");
    let said = watch("Conformance.panic_after", "[0]").failed(70);
    assert!(said.contains("panicked") && said.contains("executed: yes"), "{said}");
    let said = watch("Conformance.download", "[1]").failed(65);
    assert!(said.contains("$.sizes") && said.contains("executed: no"), "{said}");
    let said = watch("Conformance.nothing", "[]").failed(68);
    assert!(said.contains("Conformance.nothing"), "{said}");
    let said = watch("ping", "[1]").failed(68);
    assert!(said.ends_with("hint: it is called by `rpc call`\n"), "{said}");
    let said = rpc(&["call", &server.address, "Conformance.panic_after", "[3]"]).failed(68);
    assert!(said.ends_with("hint: its items are read by `rpc watch`\n"), "{said}");
    // After some items.
    let shop = checkout();
    pay(&shop, "k-1");
    let Ran { out, err, code } = rpc(&["watch", &shop.address, "Checkout.events", "[0]", "--timeout", "500ms"]);
    assert_eq!((code, out.lines().count()), (Some(74), 2), "{out}{err}");
    let (child, mut out) = watching(&shop);
    event(&mut out);
    drop(shop);
    let Ran { err, code, .. } = ran(child.wait_with_output().unwrap());
    assert_eq!(code, Some(69), "{err}");
}

#[test]
fn a_reader_that_has_enough_ends_it() {
    let server = checkout();
    pay(&server, "k-1");
    let (child, mut out) = watching(&server);
    event(&mut out);
    drop(out);
    pay(&server, "k-2");
    assert_eq!(ran(child.wait_with_output().unwrap()).code, Some(0));
}
