//! The third service of the lab: streams of which both ends know every item, so that what is lost, doubled, moved or cut short
//! shows, and a record of what the server's end saw of each call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use rpc::{ErrorKind, Streaming};
use serde::{Deserialize, Serialize};

use crate::rng::Rng;
use crate::{Blob, LabError, ON_PURPOSE};

/// How long items are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lengths {
    /// Up to a hundred bytes.
    Small,
    /// Some of them a few thousand.
    Mixed,
    /// Some of them longer than a window.
    Long,
    Each(u32),
}

impl Lengths {
    fn of(self, rng: &mut Rng) -> usize {
        let long = match self {
            Self::Each(length) => return length as usize,
            Self::Small => 100,
            Self::Mixed => [100, 100, 100, 5_000][rng.below(4) as usize],
            Self::Long => [100, 5_000, 40_000, 150_000][rng.below(4) as usize],
        };
        rng.below(long) as usize
    }
}

/// What comes after the last item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    Normal,
    Panic,
    /// Nothing: the stream stays open.
    Open,
}

/// A stream of items, as both ends know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    pub count: u32,
    pub lengths: Lengths,
    /// Microseconds between some of the items.
    pub pause: u32,
    pub ending: Ending,
}

impl Script {
    pub fn of(count: u32, lengths: Lengths) -> Self {
        Self { count, lengths, pause: 0, ending: Ending::Normal }
    }

    /// Items of this length without end.
    pub fn endless(length: u32) -> Self {
        Self { ending: Ending::Open, ..Self::of(u32::MAX, Lengths::Each(length)) }
    }
}

/// What a handler does with the items that it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Taking {
    All,
    /// So many; then it answers.
    First(u32),
    /// So many; then it takes no more, has begun to wait for the next one perhaps, and answers after as many milliseconds.
    Refuse(u32, u64),
    /// So many; then it keeps the stream and never answers.
    Hold(u32),
}

/// What a handler has taken, and whether it came to a normal end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    pub items: u32,
    pub ended: bool,
}

#[rpc::service]
pub trait Feeds {
    async fn down(&self, id: u64, script: Script) -> Result<impl Stream<Item = Blob>, LabError>;
    async fn up(&self, id: u64, lengths: Lengths, taking: Taking, items: Streaming<Blob>) -> Result<Took, LabError>;
    /// Takes all, whatever becomes of its caller: it sees how the items end.
    #[rpc(detached)]
    async fn keep(&self, id: u64, lengths: Lengths, items: Streaming<Blob>) -> Result<Took, LabError>;
    /// Sends back what it is sent; what ends it but a normal end is its last item.
    fn both(&self, id: u64, lengths: Lengths, items: Streaming<Blob>) -> impl Stream<Item = Result<Blob, LabError>>;
}

/// Item `index` of the call `id`: bytes at random, from a place of its own among many.
pub fn item(id: u64, index: u32, lengths: Lengths) -> Blob {
    const ALL: usize = 5 << 20;
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut rng = Rng::new(0xfeed);
        (0..ALL / 8).flat_map(|_| rng.draw().to_le_bytes()).collect()
    });
    let mut rng = Rng::new(id.wrapping_mul(0x0100_0193) ^ u64::from(index));
    let length = lengths.of(&mut rng);
    let start = rng.below((ALL - length) as u64) as usize;
    Blob(BYTES[start..start + length].to_vec())
}

/// The items of this script; `made` counts them.
pub fn items(id: u64, script: Script, made: Arc<AtomicU32>) -> impl Stream<Item = Blob> + Send + 'static {
    stream::unfold(0, move |index| {
        let made = made.clone();
        async move {
            if index == script.count {
                match script.ending {
                    Ending::Normal => return None,
                    Ending::Panic => panic!("{ON_PURPOSE}: after {index} items"),
                    Ending::Open => std::future::pending().await,
                }
            }
            if script.pause > 0 && index % 4 == 3 {
                tokio::time::sleep(Duration::from_micros(script.pause.into())).await;
            }
            made.store(index + 1, Ordering::Relaxed);
            Some((item(id, index, script.lengths), index + 1))
        }
    })
}

/// What the server's end knows of one call.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub runs: u32,
    pub made: Arc<AtomicU32>,
    /// Items that came, each as it was sent.
    pub taken: u32,
    /// How what came ended: `None` while it has not, `Some(None)` for a normal end.
    pub end: Option<Option<ErrorKind>>,
    /// The first item that was not as it was sent.
    pub wrong: Option<u32>,
}

/// The implementation, with its records.
#[derive(Debug, Default)]
pub struct TestFeeds {
    calls: Mutex<HashMap<u64, Seen>>,
    live: AtomicUsize,
}

