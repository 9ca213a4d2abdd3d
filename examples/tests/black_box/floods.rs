//! Cases 42 and 43: peers that are busy for nothing. Each call and each frame is allowed; it is their number that would hurt.
//!
//! Meanwhile a good client on another connection calls and calls. What the server holds is seen from outside: its memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::speak::{self, CHAT, DOWNLOAD, ECHO, EMPTY, FIRST_WINDOW, SLEEP, UPLOAD};
use crate::support::Server;
use crate::wire::{self, Raw, flag, kind};
use crate::{call, ends_well, eventually, running, serves};

/// What the allocator keeps for itself, read and write buffers, and pages of the program that were not touched before.
const MARGIN: u64 = 16 << 20;

/// Calls one after the other on a connection of its own, until told to stop: how long each took.
struct Good {
    stop: Arc<AtomicBool>,
    calls: JoinHandle<Vec<Duration>>,
    count: watch::Receiver<u64>,
}

impl Good {
    async fn start(server: &Server) -> Self {
        let mut raw = speak::open(server).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (counted, count) = watch::channel(0);
        let calls = tokio::spawn(async move {
            let mut took = Vec::new();
            while !stopped.load(Ordering::Acquire) {
                let began = Instant::now();
                assert!(raw.send(wire::call(0, ECHO, &[1, 7])).await);
                assert_eq!(speak::message(&mut raw).await, (kind::REPLY, 0, vec![1, 7]));
                took.push(began.elapsed());
                counted.send_replace(took.len() as u64);
            }
            took
        });
        Self { stop, calls, count }
    }

    /// Once so many more calls were answered.
    async fn answered(&self, more: u64) {
        let mut count = self.count.clone();
        let until = *count.borrow() + more;
        count.wait_for(|count| *count >= until).await.expect("a good client is served");
    }

    /// The figure of case 42 is 50 ms; ten times that is only against hanging.
    async fn was_served(self, meanwhile: &str) {
        self.stop.store(true, Ordering::Release);
        let mut took = self.calls.await.unwrap();
        took.sort();
        let p99 = took[took.len() * 99 / 100];
        assert!(p99 < Duration::from_millis(500), "{meanwhile}: one of a hundred calls took {p99:?} and more, of {}", took.len());
    }
}

fn cancel(id: u64) -> Vec<u8> {
    wire::frame(kind::CANCEL, 0, &[&wire::varint(id)])
}

fn sleep(id: u64) -> Vec<u8> {
    wire::call(id, SLEEP, &wire::varint(600_000))
}

/// Case 42, by a peer that keeps every rule: an id is used again when its last frame was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_resets_slow_nobody_down() {
    const BATCH: u64 = 1_000;
    const BATCHES: u64 = 100;
    let mut server = Server::start("conformance");
    let good = Good::start(&server).await;
    let mut raw = speak::open(&server).await;
    let mut early = 0;
    for batch in 0..BATCHES {
        let pairs: Vec<u8> = (0..BATCH)
            .flat_map(|id| {
                let begun = match (batch + id) % 4 {
                    0 => wire::call(id, DOWNLOAD, &speak::sizes(&[100; 100])),
                    1 => [wire::call(id, UPLOAD, &[]), speak::items(id, &speak::item(&[7; 10]))].concat(),
                    2 => [wire::call(id, CHAT, &[]), speak::items(id, &[9])].concat(),
                    _ => sleep(id),
                };
                [begun, cancel(id)].concat()
            })
            .collect();
        assert!(raw.send(&pairs).await);
        let mut open = vec![true; BATCH as usize];
        while open.contains(&true) {
            let frame = speak::within(raw.frame()).await.expect("every call has a last frame");
            let id = frame.number().0 as usize;
            assert!(open[id], "{id} has had its last frame: {frame:?}");
            match frame.kind {
                kind::REPLY_ITEMS | kind::CALL_CREDIT | kind::CALL_STOP => continue,
                kind::ERROR => {
                    // Cancelled, or more streams than may be open at once: by a handler that is still being dropped.
                    let (code, executed, _, message) = frame.error();
                    assert!(matches!((code, executed), (1, 0 | 1) | (3, 0)), "{code}, executed {executed}: {message}");
                }
                // The upload is detached: it saw the cancel, and said so. A short download may have been faster.
                kind::FAIL | kind::REPLY => {}
                _ => panic!("{frame:?}"),
            }
            open[id] = false;
        }
        if batch == BATCHES / 10 {
            early = server.resident();
        }
    }
    good.was_served("resets").await;
    eventually("cancelled handlers are dropped", || running(&server) == 0);
    let counts = call(&server, "count", &[])["value"].take();
    assert!(counts["begun"].as_u64().unwrap() <= BATCH * BATCHES, "{counts}");
    let grown = server.resident().saturating_sub(early);
    assert!(grown < MARGIN, "{grown} bytes more after {BATCHES} batches than after {}", BATCHES / 10);
    // The connection is as good as before.
    assert!(raw.send(wire::call(0, ECHO, &[1, 9])).await);
    assert_eq!(speak::message(&mut raw).await, (kind::REPLY, 0, vec![1, 9]));
    drop(raw);
    serves(&mut server);
    ends_well(server);
}

