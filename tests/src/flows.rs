//! The second service of the lab: methods whose items travel.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use rpc::{Context, Stream, Streaming};
use serde::{Deserialize, Serialize, Serializer};

use crate::lab::pattern;
use crate::{Blob, LabError, ON_PURPOSE, TestLab};

/// A number that cannot be written if it is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct NotSeven(pub u64);

impl Serialize for NotSeven {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            7 => Err(serde::ser::Error::custom("seven cannot be written")),
            8 => panic!("{ON_PURPOSE}"),
            number => serializer.serialize_newtype_struct("NotSeven", &number),
        }
    }
}

#[rpc::service]
pub trait Flows {
    /// The numbers from `from` up to but not including `to`.
    fn count(&self, from: u64, to: u64) -> impl Stream<Item = u64>;
    /// The same, after a while and one by one.
    fn count_slowly(&self, to: u64) -> impl Stream<Item = u64>;
    /// Blobs of these sizes.
    fn sizes(&self, seed: u64, sizes: Vec<u32>) -> impl Stream<Item = Blob>;
    /// Blobs of this size, for ever.
    fn endless(&self, size: u32) -> impl Stream<Item = Blob>;
    /// One item, then nothing more until the call ends.
    fn one_and_wait(&self) -> impl Stream<Item = u64>;
    async fn refusable(&self, text: &str) -> Result<impl Stream<Item = char>, LabError>;
    async fn later(&self, key: u64) -> impl Stream<Item = u64>;
    fn fallible(&self) -> impl Stream<Item = Result<u64, LabError>>;
    fn panics_at(&self, number: u64) -> impl Stream<Item = u64>;
    fn not_seven(&self, from: u64) -> impl Stream<Item = NotSeven>;
    fn remaining(&self, cx: &Context) -> impl Stream<Item = Option<u64>>;

    async fn sum(&self, numbers: Streaming<u64>) -> Result<u64, LabError>;
    async fn lengths(&self, blobs: Streaming<Blob>) -> Result<Vec<usize>, LabError>;
    /// The first few of them.
    async fn first(&self, count: usize, numbers: Streaming<u64>) -> Vec<u64>;
    /// Does not read before the gate is open.
    async fn hold(&self, key: u64, blobs: Streaming<Blob>) -> usize;
    /// Takes no more items, and answers when the gate is open.
    async fn refuse_items(&self, key: u64, numbers: Streaming<u64>) -> u64;
    async fn sum_after(&self, padding: &[u8], numbers: Streaming<u64>) -> u64;
    /// Jots down how the items ended, and lives on without its caller.
    #[rpc(detached)]
    async fn witness(&self, numbers: Streaming<u64>);

    fn echo(&self, blobs: Streaming<Blob>) -> impl Stream<Item = Blob>;
    /// Doubles each number, after it has been asked for.
    fn doubles(&self, numbers: Streaming<u64>) -> impl Stream<Item = u64>;
}

async fn total(mut numbers: Streaming<u64>) -> Result<u64, rpc::Error> {
    let mut sum = 0;
    while let Some(number) = numbers.next().await {
        sum += number?;
    }
    Ok(sum)
}

impl Flows for TestLab {
    fn count(&self, from: u64, to: u64) -> impl Stream<Item = u64> {
        let live = self.enter();
        stream::iter(from..to).inspect(move |_| {
            let _ = &live;
        })
    }

    fn count_slowly(&self, to: u64) -> impl Stream<Item = u64> {
        let live = self.enter();
        stream::unfold((0, live), move |(next, live)| async move {
            tokio::task::yield_now().await;
            (next < to).then_some((next, (next + 1, live)))
        })
    }

    fn sizes(&self, seed: u64, sizes: Vec<u32>) -> impl Stream<Item = Blob> {
        stream::iter(sizes).map(move |size| Blob(pattern(seed, size as usize)))
    }

    fn endless(&self, size: u32) -> impl Stream<Item = Blob> {
        let live = self.enter();
        stream::repeat_with(move || {
            self.produce();
            let _ = &live;
            Blob(vec![7; size as usize])
        })
    }

