//! How a connection ends: why, in the words of the log, of the peer and of the calls that it takes with it.
//!
//! `driver.rs` finds the reason; here it is told to everybody.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::driver::Side;
use super::inbound::Inbound;
use super::link::Link;
use super::outbound::{Phase, Wake};
use crate::frame::codec::{self, Frame, kind};
use crate::frame::violation::Violation;
use crate::log::LogLimit;
use crate::{Error, ErrorKind, Executed};

/// Codes of a go-away (protocol 6.4).
pub(crate) mod code {
    pub(crate) const GOODBYE: u64 = 0;
    pub(crate) const VIOLATION: u64 = 1;
    pub(crate) const OVERLOADED: u64 = 2;
    pub(crate) const TIMEOUT: u64 = 3;
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it.
    Closed,
    /// Both ends were done with it.
    Goodbye,
    /// This end dropped it.
    Dropped,
    Io(io::Error),
    Violation(Violation),
    Timeout(&'static str),
    /// The peer said why.
    Told {
        code: u64,
        message: String,
    },
}

impl End {
    const CLASSES: usize = 4 + Violation::CLASSES;

    /// Each has a log line a second of its own.
    fn class(&self) -> usize {
        match self {
            Self::Closed | Self::Goodbye | Self::Dropped => 0,
            Self::Io(_) => 1,
            Self::Timeout(_) => 2,
            Self::Told { .. } => 3,
            Self::Violation(violation) => 4 + violation.class(),
        }
    }

    /// At debug level if nothing is wrong.
    pub(crate) fn log(&self, peer: &str) {
        match self {
            Self::Closed | Self::Goodbye | Self::Dropped => tracing::debug!(peer, reason = %self, "connection ended"),
            _ => {
                static LIMITS: [LogLimit; End::CLASSES] = [const { LogLimit::new() }; End::CLASSES];
                if let Some(skipped) = LIMITS[self.class()].pass() {
                    tracing::warn!(skipped, "connection with {peer} ended: {self}");
                }
            }
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer closed the connection"),
            Self::Goodbye => f.write_str("the connection was closed"),
            Self::Dropped => f.write_str("the connection was dropped"),
            Self::Io(error) => write!(f, "the connection was lost: {error}"),
            Self::Violation(violation) => violation.fmt(f),
            Self::Timeout(what) => f.write_str(what),
            Self::Told { code: code::VIOLATION, message } => {
                write!(f, "the peer closed the connection: it says that this end broke the protocol: {message}")
            }
            Self::Told { message, .. } => write!(f, "the peer closed the connection: {message}"),
        }
    }
}

/// What the peer is told of the end.
pub(crate) fn last_words(end: &End, side: Side, inbound: &Inbound, leaving: bool, link: &Link) -> Vec<u8> {
    let mut last = Vec::new();
    let told = match end {
        // Another protocol's words would mean nothing to it, nor ours to it.
        End::Violation(Violation::WrongProtocol(_)) => None,
        End::Violation(Violation::Version { .. }) if side == Side::Accepting => {
            codec::write_preface(&mut last);
            Frame::new(&mut last, kind::REFUSED).number(u64::from(codec::VERSION)).number(u64::from(codec::VERSION)).end(0);
            None
        }
        End::Violation(Violation::Version { .. }) => None,
        End::Violation(violation) => Some((code::VIOLATION, violation.to_string())),
        End::Timeout(what) => Some((code::TIMEOUT, (*what).to_owned())),
        End::Dropped | End::Goodbye if !leaving => Some((code::GOODBYE, String::new())),
        _ => None,
    };
    if let Some((code, message)) = told {
        if !link.lock().outbound.greeted {
            codec::write_preface(&mut last);
            codec::write_hello(&mut last, &link.limits.allowance());
        }
        Frame::new(&mut last, kind::GO_AWAY).number(code).number(inbound.calls).short_text(&message).end(0);
    }
    last
}

/// Writes the last words and closes, as far as the peer takes it without much waiting.
pub(crate) async fn farewell(link: &Link, mut read: Box<dyn AsyncRead + Send + Unpin>, last: &[u8]) {
    link.writer().batch().frames.extend_from_slice(last);
    let closes = async {
        let closed = poll_fn(|cx| {
            let mut writer = link.writer();
            let written = writer.poll_write(cx, &mut false);
            let spent = writer.take_spent();
            drop(writer);
            drop(spent);
            std::task::ready!(written)?;
            link.writer().poll_shutdown(cx)
        });
        // A socket that is closed with bytes unread resets the connection, and the last words with it.
        let mut unread = [0; 4096];
        closed.await?;
        for _ in 0..256 {
            if read.read(&mut unread).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    // The peer may not read; its socket's buffer is all the courtesy it gets.
    let _ = tokio::time::timeout(Duration::from_millis(100), closes).await;
}

/// Ends every call when the driver's future ends, in whatever way.
pub(crate) struct Lost(pub(crate) Arc<Link>);

impl Lost {
    pub(crate) fn lost(&self, end: &End) {
        let refused = self.is_refused_certificate(end);
        let kind = match end {
            End::Violation(Violation::Version { .. }) => ErrorKind::Incompatible,
            End::Io(_) if refused => ErrorKind::Unauthenticated,
            End::Violation(_) | End::Told { code: code::VIOLATION, .. } => ErrorKind::Protocol,
            End::Told { code: code::OVERLOADED, .. } => ErrorKind::Overloaded,
            End::Goodbye if self.0.lock().outbound.phase == Phase::Leaving => ErrorKind::Draining,
            _ => ErrorKind::Unavailable,
        };
        if refused || matches!(end, End::Violation(Violation::Version { .. } | Violation::WrongProtocol(_))) {
            // Whatever it is, it has run no method of ours, and will not on the next connection either.
            let mut state = self.0.lock();
            state.outbound.unwelcome = Some(Box::new((kind, end.to_string())));
            state.outbound.on_go_away(0, &mut Wake::new());
        }
        let mut error = Error::with(kind, Executed::Maybe, end.to_string());
        match end {
            // What was said is all there is to say.
            End::Io(_) if refused => {}
            End::Io(source) => error = error.caused_by(io::Error::from(source.kind())),
            _ => {}
        }
        self.0.lost(&error);
    }

    /// The server has ended the handshake of TLS after this client was done with it, so its first calls had left.
    #[cfg(feature = "tls")]
    fn is_refused_certificate(&self, end: &End) -> bool {
        matches!(end, End::Io(error) if crate::tls::is_refused_certificate(error)) && !self.0.lock().outbound.has_hello()
    }

    #[cfg(not(feature = "tls"))]
    fn is_refused_certificate(&self, _: &End) -> bool {
        false
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        self.lost(&End::Dropped);
        // Clients and handlers may hold the link for long; its socket is not theirs.
        let mut writer = self.0.writer();
        writer.close();
        let spent = writer.take_spent();
        drop(writer);
        drop(spent);
    }
}