struct Live<'a>(&'a TestFeeds);

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl TestFeeds {
    pub fn new() -> Arc<Self> {
        crate::quiet();
        Arc::default()
    }

    /// Handlers that run now.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub fn seen(&self, id: u64) -> Seen {
        self.calls.lock().unwrap().get(&id).cloned().unwrap_or_default()
    }

    /// Forgets all calls.
    pub fn forget(&self) {
        self.calls.lock().unwrap().clear();
    }

    fn note<T>(&self, id: u64, note: impl FnOnce(&mut Seen) -> T) -> T {
        note(self.calls.lock().unwrap().entry(id).or_default())
    }

    fn enter(&self, id: u64) -> (Live<'_>, Arc<AtomicU32>) {
        self.live.fetch_add(1, Ordering::Relaxed);
        let made = self.note(id, |seen| {
            seen.runs += 1;
            seen.made.clone()
        });
        (Live(self), made)
    }

    /// The next item; its end is on record.
    async fn take(&self, id: u64, index: u32, lengths: Lengths, items: &mut Streaming<Blob>) -> Option<Result<Blob, LabError>> {
        let next = items.next().await;
        self.note(id, |seen| match &next {
            Some(Ok(next)) if *next == item(id, index, lengths) => seen.taken += 1,
            Some(Ok(_)) => drop(seen.wrong.get_or_insert(index)),
            Some(Err(error)) => seen.end = Some(Some(error.kind())),
            None => seen.end = Some(None),
        });
        Some(next?.map_err(|error| LabError::Text(format!("{:?}", error.kind()))))
    }
}

impl Feeds for TestFeeds {
    async fn down(&self, id: u64, script: Script) -> Result<impl Stream<Item = Blob>, LabError> {
        let (live, made) = self.enter(id);
        if script.count == 0 && script.ending == Ending::Panic {
            return Err(LabError::Plain);
        }
        Ok(items(id, script, made).inspect(move |_| {
            let _ = &live;
        }))
    }

    async fn up(&self, id: u64, lengths: Lengths, taking: Taking, mut items: Streaming<Blob>) -> Result<Took, LabError> {
        let _live = self.enter(id);
        let most = match taking {
            Taking::All => u32::MAX,
            Taking::First(most) | Taking::Refuse(most, _) | Taking::Hold(most) => most,
        };
        let mut took = Took::default();
        while took.items < most {
            match self.take(id, took.items, lengths, &mut items).await {
                Some(item) => drop(item?),
                None => {
                    took.ended = true;
                    break;
                }
            }
            took.items += 1;
        }
        match taking {
            Taking::All | Taking::First(_) => {}
            Taking::Refuse(_, millis) => {
                if millis % 2 == 1 {
                    let _ = tokio::time::timeout(Duration::from_millis(1), items.next()).await;
                }
                drop(items);
                tokio::time::sleep(Duration::from_millis(millis)).await;
            }
            Taking::Hold(_) => std::future::pending().await,
        }
        Ok(took)
    }

    async fn keep(&self, id: u64, lengths: Lengths, items: Streaming<Blob>) -> Result<Took, LabError> {
        self.up(id, lengths, Taking::All, items).await
    }

    fn both(&self, id: u64, lengths: Lengths, items: Streaming<Blob>) -> impl Stream<Item = Result<Blob, LabError>> {
        let (live, _) = self.enter(id);
        stream::unfold((items, 0, live), move |(mut items, index, live)| async move {
            if index == u32::MAX {
                return None;
            }
            let item = self.take(id, index, lengths, &mut items).await?;
            let next = if item.is_ok() { index + 1 } else { u32::MAX };
            Some((item, (items, next, live)))
        })
    }
}

/// Waits until the count has stopped rising: nothing more can happen.
pub async fn until_still(mut count: impl FnMut() -> u32) -> u32 {
    let mut last = count();
    loop {
        // On another thread, or over a socket, the count may rise without us.
        tokio::time::sleep(Duration::from_millis(20)).await;
        crate::settle().await;
        let now = count();
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
}

/// What is under way to a reader that has kept up and has stopped, in bytes: more than this only if its window has grown to its
/// full 256 KiB. Half of it, and what a sender gathers.
pub const WHOLE_WINDOW: u32 = (128 + 32) << 10;

/// Where the reader stops. Up to half a window has been taken and not been given back: the most of three places shows a whole one.
const PLACES: [u32; 3] = [400_000, 440_000, 480_000];

/// Measures what is under way up, with items of this length, on calls from `id` on.
pub async fn under_way_up(client: &FeedsClient, feeds: &TestFeeds, id: u64, length: u32) -> u32 {
    let mut most = 0;
    for (id, place) in (id..).zip(PLACES.map(|bytes| bytes / length)) {
        let made = Arc::new(AtomicU32::new(0));
        let call = client.up(id, Lengths::Each(length), Taking::Hold(place), items(id, Script::endless(length), made.clone()));
        let call = tokio::spawn(call.owned());
        let sent = until_still(|| made.load(Ordering::Relaxed)).await;
        let taken = feeds.seen(id).taken;
        assert_eq!(taken, place, "an upload stands still");
        most = most.max((sent - taken) * length);
        call.abort();
        // Its window comes back when its handler has gone.
        while feeds.live() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        crate::settle().await;
    }
    most
}

/// Measures what is under way down, on a call with this id.
pub async fn under_way_down(client: &FeedsClient, feeds: &TestFeeds, id: u64, length: u32) -> u32 {
    let mut items = client.down(id, Script::endless(length)).await.unwrap();
    let (mut read, mut most) = (0, 0);
    for place in PLACES.map(|bytes| bytes / length) {
        while read < place {
            assert!(items.next().await.unwrap().unwrap() == item(id, read, Lengths::Each(length)));
            read += 1;
        }
        let made = until_still(|| feeds.seen(id).made.load(Ordering::Relaxed)).await;
        most = most.max((made - read) * length);
    }
    most
}
