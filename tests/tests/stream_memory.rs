//! What streams and large messages hold, and what an item costs, counted by the allocator. One thread, virtual time, both
//! ends together.

use std::future::Future;

use futures_util::{StreamExt, stream};
use rpc::{Client, Limits, Server, Stream, Streaming, transport::memory};
use rpc_tests::{settle, virtual_time};

const MIB: u64 = 1 << 20;

fn peak(test: impl Future<Output = ()>) -> u64 {
    allocation_counter::measure(|| virtual_time(test)).bytes_max
}

#[rpc::service]
trait Items {
    fn numbers(&self, count: u64) -> impl Stream<Item = u64>;
    fn blocks(&self, size: usize) -> impl Stream<Item = Vec<u8>>;
    async fn sum(&self, numbers: Streaming<u64>) -> u64;
    /// Does not read.
    async fn ignore(&self, blocks: Streaming<Vec<u8>>);
    async fn length(&self, bytes: &[u8]) -> usize;
    /// As many as there are, whether somebody takes them or not; then nothing.
    #[rpc(slow_consumer = "drop_oldest")]
    fn ticks(&self, count: usize) -> impl Stream<Item = ()>;
}

struct Impl;

impl Items for Impl {
    fn numbers(&self, count: u64) -> impl Stream<Item = u64> {
        stream::iter(0..count)
    }
    fn blocks(&self, size: usize) -> impl Stream<Item = Vec<u8>> {
        stream::unfold((), move |()| async move { Some((vec![1; size], ())) })
    }
    async fn sum(&self, mut numbers: Streaming<u64>) -> u64 {
        let mut sum = 0;
        while let Some(Ok(number)) = numbers.next().await {
            sum += number;
        }
        sum
    }
    async fn ignore(&self, blocks: Streaming<Vec<u8>>) {
        std::future::pending::<()>().await;
        drop(blocks);
    }
    async fn length(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }
    fn ticks(&self, count: usize) -> impl Stream<Item = ()> {
        stream::iter((0..count).map(drop)).chain(stream::pending())
    }
}

async fn client(limits: Limits) -> ItemsClient {
    let (listener, dialer) = memory::pair();
    tokio::spawn(Server::new().add(ItemsServer::new(Impl)).limits(limits).listen(listener).unwrap().serve());
    Client::options().limits(limits).dial(dialer).await.unwrap().into()
}

/// Allocations of a run of this many items.
fn allocations(count: u64, run: impl AsyncFn(&ItemsClient, u64) -> u64) -> u64 {
    allocation_counter::measure(|| {
        virtual_time(async {
            let client = client(Limits::default()).await;
            assert_eq!(run(&client, count).await, count * (count - 1) / 2);
        });
    })
    .count_total
}

#[test]
fn an_item_allocates_nothing() {
    let download = async |client: &ItemsClient, count| {
        let mut items = client.numbers(count).await.unwrap();
        let mut sum = 0;
        while let Some(item) = items.next().await {
            sum += item.unwrap();
        }
        sum
    };
    let upload = async |client: &ItemsClient, count| client.sum(stream::iter(0..count)).await.unwrap();
    for (what, few, many) in [
        ("download", allocations(100_000, download), allocations(1_000_000, download)),
        ("upload", allocations(100_000, upload), allocations(1_000_000, upload)),
    ] {
        let more = many.saturating_sub(few);
        rpc_tests::report!("{{\"suite\":\"stream_memory\",\"case\":\"{what}\",\"items\":900000,\"allocations\":{more}}}");
        // Some bytes of each frame of thousands of items: buffers grow while the window does.
        assert!(more <= 900, "{what}: {more} allocations for 900,000 items more");
    }
}

#[test]
fn streams_that_nobody_reads_hold_their_first_windows() {
    let peak = peak(async {
        let client = client(Limits::default()).await;
        let mut held = Vec::new();
        for _ in 0..128 {
            held.push(client.blocks(1000).await.unwrap());
        }
        settle().await;
        settle().await;
    });
    rpc_tests::report!("{{\"suite\":\"stream_memory\",\"case\":\"128 unread downloads\",\"peak\":{peak}}}");
    // 128 windows of 16 KiB at the reader, and at the sender what it has gathered for the next frame.
    assert!(peak < 10 * MIB, "{peak} bytes");
}

/// What waits for a slow consumer is counted in bytes, however small its items are.
#[test]
fn small_items_that_wait_for_slow_consumers_hold_little_more_than_their_bytes() {
    let peak = peak(async {
        let client = client(Limits::default()).await;
        let mut held = Vec::new();
        for _ in 0..32 {
            held.push(client.ticks(100_000).await.unwrap());
        }
        for _ in 0..20 {
            settle().await;
        }
    });
    rpc_tests::report!("{{\"suite\":\"stream_memory\",\"case\":\"32 slow consumers\",\"peak\":{peak}}}");
    // Of each 16 KiB at the reader, as much that is to be sent next, and 32 KiB that wait, in buffers of twice that.
    assert!(peak < 6 * MIB, "{peak} bytes");
}

#[test]
fn uploads_that_nobody_reads_hold_their_first_windows() {
    let peak = peak(async {
        let client = client(Limits::default()).await;
        let mut held = Vec::new();
        for _ in 0..128 {
            let endless = stream::repeat_with(|| vec![1_u8; 1000]);
            held.push(tokio::spawn(client.ignore(endless).owned()));
        }
        for _ in 0..10 {
            settle().await;
        }
    });
    rpc_tests::report!("{{\"suite\":\"stream_memory\",\"case\":\"128 unread uploads\",\"peak\":{peak}}}");
    assert!(peak < 10 * MIB, "{peak} bytes");
}

/// Long items of many streams at once: together they have the room of `Limits::max_assembly`, one after the other.
#[test]
fn long_items_of_many_streams_take_turns() {
    let peak = peak(async {
        let client = client(Limits::default()).await;
        let mut readers = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let client = client.clone();
            readers.spawn(async move {
                let mut items = client.blocks(1_000_000).await.unwrap();
                for _ in 0..2 {
                    assert_eq!(items.next().await.unwrap().unwrap().len(), 1_000_000);
                }
            });
        }
        readers.join_all().await;
    });
    rpc_tests::report!("{{\"suite\":\"stream_memory\",\"case\":\"64 streams of 1 MB items\",\"peak\":{peak}}}");
    // At the senders each stream has one encoded item; at the reader there is room for five, twice while a buffer grows.
    assert!(peak < (64 + 64 + 30) * MIB, "{peak} bytes");
}

/// A message of 64 MiB is held where it is: as arguments here, as bytes to send, as bytes that came, as arguments there. What is
/// under way between is a window.
#[test]
fn a_large_message_is_held_at_its_ends_only() {
    const SIZE: usize = 64 << 20;
    let mut limits = Limits::default();
    (limits.max_message, limits.max_assembly, limits.max_decoded) = (80 << 20, 96 << 20, 256 << 20);
    let bytes = vec![1; SIZE];
    let peak = peak(async {
        let client = client(limits).await;
        assert_eq!(client.length(&bytes).timeout(std::time::Duration::from_secs(600)).await.unwrap(), SIZE);
    });
    rpc_tests::report!("{{\"suite\":\"stream_memory\",\"case\":\"64 MiB argument\",\"peak\":{peak}}}");
    // Encoded at the caller while it leaves, put together at the callee in a buffer that doubles.
    assert!(peak < 4 * SIZE as u64, "{peak} bytes");
}
