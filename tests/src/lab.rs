//! The service that the tests call: one method for each thing that can happen to a call, and counters to see it from
//! the inside.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rpc::Context;
use serde::de::{self, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::watch;

use crate::ON_PURPOSE;

/// An error with everything that text can hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabError {
    Plain,
    Text(String),
    Fields { code: i32, causes: Vec<String> },
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Text(text) => f.write_str(text),
            Self::Fields { code, causes } => write!(f, "{code}: {}", causes.join(": ")),
        }
    }
}

impl std::error::Error for LabError {}

/// Bytes that serde sees as bytes, not one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Blob, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element()? {
                    bytes.push(byte);
                }
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// `length` bytes that differ from place to place and from seed to seed.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    type Made = BTreeMap<(u64, usize), Arc<[u8]>>;
    // Few are asked for, and often: making one byte by byte takes longer than sending it.
    static MADE: Mutex<Made> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    if made.len() > 64 {
        made.clear();
    }
    let make = || (0..length as u64).map(|place| (place.wrapping_mul(31).wrapping_add(seed.wrapping_mul(7)) ^ (place >> 8)) as u8).collect();
    made.entry((seed, length)).or_insert_with(make).to_vec()
}

/// A value that cannot be encoded.
#[derive(Debug, Deserialize)]
pub struct Unwritable;
impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("this value cannot be written"))
    }
}

/// A value whose encoding panics after some bytes.
#[derive(Debug, Deserialize)]
pub struct PanicsWriting(pub u32);
impl Serialize for PanicsWriting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element("the beginning of a frame that must not leave")?;
        panic!("{ON_PURPOSE}: while a value is written");
    }
}

/// A value that panics when it is dropped, if asked to.
#[derive(Debug, Serialize, Deserialize)]
pub struct PanicsDropping(#[serde(skip)] pub bool);
impl Drop for PanicsDropping {
    fn drop(&mut self) {
        assert!(!self.0 || std::thread::panicking(), "{ON_PURPOSE}: while a value is dropped");
    }
}

/// What [`Lab::run`] does once it is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plan {
    Return,
    Fail,
    Panic,
    Sleep(u64),
    Reply(u32),
    Yield(u32),
}

// Some of its types do not travel, on purpose.
#[rpc::service(untested)]
pub trait Lab {
    async fn nothing(&self);
    async fn add(&self, a: u32, b: u32) -> u32;
    async fn upper(&self, text: &str) -> String;
    /// Checks the bytes it gets and answers with `length` others.
    async fn resize(&self, seed: u64, bytes: &[u8], length: u32) -> Blob;
    async fn fail(&self, error: LabError) -> Result<u32, LabError>;
    /// Waits until the gate is open this far.
    async fn wait(&self, key: u64) -> u64;
    async fn sleep(&self, millis: u64) -> u64;
    async fn yields(&self, times: u32) -> u32;
    async fn panics(&self, text: String) -> u32;
    async fn panics_later(&self) -> u32;
    async fn panics_writing(&self) -> PanicsWriting;
    async fn panics_writing_later(&self) -> PanicsWriting;
    async fn panics_dropping(&self) -> PanicsDropping;
    async fn panics_dropping_argument(&self) -> u32;
    /// Waits for ever; panics when it is stopped.
    async fn panics_when_stopped(&self) -> u32;
    async fn unwritable(&self) -> Unwritable;
    async fn unwritable_error(&self) -> Result<u32, Unwritable>;
    #[rpc(oneway)]
    async fn note(&self, text: String);
    #[rpc(oneway)]
    async fn note_panics(&self);
    #[rpc(oneway)]
    async fn note_waits(&self, key: u64);
    async fn metadata(&self, cx: &Context, key: &str) -> Option<String>;
    /// Microseconds left.
    async fn remaining(&self, cx: &Context) -> Option<u64>;
    /// What a nested call has left, after this one slept.
    async fn relay_remaining(&self, millis: u64) -> (Option<u64>, Option<u64>);
    /// Adds by asking the next server.
    async fn relay_add(&self, a: u32, b: u32) -> Result<u32, LabError>;
    async fn peer(&self, cx: &Context) -> String;
    #[rpc(timeout = "250ms")]
    async fn hurried(&self) -> u32;
    /// Waits for the gate whatever becomes of its caller, and notes whether it was told.
    #[rpc(detached)]
    async fn outlive(&self, cx: &Context, key: u64) -> u64;
    #[rpc(detached)]
    async fn until_cancelled(&self, cx: &Context);
    #[rpc(spawn)]
    async fn spawned(&self, n: u32) -> u32;
    #[rpc(blocking)]
    fn blocking(&self, text: &str) -> String;
    #[rpc(blocking)]
    fn blocking_panics(&self) -> u32;
    /// Counts that `id` ran, then does as planned.
    async fn run(&self, id: u64, plan: Plan, padding: &[u8]) -> Result<Blob, LabError>;
    #[rpc(oneway)]
    async fn run_note(&self, id: u64);
}

