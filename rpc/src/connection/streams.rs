//! The streams of one call: what has come and waits for its reader, and what its sender may still send (protocol 7).
//!
//! The driver fills [`Incoming`] and [`Flow`]; `streaming/` reads and sends. Each has a short lock of its own, so that items
//! are decoded and encoded outside the link's. Order of locks: the link's, then these.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::link::{Link, State};
use super::outbound::{Ended, Wake, Woken};
use super::waking::wake_all;
use crate::frame::codec::{Frame, kind};
use crate::frame::limits::FIRST_WINDOW;
use crate::frame::violation::Violation;
use crate::schema::Root;
use crate::{Error, ErrorKind, Executed};

/// Which end of the call this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Caller,
    Callee,
}

/// What one call streams, as one end of it sees it.
pub(crate) struct Streams {
    role: Role,
    /// What the other end sends.
    incoming: Option<Mutex<Incoming>>,
    /// What this end sends.
    flow: Option<Mutex<Flow>>,
    /// The last frame of the call has been written, or read: its id may mean another call. Changes under the link's lock.
    over: AtomicBool,
}

/// Bytes that have come and nobody has taken, and how they end.
#[derive(Default)]
struct Incoming {
    /// Items, each behind its length; the last one may be incomplete.
    bytes: Vec<u8>,
    /// Where the last complete item ends; zero without one.
    complete: usize,
    scan: Scan,
    /// Bytes that the other end may still send.
    credit: usize,
    window: usize,
    /// Credit beyond the window, for an item that is longer.
    extra: usize,
    /// There is no credit before the arguments are complete.
    held: bool,
    /// Some has been asked for.
    asked: bool,
    /// The callee has begun to answer.
    opened: bool,
    end: Option<Last>,
    reader: Option<Waker>,
    /// Nobody reads any more.
    deaf: bool,
}

/// How the items end.
pub(crate) enum Last {
    Finished,
    /// With the method's own error, as it came.
    Failed(Vec<u8>),
    Error(Error),
}

/// Where in the stream of bytes the last one of them stands.
#[derive(Clone, Copy, Default)]
struct Scan {
    /// Bytes of the present item that are still to come.
    left: usize,
    /// Of a length of which some bytes have come.
    length: usize,
    shift: u32,
    /// A mark has come, and the number behind it has not.
    marked: bool,
}

impl Scan {
    fn is_between(self) -> bool {
        self.left == 0 && self.shift == 0 && !self.marked
    }

    /// Goes over these bytes; the place behind the last item that ends in them.
    fn over(&mut self, bytes: &[u8], longest: usize) -> Result<Option<usize>, Violation> {
        let (mut at, mut complete) = (0, None);
        while at < bytes.len() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len() - at);
                self.left -= taken;
                at += taken;
            } else {
                let byte = bytes[at];
                at += 1;
                self.length |= usize::from(byte & 0x7f) << self.shift;
                if byte & 0x80 != 0 {
                    self.shift += 7;
                    // A length has 32 bits, as a message's.
                    if self.shift > 28 {
                        return Err(Violation::BadFrame("items"));
                    }
                    continue;
                }
                // Protocol 7.8: a zero in two bytes is no length.
                if byte == 0 && self.shift == 7 && self.length == 0 && !self.marked {
                    *self = Self { marked: true, ..Self::default() };
                    continue;
                }
                if (byte == 0 && self.shift > 0) || self.length > longest {
                    return Err(if self.length > longest { Violation::ItemTooLong(self.length) } else { Violation::BadFrame("items") });
                }
                *self = Self { left: self.length, ..Self::default() };
            }
            if self.is_between() {
                complete = Some(at);
            }
        }
        Ok(complete)
    }
}

/// What may be sent.
#[derive(Default)]
struct Flow {
    credit: usize,
    /// There is, or was, some: the arguments are there.
    begun: bool,
    stopped: bool,
    sender: Option<Waker>,
}

/// What a reader finds.
pub(crate) enum Arrived {
    /// Bytes with at least one complete item were added.
    Items,
    Last(Last),
}

