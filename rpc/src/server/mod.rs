//! The callee's side.
pub(crate) mod handler;
