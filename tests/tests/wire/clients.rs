//! Conformance 44: a client's calls end with an error, whatever its server sends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rpc::transport::{Dial, Transport};
use rpc::{Bytes, Client, Error, ErrorKind, Executed};
use rpc_tests::wire::{self, Random, Raw, flag, kind};
use tokio::time::Instant;

use crate::service::{self, ADD, ShopClient};

/// What becomes of a call when its server answers with this, and of the next call.
async fn called(answer: &[u8]) -> Result<u32, Error> {
    let (near, far) = tokio::io::duplex(1 << 20);
    let shop: ShopClient = Client::options().over(Transport::over(near, "test")).into();
    let mut raw = Raw::over(far);
    let began = Instant::now();
    let answers = async {
        raw.opened().await;
        raw.frame().await.unwrap();
        raw.frame().await.unwrap();
        raw.send(answer).await;
        raw.bytes().await
    };
    let call = async {
        let sum = shop.add(1, 2).timeout(Duration::from_secs(5)).await;
        assert!(began.elapsed() <= Duration::from_secs(5), "within its deadline");
        drop(shop);
        sum
    };
    tokio::join!(call, answers).0
}

fn bound() -> Vec<u8> {
    [wire::opening(&[]), wire::frame(kind::BOUND, 0, &[&[0]])].concat()
}

#[tokio::test(start_paused = true)]
async fn a_server_by_the_book_is_understood() {
    let reply = [bound(), wire::frame(kind::REPLY, 0, &[&[0, 3]])].concat();
    assert_eq!(called(&reply).await.unwrap(), 3);
    let chunks = [bound(), wire::frame(kind::REPLY, flag::MORE, &[&[0, 2, 0xac]]), wire::frame(kind::REPLY_CHUNK, 0, &[&[0, 2]])].concat();
    assert_eq!(called(&chunks).await.unwrap(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_breaks_the_protocol_loses_its_client() {
    let reply = |id: u8| wire::frame(kind::REPLY, 0, &[&[id, 3]]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("reply to a call that is not open", [bound(), reply(1)].concat()),
        ("reply to a call that is not open", [bound(), wire::frame(kind::ERROR, 0, &[&[1, 1, 0, 0, 0]])].concat()),
        ("reply to a call that is not open", [bound(), wire::frame(kind::REPLY, flag::MORE, &[&[1], &wire::varint(100), &[0]])].concat()),
        ("reply before its bind was answered", [wire::opening(&[]), reply(0)].concat()),
        ("exceeds the limit of 65536", [bound(), wire::header(kind::REPLY, 0, 65_537).to_vec()].concat()),
        ("more unanswered bytes", [bound(), wire::frame(kind::REPLY, flag::MORE, &[&[0], &wire::varint(1 << 40), &[0]])].concat()),
        ("malformed bound frame", [wire::opening(&[]), wire::frame(kind::BOUND, 0, &[&[0, 0]])].concat()),
        ("unexpected bound frame", [bound(), wire::frame(kind::BOUND, 0, &[&[0]])].concat()),
        ("call to a method number that is not bound", [bound(), wire::call(0, 0, &[])].concat()),
        ("malformed reply frame", [bound(), wire::frame(kind::REPLY, flag::OPTIONS, &[&[0, 3]])].concat()),
        ("unexpected items frame", [bound(), wire::frame(17, 0, &[&[0, 3]])].concat()),
        ("unknown frame kind 22", [bound(), wire::frame(22, 0, &[&[0, 3]])].concat()),
        ("unexpected first frame", [&wire::PREFACE[..], &reply(0)].concat()),
        ("HTTP/1", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("HTTP/2", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00".to_vec()),
        ("TLS", b"\x15\x03\x01\x00\x02\x02\x46".to_vec()),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("an unknown protocol", vec![0xaa; 65_536]),
    ];
    for (expected, answer) in cases {
        let error = called(&answer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{expected}: {error}");
        assert!(error.message().starts_with("Shop.add: ") && error.message().contains(expected), "{expected}: {error}");
    }
}

/// Speaks first, and something else.
struct Banner(Arc<AtomicUsize>);

#[rpc::async_trait]
impl Dial for Banner {
    async fn dial(&self) -> io::Result<Transport> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let (near, far) = tokio::io::duplex(4096);
        Raw::over(far).send(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        Ok(Transport::over(near, "test"))
    }
}

/// Its connection is gone before a call is made: the call hears why, and does not try the same again.
#[tokio::test(start_paused = true)]
async fn a_server_that_speaks_something_else_first_is_named_too() {
    let dials = Arc::<AtomicUsize>::default();
    let shop: ShopClient = Client::options().dial(Banner(dials.clone())).await.unwrap().into();
    for n in 1..4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let error = shop.add(1, 2).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Protocol, Executed::No), "{error}");
        assert!(error.message().contains("the peer speaks SSH"), "{error}");
        assert_eq!(dials.load(Ordering::Relaxed), n);
    }
}

/// What stood before the fault in the same read still counts: its caller must not sleep on.
#[tokio::test(start_paused = true)]
async fn a_reply_just_before_a_fault_reaches_its_caller() {
    let answer = [bound(), wire::frame(kind::REPLY, 0, &[&[0, 3]]), wire::frame(31, 0, &[])].concat();
    assert_eq!(called(&answer).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_the_deadline_and_no_more() {
    let error = called(&[]).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::DeadlineExceeded, Executed::Maybe));
    let error = called(&bound()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::DeadlineExceeded, Executed::Maybe));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_reply_fails_its_call_and_was_executed() {
    let error = called(&[bound(), wire::frame(kind::REPLY, 0, &[&[0, 0xff]])].concat()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Malformed, Executed::Yes));
}

/// Conformance 40, 44: mutations of what a good server sends.
#[tokio::test(start_paused = true)]
async fn mutated_answers_end_every_call() {
    let good = [bound(), wire::frame(kind::REPLY, 0, &[&[0, 3]]), wire::frame(kind::GO_AWAY, 0, &[&[0, 1, 0]])].concat();
    let (mut random, mut count, mut right) = (Random::new(44), 0, 0);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            right += usize::from(called(&bytes).await.is_ok());
            count += 1;
        }
        called(&good[..at]).await.ok();
        count += 1;
    }
    for _ in 0..1000 {
        let mut bytes = good.clone();
        for _ in 0..1 + random.below(6) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        called(&bytes).await.ok();
        count += 1;
    }
    rpc_tests::report!("{count} mutated answers, {right} of the flipped ones still gave a result");
}

