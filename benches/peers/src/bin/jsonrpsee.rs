//! jsonrpsee over WebSocket (tcp_nodelay is its default on both sides).
use harness::*;
use jsonrpsee::core::{RpcResult, SubscriptionResult, async_trait};
use jsonrpsee::proc_macros::rpc;
use jsonrpsee::server::{PendingSubscriptionSink, ServerBuilder, ServerConfig};
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use std::sync::Arc;

#[rpc(server, client)]
pub trait Bench {
    #[method(name = "small")]
    async fn small(&self, s: Small) -> RpcResult<Small>;
    #[method(name = "order")]
    async fn order(&self, o: Order) -> RpcResult<Receipt>;
    #[method(name = "blob")]
    async fn blob(&self, b: Vec<u8>) -> RpcResult<Vec<u8>>;
    #[subscription(name = "sub", unsubscribe = "unsub", item = Small)]
    async fn sub(&self, n: u32) -> SubscriptionResult;
}
struct S;
#[async_trait]
impl BenchServer for S {
    async fn small(&self, s: Small) -> RpcResult<Small> {
        Ok(s)
    }
    async fn order(&self, o: Order) -> RpcResult<Receipt> {
        Ok(Receipt::of(&o))
    }
    async fn blob(&self, b: Vec<u8>) -> RpcResult<Vec<u8>> {
        Ok(b)
    }
    async fn sub(&self, p: PendingSubscriptionSink, n: u32) -> SubscriptionResult {
        let sink = p.accept().await?;
        for i in 0..n {
            let m = jsonrpsee::core::to_json_raw_value(&Small::new(i as u64)).unwrap();
            sink.send(m).await?;
        }
        Ok(())
    }
}

struct P;
impl Peer for P {
    type Client = Arc<WsClient>;
    const NAME: &'static str = "jsonrpsee";
    const CAPS: &'static [&'static str] = &["small", "order", "blob", "stream"];
    async fn serve(_: String, ready: Ready) {
        let cfg = ServerConfig::builder().max_connections(5000).max_request_body_size(64 << 20).max_response_body_size(64 << 20).build();
        let s = ServerBuilder::with_config(cfg).build("127.0.0.1:0").await.unwrap();
        ready.ready(s.local_addr().unwrap());
        s.start(S.into_rpc()).stopped().await;
    }
    async fn connect(_: String, addr: String) -> Self::Client {
        Arc::new(
            WsClientBuilder::default()
                .max_request_size(64 << 20)
                .max_response_size(64 << 20)
                .max_buffer_capacity_per_subscription(1 << 20)
                .build(format!("ws://{addr}"))
                .await
                .unwrap(),
        )
    }
    async fn small(c: &Self::Client, id: u64) -> u64 {
        BenchClient::small(&**c, Small::new(id)).await.unwrap().id
    }
    async fn order(c: &Self::Client, id: u64) -> u64 {
        BenchClient::order(&**c, Order::sample(id)).await.unwrap().order_id
    }
    async fn blob(c: &Self::Client, b: &bytes::Bytes) -> usize {
        BenchClient::blob(&**c, b.to_vec()).await.unwrap().len()
    }
    async fn stream(c: &Self::Client, n: u32) -> u64 {
        let mut s = BenchClient::sub(&**c, n).await.unwrap();
        let mut got = 0;
        while got < n as u64 {
            s.next().await.unwrap().unwrap();
            got += 1;
        }
        got
    }
}
fn main() {
    harness::main::<P>()
}
