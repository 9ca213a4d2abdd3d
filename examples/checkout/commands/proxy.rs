//! A wire that can be cut: a TCP proxy between a client and its server, for the parts of the story in which things go wrong.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Cut when it is dropped, too.
pub struct Wire {
    pub address: SocketAddr,
    faults: Arc<Faults>,
    _connections: JoinSet<()>,
}

struct Faults {
    next: AtomicU8,
    /// Changes with every cut.
    cut: watch::Sender<()>,
}

const NONE: u8 = 0;
/// What the server says next is lost, and the wire with it.
const LOSE_NEXT_REPLY: u8 = 1;

impl Wire {
    pub async fn to(server: String) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let faults = Arc::new(Faults { next: AtomicU8::new(NONE), cut: watch::Sender::new(()) });
        let mut connections = JoinSet::new();
        let shared = faults.clone();
        connections.spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (server, faults, cut) = (server.clone(), shared.clone(), shared.cut.subscribe());
                // A connection that ends with an error has ended.
                carried.spawn(async move { drop(carry(near, &server, &faults, cut).await) });
            }
        });
        Ok(Self { address, faults, _connections: connections })
    }

    /// The server will hear the next call and act on it; its answer never arrives.
    pub fn lose_the_next_reply(&self) {
        self.faults.next.store(LOSE_NEXT_REPLY, Ordering::Release);
    }

    /// Cuts every connection now.
    pub fn cut(&self) {
        self.faults.cut.send_replace(());
    }
}

async fn carry(mut near: TcpStream, server: &str, faults: &Faults, mut cut: watch::Receiver<()>) -> io::Result<()> {
    let mut far = TcpStream::connect(server).await?;
    let (mut up, mut down) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    loop {
        tokio::select! {
            read = near.read(&mut up) => match read? {
                0 => return Ok(()),
                n => far.write_all(up.get(..n).unwrap_or_default()).await?,
            },
            read = far.read(&mut down) => match read? {
                0 => return Ok(()),
                _ if faults.next.compare_exchange(LOSE_NEXT_REPLY, NONE, Ordering::AcqRel, Ordering::Acquire).is_ok() => return Ok(()),
                n => near.write_all(down.get(..n).unwrap_or_default()).await?,
            },
            _ = cut.changed() => return Ok(()),
        }
    }
}
