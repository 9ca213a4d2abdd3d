//! The task of a connection: the only code that awaits a transport.
//!
//! One turn: take what is queued and write it with one call, read, hand calls to the dispatcher and replies to their
//! callers, again. Replies of handlers that are ready at once join the next write. After waking several callers it lets
//! them run before it writes, so that their next calls leave together.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::inbound::{Event, Inbound};
use super::link::{Closing, Link, State};
use super::outbound::{Phase, Wake};
use crate::frame::codec::{self, Frame, kind};
use crate::frame::limits::{HELLO_DELAY, MAX_FRAME};
use crate::frame::violation::Violation;
use crate::server::Core;
use crate::server::dispatch::Dispatcher;
use crate::server::registry::log_limited;
use crate::transport::Transport;
use crate::{Error, ErrorKind, Executed};

/// Bytes asked of the transport at once.
const READ: usize = 64 << 10;

/// Reads before other tasks get their turn.
const ROUNDS: usize = 16;

/// Bytes of replies that wait; beyond it calls are parked.
const BACKLOG: usize = 1 << 20;

/// Codes of a go-away (protocol 6.4).
pub(crate) mod code {
    pub(crate) const GOODBYE: u64 = 0;
    pub(crate) const VIOLATION: u64 = 1;
    pub(crate) const OVERLOADED: u64 = 2;
    pub(crate) const TIMEOUT: u64 = 3;
}

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Connecting,
    Accepting,
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// The peer closed it.
    Closed,
    /// Both ends were done with it.
    Goodbye,
    /// This end dropped it.
    Dropped,
    Io(io::Error),
    Violation(Violation),
    Timeout(&'static str),
    /// The peer said why.
    Told {
        code: u64,
        message: String,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer closed the connection"),
            Self::Goodbye => f.write_str("the connection was closed"),
            Self::Dropped => f.write_str("the connection was dropped"),
            Self::Io(error) => write!(f, "the connection was lost: {error}"),
            Self::Violation(violation) => violation.fmt(f),
            Self::Timeout(what) => f.write_str(what),
            Self::Told { code: code::VIOLATION, message } => {
                write!(f, "the peer closed the connection: it says that this end broke the protocol: {message}")
            }
            Self::Told { message, .. } => write!(f, "the peer closed the connection: {message}"),
        }
    }
}

/// Buffers of a thread, lent to whichever driver runs on it: an idle connection has none.
struct Scratch {
    read: Vec<u8>,
    batch: Vec<u8>,
    wake: Wake,
    wakers: Vec<Waker>,
}

thread_local!(static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) });

impl Scratch {
    fn take() -> Box<Self> {
        SCRATCH.take().unwrap_or_else(|| {
            // An incomplete frame stands before what is read.
            let read = vec![0; codec::HEADER + MAX_FRAME + READ];
            Box::new(Self { read, batch: Vec::with_capacity(READ), wake: Wake::new(), wakers: Vec::new() })
        })
    }

    fn give_back(mut self: Box<Self>) {
        debug_assert!(self.batch.is_empty(), "a batch is written or kept by the writer before its turn ends");
        if self.batch.capacity() > 4 * READ {
            self.batch = Vec::with_capacity(READ);
        }
        SCRATCH.set(Some(self));
    }
}

struct Driver {
    link: Arc<Link>,
    side: Side,
    read: Box<dyn AsyncRead + Send + Unpin>,
    inbound: Inbound,
    dispatcher: Dispatcher,
    /// The beginning of a frame.
    rest: Vec<u8>,
    timer: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
    /// The hello leaves alone at this time.
    hello_at: Option<Instant>,
    handshake_by: Option<Instant>,
    /// A message has been incomplete since.
    partial_since: Option<Instant>,
    /// The transport has taken nothing since.
    blocked_since: Option<Instant>,
    /// Our go-away has been written.
    leaving: bool,
    /// The peer's has been read.
    told: Option<(u64, String)>,
}

