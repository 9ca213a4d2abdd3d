//! Emptied large buffers wait for the next message as long as there is a connection, and for nobody when the last one has ended. They are
//! all of a process's: so this is one test, in a process of its own. What messages allocate is in `allocations.rs`.
#![allow(missing_docs, clippy::unwrap_used)]

use rpc::transport::Transport;
use rpc::{Bytes, Client, Server};
use tokio::task::JoinHandle;

const MIB: usize = 1 << 20;

#[rpc::service]
trait Depot {
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
    async fn load(&self, length: usize) -> Bytes;
}

struct Shelf;

impl Depot for Shelf {
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
    async fn load(&self, length: usize) -> Bytes {
        vec![7; length].into()
    }
}

/// A client, and the end of its server.
fn connected() -> (DepotClient, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(256 << 10);
    let server = Server::new().add(DepotServer::new(Shelf));
    let serving = tokio::spawn(async move { server.serve_connection(Transport::over(far, "far")).await.unwrap() });
    (Client::options().over(Transport::over(near, "near")).into(), serving)
}

async fn close((client, serving): (DepotClient, JoinHandle<()>)) {
    client.close().await;
    serving.await.unwrap();
}

#[test]
fn large_buffers_wait_for_no_message_when_the_last_connection_has_ended() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Bytes that are allocated more than before. All of it happens in this thread.
    let grown = |work: &mut dyn FnMut()| allocation_counter::measure(work).bytes_current;
    let calls = async |(client, _): &(DepotClient, _)| {
        let echo = async |bytes: Vec<u8>| assert_eq!(client.echo(bytes.clone()).await.unwrap().len(), bytes.len());
        tokio::join!(echo(vec![1; 3 * MIB]), echo(vec![2; 2 * MIB]), echo(vec![3; MIB]));
    };
    let mut open = None;
    let kept = grown(&mut || {
        open = runtime.block_on(async {
            let (first, second) = (connected(), connected());
            calls(&first).await;
            calls(&second).await;
            close(first).await;
            Some(second)
        });
    });
    assert!(kept > 4 * MIB as i64, "one connection is left, and {kept} bytes wait for it");

    let mut held = None;
    let grown_by_reply = grown(&mut || {
        let (client, _) = open.as_ref().unwrap();
        held = Some(runtime.block_on(client.load(3 * MIB)).unwrap());
    });
    let given_back = grown(&mut || runtime.block_on(close(open.take().unwrap())));
    let left = kept + grown_by_reply + given_back;
    assert!(left < 5 * MIB as i64, "{left} bytes are left, of which 3 MiB are the reply's");

    // What was still with its reader does not wait either.
    let reply = grown(&mut || drop(held.take()));
    assert!(reply <= -3 * MIB as i64, "{reply} bytes");
}
