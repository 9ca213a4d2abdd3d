//! A trait to the wire and back.
use rpc::{CallError, Client, Context, Server};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Serialize, Deserialize, PartialEq)]
pub enum Oops {
    No(String),
}

#[rpc::service]
trait Shop {
    async fn add(&self, a: u32, b: u32) -> u32;
    async fn name(&self, text: &str) -> String;
    async fn fail(&self, why: String) -> Result<u8, Oops>;
    async fn slow(&self, cx: &Context, millis: u64) -> u64;
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8>;
    #[rpc(oneway)]
    async fn note(&self, text: String);
    async fn boom(&self) -> ();
}
struct My;
impl Shop for My {
    async fn add(&self, a: u32, b: u32) -> u32 {
        a + b
    }
    async fn name(&self, text: &str) -> String {
        text.to_uppercase()
    }
    async fn fail(&self, why: String) -> Result<u8, Oops> {
        Err(Oops::No(why))
    }
    async fn slow(&self, _cx: &Context, millis: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        millis
    }
    async fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }
    async fn note(&self, _text: String) {}
    async fn boom(&self) -> () {
        panic!("boom")
    }
}

async fn story(shop: ShopClient) {
    assert_eq!(shop.add(1, 2).await.unwrap(), 3);
    assert_eq!(shop.name("abc").await.unwrap(), "ABC");
    assert!(matches!(shop.fail("x".into()).await, Err(CallError::Service(Oops::No(x))) if x == "x"));
    let (slow, fast) = tokio::join!(shop.slow(20), shop.add(3, 4));
    assert_eq!((slow.unwrap(), fast.unwrap()), (20, 7));
    let big = vec![7u8; 271_828];
    assert_eq!(shop.echo(big.clone()).await.unwrap(), big);
    shop.note("hi".into()).await.unwrap();
    let error = shop.boom().await.unwrap_err();
    println!("{error:?}");
    let error = shop.slow(5000).timeout(Duration::from_millis(30)).await.unwrap_err();
    println!("{error:?}");
    assert_eq!(shop.add(1, 2).await.unwrap(), 3);
    let n: u32 = shop.call("Shop.add", (4, 5)).await.unwrap();
    assert_eq!(n, 9);
    let n: u64 = shop.call("ping", (4,)).await.unwrap();
    assert_eq!(n, 5);
    println!("{:?}", shop.call::<u8>("Shop.fail", ("why",)).await.unwrap_err().service::<Oops>());
    println!("{:?}", shop.call::<u8>("Shop.nope", ("why",)).await.unwrap_err());
    println!("{:?}", shop.call::<u8>("Shop.add", ("why",)).await.unwrap_err());
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..2000 {
        let shop = shop.clone();
        tasks.spawn(async move { assert_eq!(shop.add(i, 1).await.unwrap(), i + 1) });
    }
    while let Some(r) = tasks.join_next().await {
        r.unwrap()
    }
    Client::close(&shop).await;
    println!("{:?}", shop.add(1, 2).await);
}

#[tokio::test]
async fn over_tcp() {
    let server = Server::new().add(ShopServer::new(My)).method("ping", |n: u64| async move { n + 1 }).bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(server.serve_until(async {
        stopped.await.ok();
    }));
    story(ShopClient::connect(&address).await.unwrap()).await;
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_memory() {
    let (listener, dialer) = rpc::transport::memory::pair();
    let server = Server::new().add(ShopServer::new(My)).method("ping", |n: u64| async move { n + 1 }).listen(listener).unwrap();
    tokio::spawn(server.serve());
    story(Client::options().dial(dialer).await.unwrap().into()).await;
}
