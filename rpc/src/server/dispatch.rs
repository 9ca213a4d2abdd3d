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

use super::handler::{self, Polled, Port, Request, drop_quietly};
use super::runner::{Finished, Job, Place, Runner};
use super::{Core, registry};
use crate::connection::inbound::{Bind, Binding, Call, Inbound, Payload};
use crate::connection::link::Link;
use crate::connection::outbound::{refusal, status, write_error};
use crate::context::{Context, Metadata, Ticket};
use crate::frame::codec::{self, Fields, Frame, HEADER, kind};
use crate::frame::limits::{BEFORE_HELLO, DEFAULT_TIMEOUT, IN_PLACE, MAX_FRAME};
use crate::frame::payload::{self, Body, Budget, Encoding, Outcome};
use crate::frame::violation::Violation;
use crate::service::{Handler, Method, Service};
use crate::{Error, ErrorKind, Executed};

/// Bytes of replies that wait to leave; beyond it calls are read but not dispatched.
const BACKLOG: usize = 1 << 20;

/// Handlers of a method, runners and tickets that are kept for the next call in any case. Under load as many are kept as
/// were needed at once within the last [`SPARE_FOR`].
const SPARE: usize = 4;
const SPARE_FOR: Duration = Duration::from_secs(1);

/// A handler that computes for less than this is done sooner where it stands.
const WORTH_A_TASK: Duration = Duration::from_micros(20);

/// How often the clock is read within one batch.
const CLOCK_EVERY: u32 = 16;

/// What a peer has bound a range of its numbers to.
struct Bound {
    first: u32,
    count: u32,
    target: Target,
}

enum Target {
    Service {
        service: Arc<dyn Service>,
        /// Number in the range to method, when they are not the same.
        methods: Option<Box<[Option<u16>]>>,
        /// What to say for a number without a method: status and name.
        refused: Vec<(u32, u8, Box<str>)>,
        /// Handlers that wait for a call, by method.
        spare: Box<[Vec<Handler>]>,
    },
    Refused {
        status: u8,
        name: Box<str>,
    },
}

/// A call that runs in a task of its own.
struct Running {
    ticket: Arc<Ticket>,
    deadline: Option<Instant>,
}

/// A call that waits until replies can leave.
struct Parked {
    id: Option<u32>,
    number: u32,
    deadline: Option<Duration>,
    metadata: Vec<u8>,
    json: bool,
    payload: Vec<u8>,
    since: Instant,
}

/// Dispatches the calls of one connection.
pub(crate) struct Dispatcher {
    core: Option<Arc<Core>>,
    link: Arc<Link>,
    bound: Vec<Bound>,
    running: Vec<Option<Running>>,
    /// Notifications that run in tasks of their own.
    notifications: Vec<Arc<Ticket>>,
    live: usize,
    /// The most that were live since spares were last given up, and when they will be again.
    peak: usize,
    shrink_at: Option<Instant>,
    runners: Vec<Arc<Runner>>,
    ticket: Arc<Ticket>,
    /// Tickets of calls that ended in tasks of their own.
    tickets: Vec<Arc<Ticket>>,
    parked: VecDeque<Parked>,
    parked_bytes: usize,
    /// The earliest deadline of a running call, or earlier.
    next_expiry: Option<Instant>,
    port: Port,
    /// Handlers of the last batch computed for too long.
    crowded: bool,
    in_batch: u32,
    batch_began: Option<Instant>,
    pub(crate) draining: bool,
}

impl Dispatcher {
    pub(crate) fn new(core: Option<Arc<Core>>, link: Arc<Link>) -> Self {
        let port = Port { limit: BEFORE_HELLO.max_message, ..Port::default() };
        Self {
            core,
            link,
            bound: Vec::new(),
            running: Vec::new(),
            notifications: Vec::new(),
            live: 0,
            peak: 0,
            shrink_at: None,
            runners: Vec::new(),
            ticket: Arc::default(),
            tickets: Vec::new(),
            parked: VecDeque::new(),
            parked_bytes: 0,
            next_expiry: None,
            port,
            crowded: false,
            in_batch: 0,
            batch_began: None,
            draining: false,
        }
    }

