//! A server and a client to be tested from outside: `cargo run --example conformance -- --help`.
//!
//! The server is a real process with every kind of method that can go wrong; the client makes one call and says in one
//! line of JSON what came of it. Scripts and tests can kill either, cut the wire between them, or speak nonsense to them.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use futures_util::{StreamExt, stream};
use rpc::{CallError, Error, ErrorKind, Executed, Server, Stream, Streaming};
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
        /// empty, echo, sleep, upload, download, chat, fail, panic, panic_after, count, echo_tree or echo_units; any other name
        /// is called by name.
        method: String,
        /// The server.
        #[arg(long)]
        addr: String,
        /// The deadline of the call.
        #[arg(long)]
        timeout_ms: Option<u64>,
        /// echo: bytes; echo_tree: depth; echo_units: elements; sleep: milliseconds; ping: the number; panic_after: items before
        /// the panic; all of them 0 if absent.
        ///
        /// upload and download: bytes in all, in items of 10,000; if absent, four items of 27182, 8, 1828 and 45904 bytes up, or
        /// of 31415, 9, 2653 and 58979 down. chat: bytes of each line, of which there are four, each sent when the one before
        /// has come back; if absent, the four sizes of upload.
        #[arg(long)]
        bytes: Option<usize>,
    },
}

#[rpc::service]
trait Conformance {
    async fn empty(&self);
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
    async fn sleep(&self, millis: u64);
    async fn fail(&self, text: String) -> Result<(), Failure>;
    async fn panic(&self);
    /// Takes items to their end. Detached, so that it learns of every end and can say so: see `count`.
    #[rpc(detached)]
    async fn upload(&self, items: Streaming<Vec<u8>>) -> Result<Uploaded, Failure>;
    /// Gives items of these sizes.
    async fn download(&self, sizes: Vec<u32>) -> Result<impl Stream<Item = Vec<u8>>, Failure>;
    /// Gives each line back.
    fn chat(&self, lines: Streaming<Vec<u8>>) -> impl Stream<Item = Vec<u8>>;
    /// So many items, and then a panic.
    fn panic_after(&self, items: u32) -> impl Stream<Item = u32>;
    async fn count(&self) -> Count;
    async fn echo_tree(&self, tree: Tree) -> Tree;
    async fn echo_units(&self, units: Vec<()>) -> u64;
}

#[derive(Debug, Serialize, Deserialize)]
struct Failure(String);

