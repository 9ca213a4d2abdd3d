//! Streams by name: items as JSON both ways, what a caller is told that expects other items, and ends that are none. The frames are
//! `wire/json_items.rs`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rpc::{Client, Error, ErrorKind, Executed, Server, Stream, Streaming};
use rpc_tests::Kind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum What {
    Sold { sku: String },
    Closed,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Event {
    number: u64,
    what: What,
    after: Duration,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    qty: u16,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    sku: String,
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Refusal {
    Unknown { sku: String },
}

#[rpc::service]
trait Feed {
    fn chat(&self, lines: Streaming<String>) -> impl Stream<Item = String>;
    fn events(&self, after: u64) -> impl Stream<Item = Event>;
    /// Goes on until nobody takes anything.
    fn ever(&self) -> impl Stream<Item = u32>;
    /// What every row is, times `scale`, and what is wrong with those that are none.
    async fn import(&self, scale: u32, rows: Streaming<Row>) -> Result<(u32, Vec<String>), Refusal>;
    fn pairs(&self) -> impl Stream<Item = BTreeMap<(u8, u8), u8>>;
    async fn plain(&self) -> u32;
    #[rpc(slow_consumer = "drop_oldest")]
    fn ticks(&self, count: u32) -> impl Stream<Item = u32>;
    fn texts(&self, count: u32, length: u32) -> impl Stream<Item = String>;
    async fn watch(&self, sku: &str) -> Result<impl Stream<Item = u32>, Refusal>;
}

#[derive(Default)]
struct My {
    /// Methods that have begun.
    begun: AtomicU32,
    /// Streams of `ever` that were dropped.
    dropped: Arc<Notify>,
    /// The last of `ticks` was taken.
    ticked: Arc<Notify>,
}

struct Told(Arc<Notify>);
impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Feed for My {
    fn chat(&self, lines: Streaming<String>) -> impl Stream<Item = String> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        lines.map(|line| line.unwrap_or_default())
    }
    fn events(&self, after: u64) -> impl Stream<Item = Event> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let sold = Event { number: after, what: What::Sold { sku: "tea".into() }, after: Duration::from_millis(1500) };
        stream::iter([sold, Event { number: u64::MAX, what: What::Closed, after: Duration::ZERO }])
    }
    fn ever(&self) -> impl Stream<Item = u32> {
        let told = Told(self.dropped.clone());
        stream::iter(0..).map(move |number| {
            let _ = &told;
            number
        })
    }
    async fn import(&self, scale: u32, mut rows: Streaming<Row>) -> Result<(u32, Vec<String>), Refusal> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let (mut sum, mut wrong) = (0, Vec::new());
        while let Some(row) = rows.next().await {
            match row {
                Ok(Row { sku, .. }) if sku == "gin" => return Err(Refusal::Unknown { sku }),
                Ok(row) => sum += scale * row.lines.iter().map(|line| u32::from(line.qty)).sum::<u32>(),
                Err(error) => wrong.push(format!("{}: {error}", error.kind())),
            }
        }
        Ok((sum, wrong))
    }
    fn pairs(&self) -> impl Stream<Item = BTreeMap<(u8, u8), u8>> {
        stream::iter([BTreeMap::new(), BTreeMap::from([((1, 2), 3)]), BTreeMap::new()])
    }
    async fn plain(&self) -> u32 {
        self.begun.fetch_add(1, Ordering::Relaxed);
        7
    }
    fn ticks(&self, count: u32) -> impl Stream<Item = u32> {
        let ticked = self.ticked.clone();
        stream::iter(0..count).chain(stream::once(async move {
            ticked.notify_one();
            count
        }))
    }
    fn texts(&self, count: u32, length: u32) -> impl Stream<Item = String> {
        stream::iter((0..count).map(move |number| char::from(b'a' + (number % 26) as u8).to_string().repeat(length as usize)))
    }
    async fn watch(&self, sku: &str) -> Result<impl Stream<Item = u32>, Refusal> {
        if sku == "tea" { Ok(stream::iter(1..4)) } else { Err(Refusal::Unknown { sku: sku.into() }) }
    }
}

async fn served(kind: Kind, change: impl FnOnce(Server) -> Server) -> (Arc<My>, Client) {
    let my = Arc::new(My::default());
    let server = change(Server::new().add(FeedServer::shared(my.clone())));
    let client = match kind {
        Kind::Tcp => {
            let server = server.bind("127.0.0.1:0").await.unwrap();
            let address = server.local_addr();
            tokio::spawn(server.serve());
            Client::connect(address).await.unwrap()
        }
        _ => {
            let (listener, dialer) = rpc::transport::memory::pair();
            tokio::spawn(server.listen(listener).unwrap().serve());
            Client::options().dial(dialer).await.unwrap()
        }
    };
    (my, client)
}

