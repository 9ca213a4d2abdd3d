//! Values to bytes and back: postcard, or JSON for calls by name. The only place in `frame` that knows serde.
//!
//! Not here: frames, and who reads or writes them (`codec.rs`, `server/handler.rs`, `client/call.rs`). What a peer sent is
//! decoded under a [`Budget`]; no bytes make it panic, overflow the stack, or take more memory than that.
//!
//! - `encode.rs`: appending a value, under a limit; a method's `Result` taken apart
//! - `guard.rs`: the accounts of decoding; `decode.rs`: postcard under them; `fault.rs`: why not; `json.rs`: JSON under them
//! - `borrowed.rs`: bytes and texts that borrow; `shared.rs`: bytes that share the memory of a message
//! - `segments.rs`: large parts of a message that leave from where they are
//! - `buffers.rs`: emptied buffers; `text.rs`: short texts for errors

mod borrowed;
mod buffers;
pub(crate) mod decode;
mod encode;
mod fault;
pub(crate) mod guard;
#[cfg(feature = "json")]
mod json;
mod segments;
mod shared;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::borrowed::{Bytes, CowStr};
pub(crate) use self::buffers::{LARGEST, Lent, Open, advance, buffer, let_go, recycle, share};
use self::encode::Unwritten;
pub use self::fault::Fault;
pub(crate) use self::fault::Problem;
pub(crate) use self::guard::Budget;
use self::guard::{EMPTY_ELEMENTS, Refusal};
#[cfg(feature = "json")]
pub(crate) use self::json::is_number;
pub(crate) use self::segments::{Rope, Segments};
pub use self::shared::Bytes as SharedBytes;
pub(crate) use self::shared::{Lending, lend};
use self::text::Size;
#[cfg(feature = "json")]
pub(crate) use self::text::capped;
use crate::schema::exchange::Writer;
#[cfg(feature = "json")]
use crate::schema::{Id, Types};
use crate::schema::{Root, adapt};
use crate::service::{Contract, Method};
use crate::{Error, ErrorKind, Executed};

/// A body that waits for its next call keeps no larger buffer than this.
const KEPT_BY_BODY: usize = 4 << 10;

/// How the values of a call are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Postcard,
    Json,
}

/// What a call ended with; its payload stands beside it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The return value, or what was inside its `Ok`.
    Value,
    /// What was inside the method's `Err`.
    Failed,
    /// Ours; there is no payload.
    Error(Error),
    /// As `Value`, but large parts of it were set aside.
    SegmentedValue(Box<Segments>),
    /// As `Failed`, but large parts of it were set aside.
    SegmentedFailed(Box<Segments>),
}

impl Outcome {
    /// It is the method's own error.
    pub(crate) fn is_failed(&self) -> bool {
        matches!(self, Self::Failed | Self::SegmentedFailed(_))
    }
}

/// The arguments of a call as they came; decoded arguments borrow from it.
#[derive(Debug, Default)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    content: Content,
    budget: Budget,
}

#[derive(Debug, Default)]
enum Content {
    /// The bytes.
    #[default]
    Postcard,
    /// Boxed: a request moves often, and this is the rare case.
    #[cfg(feature = "json")]
    Json(Box<json::Parsed>),
    /// Postcard that is not as it would be written here.
    Adapted(Arc<Writer>),
    /// Postcard that is long: arguments may keep parts of it.
    Shared(Box<Shared>),
}

/// Long arguments, which stand here and not in the body's own buffer.
#[derive(Debug)]
struct Shared {
    bytes: bytes::Bytes,
    /// How they are written, if not as they would be here.
    writer: Option<Arc<Writer>>,
}

impl Body {
    /// Postcard is taken as it is. JSON is parsed: an array by position, or an object by the names of the arguments.
    ///
    /// # Errors
    /// `Malformed` when the JSON is not one of these, or a name or the number of arguments is wrong; `TooLarge` when it
    /// breaks the budget; `Unimplemented` for JSON without the feature.
    pub(crate) fn new(
        bytes: Vec<u8>,
        encoding: Encoding,
        budget: Budget,
        method: &'static Method,
        writer: Option<Arc<Writer>>,
    ) -> Result<Self, Error> {
        match encoding {
            Encoding::Postcard => Ok(Self { bytes, content: writer.map_or(Content::Postcard, Content::Adapted), budget }),
            #[cfg(feature = "json")]
            Encoding::Json => {
                let parsed =
                    json::Parsed::arguments(&bytes, budget, method).map_err(|problem| undecoded(problem, Part::arguments(method), budget))?;
                Ok(Self { bytes, content: Content::Json(Box::new(parsed)), budget })
            }
            #[cfg(not(feature = "json"))]
            Encoding::Json => Err(no_json(Executed::No, &format!("{}: ", method.name))),
        }
    }