/// Case 42, by a peer that does not wait: a cancel makes no room, so its second call under an id is its last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_makes_no_room() {
    let mut server = Server::start("conformance");
    let good = Good::start(&server).await;
    for _ in 0..100 {
        let mut raw = speak::open(&server).await;
        // The server may close before it has all of it.
        raw.send([sleep(0), cancel(0)].concat().repeat(1_000)).await;
        let mut frames = speak::within(raw.frames()).await;
        if let Some(last) = frames.pop() {
            let (code, accepted, message) = last.go_away();
            assert_eq!((code, &*message), (1, "call id in use"));
            assert!(accepted <= 1_000, "{accepted}");
        }
    }
    good.was_served("resets that do not wait").await;
    eventually("handlers are dropped", || running(&server) == 0);
    serves(&mut server);
    ends_well(server);
}

/// Sends these frames again and again, and reads nothing; true if the server took all of them, false if it reads no more or has
/// closed.
async fn flood(raw: &mut Raw<TcpStream>, frames: &[u8], bytes: usize, good: &Good) -> bool {
    for _ in 0..bytes.div_ceil(frames.len()) {
        let taken = tokio::select! {
            biased;
            taken = raw.send(frames) => taken,
            // What it does not take meanwhile, it does not take.
            () = good.answered(5_000) => false,
        };
        if !taken {
            return false;
        }
    }
    true
}

/// About 64 KiB of frames.
fn many(frame: impl Fn(u64) -> Vec<u8>) -> Vec<u8> {
    let mut frames = Vec::new();
    for n in 0.. {
        frames.extend(frame(n));
        if frames.len() >= 64 << 10 {
            break;
        }
    }
    frames
}

/// Case 43: frames that owe no answer. One that kept but five bytes of each would be found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_control_frames_is_read_and_forgotten() {
    let mut server = Server::start("conformance");
    serves(&mut server);
    let upload = wire::call(0, UPLOAD, &[]);
    let download = wire::call(0, DOWNLOAD, &speak::sizes(&[1_000; 100]));
    let late = [speak::items(9, &[1, 2]), speak::end(9, 0), speak::credit(9, 1), wire::frame(kind::CALL_STOP, 0, &[&[9]])].concat();
    for (what, prepare, frames) in [
        ("empty items", &upload[..], many(|_| speak::items(0, &[]))),
        ("zero credit", &download, many(|_| speak::credit(0, 0))),
        ("frames of streams that are not open", &[], many(|_| late.clone())),
        ("cancels of calls that are not open", &[], many(|n| cancel(n % 1_000))),
        ("pongs", &[], many(|_| wire::frame(kind::PONG, 0, &[]))),
    ] {
        let before = server.resident();
        let good = Good::start(&server).await;
        let mut raw = speak::open(&server).await;
        assert!(raw.send(prepare).await);
        assert!(flood(&mut raw, &frames, 16 << 20, &good).await, "{what}: the server reads no more");
        // It has read all of it when it answers what stands behind it, and has answered nothing else.
        assert!(raw.send(wire::call(LAST, ECHO, &[1, 9])).await);
        let answers = until_last(&mut raw).await;
        assert!(answers <= FIRST_WINDOW + 1_000, "{what}: {answers} bytes of answers");
        good.was_served(what).await;
        let held = server.peak().saturating_sub(before);
        assert!(held < MARGIN, "{what}: {held} bytes");
        drop(raw);
        serves(&mut server);
    }
    eventually("handlers are dropped", || running(&server) == 0);
    ends_well(server);
}

/// Case 43: frames that owe an answer, which nobody reads. What the system's own buffers hold is not the server's memory; beyond
/// that it may answer several with one, stop to read, or close, but not gather what it cannot send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_fill_no_queue() {
    let mut server = Server::start("conformance");
    serves(&mut server);
    let metadata = [&[2, 1][..], &wire::text("k"), &wire::text(&"v".repeat(100))].concat();
    let with_metadata = |id: u64| wire::frame(kind::CALL, flag::OPTIONS, &[&wire::varint(id), &wire::varint(EMPTY), &metadata]);
    let echo = [&wire::varint(10_000)[..], &[7; 10_000]].concat();
    for (what, frames) in [
        ("pings", many(|n| wire::frame(kind::PING, 0, &[&n.to_le_bytes()]))),
        ("replies", many(|n| wire::call(n % 1_000, ECHO, &echo))),
        ("replies to metadata alone", many(|n| with_metadata(n % 1_000))),
        ("errors", many(|n| wire::call(n % 1_000, ECHO, &[0xff; 11]))),
        ("streams that begin", many(|n| wire::call(n % 100, DOWNLOAD, &speak::sizes(&[1_000; 10])))),
        ("resets", many(|n| [sleep(n % 1_000), cancel(n % 1_000)].concat())),
    ] {
        let before = server.resident();
        let good = Good::start(&server).await;
        let mut raw = speak::open(&server).await;
        let taken = flood(&mut raw, &frames, 40 << 20, &good).await;
        good.was_served(what).await;
        let held = server.peak().saturating_sub(before);
        assert!(held < MARGIN, "{what}: {held} bytes, taken: {taken}");
        drop(raw);
        serves(&mut server);
    }
    eventually("handlers are dropped", || running(&server) == 0);
    ends_well(server);
}

/// An id that no flood uses.
const LAST: u64 = 1_023;

/// Reads up to the reply of the call with that id: how many bytes came before it.
async fn until_last(raw: &mut Raw<TcpStream>) -> usize {
    let mut before = 0;
    loop {
        let frame = speak::within(raw.frame()).await.expect("a frame");
        if frame.kind == kind::REPLY && frame.number().0 == LAST {
            return before;
        }
        before += 4 + frame.body.len();
    }
}
