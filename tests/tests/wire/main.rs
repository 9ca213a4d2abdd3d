//! What travels, byte by byte, and what becomes of a peer that does not keep to the protocol (`docs/protocol.md`).
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

mod abuse;
mod clients;
mod golden;
mod json_items;
mod payloads;
mod schemas;
mod service;
mod streams;
mod time;
mod versions;
mod ways;
