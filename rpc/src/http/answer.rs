//! What an HTTP client is answered: a status and JSON. The table of `docs/http.md`.

use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;

use crate::streaming::Text;
use crate::{Error, ErrorKind, Executed, Streaming};

/// A status and a body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content: Content,
    pub(super) retry_after: Option<Duration>,
    /// The connection is good for no other request.
    pub(super) closes: bool,
}

/// What a body is made of.
#[derive(Debug)]
pub(super) enum Content {
    Json(Vec<u8>),
    /// One a line.
    Items(Streaming<Text>),
}

impl Answer {
    fn new(status: StatusCode, json: Vec<u8>) -> Self {
        Self { status, content: Content::Json(json), retry_after: None, closes: false }
    }

    /// What the method returns as a stream, which has begun.
    pub(super) fn items(items: Streaming<Text>) -> Self {
        Self { content: Content::Items(items), ..Self::new(StatusCode::OK, Vec::new()) }
    }

    /// What the method returned, as JSON.
    pub(super) fn value(json: Vec<u8>) -> Self {
        Self::new(StatusCode::OK, json)
    }

    /// The method's own error, as JSON. The request was understood and the method has run: no status says that better than 422, and
    /// none of ours is the same.
    pub(super) fn failed(json: &[u8]) -> Self {
        let body = [br#"{"error":{"kind":"service","executed":"yes","value":"#, json, b"}}"].concat();
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, body)
    }

    pub(super) fn error(error: &Error) -> Self {
        let mut answer = Self::refused(status(error), error.kind(), error.message());
        answer.retry_after = error.retry_after();
        answer.content = Content::Json(body(error));
        answer
    }

    /// Not even a call: what is wrong with the request. Nothing has run.
    pub(super) fn refused(status: StatusCode, kind: ErrorKind, text: &str) -> Self {
        Self::new(status, body(&Error::new(kind, text.to_owned())))
    }

    pub(super) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }
}

/// What stands in the body of an answer without a value.
#[derive(Serialize)]
struct Told<'e> {
    error: Fields<'e>,
}

#[derive(Serialize)]
struct Fields<'e> {
    kind: &'static str,
    executed: String,
    message: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// An error as JSON.
pub(super) fn body(error: &Error) -> Vec<u8> {
    let retry_after_ms = error.retry_after().map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    let fields = Fields { kind: kind(error.kind()), executed: error.executed().to_string(), message: error.message(), retry_after_ms };
    serde_json::to_vec(&Told { error: fields }).expect("texts and a number can be written")
}

fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::DeadlineExceeded => "deadline_exceeded",
        ErrorKind::Overloaded => "overloaded",
        ErrorKind::Unimplemented => "unimplemented",
        ErrorKind::Malformed => "malformed",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Incompatible => "incompatible",
        ErrorKind::Unauthenticated => "unauthenticated",
        ErrorKind::PermissionDenied => "permission_denied",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Draining => "draining",
        ErrorKind::Internal => "internal",
        ErrorKind::Service => "service",
        ErrorKind::Protocol => "protocol",
        ErrorKind::InvalidInput => "invalid_input",
        ErrorKind::Missed => "missed",
    }
}

fn status(error: &Error) -> StatusCode {
    match error.kind() {
        ErrorKind::Malformed | ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::Unimplemented => StatusCode::NOT_FOUND,
        // A reply that is too large is the server's own fault; an item of a request is not.
        ErrorKind::TooLarge if error.executed() != Executed::Yes => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Overloaded | ErrorKind::Draining | ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
