//! The checkout called by programs that are not written in Rust: the client in Python, and curl as `docs/http.md` shows it.
#![cfg(unix)]
#![allow(clippy::allow_attributes, clippy::unwrap_used, unreachable_pub, reason = "the files of one test binary; a panic is a failed test")]

#[path = "../support/mod.rs"]
mod support;

mod curl;
mod python;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// Whether this program is here. If not it says so, and fails where the environment has this variable.
fn is_here(program: &str, needed: &str) -> bool {
    let is_here = Command::new(program).arg("--version").output().is_ok_and(|ran| ran.status.success());
    if !is_here {
        assert!(std::env::var_os(needed).is_none(), "{needed} is set, and {program} is not here");
        writeln!(std::io::stderr(), "NOT RUN, because {program} is not here").ok();
    }
    is_here
}

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
