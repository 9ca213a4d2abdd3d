//! Conformance 17: window_leak. Streams that are dropped in every way there is, a great many on one connection: all credit comes
//! back. Later streams grow their windows as far as ever, and the longest items and messages pass.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use rpc::{Client, ErrorKind, Executed, Limits, Streaming};
use rpc_tests::feeds::{self, Lengths, Script, Taking, Took, WHOLE_WINDOW};
use rpc_tests::lab::pattern;
use rpc_tests::rng::Rng;
use rpc_tests::{FeedsClient, FeedsServer, Kind, Rig, TestFeeds, settle, virtual_time};
use tokio::time::timeout;

/// Longer than a window at first: its reader has to ask for more.
const LONG: u32 = 60_000;

/// Streams at the same time.
const AT_ONCE: usize = 48;

/// One window may grow to its full length, and one item may be of the longest length: whatever is lost is missed.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_stream_bytes = 240 << 10;
    (limits.max_message, limits.max_assembly) = (1 << 20, 1 << 20);
    limits
}

/// What a stream met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// What it was to meet.
    Planned,
    /// There were too many, those not yet answered among them.
    Overloaded,
}

/// Polls a few times and gives up.
async fn a_while<T>(future: impl Future<Output = T>, polls: u64) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..=polls {
        let polled = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(value) = polled {
            return Some(value);
        }
        tokio::task::yield_now().await;
    }
    None
}

fn overloaded(error: impl Into<rpc::Error>) -> Met {
    let error = error.into();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No), "{error}");
    Met::Overloaded
}

/// One stream that does not come to its end, in the `way`th way.
async fn dropped(client: &FeedsClient, id: u64, way: u64, mut rng: Rng) -> Met {
    let polls = rng.below(6);
    let made = Arc::new(AtomicU32::new(0));
    let endless = |length| feeds::items(id, Script::endless(length), made.clone());
    match way {
        // Down: before it is answered, unread, after the first item, within an item.
        0 => drop(a_while(client.down(id, Script::endless(100)), polls).await),
        1..=4 => {
            let length = if way == 4 { LONG } else { 100 };
            let mut items = match client.down(id, Script::endless(length)).await {
                Ok(items) => items,
                Err(error) => return overloaded(error.into_service().unwrap_err()),
            };
            for _ in 2..way {
                a_while(items.next(), polls).await;
            }
        }
        // Up: the call is dropped, at whatever point.
        5 | 6 => {
            let length = if way == 5 { 100 } else { LONG };
            let call = client.up(id, Lengths::Each(length), Taking::All, endless(length));
            assert!(a_while(call, polls).await.is_none_or(|ended| overloaded(ended.unwrap_err().into_service().unwrap_err()) == Met::Overloaded));
        }
        // Answered early; not taken; not taken, within an item that was waited for.
        7..=9 => {
            let (length, taking) = [(100, Taking::First(1)), (100, Taking::Refuse(0, 0)), (LONG, Taking::Refuse(0, 1))][way as usize - 7];
            match client.up(id, Lengths::Each(length), taking, endless(length)).await {
                Ok(took) => assert!(!took.ended),
                Err(error) => return overloaded(error.into_service().unwrap_err()),
            }
        }
        // Given up by its sender.
        10 => {
            let (sender, items) = Streaming::channel();
            let call = client.up(id, Lengths::Each(LONG), Taking::All, items);
            let (ended, ()) = tokio::join!(call, async move {
                sender.send(feeds::item(id, 0, Lengths::Each(LONG))).await.ok();
            });
            match ended.unwrap_err() {
                rpc::CallError::Rpc(error) if error.kind() == ErrorKind::Overloaded => return overloaded(error),
                // Here, or there and back: whichever comes first.
                rpc::CallError::Rpc(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}"),
                rpc::CallError::Service(_) => {}
            }
        }
        // Both ways, with items longer than a window.
        11 => {
            let mut items = match client.both(id, Lengths::Each(LONG), endless(LONG)).await {
                Ok(items) => items,
                Err(error) => return overloaded(error),
            };
            a_while(items.next(), polls).await;
        }
        // A window that has grown.
        _ => {
            let mut items = match client.down(id, Script::endless(1_000)).await {
                Ok(items) => items,
                Err(error) => return overloaded(error.into_service().unwrap_err()),
            };
            for _ in 0..100 {
                items.next().await.unwrap().unwrap();
            }
        }
    }
    Met::Planned
}

const WAYS: u64 = 13;

