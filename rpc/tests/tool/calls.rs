//! `rpc call`: arguments in, a reply or an error out.

use serde_json::Value;

use crate::support::Server;
use crate::{checkout, rpc, rpc_reads};

#[test]
fn arguments_are_given_by_position_by_name_or_alone() {
    let (shop, plain) = (checkout(), Server::start("conformance"));
    let money = "{\"currency\":\"EUR\",\"minor\":900}\n";
    let by_position = r#"[[{"sku":"tea","quantity":2}]]"#;
    let by_name = r#"{"items":[{"sku":"tea","quantity":2}]}"#;
    assert_eq!(rpc(&["call", &shop.address, "Checkout.quote", by_position]).well(), money);
    assert_eq!(rpc(&["call", &shop.address, "Checkout.quote", by_name]).well(), money);
    assert_eq!(rpc(&["call", &plain.address, "ping", "41"]).well(), "42\n");
    assert_eq!(rpc(&["call", &plain.address, "Conformance.empty"]).well(), "null\n");
    // A negative number is no option.
    assert_eq!(rpc(&["call", &plain.address, "ping", "-1"]).code, Some(65));
}

#[test]
fn arguments_come_from_a_pipe_and_the_reply_goes_into_one() {
    let server = checkout();
    let card = r#"{"card":{"number":"4242424242424242","expiry":{"month":12,"year":2099},"cvc":"123"}}"#;
    let saved: Value = serde_json::from_str(&rpc_reads(&["call", &server.address, "Checkout.tokenize", "-"], card).well()).unwrap();
    let token = saved["token"].as_str().unwrap();
    let pay = format!(r#"{{"card":"{token}","amount":{{"minor":1990,"currency":"USD"}},"order":"o-1","key":"k-1"}}"#);
    let receipt: Value = serde_json::from_str(&rpc_reads(&["call", &server.address, "Checkout.pay", "-"], &pay).well()).unwrap();
    assert_eq!(receipt["captured"]["minor"], 1990);
    // The same key: the same receipt.
    let again: Value = serde_json::from_str(&rpc(&["call", &server.address, "Checkout.pay", &pay]).well()).unwrap();
    assert_eq!(again, receipt);
    assert_eq!(
        rpc_reads(&["call", &server.address, "Checkout.pay", "-"], "").failed(64).lines().next(),
        Some("error: the arguments are not JSON: EOF while parsing a value at line 1 column 0")
    );
}

#[test]
fn the_methods_own_error_is_on_stderr_with_a_code_of_its_own() {
    let server = checkout();
    let said = rpc(&["call", &server.address, "Checkout.quote", r#"[[{"sku":"gin","quantity":1}]]"#]).failed(1);
    assert_eq!(said, "error: Checkout.quote refuses: {\"unknown_sku\":\"gin\"}\n");
}

#[test]
fn wrong_arguments_are_answered_by_the_signature() {
    let server = checkout();
    let said = rpc(&["call", &server.address, "Checkout.quote", r#"[[{"sku":"tea","quantity":-1}]]"#]).failed(65);
    assert!(said.contains("quantity") && said.contains("(executed: no)"), "{said}");
    assert!(said.ends_with("hint: the method is `async fn quote(items: Vec<Item>) -> Result<Money, QuoteError>`\n"), "{said}");
    let said = rpc(&["call", &server.address, "Checkout.quote", "[1"]).failed(64);
    assert!(said.starts_with("error: the arguments are not JSON: ") && said.contains("hint: an array by position"), "{said}");
}

#[test]
fn a_key_that_stands_twice_is_not_sent() {
    let server = checkout();
    let said = rpc(&["call", &server.address, "Checkout.quote", r#"[[{"sku":"tea","quantity":1,"quantity":2}]]"#]).failed(64);
    assert!(said.starts_with("error: the arguments are not JSON: duplicate key `quantity` at line 1 column 38\n"), "{said}");
}

#[test]
fn every_kind_of_error_has_its_exit_code() {
    let server = Server::start("conformance");
    let call = |name: &str, more: &[&str]| {
        let arguments = [&["call", &server.address, name], more].concat();
        rpc(&arguments)
    };
    let said = call("Conformance.sleep", &["60000", "--timeout", "20ms"]).failed(74);
    assert!(said.contains("executed: maybe") && said.contains("hint: give it longer: --timeout"), "{said}");
    let said = call("Conformance.panic", &[]).failed(70);
    assert!(said.contains("executed: yes"), "{said}");
    let said = call("Conformance.fail", &["\"no\""]).failed(1);
    assert_eq!(said, "error: Conformance.fail refuses: \"no\"\n");
    // Nobody can say which names there are: the server's own words have to do.
    let said = call("Conformance.fial", &["[]"]).failed(68);
    assert!(said.contains("Conformance.fial") && !said.contains("hint"), "{said}");
    let said = call("Conformance.echo_units", &["[]"]).failed(65);
    assert!(said.contains("executed: no"), "{said}");
    assert_eq!(rpc(&["call", &server.address]).code, Some(64));
    assert_eq!(rpc(&["call", &server.address, "ping", "--timeout", "soon"]).code, Some(64));
    assert_eq!(rpc(&["call", &server.address, "ping", "--metadata", "key"]).code, Some(64));
}

#[test]
fn help_has_the_exit_codes() {
    let help = rpc(&["--help"]).well();
    assert!(help.contains("   74  deadline exceeded\n") && help.contains("Usage: rpc <COMMAND>"), "{help}");
}

#[test]
fn a_port_that_speaks_something_else_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        use std::io::Write as _;
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        crate::support::read_to_close(&mut stream, std::time::Duration::from_secs(30));
    });
    let said = rpc(&["call", &address, "ping", "1"]).failed(76);
    assert!(said.contains("HTTP") && said.contains("hint: is this the port of a server of the crate `rpc`"), "{said}");
    answering.join().unwrap();
}
