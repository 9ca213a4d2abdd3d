//! JSON in, JSON out: calls by name without a type, the forms of `docs/json.md` on the wire, and errors that say where they are.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rpc::{Client, ErrorKind, Executed, Limits, Server};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    sku: String,
    qty: u16,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Refusal {
    OutOfStock { sku: String },
    Closed,
}

#[rpc::service]
trait Shop {
    async fn quote(&self, lines: Vec<Line>, coupon: Option<&str>) -> u64;
    async fn order(&self, line: Line) -> Result<Line, Refusal>;
    async fn about(&self, address: IpAddr, within: Duration, since: SystemTime, key: &[u8]) -> (IpAddr, Duration, SystemTime, Vec<u8>);
    async fn wide(&self, a: u64, b: i64, c: u128) -> (u64, i64, u128);
    async fn long(&self, count: u32) -> Vec<u8>;
    async fn pairs(&self) -> BTreeMap<(u8, u8), u8>;
}

struct My;

impl Shop for My {
    async fn quote(&self, lines: Vec<Line>, coupon: Option<&str>) -> u64 {
        lines.iter().map(|line| u64::from(line.qty)).sum::<u64>() * if coupon.is_some() { 1 } else { 2 }
    }
    async fn order(&self, line: Line) -> Result<Line, Refusal> {
        match line.qty {
            0 => Err(Refusal::Closed),
            1..=9 => Ok(line),
            _ => Err(Refusal::OutOfStock { sku: line.sku }),
        }
    }
    async fn about(&self, address: IpAddr, within: Duration, since: SystemTime, key: &[u8]) -> (IpAddr, Duration, SystemTime, Vec<u8>) {
        (address, within, since, key.to_vec())
    }
    async fn wide(&self, a: u64, b: i64, c: u128) -> (u64, i64, u128) {
        (a, b, c)
    }
    async fn long(&self, count: u32) -> Vec<u8> {
        vec![255; count as usize]
    }
    async fn pairs(&self) -> BTreeMap<(u8, u8), u8> {
        BTreeMap::from([((1, 2), 3)])
    }
}

async fn client() -> Client {
    let (listener, dialer) = rpc::transport::memory::pair();
    let mut limits = Limits::default();
    limits.max_message = 64 << 10;
    let server = Server::new().add(ShopServer::new(My)).method("same", |value: Value| async move { value });
    tokio::spawn(server.listen(listener).unwrap().serve());
    Client::options().limits(limits).dial(dialer).await.unwrap()
}

#[tokio::test]
async fn json_goes_in_and_comes_out() {
    let client = client().await;
    let lines = json!([{"sku": "a", "qty": 2}, {"qty": 3, "sku": "b"}]);
    assert_eq!(client.call_json("Shop.quote", json!([lines, null])).await.unwrap(), json!(10));
    assert_eq!(client.call_json("Shop.quote", json!({"coupon": "x", "lines": lines})).await.unwrap(), json!(5));
    assert_eq!(client.call_json("Shop.order", json!([["a", 2]])).await.unwrap(), json!({"sku": "a", "qty": 2}));
    let any = json!({"a": [1, -2, 1.5, null, true, "x", {"b": {}}]});
    assert_eq!(client.call_json("same", json!([any])).await.unwrap(), any);
    assert_eq!(client.call_json("same", json!([u64::MAX])).await.unwrap(), json!(u64::MAX.to_string()), "beyond what others can read");
}

#[tokio::test]
async fn the_methods_own_error_is_json_too() {
    let client = client().await;
    let error = client.call_json("Shop.order", json!([{"sku": "a", "qty": 10}])).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Service, Executed::Yes));
    assert_eq!(error.service::<Value>(), Some(json!({"OutOfStock": {"sku": "a"}})));
    assert_eq!(error.service::<Refusal>(), Some(Refusal::OutOfStock { sku: "a".into() }));
    let error = client.call_json("Shop.order", json!([{"sku": "a", "qty": 0}])).await.unwrap_err();
    assert_eq!(error.service::<Value>(), Some(json!("Closed")));
}

