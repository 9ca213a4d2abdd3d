//! Frames as bytes: the preface, headers, varints and every frame's fields (`docs/protocol.md` 2 to 6).
//!
//! Written with [`Frame`] or [`call`], read with [`Fields`]. No state: what may follow what is `connection/inbound.rs`.

use std::time::Duration;

use super::limits::{Allowance, MAX_FRAME, MAX_HEAD};
use super::violation::Violation;
use crate::{ErrorKind, Executed};

/// The version of the protocol this crate speaks.
pub(crate) const VERSION: u16 = 1;

/// Not ASCII, so no text protocol starts like it; CR LF shows a transport that mends line ends. The version follows.
const MAGIC: [u8; 6] = *b"\xf5rpc\r\n";

/// Magic and version.
pub(crate) const PREFACE: usize = 8;

/// Kind and flags in one byte, length in three.
pub(crate) const HEADER: usize = 4;

/// What a frame is (protocol 3.3): the low five bits of its first byte.
pub(crate) mod kind {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const REFUSED: u8 = 2;
    pub(crate) const BIND: u8 = 3;
    pub(crate) const BOUND: u8 = 4;
    pub(crate) const CALL: u8 = 5;
    pub(crate) const NOTIFY: u8 = 6;
    pub(crate) const REPLY: u8 = 7;
    pub(crate) const FAIL: u8 = 8;
    pub(crate) const ERROR: u8 = 9;
    pub(crate) const CALL_CHUNK: u8 = 10;
    pub(crate) const REPLY_CHUNK: u8 = 11;
    pub(crate) const CANCEL: u8 = 12;
    pub(crate) const PING: u8 = 13;
    pub(crate) const PONG: u8 = 14;
    pub(crate) const GO_AWAY: u8 = 15;
    pub(crate) const CALL_ITEMS: u8 = 16;
    pub(crate) const REPLY_ITEMS: u8 = 17;
    pub(crate) const CALL_END: u8 = 18;
    pub(crate) const CALL_CREDIT: u8 = 19;
    pub(crate) const REPLY_CREDIT: u8 = 20;
    pub(crate) const CALL_STOP: u8 = 21;
    pub(crate) const SCHEMA: u8 = 22;

    pub(crate) const MASK: u8 = 0x1f;
}

/// The high three bits of a frame's first byte (protocol 3.2).
pub(crate) mod flag {
    /// The message goes on in chunks; its whole length stands before the payload.
    pub(crate) const MORE: u8 = 0x20;
    /// Optional parts stand before the payload.
    pub(crate) const OPTIONS: u8 = 0x40;
    /// Who does not know this kind may skip it.
    pub(crate) const SKIP: u8 = 0x80;
}

/// Which optional parts a call has (protocol 5.6).
mod option {
    pub(super) const DEADLINE: u64 = 1;
    pub(super) const METADATA: u64 = 2;
    pub(super) const JSON: u64 = 4;
    pub(super) const ITEMS_BACK: u64 = 8;
    pub(super) const ITEMS_ALONG: u64 = 16;
    pub(super) const ALL: u64 = DEADLINE | METADATA | JSON | ITEMS;
    /// Only with JSON.
    pub(super) const ITEMS: u64 = ITEMS_BACK | ITEMS_ALONG;
}

/// Keys of a hello (protocol 2.2).
mod hello {
    pub(super) const MAX_MESSAGE: u64 = 1;
    pub(super) const IN_FLIGHT: u64 = 2;
    pub(super) const CALL_BYTES: u64 = 3;
    pub(super) const ASSEMBLY: u64 = 4;
    pub(super) const SCHEMAS: u64 = 5;
}

/// Magic and version.
pub(crate) fn write_preface(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
}

/// The peer's version, once all of its preface is there.
pub(crate) fn read_preface(bytes: &[u8]) -> Result<Option<u16>, Violation> {
    let shown = &bytes[..bytes.len().min(MAGIC.len())];
    if *shown != MAGIC[..shown.len()] {
        // Most are known by their first bytes; wait for enough of them, but never past the length of a preface.
        if bytes.len() < PREFACE && other_protocol(bytes).is_none() && might_be_known(bytes) {
            return Ok(None);
        }
        return Err(Violation::WrongProtocol(other_protocol(bytes).unwrap_or(UNKNOWN)));
    }
    match bytes.get(MAGIC.len()..PREFACE) {
        Some(version) => Ok(Some(u16::from_le_bytes([version[0], version[1]]))),
        None => Ok(None),
    }
}

