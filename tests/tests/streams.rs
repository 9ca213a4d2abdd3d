//! Streams, both ways, over each transport: conformance 11 to 16, 18, 24 and 30.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use rpc::{CallError, ErrorKind, Executed, Streaming};
use rpc_tests::flows::{NotSeven, flows};
use rpc_tests::lab::pattern;
use rpc_tests::{Blob, Kind, LabError, ON_PURPOSE, Rig, settle};

rpc_tests::over_each_transport! {
    a_client_stream_is_summed
    a_server_stream_keeps_sizes_and_order
    strict_turns
    an_empty_stream_is_a_normal_end
    an_early_reply_stops_the_upload
    a_callee_that_takes_no_more_stops_the_sender
    a_reader_that_does_not_read_stops_its_sender_alone
    an_upload_nobody_reads_stops_alone
    the_window_of_a_reader_that_keeps_up_grows
    items_longer_than_the_window_arrive
    large_arguments_come_before_the_items
    an_aborted_upload_is_no_end
    a_sender_that_is_dropped_aborts
    a_panicking_upload_aborts_and_fails_the_call
    a_cancelled_call_ends_its_upload
    a_lost_connection_is_no_end
    dropping_a_stream_drops_its_handler
    dropping_a_call_before_its_stream_begins
    a_refused_stream_is_its_error
    a_stream_that_begins_later
    items_that_are_results
    a_panic_between_items_is_internal
    an_item_that_cannot_be_written_ends_the_stream
    a_million_small_items
    streams_have_no_deadline_unless_asked
    a_deadline_covers_the_whole_stream
    a_stream_is_handed_on
    streams_beyond_the_limit_are_overloaded
}

async fn all<T: serde::de::DeserializeOwned>(mut items: Streaming<T>) -> Result<Vec<T>, rpc::Error> {
    let mut all = Vec::new();
    while let Some(item) = items.next().await {
        all.push(item?);
    }
    Ok(all)
}

async fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
}

fn blobs(sizes: &[usize]) -> impl futures_util::Stream<Item = Blob> + use<> {
    let blobs: Vec<_> = sizes.iter().enumerate().map(|(seed, size)| Blob(pattern(seed as u64, *size))).collect();
    stream::iter(blobs)
}

/// Conformance 11: client_stream
async fn a_client_stream_is_summed(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    assert_eq!(flows.sum(stream::iter([27_182, 8, 1_828, 45_904])).await.unwrap(), 74_922);
    let sizes = [27_182, 8, 1_828, 45_904];
    let lengths = flows.lengths(blobs(&sizes)).await.unwrap();
    assert_eq!(lengths.iter().sum::<usize>(), 74_922);
    assert_eq!(lengths, sizes);
}

/// Conformance 12: server_stream
async fn a_server_stream_keeps_sizes_and_order(kind: Kind) {
    let rig = Rig::new(kind).await;
    let sizes = [31_415, 9, 2_653, 58_979];
    let items = all(flows(&rig).sizes(5, sizes.to_vec()).await.unwrap()).await.unwrap();
    assert_eq!(items.len(), 4);
    for (item, size) in items.iter().zip(sizes) {
        assert!(item.0 == pattern(5, size as usize));
    }
}

/// Conformance 13: ping_pong
async fn strict_turns(kind: Kind) {
    let rig = Rig::new(kind).await;
    let (say, lines) = Streaming::channel();
    let mut answers = flows(&rig).echo(lines).await.unwrap();
    for (turn, size) in [27_182, 8, 1_828, 45_904].into_iter().enumerate() {
        let mut next = Box::pin(answers.next());
        settle().await;
        assert!(is_pending(&mut next).await, "nothing was asked, nothing is answered");
        say.send(Blob(pattern(turn as u64, size))).await.unwrap();
        assert!(next.await.unwrap().unwrap().0 == pattern(turn as u64, size));
    }
    say.finish();
    assert!(answers.next().await.is_none(), "half closed, so the answers end too");
}

