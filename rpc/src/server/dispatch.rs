//! From an incoming call to its reply: number to handler, deadline, refusals, the panic boundary.
//!
//! A handler is polled once where it stands. Most are ready: the reply goes straight into the batch that the driver will
//! write. One that is not moves into a task of its own (`runner.rs`). Owned by `connection/driver.rs`; what a handler
//! sees is `handler.rs`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::bound::{Bound, Plain, Served};
use super::handler::{Polled, Port, Request, drop_quietly};
use super::reply::{end_reply, log_notification, panicked};
use super::runner::{Finished, Gate, Job, Opening, Place, Runner, Sealed};
use super::served_streams::ServedStreams;
use super::slow::Slow;
use super::{Core, hook};
use crate::connection::inbound::{Bind, Call, Head, Inbound, Payload, Schema};
use crate::connection::link::Link;
use crate::connection::outbound::{Backlog, deadline_exceeded, write_error};
use crate::connection::streams::Last;
use crate::context::{Context, Metadata, Ticket};
use crate::frame::codec::{self, Ways};
use crate::frame::limits::{Allowance, BEFORE_HELLO, DEFAULT_TIMEOUT, IN_PLACE};
use crate::frame::payload::{Budget, Encoding, Outcome, Rope};
use crate::frame::violation::Violation;
use crate::log::log_limited;
use crate::service::{Handler, Method};
use crate::streaming::Outlet;
use crate::{Error, ErrorKind, Executed};

/// Bytes of replies that wait to leave, but for large ones; beyond it calls are read but not dispatched.
pub(crate) const BACKLOG: usize = 1 << 20;

/// Handlers of a method, runners and tickets that are kept for the next call in any case. Under load as many are kept as
/// were needed at once within the last [`SPARE_FOR`].
const SPARE: usize = 4;
const SPARE_FOR: Duration = Duration::from_secs(1);

/// What a waiting notification costs beside its payload and metadata.
const NOTIFICATION: usize = 256;

/// A handler that computes for less than this is done sooner where it stands.
const WORTH_A_TASK: Duration = Duration::from_micros(20);

/// What is left of a batch's time when its handlers have not taken long.
const LEFT_AT_LEAST: Duration = DEFAULT_TIMEOUT.saturating_sub(IN_PLACE);

/// Arguments above this are decoded in a task of their own: that takes longer than to begin one.
pub(crate) const LARGE: usize = 256 << 10;

/// How often the clock is read within one batch.
const CLOCK_EVERY: u32 = 16;

/// A call that runs in a task of its own.
struct Running {
    ticket: Arc<Ticket>,
    deadline: Option<Instant>,
}

/// A call that may run.
struct Admitted {
    method: &'static Method,
    place: Place,
    deadline: Option<Instant>,
    /// The server has no room for another task.
    full: bool,
    gate: Option<Gate>,
    sealed: Sealed,
    size: usize,
}

/// A call that needs a task of its own.
struct Start {
    id: Option<u32>,
    method: &'static Method,
    place: Place,
    handler: Handler,
    request: Opening,
    gate: Option<Gate>,
    deadline: Option<Instant>,
    /// What a notification counts for while it runs.
    size: usize,
}

/// A call that waits until replies can leave.
struct Parked {
    id: Option<u32>,
    number: u32,
    deadline: Option<Duration>,
    metadata: Vec<u8>,
    json: Option<Ways>,
    payload: Vec<u8>,
    since: Instant,
    /// Its caller has gone.
    cancelled: bool,
}

impl Parked {
    fn size(&self) -> usize {
        self.payload.len() + self.metadata.len() + size_of::<Self>()
    }
}

/// A call that waits until it is known what becomes of its method (protocol 9.4).
struct Held {
    call: Parked,
    /// Its deadline.
    until: Option<Instant>,
}

/// Dispatches the calls of one connection.
pub(crate) struct Dispatcher {
    core: Option<Arc<Core>>,
    link: Arc<Link>,
    bound: Bound,
    running: Vec<Option<Running>>,
    /// Notifications that run in tasks of their own.
    notifications: Vec<(Running, usize)>,
    notified_bytes: usize,
    live: u32,
    /// The most that were live since spares were last given up, and when they will be again.
    peak: u32,
    shrink_at: Option<Instant>,
    runners: Vec<Arc<Runner>>,
    /// Of the call that is polled where it stands.
    ticket: Arc<Ticket>,
    /// Tickets of calls that ended in tasks of their own.
    tickets: Vec<Arc<Ticket>>,
    /// What waits to leave: what the driver saw last, and large replies since.
    pub(crate) queued: Backlog,
    parked: VecDeque<Parked>,
    parked_bytes: usize,
    held: Vec<Held>,
    /// How many notifications and how many calls that are, and their bytes.
    held_sums: [(usize, usize); 2],
    /// The peer exchanges schemas.
    exchanges: bool,
    streams: ServedStreams,
    /// The earliest deadline of a running call, or earlier.
    next_expiry: Option<Instant>,
    /// How long a reply the peer takes.
    limit: usize,
    /// Handlers of the last batch computed for too long.
    crowded: bool,
    /// A task was woken that may compute for long.
    heavy: bool,
    slow: Slow,
    in_batch: u32,
    /// The method of the last of them.
    only: Option<Place>,
    /// When its calls expire that neither say so themselves nor by their methods: so long after it began. None between batches.
    batch_until: Option<Instant>,
    /// Nothing stands between its plain calls and their handlers: no hook, no end of the server in sight, nobody who computes for long.
    calm: bool,
    pub(crate) draining: bool,
}

