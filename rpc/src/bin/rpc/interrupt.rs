//! Ctrl-C, for commands that have something to end.

use std::future::Future;
use std::io;

/// Ready at ctrl-c, which is caught from now on.
pub(crate) fn interrupt() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    #[cfg(not(unix))]
    let mut signal = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        signal.recv().await;
    })
}
