//! TCP, always without Nagle's delay: replies leave in batches of our own.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream};

use super::{Address, Listen, Transport};

pub(crate) async fn dial(address: &str) -> io::Result<Transport> {
    let stream = TcpStream::connect(address).await?;
    let peer = stream.peer_addr()?;
    Ok(transport(stream, peer))
}

fn transport(stream: TcpStream, peer: SocketAddr) -> Transport {
    // It fails only where the connection is already gone, which the first read tells better.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    Transport::new(read, write, peer.to_string())
}

/// A listening TCP socket.
pub(crate) struct Tcp {
    listener: TcpListener,
    address: Address,
}

impl Tcp {
    pub(crate) async fn bind(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?.into();
        Ok(Self { listener, address })
    }
}

#[async_trait]
impl Listen for Tcp {
    async fn accept(&mut self) -> io::Result<Transport> {
        let (stream, peer) = self.listener.accept().await?;
        Ok(transport(stream, peer))
    }

    fn address(&self) -> Address {
        self.address.clone()
    }
}