/// The implementation. Tests hold it too, and look inside.
pub struct TestLab {
    live: watch::Sender<usize>,
    begun: watch::Sender<u64>,
    gate: watch::Sender<u64>,
    notes: watch::Sender<Vec<String>>,
    runs: Mutex<HashMap<u64, u32>>,
    longest_overlap: AtomicU64,
    produced: AtomicU64,
    /// Where nested calls go.
    pub next: OnceLock<LabClient>,
}

impl Default for TestLab {
    fn default() -> Self {
        Self {
            live: watch::Sender::new(0),
            begun: watch::Sender::new(0),
            gate: watch::Sender::new(0),
            notes: watch::Sender::default(),
            runs: Mutex::default(),
            longest_overlap: AtomicU64::new(0),
            produced: AtomicU64::new(0),
            next: OnceLock::new(),
        }
    }
}

/// Counts a handler for as long as it lives.
pub(crate) struct Live<'a>(&'a TestLab);

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.live.send_modify(|live| *live -= 1);
    }
}

impl TestLab {
    pub fn new() -> Arc<Self> {
        crate::quiet();
        Arc::default()
    }

    pub(crate) fn enter(&self) -> Live<'_> {
        self.live.send_modify(|live| *live += 1);
        self.begun.send_modify(|begun| *begun += 1);
        self.longest_overlap.fetch_max(*self.live.borrow() as u64, Ordering::Relaxed);
        Live(self)
    }

    /// Handlers that run now.
    pub fn live(&self) -> usize {
        *self.live.borrow()
    }

    /// Handlers that ever began.
    pub fn begun(&self) -> u64 {
        *self.begun.borrow()
    }

    /// The most handlers that ever ran at the same time.
    pub fn most_live(&self) -> u64 {
        self.longest_overlap.load(Ordering::Relaxed)
    }

    pub async fn until_live(&self, count: usize) {
        self.live.subscribe().wait_for(|live| *live == count).await.unwrap();
    }

    pub async fn until_begun(&self, count: u64) {
        self.begun.subscribe().wait_for(|begun| *begun >= count).await.unwrap();
    }

    /// Lets all who wait at the gate for at most this key go on.
    pub fn open(&self, key: u64) {
        self.gate.send_modify(|open| *open = key.max(*open));
    }

    pub(crate) async fn at_gate(&self, key: u64) {
        self.gate.subscribe().wait_for(|open| *open >= key).await.unwrap();
    }

    pub async fn until_noted(&self, text: &str) {
        self.notes.subscribe().wait_for(|notes| notes.iter().any(|note| note == text)).await.unwrap();
    }

    pub async fn until_notes(&self, count: usize) {
        self.notes.subscribe().wait_for(|notes| notes.len() >= count).await.unwrap();
    }

    pub fn notes(&self) -> Vec<String> {
        self.notes.borrow().clone()
    }

    pub(crate) fn jot(&self, text: impl Into<String>) {
        self.notes.send_modify(|notes| notes.push(text.into()));
    }

    pub(crate) fn produce(&self) {
        self.produced.fetch_add(1, Ordering::Relaxed);
    }

    /// Items that endless streams have made.
    pub fn produced(&self) -> u64 {
        self.produced.load(Ordering::Relaxed)
    }

    /// How often the call with this id ran.
    pub fn runs(&self, id: u64) -> u32 {
        self.runs.lock().unwrap().get(&id).copied().unwrap_or(0)
    }

    fn count(&self, id: u64) {
        *self.runs.lock().unwrap().entry(id).or_default() += 1;
    }
}

fn micros(left: Option<Duration>) -> Option<u64> {
    left.map(|left| left.as_micros() as u64)
}

impl Lab for TestLab {
    async fn nothing(&self) {}

    async fn add(&self, a: u32, b: u32) -> u32 {
        a + b
    }

    async fn upper(&self, text: &str) -> String {
        text.to_uppercase()
    }

