//! The task of a connection: the only code that awaits a transport.
//!
//! One turn: take what is queued and write it with one call, read, hand calls to the dispatcher and replies to their
//! callers, again. Replies of handlers that are ready at once join the next write. After waking several callers it lets
//! them run before it writes, so that their next calls leave together. What a frame does is in `act.rs`, what it sleeps until in `time.rs`.

mod act;
mod time;

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep};

use super::batch::Batch;
use super::ending::{End, Lost, code, farewell, last_words};
use super::gather::{self, Gather};
use super::inbound::Inbound;
use super::keepalive::Keepalive;
use super::linger::Linger;
use super::link::{Closing, Link, State};
use super::outbound::Wake;
use super::waking::wake_all;
use crate::Limits;
use crate::frame::codec::{self, Frame, kind};
use crate::frame::limits::{HELLO_DELAY, MAX_FRAME};
use crate::frame::payload;
use crate::schema::exchange::Schemas;
use crate::server::Core;
use crate::server::dispatch::{BACKLOG, Dispatcher};
use crate::transport::Transport;

/// Bytes asked of the transport at once.
const READ: usize = 128 << 10;

/// The same while chunks of a large message come.
const READ_BETWEEN: usize = 4 << 10;

/// Pings that one answer stands for while a large message comes and more of it is there: the peer keeps twice as much under way.
const PINGS: u32 = 3;

/// Reads before other tasks get their turn.
const ROUNDS: usize = 16;

/// Frames after which it is their turn once those of this read are served: small calls are work for little to read.
const FRAMES: u64 = 1024;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Connecting,
    Accepting,
}

/// Buffers of a thread, lent to whichever driver runs on it: an idle connection has none.
struct Scratch {
    read: Vec<u8>,
    batch: Batch,
    wake: Wake,
    wakers: Vec<Waker>,
}

thread_local!(static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) });

impl Scratch {
    fn take() -> Box<Self> {
        SCRATCH.take().unwrap_or_else(|| {
            // An incomplete frame stands before what is read.
            let read = vec![0; codec::PREFACE + codec::HEADER + MAX_FRAME + READ];
            Box::new(Self { read, batch: Batch::with_capacity(READ), wake: Wake::new(), wakers: Vec::new() })
        })
    }

    fn give_back(mut self: Box<Self>) {
        debug_assert!(self.batch.is_empty(), "a batch is written or kept by the writer before its turn ends");
        if self.batch.capacity() > 4 * READ {
            self.batch = Batch::with_capacity(READ);
        }
        SCRATCH.set(Some(self));
    }

    /// Wakes those who were found while the lock was held, and drops what was taken.
    #[inline]
    fn wake(&mut self) {
        self.batch.drop_spent();
        if !self.wakers.is_empty() {
            wake_all(self.wakers.drain(..));
        }
    }
}

pub(super) struct Driver {
    link: Arc<Link>,
    side: Side,
    read: Box<dyn AsyncRead + Send + Unpin>,
    inbound: Inbound,
    dispatcher: Dispatcher,
    /// The beginning of a frame.
    rest: Vec<u8>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What the timer is set to, until it fires.
    armed: Option<Instant>,
    /// The timer has been asked since.
    asked: bool,
    /// The waker with which it slept last.
    waker: Option<Waker>,
    /// When something is due, as was found at the end of the last turn, and the last time that is known.
    due: Option<Instant>,
    now: Instant,
    /// The writer may hold something.
    unwritten: bool,
    /// The hello leaves alone at this time.
    hello_at: Option<Instant>,
    handshake_by: Option<Instant>,
    keepalive: Keepalive,
    /// What the last ping said, to be said again, and how many there were since the last answer.
    pong: Option<([u8; 8], u8)>,
    pings: u32,
    /// A message has been incomplete since, with so many frames read.
    partial_since: Option<(Instant, u64)>,
    /// The transport has taken nothing since.
    blocked_since: Option<Instant>,
    /// Bytes of answers that have joined the queue since then.
    owed: usize,
    /// Large messages have waited too long for the peer, unless what says otherwise is still to be read.
    withheld: bool,
    gather: Gather,
    linger: Linger,
    /// Calls that had begun when something was due last.
    begun: u64,
    /// The runtime has several threads.
    threads: bool,
    /// A caller is woken that has much to decode.
    heavy: bool,
    /// Large messages wait behind the batch that was taken last.
    has_more: bool,
    /// Our go-away has been written.
    leaving: bool,
    /// The peer's has been read.
    told: Option<Box<(u64, String)>>,
    /// Why nothing can be written any more; what has arrived is still read.
    broken: Option<io::Error>,
}

