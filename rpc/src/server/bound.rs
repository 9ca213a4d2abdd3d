//! What the peer's numbers stand for on one connection: its binds resolved, and the handlers that wait for its calls.
//!
//! Where the two ends know a service differently the answer takes a while: the peer is sent our schema, and what becomes of each
//! method is known when it has sent its own (protocol 9). Owned by `dispatch.rs`. The caller's side of the same is `connection/binds.rs`.

use std::sync::Arc;

use tokio::time::Instant;

use super::handler::drop_quietly;
use super::registry::Registry;
use super::runner::Place;
use crate::connection::binds::{refusal, status};
use crate::connection::inbound::{Bind, Binding, Schema};
use crate::connection::streams::Role;
use crate::frame::codec::{self, Fields, Frame, kind};
use crate::frame::limits::OPEN_SCHEMAS;
use crate::frame::violation::Violation;
use crate::log::log_limited;
use crate::schema::exchange::{self, Compared, Left, Plan, Schemas, Writer};
use crate::service::{Contract, Handler, Method, Service};
use crate::{Error, ErrorKind};

/// Handlers kept for the next calls of a connection.
const SPARE_IN_ALL: usize = 256;

/// Of so many numbers it is remembered whether their methods are plain: a peer may bind thousands.
const KNOWN: u32 = 64;

/// The binds of a peer, in the order of their numbers.
#[derive(Default)]
pub(crate) struct Bound {
    ranges: Vec<Range>,
    /// Each service once, however often it is bound.
    services: Vec<Bindable>,
    /// The first numbers, as far as they have been called.
    known: Box<[Known]>,
    /// Handlers that wait for a call, over all methods.
    spared: usize,
    /// Binds that are not answered, in the order they came.
    exchanges: Vec<Exchange>,
    /// For schemas of this peer.
    left: Left,
}

/// The peer and this end know a service differently, and are about to see how.
struct Exchange {
    /// The place of its bind among the ranges.
    range: usize,
    contract: &'static Contract,
    /// When our schema was sent; none while others go first.
    since: Option<Instant>,
}

struct Bindable {
    service: Arc<dyn Service>,
    /// Handlers that wait for a call, by method; made when the first one has to wait.
    spare: Vec<Vec<Handler>>,
}

/// What a peer has bound a range of its numbers to.
struct Range {
    first: u32,
    count: u32,
    target: Target,
}

enum Target {
    Service {
        /// Its place among the services.
        service: u32,
        /// No hashes were compared: only JSON, which names what it carries, can be trusted to mean the same.
        by_name: bool,
        /// Number in the range to method, when they are not the same.
        methods: Option<Box<[Entry]>>,
    },
    Refused {
        status: u8,
        name: Box<str>,
    },
}

/// What one number of a service stands for.
enum Entry {
    Method(u16),
    /// The peer writes it differently.
    Adapted(u16, Arc<Writer>),
    /// It differs, and is looked at when the peer's schema has come.
    Pending(u16),
    /// The peer reads it differently, but writes it as this end does.
    Read(u16),
    /// Status, and what to say.
    Refused(u8, Box<str>),
}

impl Entry {
    fn status(&self) -> u8 {
        match self {
            Self::Method(_) | Self::Pending(_) => status::EQUAL,
            Self::Adapted(..) | Self::Read(_) => status::ADAPTED,
            Self::Refused(status, _) => *status,
        }
    }

    fn refused(status: u8, method: &str) -> Self {
        Self::Refused(status, refusal(status, method, method).message().into())
    }

    /// What becomes of this method, as the schemas say.
    fn of(method: u16, compared: &Compared, writers: &[Option<Arc<Writer>>], name: impl Fn() -> String) -> Self {
        let number = usize::from(method);
        match compared.plan(number) {
            Plan::Unknown => Self::refused(status::INCOMPATIBLE, &name()),
            Plan::Refused(why) => Self::Refused(status::INCOMPATIBLE, why.clone()),
            Plan::Plain if compared.differs(number) => Self::Read(method),
            Plan::Plain => Self::Method(method),
            Plan::Adapted => match writers.get(number).and_then(Option::as_ref) {
                Some(writer) => Self::Adapted(method, writer.clone()),
                None => Self::Method(method),
            },
        }
    }
}

/// The method that a number stands for.
#[derive(Clone, Copy)]
pub(crate) struct Served<'b> {
    pub(crate) contract: &'static Contract,
    pub(crate) method: &'static Method,
    pub(crate) place: Place,
    pub(crate) by_name: bool,
    /// How the peer writes the arguments, if not as they would be written here.
    pub(crate) writer: Option<&'b Arc<Writer>>,
}

