//! The last frame of a call: what a handler has written is completed, or taken out if it is large, or becomes an error.
//!
//! Used by `dispatch.rs`, for handlers that end where they stand, and by `runner.rs`. What the frame looks like is `frame/codec.rs`.

use bytes::Bytes;

use super::handler::Panic;
use crate::connection::outbound::write_error;
use crate::frame::codec::{self, HEADER, kind};
use crate::frame::limits::MAX_FRAME;
use crate::frame::payload::{self, Outcome, Rope, Segments};
use crate::log::log_limited;
use crate::service::Method;
use crate::{Error, ErrorKind};

/// Of a reply whose large parts stand elsewhere no more than this is copied, so that what it stands in can be used again.
const LITTLE: usize = 4 << 10;

/// A panic's text stays in the server's log: it may hold what the caller must not see.
pub(crate) fn panicked(method: &Method, panic: &Panic) -> Error {
    log_limited!(error, "{}: the handler panicked: {}", method.name, panic.text.as_deref().unwrap_or("unknown"));
    Error::with(ErrorKind::Internal, panic.executed, format!("{}: the handler panicked", method.name))
}

#[cold]
pub(crate) fn log_notification(outcome: &Outcome, method: &Method) {
    if let Outcome::Error(error) = outcome {
        log_limited!(warn, "{}: a notification failed: {error}", method.name);
    }
}

/// Completes the reply that begins at `start`, and its payload at `payload`, and ends with `out`. If it needs more than one frame it is
/// taken out, in the buffer it is in: a large payload is not copied, the few frames before it are.
#[inline]
pub(crate) fn end_reply(out: &mut Vec<u8>, start: usize, payload: usize, id: u32, outcome: Outcome, method: &Method) -> Option<Rope> {
    let kind = match outcome {
        Outcome::Value => kind::REPLY,
        Outcome::Failed => kind::FAIL,
        Outcome::Error(error) => {
            out.truncate(start);
            write_named(out, id, error, method);
            return None;
        }
        Outcome::SegmentedValue(segments) | Outcome::SegmentedFailed(segments) => return Some(take_reply(out, start, payload, Some(segments))),
    };
    if out.len() - start - HEADER <= MAX_FRAME {
        codec::seal_reply(out, start, kind);
        return None;
    }
    Some(take_reply(out, start, payload, None))
}

/// Our own words, with the method's name before them where they lack it.
#[cold]
fn write_named(out: &mut Vec<u8>, id: u32, error: Error, method: &Method) {
    if error.message().starts_with(method.name) || method.name.is_empty() {
        write_error(out, id, &error);
    } else {
        let named = format!("{}: {}", method.name, error.message());
        write_error(out, id, &Error::with(error.kind(), error.executed(), named).after(error.retry_after()));
    }
}

#[cold]
fn take_reply(out: &mut Vec<u8>, start: usize, payload: usize, segments: Option<Box<Segments>>) -> Rope {
    if segments.is_some() && out.len() - payload <= LITTLE {
        let little = Bytes::copy_from_slice(&out[payload..]);
        out.truncate(start);
        return Rope::new(little, segments);
    }
    let before = out[..start].to_vec();
    let whole = std::mem::replace(out, before);
    Rope::new(payload::share(whole).slice(payload..), segments)
}
