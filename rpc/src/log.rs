//! Log lines that a peer can cause, held to one a second from each place.

/// Logs at most one line a second from this place, with the number of those left out.
macro_rules! log_limited {
    ($level:ident, $($text:tt)*) => {{
        static LIMIT: $crate::log::LogLimit = $crate::log::LogLimit::new();
        if let Some(skipped) = LIMIT.pass() {
            ::tracing::$level!(skipped, $($text)*);
        }
    }};
}
pub(crate) use log_limited;

/// When a place last logged, and how often it has held back since.
pub(crate) struct LogLimit(std::sync::Mutex<(Option<std::time::Instant>, u64)>);

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self(std::sync::Mutex::new((None, 0)))
    }

    pub(crate) fn pass(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = std::time::Instant::now();
        if state.0.is_some_and(|last| now - last < std::time::Duration::from_secs(1)) {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}