/// Starts the connection. `core` serves the peer's calls; without one they are refused.
pub(crate) fn start(
    transport: Transport,
    side: Side,
    core: Option<Arc<Core>>,
    limits: crate::Limits,
) -> (Arc<Link>, impl Future<Output = ()> + Send) {
    let Transport { read, write, peer } = transport;
    let link = Link::new(write, peer, limits);
    let now = Instant::now();
    let driver = Driver {
        dispatcher: Dispatcher::new(core, link.clone()),
        link: link.clone(),
        side,
        read,
        inbound: Inbound::new(&limits),
        rest: Vec::new(),
        timer: None,
        armed: None,
        hello_at: (side == Side::Connecting).then(|| now + HELLO_DELAY),
        handshake_by: Some(now + limits.handshake_timeout),
        partial_since: None,
        blocked_since: None,
        leaving: false,
        told: None,
    };
    (link, driver.run())
}

impl Driver {
    async fn run(mut self) {
        // A runtime that shuts down drops this future: then, too, every call of ours must end.
        let guard = Lost(self.link.clone());
        let end = poll_fn(|cx| {
            let mut scratch = Scratch::take();
            let end = self.turn(cx, &mut scratch);
            self.keep_batch(&mut scratch.batch);
            scratch.give_back();
            end
        })
        .await;
        self.log(&end);
        guard.lost(&end);
        self.farewell(&end).await;
    }

