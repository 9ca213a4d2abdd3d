//! What the benches share: one service, and connected clients on a runtime of two threads.
//!
//! `wide` is services of any number of methods, `orders` a message in two versions. The messages are those of `peers`, which measures the same load on other frameworks.

pub mod orders;
pub mod wide;

#[expect(missing_docs, reason = "the load's messages say what they are, and the harness of `peers` has no such lint")]
#[path = "../peers/src/types.rs"]
pub mod types;

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use rpc::transport::memory;
use rpc::{Bytes, Client, Limits, Server, Service, Stream, Streaming};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use self::types::{Order, Receipt, Small};

/// The load: calls whose own work is next to nothing.
#[rpc::service]
pub trait Load {
    /// One more.
    async fn next(&self, n: u64) -> u64;
    /// A small message there and back.
    async fn small(&self, message: Small) -> Small;
    /// About 450 bytes in, about 110 out.
    async fn order(&self, order: Order) -> Receipt;
    /// The same bytes.
    async fn echo(&self, bytes: Bytes) -> Bytes;
    /// So many items of so many bytes.
    fn items(&self, count: u64, size: usize) -> impl Stream<Item = Vec<u8>>;
    /// So many small messages.
    fn smalls(&self, count: u64) -> impl Stream<Item = Small>;
    /// How many came.
    async fn take_smalls(&self, items: Streaming<Small>) -> u64;
    /// How many bytes came.
    async fn take(&self, items: Streaming<Vec<u8>>) -> u64;
}

/// The service behind [`Load`].
#[derive(Clone, Copy, Debug)]
pub struct Adder;

impl Load for Adder {
    async fn next(&self, n: u64) -> u64 {
        n.wrapping_add(1)
    }

    async fn small(&self, message: Small) -> Small {
        message
    }

    async fn order(&self, order: Order) -> Receipt {
        Receipt::of(&order)
    }

    async fn echo(&self, bytes: Bytes) -> Bytes {
        bytes
    }

    fn items(&self, count: u64, size: usize) -> impl Stream<Item = Vec<u8>> {
        items(count, size)
    }

    fn smalls(&self, count: u64) -> impl Stream<Item = Small> {
        smalls(count)
    }

    async fn take_smalls(&self, mut items: Streaming<Small>) -> u64 {
        let mut came = 0;
        while let Some(Ok(item)) = items.next().await {
            came += u64::from(item.id == came);
        }
        came
    }

    async fn take(&self, mut items: Streaming<Vec<u8>>) -> u64 {
        let mut bytes = 0;
        while let Some(Ok(item)) = items.next().await {
            bytes += item.len() as u64;
        }
        bytes
    }
}

/// So many items of so many bytes.
fn items(count: u64, size: usize) -> impl Stream<Item = Vec<u8>> + Send + 'static {
    stream::iter(0..count).map(move |_| vec![7; size])
}

/// So many small messages, numbered.
pub fn smalls(count: u64) -> impl Stream<Item = Small> + Send + 'static {
    stream::iter((0..count).map(Small::new))
}

/// Each bench runs once, to see that it does: criterion's own rule, for what is not criterion's (sizes, setting up).
///
/// `cargo bench` says `--bench`; `cargo test --benches` says nothing.
#[must_use]
pub fn only_once() -> bool {
    let mut arguments = std::env::args();
    !arguments.any(|argument| argument == "--bench") || std::env::args().any(|argument| argument == "--test")
}

/// All points of a curve, or as many of the first as a test has time for.
#[must_use]
pub fn points<T>(all: &[T], in_a_test: usize) -> &[T] {
    if only_once() { &all[..in_a_test.min(all.len())] } else { all }
}

/// See [`Rig::at_once`].
const CALLS_EACH: u64 = 16;

/// What the bytes go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Loopback TCP.
    Tcp,
    /// A buffer in this process.
    Memory,
}

impl Over {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Memory];

    /// For a bench's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Memory => "memory",
        }
    }
}

/// A server and its clients, each with a connection of its own.
pub struct Rig {
    runtime: Runtime,
    clients: Vec<LoadClient>,
    place: Place,
    limits: Limits,
}

impl Rig {
    /// Connected: every client has made a call.
    ///
    /// # Panics
    /// When there is no socket to be had.
    #[must_use]
    pub fn new(over: Over, connections: usize) -> Self {
        Self::with(over, connections, Limits::default())
    }

