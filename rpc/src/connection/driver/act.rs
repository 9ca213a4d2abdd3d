//! What the frames of one read do: calls go to the dispatcher, replies to their callers, items to their streams. The driver's own
//! frames are answered here. Part of `driver.rs`, which has read them.

use std::sync::MutexGuard;
use std::task::Waker;

use tokio::time::Instant;

use super::{Driver, PINGS, Scratch, Side};
use crate::ErrorKind;
use crate::connection::batch::Batch;
use crate::connection::ending::{End, code};
use crate::connection::inbound::{Event, Payload, Quick, Schema};
use crate::connection::link::{Link, State};
use crate::connection::outbound::Wake;
use crate::frame::codec::{Frame, kind};
use crate::frame::violation::Violation;
use crate::server::dispatch::LARGE;

impl Driver {
    /// Acts on every complete frame; the number of bytes used. What most traffic is made of stands in this loop, and nothing else: with the
    /// rest in it the compiler would make ready for all of it, each time.
    pub(super) fn act(&mut self, link: &Link, bytes: &[u8], now: Instant, scratch: &mut Scratch) -> Result<usize, End> {
        let mut at = 0;
        // Held over a run of replies; never while user code may run.
        let mut guard: Option<MutexGuard<'_, State>> = None;
        let blocked = self.blocked_since.is_some();
        loop {
            match self.inbound.quick(bytes, &mut at) {
                Some(Quick::Reply { id, failed, payload }) => {
                    let state = guard.get_or_insert_with(|| link.lock());
                    let payload = Payload::Borrowed(payload);
                    let came = state.on_reply(id, failed, payload, &mut scratch.wake, &mut scratch.wakers).map_err(End::Violation)?;
                    self.gather.ended += usize::from(came);
                }
                Some(Quick::Call { id, number, payload }) => {
                    let_go(link, &mut guard, scratch.wakers.len());
                    self.dispatcher.begin_batch(now);
                    self.dispatcher.plain_call(id, number, payload, now, &mut self.inbound, &mut scratch.batch.frames, blocked);
                }
                None => {
                    let_go(link, &mut guard, scratch.wakers.len());
                    if !self.act_on_next(link, bytes, &mut at, now, scratch)? {
                        break;
                    }
                    // A message that is put together may be complete without more bytes.
                    continue;
                }
            }
            if at == bytes.len() {
                break;
            }
        }
        if !scratch.wake.is_empty() {
            self.gather.ended += scratch.wake.len();
            guard.get_or_insert_with(|| link.lock()).wakers(&mut scratch.wake, &mut scratch.wakers);
        }
        let_go(link, &mut guard, scratch.wakers.len());
        // Between the chunks of a large message there is a ping after each: the answer can wait for what has arrived behind it.
        if self.pings >= PINGS || !self.inbound.is_assembling() {
            self.answer_ping(&mut scratch.batch);
        }
        self.dispatcher.end_batch();
        Ok(at)
    }

    /// Acts on the next frame, whichever it is. False: it is not complete, though part of it may have been used.
    #[inline(never)]
    fn act_on_next(&mut self, link: &Link, bytes: &[u8], at: &mut usize, now: Instant, scratch: &mut Scratch) -> Result<bool, End> {
        let Scratch { batch, wake, wakers, .. } = scratch;
        let blocked = self.blocked_since.is_some();
        let Some(event) = self.inbound.next(bytes, at).map_err(End::Violation)? else { return Ok(false) };
        link.set_awake();
        match event {
            Event::Reply { id, failed, payload } => {
                // Its caller will decode it.
                self.heavy |= matches!(&payload, Payload::Owned(bytes) if bytes.len() > LARGE);
                let came = link.lock().on_reply(id, failed, payload, wake, wakers).map_err(End::Violation)?;
                self.gather.ended += usize::from(came);
            }
            Event::Call(call) => {
                self.dispatcher.begin_batch(now);
                self.dispatcher.call(call, now, &mut self.inbound, &mut batch.frames, blocked);
            }
            // These may wake handlers or look services up: not under the lock.
            Event::Bind(bind) => {
                self.dispatcher.bind(&bind, now, &mut batch.frames).map_err(End::Violation)?;
            }
            Event::Schema(schema) if schema.callers => {
                self.dispatcher.begin_batch(now);
                self.dispatcher.schema(&schema, now, &mut self.inbound, &mut batch.frames, blocked).map_err(End::Violation)?;
            }
            Event::Schema(Schema { first, bytes, .. }) => {
                link.on_schema(first, bytes.bytes(), wake, wakers).map_err(End::Violation)?;
            }
            Event::Cancel(id) => {
                self.dispatcher.cancel(id, &mut self.inbound, &mut batch.frames);
            }
            Event::Items { of_call: true, id, bytes } => {
                self.dispatcher.items(id, bytes, wakers).map_err(End::Violation)?;
            }
            Event::Items { of_call: false, id, bytes } => {
                let state = link.lock();
                let wanted = state.outbound.on_items(id).map_err(End::Violation)?;
                match state.streams(id) {
                    Some(streams) => streams.arrive(bytes, link.limits.allowance().max_message, wakers).map_err(End::Violation)?,
                    None if wanted => return Err(End::Violation(Violation::Unexpected("items"))),
                    None => {}
                }
            }
            Event::CallBegins { id, number } => self.dispatcher.begins(id, number),
            Event::TooLarge { id, number, length } => {
                let error = self.dispatcher.too_large(number, length);
                self.dispatcher.refuse(Some(id), &error, &mut self.inbound, &mut batch.frames);
            }
            event => {
                let mut state = link.lock();
                if let Some(end) = self.on_rare(event, &mut state, batch, wake, wakers)? {
                    return Err(end);
                }
            }
        }
        Ok(true)
    }