/// What [`Violation::WrongProtocol`] may name.
pub(crate) const OTHER_PROTOCOLS: [&str; 5] = [UNKNOWN, HTTP1, "HTTP/2", TLS, "SSH"];

pub(crate) const UNKNOWN: &str = "an unknown protocol";
pub(crate) const HTTP1: &str = "HTTP/1";
pub(crate) const TLS: &str = "TLS";

const KNOWN: [(&[u8], &str); 14] = [
    (b"PRI * HT", "HTTP/2"),
    (b"GET ", HTTP1),
    (b"POST ", HTTP1),
    (b"PUT ", HTTP1),
    (b"HEAD ", HTTP1),
    (b"DELETE ", HTTP1),
    (b"OPTIONS ", HTTP1),
    (b"PATCH ", HTTP1),
    (b"CONNECT ", HTTP1),
    (b"HTTP/1.", HTTP1),
    (b"SSH-", "SSH"),
    (b"\x16\x03", TLS),
    (b"\x15\x03", TLS),
    (b"\x00\x00", "HTTP/2"),
];

/// No protocol but ours begins like this, whatever may follow.
#[cfg(feature = "http")]
pub(crate) fn begins_as_ours(bytes: &[u8]) -> bool {
    bytes.first() == MAGIC.first()
}

fn other_protocol(bytes: &[u8]) -> Option<&'static str> {
    KNOWN.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, name)| *name)
}

fn might_be_known(bytes: &[u8]) -> bool {
    KNOWN.iter().any(|(start, _)| start.starts_with(bytes))
}

/// What a header says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) length: usize,
}

/// The header at the start of these bytes, if all of it is there.
#[inline]
pub(crate) fn read_header(bytes: &[u8]) -> Result<Option<Header>, Violation> {
    let Some(word) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let word = u32::from_le_bytes(*word);
    let length = (word >> 8) as usize;
    if length > MAX_FRAME {
        return Err(Violation::FrameTooLong(length));
    }
    let first = word as u8;
    Ok(Some(Header { kind: first & kind::MASK, flags: first & !kind::MASK, length }))
}

#[inline]
fn header(kind: u8, flags: u8, length: usize) -> [u8; HEADER] {
    debug_assert!(length <= MAX_FRAME, "frames are cut before they are written");
    (u32::from(kind | flags) | (length as u32) << 8).to_le_bytes()
}

/// A number in groups of seven bits, the lowest first; no byte more than it needs.
#[inline]
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that these pairs take in a call (protocol 5.6): what both ends hold against `Limits::max_metadata`.
pub(crate) fn metadata_size(pairs: &[(String, String)]) -> usize {
    let text = |text: &str| text.len() + (64 - (text.len() as u64 | 1).leading_zeros() as usize).div_ceil(7);
    pairs.iter().map(|(key, value)| text(key) + text(value)).sum()
}

/// Such pairs as a call carries them.
#[cfg(feature = "http")]
pub(crate) fn metadata(pairs: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(metadata_size(pairs));
    for (key, value) in pairs {
        write_text(&mut out, key);
        write_text(&mut out, value);
    }
    out
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A frame being written to the end of a buffer; its header is filled in when it ends.
pub(crate) struct Frame<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    kind: u8,
}

impl<'o> Frame<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>, kind: u8) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        Self { out, start, kind }
    }

    pub(crate) fn number(self, value: u64) -> Self {
        write_varint(self.out, value);
        self
    }

    pub(crate) fn byte(self, value: u8) -> Self {
        self.out.push(value);
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        write_text(self.out, text);
        self
    }

    /// The whole of a text that may be too long for one frame, cut at a character.
    pub(crate) fn short_text(self, text: &str) -> Self {
        let mut end = text.len().min(1024);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.text(&text[..end])
    }

    pub(crate) fn hash(self, hash: u128) -> Self {
        self.out.extend_from_slice(&hash.to_le_bytes());
        self
    }

    pub(crate) fn rest(self, bytes: &[u8]) -> Self {
        self.out.extend_from_slice(bytes);
        self
    }

    pub(crate) fn end(self, flags: u8) {
        self.end_before(flags, 0);
    }

    /// The end of what stands here of it: so many bytes more follow from elsewhere.
    pub(crate) fn end_before(self, flags: u8, more: usize) {
        let header = header(self.kind, flags, self.out.len() - self.start - HEADER + more);
        self.out[self.start..self.start + HEADER].copy_from_slice(&header);
    }
}

