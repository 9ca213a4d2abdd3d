//! What our numbers stand for at the peer: methods are bound to numbers before their first use (protocol 4).
//!
//! Where the two ends know a service differently, the callee sends its schema and is sent ours (protocol 9): from then on it is
//! known what becomes of each method.
//!
//! Part of `outbound.rs`. The callee's side of the same is `server/bound.rs`.

use std::sync::Arc;

use crate::frame::codec::{Frame, kind};
#[cfg(feature = "json")]
use crate::frame::limits::MAX_NAME;
use crate::frame::limits::{MAX_FRAME, MAX_HEAD, NUMBERS};
use crate::frame::violation::Violation;
use crate::schema::exchange::{Compared, Plan, Writer};
use crate::service::Contract;
use crate::{Error, ErrorKind};

/// What a callee says of each method of a bind (protocol 4.2).
pub(crate) mod status {
    pub(crate) const EQUAL: u8 = 0;
    pub(crate) const INCOMPATIBLE: u8 = 1;
    pub(crate) const UNKNOWN_METHOD: u8 = 2;
    pub(crate) const UNKNOWN_SERVICE: u8 = 3;
    /// As equal, but what the two ends write does not look alike.
    pub(crate) const ADAPTED: u8 = 4;
}

/// The error of a call to a method that the callee does not serve: the same words on both ends.
pub(crate) fn refusal(status: u8, method: &str, service: &str) -> Error {
    match status {
        status::INCOMPATIBLE => {
            Error::new(ErrorKind::Incompatible, format!("{method}: the two ends know this method with different arguments or results"))
        }
        status::UNKNOWN_SERVICE => Error::new(ErrorKind::Unimplemented, format!("{method}: the peer serves no service named {service}")),
        _ => Error::new(ErrorKind::Unimplemented, format!("{method}: the peer serves no such method")),
    }
}

/// All that this end has bound on a connection.
#[derive(Default)]
pub(crate) struct Binds {
    binds: Vec<Bind>,
    numbers: u32,
    unanswered: usize,
    /// Those of services among them.
    services: usize,
    exhausted: bool,
}

struct Bind {
    key: Key,
    first: u32,
    count: u32,
    answer: Option<Box<[u8]>>,
    /// The callee has sent its schema.
    compared: Option<Peer>,
}

/// The service as its callee knows it.
struct Peer {
    compared: Arc<Compared>,
    /// By method: how replies are read that are not written as they would be here.
    writers: Box<[Option<Arc<Writer>>]>,
}

enum Key {
    Contract(&'static Contract),
    #[cfg(feature = "json")]
    Name(Box<str>),
}

impl Bind {
    fn covers(&self, number: u32) -> bool {
        number >= self.first && number - self.first < self.count
    }

    #[inline]
    fn status(&self, method: usize) -> u8 {
        match &self.answer {
            Some(statuses) => statuses.get(method).copied().unwrap_or(status::EQUAL),
            None => status::EQUAL,
        }
    }

    /// Why this method is not called, as far as is known here.
    fn refusal(&self, method: usize) -> Option<Error> {
        match self.compared.as_ref()?.compared.plan(method) {
            Plan::Refused(why) => Some(Error::new(ErrorKind::Incompatible, why.to_string())),
            _ => None,
        }
    }
}

impl Binds {
    /// The number of this method. A bind is written before it where there was none.
    ///
    /// # Errors
    /// The callee has said that it does not serve this method, or no number is left.
    #[inline(always)]
    pub(crate) fn number(&mut self, contract: &'static Contract, method: usize, out: &mut Vec<u8>) -> Result<u32, Error> {
        let found = self.binds.iter().position(|bind| match bind.key {
            Key::Contract(known) => std::ptr::eq(known, contract),
            #[cfg(feature = "json")]
            Key::Name(_) => false,
        });
        let found = match found {
            Some(found) => found,
            None => self.bind_service(contract, out)?,
        };
        let bind = &self.binds[found];
        if bind.compared.is_some()
            && let Some(refusal) = bind.refusal(method)
        {
            return Err(refusal);
        }
        match bind.status(method) {
            status::EQUAL | status::ADAPTED => Ok(bind.first + method as u32),
            status => Err(refusal(status, &contract.full_name(method), contract.name)),
        }
    }

    /// The number of a method by name.
    ///
    /// # Errors
    /// The callee has said that it does not serve this method, or no number is left.
    #[cfg(feature = "json")]
    pub(crate) fn number_of(&mut self, name: &str, out: &mut Vec<u8>) -> Result<u32, Error> {
        let found = match self.binds.iter().position(|bind| matches!(&bind.key, Key::Name(known) if **known == *name)) {
            Some(found) => found,
            None => {
                if name.len() > MAX_NAME {
                    return Err(Error::new(ErrorKind::InvalidInput, format!("a method's name has at most {MAX_NAME} bytes")));
                }
                self.has_numbers(1)?;
                Frame::new(out, kind::BIND).number(u64::from(self.numbers)).byte(0).text(name).end(0);
                self.add(Key::Name(name.into()), 1)
            }
        };
        let bind = &self.binds[found];
        match bind.status(0) {
            status::EQUAL => Ok(bind.first),
            status => Err(refusal(status, name, name)),
        }
    }

