//! The whole server, in this process.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{key, order, usd};
use crate::api::CheckoutClient;
use crate::commands::card;
use crate::commands::server::{Options, Place, Ready, Tls};

fn options() -> Options {
    Options { addr: "127.0.0.1:0".into(), place: Place::default(), api_keys: None, network_ms: 0, network_seed: 0, tls: Tls::default() }
}

#[tokio::test]
async fn a_drain_ends_an_event_stream_normally_after_its_last_event() {
    let server = Ready::start(&options()).await.unwrap();
    let shop = CheckoutClient::connect(server.bound.local_addr()).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move { server.serve_until(async { drop(stopped.await) }).await.map_err(|error| error.to_string()) });

    let mut events = shop.events(0).await.unwrap();
    let token = shop.tokenize(card("4242424242424242")).await.unwrap().token;
    shop.pay(key("k"), order("o"), usd(500), token).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().sequence, 1);
    stop.send(()).unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().sequence, 2);
    assert!(events.next().await.is_none());
    // Long before the grace that a stream without an end would take.
    tokio::time::timeout(Duration::from_secs(20), serving).await.unwrap().unwrap().unwrap();
}
