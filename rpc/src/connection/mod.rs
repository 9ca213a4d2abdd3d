//! One multiplexed link between two ends, the same code on both.
//!
//! `inbound` and `outbound` are the protocol: plain structs. `link` is what callers, handlers and the driver share,
//! `streams` what they share of a call that streams;
//! `driver` is the task that moves the bytes.

pub(crate) mod answers;
pub(crate) mod assembly;
pub(crate) mod batch;
pub(crate) mod binds;
pub(crate) mod chunked;
pub(crate) mod credit;
pub(crate) mod driver;
pub(crate) mod ending;
pub(crate) mod gather;
pub(crate) mod inbound;
pub(crate) mod keepalive;
pub(crate) mod linger;
pub(crate) mod link;
pub(crate) mod outbound;
pub(crate) mod pace;
pub(crate) mod streams;
pub(crate) mod waking;