/// Conformance 14: empty_stream
async fn an_empty_stream_is_a_normal_end(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    assert_eq!(flows.sum(stream::empty()).await.unwrap(), 0);
    assert!(flows.count(3, 3).await.unwrap().next().await.is_none());
    assert!(flows.echo(stream::empty()).await.unwrap().next().await.is_none());
    let (say, lines) = Streaming::channel();
    let answers = flows.doubles(lines).await.unwrap();
    say.finish();
    assert!(all(answers).await.unwrap().is_empty());
}

/// Conformance 15: early_reply
async fn an_early_reply_stops_the_upload(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let (say, numbers) = Streaming::channel();
    let first = tokio::spawn(flows.first(2, numbers).owned());
    let mut sent = 0_u64;
    let error = loop {
        match say.send(sent).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(first.await.unwrap().unwrap(), [0, 1]);
    say.closed().await;
    // A stream that would never end is dropped.
    let dropped = Arc::new(());
    let held = dropped.clone();
    let endless = stream::repeat_with(move || {
        let _ = &held;
        1
    });
    assert_eq!(flows.first(3, endless).await.unwrap(), [1, 1, 1]);
    while Arc::strong_count(&dropped) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(flows.sum(stream::iter([1, 2])).await.unwrap(), 3, "and the connection goes on");
}

async fn a_callee_that_takes_no_more_stops_the_sender(kind: Kind) {
    let rig = Rig::new(kind).await;
    let (say, numbers) = Streaming::channel();
    let call = tokio::spawn(flows(&rig).refuse_items(1, numbers).owned());
    say.closed().await;
    assert_eq!(say.send(1).await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(!call.is_finished(), "the call itself goes on");
    rig.lab.open(1);
    assert_eq!(call.await.unwrap().unwrap(), 1);
}

/// Waits until the count has stopped rising: nothing more can happen.
async fn until_still(mut count: impl FnMut() -> u64) -> u64 {
    let mut last = count();
    loop {
        // On another thread the count may rise without us.
        tokio::time::sleep(Duration::from_millis(20)).await;
        settle().await;
        let now = count();
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
}

/// Conformance 16: backpressure
async fn a_reader_that_does_not_read_stops_its_sender_alone(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let mut unread = flows.endless(1000).await.unwrap();
    let made = until_still(|| rig.lab.produced()).await;
    // The window, what is gathered for the next frames, and one item more.
    assert!(made <= (2 * 16 * 1024) / 1000 + 2, "{made} items were made for nobody");
    assert_eq!(all(flows.count(0, 100_000).await.unwrap()).await.unwrap().len(), 100_000, "another stream passes");
    for n in 0..100 {
        assert_eq!(rig.client.add(n, 1).await.unwrap(), n + 1);
    }
    assert_eq!(rig.lab.produced(), made);
    for _ in 0..1000 {
        assert_eq!(unread.next().await.unwrap().unwrap().0.len(), 1000);
    }
    // Its window has grown, and stands still again.
    let more = until_still(|| rig.lab.produced()).await;
    assert!(more - 1000 <= (2 * 256 * 1024) / 1000 + 40, "{} items are under way", more - 1000);
}

async fn an_upload_nobody_reads_stops_alone(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let made = Arc::new(AtomicU64::new(0));
    let count = made.clone();
    let items = stream::repeat_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Blob(vec![1; 1000])
    });
    let call = tokio::spawn(flows.hold(1, items.take(100)).owned());
    let most = until_still(|| made.load(Ordering::Relaxed)).await;
    assert!(most <= (2 * 16 * 1024) / 1000 + 2, "{most} items were taken of a stream that nobody reads");
    assert_eq!(flows.sum(stream::iter(0..1000)).await.unwrap(), 499_500);
    rig.lab.open(1);
    assert_eq!(call.await.unwrap().unwrap(), 100);
}

/// Whatever the length of its items, which end where frames do only by chance.
async fn the_window_of_a_reader_that_keeps_up_grows(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    for size in [1, 99, 1000, 5000] {
        let before = rig.lab.produced();
        let mut items = flows.endless(size).await.unwrap();
        let (mut read, mut unread) = (0, 0);
        // Up to half a window has been read and not been given back: how much depends on where one stops. Without growth it is at
        // most the first window and what its sender has gathered.
        for bytes in [2_000_000, 50_000, 50_000, 50_000] {
            for _ in 0..bytes / (size + 2) {
                items.next().await.unwrap().unwrap();
                read += 1;
            }
            let made = until_still(|| rig.lab.produced()).await - before;
            unread = unread.max((made - read) * u64::from(size + 1));
        }
        assert!(unread >= 40 << 10, "{unread} bytes in items of {size} are under way to a reader that keeps up");
    }
}

async fn items_longer_than_the_window_arrive(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let sizes = [3_000_000, 1, 200_000, 0, 4_000_000, 70_000, 65_536, 16_384, 16_383];
    let items = all(flows.sizes(9, sizes.to_vec()).await.unwrap()).await.unwrap();
    assert!(items.iter().zip(sizes).all(|(item, size)| item.0 == pattern(9, size as usize)));
    assert_eq!(items.len(), sizes.len());
    assert_eq!(flows.lengths(blobs(&sizes.map(|size| size as usize))).await.unwrap(), sizes.map(|size| size as usize));
    // Several at once: they take turns for the room that one connection has.
    let mut calls = tokio::task::JoinSet::new();
    for seed in 0..6 {
        let flows = flows.clone();
        calls.spawn(async move {
            let items = all(flows.sizes(seed, vec![2_000_000, 1_000_000]).await.unwrap()).await.unwrap();
            assert!(items[0].0 == pattern(seed, 2_000_000) && items[1].0 == pattern(seed, 1_000_000));
        });
    }
    calls.join_all().await;
    // Longer than a message may be.
    let error = flows.lengths(stream::iter([Blob(vec![0; 5 << 20])])).await.unwrap_err();
    let CallError::Rpc(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    let error = all(flows.sizes(0, vec![1, 5 << 20]).await.unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::Yes), "{error}");
    assert_eq!(flows.sum(stream::iter([1])).await.unwrap(), 1);
}

async fn large_arguments_come_before_the_items(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    assert_eq!(flows.sum_after(&[0; 1_000_000], stream::iter(0..10_000)).await.unwrap(), 1_000_000 + 49_995_000);
    assert_eq!(flows.sum_after(&[], stream::iter(0..10)).await.unwrap(), 45);
    // No items at all: their end needs no credit, and must not overtake the arguments.
    let empty = flows.sum_after(&[0; 1_000_000], stream::empty()).timeout(Duration::from_secs(20)).await;
    assert_eq!(empty.unwrap(), 1_000_000);
}

async fn witnessed(rig: &Rig, what: &str) {
    rig.lab.until_noted(what).await;
    rig.lab.until_live(0).await;
}

/// Conformance 18: abort_is_not_end
async fn an_aborted_upload_is_no_end(kind: Kind) {
    let rig = Rig::new(kind).await;
    let (say, numbers) = Streaming::channel();
    let call = tokio::spawn(flows(&rig).witness(numbers).owned());
    say.send(1).await.unwrap();
    say.send(2).await.unwrap();
    rig.lab.until_live(1).await;
    drop(say);
    witnessed(&rig, "2 items, then Cancelled").await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
}

async fn a_sender_that_is_dropped_aborts(kind: Kind) {
    let rig = Rig::new(kind).await;
    let (say, numbers) = Streaming::<u64>::channel();
    drop(say);
    let error = flows(&rig).sum(numbers).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
}

async fn a_panicking_upload_aborts_and_fails_the_call(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let lab = rig.lab.clone();
    let items = stream::unfold(0, move |next| {
        let lab = lab.clone();
        async move {
            lab.until_live(1).await;
            assert!(next < 3, "{ON_PURPOSE}");
            Some((next, next + 1))
        }
    });
    let error = flows.witness(items).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    // What was gathered with it goes with it.
    rig.lab.until_notes(1).await;
    assert!(rig.lab.notes()[0].ends_with("then Cancelled"), "{:?}", rig.lab.notes());
    assert_eq!(flows.sum(stream::iter([1, 2])).await.unwrap(), 3);
}

async fn a_cancelled_call_ends_its_upload(kind: Kind) {
    let rig = Rig::new(kind).await;
    let (say, numbers) = Streaming::channel();
    let call = tokio::spawn(flows(&rig).witness(numbers).owned());
    say.send(1).await.unwrap();
    rig.lab.until_live(1).await;
    settle().await;
    call.abort();
    rig.lab.until_notes(1).await;
    assert!(rig.lab.notes()[0].ends_with("then Cancelled"), "{:?}", rig.lab.notes());
    say.closed().await;
}

async fn a_lost_connection_is_no_end(kind: Kind) {
    let mut rig = Rig::new(kind).await;
    let mut items = flows(&rig).one_and_wait().await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap(), 1);
    rig.crash().await;
    let error = items.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Unavailable, Executed::Maybe));
    assert!(items.next().await.is_none(), "after an error there is nothing");
}

