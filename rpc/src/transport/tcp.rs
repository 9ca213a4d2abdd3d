//! TCP, always without Nagle's delay: replies leave in batches of our own.

use std::io;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream};

use super::{Address, Listen, Transport};

pub(crate) async fn dial(address: &str) -> io::Result<Transport> {
    transport(TcpStream::connect(address).await?)
}

fn transport(stream: TcpStream) -> io::Result<Transport> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?.to_string();
    let (read, write) = stream.into_split();
    Ok(Transport::new(read, write, peer))
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
        let (stream, _) = self.listener.accept().await?;
        transport(stream)
    }

    fn address(&self) -> Address {
        self.address.clone()
    }
}
