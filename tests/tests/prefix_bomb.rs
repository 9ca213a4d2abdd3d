//! Conformance 33: what a peer declares costs nothing until it comes. In a process of its own, because it looks at memory.
#![allow(missing_docs, clippy::unwrap_used)]

use rpc::Server;
use rpc_tests::wire::{self, Raw, kind};

const CONNECTIONS: usize = 200;

#[rpc::service]
trait Shop {
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
}

struct My;

impl Shop for My {
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
}

/// Pages of memory that this process has, in bytes.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<usize>().ok()? * 4096)
}

#[tokio::test]
async fn declared_lengths_reserve_no_memory() {
    let server = Server::new().add(ShopServer::new(My)).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve());
    let bomb = async || {
        let mut raw = Raw::over(tokio::net::TcpStream::connect(address.as_ref()).await.unwrap());
        // The largest message, with one byte of it, then the largest frame, without any; the ping shows that both were read.
        raw.send(
            [wire::opening(&[]), wire::bind_name(0, "Shop.echo"), wire::large_call(0, 0, 4 << 20, &[0]), wire::frame(kind::PING, 0, &[])].concat(),
        )
        .await;
        raw.opened().await;
        assert_eq!(raw.frame().await.unwrap().kind, kind::BOUND);
        assert_eq!(raw.frame().await.unwrap().kind, kind::PONG);
        raw.send([wire::frame(kind::PING, 0, &[]), wire::header(kind::CALL, 0, wire::MAX_FRAME).to_vec()].concat()).await;
        assert_eq!(raw.frame().await.unwrap().kind, kind::PONG);
        raw
    };
    // Buffers of threads, and what the allocator keeps.
    let warm = bomb().await;
    let before = resident();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(bomb().await);
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        let each = after.saturating_sub(before) / CONNECTIONS;
        rpc_tests::report!("{each} bytes a connection");
        assert!(each <= 64 << 10, "{each} bytes a connection");
    }
    let shop = ShopClient::connect(&address).await.unwrap();
    assert_eq!(shop.echo(vec![7]).await.unwrap(), [7]);
    drop((warm, held));
}