    /// Says again what the last ping said; true if there was one.
    #[inline]
    pub(super) fn answer_ping(&mut self, batch: &mut Batch) -> bool {
        self.pings > 0 && self.write_pong(batch)
    }

    #[cold]
    fn write_pong(&mut self, batch: &mut Batch) -> bool {
        self.pings = 0;
        let Some((echo, length)) = self.pong.take() else { return false };
        Frame::new(&mut batch.frames, kind::PONG).rest(&echo[..usize::from(length)]).end(0);
        true
    }

    /// The frames that the connection itself answers.
    fn on_rare(
        &mut self,
        event: Event<'_>,
        state: &mut State,
        batch: &mut Batch,
        wake: &mut Wake,
        wakers: &mut Vec<Waker>,
    ) -> Result<Option<End>, End> {
        match event {
            Event::Hello(allowance) => {
                self.handshake_by = None;
                state.outbound.on_hello(allowance, wake);
                state.greeted(wakers);
                self.dispatcher.on_hello(&allowance);
                if self.side == Side::Accepting {
                    // Ours stands first on the wire, before any answer.
                    state.outbound.only_hello = false;
                    self.has_more = state.outbound.take_batch(batch);
                }
            }
            // It has dispatched nothing (protocol 2.4).
            Event::Refused { lowest, highest } => return Ok(Some(End::Violation(Violation::Version { lowest, highest }))),
            Event::ReplyBegins(id) => state.outbound.on_reply_begins(id).map_err(End::Violation)?,
            Event::Bound { first, statuses } => state.outbound.on_bound(first, statuses, wake).map_err(End::Violation)?,
            Event::Error(failed) => state.outbound.on_error(&failed, wake).map_err(End::Violation)?,
            Event::End { id, aborted } => self.dispatcher.items_end(id, aborted, wakers).map_err(End::Violation)?,
            // What is late finds its call over, and means nothing (protocol 7.6).
            Event::Credit { of_call: true, id, bytes } => {
                if let Some(streams) = state.streams(id) {
                    streams.credit(bytes, wakers).map_err(End::Violation)?;
                }
            }
            Event::Credit { of_call: false, id, bytes } => self.dispatcher.credit(id, bytes, wakers).map_err(End::Violation)?,
            Event::Stop(id) => {
                if let Some(streams) = state.streams(id) {
                    streams.stop(wakers);
                }
            }
            // Protocol 6.5: one answer stands for all that came together.
            Event::Ping(echo) => {
                let mut bytes = [0; 8];
                bytes[..echo.len()].copy_from_slice(echo);
                self.pong = Some((bytes, echo.len() as u8));
                self.pings += 1;
            }
            Event::Pong(echo) => state.outbound.on_pong(echo, Instant::now),
            Event::GoAway { code, accepted, message } => {
                if self.side == Side::Connecting || code != code::GOODBYE {
                    state.outbound.on_go_away(accepted, wake);
                }
                // It goes to the log and into errors.
                let message: String = message.chars().filter(|char| !char.is_control()).take(1000).collect();
                state.outbound.unwelcome = (code == code::OVERLOADED).then(|| Box::new((ErrorKind::Overloaded, message.clone())));
                self.told = Some(Box::new((code, message)));
            }
            // Acted on where they are read.
            Event::Call(_)
            | Event::Reply { .. }
            | Event::Bind(_)
            | Event::Schema(_)
            | Event::Cancel(_)
            | Event::CallBegins { .. }
            | Event::TooLarge { .. }
            | Event::Items { .. } => {}
        }
        Ok(None)
    }
}

/// Replies were handed over under this lock. For a lone one the driver need not count as awake: its caller may write from its own task.
/// Several callers are to leave what they call next to the driver, and it has to look at what a reply has queued or let go of.
#[inline]
fn let_go(link: &Link, guard: &mut Option<MutexGuard<'_, State>>, wakers: usize) {
    if let Some(state) = guard.take()
        && (wakers > 1 || state.outbound.in_flight() > 0 || !state.outbound.is_idle() || state.outbound.has_unsent())
    {
        link.note_awake(&state);
    }
}
