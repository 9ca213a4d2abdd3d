//! What arrives on one connection: bytes in, events out. A plain struct: no clock, socket, waker or lock.
//!
//! It checks all that can be checked without knowing services or calls of ours: order of frames, ids, numbers,
//! allowances. Owned by `driver.rs`, which acts on the events. Its counterpart is `outbound.rs`.

use crate::frame::codec::{self, Fields, HEADER, Header, PREFACE, Parts, flag, kind};
use crate::frame::limits::{Allowance, BEFORE_HELLO, Limits};
use crate::frame::violation::Violation;

/// What one frame (or the last chunk of a message) means.
#[derive(Debug)]
pub(crate) enum Event<'b> {
    Hello(Allowance),
    /// The peer does not speak our version.
    Refused {
        lowest: u16,
        highest: u16,
    },
    Bind(Bind<'b>),
    Bound {
        first: u32,
        /// One status a method; none means that all are equal.
        statuses: &'b [u8],
    },
    Call(Call<'b>),
    /// A call that is refused before it was assembled.
    TooLarge {
        id: u32,
        number: u32,
        length: usize,
    },
    Reply {
        id: u32,
        failed: bool,
        payload: Payload<'b>,
    },
    /// A reply in chunks has begun; nothing of it can be used yet.
    ReplyBegins(u32),
    Error(CallFailed<'b>),
    Cancel(u32),
    Ping(&'b [u8]),
    Pong,
    GoAway {
        code: u64,
        accepted: u64,
        message: &'b str,
    },
}

#[derive(Debug)]
pub(crate) struct Bind<'b> {
    pub(crate) first: u32,
    pub(crate) what: Binding<'b>,
}

#[derive(Debug)]
pub(crate) enum Binding<'b> {
    /// A whole service: `methods` holds `count` pairs of name and hash.
    Service { name: &'b str, hash: u128, count: u32, methods: &'b [u8] },
    /// One method, called with JSON.
    Method { name: &'b str },
}

#[derive(Debug)]
pub(crate) struct Call<'b> {
    /// None for a notification.
    pub(crate) id: Option<u32>,
    pub(crate) number: u32,
    pub(crate) parts: Head<'b>,
    pub(crate) payload: Payload<'b>,
}

/// The optional parts of a call, borrowed or (when the call was assembled) owned.
#[derive(Debug)]
pub(crate) struct Head<'b> {
    pub(crate) deadline: Option<std::time::Duration>,
    pub(crate) metadata: Payload<'b>,
    pub(crate) json: bool,
}

impl<'b> From<Parts<'b>> for Head<'b> {
    #[inline]
    fn from(parts: Parts<'b>) -> Self {
        Self { deadline: parts.deadline, metadata: Payload::Borrowed(parts.metadata), json: parts.json }
    }
}

impl std::fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("deadline", &self.deadline).field("json", &self.json).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct CallFailed<'b> {
    pub(crate) id: u32,
    pub(crate) code: u64,
    pub(crate) executed: u8,
    /// Milliseconds plus one; zero for none.
    pub(crate) retry_after: u64,
    pub(crate) message: &'b str,
}

/// Bytes of a message: part of what was read, or put together from chunks.
#[derive(Debug)]
pub(crate) enum Payload<'b> {
    Borrowed(&'b [u8]),
    Owned(Vec<u8>),
}

impl Payload<'_> {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// A call of the peer that has not been answered.
#[derive(Clone, Copy, Default)]
struct Open {
    /// Bytes it counts for, plus one; zero when there is no such call.
    size: u32,
    large: bool,
}

/// A message of which some chunks have come.
struct Assembly {
    id: u32,
    total: usize,
    bytes: Vec<u8>,
    begun: Begun,
}

enum Begun {
    Call { number: u32, deadline: Option<std::time::Duration>, metadata: Vec<u8>, json: bool },
    Reply { failed: bool },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preface,
    Hello,
    Open,
}

/// What has arrived, and what the peer may still send.
pub(crate) struct Inbound {
    stage: Stage,
    ours: Allowance,
    max_binds: usize,
    /// Numbers bound so far.
    numbers: u32,
    open: Vec<Open>,
    /// Bytes of unanswered calls, small and large.
    small_bytes: usize,
    large_bytes: usize,
    /// Calls read so far: what a go-away tells.
    pub(crate) calls: u64,
    assemblies: Vec<Assembly>,
    /// Bytes of replies under way.
    reply_bytes: usize,
    /// Of a chunk that is taken as it comes: the message, if it is still wanted, and the bytes to come.
    partial: Option<(Option<usize>, usize)>,
}