impl Dispatcher {
    pub(crate) fn new(core: Option<Arc<Core>>, link: Arc<Link>) -> Self {
        Self {
            core,
            link,
            bound: Bound::default(),
            running: Vec::new(),
            notifications: Vec::new(),
            notified_bytes: 0,
            queued: Backlog::default(),
            live: 0,
            peak: 0,
            shrink_at: None,
            runners: Vec::new(),
            ticket: Arc::default(),
            tickets: Vec::new(),
            parked: VecDeque::new(),
            parked_bytes: 0,
            held: Vec::new(),
            held_sums: Default::default(),
            exchanges: false,
            streams: ServedStreams::default(),
            next_expiry: None,
            limit: BEFORE_HELLO.max_message,
            crowded: false,
            heavy: false,
            slow: Slow::default(),
            in_batch: 0,
            only: None,
            batch_until: None,
            calm: false,
            draining: false,
        }
    }

    /// What the peer allows, and what it knows.
    pub(crate) fn on_hello(&mut self, peer: &Allowance) {
        (self.limit, self.exchanges) = (peer.max_message, peer.schemas);
    }

    /// No call is being served or waits for it.
    pub(crate) fn is_idle(&self) -> bool {
        self.live == 0 && self.parked.is_empty() && self.held.is_empty()
    }

