//! What one connection, or one method, may take from the others while everything runs at full speed: counted, not timed. A
//! connection that always has more to read gets a bounded number of calls served before the next one's turn, and a method that
//! computes holds up its own connection for one batch. One thread, a paused clock: the figures are the same on every machine.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rpc::transport::{Transport, memory};
use rpc::{Client, Server};
use rpc_tests::virtual_time;
use rpc_tests::wire::{self, Raw, kind};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::watch;

/// As in `rpc/src/connection/driver.rs`: bytes of a read, reads of a turn, and frames after which a turn ends.
const READ: usize = 128 << 10;
const ROUNDS: usize = 16;
const FRAMES: usize = 1024;

/// Calls of this length that one turn of a connection may serve: the last read may begin just below the number of frames.
fn calls_of_a_turn(length: usize) -> u64 {
    (ROUNDS * READ / length).min(FRAMES - 1 + READ / length) as u64
}

#[rpc::service]
trait Desk {
    async fn ask(&self, text: &str) -> u32;
}

/// Calls of the flooding connection, between calls of the other.
#[derive(Default)]
struct Tally {
    since: u64,
    gaps: watch::Sender<Vec<u64>>,
}

struct Flooded(Arc<Mutex<Tally>>);

impl Desk for Flooded {
    async fn ask(&self, text: &str) -> u32 {
        self.0.lock().unwrap().since += 1;
        text.len() as u32
    }
}

struct Other(Arc<Mutex<Tally>>);

impl Desk for Other {
    async fn ask(&self, text: &str) -> u32 {
        let mut tally = self.0.lock().unwrap();
        let since = std::mem::take(&mut tally.since);
        tally.gaps.send_modify(|gaps| gaps.push(since));
        text.len() as u32
    }
}

/// There is always another call to read.
struct Endless {
    opening: Vec<u8>,
    call: Vec<u8>,
    /// The most of them in one read.
    most: usize,
}

impl Endless {
    fn new(text: &str, most: usize) -> Self {
        let methods = [("ask", wire::method_hash("4:text 0\nstr\n", "7:returns 0\nu32\n"))];
        let opening = [wire::opening(&[]), wire::bind_service(0, "Desk", &methods)].concat();
        // It is answered where it stands, so its id is free again when the next one is read.
        Self { opening, call: wire::call(0, 0, &wire::text(text)), most }
    }
}

impl AsyncRead for Endless {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.opening.is_empty() {
            buffer.put_slice(&std::mem::take(&mut self.opening));
            return Poll::Ready(Ok(()));
        }
        for _ in 0..self.most.min(buffer.remaining() / self.call.len()) {
            buffer.put_slice(&self.call);
        }
        Poll::Ready(Ok(()))
    }
}

fn serve(desk: impl Desk, transport: Transport) {
    tokio::spawn(Server::new().add(DeskServer::new(desk)).serve_connection(transport));
}

fn endless(desk: impl Desk, text: &str, most: usize) {
    serve(desk, Transport::new(Endless::new(text, most), tokio::io::sink(), "endless"));
}

async fn gaps(tally: &Arc<Mutex<Tally>>, count: usize) -> Vec<u64> {
    let mut gaps = tally.lock().unwrap().gaps.subscribe();
    let gaps = gaps.wait_for(|gaps| gaps.len() >= count).await.unwrap();
    // Before the first, the flood may have begun alone.
    gaps[1..].to_vec()
}

/// Both have always more to read, one of them call by call.
#[test]
fn a_flood_of_calls_gets_one_turn_between_those_of_another_connection() {
    for (text, count) in [(String::new(), 4 * ROUNDS), ("x".repeat(1000), 40 * ROUNDS), ("x".repeat(30_000), 40 * ROUNDS)] {
        virtual_time(async {
            let tally = Arc::<Mutex<Tally>>::default();
            endless(Flooded(tally.clone()), &text, usize::MAX);
            endless(Other(tally.clone()), "", 1);
            let gaps = gaps(&tally, count).await;
            let bound = calls_of_a_turn(wire::call(0, 0, &wire::text(&text)).len());
            let most = *gaps.iter().max().unwrap();
            assert!(most > 0 && most <= bound, "{most} calls of {} bytes in one turn, {bound} are allowed", text.len());
        });
    }
}

/// The caller, its connection and the server's end of that take a turn each.
#[test]
fn a_call_beside_a_flood_is_answered_within_three_of_its_turns() {
    for (text, count) in [("", 4), (&*"x".repeat(1000), 100)] {
        virtual_time(async {
            let tally = Arc::<Mutex<Tally>>::default();
            let (near, far) = memory::connection();
            serve(Other(tally.clone()), far);
            let client: DeskClient = Client::options().over(near).into();
            client.ask("").await.unwrap();
            endless(Flooded(tally.clone()), text, usize::MAX);
            // As a task among others: the runtime looks at its main future only now and then.
            let caller = tokio::spawn(async move {
                for _ in 0..count {
                    assert_eq!(client.ask("four").await.unwrap(), 4);
                }
            });
            caller.await.unwrap();
            let gaps = gaps(&tally, count).await;
            let bound = 3 * calls_of_a_turn(wire::call(0, 0, &wire::text(text)).len());
            let most = *gaps.iter().max().unwrap();
            assert!(most > 0 && most <= bound, "{most} calls of {} bytes beside one, {bound} are allowed", text.len());
        });
    }
}

