//! Whole services: what generated code lends, here by hand.

use serde::{Deserialize, Serialize};

use super::show;
use crate::frame::payload::{CowStr, Fault};
use crate::schema::own::{Described, Own};
use crate::schema::{Reader, Root, Schema};

#[derive(Serialize, Deserialize)]
struct Cart {
    lines: Vec<(String, u32)>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum PayError {
    Declined { code: u8 },
}

#[derive(Serialize, Deserialize)]
struct Event {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<u64>,
    at: u64,
}

fn pay(root: Root, reader: Reader<'_, '_>) -> Result<(), Fault> {
    match root {
        Root::Argument(0) => reader.read::<CowStr<'_>>(),
        Root::Argument(1) => reader.read::<Cart>(),
        Root::Returns => reader.read::<u64>(),
        Root::Error => reader.read::<PayError>(),
        _ => reader.none(),
    }
}

fn pay_with_another_error(root: Root, reader: Reader<'_, '_>) -> Result<(), Fault> {
    match root {
        Root::Error => reader.read::<String>(),
        _ => pay(root, reader),
    }
}

fn chat(root: Root, reader: Reader<'_, '_>) -> Result<(), Fault> {
    match root {
        Root::Upload => reader.read::<Cart>(),
        Root::Download => reader.read::<Event>(),
        _ => reader.none(),
    }
}

fn note(root: Root, reader: Reader<'_, '_>) -> Result<(), Fault> {
    match root {
        Root::Argument(0) => reader.read::<Cart>(),
        Root::Returns => reader.read::<()>(),
        _ => reader.none(),
    }
}

const NOTE: Described = Described { name: "note", arguments: &["lines"], upload: None, fallible: false, downloads: false, oneway: true, run: note };
const PAY: Described =
    Described { name: "pay", arguments: &["card", "cart"], upload: None, fallible: true, downloads: false, oneway: false, run: pay };
const CHAT: Described = Described { name: "chat", arguments: &[], upload: Some("lines"), fallible: false, downloads: true, oneway: false, run: chat };

#[test]
fn a_service_has_the_types_of_all_its_methods() {
    let own = Own::of_methods("Shop", [CHAT, NOTE, PAY]);
    let Schema { methods, nodes } = &own.schema;
    let text = |id: Option<_>| id.map(|id| show(nodes, id)).unwrap_or_default();
    let [chat, note, pay] = methods.as_slice() else { panic!("{methods:?}") };

    let (name, lines) = chat.upload.as_ref().unwrap();
    assert_eq!((name.as_str(), show(nodes, *lines).as_str()), ("lines", "Cart{lines: [(str, u32)]}"));
    assert_eq!((text(chat.returns).as_str(), text(chat.error).as_str()), ("", ""));
    assert_eq!(text(chat.download), "Event{order?: u64?, at: u64}");
    assert_eq!(note.arguments, [("lines".to_owned(), *lines)], "equal types are one node");
    assert_eq!(text(note.returns), "");
    assert_eq!((pay.arguments[0].0.as_str(), text(Some(pay.arguments[0].1)).as_str()), ("card", "str"));
    assert_eq!(text(pay.returns), "u64");

    assert_eq!(postcard::from_bytes::<Schema>(&own.bytes).as_ref(), Ok(&own.schema));
    assert_eq!(own.hashes.len(), 3);
}

#[test]
fn problems_name_method_part_type_and_attribute() {
    let own = Own::of_methods("Shop", [CHAT, NOTE, PAY]);
    let begins = ["Shop.chat: items: Event.", "Shop.pay: error: PayError: #[serde(tag)] needs"];
    assert_eq!(own.problems.len(), begins.len(), "{:#?}", own.problems);
    for (problem, begin) in own.problems.iter().zip(begins) {
        assert!(problem.starts_with(begin), "{problem}");
    }
    assert!(own.problems[0].contains("#[serde(skip_serializing_if)]"), "{:?}", own.problems[0]);
}

#[test]
fn a_schema_that_no_peer_would_take_is_not_sent() {
    assert!(!Own::of_methods("Shop", [NOTE]).bytes.is_empty());
    let name: &'static str = String::leak("n".repeat(600));
    let own = Own::of_methods("Shop", [Described { arguments: Vec::leak(vec![name]), ..NOTE }]);
    assert!(own.bytes.is_empty(), "the name is above the limit of a peer's");
    assert_eq!(own.schema.methods[0].arguments[0].0, name, "this end knows it all the same");
}

#[test]
fn each_direction_has_a_hash_and_the_service_one_over_all() {
    let shop = Own::of_methods("Shop", [CHAT, NOTE, PAY]);
    let changed = Own::of_methods("Shop", [CHAT, NOTE, Described { run: pay_with_another_error, ..PAY }]);
    let renamed = Own::of_methods("Shop", [CHAT, NOTE, Described { arguments: &["token", "cart"], ..PAY }]);
    let moved = Own::of_methods("Shop", [CHAT, NOTE, Described { name: "pay_all", ..PAY }]);
    assert_eq!(shop.hashes[..2], changed.hashes[..2]);
    assert_eq!(shop.hashes[2].arguments, changed.hashes[2].arguments);
    assert_ne!(shop.hashes[2].results, changed.hashes[2].results);
    assert_ne!(shop.hashes[2].arguments, renamed.hashes[2].arguments, "arguments are matched by name");
    assert_eq!(shop.hashes[2].results, renamed.hashes[2].results);
    assert_eq!(shop.hashes, moved.hashes);
    let hashes = [shop.hash, changed.hash, renamed.hash, moved.hash];
    assert!((1..hashes.len()).all(|at| !hashes[..at].contains(&hashes[at])), "{hashes:x?}");
    // A stream of carts is not a cart, though both are called `lines`.
    assert_ne!(shop.hashes[0].arguments, shop.hashes[1].arguments);
}