    fn bind_service(&mut self, contract: &'static Contract, out: &mut Vec<u8>) -> Result<usize, Error> {
        let methods = contract.methods;
        self.has_numbers(methods.len())?;
        // Varints of three bytes at most stand before each text.
        let size = contract.name.len() + MAX_HEAD + methods.iter().map(|method| method.name.len() + 3 + 16).sum::<usize>();
        if size > MAX_FRAME {
            let text = format!("{}: the names of its {} methods do not fit a frame of {MAX_FRAME} bytes", contract.name, methods.len());
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let mut frame = Frame::new(out, kind::BIND)
            .number(u64::from(self.numbers))
            .byte(1)
            .text(contract.name)
            .hash(contract.hash())
            .number(methods.len() as u64);
        for (number, method) in methods.iter().enumerate() {
            frame = frame.text(method.name).hash(contract.method_hash(number));
        }
        frame.end(0);
        Ok(self.add(Key::Contract(contract), methods.len() as u32))
    }

    /// Numbers are not given back: a connection that has used them up makes room for another.
    fn has_numbers(&mut self, count: usize) -> Result<(), Error> {
        if self.numbers as usize + count <= NUMBERS {
            return Ok(());
        }
        self.exhausted = true;
        Err(Error::new(ErrorKind::Unavailable, format!("this connection has bound {} methods (protocol 4.3)", self.numbers)))
    }

    fn add(&mut self, key: Key, count: u32) -> usize {
        self.services += usize::from(matches!(key, Key::Contract(_)));
        self.binds.push(Bind { key, first: self.numbers, count, answer: None, compared: None });
        self.numbers += count;
        self.unanswered += 1;
        self.binds.len() - 1
    }

    /// Some bind did not get a number any more.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// The callee's answer to a bind.
    pub(crate) fn on_bound(&mut self, first: u32, statuses: &[u8]) -> Result<(), Violation> {
        let bind = self.binds.iter_mut().find(|bind| bind.first == first && bind.answer.is_none()).ok_or(Violation::Unexpected("bound"))?;
        let adapts = statuses.contains(&status::ADAPTED) && bind.compared.is_none();
        if adapts || !statuses.is_empty() && statuses.len() != bind.count as usize {
            return Err(Violation::BadFrame("bound"));
        }
        bind.answer = Some(statuses.into());
        self.unanswered -= 1;
        self.services -= usize::from(matches!(bind.key, Key::Contract(_)));
        Ok(())
    }

    /// Some bind of a service has not been answered.
    #[inline]
    pub(crate) fn has_unanswered_services(&self) -> bool {
        self.services > 0
    }

    /// The service of which the callee has sent its schema, if it may.
    pub(crate) fn asked(&self, first: u32) -> Result<&'static Contract, Violation> {
        let bind = self.binds.iter().find(|bind| bind.first == first && bind.answer.is_none() && bind.compared.is_none());
        match bind.map(|bind| &bind.key) {
            Some(Key::Contract(contract)) => Ok(contract),
            _ => Err(Violation::Unexpected("schema")),
        }
    }

    /// What came of the comparison. Gives the numbers that are not called after all, each with its reason.
    pub(crate) fn compared(&mut self, first: u32, compared: Arc<Compared>) -> Vec<(u32, Error)> {
        let Some(bind) = self.binds.iter_mut().find(|bind| bind.first == first) else { return Vec::new() };
        let writers = compared.writers();
        bind.compared = Some(Peer { compared, writers });
        (0..bind.count).filter_map(|method| Some((first + method, bind.refusal(method as usize)?))).collect()
    }

    /// How the callee writes what this method returns, if not as it would be written here.
    pub(crate) fn writer(&self, contract: &'static Contract, method: usize) -> Option<Arc<Writer>> {
        let bind = self.binds.iter().find(|bind| matches!(bind.key, Key::Contract(known) if std::ptr::eq(known, contract)))?;
        bind.compared.as_ref()?.writers.get(method)?.clone()
    }

    /// The callee has neither answered the bind that this number is from, nor said how it knows the service: its replies could
    /// not be read (protocol 4.5).
    #[inline]
    pub(crate) fn is_unanswered(&self, number: u32) -> bool {
        self.unanswered > 0 && self.binds.iter().any(|bind| bind.answer.is_none() && bind.compared.is_none() && bind.covers(number))
    }
}