/// A server that sends everybody away with this code.
struct Leaving {
    dialled: Arc<AtomicUsize>,
    code: u8,
}

#[rpc::async_trait]
impl Dial for Leaving {
    async fn dial(&self) -> io::Result<Transport> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        let (near, far) = tokio::io::duplex(1 << 10);
        Raw::over(far).send([wire::opening(&[]), wire::frame(kind::GO_AWAY, 0, &[&[self.code, 0, 0]])].concat()).await;
        Ok(Transport::over(near, "test"))
    }
}

/// Conformance 50: a server that sends everybody away is not dialled in a loop.
#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_at_once_is_dialled_a_few_times() {
    for code in [0, 2] {
        let dialled = Arc::new(AtomicUsize::new(0));
        let shop: ShopClient = Client::options().dial(Leaving { dialled: dialled.clone(), code }).await.unwrap().into();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let error = shop.add(1, 2).timeout(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.executed(), Executed::No, "{error}");
        assert!(dialled.load(Ordering::Relaxed) <= 6, "dialled {dialled:?} times");
    }
}

/// Protocol 6.4: whoever says why it leaves has said hello before.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_its_hello_says_both() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let mut raw = Raw::over(far);
    raw.send([wire::opening(&[]), wire::frame(31, 0, &[])].concat()).await;
    let _client = Client::options().over(Transport::over(near, "test"));
    raw.opened().await;
    assert_eq!(raw.frame().await.unwrap().go_away().2, "unknown frame kind 31");
}

#[rpc::service]
trait Store {
    async fn keep(&self, bytes: Bytes) -> u32;
}

/// The reply takes back what of its call has not left. A call that is served behind it, in the same read, must not make that be forgotten.
#[tokio::test(start_paused = true)]
async fn a_reply_before_its_calls_last_chunk_lets_go_of_the_rest_though_a_call_follows_it() {
    let (near, far) = tokio::io::duplex(16 << 20);
    let options = Client::options().serve(service::server()).unwrap();
    let store: StoreClient = options.over(Transport::over(near, "test")).into();
    let mut raw = Raw::over(far);
    let ours = bytes::Bytes::from(vec![7; 1 << 20]);
    let bytes = Bytes::from(ours.clone());
    let call = tokio::spawn(async move { (store.keep(bytes).await, store) });
    raw.opened().await;
    // A call as long as this waits for the hello, and is taken by who allows messages and chunks (protocol 2.2).
    raw.send([wire::opening(&[(1, 4 << 20), (4, 5 << 20)]), service::bind()].concat()).await;
    while raw.frame().await.unwrap().kind != kind::BIND {}
    raw.send([wire::frame(kind::BOUND, 0, &[&[0]]), wire::call(0, ADD, &[1, 2])].concat()).await;
    // Its pings are not answered, so the rest of its chunks waits.
    let mut kinds = Vec::new();
    while let Ok(frame) = tokio::time::timeout(Duration::from_millis(1), raw.frame()).await {
        kinds.push(frame.unwrap().kind);
    }
    assert!(kinds.contains(&kind::CALL_CHUNK) && kinds.contains(&kind::REPLY), "{kinds:?}");
    assert!(!ours.is_unique());
    raw.send([wire::frame(kind::REPLY, 0, &[&[0, 3]]), wire::call(0, ADD, &[1, 2])].concat()).await;
    let (kept, _store) = call.await.unwrap();
    assert_eq!(kept.unwrap(), 3);
    assert_eq!(raw.frame().await.unwrap().kind, kind::REPLY);
    rpc_tests::settle().await;
    assert!(ours.is_unique(), "somebody still holds the bytes");
    raw.send(wire::call(0, ADD, &[1, 2])).await;
    assert_eq!(raw.frame().await.unwrap().kind, kind::REPLY, "the connection lives");
}