/// Room for the header and id of a reply whose payload will be appended by user code. Pass the result to [`seal_reply`].
#[inline]
pub(crate) fn open_reply(out: &mut Vec<u8>, id: u32) -> usize {
    let start = out.len();
    match id {
        // One that many calls share: their ids are used again.
        0..0x80 => out.extend_from_slice(&[0, 0, 0, 0, id as u8]),
        _ => open_long_reply(out, id),
    }
    start
}

#[cold]
fn open_long_reply(out: &mut Vec<u8>, id: u32) {
    out.extend_from_slice(&[0; HEADER]);
    write_varint(out, u64::from(id));
}

/// Fills in the header of the reply that began at `start` and ends with the buffer.
#[inline]
pub(crate) fn seal_reply(out: &mut [u8], start: usize, kind: u8) {
    let length = out.len() - start - HEADER;
    out[start..start + HEADER].copy_from_slice(&header(kind, 0, length));
}

/// Which items a call with JSON has, as its caller knows the method (protocol 5.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// The caller sends some.
    pub(crate) along: bool,
    /// The caller takes those of the reply.
    pub(crate) back: bool,
}

/// The optional parts of a call, as the caller gives them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'a> {
    /// The remaining time, if it is not the method's default; zero stands for none at all.
    pub(crate) deadline: Option<Duration>,
    pub(crate) metadata: &'a [(String, String)],
    pub(crate) json: Option<Ways>,
}

impl Options<'_> {
    fn bits(&self) -> u64 {
        (if self.deadline.is_some() { option::DEADLINE } else { 0 })
            | (if self.metadata.is_empty() { 0 } else { option::METADATA })
            | self.json.map_or(0, |ways| {
                option::JSON | (if ways.along { option::ITEMS_ALONG } else { 0 }) | (if ways.back { option::ITEMS_BACK } else { 0 })
            })
    }

    fn write(&self, bits: u64, out: &mut Vec<u8>) {
        write_varint(out, bits);
        if let Some(deadline) = self.deadline {
            // Whole microseconds, rounded up: a deadline that has not passed is never sent as none.
            write_varint(out, u64::try_from(deadline.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX));
        }
        if !self.metadata.is_empty() {
            write_varint(out, self.metadata.len() as u64);
            for (key, value) in self.metadata {
                write_text(out, key);
                write_text(out, value);
            }
        }
    }
}

/// The head of a call: everything but the payload. `total` is the payload's length if it goes on in chunks.
#[inline]
pub(crate) fn call_head(out: &mut Vec<u8>, id: Option<u32>, number: u32, options: &Options<'_>, total: Option<usize>) -> u8 {
    if let Some(id) = id {
        write_varint(out, u64::from(id));
    }
    write_varint(out, u64::from(number));
    let bits = options.bits();
    let mut flags = 0;
    if bits != 0 {
        flags |= flag::OPTIONS;
        options.write(bits, out);
    }
    if let Some(total) = total {
        flags |= flag::MORE;
        write_varint(out, total as u64);
    }
    flags
}

/// A whole call, or a notification when it has no id.
#[inline]
pub(crate) fn call(out: &mut Vec<u8>, id: Option<u32>, number: u32, options: &Options<'_>, payload: &[u8]) {
    match id {
        Some(id @ 0..0x80) if number < 0x80 && options.bits() == 0 => {
            // As most are.
            let [a, b, c, d] = header(kind::CALL, 0, 2 + payload.len());
            out.extend_from_slice(&[a, b, c, d, id as u8, number as u8]);
            out.extend_from_slice(payload);
        }
        _ => other_call(out, id, number, options, payload),
    }
}

#[inline(never)]
fn other_call(out: &mut Vec<u8>, id: Option<u32>, number: u32, options: &Options<'_>, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    let flags = call_head(out, id, number, options, None);
    out.extend_from_slice(payload);
    let length = out.len() - start - HEADER;
    let kind = if id.is_some() { kind::CALL } else { kind::NOTIFY };
    out[start..start + HEADER].copy_from_slice(&header(kind, flags, length));
}