    /// Some call runs in a task of its own, or has ended there since [`finished`](Self::finished).
    pub(crate) fn has_tasks(&self) -> bool {
        self.live > 0
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// When to call [`shrink`](Self::shrink).
    pub(crate) fn shrink_at(&self) -> Option<Instant> {
        self.shrink_at
    }

    /// So many handlers of a method, runners and tickets wait at most.
    #[inline]
    fn spares(&self) -> usize {
        SPARE.max(self.peak as usize)
    }

    /// Gives up what a past load needed and the present one does not.
    pub(crate) fn shrink(&mut self, now: Instant) {
        let keep = self.spares();
        for runner in self.runners.drain(keep.min(self.runners.len())..) {
            runner.close();
        }
        self.tickets.truncate(keep);
        let used = self.running.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.running.truncate(used);
        self.running.shrink_to(keep);
        self.bound.shrink(keep);
        self.peak = self.live;
        self.shrink_at = (keep > SPARE).then(|| now + SPARE_FOR);
    }

    pub(crate) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Resolves a bind, and answers it or asks for the peer's schema.
    pub(crate) fn bind(&mut self, bind: &Bind<'_>, now: Instant, out: &mut Vec<u8>) -> Result<(), Violation> {
        let registry = self.core.as_deref().map(|core| &*core.registry);
        self.bound.bind(bind, registry, self.link.peer.address(), self.exchanges, now, out)
    }

    // ---- schemas

    /// The peer's schema of a service that it has bound. Calls that waited for it run, or are refused.
    pub(crate) fn schema(
        &mut self,
        schema: &Schema<'_>,
        now: Instant,
        inbound: &mut Inbound,
        out: &mut Vec<u8>,
        blocked: bool,
    ) -> Result<(), Violation> {
        let core = self.core.as_ref().ok_or(Violation::Unexpected("schema"))?;
        self.bound.schema(schema, &core.schemas, self.link.peer.address(), now, out)?;
        for held in std::mem::take(&mut self.held) {
            if self.bound.is_pending(held.call.number) {
                self.held.push(held);
            } else if blocked || self.is_full(out.len()) || !self.parked.is_empty() {
                self.parked_bytes += held.call.size();
                self.parked.push_back(held.call);
            } else {
                self.resume(held.call, now, inbound, out);
            }
        }
        self.sum_held();
        Ok(())
    }

    /// After some have gone.
    fn sum_held(&mut self) {
        self.held_sums = Default::default();
        for held in &self.held {
            let (count, bytes) = &mut self.held_sums[usize::from(held.call.id.is_some())];
            (*count, *bytes) = (*count + 1, *bytes + held.call.payload.len() + held.call.metadata.len());
        }
    }

    /// Some service's schemas are being exchanged.
    pub(crate) fn is_exchanging(&self) -> bool {
        self.bound.is_exchanging()
    }

    /// When the peer must have sent the schema that it owes.
    pub(crate) fn schema_by(&self) -> Option<Instant> {
        self.bound.asked_since()?.checked_add(self.core.as_ref()?.limits.handshake_timeout)
    }

    /// Keeps a call until the peer's schema is there. Of calls a peer may send no more than before a hello.
    #[cold]
    fn hold(&mut self, call: Call<'_>, received: Instant, inbound: &mut Inbound, out: &mut Vec<u8>) {
        let (contract, method, place) = match self.bound.resolve(call.number) {
            Ok(Served { contract, method, place, .. }) => (contract, method, place),
            Err(error) => return self.refuse(call.id, &error, inbound, out),
        };
        let (id, size) = (call.id, call.payload.bytes().len() + call.parts.metadata.bytes().len());
        // Not by looking at each: small notifications may be thousands.
        let (count, bytes) = self.held_sums[usize::from(id.is_some())];
        let (count, bytes) = (count + 1, bytes + size);
        let has_room = match id {
            Some(_) => count <= BEFORE_HELLO.in_flight && bytes <= BEFORE_HELLO.call_bytes,
            // As those that wait because replies cannot leave.
            None => bytes + count * size_of::<Held>() <= BACKLOG,
        };
        if !has_room {
            let name = contract.full_name(place.method as usize);
            let text = format!("{name}: too many calls before the schemas were exchanged (protocol 9.4)");
            return self.refuse(id, &Error::overloaded(text, Duration::from_millis(100)), inbound, out);
        }
        let until = deadline(call.parts.deadline, method, received);
        if let Some(until) = until
            && self.next_expiry.is_none_or(|next| until < next)
        {
            self.next_expiry = Some(until);
        }
        let call = self.keep(call, received, out);
        self.held_sums[usize::from(id.is_some())] = (count, bytes);
        self.held.push(Held { call, until });
    }

    // ---- calls

    /// Too much waits to leave for another call to be dispatched. One message of the largest size holds nobody up.
    pub(crate) fn is_full(&self, batch: usize) -> bool {
        self.queued.frames + batch > BACKLOG || self.queued.large > self.link.limits.max_message
    }

    /// The driver is about to hand over the calls of one read, which came now. Does nothing within a batch.
    #[inline]
    pub(crate) fn begin_batch(&mut self, now: Instant) {
        if self.batch_until.is_none() {
            self.batch_until = now.checked_add(DEFAULT_TIMEOUT);
            let has_hook = self.core.as_ref().is_some_and(|core| core.hook.is_some());
            self.calm = !has_hook && !self.draining && !self.crowded && self.slow.is_quiet(now);
            self.in_batch = 0;
        }
    }

    /// All calls of one read were handed over: notes whether they computed for too long. Does nothing between batches.
    #[inline]
    pub(crate) fn end_batch(&mut self) {
        if self.batch_until.is_some() {
            self.crowded = self.in_batch > 0 && self.computes();
            self.batch_until = None;
        }
    }

    fn batch_began(&self) -> Option<Instant> {
        self.batch_until?.checked_sub(DEFAULT_TIMEOUT)
    }

    /// Handlers of this batch took long, and each of them long enough that a task of its own is the smaller cost.
    fn computes(&mut self) -> bool {
        let Some(until) = self.batch_until else { return false };
        let now = Instant::now();
        if now + LEFT_AT_LEAST <= until {
            return false;
        }
        let took = (now + DEFAULT_TIMEOUT).saturating_duration_since(until);
        match self.only.filter(|_| self.in_batch == 1) {
            Some(place) => self.slow.took(place, took),
            None => {
                self.slow.watch(now);
                self.calm = false;
            }
        }
        took > WORTH_A_TASK * self.in_batch
    }

    /// Within a batch.
    #[cold]
    fn look_at_clock(&mut self, number: u32) {
        if self.computes() {
            self.calm = false;
            self.crowded = true;
            log_crowded(&self.bound.name(number));
        }
    }

    /// Serves a call, or refuses it, or parks it while replies cannot leave.
    #[inline]
    pub(crate) fn call(&mut self, call: Call<'_>, now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>, blocked: bool) {
        if blocked || self.is_full(out.len()) || !self.parked.is_empty() {
            return self.park(call, now, out);
        }
        self.start(call, now, now, inbound, out);
    }

    /// Serves a call that says no more than it must: as [`call`](Self::call), but it asks first whether there is anything to ask. For a
    /// plain method there seldom is.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "one call's state, in registers and not in memory")]
    pub(crate) fn plain_call(&mut self, id: u32, number: u32, payload: &[u8], now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>, blocked: bool) {
        if !self.calm || blocked || self.is_full(out.len()) || !self.parked.is_empty() || !self.has_room() {
            return self.call(Call::plain(id, number, payload), now, inbound, out, blocked);
        }
        if (self.in_batch + 1).is_multiple_of(CLOCK_EVERY) {
            self.look_at_clock(number);
        }
        let Some(Plain { contract, method, place, handler }) = self.bound.plain(number) else {
            return match self.bound.find_plain(number) {
                true => self.plain_call(id, number, payload, now, inbound, out, blocked),
                false => self.start(Call::plain(id, number, payload), now, now, inbound, out),
            };
        };
        self.in_batch += 1;
        self.only = Some(place);
        let budget = Budget { bytes: self.link.limits.max_decoded, depth: self.link.limits.max_depth };
        let mut port = Port::new();
        let mut request = port.request(method, (contract, place.method));
        request.inner_mut().body.fill(payload, budget);
        let frame = codec::open_reply(out, id);
        let begin = out.len();
        let deadline = if method.timeout.is_none() { self.batch_until } else { deadline(None, method, now) };
        let mut cx = TaskContext::from_waker(Waker::noop());
        match port.poll(handler, Some(request), out, self.limit, deadline.filter(|_| !method.detached), &mut cx) {
            Polled::Ready(outcome) => self.ended_in_place(Some(id), method, frame, begin, outcome, inbound, out),
            polled => {
                let handler = self.bound.take_plain(number);
                let size = payload.len() + NOTIFICATION;
                let start = Start { id: Some(id), method, place, handler, request: Opening::Begun, gate: None, deadline, size };
                if let Err(error) = self.not_ended_in_place(polled, start, frame, out) {
                    self.refuse(Some(id), &error, inbound, out);
                }
            }
        }
    }

    /// The server has room for another task, should a handler need one.
    #[inline]
    fn has_room(&self) -> bool {
        self.core.as_ref().is_some_and(|core| core.handlers.load(Ordering::Relaxed) < core.limits.max_handlers)
    }

    fn park(&mut self, call: Call<'_>, now: Instant, out: &mut Vec<u8>) {
        if call.id.is_none() && self.parked_bytes > BACKLOG {
            log_limited!(warn, "a notification of {} was dropped: it does not read its replies", self.link.peer.address());
            return;
        }
        let parked = self.keep(call, now, out);
        self.parked_bytes += parked.size();
        self.parked.push_back(parked);
    }

    /// A call for later.
    fn keep(&mut self, call: Call<'_>, since: Instant, out: &mut Vec<u8>) -> Parked {
        let owned = |payload: Payload<'_>| match payload {
            Payload::Borrowed(bytes) => bytes.to_vec(),
            Payload::Owned(bytes) => bytes,
        };
        let Call { id, number, parts, payload } = call;
        let assembled = matches!(payload, Payload::Owned(_));
        let payload = owned(payload);
        let metadata = owned(parts.metadata);
        if let Some(id) = id
            && let Ok(Served { method, .. }) = self.bound.resolve(number)
            && method.streams()
            && parts.json.is_none_or(|ways| ways == ways_of(method))
        {
            // Its items may come before its turn. Those of more calls than may stream at all are not kept.
            let streams = self.streams.of(id, method, assembled, out);
            if self.streams.count() > self.link.limits.max_streams {
                streams.deafen();
            }
        }
        Parked { id, number, deadline: parts.deadline, metadata, json: parts.json, payload, since, cancelled: false }
    }