impl Inbound {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            stage: Stage::Preface,
            ours: limits.allowance(),
            max_binds: limits.max_binds,
            numbers: 0,
            open: Vec::new(),
            small_bytes: 0,
            large_bytes: 0,
            calls: 0,
            assemblies: Vec::new(),
            reply_bytes: 0,
            partial: None,
        }
    }

    /// The peer has said hello.
    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Calls that have begun to arrive and are not complete.
    pub(crate) fn is_assembling(&self) -> bool {
        !self.assemblies.is_empty() || self.partial.is_some()
    }

    /// The next event in `bytes` from `at` on, which moves past what was used. `None`: the rest is an incomplete frame,
    /// to be shown again with more behind it.
    pub(crate) fn next<'b>(&mut self, bytes: &'b [u8], at: &mut usize) -> Result<Option<Event<'b>>, Violation> {
        loop {
            let rest = &bytes[*at..];
            if self.stage == Stage::Preface {
                match codec::read_preface(rest)? {
                    None => return Ok(None),
                    // Another version may have other frames; only `refused` is the same in all of them (protocol 2.3).
                    Some(codec::VERSION) => self.stage = Stage::Hello,
                    Some(version) => match other_version(&rest[PREFACE..], version)? {
                        None => return Ok(None),
                        Some(event) => return Ok(Some(event)),
                    },
                }
                *at += PREFACE;
                continue;
            }
            if let Some((message, left)) = self.partial {
                let chunk = &rest[..rest.len().min(left)];
                if chunk.is_empty() {
                    return Ok(None);
                }
                *at += chunk.len();
                self.partial = (chunk.len() < left).then_some((message, left - chunk.len()));
                if let Some(event) = self.take(message, chunk)? {
                    return Ok(Some(event));
                }
                continue;
            }
            let Some(header) = codec::read_header(rest)? else { return Ok(None) };
            if matches!(header.kind, kind::CALL_CHUNK | kind::REPLY_CHUNK) && self.stage == Stage::Open {
                // Chunks go to their message as they come, without waiting for the whole frame.
                let Some(used) = self.chunk(header, &rest[HEADER..])? else { return Ok(None) };
                *at += HEADER + used;
                continue;
            }
            let Some(body) = rest.get(HEADER..HEADER + header.length) else { return Ok(None) };
            *at += HEADER + header.length;
            if let Some(event) = self.frame(header, body)? {
                return Ok(Some(event));
            }
        }
    }

    /// The callee has sent the last frame of this call: its id is free.
    #[inline]
    pub(crate) fn answered(&mut self, id: u32) {
        let Some(open) = self.open.get_mut(id as usize) else { return };
        let size = open.size.saturating_sub(1) as usize;
        if open.large {
            self.large_bytes -= size;
        } else {
            self.small_bytes -= size;
        }
        *open = Open::default();
    }

    /// Forgets the chunks of a call that is cancelled; true if it was not complete.
    pub(crate) fn abandon(&mut self, id: u32) -> bool {
        // Frames are acted on when they are whole, so no chunk of any message is half taken here.
        let before = self.assemblies.len();
        self.assemblies.retain(|assembly| assembly.id != id || matches!(assembly.begun, Begun::Reply { .. }));
        before != self.assemblies.len()
    }

    fn frame<'b>(&mut self, header: Header, body: &'b [u8]) -> Result<Option<Event<'b>>, Violation> {
        if self.stage == Stage::Hello {
            return match header.kind {
                kind::HELLO => {
                    let allowance = codec::read_hello(&mut Fields::new(body, "hello"), &BEFORE_HELLO)?;
                    self.stage = Stage::Open;
                    Ok(Some(Event::Hello(allowance)))
                }
                kind::REFUSED => refused(body).map(Some),
                kind::GO_AWAY => go_away(body).map(Some),
                _ => Err(Violation::Unexpected("first")),
            };
        }
        match header.kind {
            kind::CALL | kind::NOTIFY => self.call(header, body),
            kind::REPLY | kind::FAIL => self.reply(header, body),
            kind::ERROR => self.error(body).map(Some),
            kind::CANCEL => {
                let mut fields = Fields::new(body, "cancel");
                let id = fields.small()?;
                fields.end()?;
                Ok(Some(Event::Cancel(id)))
            }
            kind::BIND => self.bind(body).map(Some),
            kind::BOUND => {
                let mut fields = Fields::new(body, "bound");
                let first = fields.small()?;
                Ok(Some(Event::Bound { first, statuses: fields.rest() }))
            }
            kind::PING if body.len() <= 8 => Ok(Some(Event::Ping(body))),
            kind::PING => Err(Violation::BadFrame("ping")),
            kind::PONG => Ok(Some(Event::Pong)),
            kind::GO_AWAY => go_away(body).map(Some),
            kind::HELLO => Err(Violation::Unexpected("hello")),
            kind::REFUSED => Err(Violation::Unexpected("refused")),
            _ if header.flags & flag::SKIP != 0 => Ok(None),
            unknown => Err(Violation::UnknownFrame(unknown)),
        }
    }

    #[inline]
    fn call<'b>(&mut self, header: Header, body: &'b [u8]) -> Result<Option<Event<'b>>, Violation> {
        let mut fields = Fields::new(body, "call");
        let id = if header.kind == kind::CALL { Some(fields.small()?) } else { None };
        let number = fields.small()?;
        if number >= self.numbers {
            return Err(Violation::UnboundMethod);
        }
        let parts = if header.flags & flag::OPTIONS != 0 { fields.options()? } else { Parts::default() };
        let total = if header.flags & flag::MORE != 0 { Some(fields.number()?) } else { None };
        self.calls += 1;
        let Some(total) = total else {
            if let Some(id) = id {
                self.admit(id, body.len(), false)?;
            }
            return Ok(Some(Event::Call(Call { id, number, parts: parts.into(), payload: Payload::Borrowed(fields.rest()) })));
        };
        let id = id.ok_or(Violation::BadFrame("notify"))?;
        let length = usize::try_from(total).unwrap_or(usize::MAX);
        if length > self.ours.max_message {
            self.admit(id, 0, false)?;
            return Ok(Some(Event::TooLarge { id, number, length }));
        }
        self.admit(id, length, true)?;
        let begun = Begun::Call { number, deadline: parts.deadline, metadata: parts.metadata.to_vec(), json: parts.json };
        self.assemble(id, length, fields.rest(), begun)
    }

    /// Counts a call against the allowance of our hello (protocol 5.1).
    #[inline]
    fn admit(&mut self, id: u32, size: usize, large: bool) -> Result<(), Violation> {
        let index = id as usize;
        if index >= self.open.len() {
            if index >= self.ours.in_flight {
                return Err(Violation::CallId);
            }
            self.open.resize(index + 1, Open::default());
        }
        let open = &mut self.open[index];
        if open.size != 0 {
            return Err(Violation::DuplicateCall);
        }
        *open = Open { size: size as u32 + 1, large };
        let (sum, most) = if large { (&mut self.large_bytes, self.ours.assembly) } else { (&mut self.small_bytes, self.ours.call_bytes) };
        *sum += size;
        if *sum > most { Err(Violation::Allowance) } else { Ok(()) }
    }

    #[inline]
    fn reply<'b>(&mut self, header: Header, body: &'b [u8]) -> Result<Option<Event<'b>>, Violation> {
        let mut fields = Fields::new(body, "reply");
        let id = fields.small()?;
        let failed = header.kind == kind::FAIL;
        if header.flags & flag::OPTIONS != 0 {
            return Err(Violation::BadFrame("reply"));
        }
        if header.flags & flag::MORE == 0 {
            return Ok(Some(Event::Reply { id, failed, payload: Payload::Borrowed(fields.rest()) }));
        }
        let total = usize::try_from(fields.number()?).unwrap_or(usize::MAX);
        if total > self.ours.max_message || self.reply_bytes + total > self.ours.assembly {
            return Err(Violation::Allowance);
        }
        if self.assemblies.iter().any(|other| other.id == id && matches!(other.begun, Begun::Reply { .. })) {
            return Err(Violation::UnknownReply);
        }
        self.reply_bytes += total;
        let whole = self.assemble(id, total, fields.rest(), Begun::Reply { failed })?;
        // Or a server could open any number of replies to calls that were never made.
        Ok(Some(whole.unwrap_or(Event::ReplyBegins(id))))
    }

    fn assemble<'b>(&mut self, id: u32, total: usize, first: &[u8], begun: Begun) -> Result<Option<Event<'b>>, Violation> {
        let mut assembly = Assembly { id, total, bytes: Vec::new(), begun };
        assembly.take(first)?;
        self.assemblies.push(assembly);
        Ok(self.complete(self.assemblies.len() - 1))
    }

    /// The head of a chunk: its length, once all of it is there.
    fn chunk(&mut self, header: Header, body: &[u8]) -> Result<Option<usize>, Violation> {
        let whole = body.len() >= header.length;
        let body = &body[..body.len().min(header.length)];
        let mut fields = Fields::new(body, "chunk");
        let id = match fields.small() {
            Ok(id) => id,
            // An id has at most five bytes.
            Err(_) if !whole && body.len() < 5 => return Ok(None),
            Err(violation) => return Err(violation),
        };
        let used = body.len() - fields.rest().len();
        if used == header.length {
            return Err(Violation::BadFrame("chunk"));
        }
        let of_call = header.kind == kind::CALL_CHUNK;
        // Chunks of a message that was refused or cancelled may still be on their way (protocol 5.3).
        let found = self.assemblies.iter().position(|assembly| assembly.id == id && matches!(assembly.begun, Begun::Call { .. }) == of_call);
        self.partial = Some((found, header.length - used));
        Ok(Some(used))
    }

    fn take<'b>(&mut self, message: Option<usize>, chunk: &[u8]) -> Result<Option<Event<'b>>, Violation> {
        let Some(message) = message else { return Ok(None) };
        self.assemblies[message].take(chunk)?;
        let complete = self.assemblies[message].bytes.len() == self.assemblies[message].total;
        if complete && self.partial.is_some() {
            return Err(Violation::BadFrame("chunk"));
        }
        Ok(self.complete(message))
    }

    /// The event of this message, if its last chunk has come.
    fn complete<'b>(&mut self, index: usize) -> Option<Event<'b>> {
        if self.assemblies[index].bytes.len() < self.assemblies[index].total {
            return None;
        }
        let Assembly { id, bytes, begun, total } = self.assemblies.swap_remove(index);
        let payload = Payload::Owned(bytes);
        Some(match begun {
            Begun::Call { number, deadline, metadata, json } => {
                Event::Call(Call { id: Some(id), number, parts: Head { deadline, metadata: Payload::Owned(metadata), json }, payload })
            }
            Begun::Reply { failed } => {
                self.reply_bytes -= total;
                Event::Reply { id, failed, payload }
            }
        })
    }

    fn error<'b>(&mut self, body: &'b [u8]) -> Result<Event<'b>, Violation> {
        let mut fields = Fields::new(body, "error");
        let failed = CallFailed {
            id: fields.small()?,
            code: fields.number()?,
            executed: fields.byte()?,
            retry_after: fields.number()?,
            message: fields.text()?,
        };
        fields.end()?;
        // An error may end a reply of which some chunks have come.
        if let Some(found) = self.assemblies.iter().position(|other| other.id == failed.id && matches!(other.begun, Begun::Reply { .. })) {
            self.reply_bytes -= self.assemblies.swap_remove(found).total;
        }
        Ok(Event::Error(failed))
    }

    fn bind<'b>(&mut self, body: &'b [u8]) -> Result<Event<'b>, Violation> {
        let mut fields = Fields::new(body, "bind");
        let first = fields.small()?;
        let (count, what) = match fields.byte()? {
            0 => {
                let name = fields.text()?;
                fields.end()?;
                (1, Binding::Method { name })
            }
            1 => {
                let (name, hash, count) = (fields.text()?, fields.hash()?, fields.small()?);
                let methods = fields.rest();
                let mut pairs = Fields::new(methods, "bind");
                for _ in 0..count {
                    pairs.text()?;
                    pairs.hash()?;
                }
                pairs.end()?;
                (count, Binding::Service { name, hash, count, methods })
            }
            _ => return Err(Violation::BadFrame("bind")),
        };
        // Binds are bounded by the numbers they use: one that uses none could be sent for ever.
        if first != self.numbers || count == 0 {
            return Err(Violation::BadBind);
        }
        if count as usize > self.max_binds - self.numbers as usize {
            return Err(Violation::TooManyBinds);
        }
        self.numbers += count;
        Ok(Event::Bind(Bind { first, what }))
    }
}