/// Our hello.
pub(crate) fn write_hello(out: &mut Vec<u8>, allowance: &Allowance) {
    let mut frame = Frame::new(out, kind::HELLO);
    for (key, value) in [
        (hello::MAX_MESSAGE, allowance.max_message),
        (hello::IN_FLIGHT, allowance.in_flight),
        (hello::CALL_BYTES, allowance.call_bytes),
        (hello::ASSEMBLY, allowance.assembly),
        (hello::SCHEMAS, usize::from(allowance.schemas)),
    ] {
        frame = frame.number(key).number(value as u64);
    }
    frame.end(0);
}

/// A schema, in as many frames as it needs (protocol 9.2). `callers`: that of the caller of this bind.
pub(crate) fn write_schema(out: &mut Vec<u8>, callers: bool, first: u32, mut schema: &[u8]) {
    loop {
        let (part, rest) = schema.split_at(schema.len().min(MAX_FRAME - MAX_HEAD));
        let flags = if rest.is_empty() { 0 } else { flag::MORE };
        Frame::new(out, kind::SCHEMA).byte(u8::from(callers)).number(u64::from(first)).rest(part).end(flags);
        schema = rest;
        if schema.is_empty() {
            return;
        }
    }
}

/// The peer's hello: pairs of key and value, unknown keys skipped (protocol 2.2). Less than the constants means the constants.
pub(crate) fn read_hello(fields: &mut Fields<'_>, least: &Allowance) -> Result<Allowance, Violation> {
    let mut allowance = Allowance { assembly: least.max_message, ..*least };
    while !fields.is_empty() {
        let key = fields.number()?;
        let value = usize::try_from(fields.number()?).unwrap_or(usize::MAX).min(u32::MAX as usize);
        match key {
            hello::MAX_MESSAGE => allowance.max_message = value.max(least.max_message),
            hello::IN_FLIGHT => allowance.in_flight = value.clamp(least.in_flight, 1 << 20),
            hello::CALL_BYTES => allowance.call_bytes = value.max(least.call_bytes),
            hello::ASSEMBLY => allowance.assembly = value.max(least.max_message),
            // Larger values are for later versions, which can do this as well.
            hello::SCHEMAS => allowance.schemas = value >= 1,
            _ => {}
        }
    }
    // What may be sent must fit, or a large message would wait for ever.
    allowance.max_message = allowance.max_message.min(allowance.assembly);
    Ok(allowance)
}

/// The fields of one frame, read from the front.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    kind: &'static str,
}

impl<'a> Fields<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], kind: &'static str) -> Self {
        Self { bytes, kind }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All that is left.
    #[inline]
    pub(crate) fn rest(self) -> &'a [u8] {
        self.bytes
    }

    fn bad(&self) -> Violation {
        Violation::BadFrame(self.kind)
    }

    pub(crate) fn end(self) -> Result<(), Violation> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.bad()) }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Violation> {
        let (&byte, rest) = self.bytes.split_first().ok_or(Violation::BadFrame(self.kind))?;
        self.bytes = rest;
        Ok(byte)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, Violation> {
        match self.bytes {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.bytes = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_number(),
        }
    }

    #[cold]
    fn long_number(&mut self) -> Result<u64, Violation> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let group = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit; a last byte of zero is a byte too many.
            if (shift == 63 && group > 1) || (byte == 0 && shift > 0) {
                return Err(self.bad());
            }
            value |= group << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.bad())
    }

    #[inline]
    pub(crate) fn small(&mut self) -> Result<u32, Violation> {
        match self.bytes {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.bytes = rest;
                Ok(u32::from(*byte))
            }
            _ => self.long_small(),
        }
    }

    /// The same for who asks again, field by field, if this is none.
    #[inline]
    pub(crate) fn quick(&mut self) -> Option<u32> {
        match self.bytes {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.bytes = rest;
                Some(u32::from(*byte))
            }
            bytes => {
                let (value, rest) = long_quick(bytes)?;
                self.bytes = rest;
                Some(value)
            }
        }
    }

    #[cold]
    fn long_small(&mut self) -> Result<u32, Violation> {
        u32::try_from(self.long_number()?).map_err(|_| self.bad())
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Violation> {
        let (bytes, rest) = self.bytes.split_at_checked(length).ok_or(Violation::BadFrame(self.kind))?;
        self.bytes = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Violation> {
        let length = usize::try_from(self.number()?).map_err(|_| self.bad())?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| self.bad())
    }

    pub(crate) fn hash(&mut self) -> Result<u128, Violation> {
        let bytes = self.bytes(16)?.try_into().map_err(|_| self.bad())?;
        Ok(u128::from_le_bytes(bytes))
    }

    /// The optional parts of a call.
    pub(crate) fn options(&mut self) -> Result<Parts<'a>, Violation> {
        let bits = self.number()?;
        let is_json = bits & option::JSON != 0;
        if bits & !option::ALL != 0 || (bits & option::ITEMS != 0 && !is_json) {
            return Err(self.bad());
        }
        let ways = Ways { along: bits & option::ITEMS_ALONG != 0, back: bits & option::ITEMS_BACK != 0 };
        let mut parts = Parts { json: is_json.then_some(ways), ..Parts::default() };
        if bits & option::DEADLINE != 0 {
            parts.deadline = Some(Duration::from_micros(self.number()?));
        }
        if bits & option::METADATA != 0 {
            let count = self.number()?;
            let all = self.bytes;
            for _ in 0..count {
                self.text()?;
                self.text()?;
            }
            parts.metadata = &all[..all.len() - self.bytes.len()];
        }
        Ok(parts)
    }
}

