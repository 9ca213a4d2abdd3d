//! Streams whose consumer does not keep up: they wait, leave items out, or close, as the method or the server says.

use std::sync::{Arc, Mutex};

use futures_util::stream;
use rpc::{Client, ErrorKind, Executed, Server, SlowConsumer, Stream, Streaming};
use rpc_tests::rig::socket_path;
use rpc_tests::settle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// An item of a thousand bytes and a few.
#[derive(serde::Serialize, serde::Deserialize)]
struct Tick {
    number: u64,
    padding: String,
}

#[rpc::service]
trait Feed {
    #[rpc(slow_consumer = "drop_oldest")]
    fn newest(&self) -> impl Stream<Item = Tick>;
    #[rpc(slow_consumer = "close")]
    fn all_or_nothing(&self) -> impl Stream<Item = Tick>;
    #[rpc(slow_consumer = "wait")]
    fn patient(&self) -> impl Stream<Item = Tick>;
    /// As the server says.
    fn unsaid(&self) -> impl Stream<Item = Tick>;
}

/// Feeds whichever stream is open.
#[derive(Default)]
struct Feeder(Mutex<Option<UnboundedReceiver<u64>>>);

impl Feeder {
    /// The far end of the next stream.
    fn sender(&self) -> UnboundedSender<u64> {
        let (sender, receiver) = unbounded_channel();
        *self.0.lock().unwrap() = Some(receiver);
        sender
    }

    fn ticks(&self) -> impl Stream<Item = Tick> + use<> {
        let receiver = self.0.lock().unwrap().take().unwrap();
        stream::unfold(receiver, async |mut receiver| {
            let number = receiver.recv().await?;
            Some((Tick { number, padding: "x".repeat(1000) }, receiver))
        })
    }
}

impl Feed for Feeder {
    fn newest(&self) -> impl Stream<Item = Tick> {
        self.ticks()
    }
    fn all_or_nothing(&self) -> impl Stream<Item = Tick> {
        self.ticks()
    }
    fn patient(&self) -> impl Stream<Item = Tick> {
        self.ticks()
    }
    fn unsaid(&self) -> impl Stream<Item = Tick> {
        self.ticks()
    }
}

async fn local(change: impl FnOnce(Server) -> Server) -> (FeedClient, Arc<Feeder>) {
    let feeder = Arc::new(Feeder::default());
    let (listener, dialer) = rpc::transport::memory::pair();
    tokio::spawn(change(Server::new().add(FeedServer::shared(feeder.clone()))).listen(listener).unwrap().serve());
    (Client::options().dial(dialer).await.unwrap().into(), feeder)
}

/// Numbers that came, and how many were missing in between; errors end it.
async fn read(ticks: &mut Streaming<Tick>) -> (Vec<u64>, u64, Option<rpc::Error>) {
    let (mut numbers, mut missed, mut next) = (Vec::new(), 0, 0);
    while let Some(tick) = ticks.next().await {
        match tick {
            Ok(tick) => {
                assert_eq!(tick.number, next, "in order, and every gap is told");
                next += 1;
                numbers.push(tick.number);
            }
            Err(error) if error.kind() == ErrorKind::Missed => {
                assert_eq!(error.executed(), Executed::Yes);
                missed += error.missed().unwrap();
                next += error.missed().unwrap();
            }
            Err(error) => return (numbers, missed, Some(error)),
        }
    }
    (numbers, missed, None)
}

const TICKS: u64 = 5_000;

/// Sends all of them, a few at a time; the stream then ends by itself.
async fn feed(sender: UnboundedSender<u64>) {
    for number in 0..TICKS {
        sender.send(number).unwrap();
        if number % 10 == 0 {
            settle().await;
        }
    }
    drop(sender);
    settle().await;
}

async fn newest(client: FeedClient, feeder: Arc<Feeder>) {
    let sender = feeder.sender();
    let mut ticks = client.newest().await.unwrap();
    feed(sender).await;
    let (numbers, missed, error) = read(&mut ticks).await;
    assert!(error.is_none(), "the stream goes on, and ends as it ends: {error:?}");
    assert_eq!(numbers.len() as u64 + missed, TICKS);
    assert_eq!(numbers.last(), Some(&(TICKS - 1)), "the newest are there");
    assert!(missed > 0);
    // A window under way, a frame on its way to it, and 32 KiB that wait.
    assert!(numbers.len() < 100, "{} items were kept", numbers.len());
}

#[tokio::test]
async fn the_newest_items_wait_and_the_consumer_sees_what_it_missed() {
    let (client, feeder) = local(|server| server).await;
    newest(client, feeder).await;
}

