//! Runs the examples as their users do: real processes, watched from outside.
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, clippy::unwrap_used, reason = "shared by two test binaries; a panic is a failed test")]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Only against hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// The example's binary, which `cargo test` has built beside this test's.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let path: PathBuf = profile.join("examples").join(name);
    assert!(path.exists(), "{} is not built: `cargo test -p rpc-examples` builds it", path.display());
    let mut command = Command::new(path);
    command.env_remove("RUST_BACKTRACE").stdin(Stdio::null());
    command
}

pub struct Ran {
    pub out: String,
    pub log: String,
    pub code: Option<i32>,
}

/// To its end.
pub fn run(name: &str, arguments: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = example(name).args(arguments).output().unwrap();
    Ran { out: without_ports(&String::from_utf8(stdout).unwrap()), log: without_ports(&String::from_utf8(stderr).unwrap()), code: status.code() }
}

/// `127.0.0.1:40963` reads `127.0.0.1:PORT`.
pub fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str("127.0.0.1:PORT");
        plain.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    plain
}

/// A server in a process of its own, killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    log: mpsc::Receiver<String>,
}

impl Server {
    /// Ready: its first line says where.
    pub fn start(name: &str) -> Self {
        Self::of(example(name))
    }

    /// Ready, with more arguments and an environment of its own.
    pub fn with(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = example(name);
        command.args(["server", "--addr", "127.0.0.1:0"]).args(arguments).envs(environment.iter().copied());
        Self::ready(command)
    }

    /// Ready as well, under a command that becomes the example: it takes the path and the arguments as its last.
    pub fn under(mut command: Command, name: &str) -> Self {
        command.arg(example(name).get_program()).env_remove("RUST_BACKTRACE").stdin(Stdio::null());
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        command.args(["server", "--addr", "127.0.0.1:0"]);
        Self::ready(command)
    }

    /// Any command that prints `READY ADDR` first.
    pub fn ready(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut first).unwrap();
        let address = first.strip_prefix("READY ").expect("READY ADDR is the first line").trim_end().to_owned();
        let (lines, log) = mpsc::channel();
        let err = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || err.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        Self { child, address, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    /// The next line of its log that contains this; those before it are gone.
    pub fn logged(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let line = self.log.recv_timeout(until.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("the server did not log `{text}`"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The exit code, once it has ended by itself.
    pub fn ended(mut self) -> (Option<i32>, Vec<String>) {
        let (told, ended) = mpsc::channel::<()>();
        let pid = self.child.id();
        let guard = std::thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                kill("KILL", pid);
            }
        });
        let status = self.child.wait().unwrap();
        drop(told);
        guard.join().unwrap();
        (status.code(), self.log.iter().collect())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Memory it holds, in bytes.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory it has held so far, in bytes.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Files it has open, sockets included.
    pub fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
}

/// All that comes until the other end closes, and whether it did within this time.
pub fn read_to_close(stream: &mut std::net::TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    let mut sink = Vec::new();
    match stream.read_to_end(&mut sink) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}