/// Of the fields and not by them: what a function is lent stands in memory, for all who use it.
#[cold]
fn long_quick(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut fields = Fields::new(bytes, "");
    let value = fields.long_small().ok()?;
    Some((value, fields.bytes))
}

/// The optional parts of a call, as they arrived.
#[derive(Clone, Copy, Default)]
pub(crate) struct Parts<'a> {
    pub(crate) deadline: Option<Duration>,
    /// Pairs of texts, already checked.
    pub(crate) metadata: &'a [u8],
    pub(crate) json: Option<Ways>,
}

/// The pairs behind [`Parts::metadata`].
pub(crate) fn read_metadata(bytes: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let mut fields = Fields::new(bytes, "call");
    std::iter::from_fn(move || Some((fields.text().ok()?, fields.text().ok()?)))
}

/// Kinds of error that travel, and their numbers (protocol 6.3).
const CODES: [(ErrorKind, u64); 11] = [
    (ErrorKind::Cancelled, 1),
    (ErrorKind::DeadlineExceeded, 2),
    (ErrorKind::Overloaded, 3),
    (ErrorKind::Unimplemented, 4),
    (ErrorKind::Malformed, 5),
    (ErrorKind::TooLarge, 6),
    (ErrorKind::Incompatible, 7),
    (ErrorKind::Unauthenticated, 8),
    (ErrorKind::PermissionDenied, 9),
    (ErrorKind::Draining, 10),
    (ErrorKind::Internal, 11),
];

pub(crate) fn code(kind: ErrorKind) -> u64 {
    CODES.iter().find(|(known, _)| *known == kind).map_or(11, |(_, code)| *code)
}

/// A code we do not know is the peer's own trouble.
pub(crate) fn error_kind(code: u64) -> ErrorKind {
    CODES.iter().find(|(_, known)| *known == code).map_or(ErrorKind::Internal, |(kind, _)| *kind)
}

pub(crate) fn executed_byte(executed: Executed) -> u8 {
    match executed {
        Executed::No => 0,
        Executed::Maybe => 1,
        Executed::Yes => 2,
    }
}

pub(crate) fn read_executed(byte: u8) -> Executed {
    match byte {
        0 => Executed::No,
        2 => Executed::Yes,
        _ => Executed::Maybe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_minimal_and_round_trip() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            assert_eq!(out.len(), (64 - (value | 1).leading_zeros() as usize).div_ceil(7));
            let mut fields = Fields::new(&out, "test");
            assert_eq!(fields.number(), Ok(value));
            assert!(fields.is_empty());
        }
    }

    /// Conformance 38: an overlong varint in a frame closes the connection.
    #[test]
    fn overlong_varints_are_refused() {
        for bytes in [&[0x80, 0x00][..], &[0xff; 10], &[0x80; 11], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], &[0x80]] {
            assert_eq!(Fields::new(bytes, "test").number(), Err(Violation::BadFrame("test")), "{bytes:?}");
        }
    }

    /// Conformance 39: other protocols are known by their first bytes.
    #[test]
    fn other_protocols_are_named() {
        for (bytes, name) in KNOWN {
            assert_eq!(read_preface(bytes), Err(Violation::WrongProtocol(name)));
            assert_eq!(read_preface(&bytes[..1]), Ok(None), "one byte of {name} is not enough to tell");
        }
        assert_eq!(read_preface(b"hello"), Err(Violation::WrongProtocol("an unknown protocol")));
        assert_eq!(read_preface(&MAGIC), Ok(None));
    }
}
