//! The checkout without its command line, for the tests that stand beside its rules: in `tests/`, and in the files themselves.
//! The program is `main.rs`; what it does from outside is tested in `examples/tests/checkout/`.

#![expect(unreachable_pub, reason = "the files of a program are open to each other, and to nobody else")]
#![expect(dead_code, reason = "what only the command line uses is not used here")]

mod access;
mod api;
mod card;
mod commands;
mod decline;
mod desk;
mod domain;
mod key;
mod money;
mod network;
mod recovery;
mod service;
mod store;
mod tests;
mod turns;
mod vault;
mod wording;
