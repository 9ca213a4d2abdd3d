//! Streams that cannot be sent, or that nobody could read.

use rpc::{Stream, Streaming};

#[rpc::service]
trait Feed {
    fn unnamed(&self) -> impl Stream;
    fn borrowed(&self) -> impl Stream<Item = &str>;
    fn refusable(&self) -> Result<impl Stream<Item = u32>, String>;
    async fn alias(&self) -> std::io::Result<impl Stream<Item = u32>>;
    #[rpc(oneway)]
    fn oneway(&self) -> impl Stream<Item = u32>;
    #[rpc(idempotent)]
    fn again(&self) -> impl Stream<Item = u32>;
    #[rpc(blocking)]
    fn blocking(&self) -> impl Stream<Item = u32>;
    async fn two(&self, a: Streaming<u32>, b: Streaming<u32>);
    async fn lent(&self, a: &Streaming<u32>);
    async fn nested(&self, a: Vec<Streaming<u32>>);
    async fn opaque(&self, a: impl Stream<Item = u32>);
    #[rpc(oneway)]
    async fn note(&self, a: Streaming<u32>);
    #[rpc(slow_consumer = "drop_oldest")]
    async fn sum(&self, a: Streaming<u32>) -> u64;
    #[rpc(slow_consumer = "skip")]
    fn skipping(&self) -> impl Stream<Item = u32>;
    #[rpc(slow_consumer)]
    fn some(&self) -> impl Stream<Item = u32>;
}

fn main() {}