/// Whether a number's method is plain: it takes what its caller writes as it is, and needs nothing but that, be it streams, a context
/// or a task of its own. Once known that never changes.
#[derive(Default)]
enum Known {
    #[default]
    NotYet,
    Other,
    Plain {
        contract: &'static Contract,
        place: Place,
        /// For the next call: it stays here while calls end where they stand.
        handler: Option<Handler>,
    },
}

/// A plain method, and a handler for its next call.
pub(crate) struct Plain<'b> {
    pub(crate) contract: &'static Contract,
    pub(crate) method: &'static Method,
    pub(crate) place: Place,
    pub(crate) handler: &'b mut Handler,
}

impl Bound {
    /// Resolves a bind, and answers it, or asks for the peer's schema first. `exchanges`: the peer knows of schemas.
    pub(crate) fn bind(
        &mut self,
        bind: &Bind<'_>,
        registry: Option<&Registry>,
        peer: &str,
        exchanges: bool,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let (count, target) = match bind.what {
            Binding::Method { name } => (1, self.bind_method(registry, name)),
            Binding::Service { name, hash, count, methods } => {
                let target = self.bind_service(registry, name, hash, count, methods, exchanges)?;
                if !exchanges {
                    log_incompatible(&target, peer);
                }
                (count, target)
            }
        };
        let range = Range { first: bind.first, count, target };
        match &range.target {
            Target::Service { service, methods: Some(methods), .. } if methods.iter().any(|entry| matches!(entry, Entry::Pending(_))) => {
                let contract = self.services[*service as usize].service.contract();
                self.exchanges.push(Exchange { range: self.ranges.len(), contract, since: None });
            }
            _ => range.answer(out),
        }
        // Most peers bind one service.
        self.ranges.reserve_exact(usize::from(self.ranges.is_empty()));
        self.ranges.push(range);
        self.ask(now, out);
        Ok(())
    }

    /// Sends our schemas for as many exchanges as may be open at a time.
    fn ask(&mut self, now: Instant, out: &mut Vec<u8>) {
        let size = |exchange: &Exchange| exchange.contract.own().bytes.len();
        let mut open: usize = self.exchanges.iter().filter(|exchange| exchange.since.is_some()).map(size).sum();
        for exchange in &mut self.exchanges {
            if exchange.since.is_some() {
                continue;
            }
            let own = &exchange.contract.own().bytes;
            if open > 0 && open + own.len() > OPEN_SCHEMAS {
                return;
            }
            open += own.len();
            codec::write_schema(out, false, self.ranges[exchange.range].first, own);
            exchange.since = Some(now);
        }
    }

    /// Some bind is not answered.
    #[inline]
    pub(crate) fn is_exchanging(&self) -> bool {
        !self.exchanges.is_empty()
    }

    /// Since when a peer has owed its schema.
    pub(crate) fn asked_since(&self) -> Option<Instant> {
        self.exchanges.iter().filter_map(|exchange| exchange.since).min()
    }

    /// It is not known yet what becomes of this number's method, or its caller could not read an answer.
    #[cold]
    pub(crate) fn is_pending(&self, number: u32) -> bool {
        let Some((index, offset)) = self.find(number) else { return false };
        let Target::Service { methods: Some(methods), .. } = &self.ranges[index].target else { return false };
        match &methods[offset as usize] {
            Entry::Pending(_) => true,
            // An error can be read by anyone.
            Entry::Refused(..) => false,
            _ => self.exchanges.iter().any(|exchange| exchange.range == index && exchange.since.is_none()),
        }
    }

    /// The peer's schema of a service that it has bound: its bind is answered.
    ///
    /// # Errors
    /// It was not asked for one, or this is none.
    pub(crate) fn schema(&mut self, schema: &Schema<'_>, schemas: &Schemas, peer: &str, now: Instant, out: &mut Vec<u8>) -> Result<(), Violation> {
        let Self { ranges, exchanges, left, .. } = self;
        let place = exchanges.iter().position(|exchange| exchange.since.is_some() && ranges[exchange.range].first == schema.first);
        let Exchange { range, contract, .. } = exchanges.remove(place.ok_or(Violation::Unexpected("schema"))?);
        let bytes = schema.bytes.bytes();
        // Protocol 9.5: who has too long a one sends none.
        let compared = match bytes.is_empty() {
            true => None,
            false => {
                let compared = schemas.compare(contract, Role::Callee, bytes, left);
                Some(compared.map_err(|why| Violation::BadSchema(exchange::shown(&why).into()))?)
            }
        };
        let range = &mut ranges[range];
        if let Target::Service { methods: Some(methods), .. } = &mut range.target {
            let writers = compared.as_ref().map(Compared::writers).unwrap_or_default();
            for entry in methods {
                let Entry::Pending(method) = *entry else { continue };
                let name = || contract.full_name(usize::from(method));
                *entry = match &compared {
                    Some(compared) => Entry::of(method, compared, &writers, name),
                    None => Entry::refused(status::INCOMPATIBLE, &name()),
                };
            }
        }
        match &compared {
            Some(compared) => compared.log(peer),
            None => log_incompatible(&range.target, peer),
        }
        range.answer(out);
        self.ask(now, out);
        Ok(())
    }

