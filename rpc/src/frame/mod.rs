//! Bytes: frames and the values inside them. Nothing here awaits.
pub(crate) mod payload;
