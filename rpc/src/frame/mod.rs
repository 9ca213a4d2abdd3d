//! Bytes: frames and the values inside them. Nothing here awaits, and only `payload` knows serde.

pub(crate) mod codec;
pub(crate) mod limits;
pub(crate) mod payload;
pub(crate) mod violation;
