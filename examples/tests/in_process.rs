//! The example's own test, run with all others. Were the example itself a test target, cargo would build no program of it.

#[path = "../in_process.rs"]
#[expect(dead_code, reason = "its `main` is run by `transcripts.rs`")]
mod example;