/// Drops this many streams on one connection, and then wants all of its credit.
async fn drops(kind: Kind, count: u64) {
    let began = Instant::now();
    let feeds = TestFeeds::new();
    let server = feeds.clone();
    let rig = Rig::with(kind, |lab| lab.add(FeedsServer::shared(server)).limits(limits()), Client::options().limits(limits())).await;
    let client = FeedsClient::from(Client::clone(&rig.client));
    let mut rng = Rng::new(17);
    let mut overloaded = 0;
    let mut streams = stream::iter(0..count)
        .map(|id| {
            // The last way is a long one.
            let way = if id % 100 == 0 { WAYS - 1 } else { rng.below(WAYS - 1) };
            dropped(&client, id, way, rng.fork())
        })
        .buffer_unordered(AT_ONCE);
    while let Some(met) = streams.next().await {
        overloaded += u64::from(met == Met::Overloaded);
    }
    drop(streams);
    assert!(overloaded < count / 2, "{overloaded} of {count} were refused");
    while feeds.live() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    settle().await;
    feeds.forget();

    let id = 1 << 40;
    for length in [100, 1_021] {
        let up = feeds::under_way_up(&client, &feeds, id, length).await;
        assert!(up > WHOLE_WINDOW, "{up} bytes of items of {length} bytes are under way up");
        let down = feeds::under_way_down(&client, &feeds, id + 10, length).await;
        assert!(down > WHOLE_WINDOW, "{down} bytes of items of {length} bytes are under way down");
        feeds.forget();
    }
    // The longest item, with its length before it, and two that have to take turns.
    let longest = Lengths::Each((1 << 20) - 8);
    let script = Script::of(2, longest);
    let long = async {
        let up = |id| {
            let call = client.up(id, longest, Taking::All, feeds::items(id, script, Arc::default()));
            async move { assert_eq!(call.await.unwrap(), Took { items: 2, ended: true }) }
        };
        let down = |id| {
            let call = client.down(id, script);
            async move {
                let mut items = call.await.unwrap();
                for index in 0..2 {
                    assert!(items.next().await.unwrap().unwrap() == feeds::item(id, index, longest));
                }
                assert!(items.next().await.is_none());
            }
        };
        tokio::join!(up(id + 20), up(id + 21), down(id + 22), down(id + 23));
    };
    timeout(Duration::from_secs(60), long).await.expect("long items pass");
    // Conformance 2: large_call
    let request = pattern(2, 271_828);
    assert!(rig.client.resize(2, &request, 314_159).await.unwrap().0 == pattern(3, 314_159));
    rpc_tests::report!(
        "{{\"suite\":\"window_leak\",\"over\":\"{kind:?}\",\"streams\":{count},\"overloaded\":{overloaded},\"seconds\":{:.1}}}",
        began.elapsed().as_secs_f64()
    );
}

/// Only against hanging: what waits for credit that is lost waits for ever.
async fn in_time(test: impl Future<Output = ()>) {
    timeout(Duration::from_secs(120), test).await.expect("nobody waits for credit that is lost");
}

/// A handler that takes no more holds nothing any more, however long its call goes on.
#[test]
fn a_stream_that_is_not_taken_gives_its_credit_back_at_once() {
    virtual_time(async {
        let feeds = TestFeeds::new();
        let server = feeds.clone();
        let rig = Rig::with(Kind::Memory, |lab| lab.add(FeedsServer::shared(server)).limits(limits()), Client::options().limits(limits())).await;
        let client = FeedsClient::from(Client::clone(&rig.client));
        let hour = Duration::from_secs(3600).as_millis() as u64;
        let long = 1_000_000;
        // One has a grown window, one has got the room for a long item, and one waits for it.
        for (id, length, taking) in
            [(0, 1_000, Taking::Refuse(500, hour)), (1, long, Taking::Refuse(0, hour + 1)), (2, long, Taking::Refuse(0, hour + 1))]
        {
            tokio::spawn(client.up(id, Lengths::Each(length), taking, feeds::items(id, Script::endless(length), Arc::default())).owned());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((feeds.live(), feeds.seen(0).taken), (3, 500), "they go on");
        let script = Script::of(3, Lengths::Each(long));
        let call = client.up(3, script.lengths, Taking::All, feeds::items(3, script, Arc::default()));
        assert_eq!(call.timeout(Duration::from_secs(60)).await.unwrap(), Took { items: 3, ended: true });
        let made = Arc::new(AtomicU32::new(0));
        let call = client.up(4, Lengths::Each(1_000), Taking::Hold(420), feeds::items(4, Script::endless(1_000), made.clone()));
        let _call = tokio::spawn(call.owned());
        let under_way = (feeds::until_still(|| made.load(Ordering::Relaxed)).await - 420) * 1_000;
        assert!(under_way > WHOLE_WINDOW, "{under_way} bytes are under way");
    });
}

/// Conformance 17: window_leak
#[test]
fn a_hundred_thousand_dropped_streams_give_all_their_credit_back() {
    virtual_time(in_time(drops(Kind::Memory, 100_000)));
}

/// Conformance 17: window_leak
#[tokio::test]
async fn dropped_streams_give_all_their_credit_back_over_tcp() {
    in_time(drops(Kind::Tcp, 3_000)).await;
}

/// Conformance 17: window_leak
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_streams_give_all_their_credit_back_over_tcp_on_two_threads() {
    in_time(drops(Kind::Tcp, 3_000)).await;
}

/// Conformance 17: window_leak
#[tokio::test]
async fn dropped_streams_give_all_their_credit_back_over_unix() {
    in_time(drops(Kind::Unix, 3_000)).await;
}
