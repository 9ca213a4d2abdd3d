//! What servers say of themselves: `list`, `describe` and shell completion.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Server, run};
use crate::{checkout, command, rpc};

#[test]
fn list_prints_a_name_a_line() {
    let server = checkout();
    let names = rpc(&["list", &server.address]).well();
    let names: Vec<_> = names.lines().collect();
    assert_eq!((names.len(), names[0], names[7]), (13, "Checkout.authorize", "Checkout.pay"));

    let long = rpc(&["list", "--long", &server.address]).well();
    assert!(long.contains("\nCheckout.pay                Authorizes and captures in one step.\n"), "{long}");

    let all = rpc(&["list", "--all", &server.address]).well();
    assert!(all.ends_with("rpc.Reflection.schema\nrpc.Reflection.services\n"), "{all}");
}

#[test]
fn describe_prints_the_trait_with_its_docs_and_types() {
    let server = checkout();
    let text = rpc(&["describe", &server.address]).well();
    for part in [
        "/// Takes payments by card. One order has one payment; [`PaymentState`] says what may come next.\n#[rpc::service]\npub trait Checkout {\n",
        "    #[rpc(idempotent, detached)]\n    async fn capture(&self, key: String, order: String, amount: Money) -> Result<Payment, PayError>;\n",
        "    fn events(&self, after: u64) -> impl Stream<Item = Event>;\n",
        "    async fn get(&self, order: String) -> Result<Option<Payment>, Unavailable>;\n",
        "\nstruct Receipt {\n    id: String,\n    order: String,\n    captured: Money,\n    brand: Brand,\n    last_four: String,\n}\n",
        "    illegal_transition { from: PaymentState, operation: Operation },\n",
        "    #[serde(rename = \"payment.captured\")]\n    PaymentCaptured,\n",
        "\nstruct Unavailable;\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    assert!(!text.contains("rpc.Reflection") && !text.contains("Opaque"), "{text}");
    assert_eq!(rpc(&["describe", &server.address, "Checkout"]).well(), text);
}

#[test]
fn describe_of_a_method_brings_the_types_it_needs_and_no_others() {
    let server = checkout();
    let text = rpc(&["describe", &server.address, "Checkout.quote"]).well();
    assert_eq!(
        text,
        "/// What these items cost together.
#[rpc(idempotent)]
async fn quote(items: Vec<Item>) -> Result<Money, QuoteError>;

struct Item {
    sku: String,
    quantity: u32,
}

struct Money {
    minor: u64,
    currency: Currency,
}

enum QuoteError {
    unknown_sku(String),
    too_much,
}

enum Currency {
    USD,
    EUR,
    GBP,
    CHF,
    JPY,
    BHD,
    KWD,
}
"
    );
}

#[test]
fn describe_as_json_is_what_reflection_says() {
    let server = checkout();
    let json: Value = serde_json::from_str(&rpc(&["describe", "--json", &server.address, "Checkout.pay"]).well()).unwrap();
    let [service] = json.as_array().unwrap().as_slice() else { panic!("{json}") };
    let [method] = service["methods"].as_array().unwrap().as_slice() else { panic!("{json}") };
    assert_eq!((service["name"].as_str(), method["name"].as_str()), (Some("Checkout"), Some("pay")));
    assert_eq!((method["returns"].as_str(), method["error"].as_str()), (Some("Receipt"), Some("PayError")));
    assert_eq!(method["arguments"][3]["type"], "String");
}

#[test]
fn a_name_that_is_not_served_is_met_by_those_that_may_be_meant() {
    let server = checkout();
    let said = rpc(&["describe", &server.address, "checkout.pya"]).failed(68);
    assert_eq!(said, "error: the server has no method or service `checkout.pya`\nhint: did you mean `Checkout.pay`?\n");
    let said = rpc(&["describe", &server.address, "refund"]).failed(68);
    assert!(said.ends_with("hint: did you mean `Checkout.refund`?\n"), "{said}");
    let said = rpc(&["describe", &server.address, "Warehouse"]).failed(68);
    assert!(said.ends_with("hint: `rpc list ADDR` prints what there is\n"), "{said}");
}

#[test]
fn a_server_without_reflection_is_told_apart_and_how_to_turn_it_on() {
    let server = Server::start("conformance");
    let said = "error: the server at 127.0.0.1:PORT does not say what it serves
hint: reflection is off: turn it on where the server is made, `Server::new().add(..).reflection(true)`
      `rpc call` needs none, if you know the method
";
    for arguments in [&["list", &server.address][..], &["describe", &server.address], &["describe", &server.address, "ping"]] {
        assert_eq!(rpc(arguments).failed(68), said);
    }
}

#[test]
fn whoever_may_not_call_is_not_told_what_there_is() {
    let server = Server::with("checkout", &[], &[("CHECKOUT_API_KEYS", "secret")]);
    let said = rpc(&["list", &server.address]).failed(77);
    assert!(said.contains("executed: no") && said.contains("hint: say who you are: --metadata NAME=VALUE"), "{said}");
    assert_eq!(rpc(&["list", &server.address, "--metadata", "api-key=wrong"]).code, Some(77));
    let names = rpc(&["list", &server.address, "-m", "api-key=secret"]).well();
    assert!(names.starts_with("Checkout.authorize\n"), "{names}");
}

#[test]
fn an_address_that_is_none_and_one_where_nobody_is() {
    let said = rpc(&["list", "localhost"]).failed(64);
    assert_eq!(said, "error: `localhost` is not an address: write `host:port`, `[ipv6]:port` or `unix:PATH`\n");
    // Free a moment ago, and nobody else's since.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let said = rpc(&["list", &format!("127.0.0.1:{port}")]).failed(69);
    assert!(said.contains("no connection could be made") && said.contains("hint: is a server running at this address?"), "{said}");
    let said = rpc(&["list", "unix:/nonexistent/socket"]).failed(69);
    assert!(said.contains("unix:/nonexistent/socket"), "{said}");
}

#[test]
fn who_reads_may_stop_reading() {
    let server = checkout();
    // More than a pipe holds.
    let mut child = command().args(["describe", "--json", &server.address]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "[\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(0), ""));
}

#[test]
fn each_shell_has_a_completion_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = rpc(&["completions", shell]).well();
        assert!(["describe", "bench", "--metadata"].iter().all(|word| script.contains(word.trim_start_matches("--"))), "{shell}");
    }
    assert_eq!(rpc(&["completions", "abacus"]).failed(64).lines().next(), Some("error: invalid value 'abacus' for '<SHELL>'"));
}

#[test]
fn a_unix_socket_serves_as_well() {
    let path = std::env::temp_dir().join(format!("rpc-tool-{}", std::process::id()));
    let address = format!("unix:{}", path.display());
    let mut command = crate::support::example("checkout");
    command.args(["server", "--addr", &address]);
    let _server = Server::ready(command);
    assert_eq!(rpc(&["call", &address, "Checkout.last_event"]).well(), "0\n");
    assert_eq!(run("checkout", &["status", "--addr", &address, "--key", "k"]).code, Some(0));
    std::fs::remove_file(path).ok();
}
