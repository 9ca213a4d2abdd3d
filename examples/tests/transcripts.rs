//! What every example prints is a promise: an example cannot rot.
#![cfg(unix)]
#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "a panic is a failed test")]

mod support;

use support::run;

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