// ---- methods that compute

/// Calls between looks at the clock within a batch, as in `rpc/src/server/dispatch.rs`.
const CLOCK_EVERY: usize = 16;

/// Where handlers ran: in the task of the connection, or in others.
#[derive(Default)]
struct Ran {
    slow: Mutex<Vec<String>>,
    quick: Mutex<Vec<String>>,
}

/// Takes so long without giving the thread away.
async fn compute(time: Duration) {
    let mut advance = pin!(tokio::time::advance(time));
    // The clock moves at the first poll.
    std::future::poll_fn(|cx| {
        let _ = advance.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

fn here() -> String {
    tokio::task::id().to_string()
}

const SLOW: u64 = 0;
const QUICK: u64 = 1;

/// How the methods are called: by name, or by their trait, where a call is asked less.
#[derive(Clone, Copy, Debug)]
enum How {
    ByName,
    ByTrait,
}

impl How {
    fn call(self, id: u64, method: u64) -> Vec<u8> {
        match self {
            Self::ByName => wire::json_call(id, method, "[]"),
            Self::ByTrait => wire::call(id, method, &[7]),
        }
    }
}

#[rpc::service]
trait Work {
    async fn lengthy(&self, n: u32) -> u32;
    async fn quick(&self, n: u32) -> u32;
}

struct Works(Arc<Ran>);

impl Work for Works {
    async fn lengthy(&self, n: u32) -> u32 {
        self.0.slow.lock().unwrap().push(here());
        compute(Duration::from_millis(5)).await;
        n
    }

    async fn quick(&self, n: u32) -> u32 {
        self.0.quick.lock().unwrap().push(here());
        n
    }
}

/// A connection to a method of 5 ms and a quick one; and the name of its task.
async fn opened(ran: &Arc<Ran>, how: How) -> (Raw, String) {
    let (slow, quick) = (ran.clone(), ran.clone());
    let server = Server::new().add(WorkServer::new(Works(ran.clone())));
    let server = server
        .method("slow", move || {
            let ran = slow.clone();
            async move {
                ran.slow.lock().unwrap().push(here());
                compute(Duration::from_millis(5)).await;
            }
        })
        .method("quick", move || {
            let ran = quick.clone();
            async move { ran.quick.lock().unwrap().push(here()) }
        });
    let mut raw = wire::opened(server).await;
    let hash = wire::method_hash("1:n 0\nu32\n", "7:returns 0\nu32\n");
    raw.send(match how {
        How::ByName => [wire::bind_name(SLOW, "slow"), wire::bind_name(QUICK, "quick")].concat(),
        How::ByTrait => wire::bind_service(SLOW, "Work", &[("lengthy", hash), ("quick", hash)]),
    })
    .await;
    batch(&mut raw, how, &[QUICK]).await;
    let task = ran.quick.lock().unwrap().pop().unwrap();
    (raw, task)
}

/// Sends these calls in one packet, and waits for all answers; their ids in the order they came.
async fn batch(raw: &mut Raw, how: How, methods: &[u64]) -> Vec<u64> {
    let calls: Vec<u8> = methods.iter().enumerate().flat_map(|(id, method)| how.call(id as u64, *method)).collect();
    raw.send(calls).await;
    let mut answers = Vec::new();
    while answers.len() < methods.len() {
        let frame = raw.frame().await.unwrap();
        if frame.kind != kind::BOUND {
            assert_eq!(frame.kind, kind::REPLY);
            answers.push(frame.number().0);
        }
    }
    answers
}

fn count(ran: &Mutex<Vec<String>>, task: &str) -> usize {
    ran.lock().unwrap().iter().filter(|ran| *ran == task).count()
}

#[test]
fn a_method_that_computes_holds_its_connection_for_one_batch() {
    let cases = [How::ByName, How::ByTrait].into_iter().flat_map(|how| [1, 3, 100].map(|slow| (how, slow)));
    for (how, slow) in cases {
        for quick in [0, 1, 5] {
            virtual_time(async {
                let ran = Arc::<Ran>::default();
                let (mut raw, task) = opened(&ran, how).await;
                let methods = [vec![SLOW; slow], vec![QUICK; quick]].concat();
                batch(&mut raw, how, &methods).await;
                let held = count(&ran.slow, &task);
                assert_eq!(held, slow.min(CLOCK_EVERY), "nobody knew");
                for round in 0..20 {
                    let answers = batch(&mut raw, how, &methods).await;
                    let in_place = count(&ran.slow, &task);
                    assert_eq!(in_place, held, "{how:?}, {slow} slow and {quick} quick calls, round {round}: {:?}", ran.slow.lock().unwrap());
                    // In the next one all have tasks of their own. From then on it is known who needs them, and nobody waits for those.
                    let quick_first = answers[..quick].iter().all(|id| *id >= slow as u64);
                    assert!(quick_first || round == 0, "{answers:?}");
                }
                assert_eq!(ran.slow.lock().unwrap().len(), 21 * slow);
                // Who computes not, pays for it no longer than that.
                let before = count(&ran.quick, &task);
                for _ in 0..20 {
                    batch(&mut raw, how, &[QUICK; 4]).await;
                }
                assert_eq!(count(&ran.quick, &task) - before, 80);
            });
        }
    }
}
