//! Whether the peer is still there: it is asked when nothing has come from it for a while (protocol 8.3).
//!
//! Part of `driver.rs`, which has the clock. Any byte is a sign of life; a pong is one like any other.

use tokio::time::Instant;

use crate::frame::limits::Limits;

pub(crate) struct Keepalive {
    /// When the last bytes came.
    heard: Instant,
    /// A ping was sent then, and nothing has come since.
    asked: Option<Instant>,
    overdue: bool,
}

impl Keepalive {
    pub(crate) fn new(now: Instant) -> Self {
        Self { heard: now, asked: None, overdue: false }
    }

    /// Bytes have come.
    #[inline]
    pub(crate) fn heard(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// When to call [`due`](Self::due).
    pub(crate) fn next(&self, limits: &Limits) -> Option<Instant> {
        match self.asked {
            Some(asked) => asked.checked_add(limits.keepalive_timeout),
            None => self.heard.checked_add(limits.keepalive_interval),
        }
    }

    /// The time has come. True: to ask.
    pub(crate) fn due(&mut self, now: Instant) -> bool {
        self.overdue = self.asked.is_some();
        self.asked.get_or_insert(now);
        !self.overdue
    }

    /// It was asked, and its time is over. To be believed only by who has just found nothing to read: a process that
    /// stood still for long has answers waiting.
    pub(crate) fn is_overdue(&self) -> bool {
        self.overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_quiet_peer_is_asked_once_and_any_byte_is_an_answer() {
        let limits = Limits::default();
        let began = Instant::now();
        let mut keepalive = Keepalive::new(began);
        let asks = began + limits.keepalive_interval;
        assert_eq!(keepalive.next(&limits), Some(asks));
        assert!(keepalive.due(asks));
        assert_eq!(keepalive.next(&limits), Some(asks + limits.keepalive_timeout));
        keepalive.heard(asks + Duration::from_secs(9));
        assert_eq!(keepalive.next(&limits), Some(asks + Duration::from_secs(9) + limits.keepalive_interval));
        assert!(keepalive.due(asks + Duration::from_secs(29)) && !keepalive.is_overdue());
        assert!(!keepalive.due(asks + Duration::from_secs(39)) && keepalive.is_overdue());
    }
}