    fn turn(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<End> {
        match self.rounds(cx, scratch) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(end)) | Err(end) => Poll::Ready(end),
        }
    }

    fn rounds(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<Poll<End>, End> {
        let mut yields = false;
        for _ in 0..ROUNDS {
            if let Some(end) = self.collect(scratch)? {
                return Ok(Poll::Ready(end));
            }
            self.write(cx, scratch)?;
            self.timers(cx, scratch)?;
            if yields {
                // The driver counts as awake: callers that run now only queue.
                cx.waker().wake_by_ref();
                return Ok(Poll::Pending);
            }
            if !self.read(cx, scratch)? {
                if !scratch.batch.is_empty() || !self.park(cx) {
                    continue;
                }
                return Ok(Poll::Pending);
            }
            yields = scratch.wakers.len() > 1;
            for waker in scratch.wakers.drain(..) {
                waker.wake();
            }
            if yields && scratch.batch.is_empty() {
                cx.waker().wake_by_ref();
                return Ok(Poll::Pending);
            }
        }
        self.write(cx, scratch)?;
        cx.waker().wake_by_ref();
        Ok(Poll::Pending)
    }

    /// Takes what others have queued, and looks whether it is time to leave.
    fn collect(&mut self, scratch: &mut Scratch) -> Result<Option<End>, End> {
        let link = self.link.clone();
        let mut state = self.reap(&link);
        state.set_awake();
        if state.closing == Closing::Now {
            return Ok(Some(End::Dropped));
        }
        if state.closing == Closing::Drain && !self.leaving {
            self.leaving = true;
            self.dispatcher.draining = self.side == Side::Accepting;
            state.outbound.phase = Phase::Leaving;
            let calls = self.inbound.calls;
            state.outbound.frames(|out| Frame::new(out, kind::GO_AWAY).number(code::GOODBYE).number(calls).text("").end(0));
        }
        if self.blocked_since.is_none() {
            state.outbound.take_batch(&mut scratch.batch);
            state.take_room(&mut scratch.wakers);
        }
        let leaves = (self.leaving || self.told.is_some()) && self.is_done(&state) && scratch.batch.is_empty();
        drop(state);
        for waker in scratch.wakers.drain(..) {
            waker.wake();
        }
        if !leaves || !self.link.writer().is_empty() {
            return Ok(None);
        }
        Ok(Some(match self.told.take() {
            Some((code, message)) if code != code::GOODBYE => End::Told { code, message },
            _ => End::Goodbye,
        }))
    }

    /// Takes back what ended in tasks of their own.
    fn reap<'l>(&mut self, link: &'l Link) -> MutexGuard<'l, State> {
        let mut state = link.lock();
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
    fn write(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), End> {
        let link = self.link.clone();
        loop {
            let mut writer = link.writer();
            if writer.rest.is_empty() {
                std::mem::swap(&mut writer.rest, &mut scratch.batch);
            } else {
                writer.rest.append(&mut scratch.batch);
            }
            let mut progress = false;
            match writer.poll_write(cx, &mut progress) {
                Poll::Ready(Ok(())) => self.blocked_since = None,
                Poll::Ready(Err(error)) => return Err(End::Io(error)),
                Poll::Pending => {
                    if progress || self.blocked_since.is_none() {
                        self.blocked_since = Some(Instant::now());
                    }
                    return Ok(());
                }
            }
            drop(writer);
            // Large messages go a batch at a time.
            let mut state = link.lock();
            if !state.outbound.has_output() {
                return Ok(());
            }
            state.outbound.take_batch(&mut scratch.batch);
            drop(state);
            if scratch.batch.is_empty() {
                return Ok(());
            }
        }
    }

    /// One read; every complete frame is acted on. False: nothing to read now.
    fn read(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<bool, End> {
        if self.dispatcher.has_parked() && self.can_dispatch(scratch) {
            self.dispatcher.unpark(Instant::now(), &mut self.inbound, &mut scratch.batch);
            return Ok(true);
        }
        let begun = self.rest.len();
        scratch.read[..begun].copy_from_slice(&self.rest);
        let mut buffer = ReadBuf::new(&mut scratch.read[begun..begun + READ]);
        match Pin::new(&mut self.read).poll_read(cx, &mut buffer) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => return Err(End::Io(error)),
            Poll::Ready(Ok(())) => {}
        }
        let end = begun + buffer.filled().len();
        if end == begun {
            return Err(match self.told.take() {
                Some((code, message)) if code != code::GOODBYE => End::Told { code, message },
                Some(_) => End::Goodbye,
                None => End::Closed,
            });
        }
        let now = Instant::now();
        // Whoever wrote a reply, its id was on the list before: what has been read cannot use an id that is not free yet.
        let link = self.link.clone();
        drop(self.reap(&link));
        let bytes = std::mem::take(&mut scratch.read);
        let result = self.act(&bytes[..end], now, scratch);
        let used = match result {
            Ok(used) => {
                self.rest.clear();
                self.rest.extend_from_slice(&bytes[used..end]);
                if self.rest.is_empty() && self.rest.capacity() > 4096 {
                    self.rest = Vec::new();
                }
                used
            }
            Err(end) => {
                scratch.read = bytes;
                return Err(end);
            }
        };
        scratch.read = bytes;
        let partial = !self.rest.is_empty() || self.inbound.is_assembling();
        if !partial {
            self.partial_since = None;
        } else if used > 0 || self.partial_since.is_none() {
            self.partial_since = Some(now);
        }
        Ok(true)
    }

    fn can_dispatch(&self, scratch: &Scratch) -> bool {
        self.blocked_since.is_none() && scratch.batch.len() <= BACKLOG && self.link.lock().outbound.backlog() <= BACKLOG
    }

    /// Acts on every complete frame; the number of bytes used.
    fn act(&mut self, bytes: &[u8], now: Instant, scratch: &mut Scratch) -> Result<usize, End> {
        let link = self.link.clone();
        let Scratch { batch, wake, wakers, .. } = scratch;
        let mut at = 0;
        // Held over a run of replies; never while user code may run.
        let mut guard: Option<MutexGuard<'_, State>> = None;
        let mut calls = false;
        let mut blocked = self.blocked_since.is_some();
        while let Some(event) = self.inbound.next(bytes, &mut at).map_err(End::Violation)? {
            match event {
                Event::Reply { id, failed, payload } => {
                    let state = guard.get_or_insert_with(|| link.lock());
                    state.outbound.on_reply(id, failed, payload, wake).map_err(End::Violation)?;
                }
                Event::Call(call) => {
                    guard = None;
                    if !calls {
                        calls = true;
                        blocked = blocked || link.lock().outbound.backlog() > BACKLOG;
                        self.dispatcher.begin_batch(now);
                    }
                    self.dispatcher.call(call, now, &mut self.inbound, batch, blocked);
                }
                // These may wake handlers or look services up: not under the lock.
                Event::Bind(bind) => {
                    guard = None;
                    self.dispatcher.bind(&bind, batch).map_err(End::Violation)?;
                }
                Event::Cancel(id) => {
                    guard = None;
                    self.dispatcher.cancel(id, &mut self.inbound, batch);
                }
                Event::TooLarge { id, number, length } => {
                    guard = None;
                    let error = self.dispatcher.too_large(number, length);
                    self.dispatcher.refuse(Some(id), &error, &mut self.inbound, batch);
                }
                event => {
                    let state = guard.get_or_insert_with(|| link.lock());
                    if let Some(end) = self.on_rare(event, state, batch, wake)? {
                        return Err(end);
                    }
                }
            }
        }
        if !wake.is_empty() {
            guard.get_or_insert_with(|| link.lock()).wakers(wake, wakers);
        }
        drop(guard);
        if calls {
            self.dispatcher.end_batch();
        }
        Ok(at)
    }

    /// The frames that the connection itself answers.
    fn on_rare(&mut self, event: Event<'_>, state: &mut State, out: &mut Vec<u8>, wake: &mut Wake) -> Result<Option<End>, End> {
        match event {
            Event::Hello(allowance) => {
                self.handshake_by = None;
                state.outbound.on_hello(allowance, wake);
                self.dispatcher.set_limit(state.outbound.max_message());
                if self.side == Side::Accepting {
                    // Ours stands first on the wire, before any answer.
                    state.outbound.only_hello = false;
                    state.outbound.take_batch(out);
                }
            }
            Event::Refused { lowest, highest } => return Ok(Some(End::Violation(Violation::Version { lowest, highest }))),
            Event::Bound { first, statuses } => state.outbound.on_bound(first, statuses).map_err(End::Violation)?,
            Event::Error(failed) => state.outbound.on_error(&failed, wake).map_err(End::Violation)?,
            Event::Ping(echo) => {
                // Protocol 6.5: one answer may stand for several pings that came together.
                if out.len() < BACKLOG {
                    Frame::new(out, kind::PONG).rest(echo).end(0);
                }
            }
            Event::Pong => {}
            Event::GoAway { code, accepted, message } => {
                let kind = match code {
                    code::GOODBYE => ErrorKind::Draining,
                    code::OVERLOADED => ErrorKind::Overloaded,
                    _ => ErrorKind::Protocol,
                };
                let text = if message.is_empty() { "the peer is shutting down" } else { message };
                let error = Error::new(kind, text.to_owned());
                state.outbound.on_go_away(accepted, &error, wake);
                self.told = Some((code, message.to_owned()));
            }
            // Acted on where they are read.
            Event::Call(_) | Event::Reply { .. } | Event::Bind(_) | Event::Cancel(_) | Event::TooLarge { .. } => {}
        }
        Ok(None)
    }

    // ---- time

    fn next_timeout(&self, state: &State) -> Option<Instant> {
        let limits = &self.link.limits;
        [
            self.hello_at,
            self.handshake_by,
            self.partial_since.map(|since| since + limits.progress_timeout),
            self.blocked_since.map(|since| since + limits.write_timeout),
            state.outbound.next_deadline,
            self.dispatcher.next_expiry(),
            self.dispatcher.shrink_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Acts on what is due, if the timer has fired.
    fn timers(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Result<(), End> {
        let Some(timer) = &mut self.timer else { return Ok(()) };
        if self.armed.is_none() || timer.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        self.armed = None;
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let limits = &self.link.limits;
        if due(self.handshake_by) {
            return Err(End::Timeout("the peer did not say hello in time (Limits::handshake_timeout)"));
        }
        if due(self.partial_since.map(|since| since + limits.progress_timeout)) {
            return Err(End::Timeout("a frame did not arrive in time (Limits::progress_timeout)"));
        }
        if due(self.blocked_since.map(|since| since + limits.write_timeout)) {
            return Err(End::Timeout("the peer does not read (Limits::write_timeout)"));
        }
        let link = self.link.clone();
        let mut state = link.lock();
        if due(self.hello_at) {
            self.hello_at = None;
            state.outbound.only_hello = false;
        }
        if due(state.outbound.next_deadline) {
            state.outbound.expire(now, &mut scratch.wake);
            let state = &mut *state;
            state.wakers(&mut scratch.wake, &mut scratch.wakers);
        }
        if self.blocked_since.is_none() {
            state.outbound.take_batch(&mut scratch.batch);
        }
        drop(state);
        if due(self.dispatcher.next_expiry()) {
            self.dispatcher.expire(now);
        }
        if due(self.dispatcher.shrink_at()) {
            self.dispatcher.shrink(now);
        }
        for waker in scratch.wakers.drain(..) {
            waker.wake();
        }
        Ok(())
    }

    /// Sleeps until something happens; false if something already has.
    fn park(&mut self, cx: &mut Context<'_>) -> bool {
        let link = self.link.clone();
        let mut state = link.lock();
        let blocked = self.blocked_since.is_some();
        if !state.finished.is_empty()
            || (!blocked && state.outbound.has_output())
            || state.closing == Closing::Now
            || (state.closing == Closing::Drain && !self.leaving)
        {
            return false;
        }
        if (self.leaving || self.told.is_some()) && !blocked && self.is_done(&state) {
            return false;
        }
        if !state.outbound.only_hello {
            self.hello_at = None;
        }
        let next = self.next_timeout(&state);
        if let Some(next) = next
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.armed = Some(next);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            timer.as_mut().reset(next);
            if timer.as_mut().poll(cx).is_ready() {
                return false;
            }
        }
        state.park(cx.waker(), self.armed);
        true
    }

    // ---- the end

    /// What the scratch holds at the end of a turn belongs to this connection.
    fn keep_batch(&mut self, batch: &mut Vec<u8>) {
        if !batch.is_empty() {
            self.link.writer().rest.append(batch);
        }
    }

    fn log(&self, end: &End) {
        let peer = self.link.peer.address();
        match end {
            End::Closed | End::Goodbye | End::Dropped => tracing::debug!(peer, reason = %end, "connection ended"),
            _ => log_limited!(warn, "connection with {peer} ended: {end}"),
        }
    }

    /// Tells the peer why, as far as it takes it without waiting, and closes.
    async fn farewell(&mut self, end: &End) {
        let mut last = Vec::new();
        let told = match end {
            // Another protocol's words would mean nothing to it, nor ours to it.
            End::Violation(Violation::WrongProtocol(_)) => None,
            End::Violation(Violation::Version { .. }) if self.side == Side::Accepting => {
                codec::write_preface(&mut last);
                Frame::new(&mut last, kind::REFUSED).number(u64::from(codec::VERSION)).number(u64::from(codec::VERSION)).end(0);
                None
            }
            End::Violation(violation) => Some((code::VIOLATION, violation.to_string())),
            End::Timeout(what) => Some((code::TIMEOUT, (*what).to_owned())),
            End::Dropped | End::Goodbye if !self.leaving => Some((code::GOODBYE, String::new())),
            _ => None,
        };
        if let Some((code, message)) = told {
            if !self.inbound.is_open() && self.side == Side::Accepting {
                codec::write_preface(&mut last);
                codec::write_hello(&mut last, &self.link.limits.allowance());
            }
            Frame::new(&mut last, kind::GO_AWAY).number(code).number(self.inbound.calls).short_text(&message).end(0);
        }
        let link = self.link.clone();
        link.writer().rest.extend_from_slice(&last);
        let closes = poll_fn(|cx| {
            let mut writer = link.writer();
            let _ = std::task::ready!(writer.poll_write(cx, &mut false));
            writer.poll_shutdown(cx).map(drop)
        });
        // The peer may not read; its socket's buffer is all the courtesy it gets.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(100), closes).await;
    }
}

/// Ends every call when the driver's future ends, in whatever way.
struct Lost(Arc<Link>);

impl Lost {
    fn lost(&self, end: &End) {
        let kind = match end {
            End::Violation(Violation::Version { .. }) => ErrorKind::Incompatible,
            End::Violation(_) | End::Told { code: code::VIOLATION, .. } => ErrorKind::Protocol,
            End::Told { code: code::OVERLOADED, .. } => ErrorKind::Overloaded,
            _ => ErrorKind::Unavailable,
        };
        let mut error = Error::with(kind, Executed::Maybe, end.to_string());
        if let End::Io(source) = end {
            error = error.caused_by(io::Error::from(source.kind()));
        }
        self.0.lost(&error);
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        self.lost(&End::Dropped);
    }
}
