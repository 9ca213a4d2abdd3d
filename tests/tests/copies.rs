//! Large payloads on their way: they leave from where they were encoded, and arrive where they are put together. What is
//! between is not copied: the transport is handed the very places.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use rpc::transport::Transport;
use rpc::{Client, Server};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Places in memory and how many bytes were taken from there, or put there.
type Places = Arc<Mutex<Vec<(usize, usize)>>>;

struct Watched {
    io: DuplexStream,
    read: Places,
    written: Places,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        let new = &buffer.filled()[before..];
        self.read.lock().unwrap().push((new.as_ptr() as usize, new.len()));
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }
    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut left)) = polled {
            for slice in slices {
                let taken = slice.len().min(left);
                left -= taken;
                self.written.lock().unwrap().push((slice.as_ptr() as usize, taken));
            }
        }
        polled
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

const LARGE: usize = 3 << 20;

#[rpc::service]
trait Depot {
    /// Where the argument lies.
    async fn address(&self, bytes: &[u8]) -> (usize, usize);
    async fn echo(&self, bytes: Bytes) -> Bytes;
    /// Where each lies here, and they themselves.
    async fn shared(&self, first: rpc::Bytes, name: &str, second: rpc::Bytes) -> ([(usize, usize); 2], rpc::Bytes, rpc::Bytes);
}

struct Here;

impl Depot for Here {
    async fn address(&self, bytes: &[u8]) -> (usize, usize) {
        (bytes.as_ptr() as usize, bytes.len())
    }
    async fn echo(&self, bytes: Bytes) -> Bytes {
        bytes
    }
    async fn shared(&self, first: rpc::Bytes, _: &str, second: rpc::Bytes) -> ([(usize, usize); 2], rpc::Bytes, rpc::Bytes) {
        ([place(&first), place(&second)], first, second)
    }
}

fn place(bytes: &[u8]) -> (usize, usize) {
    (bytes.as_ptr() as usize, bytes.len())
}

/// How many of the bytes that were moved lie here.
fn moved(places: &Places, (at, length): (usize, usize)) -> usize {
    places.lock().unwrap().iter().filter(|(place, _)| (at..at + length).contains(place)).map(|(_, length)| length).sum()
}

fn connected() -> (DepotClient, [Places; 4]) {
    let (near, far) = tokio::io::duplex(256 << 10);
    let places: [Places; 4] = Default::default();
    let watched = |io, at: usize| Watched { io, read: places[at].clone(), written: places[at + 1].clone() };
    let (near, far) = (watched(near, 0), watched(far, 2));
    tokio::spawn(Server::new().add(DepotServer::new(Here)).serve_connection(Transport::over(far, "far")));
    (Client::options().over(Transport::over(near, "near")).into(), places)
}

/// Bytes that were taken one after the other from the longest run of neighbouring places.
fn longest_run(places: &Places) -> usize {
    let (mut longest, mut end, mut run) = (0, 0, 0);
    for &(at, length) in places.lock().unwrap().iter() {
        if at == end {
            run += length;
        } else if length >= 1024 {
            run = length;
        } else {
            // The head of a frame.
            continue;
        }
        end = at + length;
        longest = longest.max(run);
    }
    longest
}

#[tokio::test]
async fn large_arguments_and_results_leave_from_where_they_were_encoded() {
    let (client, [_, up, _, down]) = connected();
    assert_eq!(client.echo(vec![7; LARGE].into()).await.unwrap().len(), LARGE);
    for (what, places) in [("up", up), ("down", down)] {
        let run = longest_run(&places);
        assert!(run >= LARGE - 1024, "{what}: {run} of {LARGE} bytes leave from one place");
    }
}

#[tokio::test]
async fn most_of_a_large_argument_arrives_where_its_handler_finds_it() {
    let (client, [_, _, read, _]) = connected();
    let (at, length) = client.address(&vec![7; LARGE]).await.unwrap();
    assert_eq!(length, LARGE);
    let there = moved(&read, (at, length));
    // The buffer grows by doubling, so its first half may have moved; and a little of each chunk comes with its head.
    assert!(there > LARGE / 3, "only {there} of {LARGE} bytes were read to where they stay");
}

#[tokio::test]
async fn shared_bytes_are_not_copied_anywhere() {
    let (client, [down_read, up_written, up_read, down_written]) = connected();
    let (first, second) = (rpc::Bytes::from(vec![7; 1 << 20]), rpc::Bytes::from(vec![8; (64 << 10) + 1]));
    let mut arrived = Vec::new();
    for _ in 0..20 {
        let all = [&down_read, &up_written, &up_read, &down_written];
        all.iter().for_each(|places| places.lock().unwrap().clear());
        let ([there_first, there_second], back_first, back_second) = client.shared(first.clone(), "name", second.clone()).await.unwrap();
        assert!(back_first == first && back_second == second);
        // They leave from where the caller has them, and again from where the handler has them: all of them, to the last byte.
        for (what, written, at, length) in [
            ("up", &up_written, place(&first), first.len()),
            ("up", &up_written, place(&second), second.len()),
            ("down", &down_written, there_first, first.len()),
            ("down", &down_written, there_second, second.len()),
        ] {
            assert_eq!(moved(written, at), length, "{what}");
        }
        let there = |what, read, at, length| (what, moved(read, at), length);
        arrived = vec![there("up", &up_read, there_first, first.len()), there("down", &down_read, place(&back_first), first.len())];
        // And they are where they arrived, but for a little of each chunk that comes with its head. The first call finds no buffers that
        // wait, so its own grow as it comes; later ones do, unless another test has them.
        if arrived.iter().all(|(_, there, length)| *there > length / 3) {
            return;
        }
    }
    panic!("few bytes are where they were read: {arrived:?}");
}
