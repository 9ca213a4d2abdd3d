//! Shared by the tests.

pub mod wire;