    /// The reply is written the same way.
    pub(crate) fn encoding(&self) -> Encoding {
        match self.content {
            Content::Postcard | Content::Adapted(_) | Content::Shared(_) => Encoding::Postcard,
            #[cfg(feature = "json")]
            Content::Json(_) => Encoding::Json,
        }
    }

    /// Arguments in postcard, in the buffer that this one has.
    #[inline]
    pub(crate) fn fill(&mut self, bytes: &[u8], budget: Budget) {
        if bytes.len() > KEPT_BY_BODY {
            self.bytes = buffer();
        }
        self.bytes.extend_from_slice(bytes);
        self.budget = budget;
    }

    /// The same, when they stand in a buffer of their own.
    pub(crate) fn own(&mut self, bytes: Vec<u8>, encoding: Encoding, budget: Budget) {
        self.budget = budget;
        if encoding == Encoding::Postcard && bytes.len() > LARGEST {
            self.content = Content::Shared(Box::new(Shared { bytes: share(bytes), writer: None }));
        } else {
            self.bytes = bytes;
        }
    }

    /// They are JSON.
    ///
    /// # Errors
    /// As [`Body::new`].
    pub(crate) fn parse(&mut self, method: &'static Method) -> Result<(), Error> {
        *self = Self::new(std::mem::take(&mut self.bytes), Encoding::Json, self.budget, method, None)?;
        Ok(())
    }

    /// They are not written as they would be here.
    pub(crate) fn adapt(&mut self, writer: Arc<Writer>) {
        match &mut self.content {
            Content::Shared(shared) => shared.writer = Some(writer),
            content => *content = Content::Adapted(writer),
        }
    }