    fn one_and_wait(&self) -> impl Stream<Item = u64> {
        let live = self.enter();
        stream::iter([1]).chain(stream::pending()).inspect(move |_| {
            let _ = &live;
        })
    }

    async fn refusable(&self, text: &str) -> Result<impl Stream<Item = char>, LabError> {
        if text.is_empty() {
            return Err(LabError::Text("nothing to say".to_owned()));
        }
        Ok(stream::iter(text.chars()))
    }

    async fn later(&self, key: u64) -> impl Stream<Item = u64> {
        self.at_gate(key).await;
        stream::iter([key])
    }

    fn fallible(&self) -> impl Stream<Item = Result<u64, LabError>> {
        stream::iter([Ok(1), Err(LabError::Plain), Ok(3)])
    }

    fn panics_at(&self, number: u64) -> impl Stream<Item = u64> {
        stream::iter(0..).inspect(move |next| assert!(*next != number, "{ON_PURPOSE}"))
    }

    fn not_seven(&self, from: u64) -> impl Stream<Item = NotSeven> {
        stream::iter(from..).map(NotSeven)
    }

    fn remaining(&self, cx: &Context) -> impl Stream<Item = Option<u64>> {
        stream::iter([cx.remaining().map(|left| left.as_micros() as u64)])
    }

    async fn sum(&self, numbers: Streaming<u64>) -> Result<u64, LabError> {
        let _live = self.enter();
        total(numbers).await.map_err(|error| LabError::Text(error.to_string()))
    }

    async fn lengths(&self, mut blobs: Streaming<Blob>) -> Result<Vec<usize>, LabError> {
        let mut lengths = Vec::new();
        while let Some(blob) = blobs.next().await {
            let blob = blob.map_err(|error| LabError::Text(error.to_string()))?;
            if blob.0 != pattern(lengths.len() as u64, blob.0.len()) {
                return Err(LabError::Text(format!("item {} is not as it was sent", lengths.len())));
            }
            lengths.push(blob.0.len());
        }
        Ok(lengths)
    }

    async fn first(&self, count: usize, mut numbers: Streaming<u64>) -> Vec<u64> {
        let mut first = Vec::new();
        while first.len() < count {
            match numbers.next().await {
                Some(Ok(number)) => first.push(number),
                _ => break,
            }
        }
        first
    }

    async fn hold(&self, key: u64, mut blobs: Streaming<Blob>) -> usize {
        let _live = self.enter();
        self.at_gate(key).await;
        let mut count = 0;
        while let Some(Ok(_)) = blobs.next().await {
            count += 1;
        }
        count
    }

    async fn refuse_items(&self, key: u64, numbers: Streaming<u64>) -> u64 {
        drop(numbers);
        let _live = self.enter();
        self.at_gate(key).await;
        key
    }

    async fn sum_after(&self, padding: &[u8], numbers: Streaming<u64>) -> u64 {
        padding.len() as u64 + total(numbers).await.unwrap_or_default()
    }

    async fn witness(&self, mut numbers: Streaming<u64>) {
        let _live = self.enter();
        let mut count = 0;
        let end = loop {
            match numbers.next().await {
                Some(Ok(_)) => count += 1,
                Some(Err(error)) => break format!("{:?}", error.kind()),
                None => break "end".to_owned(),
            }
        };
        assert!(numbers.next().await.is_none(), "after the end there is nothing");
        self.jot(format!("{count} items, then {end}"));
    }

    fn echo(&self, blobs: Streaming<Blob>) -> impl Stream<Item = Blob> {
        let live = self.enter();
        stream::unfold((blobs, live), |(mut blobs, live)| async move {
            let blob = blobs.next().await?.ok()?;
            Some((blob, (blobs, live)))
        })
    }

    fn doubles(&self, numbers: Streaming<u64>) -> impl Stream<Item = u64> {
        numbers.map(|number| 2 * number.unwrap_or_default())
    }
}

/// The flows of a rig.
pub fn flows(rig: &crate::Rig) -> FlowsClient {
    FlowsClient::from(rpc::Client::clone(&rig.client))
}

/// A server of them.
pub fn server(lab: &Arc<TestLab>) -> FlowsServer<TestLab> {
    FlowsServer::shared(lab.clone())
}
