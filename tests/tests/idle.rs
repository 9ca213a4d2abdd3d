//! What a server holds for a connection that has been used and is idle, counted by the allocator. The peers are plain sockets, which
//! have nothing on the heap: what is counted is the server's, tokio's part included.

use std::io::{Read, Write};
use std::net::TcpStream;

use rpc::Server;
use rpc_tests::wire;

/// A connection may hold so many bytes.
const MOST: i64 = 3 << 10;

const CONNECTIONS: i64 = 200;

#[rpc::service]
trait Counter {
    async fn next(&self, n: u32) -> u32;
}

struct Count;

impl Counter for Count {
    async fn next(&self, n: u32) -> u32 {
        n + 1
    }
}

/// A peer that has said hello, bound the service and called once.
async fn peer(address: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    let hash = wire::method_hash("1:n 0\nu32\n", "7:returns 0\nu32\n");
    let packet = [wire::opening(&[]), wire::bind_service(0, "Counter", &[("next", hash)]), wire::call(0, 0, &[41])].concat();
    socket.write_all(&packet).unwrap();
    socket.set_nonblocking(true).unwrap();
    let reply = wire::frame(wire::kind::REPLY, 0, &[&[0, 42]]);
    let (mut answers, mut room) = (Vec::new(), [0; 256]);
    while !answers.ends_with(&reply) {
        tokio::task::yield_now().await;
        if let Ok(read) = socket.read(&mut room) {
            assert_ne!(read, 0, "the server goes on");
            answers.extend_from_slice(&room[..read]);
        }
    }
    socket
}

#[test]
fn an_idle_connection_holds_little() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::new().add(CounterServer::new(Count)).bind("127.0.0.1:0")).unwrap();
    let address = server.local_addr().to_string();
    runtime.spawn(server.serve());
    // What is there once, whoever calls.
    let mut sockets = Vec::with_capacity(CONNECTIONS as usize + 1);
    sockets.push(runtime.block_on(peer(&address)));
    let held = allocation_counter::measure(|| {
        for _ in 0..CONNECTIONS {
            sockets.push(runtime.block_on(peer(&address)));
        }
    });
    let each = held.bytes_current / CONNECTIONS;
    rpc_tests::report!("{{\"suite\":\"idle\",\"bytes_per_connection\":{each},\"allocations\":{}}}", held.count_current / CONNECTIONS);
    assert!(each <= MOST, "{each} bytes");
}