    fn find(&self, number: u32) -> Option<(usize, u32)> {
        let index = self.ranges.partition_point(|range| range.first <= number).checked_sub(1)?;
        let range = &self.ranges[index];
        (number - range.first < range.count).then(|| (index, number - range.first))
    }

    /// The method that this number stands for.
    ///
    /// # Errors
    /// `Incompatible` or `Unimplemented`, as its bind was answered.
    #[inline]
    pub(crate) fn resolve(&self, number: u32) -> Result<Served<'_>, Error> {
        let (index, offset) = self.find(number).expect("inbound lets no unbound number pass");
        let (service, by_name, method, writer) = match &self.ranges[index].target {
            Target::Refused { status, name } => return Err(refusal(*status, name, name)),
            Target::Service { service, by_name, methods: None } => (*service, *by_name, offset as u16, None),
            Target::Service { service, by_name, methods: Some(methods) } => match &methods[offset as usize] {
                Entry::Method(method) | Entry::Read(method) | Entry::Pending(method) => (*service, *by_name, *method, None),
                Entry::Adapted(method, writer) => (*service, *by_name, *method, Some(writer)),
                Entry::Refused(status, why) => return Err(refused(*status, why)),
            },
        };
        let contract = self.services[service as usize].service.contract();
        let place = Place { service, method: u32::from(method) };
        Ok(Served { contract, method: &contract.methods[usize::from(method)], place, by_name, writer })
    }

    /// The full name of the method behind a number, as far as it is known.
    pub(crate) fn name(&self, number: u32) -> String {
        match self.resolve(number) {
            Ok(served) => served.contract.full_name(served.place.method as usize),
            Err(_) => match self.find(number).map(|(index, _)| &self.ranges[index].target) {
                Some(Target::Refused { name, .. }) => name.to_string(),
                _ => String::new(),
            },
        }
    }

    /// The method that this number stands for, if [`find_plain`](Self::find_plain) has found that it is plain, and it has a handler.
    #[inline]
    pub(crate) fn plain(&mut self, number: u32) -> Option<Plain<'_>> {
        match self.known.get_mut(number as usize) {
            Some(Known::Plain { contract, place, handler: Some(handler) }) => {
                Some(Plain { contract, method: &contract.methods[place.method as usize], place: *place, handler })
            }
            _ => None,
        }
    }

    /// Looks whether the method of this number is plain; then it has a handler.
    #[cold]
    pub(crate) fn find_plain(&mut self, number: u32) -> bool {
        let index = number as usize;
        let known = match self.known.get(index) {
            Some(Known::Other) => return false,
            Some(&Known::Plain { contract, place, .. }) => Known::Plain { contract, place, handler: Some(self.handler(place)) },
            Some(Known::NotYet) | None if number >= KNOWN || self.is_pending(number) => return false,
            Some(Known::NotYet) | None => match self.resolve(number) {
                Ok(Served { contract, method, place, by_name: false, writer: None }) if method.is_plain() => {
                    Known::Plain { contract, place, handler: Some(self.handler(place)) }
                }
                _ => Known::Other,
            },
        };
        if self.known.len() <= index {
            let known = std::mem::take(&mut self.known).into_iter();
            self.known = known.chain(std::iter::repeat_with(Known::default)).take(index + 1).collect();
        }
        self.known[index] = known;
        matches!(self.known[index], Known::Plain { .. })
    }

    /// The handler of a plain method, whose call does not end where it stands.
    pub(crate) fn take_plain(&mut self, number: u32) -> Handler {
        let handler = match self.known.get_mut(number as usize) {
            Some(Known::Plain { handler, .. }) => handler.take(),
            _ => None,
        };
        handler.expect("its handler was polled here")
    }

    /// A handler for the next call of this method: one that waits, or a new one.
    #[inline]
    pub(crate) fn handler(&mut self, place: Place) -> Handler {
        let Bindable { service, spare } = &mut self.services[place.service as usize];
        match spare.get_mut(place.method as usize).and_then(Vec::pop) {
            Some(handler) => {
                self.spared -= 1;
                handler
            }
            None => service.handler(place.method as usize),
        }
    }

    /// Takes a handler back, if fewer than `most` of its method wait.
    #[inline]
    pub(crate) fn keep(&mut self, place: Place, handler: Handler, most: usize) {
        let spare = &mut self.services[place.service as usize].spare;
        let method = place.method as usize;
        if spare.len() <= method {
            spare.reserve_exact(method + 1 - spare.len());
            spare.resize_with(method + 1, Vec::new);
        }
        let spare = &mut spare[method];
        if spare.len() < most && self.spared < most.max(SPARE_IN_ALL) {
            // Who calls one at a time needs one.
            if spare.capacity() == 0 {
                spare.reserve_exact(1);
            }
            spare.push(handler);
            self.spared += 1;
        } else {
            drop_quietly(handler);
        }
    }

    /// Gives up handlers beyond so many of each method.
    pub(crate) fn shrink(&mut self, most: usize) {
        for spare in self.services.iter_mut().flat_map(|bindable| &mut bindable.spare) {
            let surplus = spare.drain(most.min(spare.len())..);
            self.spared -= surplus.len();
            drop_quietly(surplus);
        }
    }

    fn place_of(&mut self, service: Arc<dyn Service>) -> u32 {
        let found = self.services.iter().position(|known| Arc::ptr_eq(&known.service, &service));
        found.unwrap_or_else(|| {
            self.services.reserve_exact(usize::from(self.services.is_empty()));
            self.services.push(Bindable { service, spare: Vec::new() });
            self.services.len() - 1
        }) as u32
    }

    fn bind_method(&mut self, registry: Option<&Registry>, name: &str) -> Target {
        match registry.and_then(|registry| registry.method(name)) {
            Some((service, method)) => {
                Target::Service { service: self.place_of(service), by_name: true, methods: Some(Box::new([Entry::Method(method)])) }
            }
            None => Target::Refused { status: status::UNKNOWN_METHOD, name: name.into() },
        }
    }

    fn bind_service(
        &mut self,
        registry: Option<&Registry>,
        name: &str,
        hash: u128,
        count: u32,
        methods: &[u8],
        exchanges: bool,
    ) -> Result<Target, Violation> {
        let Some(service) = registry.and_then(|registry| registry.service(name)) else {
            return Ok(Target::Refused { status: status::UNKNOWN_SERVICE, name: name.into() });
        };
        let contract = service.contract();
        let service = self.place_of(service);
        let own = contract.own();
        if hash == own.hash && count as usize == contract.methods.len() {
            return Ok(Target::Service { service, by_name: false, methods: None });
        }
        let exchanges = exchanges && !own.bytes.is_empty();
        let mut fields = Fields::new(methods, "bind");
        let mut entries = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let (method, hash) = (fields.text()?, fields.hash()?);
            let refused = |status| Entry::refused(status, &format!("{name}.{method}"));
            entries.push(match contract.methods.binary_search_by(|known| known.name.cmp(method)) {
                Ok(found) if contract.method_hash(found) == hash => Entry::Method(found as u16),
                Ok(found) if exchanges => Entry::Pending(found as u16),
                Ok(_) => refused(status::INCOMPATIBLE),
                Err(_) => refused(status::UNKNOWN_METHOD),
            });
        }
        Ok(Target::Service { service, by_name: false, methods: Some(entries.into()) })
    }
}

