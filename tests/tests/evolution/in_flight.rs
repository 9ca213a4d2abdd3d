//! Calls that are under way while the schemas are exchanged, in any number, cancelled or too late.

use std::time::Duration;

use futures_util::future::join_all;
use rpc::transport::Transport;
use rpc::{Client, ErrorKind, Executed, Server};
use rpc_tests::evolve::{Ran, new, old};
use rpc_tests::fault::{Plan, wire};
use rpc_tests::{Kind, settle, virtual_time};

use crate::ends::connect;

/// An old client of a new server, with so much time on the way of each packet.
fn far(delay: Duration) -> (old::ShopClient, Ran) {
    let plan = Plan { delay, ..Plan::default() };
    let (near, far, _) = wire(plan.clone(), plan, 5);
    let ran = Ran::default();
    tokio::spawn(new::server(&ran).serve_connection(far));
    (Client::options().over(near).into(), ran)
}

/// More calls than are kept: none is refused, for none is sent too early.
#[test]
fn a_burst_of_first_calls_is_served() {
    virtual_time(async {
        for (small, large) in [(64, 0), (65, 1), (500, 3), (2000, 20)] {
            let (shop, ran) = far(Duration::from_millis(10));
            let calls = (0..small).map(|n| {
                let shop = &shop;
                async move { assert_eq!(shop.extend(n).await.unwrap(), n) }
            });
            let lines = |count: u32| (0..count).map(|qty| old::Line { sku: "a".repeat(100), qty }).collect();
            let larges = (0..large).map(|n| {
                let shop = &shop;
                async move { assert_eq!(shop.order(old::Order { id: n, lines: lines(1000), legacy: None }).await.unwrap(), 499_500) }
            });
            tokio::join!(join_all(calls), join_all(larges));
            assert_eq!(ran.count(), u64::from(large));
        }
    });
}

/// The first call of all may be a large one, with the hello known and the bind not.
#[test]
fn a_large_first_call_waits_for_its_bind() {
    virtual_time(async {
        let (shop, _) = far(Duration::from_millis(10));
        // The hello goes by itself.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let lines = (0..10_000).map(|qty| old::Line { sku: "a".repeat(20), qty }).collect();
        assert_eq!(shop.order(old::Order { id: 1, lines, legacy: None }).await.unwrap(), 49_995_000);
    });
}

#[test]
fn calls_that_are_dropped_meanwhile_do_not_run() {
    virtual_time(async {
        let (shop, ran) = far(Duration::from_millis(10));
        let call = tokio::spawn(shop.pay(5).owned());
        tokio::time::sleep(Duration::from_millis(1)).await;
        call.abort();
        assert_eq!(shop.pay(6).await.unwrap(), 6);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(ran.all(), ["pay"]);
    });
}

#[test]
fn calls_whose_time_passes_meanwhile_do_not_run() {
    virtual_time(async {
        let (shop, ran) = far(Duration::from_millis(100));
        let error = shop.pay(5).timeout(Duration::from_millis(150)).await.unwrap_err();
        let rpc::CallError::Rpc(error) = error else { panic!("{error:?}") };
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(shop.pay(6).await.unwrap(), 6);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(ran.all(), ["pay"]);
    });
}

/// A server that is told to stop while schemas are exchanged answers what it has read.
#[test]
fn a_server_that_stops_meanwhile_answers_what_it_keeps() {
    virtual_time(async {
        let plan = Plan { delay: Duration::from_millis(100), ..Plan::default() };
        let (near, far, _) = wire(plan.clone(), plan, 5);
        let ran = Ran::default();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = new::server(&ran).listen(One(Some(far))).unwrap();
        let server = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
        let shop = old::ShopClient::from(Client::options().over(near));
        let call = tokio::spawn(shop.pay(5).owned());
        tokio::time::sleep(Duration::from_millis(150)).await;
        stop.send(()).unwrap();
        let error = call.await.unwrap().unwrap_err();
        let rpc::CallError::Rpc(error) = error else { panic!("{error:?}") };
        assert_eq!(error.executed(), Executed::No, "{error:?}");
        server.await.unwrap().unwrap();
        assert_eq!(ran.count(), 0);
    });
}

/// One connection, and then silence.
struct One(Option<Transport>);

#[rpc::async_trait]
impl rpc::transport::Listen for One {
    async fn accept(&mut self) -> std::io::Result<Transport> {
        match self.0.take() {
            Some(transport) => Ok(transport),
            None => std::future::pending().await,
        }
    }

    fn address(&self) -> rpc::Address {
        rpc::Address::named("one")
    }
}

/// A connection that is made again begins anew, perhaps with a server of another age.
#[tokio::test]
async fn a_new_connection_starts_over() {
    let path = rpc_tests::rig::socket_path();
    let address = format!("unix:{}", path.display());
    let client = {
        let server = new::server(&Ran::default()).bind(&address).await.unwrap();
        let task = tokio::spawn(server.serve());
        let client = Client::connect(&address).await.unwrap();
        let shop = old::ShopClient::from(client.clone());
        assert_eq!(shop.extend(1).await.unwrap(), 1);
        assert_eq!(shop.never(1).await.unwrap_err().kind(), ErrorKind::Incompatible);
        task.abort();
        task.await.unwrap_err();
        client
    };
    settle().await;
    let server = old::server(&Ran::default()).bind(&address).await.unwrap();
    tokio::spawn(server.serve());
    let shop = old::ShopClient::from(client);
    while shop.same(1).await.is_err() {}
    assert_eq!(shop.extend(2).await.unwrap(), 2);
    assert_eq!(shop.never(1).await.unwrap(), 0, "it is equal now");
    assert_eq!(shop.gone().await.unwrap(), 1);
}

/// Both ages of one trait in one program, on one connection: each is bound by itself.
#[tokio::test]
async fn one_connection_serves_both_ages() {
    for server in [old::server(&Ran::default()), new::server(&Ran::default())] {
        let client = connect(Kind::Memory, server, Client::options()).await;
        let (olds, news) = (old::ShopClient::from(client.clone()), new::ShopClient::from(client));
        for _ in 0..2 {
            let (first, second) = tokio::join!(olds.extend(1), news.extend(None, 2));
            assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
        }
    }
}

/// A client that is called back by a server of another age; and one that serves nothing.
#[tokio::test]
async fn callbacks_are_compared_by_themselves() {
    let line = || old::Line { sku: "tea".into(), qty: 1 };
    for (serves, expected) in [(old::buyer(), true), (new::buyer(), true), (Server::new(), false)] {
        let options = Client::options().serve(serves).unwrap();
        let shop: old::ShopClient = connect(Kind::Memory, new::server(&Ran::default()), options).await.into();
        for _ in 0..2 {
            assert_eq!(shop.buy(line()).await.unwrap(), expected);
        }
    }
}
