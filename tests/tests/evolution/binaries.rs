//! Two programs, each built from one of the two versions of the trait, talk to each other over TCP.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const OLD: &str = env!("CARGO_BIN_EXE_evolve_old");
const NEW: &str = env!("CARGO_BIN_EXE_evolve_new");

/// A server, and where it is; it ends with its input.
fn server(program: &str) -> (Child, String) {
    let mut server = Command::new(program).arg("server").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("READY ").expect("it says where it is").to_owned();
    (server, address)
}

#[test]
fn programs_of_two_versions_call_each_other() {
    for (serves, calls) in [(OLD, OLD), (OLD, NEW), (NEW, OLD), (NEW, NEW)] {
        let (mut server, address) = server(serves);
        let client = Command::new(calls).args(["client", &address]).output().unwrap();
        let said = String::from_utf8_lossy(&client.stderr);
        assert!(client.status.success() && client.stdout == b"OK\n", "{calls} of {serves}: {said}");
        drop(server.stdin.take());
        assert!(server.wait().unwrap().success());
    }
}