#[tokio::test]
async fn over_sockets_too() {
    for address in ["127.0.0.1:0".to_owned(), format!("unix:{}", socket_path().display())] {
        let feeder = Arc::new(Feeder::default());
        let server = Server::new().add(FeedServer::shared(feeder.clone())).bind(address).await.unwrap();
        let address = server.local_addr();
        tokio::spawn(server.serve());
        newest(FeedClient::connect(address).await.unwrap(), feeder).await;
    }
}

#[tokio::test]
async fn a_consumer_that_keeps_up_misses_nothing() {
    let (client, feeder) = local(|server| server).await;
    let sender = feeder.sender();
    let mut ticks = client.newest().await.unwrap();
    let reading = tokio::spawn(async move { read(&mut ticks).await });
    feed(sender).await;
    let (numbers, missed, error) = reading.await.unwrap();
    assert!(error.is_none() && missed == 0 && numbers.len() as u64 == TICKS, "{missed} missed");
}

#[tokio::test]
async fn several_gaps_are_told_each_in_its_place() {
    let (client, feeder) = local(|server| server).await;
    let sender = feeder.sender();
    let mut ticks = client.newest().await.unwrap();
    let mut gaps = 0;
    let (mut next, mut sent) = (0, 0);
    for _ in 0..5 {
        for _ in 0..500 {
            sender.send(sent).unwrap();
            sent += 1;
        }
        settle().await;
        while next < sent {
            match ticks.next().await.unwrap() {
                Ok(tick) => {
                    assert_eq!(tick.number, next);
                    next += 1;
                }
                Err(error) => {
                    gaps += 1;
                    next += error.missed().unwrap();
                }
            }
        }
    }
    assert!(gaps >= 5, "{gaps} gaps");
}

#[tokio::test]
async fn a_consumer_that_is_too_slow_is_closed() {
    let (client, feeder) = local(|server| server).await;
    let sender = feeder.sender();
    let mut ticks = client.all_or_nothing().await.unwrap();
    for number in 0..1_000 {
        if sender.send(number).is_err() {
            break;
        }
    }
    // The server drops the stream, not only its items.
    sender.closed().await;
    let (numbers, missed, error) = read(&mut ticks).await;
    let error = error.unwrap();
    assert_eq!((error.kind(), error.executed(), missed), (ErrorKind::Overloaded, Executed::Yes, 0), "{error}");
    assert!(error.message().starts_with("Feed.all_or_nothing: the consumer is too slow"), "{error}");
    assert!(!numbers.is_empty() && numbers.len() < 100, "{} came before that", numbers.len());
}

/// How many items are missed if nobody reads while they are made.
async fn missed_meanwhile(mut ticks: Streaming<Tick>, sender: UnboundedSender<u64>) -> u64 {
    feed(sender).await;
    let (numbers, missed, error) = read(&mut ticks).await;
    assert!(error.is_none());
    assert_eq!(numbers.len() as u64 + missed, TICKS);
    missed
}

#[tokio::test]
async fn a_patient_stream_waits_and_loses_nothing() {
    let (client, feeder) = local(|server| server.slow_consumers(SlowConsumer::DropOldest)).await;
    let sender = feeder.sender();
    let ticks = client.patient().await.unwrap();
    assert_eq!(missed_meanwhile(ticks, sender).await, 0, "the method's word counts for more than the server's");
    let sender = feeder.sender();
    let ticks = client.unsaid().await.unwrap();
    assert!(missed_meanwhile(ticks, sender).await > 0, "where it says nothing, the server's holds");
}

#[tokio::test]
async fn unless_told_otherwise_a_stream_waits() {
    let (client, feeder) = local(|server| server).await;
    let sender = feeder.sender();
    let ticks = client.unsaid().await.unwrap();
    assert_eq!(missed_meanwhile(ticks, sender).await, 0);
}

#[rpc::service]
trait Sink {
    async fn count(&self, ticks: Streaming<Tick>) -> u64;
}

struct Counter;

impl Sink for Counter {
    async fn count(&self, mut ticks: Streaming<Tick>) -> u64 {
        let mut count = 0;
        while let Some(Ok(_)) = ticks.next().await {
            count += 1;
        }
        count
    }
}

/// A stream with a gap cannot be handed on as if it had none: the call that it was passed to fails, and says how much is missing.
#[tokio::test]
async fn a_gap_in_a_stream_that_is_handed_on_fails_the_call_and_keeps_its_count() {
    let (client, feeder) = local(|server| server).await;
    let sender = feeder.sender();
    let ticks = client.newest().await.unwrap();
    feed(sender).await;
    let error = SinkClient::local(Counter).count(ticks).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Missed, Executed::Maybe), "{error}");
    assert!(error.missed().unwrap() > 0, "{error}");
}