    /// Goes on with a call that was kept.
    fn resume(&mut self, call: Parked, now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>) {
        let parts = Head { deadline: call.deadline, metadata: Payload::Owned(call.metadata), json: call.json };
        let since = call.since;
        let call = Call { id: call.id, number: call.number, parts, payload: Payload::Owned(call.payload) };
        // The time it waited here is part of its deadline.
        self.start(call, since, now, inbound, out);
    }

    fn has_room_for_notification(&self, size: usize) -> bool {
        let limits = &self.link.limits;
        self.notifications.len() < limits.max_in_flight && self.notified_bytes + size <= limits.max_call_bytes
    }

    /// Serves parked calls while replies can leave.
    pub(crate) fn unpark(&mut self, now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>) {
        while !self.is_full(out.len()) {
            let Some(parked) = self.parked.pop_front() else { return };
            self.parked_bytes -= parked.size();
            if parked.cancelled {
                self.refuse(parked.id, &cancelled(), inbound, out);
                continue;
            }
            self.resume(parked, now, inbound, out);
        }
    }

    #[inline]
    fn start(&mut self, call: Call<'_>, received: Instant, now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>) {
        if self.bound.is_exchanging() && self.bound.is_pending(call.number) {
            return self.hold(call, received, inbound, out);
        }
        // It may begin a stream here that goes on in a task of its own.
        self.link.set_awake();
        let id = call.id;
        if let Err(error) = self.try_start(call, received, now, inbound, out) {
            self.refuse(id, &error, inbound, out);
        }
    }

