//! The server's hook: asked of every request, once, before anything that would tell which methods there are.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rpc::{CallInfo, Error, ErrorKind, Hook, Http, Limits, Server};
use rpc_tests::door::Door;
use rpc_tests::{TestLab, rig};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::{Answer, Visitor, ask, post, serve, with};

/// Of a method, of one that takes a stream, and of none.
const PATHS: [&str; 4] = ["/Lab/add", "/Flows/sum", "/Lab/none", "/none"];

const GOOD: &str = "Authorization: Bearer good\r\n";

fn is_good(call: &CallInfo) -> Result<(), Error> {
    match call.metadata.get("authorization") {
        Some("Bearer good") => Ok(()),
        _ => Err(Error::new(ErrorKind::Unauthenticated, "who is it?")),
    }
}

/// What all are told, without the method's name.
fn told(answer: &Answer) -> (u16, String, String, String) {
    let (status, kind, executed, message) = answer.error();
    let message = message.split_once(": ").map_or(message.clone(), |(_, text)| text.to_owned());
    (status, kind, executed, message)
}

fn refused() -> (u16, String, String, String) {
    (401, "unauthenticated".to_owned(), "no".to_owned(), "who is it?".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_full_server_tells_a_stranger_nothing_of_its_methods() {
    let mut limits = Limits::default();
    limits.max_handlers = 1;
    let lab = TestLab::new();
    let door = serve(rig::server(&lab).limits(limits).hook(is_good).http(Http::new()));
    let mut first = Visitor::over(door.knock());
    first.send(with("/Lab/wait", GOOD, "[1]")).await;
    lab.until_live(1).await;
    for path in PATHS {
        assert_eq!(told(&ask(&door, post(path, "[1, 2]")).await), refused(), "{path}");
    }
    // Who may call is told.
    ask(&door, with("/Lab/add", GOOD, "[1, 2]")).await.is_error(503, "overloaded", "no", "Limits::max_handlers");
    ask(&door, with("/Lab/none", GOOD, "[1, 2]")).await.is_error(404, "unimplemented", "no", "Lab.none");
    lab.open(1);
    first.answer().await.unwrap().is_value(1);
}

/// Lets pass who is good, once it may decide.
struct Slow(Arc<Semaphore>, Arc<AtomicUsize>);

#[rpc::async_trait]
impl Hook for Slow {
    async fn before(&self, call: &CallInfo) -> Result<(), Error> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.acquire().await.unwrap().forget();
        is_good(call)
    }
}

/// A server whose hook waits for permits, and that drains when it is told to.
struct Waits {
    door: Door,
    permits: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Waits {
    fn new() -> Self {
        let (permits, asked) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
        let (door, doorman) = Door::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let hook = Slow(permits.clone(), asked.clone());
        let server = rig::server(&TestLab::new()).hook(hook).http(Http::new()).listen(doorman).unwrap();
        let task = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
        Self { door, permits, asked, stop, task }
    }
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_tells_a_stranger_nothing_of_its_methods() {
    let Waits { door, permits, asked, stop, task } = Waits::new();
    let mut whole: Vec<_> = PATHS.iter().map(|_| Visitor::over(door.knock())).collect();
    let mut begun: Vec<_> = PATHS.iter().map(|_| Visitor::over(door.knock())).collect();
    for (path, (whole, begun)) in PATHS.iter().zip(whole.iter_mut().zip(&mut begun)) {
        whole.send(post(path, "[1, 2]")).await;
        begun.send(post(path, "[1, 2]").replace("[1, 2]", "[1")).await;
    }
    let mut good = Visitor::over(door.knock());
    good.send(with("/Lab/add", GOOD, "[1, 2]")).await;
    until(|| asked.load(Ordering::Relaxed) == 5).await;
    stop.send(()).unwrap();
    for (path, begun) in PATHS.iter().zip(&mut begun) {
        begun.answer().await.unwrap().is_error(503, "draining", "no", "the server is shutting down");
        assert!(begun.is_closed().await, "{path}");
    }
    permits.add_permits(5);
    for (path, whole) in PATHS.iter().zip(&mut whole) {
        assert_eq!(told(&whole.answer().await.unwrap()), refused(), "{path}");
        assert!(whole.is_closed().await, "{path}");
    }
    // What has come whole is answered.
    good.answer().await.unwrap().is_value(3);
    drop((whole, begun, good));
    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_does_not_decide_is_waited_for_as_long_whichever_method_it_is() {
    let waits = Waits::new();
    // The first has a timeout of 250 ms, the second is a stream, which has none.
    for path in ["/Lab/hurried", "/Flows/sum", "/Lab/add", "/Lab/none"] {
        let began = Instant::now();
        let answer = ask(&waits.door, post(path, "[]")).await;
        let expected = (504, "deadline_exceeded".to_owned(), "no".to_owned(), "deadline exceeded".to_owned());
        assert_eq!((told(&answer), began.elapsed().as_secs()), (expected, 30), "{path}");
        let began = Instant::now();
        assert_eq!(ask(&waits.door, with(path, "Rpc-Timeout: 2s\r\n", "[]")).await.status, 504);
        assert_eq!(began.elapsed().as_secs(), 2, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_hook_takes_is_part_of_the_deadline() {
    let Waits { door, permits, asked, stop: _stop, .. } = Waits::new();
    let (began, mut visitor) = (Instant::now(), Visitor::over(door.knock()));
    let mut after = async |path: &str, wait: u64| {
        let before = asked.load(Ordering::Relaxed);
        visitor.send(with(path, GOOD, "")).await;
        until(|| asked.load(Ordering::Relaxed) > before).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        permits.add_permits(1);
        visitor.answer().await.unwrap()
    };
    let left = after("/Lab/remaining", 1000).await.json().as_u64().unwrap();
    // tokio's clock has steps of a millisecond.
    assert!((28_990_000..=29_000_000).contains(&left), "{left}");
    let waited = Instant::now();
    after("/Lab/hurried", 100).await.is_error(504, "deadline_exceeded", "maybe", "Lab.hurried");
    assert!((250..260).contains(&waited.elapsed().as_millis()), "{:?}", waited.elapsed());
    after("/Lab/hurried", 300).await.is_error(504, "deadline_exceeded", "no", "Lab.hurried");
    assert_eq!(asked.load(Ordering::Relaxed), 3, "once each");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn kinds_that_only_a_caller_can_know_arrive_as_internal() {
    let kinds = [ErrorKind::Unavailable, ErrorKind::Service, ErrorKind::Protocol, ErrorKind::InvalidInput];
    let next = Mutex::new(kinds.into_iter().cycle());
    let hook = move |_: &CallInfo| Err(Error::new(next.lock().unwrap().next().unwrap(), "odd"));
    let door = serve(rig::server(&TestLab::new()).hook(hook).http(Http::new()));
    for path in PATHS.iter().flat_map(|path| [path; 4]) {
        ask(&door, post(path, "[1, 2]")).await.is_error(500, "internal", "no", "odd");
    }
}

/// Never decides, and panics when it is dropped.
struct Bad;

impl Future for Bad {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for Bad {
    fn drop(&mut self) {
        panic!("the hook's future panics while it is dropped");
    }
}

/// Does not decide of who is not good.
struct Panics(Arc<AtomicUsize>);

#[rpc::async_trait]
impl Hook for Panics {
    async fn before(&self, call: &CallInfo) -> Result<(), Error> {
        if is_good(call).is_err() {
            let bad = Bad;
            self.0.fetch_add(1, Ordering::Relaxed);
            bad.await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_while_it_is_dropped_harms_nobody() {
    let asked = Arc::<AtomicUsize>::default();
    let door = serve(rig::server(&TestLab::new()).hook(Panics(asked.clone())).http(Http::new()));
    let mut visitor = Visitor::over(door.knock());
    for path in PATHS {
        visitor.ask(with(path, "Rpc-Timeout: 1s\r\n", "[1, 2]")).await.is_error(504, "deadline_exceeded", "no", "deadline exceeded");
    }
    visitor.ask(with("/Lab/add", GOOD, "[1, 2]")).await.is_value(3);
    assert_eq!(asked.load(Ordering::Relaxed), PATHS.len());
}

#[tokio::test(start_paused = true)]
async fn nor_does_one_whose_caller_has_gone() {
    for path in PATHS {
        let asked = Arc::<AtomicUsize>::default();
        let (near, far) = tokio::io::duplex(1024);
        let server: Server = rig::server(&TestLab::new()).hook(Panics(asked.clone())).http(Http::new());
        let task = tokio::spawn(server.serve_connection(rpc::transport::Transport::over(far, "far")));
        let mut visitor = Visitor::over(near);
        visitor.send(post(path, "[1, 2]")).await;
        until(|| asked.load(Ordering::Relaxed) == 1).await;
        drop(visitor);
        task.await.expect("no panic").unwrap();
    }
}
