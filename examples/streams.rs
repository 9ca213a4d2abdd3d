//! Items that travel during a call: from the server, from the server unless it refuses, and from the client.
//! `cargo run --example streams`; both ways at once is `chat`.

use futures_util::{StreamExt, stream};
use rpc::{CallError, Server, Stream, Streaming};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Day {
    name: String,
    degrees: i32,
}

#[derive(Debug, Serialize, Deserialize)]
enum StationError {
    UnknownCity(String),
    Incomplete(String),
}

impl std::fmt::Display for StationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownCity(city) => write!(f, "there is no station in {city}"),
            Self::Incomplete(why) => write!(f, "the readings are incomplete: {why}"),
        }
    }
}

impl std::error::Error for StationError {}

#[rpc::service]
trait Station {
    /// From the server: as many items as there are, each as soon as it is there.
    fn forecast(&self, days: usize) -> impl Stream<Item = Day>;

    /// From the server, unless it refuses: the caller has either the stream or the method's own error.
    async fn watch(&self, city: &str) -> Result<impl Stream<Item = i32>, StationError>;

    /// From the client: one answer to all its items.
    async fn record(&self, degrees: Streaming<i32>) -> Result<f64, StationError>;
}

struct Oslo;

impl Station for Oslo {
    fn forecast(&self, days: usize) -> impl Stream<Item = Day> {
        let week = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
        stream::iter(week.into_iter().cycle().zip(12..)).take(days).map(|(name, degrees)| Day { name: name.to_owned(), degrees })
    }

    async fn watch(&self, city: &str) -> Result<impl Stream<Item = i32>, StationError> {
        match city {
            // It never ends by itself: its reader leaves when it has seen enough.
            "Oslo" => Ok(stream::iter((11..15).cycle())),
            _ => Err(StationError::UnknownCity(city.to_owned())),
        }
    }

    async fn record(&self, mut degrees: Streaming<i32>) -> Result<f64, StationError> {
        let (mut sum, mut count) = (0, 0);
        while let Some(item) = degrees.next().await {
            // Whoever stops in the middle sends an error, not an end: half a day is no day.
            sum += item.map_err(|error| StationError::Incomplete(error.to_string()))?;
            count += 1;
        }
        Ok(f64::from(sum) / f64::from(count.max(1)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::new().add(StationServer::new(Oslo)).bind("127.0.0.1:0").await?;
    let address = server.local_addr();
    tokio::spawn(server.serve());
    let station = StationClient::connect(address).await?;

    // Each item is a `Result`: the connection may be lost between any two of them.
    let mut days = station.forecast(3).await?;
    while let Some(day) = days.next().await {
        let day = day?;
        println!("{}: {} degrees", day.name, day.degrees);
    }

    // Who does not read stops the sender, and who drops the stream stops the handler.
    let mut watched = station.watch("Oslo").await?;
    for _ in 0..5 {
        if let Some(degrees) = watched.next().await {
            println!("Oslo now: {}", degrees?);
        }
    }
    drop(watched);

    match station.watch("Atlantis").await {
        Ok(_) => println!("Atlantis has been found"),
        Err(CallError::Service(error)) => println!("refused: {error}"),
        Err(CallError::Rpc(error)) => return Err(error.into()),
    }

    // Any `Stream` can be passed, or the other end of `Streaming::channel()`.
    println!("on average: {}", station.record(stream::iter([11, 13, 16, 14])).await?);

    station.close().await;
    Ok(())
}