    /// Empties it; the buffer stays for the next call, unless it is large.
    #[inline]
    pub(crate) fn clear(&mut self) {
        // Asked first: there is seldom anything to drop.
        if !matches!(self.content, Content::Postcard) {
            self.content = Content::Postcard;
        }
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BY_BODY {
            recycle(std::mem::take(&mut self.bytes));
        }
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// The arguments of a call, as a tuple.
///
/// # Errors
/// `Malformed` when they are not these and nothing more, or nest too deep; `TooLarge` when they take too much memory.
#[inline]
pub(crate) fn decode_arguments<'a, A: Deserialize<'a>>(body: &'a Body, method: &'static Method) -> Result<A, Error> {
    // One place decodes all that is postcard: each place is code for every type.
    let (bytes, writer, _lent) = match &body.content {
        Content::Postcard => (&body.bytes[..], None, None),
        #[cfg(feature = "json")]
        Content::Json(parsed) => {
            return parsed.read(method.arguments).map_err(|fault| undecoded(fault.into_problem(), Part::arguments(method), body.budget));
        }
        Content::Adapted(writer) => (&body.bytes[..], Some(writer), None),
        Content::Shared(shared) => (&shared.bytes[..], shared.writer.as_ref(), Some(lend(shared.bytes.clone()))),
    };
    let undecoded = |fault: Fault| undecoded(fault.into_problem(), Part::arguments(method), body.budget);
    // Mapped where it comes from, and once: each time it is moved.
    match writer {
        None => decode::from_slice(bytes, body.budget).map_err(undecoded),
        Some(writer) => adapted_arguments(bytes, body.budget, writer, method).map_err(undecoded),
    }
}

fn adapted_arguments<'a, A: Deserialize<'a>>(bytes: &'a [u8], budget: Budget, writer: &'a Writer, method: &'static Method) -> Result<A, Fault> {
    adapt::arguments(writer.peer(), writer.signature(), method.arguments, bytes, budget)
}

/// As [`decode_reply`], of a peer that writes this part of the method differently.
///
/// # Errors
/// As [`decode_reply`].
pub(crate) fn decode_adapted<T: DeserializeOwned>(bytes: &[u8], writer: &Writer, root: Root, budget: Budget) -> Result<T, Error> {
    let part = if matches!(root, Root::Upload | Root::Download) { Part::ITEM_READ } else { Part::REPLY };
    let decoded = writer.root(root).and_then(|root| adapt::value(writer.peer(), root, bytes, budget));
    decoded.map_err(|fault| undecoded(fault.into_problem(), part, budget))
}

/// A reply's value, or the method's own error.
///
/// # Errors
/// As [`decode_arguments`]; the method has run.
#[inline]
pub(crate) fn decode_reply<T: DeserializeOwned>(bytes: &[u8], encoding: Encoding, budget: Budget) -> Result<T, Error> {
    decode_part(bytes, encoding, budget, Part::REPLY)
}

#[inline]
fn decode_part<T: DeserializeOwned>(bytes: &[u8], encoding: Encoding, budget: Budget, part: Part) -> Result<T, Error> {
    let decoded = match encoding {
        Encoding::Postcard => decode::from_slice(bytes, budget),
        #[cfg(feature = "json")]
        Encoding::Json => json::Parsed::reply(bytes, budget).map_err(Fault::new).and_then(|parsed| parsed.read(&[])),
        #[cfg(not(feature = "json"))]
        Encoding::Json => return Err(no_json(Executed::Yes, "")),
    };
    decoded.map_err(|fault| undecoded(fault.into_problem(), part, budget))
}

/// Appends what a method returned, but for large parts of it, and says what it was. If that is an error nothing is appended. `own` is asked only for JSON,
/// which is written by the schema.
#[inline]
pub(crate) fn encode_returned<R: Serialize + ?Sized>(
    result: &R,
    own: impl FnOnce() -> Results,
    encoding: Encoding,
    limit: usize,
    out: &mut Vec<u8>,
) -> Outcome {
    let mut aside = None;
    let encoded = match encoding {
        #[cfg(feature = "json")]
        Encoding::Json => encode::encode_result_by(result, own(), limit, out),
        encoding => {
            let _ = own;
            encode::encode_result(result, encoding, limit, out, Some(&mut aside))
        }
    };
    match aside {
        None => outcome(encoded, limit),
        Some(segments) if encoded.0 => Outcome::SegmentedFailed(segments),
        Some(segments) => Outcome::SegmentedValue(segments),
    }
}

/// The same without a schema: the value is written by its `Serialize`, into JSON too.
#[cfg(feature = "json")]
#[inline]
pub(crate) fn encode_untraced<R: Serialize + ?Sized>(result: &R, encoding: Encoding, limit: usize, out: &mut Vec<u8>) -> Outcome {
    outcome(encode::encode_result(result, encoding, limit, out, None), limit)
}

#[inline]
fn outcome(encoded: (bool, Result<(), Unwritten>), limit: usize) -> Outcome {
    match encoded {
        (false, Ok(())) => Outcome::Value,
        (true, Ok(())) => Outcome::Failed,
        (_, Err(unwritten)) => Outcome::Error(unencoded(unwritten, Part::REPLY, limit)),
    }
}

/// Appends the arguments of a call, a tuple; `aside` takes large parts of them that need not be copied.
///
/// # Errors
/// `TooLarge` when they are longer than `limit`, `InvalidInput` when they cannot be encoded. Nothing is appended then.
#[inline]
pub(crate) fn encode_arguments<A: Serialize + ?Sized>(
    arguments: &A,
    encoding: Encoding,
    limit: usize,
    out: &mut Vec<u8>,
    aside: Option<&mut Option<Box<Segments>>>,
) -> Result<(), Error> {
    encode::encode(arguments, encoding, limit, out, aside).map_err(|unwritten| unencoded(unwritten, Part::ARGUMENTS, limit))
}

/// Appends the arguments of a call that are JSON already.
///
/// # Errors
/// As [`encode_arguments`].
#[cfg(feature = "json")]
pub(crate) fn encode_value(arguments: &serde_json::Value, limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    encode::encode_value(arguments, limit, out).map_err(|unwritten| unencoded(unwritten, Part::ARGUMENTS, limit))
}

/// An item of a stream.
///
/// # Errors
/// As [`decode_reply`].
#[inline]
pub(crate) fn decode_item<T: DeserializeOwned>(bytes: &[u8], encoding: Encoding, budget: Budget) -> Result<T, Error> {
    decode_part(bytes, encoding, budget, Part::ITEM_READ)
}

/// Appends an item of a stream that is JSON already.
///
/// # Errors
/// As [`encode_arguments`].
#[cfg(feature = "json")]
pub(crate) fn encode_item_value(item: &serde_json::Value, limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    encode::encode_value(item, limit, out).map_err(|unwritten| unencoded(unwritten, Part::ITEM, limit))
}

/// Appends as JSON an item that was encoded by [`encode_item`].
///
/// # Errors
/// As [`encode_arguments`].
pub(crate) fn rewrite_item(item: &[u8], own: Results, limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    #[cfg(feature = "json")]
    {
        let Some(types) = own.download else { return Err(Part::ITEM.error(ErrorKind::Internal, "its type is not in the schema")) };
        encode::rewrite(types, item, limit, out).map_err(|unwritten| unencoded(unwritten, Part::ITEM, limit))
    }
    #[cfg(not(feature = "json"))]
    {
        let _ = (item, own, limit, out);
        Err(no_json(Executed::Maybe, ""))
    }
}

/// Appends an item of a stream.
///
/// # Errors
/// As [`encode_arguments`].
#[inline]
pub(crate) fn encode_item<T: Serialize + ?Sized>(item: &T, limit: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    encode::encode(item, Encoding::Postcard, limit, out, None).map_err(|unwritten| unencoded(unwritten, Part::ITEM, limit))
}

/// The types of what a method gives, as its own end knows them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Results {
    /// See [`Signature::returns`](crate::schema::Signature::returns).
    #[cfg(feature = "json")]
    returns: Option<Types<'static>>,
    /// See [`Signature::error`](crate::schema::Signature::error).
    #[cfg(feature = "json")]
    error: Option<Types<'static>>,
    /// See [`Signature::download`](crate::schema::Signature::download).
    #[cfg(feature = "json")]
    download: Option<Types<'static>>,
}

impl Results {
    /// Those of the method with this number.
    pub(crate) fn of(contract: &'static Contract, method: usize) -> Self {
        #[cfg(feature = "json")]
        {
            let schema = &contract.own().schema;
            let Some(signature) = schema.methods.get(method) else { return Self::default() };
            let types = |root: Option<Id>| root.map(|root| Types { nodes: &schema.nodes, root });
            Self { returns: types(signature.returns), error: types(signature.error), download: types(signature.download) }
        }
        #[cfg(not(feature = "json"))]
        {
            let _ = (contract, method);
            Self {}
        }
    }
}

/// What of a call was being written or read, for the texts of errors.
#[derive(Clone, Copy)]
struct Part {
    method: Option<&'static Method>,
    noun: &'static str,
    executed: Executed,
}

impl Part {
    const ARGUMENTS: Self = Self { method: None, noun: "arguments", executed: Executed::No };
    const ITEM: Self = Self { method: None, noun: "item", executed: Executed::Maybe };
    /// Of a method that has begun.
    const ITEM_READ: Self = Self { method: None, noun: "item", executed: Executed::Yes };
    const REPLY: Self = Self { method: None, noun: "reply", executed: Executed::Yes };

