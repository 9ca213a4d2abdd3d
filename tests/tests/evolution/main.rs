//! Two ends of different age (`docs/protocol.md` 9): everything works that can, and what cannot fails alone and says why.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod alone;
mod binaries;
mod cut;
mod ends;
mod in_flight;
mod shapes;
mod strict;
