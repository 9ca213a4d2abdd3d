//! Lock files: the wire contract of a service as a text in its user's repository, compared by a generated test.
//!
//! Not here: what fits what (`fit.rs`), and types as people read them (`show.rs`), which nobody reads back.
//!
//! - `text.rs`: a schema as text; `parse.rs`: and back

mod parse;
#[cfg(test)]
mod tests;
mod text;

use super::node::Schema;

/// What a lock file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    /// The wire name.
    pub(crate) service: String,
    pub(crate) schema: Schema,
}

/// The service of a lock file, and its schema.
///
/// # Errors
/// Which line cannot be read, and why.
pub fn read_lock(text: &str) -> Result<(String, Schema), String> {
    parse::parse(text).map(|lock| (lock.service, lock.schema)).map_err(|wrong| wrong.to_string())
}
