//! A server and a client to be tested from outside: `cargo run --example conformance -- --help`.
//!
//! The server is a real process with every kind of method that can go wrong; the client makes one call and says in one
//! line of JSON what came of it. Scripts and tests can kill either, cut the wire between them, or speak nonsense to them.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use rpc::{CallError, Error, ErrorKind, Executed, Server};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Parser)]
#[command(name = "conformance")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or ctrl-c, then drains. Prints `READY ADDR` first.
    Server {
        /// Where to listen; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        addr: String,
    },
    /// Makes one call and prints one line of JSON: outcome, kind, executed, micros, value.
    ///
    /// Exits with 0 when the call succeeded, 1 when it failed, 64 on a usage error.
    Call {
        /// empty, echo, sleep, fail, panic, count, echo_tree or echo_units; any other name is called by name.
        method: String,
        /// The server.
        #[arg(long)]
        addr: String,
        /// The deadline of the call.
        #[arg(long)]
        timeout_ms: Option<u64>,
        /// echo: bytes; echo_tree: depth; echo_units: elements; sleep: milliseconds; ping: the number.
        #[arg(long, default_value_t = 0)]
        bytes: usize,
    },
}

#[rpc::service]
trait Conformance {
    async fn empty(&self);
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
    async fn sleep(&self, millis: u64);
    async fn fail(&self, text: String) -> Result<(), Failure>;
    async fn panic(&self);
    /// Of the handlers of `sleep`: how many have begun, and how many still run.
    async fn count(&self) -> Count;
    async fn echo_tree(&self, tree: Tree) -> Tree;
    async fn echo_units(&self, units: Vec<()>) -> u64;
}

#[derive(Debug, Serialize, Deserialize)]
struct Failure(String);

#[derive(Debug, Serialize, Deserialize)]
struct Count {
    begun: u64,
    running: u64,
}

/// As deep as you like.
#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>),
}

impl Tree {
    fn deep(depth: usize) -> Self {
        (0..depth).fold(Self::Leaf, |tree, _| Self::Node(Box::new(tree)))
    }
}

/// Level by level: the compiler's own drop recurses, and a deep tree would overflow the stack.
impl Drop for Tree {
    fn drop(&mut self) {
        let Self::Node(inner) = self else { return };
        let mut next = std::mem::replace(&mut **inner, Self::Leaf);
        while let Self::Node(inner) = &mut next {
            let after = std::mem::replace(&mut **inner, Self::Leaf);
            next = after;
        }
    }
}

#[derive(Default)]
struct Subject {
    begun: AtomicU64,
    running: AtomicU64,
}

/// Counts a handler out however it ends, dropped in the middle included.
struct Running<'a>(&'a AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Conformance for Subject {
    async fn empty(&self) {}

    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    async fn sleep(&self, millis: u64) {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.running.fetch_add(1, Ordering::AcqRel);
        let _running = Running(&self.running);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    async fn fail(&self, text: String) -> Result<(), Failure> {
        Err(Failure(text))
    }

    async fn panic(&self) {
        panic!("as asked")
    }

    async fn count(&self) -> Count {
        Count { begun: self.begun.load(Ordering::Acquire), running: self.running.load(Ordering::Acquire) }
    }

    async fn echo_tree(&self, tree: Tree) -> Tree {
        tree
    }

    async fn echo_units(&self, units: Vec<()>) -> u64 {
        units.len() as u64
    }
}

fn main() -> ExitCode {
    let arguments: Arguments = rpc_examples::arguments();
    let command = match arguments.command {
        Command::Call { method, .. } if matches!(&*method, "upload" | "download" | "chat") => {
            eprintln!("error: {method} is not available: methods with streams do not exist yet");
            return ExitCode::from(64);
        }
        command => command,
    };
    // The client encodes its own deep trees, which takes stack for every level; pages that are not touched cost nothing.
    let depth = if let Command::Call { bytes, method, .. } = &command
        && method == "echo_tree"
    {
        *bytes
    } else {
        0
    };
    let stack = (8 << 20) + depth.saturating_mul(1 << 10);
    let thread = std::thread::Builder::new().stack_size(stack).spawn(move || run(command));
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(code))) => code,
        Ok(Ok(Err(error))) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: no thread with a stack of {stack} bytes: {error}");
            ExitCode::from(64)
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn std::error::Error + Send + Sync>> {
    match command {
        Command::Server { addr } => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(serve(&addr))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Call { method, addr, timeout_ms, bytes } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(call(&addr, &method, timeout_ms.map(Duration::from_millis), bytes)))
        }
    }
}

