//! What the larger examples share: how a server process is told to stop, where it logs, how a command line is read.
//!
//! The small examples, one file each, need none of it.

use std::future::Future;
use std::io;

/// The README's code is compiled and run as a test of this crate, because `rpc` itself is packaged without the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Ready at the first SIGTERM or ctrl-c; a second one ends the process at once.
///
/// The signals are caught from now on, not only once the future is polled: ask before you print that you are ready.
///
/// # Errors
/// When the system lets no handler be installed.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::new()?;
    Ok(async move {
        signals.next().await;
        tracing::info!("draining: no new calls; a second signal stops at once");
        tokio::spawn(async move {
            signals.next().await;
            std::process::exit(130);
        });
    })
}

struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Logs to stderr, one plain line an event: no colour, so that it reads the same in a file.
pub fn log_to_stderr() {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).without_time().with_target(false).init();
}

/// As [`log_to_stderr`], but only what went wrong: for a program whose screen is its own.
pub fn log_warnings_to_stderr() {
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN);
    log.with_writer(io::stderr).with_ansi(false).without_time().with_target(false).init();
}

/// The command line. A mistake in it exits with 64, as `sysexits.h` has it: 1 to 3 are answers.
#[must_use]
pub fn arguments<P: clap::Parser>() -> P {
    P::try_parse().unwrap_or_else(|error| {
        // Nothing better can be done when the terminal is gone.
        let _ = error.print();
        std::process::exit(if error.use_stderr() { 64 } else { 0 })
    })
}