/// A connection's future. Written by hand, as every connection has one all its life: an `async` block keeps twice what is moved into it.
pub(crate) struct Connection {
    /// Until it has come to its end.
    driver: Option<Driver>,
    farewell: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// A runtime that shuts down drops the connection: then, too, every call of ours must end.
    lost: Lost,
    /// Dropped last: by then all large buffers are back.
    _open: payload::Open,
}

/// Starts the connection. `core` serves the peer's calls; without one they are refused. The peer has so long to say hello.
pub(crate) fn start(
    transport: Transport,
    side: Side,
    core: Option<Arc<Core>>,
    limits: &Arc<Limits>,
    handshake: Duration,
    schemas: Arc<Schemas>,
) -> (Arc<Link>, Connection) {
    let Transport { read, write, peer } = transport;
    let link = Link::new(write, peer, limits.clone(), schemas);
    let now = Instant::now();
    let driver = Driver {
        dispatcher: Dispatcher::new(core, link.clone()),
        link: link.clone(),
        side,
        read,
        inbound: Inbound::new(limits),
        rest: Vec::new(),
        timer: None,
        armed: None,
        asked: false,
        waker: None,
        due: None,
        now,
        unwritten: false,
        hello_at: (side == Side::Connecting).then(|| now + HELLO_DELAY),
        handshake_by: now.checked_add(handshake),
        keepalive: Keepalive::new(now),
        pong: None,
        pings: 0,
        partial_since: None,
        blocked_since: None,
        owed: 0,
        withheld: false,
        gather: Gather::default(),
        linger: Linger::default(),
        begun: 0,
        threads: Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() != RuntimeFlavor::CurrentThread),
        heavy: false,
        has_more: false,
        leaving: false,
        told: None,
        broken: None,
    };
    let connection = Connection { driver: Some(driver), farewell: None, lost: Lost(link.clone()), _open: payload::Open::new() };
    (link, connection)
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if let Some(driver) = &mut this.driver {
            let mut scratch = Scratch::take();
            let end = driver.turn(&this.lost.0, cx, &mut scratch);
            driver.keep_batch(&mut scratch.batch);
            scratch.give_back();
            let Poll::Ready(end) = end else { return Poll::Pending };
            this.end(&end);
        }
        match &mut this.farewell {
            Some(farewell) => farewell.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Connection {
    #[cold]
    #[inline(never)]
    fn end(&mut self, end: &End) {
        let Some(Driver { link, side, read, inbound, dispatcher, leaving, .. }) = self.driver.take() else { return };
        end.log(link.peer.address());
        self.lost.lost(end);
        // Handlers hear of it first: the farewell may take a moment.
        drop(dispatcher);
        let last = last_words(end, side, &inbound, leaving, &link);
        self.farewell = Some(Box::pin(async move { farewell(&link, read, &last).await }));
    }
}

impl Driver {
    fn turn(&mut self, link: &Link, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<End> {
        let end = match self.rounds(link, cx, scratch) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(end)) | Err(end) => end,
        };
        // Replies that stood before what ended the connection still count; nobody else would wake their callers.
        link.lock().wakers(&mut scratch.wake, &mut scratch.wakers);
        scratch.wake();
        Poll::Ready(end)
    }

    fn rounds(&mut self, link: &Link, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Poll<End>, End> {
        if self.gather.is_waiting(link.begun()) {
            cx.waker().wake_by_ref();
            return Ok(Poll::Pending);
        }
        // Who has left something for this turn has roused it. Otherwise it looks only after two reads: one brings a lone call or reply,
        // and the other finds nothing more.
        let roused = link.is_awake();
        let (mut yields, mut collects, mut first) = (false, roused, true);
        let enough = self.inbound.frames + FRAMES;
        for _ in 0..ROUNDS {
            // What was answered at once leaves first: often nothing else is there.
            if collects && let Some(end) = self.collect(link, scratch)? {
                return Ok(Poll::Ready(end));
            }
            self.write(link, cx, scratch);
            self.timers(link, scratch)?;
            if yields {
                return Ok(self.stay(link, cx));
            }
            if !self.read(link, cx, scratch)? {
                if self.answer_ping(&mut scratch.batch) || !scratch.batch.is_empty() || !self.park(link, cx) {
                    collects = true;
                    continue;
                }
                if self.linger.looks_again() {
                    gather::defer(cx.waker());
                }
                return Ok(Poll::Pending);
            }
            // A thread that was woken for one task alone is expected to run it next; if that computes for long, nobody would look
            // at the sockets meanwhile. As one of several this task calls another thread, which takes it over; so do several that are
            // woken together.
            yields = scratch.wakers.len() > 1 || self.dispatcher.take_heavy() || std::mem::take(&mut self.heavy);
            yields |= self.inbound.frames >= enough;
            if yields {
                self.answer_ping(&mut scratch.batch);
            }
            let together = self.gather.woken(link.begun(), scratch.wakers.len(), self.now);
            if !yields || !scratch.batch.is_empty() {
                scratch.wake();
            } else if together {
                self.end_turn(link);
                gather::wake(&mut scratch.wakers, cx.waker(), self.threads);
                return Ok(Poll::Pending);
            } else {
                scratch.wake();
                return Ok(self.stay(link, cx));
            }
            collects = !collects && (roused || !first);
            first = false;
        }
        self.answer_ping(&mut scratch.batch);
        self.write(link, cx, scratch);
        Ok(self.stay(link, cx))
    }

    /// Lets other tasks run. The driver counts as awake: callers that run now only queue.
    fn stay(&mut self, link: &Link, cx: &Context<'_>) -> Poll<End> {
        self.end_turn(link);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Its timer is not asked before it sleeps.
    fn end_turn(&mut self, link: &Link) {
        self.now = Instant::now();
        self.due = self.next_timeout(&link.lock_awake());
    }

    /// Takes what others have queued, and looks whether it is time to leave.
    #[inline(never)]
    fn collect(&mut self, link: &Link, scratch: &mut Scratch) -> Result<Option<End>, End> {
        let mut state = self.reap(link);
        self.unwritten |= std::mem::take(&mut state.unwritten);
        state.outbound.seen(Instant::now);
        if state.closing == Closing::Now {
            return Ok(Some(End::Dropped));
        }
        if state.closing == Closing::Drain && !self.leaving {
            self.leaving = true;
            // Handlers that still run may need the other end to end: a server goes on to call, a client to serve (protocol 6.4).
            match self.side {
                Side::Accepting => self.dispatcher.draining = true,
                Side::Connecting => {
                    state.outbound.close(&mut scratch.wake);
                    state.wakers(&mut scratch.wake, &mut scratch.wakers);
                }
            }
            let calls = self.inbound.calls;
            state.outbound.frames(|out| Frame::new(out, kind::GO_AWAY).number(code::GOODBYE).number(calls).text("").end(0));
        }
        if self.blocked_since.is_none() {
            self.has_more = state.outbound.take_batch(&mut scratch.batch);
            state.outbound.stamp(Instant::now);
            state.take_room(&mut scratch.wakers);
        }
        // What was taken back does not wait for the transport.
        let unsent = state.outbound.take_unsent();
        self.dispatcher.queued = state.outbound.backlog();
        let leaves = (self.leaving || self.told.is_some()) && self.is_done(&state) && scratch.batch.is_empty();
        drop(state);
        drop(unsent);
        scratch.wake();
        if !leaves || !link.writer().is_empty() {
            return Ok(None);
        }
        Ok(Some(match self.told.take().map(|told| *told) {
            Some((code, message)) if code != code::GOODBYE => End::Told { code, message },
            _ => End::Goodbye,
        }))
    }

    /// Takes back what ended in tasks of their own.
    fn reap<'l>(&mut self, link: &'l Link) -> MutexGuard<'l, State> {
        let mut state = link.lock_awake();
        if state.finished.is_empty() {
            return state;
        }
        let mut finished = std::mem::take(&mut state.finished);
        // Handlers may be dropped here, which is user code.
        drop(state);
        self.dispatcher.finished(&mut finished, &mut self.inbound);
        state = link.lock();
        if state.finished.is_empty() {
            state.finished = finished;
        }
        state
    }

    /// No call is under way, neither way.
    fn is_done(&self, state: &State) -> bool {
        self.dispatcher.is_idle()
            && !self.inbound.is_assembling()
            && !state.outbound.has_open_calls()
            && state.outbound.is_idle()
            && state.outbound.is_waiting_room_empty()
    }

    /// Writes the batch, after what is left of earlier ones.
    #[inline(always)]
    fn write(&mut self, link: &Link, cx: &mut Context<'_>, scratch: &mut Scratch) {
        if !scratch.batch.is_empty() || self.unwritten {
            self.write_batch(link, cx, scratch);
        }
    }

    #[inline(never)]
    fn write_batch(&mut self, link: &Link, cx: &mut Context<'_>, scratch: &mut Scratch) {
        if self.blocked_since.is_some() {
            self.owed += scratch.batch.len();
        }
        loop {
            let mut writer = link.writer();
            writer.append(&mut scratch.batch);
            let mut progress = false;
            let written = writer.poll_write(cx, &mut progress);
            let mut spent = writer.take_spent();
            if written.is_ready() && self.blocked_since.is_some() {
                // What was queued meanwhile has roused nobody.
                link.set_awake();
            }
            match written {
                Poll::Ready(Ok(())) => {
                    writer.give_back(&mut scratch.batch);
                    (self.unwritten, self.blocked_since, self.owed) = (false, None, 0);
                }
                Poll::Ready(Err(error)) => {
                    // Replies, or the peer's reason, may have arrived before.
                    writer.close();
                    spent.append(&mut writer.take_spent());
                    self.broken.get_or_insert(error);
                    (self.unwritten, self.blocked_since, self.owed) = (false, None, 0);
                }
                Poll::Pending => {
                    if progress || self.blocked_since.is_none() {
                        self.blocked_since = Some(Instant::now());
                    }
                    self.unwritten = true;
                    drop(writer);
                    drop(spent);
                    return;
                }
            }
            drop(writer);
            drop(spent);
            if !self.has_more {
                return;
            }
            // Large messages go a batch at a time.
            let mut state = link.lock_awake();
            if !state.outbound.has_output() {
                self.has_more = false;
                return;
            }
            self.has_more = state.outbound.take_batch(&mut scratch.batch);
            state.outbound.stamp(Instant::now);
            drop(state);
            scratch.batch.drop_spent();
            if scratch.batch.is_empty() {
                return;
            }
        }
    }

    /// One read; every complete frame is acted on. False: nothing to read now.
    #[inline]
    fn read(&mut self, link: &Link, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<bool, End> {
        if self.dispatcher.has_parked() && self.unpark(link, scratch) {
            return Ok(true);
        }
        // Calls are parked by now; what is left are answers to pings, binds, cancels and refusals. Who asks for so many
        // of them and takes none may wait (protocol 6.6).
        if self.owed > BACKLOG {
            return Ok(false);
        }
        let (begun, frames_before) = (self.rest.len(), self.inbound.frames);
        let assembling = self.inbound.is_assembling();
        let direct = if assembling && begun == 0 { self.read_direct(cx)? } else { None };
        let (came, elsewhere) = match direct {
            Some(Poll::Ready(count)) => (0, count),
            Some(Poll::Pending) => return self.nothing_came(cx),
            None => {
                // Of a message that is put together little is to be read here, so that much can be read there; but what a frame
                // lacks, or each read would copy what was there before.
                let most = if assembling { READ_BETWEEN.max(lacking(&self.rest)) } else { READ };
                scratch.read[..begun].copy_from_slice(&self.rest);
                let mut buffer = ReadBuf::new(&mut scratch.read[begun..begun + most]);
                match Pin::new(&mut self.read).poll_read(cx, &mut buffer) {
                    Poll::Pending => return self.nothing_came(cx),
                    Poll::Ready(Err(error)) => return Err(End::Io(error)),
                    Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Err(self.closed()),
                    Poll::Ready(Ok(())) => (buffer.filled().len(), 0),
                }
            }
        };
        let end = begun + came;
        let now = Instant::now();
        self.now = now;
        self.keepalive.heard(now);
        if self.dispatcher.has_tasks() {
            // Whoever wrote a reply, its id was on the list before: what has been read cannot use an id that is not free yet.
            drop(self.reap(link));
        }
        let bytes = std::mem::take(&mut scratch.read);
        let result = self.act(link, &bytes[..end], now, scratch);
        if let Ok(used) = result
            && (begun > 0 || used < end)
        {
            self.rest.clear();
            self.rest.extend_from_slice(&bytes[used..end]);
            if self.rest.is_empty() && self.rest.capacity() > 4096 {
                self.rest = Vec::new();
            }
        }
        scratch.read = bytes;
        result?;
        // Whole frames are progress; single bytes of one are not, or a frame could take for ever.
        let frames = self.inbound.frames;
        self.linger.came(frames - frames_before, came + elsewhere, now);
        if self.rest.is_empty() && !self.inbound.is_assembling() {
            self.partial_since = None;
        } else if self.partial_since.is_none_or(|(_, before)| before != frames) {
            self.partial_since = Some((now, frames));
        }
        Ok(true)
    }

    /// The rest of a long chunk goes straight to where its message is put together: so many bytes, if that is what comes next.
    #[inline(never)]
    fn read_direct(&mut self, cx: &mut Context<'_>) -> Result<Option<Poll<usize>>, End> {
        let Some(mut place) = self.inbound.direct() else { return Ok(None) };
        match pin!(self.read.read_buf(&mut place)).poll(cx) {
            Poll::Pending => Ok(Some(Poll::Pending)),
            Poll::Ready(Err(error)) => Err(End::Io(error)),
            Poll::Ready(Ok(0)) => Err(self.closed()),
            Poll::Ready(Ok(count)) => {
                self.inbound.took(count).map_err(End::Violation)?;
                Ok(Some(Poll::Ready(count)))
            }
        }
    }

    /// Serves calls that wait until replies can leave, if they can now.
    #[inline(never)]
    fn unpark(&mut self, link: &Link, scratch: &mut Scratch) -> bool {
        self.dispatcher.queued = link.lock().outbound.backlog();
        if self.blocked_since.is_some() || self.dispatcher.is_full(scratch.batch.len()) {
            return false;
        }
        self.now = Instant::now();
        self.dispatcher.begin_batch(self.now);
        self.dispatcher.unpark(self.now, &mut self.inbound, &mut scratch.batch.frames);
        self.dispatcher.end_batch();
        true
    }

    /// False, unless that is the end.
    #[inline(never)]
    fn nothing_came(&mut self, cx: &Context<'_>) -> Result<bool, End> {
        if !has_budget_remaining() {
            // Handlers, or what else is done in this task, have used it up, and a read says so whatever there is.
            cx.waker().wake_by_ref();
            return Ok(false);
        }
        match self.broken.take() {
            Some(error) => Err(End::Io(error)),
            None if self.keepalive.is_overdue() => {
                Err(End::Timeout("the peer is not there any more: it answers nothing (Limits::keepalive_timeout)"))
            }
            None if std::mem::take(&mut self.withheld) && self.is_withheld() => {
                Err(End::Timeout("the peer does not answer the pings behind large messages (Limits::write_timeout)"))
            }
            None => Ok(false),
        }
    }

    #[cold]
    fn is_withheld(&self) -> bool {
        self.withheld_at(&self.link.lock()).is_some_and(|at| at <= Instant::now())
    }

    /// The peer has closed the connection.
    #[cold]
    fn closed(&mut self) -> End {
        match self.told.take().map(|told| *told) {
            Some((code, message)) if code != code::GOODBYE => End::Told { code, message },
            Some(_) => End::Goodbye,
            None => End::Closed,
        }
    }

    // ---- the end

    /// What the scratch holds at the end of a turn belongs to this connection.
    fn keep_batch(&mut self, batch: &mut Batch) {
        if !batch.is_empty() {
            self.unwritten = true;
            self.link.writer().append(batch);
        }
    }
}

/// How many bytes this beginning of a frame lacks, as far as it says. Chunks are taken as they come.
fn lacking(begun: &[u8]) -> usize {
    match codec::read_header(begun) {
        Ok(Some(header)) if !matches!(header.kind, kind::CALL_CHUNK | kind::REPLY_CHUNK) => {
            (codec::HEADER + header.length).saturating_sub(begun.len())
        }
        _ => 0,
    }
}