    async fn resize(&self, seed: u64, bytes: &[u8], length: u32) -> Blob {
        assert_eq!(bytes, pattern(seed, bytes.len()), "the request of {seed} is another's");
        Blob(pattern(seed + 1, length as usize))
    }

    async fn fail(&self, error: LabError) -> Result<u32, LabError> {
        Err(error)
    }

    async fn wait(&self, key: u64) -> u64 {
        let _live = self.enter();
        self.at_gate(key).await;
        key
    }

    async fn sleep(&self, millis: u64) -> u64 {
        let _live = self.enter();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        millis
    }

    async fn yields(&self, times: u32) -> u32 {
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
        times
    }

    async fn panics(&self, text: String) -> u32 {
        let _live = self.enter();
        panic!("{ON_PURPOSE}: {text}");
    }

    async fn panics_later(&self) -> u32 {
        let _live = self.enter();
        tokio::task::yield_now().await;
        panic!("{ON_PURPOSE}: later");
    }

    async fn panics_writing(&self) -> PanicsWriting {
        PanicsWriting(1)
    }

    async fn panics_writing_later(&self) -> PanicsWriting {
        tokio::task::yield_now().await;
        PanicsWriting(1)
    }

    async fn panics_dropping(&self) -> PanicsDropping {
        PanicsDropping(true)
    }

    async fn panics_dropping_argument(&self) -> u32 {
        let _value = PanicsDropping(true);
        1
    }

    async fn panics_when_stopped(&self) -> u32 {
        let _live = self.enter();
        let _value = PanicsDropping(true);
        std::future::pending().await
    }

    async fn unwritable(&self) -> Unwritable {
        Unwritable
    }

    async fn unwritable_error(&self) -> Result<u32, Unwritable> {
        Err(Unwritable)
    }

    async fn note(&self, text: String) {
        self.jot(text);
    }

    async fn note_panics(&self) {
        let _live = self.enter();
        panic!("{ON_PURPOSE}: in a notification");
    }

    async fn note_waits(&self, key: u64) {
        let _live = self.enter();
        self.at_gate(key).await;
        self.jot(format!("waited for {key}"));
    }

    async fn metadata(&self, cx: &Context, key: &str) -> Option<String> {
        cx.metadata(key).map(str::to_owned)
    }

    async fn remaining(&self, cx: &Context) -> Option<u64> {
        micros(cx.remaining())
    }

    async fn relay_remaining(&self, millis: u64) -> (Option<u64>, Option<u64>) {
        let _live = self.enter();
        let next = self.next.get().expect("a server to ask");
        let before = next.remaining().timeout(Duration::from_secs(3600)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let after = next.remaining().await.unwrap();
        (before, after)
    }

    async fn relay_add(&self, a: u32, b: u32) -> Result<u32, LabError> {
        let next = self.next.get().expect("a server to ask");
        next.add(a, b).await.map_err(|error| LabError::Text(error.to_string()))
    }

    async fn peer(&self, cx: &Context) -> String {
        cx.peer().address().to_owned()
    }

    async fn hurried(&self) -> u32 {
        let _live = self.enter();
        std::future::pending().await
    }

    async fn outlive(&self, cx: &Context, key: u64) -> u64 {
        let _live = self.enter();
        self.at_gate(key).await;
        self.jot(format!("outlived {key}, cancelled: {}", cx.is_cancelled()));
        key
    }

    async fn until_cancelled(&self, cx: &Context) {
        let _live = self.enter();
        assert!(!cx.is_cancelled());
        cx.cancelled().await;
        self.jot("told");
    }

    async fn spawned(&self, n: u32) -> u32 {
        n + 1
    }

    fn blocking(&self, text: &str) -> String {
        text.repeat(2)
    }

    fn blocking_panics(&self) -> u32 {
        panic!("{ON_PURPOSE}: in a blocking method");
    }

    async fn run(&self, id: u64, plan: Plan, padding: &[u8]) -> Result<Blob, LabError> {
        let _live = self.enter();
        self.count(id);
        let _ = padding;
        match plan {
            Plan::Return => Ok(Blob::default()),
            Plan::Fail => Err(LabError::Text(format!("{id} failed"))),
            Plan::Panic => panic!("{ON_PURPOSE}: {id}"),
            Plan::Sleep(millis) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok(Blob::default())
            }
            Plan::Reply(length) => Ok(Blob(pattern(id, length as usize))),
            Plan::Yield(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
                Ok(Blob::default())
            }
        }
    }

    async fn run_note(&self, id: u64) {
        self.count(id);
    }
}
