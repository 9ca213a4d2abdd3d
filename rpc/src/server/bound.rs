//! What the peer's numbers stand for on one connection: its binds resolved, and the handlers that wait for its calls.
//!
//! Owned by `dispatch.rs`. The caller's side of the same is `connection/binds.rs`.

use std::sync::Arc;

use super::handler::drop_quietly;
use super::registry::{Registry, log_limited};
use super::runner::Place;
use crate::connection::binds::{refusal, status};
use crate::connection::inbound::{Bind, Binding};
use crate::frame::codec::{Fields, Frame, kind};
use crate::frame::violation::Violation;
use crate::service::{Contract, Handler, Method, Service};
use crate::{Error, ErrorKind};

/// Handlers kept for the next calls of a connection.
const SPARE_IN_ALL: usize = 256;

/// The binds of a peer, in the order of their numbers.
#[derive(Default)]
pub(crate) struct Bound {
    ranges: Vec<Range>,
    /// Handlers that wait for a call, over all methods.
    spared: usize,
}

/// What a peer has bound a range of its numbers to.
struct Range {
    first: u32,
    count: u32,
    target: Target,
}

enum Target {
    Service {
        service: Arc<dyn Service>,
        /// No hashes were compared: only JSON, which names what it carries, can be trusted to mean the same.
        by_name: bool,
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
            Binding::Method { name } => (1, bind_method(registry, name)),
            Binding::Service { name, hash, count, methods } => (count, bind_service(registry, name, hash, count, methods, peer)?),
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
            Target::Service { service, by_name, methods: None, .. } => (service, *by_name, offset as u16),
            Target::Service { service, by_name, methods: Some(methods), refused, .. } => match methods[offset as usize] {
                Some(method) => (service, *by_name, method),
                None => return Err(refused_method(refused, offset)),
            },
        };
        let contract = service.contract();
        let place = Place { bind: index as u32, method: u32::from(method) };
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
        let Target::Service { service, spare, .. } = &mut self.ranges[place.bind as usize].target else {
            unreachable!("a place is given for methods that are served");
        };
        match spare[place.method as usize].pop() {
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
        if let Target::Service { spare, .. } = &mut self.ranges[place.bind as usize].target
            && spare[place.method as usize].len() < most
            && self.spared < most.max(SPARE_IN_ALL)
        {
            spare[place.method as usize].push(handler);
            self.spared += 1;
            return;
        }
        drop_quietly(handler);
    }

    /// Gives up handlers beyond so many of each method.
    pub(crate) fn shrink(&mut self, most: usize) {
        for range in &mut self.ranges {
            let Target::Service { spare, .. } = &mut range.target else { continue };
            for spare in spare {
                let surplus = spare.drain(most.min(spare.len())..);
                self.spared -= surplus.len();
                drop_quietly(surplus);
            }
        }
    }
}

fn bind_method(registry: Option<&Registry>, name: &str) -> Target {
    match registry.and_then(|registry| registry.method(name)) {
        Some((service, method)) => {
            Target::Service { by_name: true, methods: Some(Box::new([Some(method)])), refused: Vec::new(), spare: no_handlers(&*service), service }
        }
        None => Target::Refused { status: status::UNKNOWN_METHOD, name: name.into() },
    }
}

fn bind_service(registry: Option<&Registry>, name: &str, hash: u128, count: u32, methods: &[u8], peer: &str) -> Result<Target, Violation> {
    let Some(service) = registry.and_then(|registry| registry.service(name)) else {
        return Ok(Target::Refused { status: status::UNKNOWN_SERVICE, name: name.into() });
    };
    let contract = service.contract();
    let spare = no_handlers(&*service);
    if hash == contract.hash() && count as usize == contract.methods.len() {
        return Ok(Target::Service { service, by_name: false, methods: None, refused: Vec::new(), spare });
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
        log_limited!(warn, "{peer} knows these methods with other types, calls to them are refused: {differing:?}");
    }
    Ok(Target::Service { service, by_name: false, methods: Some(matched.into()), refused, spare })
}

fn no_handlers(service: &dyn Service) -> Box<[Vec<Handler>]> {
    service.contract().methods.iter().map(|_| Vec::new()).collect()
}

#[cold]
fn refused_method(refused: &[(u32, u8, Box<str>)], offset: u32) -> Error {
    match refused.iter().find(|(number, _, _)| *number == offset) {
        Some((_, status, name)) => refusal(*status, name, name),
        None => Error::new(ErrorKind::Unimplemented, "the peer serves no such method"),
    }
}