impl Range {
    /// Answers the bind (protocol 4.2).
    fn answer(&self, out: &mut Vec<u8>) {
        let frame = Frame::new(out, kind::BOUND).number(u64::from(self.first));
        match &self.target {
            Target::Service { methods: Some(methods), .. } => {
                let statuses: Vec<u8> = methods.iter().map(Entry::status).collect();
                let all_equal = statuses.iter().all(|status| *status == status::EQUAL);
                if all_equal { frame } else { frame.rest(&statuses) }
            }
            Target::Service { methods: None, .. } => frame,
            Target::Refused { status, .. } => frame.rest(&vec![*status; self.count as usize]),
        }
        .end(0);
    }
}

/// Of a peer that does not say how it knows them.
fn log_incompatible(target: &Target, peer: &str) {
    let Target::Service { methods: Some(methods), .. } = target else { return };
    let differing: Vec<&str> = methods
        .iter()
        .filter_map(|entry| match entry {
            Entry::Refused(status::INCOMPATIBLE, why) => why.split_once(':').map(|(name, _)| name),
            _ => None,
        })
        .collect();
    if !differing.is_empty() {
        log_limited!(warn, "{peer} knows these methods with other types, calls to them are refused: {differing:?}");
    }
}

#[cold]
fn refused(status: u8, why: &str) -> Error {
    let kind = if status == status::INCOMPATIBLE { ErrorKind::Incompatible } else { ErrorKind::Unimplemented };
    Error::new(kind, why.to_owned())
}
