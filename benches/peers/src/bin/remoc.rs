//! remoc over TCP, TCP_NODELAY on both sides, with its default codec. A client is a value that the server sends: it goes through the
//! base channel of the connection, which stays open as long as the client does.
use bytes::Bytes;
use harness::*;
use remoc::prelude::*;
use remoc::rtc::CallError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Blob(#[serde(with = "serde_bytes")] Vec<u8>);

#[rtc::remote]
pub trait Bench {
    async fn small(&self, s: Small) -> Result<Small, CallError>;
    async fn order(&self, o: Order) -> Result<Receipt, CallError>;
    async fn blob(&self, b: Blob) -> Result<Blob, CallError>;
    async fn items(&self, n: u32) -> Result<rch::mpsc::Receiver<Small>, CallError>;
}

struct S;
impl Bench for S {
    async fn small(&self, s: Small) -> Result<Small, CallError> {
        Ok(s)
    }
    async fn order(&self, o: Order) -> Result<Receipt, CallError> {
        Ok(Receipt::of(&o))
    }
    async fn blob(&self, b: Blob) -> Result<Blob, CallError> {
        Ok(b)
    }
    async fn items(&self, n: u32) -> Result<rch::mpsc::Receiver<Small>, CallError> {
        let (tx, rx) = rch::mpsc::channel();
        tokio::spawn(async move {
            for i in 0..n {
                if tx.send(Small::new(u64::from(i))).await.is_err() {
                    return;
                }
            }
        });
        Ok(rx)
    }
}

struct P;
impl Peer for P {
    type Client = BenchClient;
    const NAME: &'static str = "remoc";
    const CAPS: &'static [&'static str] = &["small", "order", "blob", "stream"];

    async fn serve(_: String, ready: Ready) {
        let l = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        ready.ready(l.local_addr().unwrap());
        loop {
            let (s, _) = l.accept().await.unwrap();
            s.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let (rd, wr) = s.into_split();
                let (server, client) = BenchServerShared::<_, remoc::codec::Default>::new(Arc::new(S));
                let cfg = remoc::Cfg::default();
                if remoc::Connect::io(cfg, rd, wr).provide(client).await.is_ok() {
                    let _ = server.serve().await;
                }
            });
        }
    }
    async fn connect(_: String, addr: String) -> BenchClient {
        let s = tokio::net::TcpStream::connect(addr).await.unwrap();
        s.set_nodelay(true).unwrap();
        let (rd, wr) = s.into_split();
        let mut c: BenchClient = remoc::Connect::io(remoc::Cfg::default(), rd, wr).consume().await.unwrap();
        c.set_max_response_size(64 << 20);
        c
    }
    async fn small(c: &BenchClient, id: u64) -> u64 {
        c.small(Small::new(id)).await.unwrap().id
    }
    async fn order(c: &BenchClient, id: u64) -> u64 {
        c.order(Order::sample(id)).await.unwrap().order_id
    }
    async fn blob(c: &BenchClient, b: &Bytes) -> usize {
        c.blob(Blob(b.to_vec())).await.unwrap().0.len()
    }
    async fn stream(c: &BenchClient, n: u32) -> u64 {
        let mut items = c.items(n).await.unwrap();
        let mut got = 0;
        while items.recv().await.unwrap().is_some() {
            got += 1;
        }
        got
    }
}

fn main() {
    harness::main::<P>()
}