    /// The peer takes replies of this length.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.port.limit = limit;
    }

    /// No call is being served or waits for it.
    pub(crate) fn is_idle(&self) -> bool {
        self.live == 0 && self.parked.is_empty()
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// When to call [`shrink`](Self::shrink).
    pub(crate) fn shrink_at(&self) -> Option<Instant> {
        self.shrink_at
    }

    /// Gives up what a past load needed and the present one does not.
    pub(crate) fn shrink(&mut self, now: Instant) {
        let keep = self.peak.max(SPARE);
        for runner in self.runners.drain(keep.min(self.runners.len())..) {
            runner.close();
        }
        self.tickets.truncate(keep);
        for bound in &mut self.bound {
            if let Target::Service { spare, .. } = &mut bound.target {
                for spare in spare {
                    drop_quietly(spare.drain(keep.min(spare.len())..));
                }
            }
        }
        self.peak = self.live;
        self.shrink_at = (keep > SPARE).then(|| now + SPARE_FOR);
    }

    pub(crate) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    // ---- binds

    /// Resolves a bind and answers it.
    pub(crate) fn bind(&mut self, bind: &Bind<'_>, out: &mut Vec<u8>) -> Result<(), Violation> {
        let (count, target) = match bind.what {
            Binding::Method { name } => (1, self.bind_method(name)),
            Binding::Service { name, hash, count, methods } => (count, self.bind_service(name, hash, count, methods)?),
        };
        let frame = Frame::new(out, kind::BOUND).number(u64::from(bind.first));
        match &target {
            Target::Service { refused, .. } if refused.is_empty() => frame,
            Target::Service { refused, .. } => {
                let mut statuses = vec![status::EQUAL; count as usize];
                for (number, status, _) in refused {
                    statuses[*number as usize] = *status;
                }
                frame.rest(&statuses)
            }
            Target::Refused { status, .. } => frame.rest(&vec![*status; count as usize]),
        }
        .end(0);
        self.bound.push(Bound { first: bind.first, count, target });
        Ok(())
    }

    fn bind_method(&self, name: &str) -> Target {
        match self.core.as_deref().and_then(|core| core.registry.method(name)) {
            Some((service, method)) => Target::Service {
                methods: Some(Box::new([Some(method)])),
                refused: Vec::new(),
                spare: (0..service.contract().methods.len()).map(|_| Vec::new()).collect(),
                service,
            },
            None => Target::Refused { status: status::UNKNOWN_METHOD, name: name.into() },
        }
    }

    fn bind_service(&self, name: &str, hash: u128, count: u32, methods: &[u8]) -> Result<Target, Violation> {
        let Some(service) = self.core.as_deref().and_then(|core| core.registry.service(name)) else {
            return Ok(Target::Refused { status: status::UNKNOWN_SERVICE, name: name.into() });
        };
        let contract = service.contract();
        let spare = (0..contract.methods.len()).map(|_| Vec::new()).collect();
        if hash == contract.hash() && count as usize == contract.methods.len() {
            return Ok(Target::Service { service, methods: None, refused: Vec::new(), spare });
        }
        let mut fields = Fields::new(methods, "bind");
        let (mut matched, mut refused) = (Vec::with_capacity(count as usize), Vec::<(u32, u8, Box<str>)>::new());
        for number in 0..count {
            let (method, hash) = (fields.text()?, fields.hash()?);
            let found = contract.methods.binary_search_by(|known| known.name.cmp(method)).ok();
            match found {
                Some(found) if contract.methods[found].hash == hash => matched.push(Some(found as u16)),
                _ => {
                    let status = if found.is_some() { status::INCOMPATIBLE } else { status::UNKNOWN_METHOD };
                    matched.push(None);
                    refused.push((number, status, format!("{name}.{method}").into()));
                }
            }
        }
        let differing: Vec<&str> = refused.iter().filter(|(_, status, _)| *status == status::INCOMPATIBLE).map(|(_, _, name)| &**name).collect();
        if !differing.is_empty() {
            tracing::warn!(peer = %self.link.peer.address(), methods = ?differing, "the peer knows these methods with other types: calls to them are refused");
        }
        Ok(Target::Service { service, methods: Some(matched.into()), refused, spare })
    }

    fn find(&self, number: u32) -> Option<(usize, u32)> {
        let index = self.bound.partition_point(|bound| bound.first <= number).checked_sub(1)?;
        let bound = &self.bound[index];
        (number - bound.first < bound.count).then(|| (index, number - bound.first))
    }

    // ---- calls

    /// The driver is about to hand over the calls of one read.
    pub(crate) fn begin_batch(&mut self, now: Instant) {
        self.batch_began = Some(now);
        self.in_batch = 0;
    }

    /// All calls of one read were handed over: notes whether they computed for too long.
    pub(crate) fn end_batch(&mut self) {
        self.crowded = self.in_batch > 0 && self.computes();
        self.batch_began = None;
    }

    /// Handlers of this batch took long, and each of them long enough that a task of its own is the smaller cost.
    fn computes(&self) -> bool {
        let took = self.batch_began.map_or(Duration::ZERO, |began| began.elapsed());
        took > IN_PLACE && took > WORTH_A_TASK * self.in_batch
    }

    /// Serves a call, or refuses it, or parks it while replies cannot leave.
    #[inline]
    pub(crate) fn call(&mut self, call: Call<'_>, now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>, blocked: bool) {
        if blocked || out.len() > BACKLOG || !self.parked.is_empty() {
            return self.park(call, now);
        }
        self.start(call, now, inbound, out);
    }

    fn park(&mut self, call: Call<'_>, now: Instant) {
        let owned = |payload: Payload<'_>| match payload {
            Payload::Borrowed(bytes) => bytes.to_vec(),
            Payload::Owned(bytes) => bytes,
        };
        let Call { id, number, parts, payload } = call;
        if id.is_none() && self.parked_bytes > BACKLOG {
            tracing::warn!(peer = %self.link.peer.address(), "a notification was dropped: the peer does not read its replies");
            return;
        }
        let payload = owned(payload);
        self.parked_bytes += payload.len();
        let metadata = owned(parts.metadata);
        self.parked.push_back(Parked { id, number, deadline: parts.deadline, metadata, json: parts.json, payload, since: now });
    }

    /// Serves parked calls while replies can leave.
    pub(crate) fn unpark(&mut self, now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>) {
        while out.len() <= BACKLOG {
            let Some(parked) = self.parked.pop_front() else { return };
            self.parked_bytes -= parked.payload.len();
            // The time it waited here is part of its deadline; zero stands for no deadline at all.
            let deadline =
                parked.deadline.map(|left| if left.is_zero() { left } else { left.saturating_sub(now - parked.since).max(Duration::from_nanos(1)) });
            let parts = crate::connection::inbound::Head { deadline, metadata: Payload::Owned(parked.metadata), json: parked.json };
            self.start(Call { id: parked.id, number: parked.number, parts, payload: Payload::Owned(parked.payload) }, now, inbound, out);
        }
    }

    #[inline]
    fn start(&mut self, call: Call<'_>, now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>) {
        let id = call.id;
        if let Err(error) = self.try_start(call, now, inbound, out) {
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
            }
            None => tracing::warn!(peer = %self.link.peer.address(), %error, "a notification was refused"),
        }
    }

    /// The error for arguments that are longer than we take.
    pub(crate) fn too_large(&self, number: u32, length: usize) -> Error {
        let name = self.name(number);
        Error::new(
            ErrorKind::TooLarge,
            format!("{name}: arguments of {length} bytes exceed the limit of {} (Limits::max_message)", self.link.limits.max_message),
        )
    }

    fn name(&self, number: u32) -> String {
        match self.find(number) {
            Some((index, offset)) => match &self.bound[index].target {
                Target::Service { service, methods, .. } => {
                    let method = methods.as_ref().map_or(Some(offset as u16), |methods| methods[offset as usize]);
                    method.map_or_else(String::new, |method| service.contract().full_name(usize::from(method)))
                }
                Target::Refused { name, .. } => name.to_string(),
            },
            None => String::new(),
        }
    }

    #[inline]
    fn try_start(&mut self, call: Call<'_>, now: Instant, inbound: &mut Inbound, out: &mut Vec<u8>) -> Result<(), Error> {
        let Call { id, number, parts, payload } = call;
        let (index, offset) = self.find(number).expect("inbound lets no unbound number pass");
        let Target::Service { service, methods, refused, spare } = &mut self.bound[index].target else {
            return Err(refused_target(&self.bound[index].target, offset));
        };
        let method_number = match methods {
            None => offset as usize,
            Some(methods) => match methods[offset as usize] {
                Some(method) => usize::from(method),
                None => return Err(refused_method(refused, offset)),
            },
        };
        let method: &'static Method = &service.contract().methods[method_number];
        if self.draining {
            return Err(Error::new(ErrorKind::Draining, format!("{}: the server is shutting down", method.name)));
        }
        let core = self.core.as_deref().expect("a service is bound, so there is a server");
        let full = core.handlers.load(Ordering::Relaxed) >= core.limits.max_handlers;
        if full && id.is_some() {
            // Before it is polled: who is refused has not run.
            return Err(overloaded(method));
        }
        let deadline = deadline(parts.deadline, method, now);
        let metadata = metadata(parts.metadata.bytes(), self.link.limits.max_metadata, method)?;
        let encoding = if parts.json { Encoding::Json } else { Encoding::Postcard };
        if parts.json && !core.json {
            return Err(Error::new(ErrorKind::Unimplemented, format!("{}: this server takes no JSON", method.name)));
        }
        let info = core.hook.as_ref().map(|_| registry::CallInfo {
            method: service.contract().full_name(method_number),
            metadata: metadata.clone().unwrap_or_default(),
            peer: self.link.peer.clone(),
            deadline,
        });
        let bytes = match payload {
            Payload::Borrowed(bytes) => {
                let mut buffer = payload::buffer();
                buffer.extend_from_slice(bytes);
                buffer
            }
            Payload::Owned(bytes) => bytes,
        };
        let gate = match (info, &core.hook) {
            (Some(info), Some(hook)) => registry::ask(hook.clone(), info)?,
            _ => None,
        };
        let budget = Budget { bytes: self.link.limits.max_decoded, depth: self.link.limits.max_depth };
        let body = Body::new(bytes, encoding, budget, method)?;
        let context = method.context.then(|| Context { deadline, metadata, peer: self.link.peer.clone(), ticket: self.ticket.clone() });
        let request = Request { method, body, context };
        let handler = spare[method_number].pop().unwrap_or_else(|| service.handler(method_number));
        let place = Place { bind: index as u32, method: method_number as u32 };
        let mut job = Job { id, method, place, handler, request: Some(request), gate, ticket: self.ticket.clone(), deadline, limit: self.port.limit };
        // Notifications get no answer, so no caller slows down when tasks run out: better where it stands than not at all.
        let room = !full && (id.is_some() || self.notifications.len() < core.limits.max_in_flight);
        if job.gate.is_some() || method.spawn || (self.crowded && room) {
            return self.spawn(job, false);
        }
        self.in_batch += 1;
        if self.in_batch.is_multiple_of(CLOCK_EVERY) && self.computes() {
            self.crowded = true;
            self.log_crowded(method);
        }
        self.port.request = job.request.take();
        self.run_in_place(job, inbound, out)
    }

    #[inline]
    fn run_in_place(&mut self, mut job: Job, inbound: &mut Inbound, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = codec::open_reply(out, job.id.unwrap_or(0));
        let payload_start = out.len();
        std::mem::swap(&mut self.port.out, out);
        let polled = handler::poll(&mut job.handler, &mut self.port, job.deadline, &mut TaskContext::from_waker(Waker::noop()));
        std::mem::swap(&mut self.port.out, out);
        match polled {
            Polled::Ready(outcome) => {
                self.port.request = None;
                if let Some(id) = job.id {
                    inbound.answered(id);
                    if let Some(large) = end_reply(out, start, payload_start, id, &outcome, job.method) {
                        let failed = matches!(outcome, Outcome::Failed);
                        self.link.lock().outbound.large_reply(id, failed, large);
                    }
                } else {
                    out.truncate(start);
                    log_notification(&outcome, job.method);
                }
                self.keep(job.place, job.handler);
                // Our clone first, or there would always be two.
                drop(job.ticket);
                self.ticket.reuse();
                Ok(())
            }
            Polled::Pending => {
                out.truncate(start);
                self.spawn(job, true)
            }
            Polled::Panicked(text) => {
                out.truncate(start);
                self.port.request = None;
                drop_quietly(job.handler);
                self.ticket = Arc::default();
                Err(panicked(job.method, text.as_deref()))
            }
        }
    }

    /// Moves a call into a task of its own. One that has begun is refused no more, even if another connection took the
    /// last place meanwhile; a notification that has begun is dropped.
    fn spawn(&mut self, job: Job, begun: bool) -> Result<(), Error> {
        let core = self.core.as_ref().expect("a call is served, so there is a server");
        let full = core.handlers.fetch_add(1, Ordering::Relaxed) >= core.limits.max_handlers;
        if (full && !(begun && job.id.is_some())) || (job.id.is_none() && self.notifications.len() >= core.limits.max_in_flight) {
            core.handler_ended();
            let method = job.method;
            drop_quietly(job);
            return Err(overloaded(method));
        }
        if let Some(deadline) = job.deadline
            && self.next_expiry.is_none_or(|next| deadline < next)
        {
            self.next_expiry = Some(deadline);
        }
        let next = self.tickets.pop().unwrap_or_default();
        let ticket = std::mem::replace(&mut self.ticket, next);
        match job.id {
            Some(id) => {
                let id = id as usize;
                if self.running.len() <= id {
                    self.running.resize_with(id + 1, || None);
                }
                self.running[id] = Some(Running { ticket, deadline: job.deadline });
            }
            None => self.notifications.push(ticket),
        }
        self.live += 1;
        self.peak = self.peak.max(self.live);
        if self.live > SPARE && self.shrink_at.is_none() {
            self.shrink_at = Some(self.batch_began.unwrap_or_else(Instant::now) + SPARE_FOR);
        }
        match self.runners.pop() {
            Some(runner) => runner.give(job),
            None => Runner::start(job, self.link.clone(), core.clone()),
        }
        Ok(())
    }

    fn keep(&mut self, place: Place, handler: Handler) {
        if let Target::Service { spare, .. } = &mut self.bound[place.bind as usize].target {
            let spare = &mut spare[place.method as usize];
            if spare.len() < self.peak.max(SPARE) {
                spare.push(handler);
            }
        }
    }

    /// Takes back what ended in tasks of their own.
    pub(crate) fn finished(&mut self, finished: &mut Vec<Finished>, inbound: &mut Inbound) {
        for Finished { id, place, handler, runner, mut ticket } in finished.drain(..) {
            self.live -= 1;
            match id {
                Some(id) => {
                    inbound.answered(id);
                    self.running[id as usize] = None;
                }
                None => self.notifications.retain(|running| !Arc::ptr_eq(running, &ticket)),
            }
            if let Some(handler) = handler {
                self.keep(place, handler);
            }
            if self.tickets.len() < self.peak.max(SPARE) {
                ticket.reuse();
                self.tickets.push(ticket);
            }
            if self.runners.len() < self.peak.max(SPARE) {
                self.runners.push(runner);
            } else {
                runner.close();
            }
        }
    }

    // ---- stopping calls

    /// The caller does not wait any more.
    pub(crate) fn cancel(&mut self, id: u32, inbound: &mut Inbound, out: &mut Vec<u8>) {
        if let Some(Some(running)) = self.running.get(id as usize) {
            running.ticket.stop(Ticket::CANCELLED);
            return;
        }
        let parked = self.parked.iter().position(|parked| parked.id == Some(id));
        if let Some(parked) = parked {
            let parked = self.parked.remove(parked).expect("just found");
            self.parked_bytes -= parked.payload.len();
        } else if !inbound.abandon(id) {
            // Already answered: the answer and the cancel crossed on the wire (protocol 5.4).
            return;
        }
        self.refuse(Some(id), &Error::new(ErrorKind::Cancelled, "cancelled before it began"), inbound, out);
    }

    /// Stops all running calls whose deadline has passed, and finds the next one.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.next_expiry = None;
        for running in self.running.iter().flatten() {
            match running.deadline {
                Some(deadline) if deadline <= now => running.ticket.stop(Ticket::EXPIRED),
                Some(deadline) => self.next_expiry = Some(self.next_expiry.map_or(deadline, |next| next.min(deadline))),
                None => {}
            }
        }
    }

    fn log_crowded(&self, method: &Method) {
        crate::server::registry::log_limited!(
            warn,
            "handlers computed for more than {IN_PLACE:?} where they stand, {} among them: mark methods that compute with #[rpc(spawn)] or #[rpc(blocking)]",
            method.name
        );
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        for running in self.running.iter().flatten() {
            running.ticket.stop(Ticket::LOST);
        }
        for ticket in &self.notifications {
            ticket.stop(Ticket::LOST);
        }
        for runner in &self.runners {
            runner.close();
        }
        drop_quietly(std::mem::take(&mut self.bound));
        drop_quietly(self.port.request.take());
    }
}