/// Conformance 24: cancel after_first_item
async fn dropping_a_stream_drops_its_handler(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    for _ in 0..50 {
        let mut items = flows.one_and_wait().await.unwrap();
        assert_eq!(items.next().await.unwrap().unwrap(), 1);
        assert_eq!(rig.lab.live(), 1);
        drop(items);
        tokio::time::timeout(Duration::from_secs(5), rig.lab.until_live(0)).await.expect("the handler is dropped");
    }
    for _ in 0..50 {
        let mut items = flows.endless(100).await.unwrap();
        for _ in 0..3 {
            items.next().await.unwrap().unwrap();
        }
        drop(items);
        tokio::time::timeout(Duration::from_secs(5), rig.lab.until_live(0)).await.expect("the handler is dropped");
    }
    assert_eq!(all(flows.count(0, 10).await.unwrap()).await.unwrap().len(), 10);
}

async fn dropping_a_call_before_its_stream_begins(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    for _ in 0..50 {
        let mut call = pin!(flows.later(9));
        assert!(is_pending(&mut call).await);
        settle().await;
    }
    assert_eq!(all(flows.count(0, 10).await.unwrap()).await.unwrap().len(), 10);
}

async fn a_refused_stream_is_its_error(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let letters: String = all(flows.refusable("grüße 🦀").await.unwrap()).await.unwrap().into_iter().collect();
    assert_eq!(letters, "grüße 🦀");
    match flows.refusable("").await {
        Err(CallError::Service(LabError::Text(text))) => assert_eq!(text, "nothing to say"),
        other => panic!("{other:?}"),
    }
}

