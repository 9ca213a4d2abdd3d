//! A way to a server in memory, for clients and for bytes written by hand.

use std::io;

use rpc::Address;
use rpc::transport::{Dial, Listen, Transport};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// Outside.
#[derive(Clone, Debug)]
pub struct Door(mpsc::UnboundedSender<DuplexStream>);

/// Inside: what a server listens on.
#[derive(Debug)]
pub struct Doorman(mpsc::UnboundedReceiver<DuplexStream>);

impl Door {
    /// Both ends of the way.
    pub fn new() -> (Self, Doorman) {
        let (door, doorman) = mpsc::unbounded_channel();
        (Self(door), Doorman(doorman))
    }

    /// The client's end of a new connection.
    ///
    /// # Panics
    /// If the server is gone.
    pub fn knock(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(16 << 10);
        self.0.send(far).unwrap();
        near
    }
}

#[rpc::async_trait]
impl Dial for Door {
    async fn dial(&self) -> io::Result<Transport> {
        Ok(Transport::over(self.knock(), "door"))
    }
}

#[rpc::async_trait]
impl Listen for Doorman {
    async fn accept(&mut self) -> io::Result<Transport> {
        match self.0.recv().await {
            Some(stream) => Ok(Transport::over(stream, "door")),
            None => std::future::pending().await,
        }
    }

    fn address(&self) -> Address {
        Address::named("door")
    }
}