    fn arguments(method: &'static Method) -> Self {
        Self { method: Some(method), ..Self::ARGUMENTS }
    }

    fn error(self, kind: ErrorKind, text: &str) -> Error {
        let text = match self.method {
            Some(method) => format!("{}: {text}", method.name),
            None => text.to_owned(),
        };
        Error::with(kind, self.executed, text)
    }
}

#[cold]
fn undecoded(problem: Problem, part: Part, budget: Budget) -> Error {
    let noun = part.noun;
    match problem {
        problem @ (Problem::Malformed(_) | Problem::Duplicate(_) | Problem::Missing(_)) => {
            part.error(ErrorKind::Malformed, &format!("malformed {noun}: {problem}"))
        }
        Problem::Refused(Refusal::Bytes) => {
            let text = format!("{noun} above the limit of {} when decoded (Limits::max_decoded)", Size(budget.bytes));
            part.error(ErrorKind::TooLarge, &text)
        }
        Problem::Refused(Refusal::EmptyElements) => {
            let text = format!("{noun} with more than {EMPTY_ELEMENTS} elements without size (Limits::max_decoded)");
            part.error(ErrorKind::TooLarge, &text)
        }
        Problem::Refused(Refusal::Depth) => {
            let text = format!("malformed {noun}: nested deeper than the limit of {} (Limits::max_depth)", budget.depth);
            part.error(ErrorKind::Malformed, &text)
        }
    }
}

#[cold]
fn unencoded(unwritten: Unwritten, part: Part, limit: usize) -> Error {
    let noun = part.noun;
    let kind = if part.executed == Executed::No { ErrorKind::InvalidInput } else { ErrorKind::Internal };
    match unwritten {
        Unwritten::TooLong => part.error(ErrorKind::TooLarge, &format!("{noun} above the limit of {} (Limits::max_message)", Size(limit))),
        Unwritten::Type(text) => part.error(kind, &format!("the {noun} cannot be encoded: {text}")),
        #[cfg(not(feature = "json"))]
        Unwritten::NoJson => no_json(part.executed, ""),
    }
}

#[cfg(not(feature = "json"))]
#[cold]
fn no_json(executed: Executed, prefix: &str) -> Error {
    Error::with(ErrorKind::Unimplemented, executed, format!("{prefix}JSON is not available: built without the json feature"))
}