async fn a_stream_that_begins_later(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let call = tokio::spawn(flows.later(5).owned());
    settle().await;
    assert!(!call.is_finished());
    rig.lab.open(5);
    assert_eq!(all(call.await.unwrap().unwrap()).await.unwrap(), [5]);
}

async fn items_that_are_results(kind: Kind) {
    let rig = Rig::new(kind).await;
    assert_eq!(all(flows(&rig).fallible().await.unwrap()).await.unwrap(), [Ok(1), Err(LabError::Plain), Ok(3)]);
}

/// Conformance 30: panic in stream poll, in Serialize
async fn a_panic_between_items_is_internal(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let mut items = flows.panics_at(50_000).await.unwrap();
    let mut count = 0;
    let error = loop {
        match items.next().await.unwrap() {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!((1..=50_000).contains(&count));
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes));
    assert!(!error.to_string().contains(ON_PURPOSE), "the panic's text stays with the server: {error}");
    assert_eq!(flows.sum(stream::iter([1, 2])).await.unwrap(), 3);
}

async fn an_item_that_cannot_be_written_ends_the_stream(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let mut items = flows.not_seven(5).await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap(), NotSeven(5));
    assert_eq!(items.next().await.unwrap().unwrap(), NotSeven(6));
    let error = items.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes), "{error}");
    let error = match flows.not_seven(8).await {
        Ok(mut items) => items.next().await.unwrap().unwrap_err(),
        Err(error) => error,
    };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Yes), "{error}");
    assert_eq!(flows.sum(stream::iter([1, 2])).await.unwrap(), 3);
}

