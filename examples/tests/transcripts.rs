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
fn callback() {
    prints(
        "callback",
        "ann cleans /tmp
  ann is asked about notes.txt: no
  ann is asked about cache.bin: yes
  ann is asked about log.old: yes
  bob hears that /tmp was cleaned
2 files are gone
bob cleans /var
  bob is asked about notes.txt: no
  bob is asked about cache.bin: yes
  bob is asked about log.old: yes
  bob hears that /var was cleaned
2 files are gone
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
