//! The command line tool as its users have it: a process, beside servers that are processes too.
//!
//! The servers are examples of this repository, whose tests lend how to start one: `checkout` says what it serves, `conformance`
//! does not.
#![cfg(unix)]
#![allow(clippy::allow_attributes, clippy::unwrap_used, unreachable_pub, reason = "a panic is a failed test")]

#[path = "../../../examples/tests/support/mod.rs"]
mod support;

mod answers;
mod bench;
mod calls;
mod diff;
mod terminal;
mod transcript;
mod watch;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use support::{Server, without_ports};

/// What became of one command.
struct Ran {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Ran {
    /// It went well and had nothing to say on the side.
    #[track_caller]
    fn well(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// It failed with this code; what it says.
    #[track_caller]
    fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{}", self.err);
        self.err
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rpc"));
    command.env_remove("RUST_BACKTRACE").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn ran(output: Output) -> Ran {
    let text = |bytes| without_ports(&String::from_utf8(bytes).unwrap());
    Ran { out: text(output.stdout), err: text(output.stderr), code: output.status.code() }
}

fn rpc(arguments: &[&str]) -> Ran {
    ran(command().args(arguments).output().unwrap())
}

/// With this on its stdin.
fn rpc_reads(arguments: &[&str], input: &str) -> Ran {
    let mut child = command().args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    ran(child.wait_with_output().unwrap())
}

fn checkout() -> Server {
    Server::start("checkout")
}
