//! The checkout as its users run it: real processes, killed, cut off, starved of disk, and asked afterwards what became of the
//! money. The rules have their tests beside them, in `examples/checkout/`.
#![cfg(unix)]
#![allow(clippy::allow_attributes, clippy::unwrap_used, unreachable_pub, reason = "the files of one test binary; a panic is a failed test")]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "postgres")]
#[path = "../support/cluster.rs"]
mod cluster;

mod access;
mod commands;
mod crash;
mod cut;
mod disk;
mod drain;
#[cfg(feature = "postgres")]
mod replicas;
mod shop;
mod story;
mod till;
mod wire;
