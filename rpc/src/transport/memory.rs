//! Connections inside one process: every byte goes the same way as over a socket, without one.

use std::io;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Address, Dial, Listen, Transport};

/// Bytes that wait between the two ends, each way.
const BUFFER: usize = 64 << 10;

/// A listener and a dialer that reach each other: `Server::listen` takes one, `Client::dial` the other.
#[must_use]
pub fn pair() -> (Listener, Dialer) {
    let (dialer, listener) = mpsc::channel(64);
    (Listener(listener), Dialer(dialer))
}

/// The two ends of one connection.
#[must_use]
pub fn connection() -> (Transport, Transport) {
    let (one, other) = tokio::io::duplex(BUFFER);
    (Transport::over(one, "memory"), Transport::over(other, "memory"))
}

/// The server's end of [`pair`].
#[derive(Debug)]
pub struct Listener(mpsc::Receiver<Transport>);

/// The client's end of [`pair`].
#[derive(Clone, Debug)]
pub struct Dialer(mpsc::Sender<Transport>);

#[async_trait]
impl Listen for Listener {
    async fn accept(&mut self) -> io::Result<Transport> {
        match self.0.recv().await {
            Some(transport) => Ok(transport),
            // No dialer is left, so nobody can come any more.
            None => std::future::pending().await,
        }
    }

    fn address(&self) -> Address {
        Address::named("memory")
    }
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self) -> io::Result<Transport> {
        let (near, far) = connection();
        self.0.send(far).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(near)
    }
}
