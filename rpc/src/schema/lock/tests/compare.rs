//! What a change breaks, and what a person reads of it.

use super::super::parse::parse;
use super::super::{Lock, check, judge};

const SHOP: &str = "\
service Shop

fn note(text: String)
fn pay(order: Order) -> Receipt or PayError
fn watch(sku: String) -> stream Event

enum Event {
    Sold(u64)
    Gone
}

struct Order {
    id: u32
    lines: Vec<u64>
    remark: Option<String>
}

enum PayError {
    Declined
    Limit(u64)
}

struct Receipt {
    total: u32
    at: u64
}
";

fn lock(text: &str) -> Lock {
    parse(text).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"))
}

/// `SHOP` with this line instead of that one; an empty one is left out.
fn with(line: &str, instead: &str) -> Lock {
    assert!(SHOP.lines().any(|known| known == line), "{line}");
    lock(&SHOP.replace(&format!("{line}\n"), &if instead.is_empty() { String::new() } else { format!("{instead}\n") }))
}

#[track_caller]
fn changed(new: &Lock, text: &str) {
    let judged = judge(&lock(SHOP), new).expect_err("a change");
    assert_eq!(judged.trim_end(), text.trim_end(), "\n{judged}");
}

#[test]
fn what_has_not_changed_passes() {
    assert_eq!(judge(&lock(SHOP), &lock(SHOP)), Ok(()));
}

#[test]
fn what_only_people_read_is_identical_on_the_wire() {
    let renamed = lock(&SHOP.replace("Receipt", "Bill"));
    changed(
        &renamed,
        "\
the contract of Shop has changed: identical on the wire

- fn pay(order: Order) -> Receipt or PayError
+ fn pay(order: Order) -> Bill or PayError
+ struct Bill {
+     total: u32
+     at: u64
+ }
- struct Receipt {
-     total: u32
-     at: u64
- }
",
    );
}

#[test]
fn the_compilers_name_of_a_type_may_change() {
    let text = "service S\nfn a(id: Uuid)\nlogical Uuid \"uuid::Uuid\" = Bytes\n";
    let other = "service S\nfn a(id: Uuid)\nlogical Uuid \"uuid::v2::Uuid<'_>\" = Bytes\n";
    assert_eq!(judge(&lock(text), &lock(other)), Ok(()));
}