/// When this call's caller stops waiting (protocol 5.2).
fn deadline(sent: Option<Duration>, method: &Method, now: Instant) -> Option<Instant> {
    match sent {
        Some(Duration::ZERO) => None,
        // Too far for the clock is no deadline.
        Some(left) => now.checked_add(left),
        None => now.checked_add(method.timeout.unwrap_or(DEFAULT_TIMEOUT)),
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
    Ok(Some(Arc::new(Metadata(codec::read_metadata(bytes)))))
}

#[cold]
fn overloaded(method: &Method) -> Error {
    Error::overloaded(format!("{}: too many handlers are waiting (Limits::max_handlers)", method.name), Duration::from_millis(100))
}

#[cold]
fn refused_target(target: &Target, _offset: u32) -> Error {
    match target {
        Target::Refused { status, name } => refusal(*status, name, name),
        Target::Service { .. } => Error::new(ErrorKind::Internal, "a served method was refused"),
    }
}

#[cold]
fn refused_method(refused: &[(u32, u8, Box<str>)], offset: u32) -> Error {
    match refused.iter().find(|(number, _, _)| *number == offset) {
        Some((_, status, name)) => refusal(*status, name, name),
        None => Error::new(ErrorKind::Unimplemented, "the peer serves no such method"),
    }
}

/// A panic's text stays in the server's log: it may hold what the caller must not see.
pub(crate) fn panicked(method: &Method, text: Option<&str>) -> Error {
    tracing::error!(method = method.name, panic = text.unwrap_or("unknown"), "a handler panicked");
    Error::with(ErrorKind::Internal, Executed::Yes, format!("{}: the handler panicked", method.name))
}

pub(crate) fn log_notification(outcome: &Outcome, method: &Method) {
    if let Outcome::Error(error) = outcome {
        tracing::warn!(method = method.name, %error, "a notification failed");
    }
}

/// Completes the reply whose payload is the end of `out`. Gives the payload back if it needs more than one frame.
#[inline]
pub(crate) fn end_reply(out: &mut Vec<u8>, start: usize, payload_start: usize, id: u32, outcome: &Outcome, method: &Method) -> Option<Vec<u8>> {
    let kind = match outcome {
        Outcome::Value => kind::REPLY,
        Outcome::Failed => kind::FAIL,
        Outcome::Error(error) => {
            out.truncate(start);
            // Our own words, with the method's name before them where they lack it.
            let named = error.message().starts_with(method.name) || method.name.is_empty();
            if named {
                write_error(out, id, error);
            } else {
                let error = Error::with(error.kind(), error.executed(), format!("{}: {}", method.name, error.message())).after(error.retry_after());
                write_error(out, id, &error);
            }
            return None;
        }
    };
    if out.len() - start - HEADER <= MAX_FRAME {
        codec::seal_reply(out, start, kind);
        return None;
    }
    let payload = out.split_off(payload_start);
    out.truncate(start);
    Some(payload)
}