async fn a_million_small_items(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let mut items = flows.count(0, 1_000_000).await.unwrap();
    let mut next = 0;
    while let Some(item) = items.next().await {
        assert_eq!(item.unwrap(), next);
        next += 1;
    }
    assert_eq!(next, 1_000_000);
    assert_eq!(flows.sum(stream::iter(0..100_000)).await.unwrap(), 4_999_950_000);
}

async fn streams_have_no_deadline_unless_asked(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    assert_eq!(all(flows.remaining().await.unwrap()).await.unwrap(), [None]);
    let left = all(flows.remaining().timeout(Duration::from_secs(9)).await.unwrap()).await.unwrap();
    assert!(matches!(left[..], [Some(1..=9_000_000)]), "{left:?}");
}

async fn a_deadline_covers_the_whole_stream(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let mut items = flows.one_and_wait().timeout(Duration::from_millis(100)).await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap(), 1);
    let error = items.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::DeadlineExceeded, Executed::Maybe));
    rig.lab.until_live(0).await;
    let (say, numbers) = Streaming::<u64>::channel();
    let error = flows.sum(numbers).timeout(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    say.closed().await;
}

async fn a_stream_is_handed_on(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let numbers = flows.count(0, 10_000).await.unwrap();
    assert_eq!(flows.sum(numbers).await.unwrap(), 49_995_000);
    // An error on the way is an abort: whether the method of that stream ran says nothing of this one.
    let broken = flows.panics_at(50_000).await.unwrap();
    let error = flows.sum(broken).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Internal, Executed::Maybe), "{error}");
}

async fn streams_beyond_the_limit_are_overloaded(kind: Kind) {
    let rig = Rig::new(kind).await;
    let flows = flows(&rig);
    let mut held = Vec::new();
    for _ in 0..128 {
        held.push(flows.one_and_wait().await.unwrap());
    }
    let error = flows.one_and_wait().await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
    assert!(error.to_string().contains("Limits::max_streams"), "{error}");
    held.pop();
    rig.lab.until_live(127).await;
    while let Err(error) = flows.one_and_wait().await {
        assert_eq!(error.kind(), ErrorKind::Overloaded);
    }
}

/// A method whose handler outlives its caller, and whose items nobody can take then.
#[rpc::service]
trait Tap {
    #[rpc(detached)]
    fn pour(&self) -> impl rpc::Stream<Item = u64>;
}

/// Held by every stream that it pours.
struct Water(Arc<()>);

impl Tap for Water {
    fn pour(&self) -> impl rpc::Stream<Item = u64> {
        let held = self.0.clone();
        stream::repeat_with(move || Arc::strong_count(&held) as u64)
    }
}

/// Conformance 24: what it sends is not wanted by anybody, so its stream ends as it does when the connection is lost.
#[tokio::test(start_paused = true)]
async fn a_detached_handler_ends_with_the_items_that_nobody_takes() {
    let held = Arc::new(());
    let tap = TapClient::local(Water(held.clone()));
    let mut items = tap.pour().await.unwrap();
    assert!(items.next().await.unwrap().is_ok());
    drop(items);
    let ended = async {
        // One is the service's.
        while Arc::strong_count(&held) > 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("its handler still waits for credit");
}