impl Streams {
    /// `reads`: the other end sends items; `sends`: this one does, with so much credit to begin with.
    pub(crate) fn new(role: Role, reads: bool, sends: Option<usize>) -> Arc<Self> {
        let incoming = Incoming { credit: FIRST_WINDOW, window: FIRST_WINDOW, ..Incoming::default() };
        Arc::new(Self {
            role,
            incoming: reads.then(|| Mutex::new(incoming)),
            flow: sends.map(|credit| Mutex::new(Flow { credit, ..Flow::default() })),
            over: AtomicBool::new(false),
        })
    }

    /// What the other end sends, of the method.
    pub(crate) fn items(&self) -> Root {
        if self.role == Role::Caller { Root::Download } else { Root::Upload }
    }

    pub(crate) fn reads(&self) -> bool {
        self.incoming.is_some()
    }

    pub(crate) fn sends(&self) -> bool {
        self.flow.is_some()
    }

    fn incoming(&self) -> Option<MutexGuard<'_, Incoming>> {
        self.incoming.as_ref().map(|incoming| incoming.lock().expect("no user code runs under this lock"))
    }

    fn flow(&self) -> Option<MutexGuard<'_, Flow>> {
        self.flow.as_ref().map(|flow| flow.lock().expect("no user code runs under this lock"))
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The arguments are not complete, so no items may come yet (protocol 7.3).
    pub(crate) fn hold(&self) {
        if let Some(mut incoming) = self.incoming() {
            (incoming.credit, incoming.held) = (0, true);
        }
    }

    /// The arguments are complete; true if the other end is to be given its first window.
    pub(crate) fn release(&self) -> bool {
        let Some(mut incoming) = self.incoming() else { return false };
        if incoming.held {
            incoming.credit = FIRST_WINDOW;
        }
        std::mem::take(&mut incoming.held)
    }

    // ---- what the driver does, under the link's lock

    /// Bytes have come.
    pub(crate) fn arrive(&self, bytes: &[u8], longest: usize, wakers: &mut Vec<Waker>) -> Result<(), Violation> {
        let mut incoming = self.incoming().ok_or(Violation::Unexpected("items"))?;
        let incoming = &mut *incoming;
        if incoming.end.is_some() {
            return Err(Violation::Unexpected("items"));
        }
        incoming.credit = incoming.credit.checked_sub(bytes.len()).ok_or(Violation::Credit)?;
        let complete = incoming.scan.over(bytes, longest)?;
        let opens = !incoming.opened;
        incoming.opened = true;
        if incoming.deaf {
            return Ok(());
        }
        if let Some(complete) = complete {
            incoming.complete = incoming.bytes.len() + complete;
        }
        incoming.bytes.extend_from_slice(bytes);
        // Also when the rest of an item needs more credit than there is: only its reader knows that it is wanted.
        if opens || complete.is_some() || incoming.scan.left > incoming.credit {
            wakers.extend(incoming.reader.take());
        }
        Ok(())
    }

    /// No more items come.
    pub(crate) fn end(&self, last: Last, wakers: &mut Vec<Waker>) -> Result<(), Violation> {
        let mut incoming = self.incoming().ok_or(Violation::Unexpected("end"))?;
        if incoming.end.is_some() {
            return Err(Violation::Unexpected("end"));
        }
        if matches!(last, Last::Finished) && !incoming.scan.is_between() {
            return Err(Violation::BadFrame("items"));
        }
        incoming.end = Some(last);
        wakers.extend(incoming.reader.take());
        Ok(())
    }

    /// The other end takes more.
    pub(crate) fn credit(&self, bytes: u64, wakers: &mut Vec<Waker>) -> Result<(), Violation> {
        let mut flow = self.flow().ok_or(Violation::Unexpected("credit"))?;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        flow.credit = flow.credit.saturating_add(bytes).min(u32::MAX as usize);
        flow.begun = true;
        wakers.extend(flow.sender.take());
        Ok(())
    }

    /// The other end takes nothing any more.
    pub(crate) fn stop(&self, wakers: &mut Vec<Waker>) {
        if let Some(mut flow) = self.flow() {
            flow.stopped = true;
            wakers.extend(flow.sender.take());
        }
    }

    /// The call is over at this end: nothing more is sent for it, and what it held is given back.
    pub(crate) fn close(self: &Arc<Self>, state: &mut State, wakers: &mut Vec<Waker>) {
        if self.over.swap(true, Ordering::AcqRel) {
            return;
        }
        self.stop(wakers);
        self.give_back(state);
    }

    /// Nothing that comes from here on is kept: what it held of the connection's sums is for others.
    fn give_back(self: &Arc<Self>, state: &mut State) {
        if let Some(mut incoming) = self.incoming() {
            state.windows.close(incoming.window);
            state.windows.give_back(std::mem::take(&mut incoming.extra));
            incoming.window = FIRST_WINDOW;
        }
        state.windows.forget(|(waiting, _)| Arc::ptr_eq(waiting, self));
        state.serve_windows();
    }

    /// The call has ended, as its caller finds it.
    pub(crate) fn ended(&self, ended: Ended, payload: Vec<u8>, wakers: &mut Vec<Waker>) {
        let last = match ended {
            Ended::Returned => Last::Finished,
            Ended::Failed => Last::Failed(payload),
            Ended::Error(error) => Last::Error(error),
        };
        let Some(mut incoming) = self.incoming() else { return };
        let cut = matches!(last, Last::Finished) && !incoming.scan.is_between();
        let last = if cut { Last::Error(Error::with(ErrorKind::Internal, Executed::Yes, "the stream ended within an item")) } else { last };
        incoming.end.get_or_insert(last);
        wakers.extend(incoming.reader.take());
    }

    /// More credit for an item that is longer than its window; true if the other end is to be told.
    fn extend(&self, bytes: usize) -> bool {
        let Some(mut incoming) = self.incoming().filter(|_| !self.is_over()) else { return false };
        incoming.credit += bytes;
        incoming.extra += bytes;
        true
    }

    fn credit_kind(&self) -> u8 {
        if self.role == Role::Caller { kind::REPLY_CREDIT } else { kind::CALL_CREDIT }
    }

    // ---- the reader

    /// Waits until the callee has begun to answer; then only its error is of interest.
    pub(crate) fn poll_opened(&self, cx: &Context<'_>) -> Poll<Option<Last>> {
        // Cloning a waker may be user code.
        let waker = cx.waker().clone();
        let Some(mut incoming) = self.incoming() else { return Poll::Ready(None) };
        if incoming.opened || matches!(incoming.end, Some(Last::Finished)) {
            return Poll::Ready(None);
        }
        if let Some(last) = incoming.end.take() {
            return Poll::Ready(Some(last));
        }
        let replaced = incoming.reader.replace(waker);
        drop(incoming);
        drop(replaced);
        Poll::Pending
    }

    /// Adds what has come to `local`, which holds no complete item.
    pub(crate) fn poll_read(self: &Arc<Self>, link: &Link, id: u32, local: &mut Vec<u8>, cx: &Context<'_>) -> Poll<Arrived> {
        let waker = cx.waker().clone();
        let Some(mut incoming) = self.incoming() else { return Poll::Ready(Arrived::Last(Last::Finished)) };
        if incoming.complete > 0 {
            incoming.complete = 0;
            if local.is_empty() {
                std::mem::swap(local, &mut incoming.bytes);
            } else {
                local.append(&mut incoming.bytes);
            }
            return Poll::Ready(Arrived::Items);
        }
        if let Some(last) = incoming.end.take() {
            incoming.end = Some(Last::Finished);
            return Poll::Ready(Arrived::Last(last));
        }
        let replaced = incoming.reader.replace(waker);
        let missing = incoming.scan.left.saturating_sub(incoming.credit);
        let asks = missing > 0 && !incoming.asked;
        incoming.asked |= asks;
        drop(incoming);
        drop(replaced);
        if asks {
            link.extend_window(self, id, missing);
        }
        Poll::Pending
    }

    /// An item was taken: the credit beyond the window that it had, which goes back to the connection.
    pub(crate) fn taken(&self) -> usize {
        let Some(mut incoming) = self.incoming() else { return 0 };
        incoming.asked = false;
        std::mem::take(&mut incoming.extra)
    }

    /// What has come and was not taken is not wanted. True if more could come.
    pub(crate) fn deafen(&self) -> bool {
        let Some(mut incoming) = self.incoming() else { return false };
        incoming.deaf = true;
        incoming.complete = 0;
        let open = incoming.end.is_none();
        let (bytes, reader) = (std::mem::take(&mut incoming.bytes), incoming.reader.take());
        drop(incoming);
        drop((bytes, reader));
        open
    }

    /// What comes is not kept.
    pub(crate) fn is_deaf(&self) -> bool {
        self.incoming().is_some_and(|incoming| incoming.deaf)
    }

    // ---- the sender

    /// The first window, which needs no credit.
    pub(crate) fn open(&self) {
        if let Some(mut flow) = self.flow() {
            // Some may have come before.
            flow.credit = flow.credit.saturating_add(FIRST_WINDOW);
            flow.begun = true;
        }
    }

    /// How many of these bytes may be sent now; none once nobody wants them.
    pub(crate) fn poll_credit(&self, bytes: usize, cx: &Context<'_>) -> Poll<Option<usize>> {
        let waker = cx.waker().clone();
        let Some(mut flow) = self.flow() else { return Poll::Ready(None) };
        if flow.stopped {
            return Poll::Ready(None);
        }
        if flow.credit > 0 {
            let taken = bytes.min(flow.credit);
            flow.credit -= taken;
            return Poll::Ready(Some(taken));
        }
        let replaced = flow.sender.replace(waker);
        drop(flow);
        drop(replaced);
        Poll::Pending
    }

    /// Waits until the arguments have left, or nobody wants what this end sends. Chunks are overtaken by other frames: the end
    /// of a stream without items would come before its call.
    pub(crate) fn poll_begun(&self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let Some(mut flow) = self.flow() else { return Poll::Ready(()) };
        if flow.begun || flow.stopped {
            return Poll::Ready(());
        }
        let replaced = flow.sender.replace(waker);
        drop(flow);
        drop(replaced);
        Poll::Pending
    }

    /// Waits until nobody wants what this end sends.
    pub(crate) fn poll_stopped(&self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let Some(mut flow) = self.flow() else { return Poll::Ready(()) };
        if flow.stopped {
            return Poll::Ready(());
        }
        let replaced = flow.sender.replace(waker);
        drop(flow);
        drop(replaced);
        Poll::Pending
    }
}

