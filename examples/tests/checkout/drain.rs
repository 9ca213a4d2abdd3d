//! A drain lets money come to its end.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::shop::Folder;
use crate::till::{Till, block_on};

#[test]
fn a_drain_waits_for_a_slow_payment() {
    let folder = Folder::new("drain");
    let server = folder.serve(&[]);
    block_on(async {
        let till = Till::with(&server.address, "4000000000006009").await.unwrap();
        let paying = {
            let till = till.clone();
            tokio::spawn(async move { till.pay("key", "order", 1990).await })
        };
        while till.client.call::<Value>("Checkout.status", ("key",)).await.unwrap() == "not_found" {}
        let asked = Instant::now();
        server.signal("TERM");
        let receipt = paying.await.unwrap().unwrap();
        assert_eq!(receipt["captured"]["minor"], 1990);
        assert!(asked.elapsed() < Duration::from_secs(20));
        till.client.close().await;
    });
    let (code, log) = server.ended();
    assert_eq!(code, Some(0));
    assert_eq!(log.last().map(String::as_str), Some(" INFO drained"));
    assert_eq!(folder.audit().len(), 1);
}
