//! A connection in memory that fails as it is told to: cut after N bytes, split into pieces, slowed down.
//!
//! Time is tokio's. Nothing here depends on anything but the plan and its seed, so a failure repeats.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rpc::transport::Transport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::rng::Rng;

/// What happens once a direction has taken its number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both directions end; what is under way arrives.
    Fin,
    /// Both directions end; what is under way is lost.
    Reset,
    /// This direction ends; the other goes on.
    HalfClose,
    /// The writer gets an error; the reader just hears nothing more.
    WriteError,
    /// The reader gets an error; what the writer writes vanishes.
    ReadError,
    /// Nothing more is taken, and nobody is told.
    Stall,
    /// What is written from now on vanishes, both ways, and nobody is told.
    BlackHole,
}

impl Cut {
    pub const ALL: [Self; 7] = [Self::Fin, Self::Reset, Self::HalfClose, Self::WriteError, Self::ReadError, Self::Stall, Self::BlackHole];
}

/// How one direction behaves.
#[derive(Clone, Debug)]
pub struct Plan {
    pub cut: Option<(u64, Cut)>,
    /// The most bytes taken by one write, and given by one read.
    pub piece: usize,
    /// Pieces are of random length up to `piece`, not all of it.
    pub ragged: bool,
    /// Each piece takes a random time up to this.
    pub delay: Duration,
    /// Bytes under way.
    pub capacity: usize,
    /// Bytes a second; 0 for as many as there are.
    pub rate: u64,
    /// What each piece takes beside that.
    pub latency: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self { cut: None, piece: usize::MAX, ragged: false, delay: Duration::ZERO, capacity: 64 << 10, rate: 0, latency: Duration::ZERO }
    }
}

impl Plan {
    pub fn cut(at: u64, how: Cut) -> Self {
        Self { cut: Some((at, how)), ..Self::default() }
    }

    pub fn pieces(piece: usize) -> Self {
        Self { piece, ..Self::default() }
    }
}

