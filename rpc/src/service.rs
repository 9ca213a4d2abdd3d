//! What a service is to both ends: its name and its static table of methods. No I/O, no values.
//!
//! `#[service]` writes one [`Contract`] per trait and implements [`Service`] for the trait's server. The contract goes
//! to the peer as a bind (`docs/protocol.md` 4); the handlers are run by `server/dispatch.rs`.

use std::any::TypeId;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::SlowConsumer;
use crate::schema::Run;
use crate::schema::own::Own;

/// A service as both ends know it. Methods stand in the order of their wire names: a method's number is its place.
#[derive(Debug)]
pub struct Contract {
    /// The wire name of the service.
    pub name: &'static str,
    /// The trait's doc comment.
    pub docs: &'static str,
    /// Sorted by wire name, without duplicates.
    pub methods: &'static [Method],
    /// Filled at first use.
    pub(crate) own: OnceLock<Own>,
}

/// One method of a [`Contract`].
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The wire name, without the service's.
    pub name: &'static str,
    /// The names of the arguments that travel, in order.
    pub arguments: &'static [&'static str],
    /// The method's doc comment.
    pub docs: &'static str,
    /// The deadline of a call that names none; `None` means the client's default.
    pub timeout: Option<Duration>,
    /// May be sent again.
    pub idempotent: bool,
    /// No reply is sent.
    pub oneway: bool,
    /// Runs to its end whatever becomes of its caller.
    pub detached: bool,
    /// Always runs in a task of its own.
    pub spawn: bool,
    /// It takes a [`Streaming`](crate::Streaming) argument.
    pub uploads: bool,
    /// The name of that argument.
    pub upload: Option<&'static str>,
    /// It returns a stream.
    pub downloads: bool,
    /// It has an error of its own.
    pub fallible: bool,
    /// What becomes of its stream when the consumer does not keep up; `None` means the server's choice.
    pub slow_consumer: Option<SlowConsumer>,
    /// The handler asks for the [`Context`](crate::Context).
    pub context: bool,
    /// What its `#[deprecated]` says, empty if that says nothing; `None` without it.
    pub deprecated: Option<&'static str>,
    /// Reads values of its types.
    pub run: Run,
}

impl Method {
    /// What the macro leaves out.
    pub const DEFAULT: Self = Self {
        name: "",
        arguments: &[],
        docs: "",
        timeout: None,
        idempotent: false,
        oneway: false,
        detached: false,
        spawn: false,
        uploads: false,
        upload: None,
        downloads: false,
        fallible: false,
        slow_consumer: None,
        context: false,
        deprecated: None,
        run: |_, reader| reader.none(),
    };

    /// Items travel, one way or both.
    pub(crate) fn streams(&self) -> bool {
        self.uploads || self.downloads
    }

    /// A call of it is its arguments and nothing else, and may be served where it stands.
    pub(crate) fn is_plain(&self) -> bool {
        // Without any time a call has expired before it begins.
        !self.streams() && !self.spawn && !self.context && self.timeout != Some(Duration::ZERO)
    }
}

impl Contract {
    /// A contract of these methods, which are sorted.
    #[must_use]
    pub const fn new(name: &'static str, docs: &'static str, methods: &'static [Method]) -> Self {
        Self { name, docs, methods, own: OnceLock::new() }
    }

    /// What this end knows of its types: found once, by running their deserializers. That is users' code, and takes its time:
    /// it is done when a service is added to a server, and when a client encodes its first call.
    #[inline]
    pub(crate) fn own(&self) -> &Own {
        match self.own.get() {
            Some(own) => own,
            None => self.trace(),
        }
    }

    #[cold]
    fn trace(&self) -> &Own {
        self.own.get_or_init(|| {
            let own = Own::of(self);
            if cfg!(debug_assertions) {
                for problem in &own.problems {
                    tracing::error!("{problem}");
                }
            }
            own
        })
    }

    /// 128 bits over all that travels, and how it is called.
    pub(crate) fn hash(&self) -> u128 {
        self.own().hash
    }

    /// The same of one method.
    pub(crate) fn method_hash(&self, method: usize) -> u128 {
        self.own().hashes[method].both()
    }

    /// `Shop.pay`, for messages.
    pub(crate) fn full_name(&self, method: usize) -> String {
        match self.methods.get(method) {
            Some(method) if self.name.is_empty() => method.name.to_owned(),
            Some(method) => format!("{}.{}", self.name, method.name),
            None => self.name.to_owned(),
        }
    }
}

/// The contracts of a trait with type parameters, one for each choice of types: what travels depends on them.
///
/// Server and client look theirs up when they are made. None is ever dropped: a program makes as many as it has choices written.
#[derive(Debug, Default)]
pub struct Contracts(Mutex<Vec<(TypeId, &'static Contract)>>);

impl Contracts {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// The contract for these parameters, a tuple. Two looks give the same one.
    pub fn of<Parameters: 'static>(&self, name: &'static str, docs: &'static str, methods: &'static [Method]) -> &'static Contract {
        let key = TypeId::of::<Parameters>();
        // No code but this runs under the lock, and none of it panics half way.
        let mut contracts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, contract)) = contracts.iter().find(|(known, _)| *known == key) {
            return contract;
        }
        let contract = Box::leak(Box::new(Contract::new(name, docs, methods)));
        contracts.push((key, contract));
        contract
    }
}

/// A client type, which knows what it calls: the contract without a client, for generated tests.
pub trait HasContract {
    /// The static table.
    fn contract() -> &'static Contract;
}

/// FNV-1a with 128 bits, each text closed by its length, so that no two lists of texts read the same.
/// <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv> section 5. It guards against accidents, not against forgery:
/// a peer that lies about a hash only confuses itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash(u128);

impl Hash {
    /// A hash that has seen nothing.
    pub(crate) const EMPTY: Self = Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);

    /// A hash that has seen this text.
    pub(crate) const fn new(text: &str) -> Self {
        Self::EMPTY.text(text)
    }

    /// One more text.
    pub(crate) const fn text(self, text: &str) -> Self {
        self.text_bytes(text.as_bytes())
    }

    /// One more text that need not be UTF-8.
    pub(crate) const fn text_bytes(mut self, bytes: &[u8]) -> Self {
        let mut at = 0;
        while at < bytes.len() {
            self = self.byte(bytes[at]);
            at += 1;
        }
        let length = (bytes.len() as u64).to_le_bytes();
        let mut at = 0;
        while at < length.len() {
            self = self.byte(length[at]);
            at += 1;
        }
        self
    }

    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u128).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b))
    }

    /// The 128 bits.
    pub(crate) const fn finish(self) -> u128 {
        self.0
    }
}

/// A handler: a future that never ends and serves one request after another of one method (see `server/handler.rs`).
///
/// It is boxed once and reused, so a call that is ready at once costs no allocation.
pub type Handler = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something a [`Server`](crate::Server) can serve: what `#[service] trait Shop` calls `ShopServer`. Not for implementing by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a server",
    label = "expected the server of a service, such as `ShopServer::new(..)`",
    note = "wrap your implementation: `.add(ShopServer::new(my_shop))`"
)]
pub trait Service: Send + Sync + 'static {
    /// The static table.
    #[doc(hidden)]
    fn contract(&self) -> &'static Contract;

    /// A new handler of the method with this number.
    #[doc(hidden)]
    fn handler(&self, method: usize) -> Handler;

    /// Of a closure that was registered at run time: the type that it returns, by its Rust name.
    #[doc(hidden)]
    fn returns(&self) -> &'static str {
        ""
    }
}

#[cfg(test)]
mod tests;
