//! What the head of a request asks for: whether it may come in at all, which method it calls, until when, and with what metadata.
//!
//! Plain functions of a head. The body is read in `door.rs`.

use std::time::Duration;

use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::Http;
use super::answer::Answer;
use crate::ErrorKind;
use crate::frame::limits::MAX_NAME;

/// How long the caller waits: a whole number and a unit, as in `#[rpc(timeout = "5s")]`.
pub(super) const TIMEOUT: &str = "rpc-timeout";

/// What stands before the key of a pair of metadata.
pub(super) const METADATA: &str = "rpc-metadata-";

/// A year, as in a trait.
const LONGEST: u64 = 365 * 24 * 60 * 60 * 1000;

/// A request that may become a call.
#[derive(Debug)]
pub(super) struct Asked {
    /// `Shop.price`
    pub(super) method: String,
    /// The body is lines: arguments, and items.
    pub(super) lines: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) metadata: Vec<(String, String)>,
}

/// The origin of the web page that the request comes from, if it is one that may come in.
///
/// # Errors
/// 421 or 403 for a request that somebody else's web page may have caused.
pub(super) fn admit<'h>(head: &'h Parts, http: &Http) -> Result<Option<&'h HeaderValue>, Answer> {
    let mut hosts: Vec<&str> = head.headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default()).collect();
    hosts.extend(head.uri.authority().map(|authority| authority.as_str()));
    if hosts.is_empty() || !hosts.iter().all(|host| http.knows_host(host)) {
        let text = "this server does not answer for the host of the request (Http::host)";
        return Err(Answer::refused(StatusCode::MISDIRECTED_REQUEST, ErrorKind::PermissionDenied, text));
    }
    let origins = head.headers.get_all(ORIGIN);
    if !origins.iter().all(|origin| origin.to_str().is_ok_and(|origin| http.knows_origin(origin))) {
        let text = "this server takes no requests from the web page they come from (Http::origin)";
        return Err(Answer::refused(StatusCode::FORBIDDEN, ErrorKind::PermissionDenied, text));
    }
    Ok(origins.iter().next())
}

/// What an admitted request asks for.
///
/// # Errors
/// The answer to one that asks for nothing that there is.
pub(super) fn read(head: &Parts) -> Result<Asked, Answer> {
    if head.method != Method::POST {
        let text = "a method is called by POST, with its arguments as the body";
        return Err(Answer::refused(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::Unimplemented, text));
    }
    if head.uri.query().is_some() {
        return Err(malformed("arguments stand in the body, not in the path"));
    }
    let method = method(head.uri.path())?;
    let lines = content(&head.headers)?;
    Ok(Asked { method, lines, timeout: timeout(&head.headers)?, metadata: metadata(&head.headers)? })
}

fn malformed(text: &str) -> Answer {
    Answer::refused(StatusCode::BAD_REQUEST, ErrorKind::Malformed, text)
}

/// `/Shop/price` is `Shop.price`; `/ping` is `ping`.
fn method(path: &str) -> Result<String, Answer> {
    let unknown = || Answer::refused(StatusCode::NOT_FOUND, ErrorKind::Unimplemented, "the path of a method is /Service/method, or /name");
    let names = path.strip_prefix('/').ok_or_else(unknown)?;
    let name = match names.split_once('/') {
        Some((service, method)) if !service.is_empty() && !method.is_empty() && !method.contains('/') => {
            format!("{}.{}", unescaped(service)?, unescaped(method)?)
        }
        None if !names.is_empty() => unescaped(names)?,
        _ => return Err(unknown()),
    };
    if name.len() > MAX_NAME { Err(unknown()) } else { Ok(name) }
}

/// `%2F` is a slash.
fn unescaped(text: &str) -> Result<String, Answer> {
    let wrong = || malformed("the path has an escape that is none, or is not UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(wrong)?;
        let digit = |at: usize| char::from(digits.as_bytes()[at]).to_digit(16).ok_or_else(wrong);
        bytes.push((16 * digit(0)? + digit(1)?) as u8);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

pub(super) fn unsupported(text: &str) -> Answer {
    Answer::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorKind::Malformed, text)
}

/// Only what a web page cannot send without asking first. Whether it is lines.
fn content(headers: &HeaderMap) -> Result<bool, Answer> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let lines = match (types.next(), types.next()) {
        (Some(only), None) => only.to_str().ok().and_then(lines),
        _ => None,
    };
    let Some(lines) = lines else {
        return Err(unsupported("the body has to be declared as Content-Type: application/json, or application/x-ndjson"));
    };
    if headers.get_all(CONTENT_ENCODING).iter().all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        Ok(lines)
    } else {
        Err(unsupported("this server takes no compressed bodies"))
    }
}

/// Whether a type of JSON is one of lines.
fn lines(content_type: &str) -> Option<bool> {
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next()?;
    let lines = ["application/x-ndjson", "application/jsonl"].iter().any(|lines| kind.eq_ignore_ascii_case(lines));
    let known = lines || kind.eq_ignore_ascii_case("application/json");
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => value.trim_matches('"').eq_ignore_ascii_case("utf-8"),
        _ => true,
    });
    (known && is_utf8).then_some(lines)
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Answer> {
    let mut given = headers.get_all(TIMEOUT).iter();
    let Some(first) = given.next() else { return Ok(None) };
    let milliseconds = first.to_str().ok().filter(|_| given.next().is_none()).and_then(milliseconds);
    match milliseconds {
        Some(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
        None => Err(malformed("Rpc-Timeout is a whole number and a unit, such as 250ms, 5s, 2m or 1h, more than nothing and at most a year")),
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale).filter(|milliseconds| (1..=LONGEST).contains(milliseconds))
}

/// Keys come in lower case, as HTTP compares them.
fn metadata(headers: &HeaderMap) -> Result<Vec<(String, String)>, Answer> {
    let pair = |key: &str, value: &HeaderValue| match std::str::from_utf8(value.as_bytes()) {
        Ok(value) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(malformed("metadata is a header Rpc-Metadata-KEY with a value in UTF-8")),
    };
    let key = |name: &'_ HeaderName| name.as_str().strip_prefix(METADATA).map(str::to_owned);
    let ours = headers.iter().filter_map(|(name, value)| key(name).map(|key| pair(&key, value)));
    // Of equal keys the last one holds: HTTP's own header cannot be overruled.
    ours.chain(headers.get_all(AUTHORIZATION).iter().map(|value| pair("authorization", value))).collect()
}