struct Direction {
    plan: Plan,
    rng: Rng,
    under_way: VecDeque<(Instant, VecDeque<u8>)>,
    bytes: usize,
    taken: u64,
    last: Option<Instant>,
    /// When the way is free for the next piece.
    free: Option<Instant>,
    /// No byte will follow.
    ended: bool,
    /// The reader gets this in the end.
    read_error: Option<io::ErrorKind>,
    /// Writes give this.
    write_error: Option<io::ErrorKind>,
    swallows: bool,
    /// Swallows its end, too.
    hole: bool,
    stalled: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Direction {
    fn new(plan: Plan, rng: Rng) -> Self {
        Self {
            plan,
            rng,
            under_way: VecDeque::new(),
            bytes: 0,
            taken: 0,
            last: None,
            free: None,
            ended: false,
            read_error: None,
            write_error: None,
            swallows: false,
            hole: false,
            stalled: false,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        self.reader.take().inspect(Waker::wake_by_ref);
        self.writer.take().inspect(Waker::wake_by_ref);
    }

    fn end(&mut self) {
        if self.hole {
            return;
        }
        self.ended = true;
        self.write_error.get_or_insert(io::ErrorKind::BrokenPipe);
        self.wake();
    }

    fn reset(&mut self) {
        self.under_way.clear();
        self.bytes = 0;
        self.read_error = Some(io::ErrorKind::ConnectionReset);
        self.write_error = Some(io::ErrorKind::ConnectionReset);
        self.wake();
    }
}

struct Shared {
    /// From the connecting end to the other, and back.
    directions: [Direction; 2],
    faults: u64,
}

impl Shared {
    fn fail(&mut self, direction: usize, how: Cut) {
        self.faults += 1;
        match how {
            Cut::Fin => self.directions.iter_mut().for_each(Direction::end),
            Cut::Reset => self.directions.iter_mut().for_each(Direction::reset),
            Cut::HalfClose => self.directions[direction].end(),
            Cut::WriteError => {
                self.directions[direction].write_error = Some(io::ErrorKind::ConnectionAborted);
                self.directions[direction].wake();
            }
            Cut::ReadError => {
                let direction = &mut self.directions[direction];
                direction.read_error = Some(io::ErrorKind::ConnectionAborted);
                direction.swallows = true;
                direction.wake();
            }
            Cut::Stall => self.directions[direction].stalled = true,
            Cut::BlackHole => self.directions.iter_mut().for_each(|direction| (direction.swallows, direction.hole) = (true, true)),
        }
    }
}

/// A handle to a connection, to look at it or to cut it now.
#[derive(Clone)]
pub struct Wire(Arc<Mutex<Shared>>);

/// From the client to the server.
pub const UP: usize = 0;
/// From the server to the client.
pub const DOWN: usize = 1;

impl Wire {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap()
    }

    /// Bytes that this direction has taken.
    pub fn taken(&self, direction: usize) -> u64 {
        self.lock().directions[direction].taken
    }

    /// Faults that have happened.
    pub fn faults(&self) -> u64 {
        self.lock().faults
    }

    pub fn fail(&self, direction: usize, how: Cut) {
        self.lock().fail(direction, how);
    }

    /// From here on it neither fails nor slows down, unless it has failed already.
    pub fn calm(&self) {
        for direction in &mut self.lock().directions {
            direction.plan = Plan::default();
            direction.wake();
        }
    }

    /// Takes this many bytes more, and then fails.
    pub fn fail_after(&self, direction: usize, bytes: u64, how: Cut) {
        let mut shared = self.lock();
        let direction = &mut shared.directions[direction];
        direction.plan.cut = Some((direction.taken + bytes, how));
    }
}

/// A connection: the client's end, the server's, and a handle.
pub fn wire(up: Plan, down: Plan, seed: u64) -> (Transport, Transport, Wire) {
    let mut rng = Rng::new(seed);
    let directions = [Direction::new(up, rng.fork()), Direction::new(down, rng.fork())];
    let wire = Wire(Arc::new(Mutex::new(Shared { directions, faults: 0 })));
    let end = |writes: usize, peer: &str| {
        let read = ReadEnd { wire: wire.clone(), direction: 1 - writes, timer: None };
        Transport::new(read, WriteEnd { wire: wire.clone(), direction: writes }, peer)
    };
    (end(UP, "server"), end(DOWN, "client"), wire)
}

struct ReadEnd {
    wire: Wire,
    direction: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for ReadEnd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.wire.clone();
        let mut shared = wire.lock();
        let direction = &mut shared.directions[self.direction];
        let Some((at, bytes)) = direction.under_way.front_mut() else {
            if let Some(error) = direction.read_error {
                return Poll::Ready(Err(error.into()));
            }
            if direction.ended {
                return Poll::Ready(Ok(()));
            }
            direction.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if *at > Instant::now() {
            let at = *at;
            direction.reader = Some(cx.waker().clone());
            drop(shared);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            timer.as_mut().reset(at);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = bytes.len().min(buffer.remaining()).min(direction.plan.piece);
        let (head, tail) = bytes.as_slices();
        buffer.put_slice(&head[..count.min(head.len())]);
        buffer.put_slice(&tail[..count.saturating_sub(head.len())]);
        bytes.drain(..count);
        if bytes.is_empty() {
            direction.under_way.pop_front();
        }
        direction.bytes -= count;
        direction.writer.take().inspect(Waker::wake_by_ref);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        let mut shared = self.wire.lock();
        let direction = &mut shared.directions[self.direction];
        if !direction.hole {
            direction.write_error.get_or_insert(io::ErrorKind::BrokenPipe);
            direction.wake();
        }
    }
}

struct WriteEnd {
    wire: Wire,
    direction: usize,
}

impl AsyncWrite for WriteEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = self.wire.lock();
        let direction = &mut shared.directions[self.direction];
        if let Some((at, how)) = direction.plan.cut
            && direction.taken >= at
        {
            direction.plan.cut = None;
            shared.fail(self.direction, how);
        }
        let direction = &mut shared.directions[self.direction];
        if let Some(error) = direction.write_error {
            return Poll::Ready(Err(error.into()));
        }
        if direction.swallows {
            return Poll::Ready(Ok(bytes.len()));
        }
        let room = direction.plan.capacity.saturating_sub(direction.bytes);
        if direction.stalled || room == 0 {
            direction.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut count = bytes.len().min(room).min(direction.plan.piece);
        if direction.plan.ragged {
            count = 1 + direction.rng.below(count as u64) as usize;
        }
        if let Some((at, _)) = direction.plan.cut {
            count = count.min((at - direction.taken) as usize);
        }
        let delay = Duration::from_micros(direction.rng.below(direction.plan.delay.as_micros() as u64 + 1));
        // Bytes stay in order.
        let now = Instant::now();
        let mut left = now + delay;
        if direction.plan.rate > 0 {
            left = direction.free.map_or(now, |free| free.max(now)) + Duration::from_secs_f64(count as f64 / direction.plan.rate as f64);
            direction.free = Some(left);
        }
        let arrives = left + direction.plan.latency;
        let at = direction.last.map_or(arrives, |last| last.max(arrives));
        direction.last = Some(at);
        direction.under_way.push_back((at, bytes[..count].to_vec().into()));
        direction.bytes += count;
        direction.taken += count as u64;
        direction.reader.take().inspect(Waker::wake_by_ref);
        // The cut comes with its byte, not with the next one.
        if let Some((at, how)) = direction.plan.cut
            && direction.taken >= at
        {
            direction.plan.cut = None;
            shared.fail(self.direction, how);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut shared = self.wire.lock();
        if !shared.directions[self.direction].stalled {
            shared.directions[self.direction].end();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        let mut shared = self.wire.lock();
        shared.directions[self.direction].end();
    }
}