    /// Answers a call that was not dispatched.
    #[cold]
    pub(crate) fn refuse(&mut self, id: Option<u32>, error: &Error, inbound: &mut Inbound, out: &mut Vec<u8>) {
        match id {
            Some(id) => {
                write_error(out, id, error);
                inbound.answered(id);
                self.streams.close(id, &self.link);
            }
            None => log_limited!(warn, "a notification of {} was refused: {error}", self.link.peer.address()),
        }
    }

    /// The error for arguments that are longer than we take.
    pub(crate) fn too_large(&self, number: u32, length: usize) -> Error {
        let name = self.bound.name(number);
        Error::new(
            ErrorKind::TooLarge,
            format!("{name}: arguments of {length} bytes exceed the limit of {} (Limits::max_message)", self.link.limits.max_message),
        )
    }

    /// All that can be said of a call before its handler: which it is, whether it may run, what it brings.
    #[inline(always)]
    fn admit(&self, call: Call<'_>, received: Instant, now: Instant) -> Result<Admitted, Error> {
        let Call { id, number, parts, payload } = call;
        let Served { contract, method, place, by_name, writer } = self.bound.resolve(number)?;
        if self.draining {
            return Err(Error::new(ErrorKind::Draining, format!("{}: the server is shutting down", method.name)));
        }
        let core = self.core.as_deref().expect("a service is bound, so there is a server");
        let deadline = deadline(parts.deadline, method, received);
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(deadline_exceeded(Executed::No));
        }
        let full = core.handlers.load(Ordering::Relaxed) >= core.limits.max_handlers;
        if full && id.is_some() {
            // Before it is polled: who is refused has not run.
            return Err(overloaded(method));
        }
        let metadata_size = parts.metadata.bytes().len();
        let metadata = metadata(parts.metadata.bytes(), self.link.limits.max_metadata, method)?;
        if by_name && parts.json.is_none() {
            // Protocol 4.4: other types read as ours would be wrong values in silence.
            return Err(Error::new(ErrorKind::Malformed, format!("{}: a method that is bound by name takes JSON", method.name)));
        }
        if method.streams() && id.is_none() {
            return Err(Error::new(ErrorKind::Unimplemented, format!("{}: a method with streams takes no notifications", method.name)));
        }
        if let Some(ways) = parts.json {
            if !core.json {
                return Err(Error::new(ErrorKind::Unimplemented, format!("{}: this server takes no JSON", method.name)));
            }
            if ways != ways_of(method) {
                return Err(other_ways(method));
            }
        }
        let gate = match &core.hook {
            Some(hook) => {
                let method = contract.full_name(place.method as usize);
                let metadata = metadata.clone().unwrap_or_default();
                hook::ask(hook.clone(), hook::CallInfo { method, metadata, peer: self.link.peer.clone(), deadline })?
            }
            None => None,
        };
        let budget = Budget { bytes: self.link.limits.max_decoded, depth: self.link.limits.max_depth };
        let mut request = Request::new(method, Some((contract, place.method)));
        let inner = request.inner_mut();
        let size = payload.bytes().len() + metadata_size + NOTIFICATION;
        match payload {
            Payload::Borrowed(bytes) => inner.body.fill(bytes, budget),
            Payload::Owned(bytes) => {
                let encoding = if parts.json.is_some() { Encoding::Json } else { Encoding::Postcard };
                inner.body.own(bytes, encoding, budget);
            }
        }
        if method.context {
            inner.context = Some(Context { deadline, metadata, link: self.link.clone(), ticket: self.ticket.clone() });
        }
        Ok(Admitted { method, place, deadline, full, gate, sealed: Sealed { request, json: parts.json.is_some(), writer: writer.cloned() }, size })
    }

    #[inline]
    fn try_start(&mut self, call: Call<'_>, received: Instant, now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>) -> Result<(), Error> {
        let (id, number) = (call.id, call.number);
        let assembled = matches!(call.payload, Payload::Owned(_));
        let large = assembled && call.payload.bytes().len() > LARGE;
        let Admitted { method, place, deadline, full, gate, mut sealed, size } = self.admit(call, received, now)?;
        // Notifications get no answer, so no caller slows down when tasks run out: better where it stands than not at all.
        let room = !full && (id.is_some() || self.has_room_for_notification(size));
        if let Some(id) = id
            && method.streams()
        {
            let outlet = self.outlet(id, method, assembled, out)?;
            let (encoding, writer) = match sealed.json {
                true => (Encoding::Json, None),
                false => (Encoding::Postcard, sealed.writer.clone()),
            };
            sealed.request.inner_mut().streams = Some(Box::new(Outlet { encoding, writer, ..outlet }));
        }
        if gate.is_some() || method.spawn || method.streams() || (room && (self.crowded || large || self.slow.holds(place))) {
            let request = if gate.is_some() || large { Opening::Sealed(sealed) } else { Opening::Ready(sealed.open(method)?) };
            let handler = self.bound.handler(place);
            self.heavy |= method.spawn || large || self.slow.holds(place);
            return self.spawn(Start { id, method, place, handler, request, gate, deadline, size });
        }
        let request = sealed.open(method)?;
        self.in_batch += 1;
        self.only = Some(place);
        if self.in_batch.is_multiple_of(CLOCK_EVERY) {
            self.look_at_clock(number);
        }
        let mut handler = self.bound.handler(place);
        let frame = codec::open_reply(out, id.unwrap_or(0));
        let payload = out.len();
        let mut cx = TaskContext::from_waker(Waker::noop());
        // What runs on without its caller is not bound by its caller's deadline.
        let inherited = deadline.filter(|_| !method.detached);
        let began = self.slow.is_watching(now).then(Instant::now);
        let polled = Port::new().poll(&mut handler, Some(request), out, self.limit, inherited, &mut cx);
        if let Some(began) = began {
            let now = Instant::now();
            self.slow.took(place, now - began);
        }
        match polled {
            Polled::Ready(outcome) => {
                self.ended_in_place(id, method, frame, payload, outcome, inbound, out);
                self.bound.keep(place, handler, self.spares());
                Ok(())
            }
            polled => {
                let start = Start { id, method, place, handler, request: Opening::Begun, gate: None, deadline, size };
                self.not_ended_in_place(polled, start, frame, out)
            }
        }
    }

    /// Goes on with a call whose handler was not ready at once, or says that it panicked. Its reply began at `frame`.
    #[cold]
    fn not_ended_in_place(&mut self, polled: Polled, start: Start, frame: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        out.truncate(frame);
        let Polled::Panicked(panic) = polled else { return self.spawn(start) };
        drop_quietly(start.handler);
        self.ticket.reuse();
        Err(panicked(start.method, &panic))
    }

    /// Completes the reply of a handler that was ready at once: what stands in `out` from `frame` on.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "one call's state, in registers and not in memory")]
    fn ended_in_place(
        &mut self,
        id: Option<u32>,
        method: &'static Method,
        frame: usize,
        payload: usize,
        outcome: Outcome,
        inbound: &mut Inbound,
        out: &mut Vec<u8>,
    ) {
        match id {
            Some(id) => {
                inbound.answered(id);
                let failed = outcome.is_failed();
                if let Some(large) = end_reply(out, frame, payload, id, outcome, method) {
                    self.large_reply(id, failed, large);
                }
            }
            None => {
                out.truncate(frame);
                log_notification(&outcome, method);
            }
        }
        if method.context {
            self.ticket.reuse();
        }
    }

    #[cold]
    fn large_reply(&mut self, id: u32, failed: bool, reply: Rope) {
        self.queued.large += reply.len();
        self.link.lock_awake().outbound.large_reply(id, failed, reply);
    }

    /// Moves a call into a task of its own. One that has begun is refused no more, even if another connection took the
    /// last place meanwhile; a notification that has begun is dropped, unless it is detached.
    #[cold]
    fn spawn(&mut self, start: Start) -> Result<(), Error> {
        let core = self.core.as_ref().expect("a call is served, so there is a server");
        let begun = matches!(start.request, Opening::Begun) && (start.id.is_some() || start.method.detached);
        let full = core.handlers.fetch_add(1, Ordering::AcqRel) >= core.limits.max_handlers;
        if !begun && (full || (start.id.is_none() && !self.has_room_for_notification(start.size))) {
            core.handler_ended();
            let method = start.method;
            drop_quietly(start);
            self.ticket.reuse();
            return Err(overloaded(method));
        }
        if let Some(deadline) = start.deadline
            && self.next_expiry.is_none_or(|next| deadline < next)
        {
            self.next_expiry = Some(deadline);
        }
        let ticket = std::mem::replace(&mut self.ticket, self.tickets.pop().unwrap_or_default());
        let Start { id, method, place, handler, request, gate, deadline, size } = start;
        let streams = id.and_then(|id| self.streams.get(id).cloned());
        // Calls of a batch that took long are timed here too, or the method at fault would hold up another one to be found.
        let is_timed = self.slow.holds(place) || self.batch_began().is_some_and(|now| self.slow.is_watching(now));
        let took = is_timed.then_some(Duration::ZERO);
        let job = Job { id, method, place, handler, request, gate, streams, ticket: ticket.clone(), deadline, limit: self.limit, took };
        match id {
            Some(id) => {
                let id = id as usize;
                if self.running.len() <= id {
                    self.running.resize_with(id + 1, || None);
                }
                self.running[id] = Some(Running { ticket, deadline });
            }
            None => {
                self.notified_bytes += size;
                self.notifications.push((Running { ticket, deadline }, size));
            }
        }
        self.live += 1;
        self.peak = self.peak.max(self.live);
        if self.live as usize > SPARE && self.shrink_at.is_none() {
            self.shrink_at = Some(self.batch_began().unwrap_or_else(Instant::now) + SPARE_FOR);
        }
        match self.runners.pop() {
            Some(runner) => runner.give(job),
            None => Runner::start(job, self.link.clone(), core.clone()),
        }
        Ok(())
    }

    /// A task was woken that may compute for long, since this was asked last.
    pub(crate) fn take_heavy(&mut self) -> bool {
        std::mem::take(&mut self.heavy)
    }

    /// Takes back what ended in tasks of their own.
    pub(crate) fn finished(&mut self, finished: &mut Vec<Finished>, inbound: &mut Inbound) {
        for Finished { id, place, handler, runner, mut ticket, took } in finished.drain(..) {
            if let Some(took) = took {
                self.slow.took(place, took);
            }
            self.live -= 1;
            match id {
                Some(id) => {
                    inbound.answered(id);
                    self.running[id as usize] = None;
                    self.streams.close(id, &self.link);
                }
                None => {
                    if let Some(found) = self.notifications.iter().position(|(running, _)| Arc::ptr_eq(&running.ticket, &ticket)) {
                        self.notified_bytes -= self.notifications.swap_remove(found).1;
                    }
                }
            }
            if let Some(handler) = handler {
                self.bound.keep(place, handler, self.spares());
            }
            if self.tickets.len() < self.spares() {
                ticket.reuse();
                self.tickets.push(ticket);
            }
            if self.runners.len() < self.spares() {
                self.runners.push(runner);
            } else {
                runner.close();
            }
        }
    }

    // ---- streams

    /// A call in chunks has begun. Its streams begin with it: the end of its items, or credit for the reply's, may come before
    /// its arguments are complete (protocol 7.3).
    pub(crate) fn begins(&mut self, id: u32, number: u32) {
        if let Ok(Served { method, .. }) = self.bound.resolve(number)
            && method.streams()
        {
            self.streams.begin(id, method).hold();
        }
    }

    #[cold]
    fn outlet(&mut self, id: u32, method: &Method, assembled: bool, out: &mut Vec<u8>) -> Result<Outlet, Error> {
        let streams = self.streams.of(id, method, assembled, out);
        let most = self.link.limits.max_streams;
        if self.streams.count() > most || streams.is_deaf() {
            let text = format!("{}: more than {most} calls with streams are open (Limits::max_streams)", method.name);
            return Err(Error::overloaded(text, Duration::from_millis(100)));
        }
        let slow = method.slow_consumer.or(self.core.as_ref().map(|core| core.slow_consumers)).unwrap_or_default();
        Ok(Outlet { streams, link: self.link.clone(), hold: None, id, slow, encoding: Encoding::Postcard, writer: None })
    }

    /// Items of a call; those of one that has been answered met the answer on the wire.
    pub(crate) fn items(&mut self, id: u32, bytes: &[u8], wakers: &mut Vec<Waker>) -> Result<(), Violation> {
        match self.streams.get(id) {
            Some(streams) => streams.arrive(bytes, self.link.limits.allowance().max_message, wakers),
            None => Ok(()),
        }
    }

    /// The end of the caller's items.
    pub(crate) fn items_end(&mut self, id: u32, aborted: bool, wakers: &mut Vec<Waker>) -> Result<(), Violation> {
        let Some(streams) = self.streams.get(id) else { return Ok(()) };
        let last = match aborted {
            false => Last::Finished,
            true => Last::Error(Error::with(ErrorKind::Cancelled, Executed::Maybe, "the caller has aborted its stream")),
        };
        streams.end(last, wakers)
    }

    /// The caller takes more of our items.
    pub(crate) fn credit(&mut self, id: u32, bytes: u64, wakers: &mut Vec<Waker>) -> Result<(), Violation> {
        match self.streams.get(id) {
            Some(streams) => streams.credit(bytes, wakers),
            None => Ok(()),
        }
    }

    // ---- stopping calls

    /// The caller does not wait any more.
    pub(crate) fn cancel(&mut self, id: u32, inbound: &mut Inbound, out: &mut Vec<u8>) {
        if let Some(Some(running)) = self.running.get(id as usize) {
            running.ticket.stop(Ticket::CANCELLED);
            // A detached handler lives on, and must not take what has come for all.
            self.streams.cut(id, Error::with(ErrorKind::Cancelled, Executed::Maybe, "the caller has cancelled the call"));
            return;
        }
        if let Some(parked) = self.parked.iter_mut().find(|parked| parked.id == Some(id)) {
            // Answered in its turn: its id would come back at once, with more to park, while nothing can leave.
            parked.cancelled = true;
            return;
        }
        if let Some(place) = self.held.iter().position(|held| held.call.id == Some(id)) {
            self.held.remove(place);
            self.sum_held();
            self.refuse(Some(id), &cancelled(), inbound, out);
            return;
        }
        if !inbound.abandon(id) {
            // Already answered: the answer and the cancel crossed on the wire (protocol 5.4).
            return;
        }
        self.refuse(Some(id), &cancelled(), inbound, out);
    }

    /// Stops all running calls whose deadline has passed, and finds the next one.
    pub(crate) fn expire(&mut self, now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>) {
        // In one go: notifications may be thousands, and all end at once.
        for held in std::mem::take(&mut self.held) {
            if held.until.is_some_and(|until| until <= now) {
                self.refuse(held.call.id, &deadline_exceeded(Executed::No), inbound, out);
            } else {
                self.held.push(held);
            }
        }
        self.sum_held();
        self.next_expiry = self.held.iter().filter_map(|held| held.until).min();
        for running in self.running.iter().flatten().chain(self.notifications.iter().map(|(running, _)| running)) {
            match running.deadline {
                Some(deadline) if deadline <= now => running.ticket.stop(Ticket::EXPIRED),
                Some(deadline) => self.next_expiry = Some(self.next_expiry.map_or(deadline, |next| next.min(deadline))),
                None => {}
            }
        }
    }
}