    /// The same with other limits, on both ends.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn with(over: Over, connections: usize, limits: Limits) -> Self {
        let runtime = runtime();
        let place = runtime.block_on(serve(over, Server::new().add(LoadServer::new(Adder)).limits(limits))).expect("a server");
        let clients = runtime.block_on(place.connect_all(connections, limits)).expect("its clients");
        Self { runtime, clients, place, limits }
    }

    /// This many further connections that have made a call each and then do nothing, for as long as they are held.
    ///
    /// # Errors
    /// When there is no further socket to be had.
    pub fn idle(&self, connections: usize) -> Result<Vec<LoadClient>, rpc::Error> {
        self.runtime.block_on(self.place.connect_all(connections, self.limits))
    }

    /// How long this many calls take in all: `in_flight` callers on every connection, each one call after the other.
    ///
    /// Each makes at least a few, and the time is that of the calls asked for: with one call of each, nobody would be in flight
    /// beside the last of them.
    ///
    /// # Panics
    /// When a call fails.
    #[must_use]
    pub fn at_once(&self, calls: u64, in_flight: u64) -> Duration {
        let callers = in_flight * self.clients.len() as u64;
        let each = calls.div_ceil(callers).max(if only_once() { 1 } else { CALLS_EACH });
        let took = self.runtime.block_on(async {
            let began = Instant::now();
            let mut tasks = JoinSet::new();
            for (_, client) in (0..callers).zip(self.clients.iter().cycle()) {
                let client = client.clone();
                tasks.spawn(async move { chain(&client, each).await });
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("every call succeeds");
            }
            began.elapsed()
        });
        took.mul_f64(calls as f64 / (each * callers) as f64)
    }

    /// So many bytes there and back, one call after the other on the first connection.
    ///
    /// # Panics
    /// When a call fails.
    #[must_use]
    pub fn echo(&self, calls: u64, size: usize) -> Duration {
        let bytes = Bytes::from(vec![7; size]);
        self.measure(move |client| async move {
            for _ in 0..calls {
                assert_eq!(client.echo(bytes.clone()).await.expect("the call succeeds").len(), size);
            }
        })
    }

    /// So many items of so many bytes from the server.
    ///
    /// # Panics
    /// When not all of them come.
    #[must_use]
    pub fn download(&self, count: u64, size: usize) -> Duration {
        self.measure(move |client| async move {
            let mut items = client.items(count, size).await.expect("the call succeeds");
            let mut came = 0;
            while let Some(item) = items.next().await {
                assert_eq!(item.expect("the item comes").len(), size);
                came += 1;
            }
            assert_eq!(came, count);
        })
    }

    /// So many items of so many bytes to the server.
    ///
    /// # Panics
    /// When not all of them arrive.
    #[must_use]
    pub fn upload(&self, count: u64, size: usize) -> Duration {
        self.measure(move |client| async move {
            let bytes = client.take(items(count, size)).await.expect("the call succeeds");
            assert_eq!(bytes, count * size as u64);
        })
    }

    /// In a task: the thread that blocks is none of the runtime's.
    fn measure<F: Future<Output = ()> + Send + 'static>(&self, work: impl FnOnce(LoadClient) -> F) -> Duration {
        let work = work(self.clients[0].clone());
        self.runtime.block_on(async {
            let task = tokio::spawn(async move {
                let began = Instant::now();
                work.await;
                began.elapsed()
            });
            task.await.expect("every call succeeds")
        })
    }
}

/// Two threads, as the machines that figures are compared on.
///
/// # Panics
/// When there are no threads to be had.
#[must_use]
pub fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Where a server is to be reached.
#[derive(Clone, Debug)]
pub enum Place {
    /// `host:port`.
    Tcp(String),
    /// In this process.
    Memory(memory::Dialer),
}

impl Place {
    /// A connection of its own, not yet used.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub async fn connect(&self, limits: Limits) -> Result<Client, rpc::Error> {
        let options = Client::options().limits(limits);
        match self {
            Self::Tcp(address) => options.connect(address).await,
            Self::Memory(dialer) => options.dial(dialer.clone()).await,
        }
    }

    async fn connect_all(&self, connections: usize, limits: Limits) -> Result<Vec<LoadClient>, rpc::Error> {
        let mut clients = Vec::with_capacity(connections);
        for _ in 0..connections {
            let client = LoadClient::from(self.connect(limits).await?);
            client.next(0).await?;
            clients.push(client);
        }
        Ok(clients)
    }
}

/// Serves in a task of this runtime.
///
/// # Errors
/// When there is no socket to be had.
pub async fn serve(over: Over, server: Server) -> Result<Place, rpc::Error> {
    match over {
        Over::Tcp => {
            let server = server.bind("127.0.0.1:0").await?;
            let address = server.local_addr().to_string();
            tokio::spawn(server.serve());
            Ok(Place::Tcp(address))
        }
        Over::Memory => {
            let (listener, dialer) = memory::pair();
            tokio::spawn(server.listen(listener)?.serve());
            Ok(Place::Memory(dialer))
        }
    }
}

/// This many services on one port over memory, and a client that has made no call yet.
///
/// # Panics
/// When they cannot be served.
pub fn many_services(runtime: &Runtime, services: Vec<impl Service>) -> Client {
    let server = services.into_iter().fold(Server::new(), Server::add);
    runtime.block_on(async {
        let place = serve(Over::Memory, server).await.expect("a server");
        place.connect(Limits::default()).await.expect("a client")
    })
}

/// One call after the other.
async fn chain(client: &LoadClient, calls: u64) {
    let mut n = 0;
    for _ in 0..calls {
        n = client.next(n).await.expect("the call succeeds");
    }
    assert_eq!(n, calls);
}
