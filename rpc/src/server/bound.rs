//! What the peer's numbers stand for on one connection: its binds resolved, and the handlers that wait for its calls.
//!
//! Owned by `dispatch.rs`. The caller's side of the same is `connection/binds.rs`.

use std::sync::Arc;

use super::handler::drop_quietly;
use super::registry::Registry;
use super::runner::Place;
use crate::connection::binds::{refusal, status};
use crate::connection::inbound::{Bind, Binding};
use crate::frame::codec::{Fields, Frame, kind};
use crate::frame::violation::Violation;
use crate::log::log_limited;
use crate::service::{Contract, Handler, Method, Service};
use crate::{Error, ErrorKind};

/// Handlers kept for the next calls of a connection.
const SPARE_IN_ALL: usize = 256;

/// The binds of a peer, in the order of their numbers.
#[derive(Default)]
pub(crate) struct Bound {
    ranges: Vec<Range>,
    /// Each service once, however often it is bound.
    services: Vec<Bindable>,
    /// Handlers that wait for a call, over all methods.
    spared: usize,
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
        methods: Option<Box<[Option<u16>]>>,
        /// What to say for a number without a method: status and name.
        refused: Vec<(u32, u8, Box<str>)>,
    },
    Refused {
        status: u8,
        name: Box<str>,
    },
}

/// The method that a number stands for.
#[derive(Clone, Copy)]
pub(crate) struct Served {
    pub(crate) contract: &'static Contract,
    pub(crate) method: &'static Method,
    pub(crate) place: Place,
    pub(crate) by_name: bool,
}

impl Bound {
    /// Resolves a bind and answers it.
    pub(crate) fn bind(&mut self, bind: &Bind<'_>, registry: Option<&Registry>, peer: &str, out: &mut Vec<u8>) -> Result<(), Violation> {
        let (count, target) = match bind.what {
            Binding::Method { name } => (1, self.bind_method(registry, name)),
            Binding::Service { name, hash, count, methods } => (count, self.bind_service(registry, name, hash, count, methods, peer)?),
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
        // Most peers bind one service.
        self.ranges.reserve_exact(usize::from(self.ranges.is_empty()));
        self.ranges.push(Range { first: bind.first, count, target });
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
    pub(crate) fn resolve(&self, number: u32) -> Result<Served, Error> {
        let (index, offset) = self.find(number).expect("inbound lets no unbound number pass");
        let (service, by_name, method) = match &self.ranges[index].target {
            Target::Refused { status, name } => return Err(refusal(*status, name, name)),
            Target::Service { service, by_name, methods: None, .. } => (*service, *by_name, offset as u16),
            Target::Service { service, by_name, methods: Some(methods), refused } => match methods[offset as usize] {
                Some(method) => (*service, *by_name, method),
                None => return Err(refused_method(refused, offset)),
            },
        };
        let contract = self.services[service as usize].service.contract();
        let place = Place { service, method: u32::from(method) };
        Ok(Served { contract, method: &contract.methods[usize::from(method)], place, by_name })
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
                Target::Service { service: self.place_of(service), by_name: true, methods: Some(Box::new([Some(method)])), refused: Vec::new() }
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
        peer: &str,
    ) -> Result<Target, Violation> {
        let Some(service) = registry.and_then(|registry| registry.service(name)) else {
            return Ok(Target::Refused { status: status::UNKNOWN_SERVICE, name: name.into() });
        };
        let contract = service.contract();
        let service = self.place_of(service);
        if hash == contract.hash() && count as usize == contract.methods.len() {
            return Ok(Target::Service { service, by_name: false, methods: None, refused: Vec::new() });
        }
        let mut fields = Fields::new(methods, "bind");
        let (mut matched, mut refused) = (Vec::with_capacity(count as usize), Vec::<(u32, u8, Box<str>)>::new());
        for number in 0..count {
            let (method, hash) = (fields.text()?, fields.hash()?);
            let found = contract.methods.binary_search_by(|known| known.name.cmp(method)).ok();
            match found {
                Some(found) if contract.method_hash(found) == hash => matched.push(Some(found as u16)),
                _ => {
                    let status = if found.is_some() { status::INCOMPATIBLE } else { status::UNKNOWN_METHOD };
                    matched.push(None);
                    refused.push((number, status, format!("{name}.{method}").into()));
                }
            }
        }
        let differing: Vec<&str> = refused.iter().filter(|(_, status, _)| *status == status::INCOMPATIBLE).map(|(_, _, name)| &**name).collect();
        if !differing.is_empty() {
            log_limited!(warn, "{peer} knows these methods with other types, calls to them are refused: {differing:?}");
        }
        Ok(Target::Service { service, by_name: false, methods: Some(matched.into()), refused })
    }
}

#[cold]
fn refused_method(refused: &[(u32, u8, Box<str>)], offset: u32) -> Error {
    match refused.iter().find(|(number, _, _)| *number == offset) {
        Some((_, status, name)) => refusal(*status, name, name),
        None => Error::new(ErrorKind::Unimplemented, "the peer serves no such method"),
    }
}
