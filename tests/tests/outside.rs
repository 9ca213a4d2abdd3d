//! A user's crate outside the workspace, with every lint it can think of: it compiles without a warning and works.

use std::path::Path;
use std::process::{Command, Output};

fn cargo(command: &str) -> Output {
    cargo_of(command, "")
}

fn cargo_of(command: &str, features: &str) -> Output {
    let ran = cargo_with(command, features, true);
    if !ran.status.success() && String::from_utf8_lossy(&ran.stderr).contains("--offline") {
        return cargo_with(command, features, false);
    }
    ran
}

fn cargo_with(command: &str, features: &str, offline: bool) -> Output {
    let outside = Path::new(env!("CARGO_MANIFEST_DIR")).join("outside");
    // The workspace's versions: what is on disk already. Cargo drops what this crate does not need; git ignores the file.
    std::fs::copy(outside.join("../../Cargo.lock"), outside.join("Cargo.lock")).expect("a lock file");
    // target/debug/deps/outside-1234 -> target/outside
    let test = std::env::current_exe().expect("a path");
    let target = test.ancestors().nth(3).expect("a target directory").join("outside");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([command, "--quiet", "--features", features]).args(offline.then_some("--offline"));
    cargo.arg("--manifest-path").arg(outside.join("Cargo.toml")).env("CARGO_TARGET_DIR", target);
    cargo.env_remove("RPC_LOCK").output().expect("cargo runs")
}

#[test]
fn a_crate_outside_the_workspace_compiles_without_warnings_and_works() {
    let ran = cargo("run");
    let (out, log) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{log}");
    assert!(!log.contains("warning"), "{log}");
    assert_eq!(out, "ok\n");
}

/// One for each service without type parameters that is not in a function, and one for the lock file.
#[test]
fn its_services_bring_tests_that_pass_without_warnings() {
    let ran = cargo("test");
    let (out, log) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}{log}");
    assert!(!log.contains("warning"), "{log}");
    assert!(out.contains("test result: ok. 3 passed; 0 failed"), "{out}");
}

/// With other features the contract is another, while the file is one.
#[test]
fn its_lock_test_says_which_methods_are_behind_a_cfg() {
    let ran = cargo_of("test", "zones");
    let out = String::from_utf8_lossy(&ran.stdout);
    assert!(!ran.status.success() && out.contains("test result: FAILED. 2 passed; 1 failed"), "{out}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(out.contains("the contract of Clock has changed: compatible"), "{out}");
    let text = "Some methods are behind #[cfg] (zones there now). The file holds the contract as one set of features makes it: run this test, and write \
                the file, with that set.";
    assert!(out.contains(text), "{out}");
}

/// And one that forbids every lint: an `allow` in what is generated would be an error there.
#[test]
fn a_crate_that_forbids_lints_compiles_without_warnings() {
    for command in ["build", "clippy"] {
        if command == "clippy" && !Command::new(env!("CARGO")).args(["clippy", "--version"]).output().is_ok_and(|ran| ran.status.success()) {
            rpc_tests::report!("NOT RUN, because clippy is not here");
            continue;
        }
        let ran = cargo(command);
        let log = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && !log.contains("warning"), "{command}: {log}");
    }
}