#[cold]
fn log_crowded(method: &str) {
    log_limited!(
        warn,
        "handlers computed for more than {IN_PLACE:?} where they stand, {method} among them: mark methods that compute with #[rpc(spawn)] or #[rpc(blocking)]"
    );
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        for running in self.running.iter().flatten().chain(self.notifications.iter().map(|(running, _)| running)) {
            running.ticket.stop(Ticket::LOST);
        }
        for id in 0..self.streams.ids() {
            self.streams.cut(id, Error::with(ErrorKind::Unavailable, Executed::Maybe, "the connection to the caller was lost"));
            self.streams.close(id, &self.link);
        }
        for runner in &self.runners {
            runner.close();
        }
        drop_quietly(std::mem::take(&mut self.bound));
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "cancelled before it began")
}

fn ways_of(method: &Method) -> Ways {
    Ways { along: method.uploads, back: method.downloads }
}

/// Who calls by name has to know which items travel: nobody else would take them, or send them (protocol 5.8).
#[cold]
fn other_ways(method: &Method) -> Error {
    let text = match (method.uploads, method.downloads) {
        (false, false) => "the method has no stream: by name it is called with `call_json`",
        (false, true) => "the method returns a stream: by name it is called with `watch_json`",
        (true, false) => "the method takes a stream: by name it is called with `upload_json`",
        (true, true) => "the method takes a stream and returns one: it is called through its trait",
    };
    Error::new(ErrorKind::Unimplemented, format!("{}: {text}", method.name))
}

/// When this call's caller stops waiting (protocol 5.2).
fn deadline(sent: Option<Duration>, method: &Method, received: Instant) -> Option<Instant> {
    match sent {
        // A stream lasts as long as it lasts, unless somebody says otherwise.
        None if method.streams() => received.checked_add(method.timeout?),
        Some(Duration::ZERO) => None,
        // Too far for the clock is no deadline.
        Some(left) => received.checked_add(left),
        None => received.checked_add(method.timeout.unwrap_or(DEFAULT_TIMEOUT)),
    }
}

fn metadata(bytes: &[u8], limit: usize, method: &Method) -> Result<Option<Arc<Metadata>>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() > limit {
        let text = format!("{}: metadata of {} bytes exceeds the limit of {limit} (Limits::max_metadata)", method.name, bytes.len());
        return Err(Error::new(ErrorKind::TooLarge, text));
    }
    Ok(Some(Arc::new(Metadata(bytes.into()))))
}

#[cold]
fn overloaded(method: &Method) -> Error {
    Error::overloaded(format!("{}: too many handlers are waiting (Limits::max_handlers)", method.name), Duration::from_millis(100))
}