#[test]
fn a_new_optional_field_is_compatible() {
    changed(
        &with("    at: u64", "    at: u64\n    note: Option<String>"),
        "\
the contract of Shop has changed: compatible

compatible:
    pay: changed, and adapted where one end is older

  struct Receipt {
+     note: Option<String>
",
    );
}

#[test]
fn another_name_with_the_old_one_as_an_alias_is_compatible() {
    for (old, new) in
        [("    id: u32", "    number: u32 [alias id]"), ("    Declined", "    Refused [alias Declined]"), ("    Gone", "    Left [alias Gone]")]
    {
        let judged = judge(&lock(SHOP), &with(old, new)).expect_err("a change");
        assert!(judged.starts_with("the contract of Shop has changed: compatible\n"), "{judged}");
    }
}

#[test]
fn what_a_method_may_gain_or_lose_is_compatible() {
    for (old, new) in [
        ("fn note(text: String)", "fn note()"),
        ("fn note(text: String)", "fn note(text: String, tag: Option<String>)"),
        ("fn note(text: String)", "fn note(text: String) or PayError"),
        ("    remark: Option<String>", ""),
        ("    id: u32", "    id: u32\n    currency: String [default]"),
    ] {
        let class = judge(&lock(SHOP), &with(old, new)).expect_err("a change");
        let expected = if new == "fn note()" { "breaks old servers" } else { "compatible" };
        assert!(class.starts_with(&format!("the contract of Shop has changed: {expected}\n")), "{class}");
    }
}

#[test]
fn a_new_method_is_compatible() {
    changed(
        &with("fn note(text: String)", "fn note(text: String)\nfn open()"),
        "\
the contract of Shop has changed: compatible

compatible:
    open: added

+ fn open()
",
    );
}

#[test]
fn a_field_that_old_clients_do_not_send_breaks_them() {
    changed(
        &with("    id: u32", "    id: u32\n    currency: String"),
        "\
the contract of Shop has changed: breaks old clients

breaks old clients:
    pay: arguments of an old client: order.currency: missing, and the reader has no default

  struct Order {
+     currency: String
",
    );
}

#[test]
fn a_field_that_old_servers_need_breaks_them() {
    changed(
        &with("    id: u32", ""),
        "\
the contract of Shop has changed: breaks old servers

breaks old servers:
    pay: arguments at an old server: order.id: missing, and the reader has no default

  struct Order {
-     id: u32
",
    );
}

#[test]
fn a_wider_number_breaks_those_who_read_the_narrow_one() {
    changed(
        &with("    total: u32", "    total: u64"),
        "\
the contract of Shop has changed: breaks old clients

breaks old clients:
    pay: replies to an old client: the reply.total: u64 may not fit u32

  struct Receipt {
-     total: u32
+     total: u64
",
    );
}

#[test]
fn a_type_that_is_another_breaks_both() {
    let judged = judge(&lock(SHOP), &with("    lines: Vec<u64>", "    lines: String")).expect_err("a change");
    assert!(judged.starts_with("the contract of Shop has changed: breaks old clients and old servers\n"), "{judged}");
    assert!(judged.contains("breaks old clients:\n    pay: arguments of an old client: order.lines"), "{judged}");
    assert!(judged.contains("breaks old servers:\n    pay: arguments at an old server: order.lines"), "{judged}");
    assert!(judged.contains("  struct Order {\n-     lines: Vec<u64>\n+     lines: String\n"), "{judged}");
}

#[test]
fn a_new_variant_of_a_reply_breaks_old_clients() {
    let judged = judge(&lock(SHOP), &with("    Gone", "    Gone\n    Moved")).expect_err("a change");
    assert!(judged.starts_with("the contract of Shop has changed: breaks old clients\n"), "{judged}");
    assert!(judged.contains("unknown variant Moved, expected Sold or Gone"), "{judged}");
    assert!(judged.contains("  enum Event {\n+     Moved\n"), "{judged}");
}

#[test]
fn a_method_that_is_gone_breaks_old_clients() {
    changed(
        &with("fn watch(sku: String) -> stream Event", ""),
        "\
the contract of Shop has changed: breaks old clients

breaks old clients:
    watch: removed

- fn watch(sku: String) -> stream Event
- enum Event {
-     Sold(u64)
-     Gone
- }
",
    );
}

#[test]
fn another_name_of_the_service_breaks_everybody() {
    let judged = judge(&lock(SHOP), &lock(&SHOP.replace("service Shop", "service shop.v2"))).expect_err("a change");
    assert!(judged.starts_with("the contract of shop.v2 has changed: breaks old clients and old servers\n"), "{judged}");
    assert!(judged.ends_with("- service Shop\n+ service shop.v2\n"), "{judged}");
}

/// A file of this test's own.
fn file(name: &str) -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("rpc-lock-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory.join(name)
}

#[test]
fn a_missing_file_is_made_when_that_is_asked_for_and_not_before() {
    let path = file("missing");
    let missing = check(&lock(SHOP), &path, None).expect_err("no file");
    assert!(missing.starts_with("there is no ") && missing.ends_with("run `RPC_LOCK=rewrite cargo test` once, and commit the file"), "{missing}");
    assert!(!path.exists());
    assert_eq!(check(&lock(SHOP), &path, Some("rewrite")), Ok(()));
    assert_eq!(check(&lock(SHOP), &path, None), Ok(()));
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.starts_with("# ") && text.ends_with(SHOP), "{text}");
    std::fs::remove_file(path).expect("a file");
}

#[test]
fn a_file_that_says_something_else_fails_until_it_is_written_anew() {
    let path = file("changed");
    assert_eq!(check(&lock(SHOP), &path, Some("rewrite")), Ok(()));
    let new = with("    id: u32", "    id: u32\n    currency: String");
    let text = check(&new, &path, Some("")).expect_err("a change");
    assert!(text.contains("changed: the contract of Shop has changed: breaks old clients\n"), "{text}");
    assert!(text.ends_with("If this is meant, run `RPC_LOCK=rewrite cargo test` and commit the file."), "{text}");
    assert_eq!(check(&new, &path, Some("rewrite")), Ok(()));
    assert_eq!(check(&new, &path, None), Ok(()));
    std::fs::remove_file(path).expect("a file");
}

#[test]
fn a_file_that_cannot_be_read_says_where() {
    let path = file("merged");
    std::fs::write(&path, "service Shop\n<<<<<<< ours\n").expect("written");
    let text = check(&lock(SHOP), &path, None).expect_err("a conflict");
    assert!(text.contains("merged, line 2: expected"), "{text}");
    assert_eq!(check(&lock(SHOP), &path, Some("rewrite")), Ok(()));
    assert_eq!(check(&lock(SHOP), &path, None), Ok(()));
    std::fs::remove_file(path).expect("a file");
}

#[test]
fn a_file_belongs_to_one_service() {
    let (path, other) = (file("shared"), lock(&SHOP.replace("service Shop", "service Stall")));
    assert_eq!(check(&lock(SHOP), &path, Some("rewrite")), Ok(()));
    let text = check(&other, &path, Some("rewrite")).expect_err("it is the shop's");
    assert!(text.contains("shared holds the contract of Shop, and stays as it is: Each service needs a file of its own."), "{text}");
    let text = check(&other, &path, None).expect_err("it is the shop's");
    assert!(text.contains("breaks old clients and old servers") && text.contains("needs a file of its own. If Shop is now called Stall"), "{text}");
    assert_eq!(check(&lock(SHOP), &path, None), Ok(()));
    std::fs::remove_file(path).expect("a file");
}

#[test]
fn a_file_is_written_wherever_it_is_to_be_and_whatever_was_there() {
    let path = file("contracts").join("of").join("shop.schema");
    assert_eq!(check(&lock(SHOP), &path, Some("rewrite")), Ok(()));
    let text = std::fs::read_to_string(&path).expect("a file");
    for same in [format!("\u{feff}{text}"), text.replace('\n', "\r\n")] {
        std::fs::write(&path, same).expect("written");
        assert_eq!(check(&lock(SHOP), &path, None), Ok(()));
    }
    std::fs::write(&path, [0xff, 0xfe, 0]).expect("written");
    let text = check(&lock(SHOP), &path, None).expect_err("no text");
    assert!(text.contains("shop.schema, line 1: expected"), "{text}");
    assert_eq!(check(&lock(SHOP), &path, Some("rewrite")), Ok(()));
    assert_eq!(check(&lock(SHOP), &path, None), Ok(()));
    std::fs::remove_dir_all(file("contracts")).expect("a directory");
}

#[test]
fn a_misspelt_variable_is_no_silent_pass() {
    let text = check(&lock(SHOP), &file("never"), Some("rewrte")).expect_err("no such value");
    assert_eq!(text, "RPC_LOCK is \"rewrte\": the only value is `rewrite`");
}
