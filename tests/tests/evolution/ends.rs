//! A server and a client over one of the transports.

use rpc::transport::memory;
use rpc::{Client, ClientOptions, Server};
use rpc_tests::{Kind, rig};

/// Connects over TCP, a Unix socket or memory. The server lives as long as the test's runtime.
pub async fn connect(kind: Kind, server: Server, options: ClientOptions) -> Client {
    match kind {
        Kind::Memory => {
            let (listener, dialer) = memory::pair();
            tokio::spawn(server.listen(listener).unwrap().serve());
            options.dial(dialer).await.unwrap()
        }
        Kind::Unix => {
            let server = server.bind(format!("unix:{}", rig::socket_path().display())).await.unwrap();
            let address = server.local_addr();
            tokio::spawn(server.serve());
            options.connect(address).await.unwrap()
        }
        _ => {
            let server = server.bind("127.0.0.1:0").await.unwrap();
            let address = server.local_addr();
            tokio::spawn(server.serve());
            options.connect(address).await.unwrap()
        }
    }
}

pub const KINDS: [Kind; 3] = [Kind::Tcp, Kind::Unix, Kind::Memory];