impl Assembly {
    /// Reserves no more than what has come justifies: at most 64 KiB, or twice the bytes at hand.
    fn take(&mut self, chunk: &[u8]) -> Result<(), Violation> {
        if chunk.is_empty() || self.bytes.len() + chunk.len() > self.total {
            return Err(Violation::BadFrame("chunk"));
        }
        let room = self.bytes.capacity() - self.bytes.len();
        if room < chunk.len() {
            let wanted = (2 * (self.bytes.len() + chunk.len())).min(self.total);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

/// A peer of another version: its `refused`, if it sent one.
fn other_version<'b>(rest: &'b [u8], version: u16) -> Result<Option<Event<'b>>, Violation> {
    let unknown = Violation::Version { lowest: version, highest: version };
    match codec::read_header(rest) {
        Ok(Some(header)) if header.kind == kind::REFUSED => match rest.get(HEADER..HEADER + header.length) {
            Some(body) => refused(body).map(Some),
            None => Ok(None),
        },
        Ok(None) if rest.is_empty() => Err(unknown),
        Ok(None) => Ok(None),
        _ => Err(unknown),
    }
}

fn refused(body: &[u8]) -> Result<Event<'_>, Violation> {
    let mut fields = Fields::new(body, "refused");
    let clip = |version: u64| u16::try_from(version).unwrap_or(u16::MAX);
    let (lowest, highest) = (clip(fields.number()?), clip(fields.number()?));
    Ok(Event::Refused { lowest, highest })
}

fn go_away(body: &[u8]) -> Result<Event<'_>, Violation> {
    let mut fields = Fields::new(body, "go-away");
    let (code, accepted, message) = (fields.number()?, fields.number()?, fields.text()?);
    fields.end()?;
    Ok(Event::GoAway { code, accepted, message })
}