#[tokio::test]
async fn arguments_that_do_not_fit_say_where_and_nothing_runs() {
    let client = client().await;
    let refused = async |method: &str, arguments: Value| {
        let error = client.call_json(method, arguments).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::No), "{error}");
        error.message().to_owned()
    };
    let text = refused("Shop.quote", json!({"coupon": null, "lines": [{"sku": "a", "qty": 1}, {"sku": "b", "qty": 70000}]})).await;
    assert_eq!(text, "Shop.quote: malformed arguments: $.lines[1].qty: invalid value: integer `70000`, expected u16");
    let text = refused("Shop.quote", json!([[{"sku": "a"}], null])).await;
    assert_eq!(text, "Shop.quote: malformed arguments: $.lines[0]: missing field `qty`");
    assert!(refused("Shop.quote", json!([[]])).await.starts_with("Shop.quote: malformed arguments: expected 2 arguments (lines, coupon), got 1"));
    assert!(refused("Shop.quote", json!("x")).await.contains("expected the arguments as an array or an object"));
    assert!(refused("Shop.about", json!(["nowhere", "1s", "2026-01-31T12:00:00Z", ""])).await.contains("$.address: unknown variant `nowhere`"));
    assert!(refused("Shop.about", json!(["::1", "soon", "2026-01-31T12:00:00Z", ""])).await.contains("expected a duration such as 1.5s"));
}

#[tokio::test]
async fn texts_are_taken_where_json_has_them() {
    let client = client().await;
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
    let expected = (IpAddr::from([127, 0, 0, 1]), Duration::from_millis(1500), since, vec![1, 2, 255]);
    let arguments = json!({"address": "127.0.0.1", "within": "1.5s", "since": "2026-01-31T12:00:00Z", "key": "AQL/"});
    let reply = client.call_json("Shop.about", arguments).await.unwrap();
    assert_eq!(reply[0], "127.0.0.1");
    // Typed both ways: what the client writes the server reads, and the other way round.
    let typed: (IpAddr, Duration, SystemTime, Vec<u8>) = client.call("Shop.about", (expected.0, expected.1, since, &expected.3)).await.unwrap();
    assert_eq!(typed, expected);
    // What came back as JSON is taken as arguments.
    assert_eq!(client.call_json("Shop.about", reply.clone()).await.unwrap(), reply);
}

#[tokio::test]
async fn wide_numbers_keep_every_digit() {
    let client = client().await;
    let wide = (u64::MAX, i64::MIN, u128::MAX);
    assert_eq!(client.call::<(u64, i64, u128)>("Shop.wide", wide).await.unwrap(), wide);
    let texts = json!([u64::MAX.to_string(), i64::MIN.to_string(), u128::MAX.to_string()]);
    assert_eq!(client.call_json("Shop.wide", texts.clone()).await.unwrap(), texts);
    assert_eq!(client.call_json("Shop.wide", json!([u64::MAX, i64::MIN, 7])).await.unwrap()[1], json!(i64::MIN.to_string()));
    let error =
        client.call_json("Shop.wide", serde_json::from_str::<Value>("[1, 2, 340282366920938463463374607431768211455]").unwrap()).await.unwrap_err();
    assert!(error.message().contains("$.c: invalid type") && error.message().contains("as a string if it needs more than 64 bits"), "{error}");
}

/// A reply is as long as its JSON: three bytes of postcard may be twelve.
#[tokio::test]
async fn the_limit_holds_for_the_json_of_a_reply() {
    let client = client().await;
    assert_eq!(client.call_json("Shop.long", json!([16_000])).await.unwrap().as_array().unwrap().len(), 16_000);
    let Err(error) = client.call_json("Shop.long", json!([17_000])).await else { panic!("68,001 bytes") };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::Yes));
    assert!(error.message().contains("Shop.long: reply above the limit of 64 KiB (Limits::max_message)"), "{error}");
}

#[tokio::test]
async fn a_map_that_json_cannot_have_is_an_error() {
    let client = client().await;
    let error = client.call_json("Shop.pairs", json!([])).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes));
    assert!(error.message().contains("the reply cannot be encoded") && error.message().contains("key"), "{error}");
}