/// The call is over: nothing can be sent for it.
#[derive(Debug)]
pub(crate) struct Over;

impl State {
    /// Gives those who wait for a long item's room what there is now.
    pub(crate) fn serve_windows(&mut self) {
        while let Some(((streams, id), bytes)) = self.windows.next() {
            if streams.extend(bytes) {
                let kind = streams.credit_kind();
                self.outbound.frames(|out| Frame::new(out, kind).number(u64::from(id)).number(bytes as u64).end(0));
            } else {
                self.windows.give_back(bytes);
            }
        }
    }
}

impl Link {
    /// Bytes of a stream, for which there is credit. Waits while too much stands before them.
    pub(crate) fn poll_send_items(&self, streams: &Streams, id: u32, bytes: &[u8], cx: &Context<'_>) -> Poll<Result<(), Over>> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if state.is_lost() || streams.is_over() {
            return Poll::Ready(Err(Over));
        }
        if !state.has_room() {
            state.wait_for_room(waker);
            let driver = self.rouse(&state);
            drop(state);
            driver.inspect(Waker::wake_by_ref);
            return Poll::Pending;
        }
        let kind = if streams.role == Role::Caller { kind::CALL_ITEMS } else { kind::REPLY_ITEMS };
        state.outbound.frames(|out| Frame::new(out, kind).number(u64::from(id)).rest(bytes).end(0));
        let driver = self.rouse(&state);
        drop(state);
        driver.inspect(Waker::wake_by_ref);
        Poll::Ready(Ok(()))
    }

    /// The longest item that the other end takes, once it has said so.
    pub(crate) fn poll_max_message(&self, cx: &Context<'_>) -> Poll<usize> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if state.outbound.has_hello() || state.is_lost() {
            return Poll::Ready(state.outbound.max_message());
        }
        state.watch(waker);
        Poll::Pending
    }

    /// The end of what a caller sends.
    pub(crate) fn end_items(&self, streams: &Streams, id: u32) {
        let mut state = self.lock();
        if state.is_lost() || streams.is_over() {
            return;
        }
        state.outbound.frames(|out| Frame::new(out, kind::CALL_END).number(u64::from(id)).byte(0).end(0));
        let driver = self.rouse(&state);
        drop(state);
        driver.inspect(Waker::wake_by_ref);
    }

    /// The reader has taken so many bytes. `keeps_up`: it had to wait for some of them. By how much its window grew.
    pub(crate) fn return_credit(&self, streams: &Streams, id: u32, bytes: usize, extra: usize, keeps_up: bool) -> usize {
        let mut state = self.lock();
        if state.is_lost() {
            return 0;
        }
        let mut more = 0;
        if !streams.is_over()
            && let Some(mut incoming) = streams.incoming()
        {
            if keeps_up {
                more = state.windows.grow(incoming.window);
                incoming.window += more;
            }
            incoming.credit += bytes + more;
            drop(incoming);
            if bytes + more > 0 {
                let kind = streams.credit_kind();
                state.outbound.frames(|out| Frame::new(out, kind).number(u64::from(id)).number((bytes + more) as u64).end(0));
            }
        }
        // The reader has this in hand: a call that ended meanwhile could not give it back.
        if extra > 0 {
            state.windows.give_back(extra);
            state.serve_windows();
        }
        // From here if that is possible: whoever reads one item after the other gives the driver no turn, and the sender waits.
        self.write_now(state);
        more
    }

    fn extend_window(&self, streams: &Arc<Streams>, id: u32, bytes: usize) {
        let mut state = self.lock();
        if state.is_lost() || streams.is_over() {
            return;
        }
        if !state.windows.take(|| (streams.clone(), id), bytes) || !streams.extend(bytes) {
            return;
        }
        let kind = streams.credit_kind();
        state.outbound.frames(|out| Frame::new(out, kind).number(u64::from(id)).number(bytes as u64).end(0));
        let driver = self.rouse(&state);
        drop(state);
        driver.inspect(Waker::wake_by_ref);
    }

    /// The reader has gone. A caller's call is cancelled with it; a callee tells the caller to stop.
    pub(crate) fn leave_stream(&self, streams: &Arc<Streams>, id: u32) {
        let open = streams.deafen();
        if streams.role == Role::Caller {
            return self.cancel_streams(streams, id);
        }
        let mut state = self.lock();
        if state.is_lost() || streams.is_over() {
            return;
        }
        // The call may go on for long.
        streams.give_back(&mut state);
        if open {
            state.outbound.frames(|out| Frame::new(out, kind::CALL_STOP).number(u64::from(id)).end(0));
        }
        let driver = self.rouse(&state);
        drop(state);
        driver.inspect(Waker::wake_by_ref);
    }

    /// The caller of a call with streams has gone.
    pub(crate) fn cancel_streams(&self, streams: &Arc<Streams>, id: u32) {
        let mut state = self.lock();
        if streams.is_over() {
            return;
        }
        let mut wakers = Vec::from_iter(self.rouse(&state));
        streams.close(&mut state, &mut wakers);
        state.forget_streams(id);
        let mut wake = Wake::new();
        state.cancel(id, &mut wake);
        self.wake(state, wakers, wake);
    }

    /// What a caller sends has come to an end that is none: its call ends here and now, as by its deadline, and the callee is told
    /// to stop. Both at once: the callee's answer to the one could come before the other.
    pub(crate) fn abort_items(&self, streams: &Streams, id: u32, error: &Error) {
        let mut state = self.lock();
        if state.is_lost() || streams.is_over() {
            return;
        }
        state.outbound.frames(|out| Frame::new(out, kind::CALL_END).number(u64::from(id)).byte(1).end(0));
        state.outbound.abort(id, error);
        let (mut wake, mut wakers) = (vec![Woken::Slot(id)], Vec::new());
        state.wakers(&mut wake, &mut wakers);
        wakers.extend(self.rouse(&state));
        drop(state);
        wake_all(wakers);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should panic")]
mod tests {
    use std::pin::Pin;

    use futures_core::Stream;

    use super::*;
    use crate::SlowConsumer;
    use crate::connection::batch::Batch;
    use crate::context::Peer;
    use crate::frame::codec::{self, Fields};
    use crate::frame::limits::Limits;
    use crate::frame::payload::Encoding;
    use crate::streaming::{Outlet, Streaming};

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }
    }

    const ID: u32 = 3;
    const LONGEST: usize = 100_000;

    /// One stream that is read here, and what its sender and its reader have done.
    struct Bench {
        link: Arc<Link>,
        streams: Arc<Streams>,
        reader: Option<Streaming<String>>,
        left: (usize, usize, usize),
        /// All items as bytes, and how many of them have arrived.
        sent: Vec<u8>,
        arrived: usize,
        items: Vec<String>,
        /// Where items end in `sent`.
        ends: Vec<usize>,
        read: usize,
        granted: usize,
        /// Bytes arrive that are no items.
        wild: bool,
    }

    impl Bench {
        fn new(random: &mut Random) -> Self {
            // Little room, so that streams meet its end.
            let max_stream_bytes = [0, 20_000, 100_000, 2 << 20][random.below(4)];
            let limits = Limits { max_stream_bytes, max_message: 65_536, max_assembly: 65_536, ..Limits::default() };
            let link = Link::new(Box::new(tokio::io::sink()), Peer::at("test"), Arc::new(limits), Arc::default());
            let role = if random.below(2) == 0 { Role::Caller } else { Role::Callee };
            let streams = Streams::new(role, true, Some(random.below(20_000)));
            let (streams_of, link_of) = (streams.clone(), link.clone());
            let (slow, encoding) = (SlowConsumer::Wait, Encoding::Postcard);
            let outlet = Outlet { streams: streams_of, link: link_of, hold: None, id: ID, slow, encoding, writer: None };
            let mut state = link.lock();
            state.outbound.frames(|_| {});
            state.outbound.take_batch(&mut Batch::default());
            let left = state.windows.left();
            drop(state);
            let (mut sent, mut items, mut ends) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..random.below(12) {
                let long = [10, 200, 2_000, 40_000][random.below(4)];
                let item = ["a", "b", "c"][random.below(3)].repeat(random.below(long));
                let mut bytes = Vec::new();
                codec::write_varint(&mut bytes, item.len() as u64);
                codec::write_varint(&mut sent, (bytes.len() + item.len()) as u64);
                sent.extend_from_slice(&bytes);
                sent.extend_from_slice(item.as_bytes());
                items.push(item);
                ends.push(sent.len());
            }
            let reader = Some(Streaming::over(outlet, "test".to_owned()));
            let wild = random.below(8) == 0;
            Self { link, streams, reader, left, sent, arrived: 0, items, ends, read: 0, granted: 0, wild }
        }

        /// Bytes arrive: the next ones, as far as there is credit; rarely more, or anything.
        fn arrive(&mut self, random: &mut Random) -> Result<(), Violation> {
            let credit = FIRST_WINDOW + self.granted - self.arrived;
            // What is no items has no end.
            let rest = self.sent.get(self.arrived..).unwrap_or_default();
            let mut length = (1 + random.below(20_000)).min(credit).min(rest.len());
            let mut bytes = rest[..length].to_vec();
            if self.wild && random.below(4) == 0 {
                bytes = (0..random.below(40)).map(|_| [0, 1, 0x7f, 0x80, 0xff, random.below(256)][random.below(6)] as u8).collect();
            } else if random.below(200) == 0 {
                bytes.resize(credit + 1, 0);
            }
            length = bytes.len();
            let result = self.streams.arrive(&bytes, LONGEST, &mut Vec::new());
            assert!(length <= credit || result.is_err(), "{length} bytes came, {credit} were allowed");
            let ended = self.streams.incoming().unwrap().end.is_some();
            assert!(self.wild || length > credit || result.is_ok() || ended, "{result:?}");
            if result.is_ok() {
                self.arrived += length;
            }
            result
        }

        /// The items end. Those of a reply with their call.
        fn end(&mut self, last: Last) -> Result<(), Violation> {
            let mut wakers = Vec::new();
            if self.streams.role == Role::Callee {
                return self.streams.end(last, &mut wakers);
            }
            self.streams.close(&mut self.link.lock(), &mut wakers);
            let ended = match last {
                Last::Error(error) => Ended::Error(error),
                _ => Ended::Returned,
            };
            self.streams.ended(ended, Vec::new(), &mut wakers);
            Ok(())
        }

        /// The reader takes some items.
        fn take(&mut self, random: &mut Random) {
            let Some(reader) = &mut self.reader else { return };
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..=random.below(6) {
                match Pin::new(&mut *reader).poll_next(&mut cx) {
                    Poll::Pending => break,
                    Poll::Ready(Some(Ok(item))) if !self.wild => {
                        assert!(item == self.items[self.read], "item {} is another", self.read);
                        self.read += 1;
                    }
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => break,
                }
            }
        }

        /// What has been given to the sender, as it is told.
        fn collect(&mut self) {
            let mut batch = Batch::default();
            let mut state = self.link.lock();
            state.outbound.take_batch(&mut batch);
            drop(state);
            let mut rest = &batch.frames[..];
            while let Some(header) = codec::read_header(rest).unwrap() {
                let (body, after) = rest[codec::HEADER..].split_at(header.length);
                if header.kind == self.streams.credit_kind() {
                    let mut fields = Fields::new(body, "credit");
                    assert_eq!(fields.small().unwrap(), ID);
                    self.granted += fields.number().unwrap() as usize;
                }
                rest = after;
            }
        }

        fn check(&self) {
            let (held, credit, allowed, ended) = {
                let incoming = self.streams.incoming().unwrap();
                (incoming.bytes.len(), incoming.credit, incoming.window + incoming.extra, incoming.end.is_some())
            };
            assert_eq!(credit, FIRST_WINDOW + self.granted - self.arrived, "both ends count alike");
            assert!(held <= FIRST_WINDOW + self.granted);
            let taken = self.ends.get(self.read.wrapping_sub(1)).copied().unwrap_or(0);
            if !self.wild {
                assert!(held <= self.arrived - taken, "nothing is held twice");
                assert!(ended || self.reader.is_none() || FIRST_WINDOW + self.granted - taken <= allowed, "no more than the window is under way");
            }
        }
    }

    /// Conformance 17, 40, 41: frames of a stream in any order and of any content, beside a reader that takes, waits or leaves:
    /// never a panic, no more than there was credit for, every item as it was sent, and in the end nothing is missing.
    #[test]
    fn no_frames_make_a_stream_panic_or_hold_more_than_its_credit() {
        let mut random = Random(0x5eed);
        let (mut frames, mut refused, mut items, mut whole) = (0u32, 0u32, 0usize, 0u32);
        while frames < 2_000_000 {
            let mut bench = Bench::new(&mut random);
            let (mut ended, mut over) = (false, false);
            let mut wakers = Vec::new();
            for _ in 0..10 + random.below(60) {
                frames += 1;
                let result = match random.below(40) {
                    0 if random.below(4) == 0 => {
                        over = bench.streams.role == Role::Caller;
                        bench.end(Last::Error(Error::new(ErrorKind::Cancelled, "")))
                    }
                    // Where it may, and sometimes where it may not.
                    1 if bench.arrived == bench.sent.len() || random.below(40) == 0 => {
                        let between = bench.ends.contains(&bench.arrived) || bench.arrived == 0;
                        let result = bench.end(Last::Finished);
                        over = bench.streams.role == Role::Caller;
                        assert!(bench.wild || result.is_err() || between || over, "an end within an item");
                        ended |= result.is_ok() && between;
                        result
                    }
                    2 => bench.streams.credit([0, 1, 1 << 20, u64::MAX][random.below(4)], &mut wakers),
                    3 if random.below(20) == 0 => {
                        bench.streams.stop(&mut wakers);
                        Ok(())
                    }
                    4 if random.below(20) == 0 && bench.streams.role == Role::Callee => {
                        bench.reader = None;
                        Ok(())
                    }
                    5 if random.below(20) == 0 => {
                        over = true;
                        Ok(())
                    }
                    6..20 => bench.arrive(&mut random),
                    20 => {
                        let polled = bench.streams.poll_credit(1 + random.below(70_000), &Context::from_waker(Waker::noop()));
                        assert!(!matches!(polled, Poll::Ready(Some(0))));
                        Ok(())
                    }
                    _ => {
                        bench.take(&mut random);
                        Ok(())
                    }
                };
                if result.is_err() || over {
                    refused += u32::from(result.is_err());
                    break;
                }
                bench.collect();
                bench.check();
            }
            if ended && !bench.wild && bench.reader.is_some() {
                // All of what came before the end can be read, and then the end.
                for _ in 0..100 {
                    bench.take(&mut random);
                }
                assert_eq!(bench.ends.get(bench.read.wrapping_sub(1)).copied().unwrap_or(0), bench.arrived);
                whole += 1;
            }
            items += bench.read;
            bench.streams.close(&mut bench.link.lock(), &mut wakers);
            assert_eq!(bench.link.lock().windows.left(), bench.left, "credit is missing");
            // The reader may live on.
            bench.take(&mut random);
            drop(bench.reader.take());
            assert_eq!(bench.link.lock().windows.left(), bench.left);
        }
        let report = format!("{{\"suite\":\"streams\",\"frames\":{frames},\"refused\":{refused},\"items\":{items},\"read_to_the_end\":{whole}}}\n");
        std::io::Write::write_all(&mut std::io::stderr(), report.as_bytes()).unwrap();
        assert!(refused > 100 && items > 10_000 && whole > 100, "some of each, or the inputs are no good");
    }
    /// Conformance 17: a reader that takes a long item at the moment its call ends gives back what the item had beyond the window.
    #[test]
    fn a_long_item_that_is_taken_while_its_call_ends_gives_its_room_back() {
        let link = Link::new(Box::new(tokio::io::sink()), Peer::at("test"), Arc::default(), Arc::default());
        let left = link.lock().windows.left();
        let streams = Streams::new(Role::Caller, true, None);
        let mut item = Vec::new();
        codec::write_varint(&mut item, 1 << 20);
        streams.arrive(&item, 4 << 20, &mut Vec::new()).unwrap();
        let mut local = Vec::new();
        let cx = Context::from_waker(Waker::noop());
        assert!(streams.poll_read(&link, ID, &mut local, &cx).is_pending());
        assert_ne!(link.lock().windows.left(), left, "the item has room beyond its window");
        item.resize(item.len() + (1 << 20), 0);
        streams.arrive(&item[3..], 4 << 20, &mut Vec::new()).unwrap();
        assert!(matches!(streams.poll_read(&link, ID, &mut local, &cx), Poll::Ready(Arrived::Items)));
        // The two steps of a reader, with the driver between them.
        let extra = streams.taken();
        streams.close(&mut link.lock(), &mut Vec::new());
        link.return_credit(&streams, ID, item.len() - extra, extra, true);
        assert_eq!(link.lock().windows.left(), left, "room for long items is missing");
    }
}
