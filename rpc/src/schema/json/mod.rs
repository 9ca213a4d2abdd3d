//! JSON and the user's types, without code per type beyond `de.rs`: the forms are in `docs/json.md`.
//!
//! - `read.rs`: JSON to a type. No schema is needed: the type's questions say what they are about, by name where that matters
//! - `write.rs`: postcard's bytes to JSON, by the schema that they were written by
//! - `typed.rs`: values to JSON in the same forms, where there is no schema: arguments of calls by name, and what methods registered at
//!   run time return
//! - `forms.rs`: what JSON writes as a text and postcard does not: UUIDs, addresses, times, bytes
//!
//! Not here: JSON itself, which is serde_json's, and parsing it under the guard (`frame/payload/json.rs`).

mod forms;
mod read;
#[cfg(test)]
mod tests;
mod typed;
mod write;

pub(crate) use self::read::Json;
pub(crate) use self::typed::Typed;
pub(crate) use self::write::{Types, Unwritten, write};

/// Numbers beyond this lose digits in the many languages that read all numbers as `f64`: they are written as texts.
const EXACT: u64 = 1 << 53;