/// What has come, and whether every byte is what `pattern` says.
#[derive(Debug, Serialize, Deserialize)]
struct Uploaded {
    items: u64,
    bytes: u64,
    same: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Count {
    /// Handlers of `sleep`, `upload`, `download`, `chat` and `panic_after` that have begun, ..
    begun: u64,
    /// .. and those that still run.
    running: u64,
    /// Items that they have taken from callers, ..
    taken: u64,
    /// .. and made for them.
    made: u64,
    /// Uploads whose items ended with the last one, ..
    finished: u64,
    /// .. and with an error.
    aborted: u64,
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

/// Bytes from this place on of a pattern without a period: parts that come in another order are not the same bytes.
fn pattern(from: u64, bytes: usize) -> Vec<u8> {
    (from..).take(bytes).map(|n| ((n as u32).wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

/// Items of these sizes, which together are the pattern.
fn items<S: IntoIterator<Item = u32>>(sizes: S) -> impl Iterator<Item = Vec<u8>> + use<S> {
    sizes.into_iter().scan(0, |at, size| {
        let item = pattern(*at, size as usize);
        *at += u64::from(size);
        Some(item)
    })
}

/// Whether items that follow one another are the pattern.
#[derive(Default)]
struct Compared {
    items: u64,
    bytes: u64,
    differs: bool,
}

impl Compared {
    fn add(&mut self, item: &[u8]) {
        self.differs |= item != pattern(self.bytes, item.len());
        self.items += 1;
        self.bytes += item.len() as u64;
    }
}

/// No item is longer, so that a caller cannot make the server fill its memory with one word.
const LONGEST: u32 = 8 << 20;

#[derive(Default)]
struct Subject {
    begun: AtomicU64,
    running: AtomicU64,
    taken: AtomicU64,
    made: AtomicU64,
    finished: AtomicU64,
    aborted: AtomicU64,
}

/// Counts a handler out however it ends, dropped in the middle included.
struct Running<'a>(&'a AtomicU64);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Subject {
    fn begin(&self) -> Running<'_> {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.running.fetch_add(1, Ordering::AcqRel);
        Running(&self.running)
    }
}

impl Conformance for Subject {
    async fn empty(&self) {}

    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    async fn sleep(&self, millis: u64) {
        let _running = self.begin();
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    async fn fail(&self, text: String) -> Result<(), Failure> {
        Err(Failure(text))
    }

    async fn panic(&self) {
        panic!("as asked")
    }

    async fn upload(&self, mut items: Streaming<Vec<u8>>) -> Result<Uploaded, Failure> {
        let _running = self.begin();
        let mut compared = Compared::default();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| {
                self.aborted.fetch_add(1, Ordering::AcqRel);
                Failure(format!("{:?} after {} items", error.kind(), compared.items))
            })?;
            self.taken.fetch_add(1, Ordering::AcqRel);
            compared.add(&item);
        }
        self.finished.fetch_add(1, Ordering::AcqRel);
        Ok(Uploaded { items: compared.items, bytes: compared.bytes, same: !compared.differs })
    }

    async fn download(&self, sizes: Vec<u32>) -> Result<impl Stream<Item = Vec<u8>>, Failure> {
        if sizes.iter().any(|size| *size > LONGEST) {
            return Err(Failure(format!("no item may have more than {LONGEST} bytes")));
        }
        let running = self.begin();
        Ok(stream::iter(items(sizes)).inspect(move |_| {
            let Running(_) = &running;
            self.made.fetch_add(1, Ordering::AcqRel);
        }))
    }

    fn chat(&self, lines: Streaming<Vec<u8>>) -> impl Stream<Item = Vec<u8>> {
        stream::unfold((lines, self.begin()), |(mut lines, running)| async {
            // Whether it ended well or not: there is nothing more to answer.
            let line = lines.next().await?.ok()?;
            self.taken.fetch_add(1, Ordering::AcqRel);
            self.made.fetch_add(1, Ordering::AcqRel);
            Some((line, (lines, running)))
        })
    }

    fn panic_after(&self, items: u32) -> impl Stream<Item = u32> {
        let running = self.begin();
        stream::iter(0..=items).inspect(move |item| {
            let Running(_) = &running;
            if *item == items {
                panic!("as asked");
            }
        })
    }

    async fn count(&self) -> Count {
        let [begun, running, taken, made, finished, aborted] =
            [&self.begun, &self.running, &self.taken, &self.made, &self.finished, &self.aborted].map(|count| count.load(Ordering::Acquire));
        Count { begun, running, taken, made, finished, aborted }
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
    let command = arguments.command;
    // The client encodes its own deep trees, which takes stack for every level; pages that are not touched cost nothing.
    let depth = if let Command::Call { bytes, method, .. } = &command
        && method == "echo_tree"
    {
        bytes.unwrap_or_default()
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

/// Sizes of items if the command line names none; those up are 74,922 together.
const UP: [u32; 4] = [27_182, 8, 1_828, 45_904];
const DOWN: [u32; 4] = [31_415, 9, 2_653, 58_979];

/// Bytes of an item if the command line says how many there are in all; the last one has what is left.
const ITEM: usize = 10_000;

fn sizes(bytes: Option<usize>, four: [u32; 4]) -> Vec<u32> {
    match bytes {
        Some(bytes) => (0..bytes).step_by(ITEM).map(|at| (bytes - at).min(ITEM) as u32).collect(),
        None => four.to_vec(),
    }
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

async fn call(address: &str, method: &str, timeout: Option<Duration>, bytes: Option<usize>) -> ExitCode {
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

async fn came(client: &ConformanceClient, method: &str, timeout: Option<Duration>, bytes: Option<usize>) -> Came {
    macro_rules! made {
        ($call:expr) => {{
            let call = $call;
            match timeout {
                Some(timeout) => call.timeout(timeout).await?,
                None => call.await?,
            }
        }};
    }
    let given = bytes.unwrap_or_default();
    Ok(match method {
        "empty" => json!(made!(client.empty())),
        "echo" => {
            let sent = pattern(0, given);
            let same = made!(client.echo(sent.clone())) == sent;
            json!({ "bytes": given, "same": same })
        }
        "sleep" => json!(made!(client.sleep(given as u64))),
        "upload" => json!(made!(client.upload(stream::iter(items(sizes(bytes, UP)))))),
        "download" => {
            let mut came = made!(client.download(sizes(bytes, DOWN)));
            let (mut compared, mut lengths) = (Compared::default(), Vec::new());
            while let Some(item) = came.next().await {
                let item = item?;
                compared.add(&item);
                lengths.push(item.len());
            }
            // One line for people as well: not a million lengths.
            let lengths = (lengths.len() <= 16).then_some(lengths);
            json!({ "items": compared.items, "bytes": compared.bytes, "same": !compared.differs, "sizes": lengths })
        }
        "chat" => {
            let (say, lines) = Streaming::channel();
            let mut answers = made!(client.chat(lines));
            let (mut turns, mut same) = (Vec::new(), true);
            for line in items(bytes.map_or(UP, |bytes| [bytes as u32; 4])) {
                turns.push(line.len());
                // When the call has ended, its error is what the answers end with.
                say.send(line.clone()).await.ok();
                same &= answers.next().await.transpose()? == Some(line);
            }
            say.finish();
            // What nobody has asked for would come here.
            same &= answers.next().await.transpose()?.is_none();
            json!({ "turns": turns.len(), "same": same, "sizes": turns })
        }
        "fail" => json!(made!(client.fail("no\ttabs,\r\nlines or \u{1f980} are lost".into()))),
        "panic" => json!(made!(client.panic())),
        "panic_after" => {
            let mut came = made!(client.panic_after(given as u32));
            let mut items = 0;
            while let Some(item) = came.next().await {
                item?;
                items += 1;
            }
            json!({ "items": items })
        }
        "count" => json!(made!(client.count())),
        "echo_tree" => {
            let tree = made!(client.echo_tree(Tree::deep(given)));
            let depth = std::iter::successors(Some(&tree), |tree| match tree {
                Tree::Leaf => None,
                Tree::Node(inner) => Some(inner),
            });
            json!({ "depth": depth.count() - 1 })
        }
        "echo_units" => json!(made!(client.echo_units(vec![(); given]))),
        "ping" => made!(client.call::<Value>("ping", (given,))),
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
