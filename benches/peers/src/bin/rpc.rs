//! This crate.
use bytes::Bytes;
use harness::*;

#[rpc::service]
pub trait Bench {
    async fn small(&self, s: Small) -> Small;
    async fn order(&self, o: Order) -> Receipt;
    async fn blob(&self, b: rpc::Bytes) -> rpc::Bytes;
    fn items(&self, n: u32) -> impl rpc::Stream<Item = Small>;
}

struct S;

impl Bench for S {
    async fn small(&self, s: Small) -> Small {
        s
    }
    async fn order(&self, o: Order) -> Receipt {
        Receipt::of(&o)
    }
    async fn blob(&self, b: rpc::Bytes) -> rpc::Bytes {
        b
    }
    fn items(&self, n: u32) -> impl rpc::Stream<Item = Small> {
        futures::stream::iter((0..u64::from(n)).map(Small::new))
    }
}

struct P;

impl Peer for P {
    type Client = BenchClient;
    const NAME: &'static str = "rpc";
    const CAPS: &'static [&'static str] = &["small", "order", "blob", "stream"];

    async fn serve(_: String, ready: Ready) {
        let server = rpc::Server::new().add(BenchServer::new(S)).bind("127.0.0.1:0").await.unwrap();
        ready.ready(server.local_addr());
        server.serve().await.unwrap();
    }
    /// The variant says over how many connections a client's calls go, if not one.
    async fn connect(variant: String, addr: String) -> BenchClient {
        let connections = variant.parse().unwrap_or(1);
        rpc::Client::options().connections(connections).connect(addr).await.unwrap().into()
    }
    async fn small(c: &BenchClient, id: u64) -> u64 {
        c.small(Small::new(id)).await.unwrap().id
    }
    async fn order(c: &BenchClient, id: u64) -> u64 {
        c.order(Order::sample(id)).await.unwrap().order_id
    }
    async fn blob(c: &BenchClient, b: &Bytes) -> usize {
        c.blob(b.clone().into()).await.unwrap().len()
    }
    async fn stream(c: &BenchClient, n: u32) -> u64 {
        let mut items = c.items(n).await.unwrap();
        let mut count = 0;
        while let Some(item) = items.next().await {
            assert_eq!(item.unwrap().id, count);
            count += 1;
        }
        count
    }
}

fn main() {
    harness::main::<P>()
}
