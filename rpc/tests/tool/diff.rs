//! `rpc diff`: what a change breaks, of servers and of files.

use std::path::PathBuf;

use crate::support::Server;
use crate::{checkout, rpc, rpc_reads};

/// A file of this test's own, gone at its end.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rpc-diff-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

#[test]
fn two_servers_of_one_version_are_identical() {
    let (one, other) = (checkout(), checkout());
    let said = rpc(&["diff", &one.address, &other.address]).well();
    assert!(said.starts_with("Checkout.authorize          identical\n"), "{said}");
    assert!(said.ends_with("\n13 methods: 13 identical, 0 compatible, 0 broken\n"), "{said}");
    assert_eq!(rpc(&["diff", "--brief", &one.address, &other.address]).well(), "13 methods: 13 identical, 0 compatible, 0 broken\n");
}

#[test]
fn a_pipe_is_as_good_as_a_file() {
    let server = checkout();
    let saved = rpc(&["describe", "--json", &server.address]).well();
    let said = rpc_reads(&["diff", "--brief", "/dev/stdin", &server.address], &saved).well();
    assert_eq!(said, "13 methods: 13 identical, 0 compatible, 0 broken\n");
    let said = rpc(&["diff", "/dev/null", &server.address]).failed(64);
    assert!(said.starts_with("error: /dev/null, line 1: no line `service NAME`\n"), "{said}");
}

#[test]
fn what_was_saved_is_compared_with_what_is_served() {
    let server = checkout();
    let saved = rpc(&["describe", "--json", &server.address]).well();
    let same = File::new("same.json", &saved);
    assert_eq!(rpc(&["diff", "--brief", same.path(), &server.address]).well(), "13 methods: 13 identical, 0 compatible, 0 broken\n");

    // A server of yesterday that had a method more, a method less, another name of a variant, and a reply without a field.
    let mut services: serde_json::Value = serde_json::from_str(&saved).unwrap();
    let schema = &mut services[0]["schema"];
    let methods = schema["methods"].as_array_mut().unwrap();
    let at = |methods: &[serde_json::Value], name: &str| methods.iter().position(|method| method["name"] == name).unwrap();
    methods.remove(at(methods, "void"));
    let last = at(methods, "last_event");
    methods[last]["name"] = "oldest_event".into();
    let text = services.to_string().replace("\"too_much\"", "\"too_many\"");
    let yesterday = File::new("yesterday.json", &text);
    let ran = rpc(&["diff", "--brief", yesterday.path(), &server.address]);
    assert_eq!(
        (ran.code, ran.err.as_str(), ran.out.as_str()),
        (
            Some(1),
            "",
            "Checkout.last_event         compatible: added
Checkout.oldest_event       breaks: removed
Checkout.quote              breaks
    what an old client gets, in part: when the error is too_much: unknown variant too_much, expected unknown_sku or too_many
    what an old server gives, in part: when the error is too_many: unknown variant too_many, expected unknown_sku or too_much
Checkout.void               compatible: added
14 methods: 10 identical, 2 compatible, 2 broken
"
        )
    );
}

const LOCK: &str = "# A comment.
service Checkout

fn last_event() -> u64 or Unavailable
fn quote(items: Vec<Item>) -> Money or QuoteError

enum Currency {
    USD
    EUR
}
struct Item {
    sku: String
    quantity: u16
}
struct Money {
    minor: u64
    currency: Currency
}
enum QuoteError {
    unknown_sku(String)
    too_much
}
struct Unavailable
";

#[test]
fn a_lock_file_is_compared_with_the_service_it_is_of() {
    let server = checkout();
    let lock = File::new("shop.lock", LOCK);
    let ran = rpc(&["diff", lock.path(), &server.address]);
    let line = |name: &str| ran.out.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{}{}", ran.out, ran.err)).to_owned();
    assert_eq!(line("Checkout.last_event "), "Checkout.last_event         identical");
    assert_eq!(line("Checkout.pay "), "Checkout.pay                compatible: added");
    assert_eq!(line("Checkout.quote "), "Checkout.quote              breaks");
    assert!(ran.out.contains("    the arguments at an old server, in part: items[].quantity: u32 may not fit u16\n"), "{}", ran.out);
    assert!(ran.out.contains("    what an old client gets, in part: when the reply.currency is GBP"), "{}", ran.out);
    assert_eq!(ran.code, Some(1));
}

#[test]
fn a_place_that_is_neither_a_server_nor_a_file_is_said_so() {
    let server = checkout();
    let said = rpc(&["diff", "shop.lock", &server.address]).failed(64);
    assert_eq!(said, "error: `shop.lock` is neither a file nor an address: an address is `host:port` or `unix:PATH`\n");
    let nonsense = File::new("nonsense", "to be or not to be\n");
    let said = rpc(&["diff", &server.address, nonsense.path()]).failed(64);
    assert!(said.contains("line 1") && said.contains("hint: the file is to be a lock file"), "{said}");
    let nonsense = File::new("nonsense.json", "[{}]");
    let said = rpc(&["diff", &server.address, nonsense.path()]).failed(64);
    assert!(said.contains("is not what `rpc describe --json` prints"), "{said}");
    let silent = Server::start("conformance");
    let said = rpc(&["diff", &server.address, &silent.address]).failed(68);
    assert!(said.contains("hint: reflection is off"), "{said}");
}