async fn all(mut items: Streaming<Value>) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    while let Some(item) = items.next().await {
        values.push(item?);
    }
    Ok(values)
}

rpc_tests::over!(tcp Tcp "multi_thread"
    items_come_as_json a_stream_that_is_refused_says_so_in_json items_go_as_json long_and_many_items_pass
    a_caller_that_expects_other_items_is_told_and_nothing_runs dropping_the_stream_cancels_the_call
    an_item_that_has_no_json_cuts_the_stream_off what_was_left_out_is_counted);
rpc_tests::over!(memory Memory "current_thread"
    items_come_as_json a_stream_that_is_refused_says_so_in_json items_go_as_json long_and_many_items_pass
    a_caller_that_expects_other_items_is_told_and_nothing_runs dropping_the_stream_cancels_the_call
    an_item_that_has_no_json_cuts_the_stream_off what_was_left_out_is_counted);

async fn items_come_as_json(kind: Kind) {
    let (_, client) = served(kind, |server| server).await;
    let expected = vec![
        json!({"number": 3, "what": {"Sold": {"sku": "tea"}}, "after": "1.5s"}),
        json!({"number": u64::MAX.to_string(), "what": "Closed", "after": "0s"}),
    ];
    for arguments in [json!([3]), json!({"after": 3})] {
        let events = client.watch_json("Feed.events", arguments).await.unwrap();
        assert_eq!(all(events).await.unwrap(), expected);
    }
    // The same method through its trait, on the same connection.
    let events = FeedClient::from(client.clone()).events(3).await.unwrap();
    assert_eq!(events.map(|event| event.unwrap().number).collect::<Vec<_>>().await, [3, u64::MAX]);
    // Nothing but an end.
    assert_eq!(all(client.watch_json("Feed.texts", json!([0, 0])).await.unwrap()).await.unwrap(), Vec::<Value>::new());
}

async fn a_stream_that_is_refused_says_so_in_json(kind: Kind) {
    let (_, client) = served(kind, |server| server).await;
    let numbers = client.watch_json("Feed.watch", json!(["tea"])).await.unwrap();
    assert_eq!(all(numbers).await.unwrap(), [json!(1), json!(2), json!(3)]);
    let error = client.watch_json("Feed.watch", json!(["gin"])).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Service, Executed::Yes), "{error}");
    assert_eq!(error.service::<Value>(), Some(json!({"Unknown": {"sku": "gin"}})));
    let error = client.watch_json("Feed.watch", json!([7])).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::No), "{error}");
    assert!(error.message().starts_with("Feed.watch: malformed arguments: $.sku: "), "{error}");
}

async fn items_go_as_json(kind: Kind) {
    let (_, client) = served(kind, |server| server).await;
    let row = |qty: u32| json!({"sku": "tea", "lines": [{"qty": 1}, {"qty": qty}]});
    let sum = client.upload_json("Feed.import", json!([2]), stream::iter([row(2), row(3)])).await.unwrap();
    assert_eq!(sum, json!([14, []]));
    // An item that is none fails alone, as in postcard, and says where.
    let rows = [row(2), row(70_000), json!({"sku": 1, "lines": []}), row(4)];
    let sum = client.upload_json("Feed.import", json!({"scale": 1}), stream::iter(rows)).await.unwrap();
    let wrong = [
        "malformed: import: malformed item: $.lines[1].qty: invalid value: integer `70000`, expected u16",
        "malformed: import: malformed item: $.sku: invalid type: integer `1`, expected a string",
    ];
    assert_eq!(sum, json!([8, wrong]));
    let error = client.upload_json("Feed.import", json!([1]), stream::iter([json!({"sku": "gin", "lines": []})])).await.unwrap_err();
    assert_eq!(error.service::<Value>(), Some(json!({"Unknown": {"sku": "gin"}})));
}

/// More than a window, and more than a frame.
async fn long_and_many_items_pass(kind: Kind) {
    let (_, client) = served(kind, |server| server).await;
    let texts = all(client.watch_json("Feed.texts", json!([3, 300_000])).await.unwrap()).await.unwrap();
    assert_eq!(texts.iter().map(|text| text.as_str().unwrap().len()).collect::<Vec<_>>(), [300_000; 3]);
    let texts = all(client.watch_json("Feed.texts", json!([20_000, 200])).await.unwrap()).await.unwrap();
    assert_eq!((texts.len(), &texts[27]), (20_000, &json!("b".repeat(200))));
    let rows = (0..5_000).map(|number| json!({"sku": "a".repeat(100 + number % 50), "lines": [{"qty": 1}]}));
    assert_eq!(client.upload_json("Feed.import", json!([1]), stream::iter(rows)).await.unwrap(), json!([5_000, []]));
}

