//! What the benches share: one service, and connected clients on a runtime of two threads.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use rpc::transport::memory;
use rpc::{Client, Server, Stream, Streaming};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// The load: a call whose own work is nothing.
#[rpc::service]
pub trait Load {
    /// One more.
    async fn next(&self, n: u64) -> u64;
    /// So many items of so many bytes.
    fn items(&self, count: u64, size: usize) -> impl Stream<Item = Vec<u8>>;
    /// How many bytes came.
    async fn take(&self, items: Streaming<Vec<u8>>) -> u64;
}

struct Adder;

impl Load for Adder {
    async fn next(&self, n: u64) -> u64 {
        n.wrapping_add(1)
    }

    fn items(&self, count: u64, size: usize) -> impl Stream<Item = Vec<u8>> {
        items(count, size)
    }

    async fn take(&self, mut items: Streaming<Vec<u8>>) -> u64 {
        let mut bytes = 0;
        while let Some(Ok(item)) = items.next().await {
            bytes += item.len() as u64;
        }
        bytes
    }
}

fn items(count: u64, size: usize) -> impl Stream<Item = Vec<u8>> {
    stream::iter(0..count).map(move |_| vec![7; size])
}

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
}

impl Rig {
    /// Connected: every client has made a call.
    ///
    /// # Panics
    /// When there is no socket to be had.
    #[must_use]
    pub fn new(over: Over, connections: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let clients = runtime.block_on(connect(over, connections)).expect("a server and its clients");
        Self { runtime, clients }
    }

    /// This many calls, one after the other on the first connection.
    ///
    /// # Panics
    /// When a call fails.
    #[must_use]
    pub fn one_by_one(&self, calls: u64) -> Duration {
        let client = self.clients[0].clone();
        self.runtime.block_on(async {
            // In a task: the thread that blocks is none of the runtime's.
            let task = tokio::spawn(async move {
                let began = Instant::now();
                chain(&client, calls).await;
                began.elapsed()
            });
            task.await.expect("every call succeeds")
        })
    }

    /// This many calls in all: `in_flight` callers on every connection, each one call after the other.
    ///
    /// # Panics
    /// When a call fails.
    #[must_use]
    pub fn at_once(&self, calls: u64, in_flight: u64) -> Duration {
        let callers = in_flight * self.clients.len() as u64;
        let (each, over) = (calls / callers, calls % callers);
        self.runtime.block_on(async {
            let began = Instant::now();
            let mut tasks = JoinSet::new();
            let clients = self.clients.iter().cycle();
            for (number, client) in (0..callers).zip(clients) {
                let (client, calls) = (client.clone(), each + u64::from(number < over));
                tasks.spawn(async move { chain(&client, calls).await });
            }
            while let Some(done) = tasks.join_next().await {
                done.expect("every call succeeds");
            }
            began.elapsed()
        })
    }
}

impl Rig {
    /// So many items of so many bytes from the server.
    ///
    /// # Panics
    /// When not all of them come.
    #[must_use]
    pub fn download(&self, count: u64, size: usize) -> Duration {
        let client = self.clients[0].clone();
        self.runtime.block_on(async {
            let task = tokio::spawn(async move {
                let began = Instant::now();
                let mut items = client.items(count, size).await.expect("the call succeeds");
                let mut came = 0;
                while let Some(item) = items.next().await {
                    assert_eq!(item.expect("the item comes").len(), size);
                    came += 1;
                }
                assert_eq!(came, count);
                began.elapsed()
            });
            task.await.expect("every item comes")
        })
    }

    /// So many items of so many bytes to the server.
    ///
    /// # Panics
    /// When not all of them arrive.
    #[must_use]
    pub fn upload(&self, count: u64, size: usize) -> Duration {
        let client = self.clients[0].clone();
        self.runtime.block_on(async {
            let task = tokio::spawn(async move {
                let began = Instant::now();
                let bytes = client.take(items(count, size)).await.expect("the call succeeds");
                assert_eq!(bytes, count * size as u64);
                began.elapsed()
            });
            task.await.expect("every item arrives")
        })
    }
}

async fn chain(client: &LoadClient, calls: u64) {
    let mut n = 0;
    for _ in 0..calls {
        n = client.next(n).await.expect("the call succeeds");
    }
    assert_eq!(n, calls);
}

async fn connect(over: Over, connections: usize) -> Result<Vec<LoadClient>, rpc::Error> {
    let server = Server::new().add(LoadServer::new(Adder));
    let mut clients: Vec<LoadClient> = Vec::new();
    match over {
        Over::Tcp => {
            let server = server.bind("127.0.0.1:0").await?;
            let address = server.local_addr();
            tokio::spawn(server.serve());
            for _ in 0..connections {
                clients.push(LoadClient::connect(&address).await?);
            }
        }
        Over::Memory => {
            let (listener, dialer) = memory::pair();
            tokio::spawn(server.listen(listener)?.serve());
            for _ in 0..connections {
                clients.push(Client::options().dial(dialer.clone()).await?.into());
            }
        }
    }
    for client in &clients {
        client.next(0).await?;
    }
    Ok(clients)
}
