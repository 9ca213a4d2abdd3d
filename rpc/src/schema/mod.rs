//! What both ends know of the types: found by running `Deserialize`, compared when two ends meet, and used where they differ.
//!
//! - `node.rs`: a type as a table of nodes
//! - `show.rs`: types as Rust text
//! - `lock/`: a contract as a file in its user's repository, and what a change of it breaks
//! - `de.rs`: the one deserializer; `source.rs`: what it asks, of whoever feeds a type by it
//! - `trace/`: finding out the nodes of a type; `walk.rs`: going through a message by them
//! - `table.rs`: one table for many types, and its hash; `own.rs`: all types of a service
//! - `peer.rs`: a peer's schema, checked; `steps.rs`: laid out for reading; `adapt/`: reading messages by it; `fit/`: what is to be expected
//! - `alike.rs`: whether a peer's method has the hash that ours has
//! - `exchange.rs`: what becomes of each method once both schemas are known
//! - `json/`: JSON to types and back
//! - `diff.rs`: what a change of a service breaks, method by method
//! - [`Reader`]: the door through which generated code lends its types

pub(crate) mod adapt;
mod alike;
mod de;
mod diff;
pub(crate) mod exchange;
pub(crate) mod fit;
#[cfg(feature = "json")]
mod json;
pub(crate) mod lock;
mod node;
pub(crate) mod own;
pub(crate) mod peer;
pub(crate) mod show;
pub(crate) mod source;
mod steps;
mod table;
#[cfg(test)]
mod tests;
mod trace;
mod walk;

use serde::{Deserialize, Serialize};

pub(crate) use self::de::{De, Origin};
pub use self::diff::{Change, Verdict, compare};
#[cfg(feature = "json")]
pub(crate) use self::json::{Json, Typed, Types, Unwritten, write};
pub use self::lock::read_lock;
pub use self::node::{Field, Fields, Id, Node, Root, Schema, Shape, Signature, Variant};
use self::source::Source;
use crate::frame::payload::{self, Fault};

/// Reads one value of a type that only generated code knows (see [`Run`]).
#[doc(hidden)]
pub struct Reader<'a, 'de> {
    source: &'a mut dyn Source<'de>,
    /// The value as the type itself writes it, if someone wants to see.
    written: Option<&'a mut Result<Vec<u8>, crate::Error>>,
}

/// Of a method: reads a value of one of its types and drops it. [`Fault`] is given for a root that the method does not have.
#[doc(hidden)]
pub type Run = for<'a, 'de> fn(Root, Reader<'a, 'de>) -> Result<(), Fault>;

impl<'a, 'de> Reader<'a, 'de> {
    #[cfg(test)]
    pub(crate) fn new(source: &'a mut dyn Source<'de>, written: Option<&'a mut Result<Vec<u8>, crate::Error>>) -> Self {
        Self { source, written }
    }

    /// Reads a value of this type.
    ///
    /// # Errors
    /// Those of the type, and those of what it reads from.
    pub fn read<T: Serialize + Deserialize<'de>>(self) -> Result<(), Fault> {
        self.source.root(std::any::type_name::<T>());
        let value = T::deserialize(De(&mut Origin::Other(self.source)))?;
        if let Some(written) = self.written {
            let mut bytes = Vec::new();
            *written = payload::encode_item(&value, usize::MAX, &mut bytes).map(|()| bytes);
        }
        Ok(())
    }

    /// Reads a value of a type that cannot be written.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    #[cfg(feature = "json")]
    pub(crate) fn only_read<T: Deserialize<'de>>(self) -> Result<(), Fault> {
        self.source.root(std::any::type_name::<T>());
        T::deserialize(De(&mut Origin::Other(self.source))).map(drop)
    }

    /// The method has no such type.
    ///
    /// # Errors
    /// Always.
    pub fn none(self) -> Result<(), Fault> {
        Err(Fault::malformed("the method has no such part"))
    }
}