async fn a_caller_that_expects_other_items_is_told_and_nothing_runs(kind: Kind) {
    let (my, client) = served(kind, |server| server).await;
    let none = || stream::iter([json!(1)]);
    let refused = [
        (client.call_json("Feed.events", json!([1])).await.unwrap_err(), "watch_json"),
        (client.call::<Value>("Feed.events", (1,)).await.unwrap_err(), "watch_json"),
        (client.upload_json("Feed.events", json!([1]), none()).await.unwrap_err(), "watch_json"),
        (client.watch_json("Feed.plain", json!([])).await.unwrap_err(), "call_json"),
        (client.upload_json("Feed.plain", json!([]), none()).await.unwrap_err(), "call_json"),
        (client.call_json("Feed.import", json!([1])).await.unwrap_err(), "upload_json"),
        (client.watch_json("Feed.import", json!([1])).await.unwrap_err(), "upload_json"),
        (client.call_json("Feed.chat", json!([])).await.unwrap_err(), "through its trait"),
        (client.watch_json("Feed.chat", json!([])).await.unwrap_err(), "through its trait"),
        (client.upload_json("Feed.chat", json!([]), none()).await.unwrap_err(), "through its trait"),
        (client.watch_json("Feed.nothing", json!([])).await.unwrap_err(), "no such method"),
    ];
    for (error, cure) in refused {
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No), "{error}");
        assert!(error.message().contains(cure) && error.message().starts_with("Feed."), "{error}");
    }
    assert_eq!(my.begun.load(Ordering::Relaxed), 0);
    // Long arguments come in chunks, and the refusal before they are looked at.
    let error = client.call_json("Feed.import", json!(["x".repeat(200_000)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented, "{error}");
    assert_eq!(client.call_json("Feed.plain", json!([])).await.unwrap(), json!(7), "the connection has taken no harm");
}

async fn dropping_the_stream_cancels_the_call(kind: Kind) {
    let (my, client) = served(kind, |server| server).await;
    let mut numbers = client.watch_json("Feed.ever", json!([])).await.unwrap();
    assert_eq!(numbers.next().await.unwrap().unwrap(), json!(0));
    drop(numbers);
    my.dropped.notified().await;
}

async fn an_item_that_has_no_json_cuts_the_stream_off(kind: Kind) {
    let (_, client) = served(kind, |server| server).await;
    let mut pairs = client.watch_json("Feed.pairs", json!([])).await.unwrap();
    assert_eq!(pairs.next().await.unwrap().unwrap(), json!({}));
    let error = pairs.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes), "{error}");
    assert!(error.message().starts_with("Feed.pairs: the item cannot be encoded: ") && error.message().contains("key"), "{error}");
    assert!(pairs.next().await.is_none());
}

async fn what_was_left_out_is_counted(kind: Kind) {
    let (my, client) = served(kind, |server| server).await;
    let mut ticks = client.watch_json("Feed.ticks", json!([100_000])).await.unwrap();
    my.ticked.notified().await;
    let (mut seen, mut missed) = (0, 0);
    while let Some(tick) = ticks.next().await {
        match tick {
            Ok(tick) => {
                assert_eq!(tick, json!(seen + missed), "in order, and none is passed over in silence");
                seen += 1;
            }
            Err(error) => missed += error.missed().unwrap(),
        }
    }
    assert_eq!(seen + missed, 100_001);
    assert!(missed > 0);
}

#[tokio::test]
async fn a_server_that_takes_no_json_streams_none() {
    let (my, client) = served(Kind::Memory, |server| server.json(false)).await;
    let error = client.watch_json("Feed.events", json!([1])).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unimplemented, Executed::No), "{error}");
    assert!(error.message().contains("takes no JSON"), "{error}");
    assert_eq!(my.begun.load(Ordering::Relaxed), 0);
}

/// Conformance: a stream that was cut off never ends as if it were whole.
#[tokio::test]
async fn a_stream_whose_server_is_gone_does_not_end() {
    let my = Arc::new(My::default());
    let (listener, dialer) = rpc::transport::memory::pair();
    let server = tokio::spawn(Server::new().add(FeedServer::shared(my)).listen(listener).unwrap().serve());
    let client = Client::options().dial(dialer).await.unwrap();
    let mut numbers = client.watch_json("Feed.ever", json!([])).await.unwrap();
    numbers.next().await.unwrap().unwrap();
    server.abort();
    let error = loop {
        match numbers.next().await.expect("no end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::Maybe), "{error}");
}