async fn serve(address: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    rpc_examples::log_to_stderr();
    let stop = rpc_examples::stop_signal()?;
    let service = ConformanceServer::new(Subject::default());
    let server = Server::new().add(service).method("ping", |n: u64| async move { n.wrapping_add(1) }).bind(address).await?;
    println!("READY {}", server.local_addr());
    server.serve_until(stop).await?;
    Ok(())
}

/// What a call came to: a value worth showing, or a failure.
type Came = Result<Value, Failed>;

struct Failed {
    kind: ErrorKind,
    executed: Executed,
    message: String,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { kind: error.kind(), executed: error.executed(), message: error.to_string() }
    }
}

impl From<CallError<Failure>> for Failed {
    fn from(error: CallError<Failure>) -> Self {
        match error {
            CallError::Rpc(error) => error.into(),
            CallError::Service(Failure(text)) => Self { kind: ErrorKind::Service, executed: Executed::Yes, message: text },
        }
    }
}

async fn call(address: &str, method: &str, timeout: Option<Duration>, bytes: usize) -> ExitCode {
    let client = match ConformanceClient::connect(address).await {
        Ok(client) => client,
        Err(error) => return print(Err(error.into()), Duration::ZERO),
    };
    let began = Instant::now();
    let came = came(&client, method, timeout, bytes).await;
    let took = began.elapsed();
    client.close().await;
    print(came, took)
}

async fn came(client: &ConformanceClient, method: &str, timeout: Option<Duration>, bytes: usize) -> Came {
    macro_rules! made {
        ($call:expr) => {{
            let call = $call;
            match timeout {
                Some(timeout) => call.timeout(timeout).await?,
                None => call.await?,
            }
        }};
    }
    Ok(match method {
        "empty" => json!(made!(client.empty())),
        "echo" => {
            // Without a period: parts that come in another order are not the same bytes.
            let sent: Vec<u8> = (0..bytes as u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
            let same = made!(client.echo(sent.clone())) == sent;
            json!({ "bytes": bytes, "same": same })
        }
        "sleep" => json!(made!(client.sleep(bytes as u64))),
        "fail" => json!(made!(client.fail("no\ttabs,\r\nlines or \u{1f980} are lost".into()))),
        "panic" => json!(made!(client.panic())),
        "count" => json!(made!(client.count())),
        "echo_tree" => {
            let tree = made!(client.echo_tree(Tree::deep(bytes)));
            let depth = std::iter::successors(Some(&tree), |tree| match tree {
                Tree::Leaf => None,
                Tree::Node(inner) => Some(inner),
            });
            json!({ "depth": depth.count() - 1 })
        }
        "echo_units" => json!(made!(client.echo_units(vec![(); bytes]))),
        "ping" => made!(client.call::<Value>("ping", (bytes,))),
        other => made!(client.call::<Value>(other, ())),
    })
}

fn print(came: Came, took: Duration) -> ExitCode {
    let micros = took.as_micros() as u64;
    match came {
        Ok(value) => {
            println!("{}", json!({ "outcome": "ok", "kind": null, "executed": "yes", "micros": micros, "value": value }));
            ExitCode::SUCCESS
        }
        Err(Failed { kind, executed, message }) => {
            let (kind, executed) = (format!("{kind:?}"), executed.to_string());
            println!("{}", json!({ "outcome": "error", "kind": kind, "executed": executed, "micros": micros, "message": message }));
            ExitCode::from(1)
        }
    }
}
