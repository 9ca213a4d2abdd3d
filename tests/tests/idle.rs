//! What is held for a connection that has been used and is idle, counted by the allocator. Where the peers are plain sockets, which have
//! nothing on the heap, what is counted is the server's, tokio's part included.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rpc::{Client, Server};
use rpc_tests::wire;
use tokio::sync::Semaphore;

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

/// Answers of a burst, each as long as fits in a buffer that is kept.
const BURST: usize = 1000;
const ANSWER: usize = 900;

#[rpc::service]
trait Letters {
    async fn letters(&self) -> Vec<u8>;
}

struct Writer(Semaphore);

impl Letters for Writer {
    async fn letters(&self) -> Vec<u8> {
        // So that the answers come together.
        let _permit = self.0.acquire().await;
        vec![7; ANSWER]
    }
}

async fn burst(client: &LettersClient, writer: &Writer) {
    let calls: Vec<_> = (0..BURST).map(|_| tokio::spawn(client.letters().owned())).collect();
    rpc_tests::settle().await;
    writer.0.add_permits(1);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().len(), ANSWER);
    }
    writer.0.forget_permits(1);
}

/// What a burst has needed is given back by both ends when nothing has come for a while: all but the transport's buffers, of 128 KiB, and
/// some words a call. Buffers of the thread, for whichever connection needs them next, are there before it.
#[test]
fn a_connection_forgets_a_burst() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let writer = Arc::new(Writer(Semaphore::new(0)));
    let connect = || {
        let service = LettersServer::shared(writer.clone());
        LettersClient::from(runtime.block_on(async { Client::local(service) }))
    };
    let minute = || runtime.block_on(async { tokio::time::sleep(Duration::from_secs(60)).await });
    let burst = |client: &LettersClient| runtime.block_on(burst(client, &writer));
    burst(&connect());
    minute();
    let client = connect();
    let at_once = allocation_counter::measure(|| burst(&client)).bytes_current;
    let later = at_once + allocation_counter::measure(minute).bytes_current;
    rpc_tests::report!("{{\"suite\":\"burst\",\"bytes_behind_it\":{at_once},\"a_minute_later\":{later}}}");
    assert!(at_once > (BURST * ANSWER) as i64 / 2, "{at_once} bytes: it was none");
    assert!(later < (128 << 10) + 100 * BURST as i64, "{later} bytes");
}
