//! What arrives on one connection: bytes in, events out. A plain struct: no clock, socket, waker or lock.
//!
//! It checks all that can be checked without knowing services or calls of ours: order of frames, ids, numbers,
//! allowances. Owned by `driver.rs`, which acts on the events. Its counterpart is `outbound.rs`.

use bytes::buf::Limit;

use super::assembly::{Assemblies, Begun, Whole};
use crate::frame::codec::{self, Fields, HEADER, Header, PREFACE, Parts, Ways, flag, kind};
use crate::frame::limits::{Allowance, BEFORE_HELLO, Limits, MAX_NAME, MAX_SCHEMA};
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
    /// How the peer knows a service that was bound.
    Schema(Schema<'b>),
    Call(Call<'b>),
    /// A call in chunks has begun; its streams may have frames before it is complete (protocol 7.3).
    CallBegins {
        id: u32,
        number: u32,
    },
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
    /// Bytes of a stream: of a call that this end serves, or of the reply to one of ours.
    Items {
        of_call: bool,
        id: u32,
        bytes: &'b [u8],
    },
    /// The caller's stream has ended.
    End {
        id: u32,
        aborted: bool,
    },
    /// So many bytes more may be sent: of the stream that this end sends with a call of its own, or as a reply.
    Credit {
        of_call: bool,
        id: u32,
        bytes: u64,
    },
    /// The callee takes no more of the stream of this call.
    Stop(u32),
    Ping(&'b [u8]),
    Pong(&'b [u8]),
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

/// A whole schema (protocol 9.2).
#[derive(Debug)]
pub(crate) struct Schema<'b> {
    /// The sender is the caller, of a bind of its own; else the callee, of a bind of this end's.
    pub(crate) callers: bool,
    /// The bind's first number.
    pub(crate) first: u32,
    pub(crate) bytes: Payload<'b>,
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
    pub(crate) json: Option<Ways>,
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

/// The frames that most traffic is made of: calls, replies and fails that are whole and say no more than they must.
pub(crate) enum Quick<'b> {
    Call { id: u32, number: u32, payload: &'b [u8] },
    Reply { id: u32, failed: bool, payload: &'b [u8] },
}

impl<'b> From<Quick<'b>> for Event<'b> {
    fn from(quick: Quick<'b>) -> Self {
        match quick {
            Quick::Call { id, number, payload } => Self::Call(Call::plain(id, number, payload)),
            Quick::Reply { id, failed, payload } => Self::Reply { id, failed, payload: Payload::Borrowed(payload) },
        }
    }
}

impl<'b> Call<'b> {
    /// A call without optional parts.
    #[inline]
    pub(crate) fn plain(id: u32, number: u32, payload: &'b [u8]) -> Self {
        Self { id: Some(id), number, parts: Parts::default().into(), payload: Payload::Borrowed(payload) }
    }
}

/// A call of the peer that has not been answered.
#[derive(Clone, Copy, Default)]
struct Open {
    /// Bytes it counts for, plus one; zero when there is no such call.
    size: u32,
    large: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preface,
    Hello,
    Open,
}

/// A `refused` is two numbers; one of a later version may say more.
const MAX_REFUSED: usize = 1024;

/// What has arrived, and what the peer may still send.
pub(crate) struct Inbound {
    stage: Stage,
    ours: Allowance,
    max_binds: usize,
    max_metadata: usize,
    /// Whole frames read so far.
    pub(crate) frames: u64,
    /// Numbers bound so far.
    numbers: u32,
    open: Vec<Open>,
    /// Bytes of unanswered calls, small and large.
    small_bytes: usize,
    large_bytes: usize,
    /// Calls read so far: what a go-away tells.
    pub(crate) calls: u64,
    assemblies: Assemblies,
    /// The peer exchanges schemas, as its hello says.
    exchanges: bool,
    /// Of which some frames have come.
    schema: Option<(bool, u32, Vec<u8>)>,
    /// Bytes of schemas so far.
    schema_bytes: usize,
}

impl Inbound {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            stage: Stage::Preface,
            ours: limits.allowance(),
            max_binds: limits.max_binds,
            max_metadata: limits.max_metadata,
            frames: 0,
            numbers: 0,
            open: Vec::new(),
            small_bytes: 0,
            large_bytes: 0,
            calls: 0,
            assemblies: Assemblies::default(),
            exchanges: false,
            schema: None,
            schema_bytes: 0,
        }
    }

    /// Calls or schemas that have begun to arrive and are not complete.
    pub(crate) fn is_assembling(&self) -> bool {
        !self.assemblies.is_empty() || self.schema.is_some()
    }

    /// What [`next`](Self::next) begins with: the next frame, if it is one of the usual ones, and nothing is wrong with it. An event moves
    /// through memory several times; this stays in registers. `None` says nothing, and has used nothing.
    #[inline(always)]
    pub(crate) fn quick<'b>(&mut self, bytes: &'b [u8], at: &mut usize) -> Option<Quick<'b>> {
        if self.stage != Stage::Open || !self.assemblies.is_empty() {
            return None;
        }
        let rest = bytes.get(*at..)?;
        let Ok(Some(header)) = codec::read_header(rest) else { return None };
        let body = rest.get(HEADER..HEADER + header.length)?;
        if header.flags != 0 {
            return None;
        }
        let quick = match header.kind {
            kind::CALL => {
                let mut fields = Fields::new(body, "call");
                let (id, number) = (fields.quick()?, fields.quick()?);
                if number >= self.numbers || !self.admit_small(id, body.len()) {
                    return None;
                }
                self.calls += 1;
                Quick::Call { id, number, payload: fields.rest() }
            }
            kind::REPLY | kind::FAIL => {
                let mut fields = Fields::new(body, "reply");
                Quick::Reply { id: fields.quick()?, failed: header.kind == kind::FAIL, payload: fields.rest() }
            }
            _ => return None,
        };
        *at += HEADER + header.length;
        self.frames += 1;
        Some(quick)
    }

    /// The next event in `bytes` from `at` on, which moves past what was used. `None`: the rest is an incomplete frame,
    /// to be shown again with more behind it.
    pub(crate) fn next<'b>(&mut self, bytes: &'b [u8], at: &mut usize) -> Result<Option<Event<'b>>, Violation> {
        if let Some(quick) = self.quick(bytes, at) {
            return Ok(Some(quick.into()));
        }
        if let Some(whole) = self.assemblies.completed() {
            return Ok(Some(whole.into()));
        }
        loop {
            let rest = &bytes[*at..];
            if self.stage == Stage::Preface {
                match codec::read_preface(rest)? {
                    None => return Ok(None),
                    // Another version may have other frames; only `refused` is the same in all of them (protocol 2.4).
                    Some(codec::VERSION) => self.stage = Stage::Hello,
                    Some(version) => match other_version(&rest[PREFACE..], version)? {
                        None => return Ok(None),
                        Some(event) => return Ok(Some(event)),
                    },
                }
                *at += PREFACE;
                continue;
            }
            if let Some(taken) = self.assemblies.take(rest)? {
                *at += taken.bytes;
                self.frames += u64::from(taken.ends_frame);
                match taken.whole {
                    Some(whole) => return Ok(Some(whole.into())),
                    None if taken.ends_frame => continue,
                    None => return Ok(None),
                }
            }
            let Some(header) = codec::read_header(rest)? else { return Ok(None) };
            if matches!(header.kind, kind::CALL_CHUNK | kind::REPLY_CHUNK) && self.stage == Stage::Open {
                // Chunks go to their message as they come, without waiting for the whole frame.
                let Some(used) = self.assemblies.chunk(header, &rest[HEADER..])? else { return Ok(None) };
                *at += HEADER + used;
                continue;
            }
            let Some(body) = rest.get(HEADER..HEADER + header.length) else { return Ok(None) };
            *at += HEADER + header.length;
            self.frames += 1;
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
        self.assemblies.abandon_call(id)
    }

    fn frame<'b>(&mut self, header: Header, body: &'b [u8]) -> Result<Option<Event<'b>>, Violation> {
        if self.stage == Stage::Hello {
            return match header.kind {
                kind::HELLO => {
                    let allowance = codec::read_hello(&mut Fields::new(body, "hello"), &BEFORE_HELLO)?;
                    self.stage = Stage::Open;
                    self.exchanges = allowance.schemas;
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
            kind::CALL_ITEMS | kind::REPLY_ITEMS => {
                let mut fields = Fields::new(body, "items");
                let id = fields.small()?;
                Ok(Some(Event::Items { of_call: header.kind == kind::CALL_ITEMS, id, bytes: fields.rest() }))
            }
            kind::CALL_CREDIT | kind::REPLY_CREDIT => {
                let mut fields = Fields::new(body, "credit");
                let (id, bytes) = (fields.small()?, fields.number()?);
                fields.end()?;
                Ok(Some(Event::Credit { of_call: header.kind == kind::CALL_CREDIT, id, bytes }))
            }
            kind::CALL_END => {
                let mut fields = Fields::new(body, "end");
                let (id, how) = (fields.small()?, fields.byte()?);
                fields.end()?;
                Ok(Some(Event::End { id, aborted: how != 0 }))
            }
            kind::CALL_STOP => {
                let mut fields = Fields::new(body, "stop");
                let id = fields.small()?;
                fields.end()?;
                Ok(Some(Event::Stop(id)))
            }
            kind::BIND => self.bind(body).map(Some),
            kind::BOUND => {
                let mut fields = Fields::new(body, "bound");
                let first = fields.small()?;
                Ok(Some(Event::Bound { first, statuses: fields.rest() }))
            }
            // Between ends that do not both know of it, it is an unknown kind.
            kind::SCHEMA if self.exchanges => self.schema(header, body),
            kind::PING if body.len() <= 8 => Ok(Some(Event::Ping(body))),
            kind::PING => Err(Violation::BadFrame("ping")),
            kind::PONG => Ok(Some(Event::Pong(body))),
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
        if parts.metadata.len() > self.max_metadata {
            self.admit(id, 0, false)?;
            return Ok(Some(Event::TooLarge { id, number, length: length + parts.metadata.len() }));
        }
        self.admit(id, length, true)?;
        let begun = Begun::Call { number, deadline: parts.deadline, metadata: parts.metadata.to_vec(), json: parts.json };
        let whole = self.assemblies.begin(id, length, fields.rest(), begun)?;
        Ok(Some(whole.map_or(Event::CallBegins { id, number }, Event::from)))
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

    /// As [`admit`](Self::admit), of a call that is whole, with an id that has been used before. False: nothing has been counted.
    #[inline(always)]
    fn admit_small(&mut self, id: u32, size: usize) -> bool {
        let sum = self.small_bytes + size;
        match self.open.get_mut(id as usize) {
            Some(open) if open.size == 0 && sum <= self.ours.call_bytes => {
                *open = Open { size: size as u32 + 1, large: false };
                self.small_bytes = sum;
                true
            }
            _ => false,
        }
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
            if !self.assemblies.is_empty() && self.assemblies.has_reply(id) {
                return Err(Violation::UnknownReply);
            }
            return Ok(Some(Event::Reply { id, failed, payload: Payload::Borrowed(fields.rest()) }));
        }
        let total = usize::try_from(fields.number()?).unwrap_or(usize::MAX);
        if total > self.ours.max_message || self.assemblies.reply_bytes() + total > self.ours.assembly {
            return Err(Violation::Allowance);
        }
        if self.assemblies.has_reply(id) {
            return Err(Violation::UnknownReply);
        }
        let whole = self.assemblies.begin(id, total, fields.rest(), Begun::Reply { failed })?;
        // Or a server could open any number of replies to calls that were never made.
        Ok(Some(whole.map_or(Event::ReplyBegins(id), Event::from)))
    }

    /// Where the rest of a long chunk belongs: it may be read right there.
    pub(crate) fn direct(&mut self) -> Option<Limit<&mut Vec<u8>>> {
        self.assemblies.direct()
    }

    /// So many bytes were read there. What they complete comes with [`next`](Self::next).
    pub(crate) fn took(&mut self, count: usize) -> Result<(), Violation> {
        self.frames += u64::from(self.assemblies.took(count)?);
        Ok(())
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
        self.assemblies.abandon_reply(failed.id);
        Ok(Event::Error(failed))
    }

    fn bind<'b>(&mut self, body: &'b [u8]) -> Result<Event<'b>, Violation> {
        let mut fields = Fields::new(body, "bind");
        let first = fields.small()?;
        let (count, what) = match fields.byte()? {
            0 => {
                let name = name(&mut fields)?;
                fields.end()?;
                (1, Binding::Method { name })
            }
            1 => {
                let (name, hash, count) = (name(&mut fields)?, fields.hash()?, fields.small()?);
                let methods = fields.rest();
                let mut pairs = Fields::new(methods, "bind");
                for _ in 0..count {
                    self::name(&mut pairs)?;
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

impl Inbound {
    /// Who may send one, and when, those know who wait for it. Frames of one schema stand behind each other, so there is never
    /// more than one to put together.
    #[cold]
    fn schema<'b>(&mut self, header: Header, body: &'b [u8]) -> Result<Option<Event<'b>>, Violation> {
        let mut fields = Fields::new(body, "schema");
        let (whose, first) = (fields.byte()?, fields.small()?);
        let callers = match whose {
            0 => false,
            1 => true,
            _ => return Err(Violation::BadFrame("schema")),
        };
        let (part, more) = (fields.rest(), header.flags & flag::MORE != 0);
        self.schema_bytes += part.len();
        if self.schema_bytes > MAX_SCHEMA {
            return Err(Violation::SchemaTooLong);
        }
        if more && part.is_empty() {
            // It could go on for ever.
            return Err(Violation::BadFrame("schema"));
        }
        let bytes = match self.schema.take() {
            Some((known, bind, mut bytes)) if (known, bind) == (callers, first) => {
                bytes.extend_from_slice(part);
                Payload::Owned(bytes)
            }
            Some(_) => return Err(Violation::Unexpected("schema")),
            None if more => Payload::Owned(part.to_vec()),
            None => Payload::Borrowed(part),
        };
        match bytes {
            Payload::Owned(bytes) if more => {
                self.schema = Some((callers, first, bytes));
                Ok(None)
            }
            bytes => Ok(Some(Event::Schema(Schema { callers, first, bytes }))),
        }
    }
}

impl From<Whole> for Event<'_> {
    fn from(Whole { id, begun, bytes }: Whole) -> Self {
        let payload = Payload::Owned(bytes);
        match begun {
            Begun::Call { number, deadline, metadata, json } => {
                Event::Call(Call { id: Some(id), number, parts: Head { deadline, metadata: Payload::Owned(metadata), json }, payload })
            }
            Begun::Reply { failed } => Event::Reply { id, failed, payload },
        }
    }
}

/// Names are kept, and repeated in answers.
fn name<'b>(fields: &mut Fields<'b>) -> Result<&'b str, Violation> {
    let name = fields.text()?;
    if name.len() > MAX_NAME { Err(Violation::BadFrame("bind")) } else { Ok(name) }
}

/// A peer of another version: its `refused`, if it sent one.
fn other_version<'b>(rest: &'b [u8], version: u16) -> Result<Option<Event<'b>>, Violation> {
    let unknown = Violation::Version { lowest: version, highest: version };
    match codec::read_header(rest) {
        Ok(Some(header)) if header.kind == kind::REFUSED && header.length <= MAX_REFUSED => match rest.get(HEADER..HEADER + header.length) {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should panic")]
mod tests {
    use bytes::BufMut;

    use super::*;
    use crate::frame::codec::{Frame, Options};
    use crate::frame::limits::MAX_FRAME;

    /// Preface, hello and a bind of two methods by name.
    fn opening() -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::write_preface(&mut bytes);
        codec::write_hello(&mut bytes, &Limits::default().allowance());
        Frame::new(&mut bytes, kind::BIND).number(0).byte(0).text("a").end(0);
        Frame::new(&mut bytes, kind::BIND).number(1).byte(0).text("b").end(0);
        bytes
    }

    fn read(inbound: &mut Inbound, bytes: &[u8]) -> Result<usize, Violation> {
        let (mut at, mut events) = (0, 0);
        while inbound.next(bytes, &mut at)?.is_some() {
            events += 1;
        }
        Ok(events)
    }

    fn opened() -> Inbound {
        let mut inbound = Inbound::new(&Limits::default());
        assert_eq!(read(&mut inbound, &opening()), Ok(3), "hello and two binds");
        inbound
    }

    fn call(id: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::call(&mut bytes, Some(id), 1, &Options::default(), payload);
        bytes
    }

    #[test]
    fn an_id_is_free_after_the_last_frame_and_not_before() {
        let mut inbound = opened();
        assert_eq!(read(&mut inbound, &call(7, b"x")), Ok(1));
        inbound.answered(7);
        assert_eq!(read(&mut inbound, &call(7, b"x")), Ok(1));
        assert_eq!(read(&mut inbound, &call(7, b"x")), Err(Violation::DuplicateCall));
    }

    #[test]
    fn answered_calls_give_their_allowance_back() {
        let mut inbound = opened();
        let most = Limits::default().max_call_bytes / 60_000;
        for round in 0..3 {
            for id in 0..most {
                assert_eq!(read(&mut inbound, &call(id as u32, &[0; 59_998])), Ok(1), "round {round}");
            }
            (0..most).for_each(|id| inbound.answered(id as u32));
        }
        for id in 0..most {
            assert_eq!(read(&mut inbound, &call(id as u32, &[0; 59_998])), Ok(1));
        }
        assert_eq!(read(&mut inbound, &call(most as u32, &[0; 59_998])), Err(Violation::Allowance));
    }

    #[test]
    fn calls_are_counted_when_they_are_read() {
        let mut inbound = opened();
        let mut bytes = call(0, b"");
        codec::call(&mut bytes, None, 0, &Options::default(), b"");
        Frame::new(&mut bytes, kind::CALL).number(1).number(0).number(10).rest(b"abc").end(flag::MORE);
        Frame::new(&mut bytes, kind::CALL).number(2).number(0).number(1 << 40).rest(b"abc").end(flag::MORE);
        assert_eq!(read(&mut inbound, &bytes), Ok(4), "a call, a notification, one that is too large, and the beginning of one");
        assert_eq!(inbound.calls, 4);
    }

    #[test]
    fn chunks_are_put_together_however_they_are_cut() {
        let mut bytes = Vec::new();
        Frame::new(&mut bytes, kind::CALL).number(1).number(0).number(10).rest(b"abc").end(flag::MORE);
        Frame::new(&mut bytes, kind::PING).end(0);
        Frame::new(&mut bytes, kind::CALL_CHUNK).number(1).rest(b"defg").end(0);
        Frame::new(&mut bytes, kind::CALL_CHUNK).number(1).rest(b"hij").end(0);
        for cut in 0..=bytes.len() {
            let mut inbound = opened();
            let (mut at, mut message) = (0, Vec::new());
            for end in [cut, bytes.len()] {
                while let Some(event) = inbound.next(&bytes[..end], &mut at).unwrap() {
                    if let Event::Call(call) = event {
                        message = call.payload.bytes().to_vec();
                    }
                }
            }
            assert_eq!(message, b"abcdefghij", "cut at {cut}");
        }
    }

    #[test]
    fn the_rest_of_a_long_chunk_is_read_where_it_belongs() {
        let payload: Vec<u8> = (0..100_000_u32).map(|place| place as u8).collect();
        let mut inbound = opened();
        let mut begins = Vec::new();
        Frame::new(&mut begins, kind::CALL).number(1).number(0).number(100_000).rest(&payload[..40_000]).end(flag::MORE);
        Frame::new(&mut begins, kind::CALL_CHUNK).number(1).rest(&payload[40_000..]).end(0);
        let (mut at, seen) = (0, begins.len() - 50_000);
        assert!(inbound.direct().is_none(), "no chunk has begun");
        assert!(matches!(inbound.next(&begins[..seen], &mut at), Ok(Some(Event::CallBegins { .. }))));
        assert!(matches!(inbound.next(&begins[..seen], &mut at), Ok(None)));
        assert_eq!(at, seen);
        for (from, to) in [(50_000, 50_001), (50_001, 100_000)] {
            let mut place = inbound.direct().unwrap();
            assert_eq!(place.remaining_mut(), 100_000 - from, "no more than the chunk");
            place.put_slice(&payload[from..to]);
            inbound.took(to - from).unwrap();
        }
        assert!(inbound.direct().is_none());
        let Ok(Some(Event::Call(call))) = inbound.next(&[], &mut 0) else { panic!("it is complete") };
        assert!(call.payload.bytes() == payload);
        assert!(matches!(inbound.next(&[], &mut 0), Ok(None)));
    }

    #[test]
    fn a_call_has_one_reply_in_chunks_or_not() {
        let mut begun = opened();
        let mut bytes = Vec::new();
        Frame::new(&mut bytes, kind::REPLY).number(3).number(9).rest(b"abc").end(flag::MORE);
        Frame::new(&mut bytes, kind::REPLY).number(4).rest(b"another's").end(0);
        assert_eq!(read(&mut begun, &bytes), Ok(2));
        for flags in [0, flag::MORE] {
            let mut inbound = opened();
            let mut twice = bytes.clone();
            Frame::new(&mut twice, kind::FAIL).number(3).number(9).rest(b"abc").end(flags);
            assert_eq!(read(&mut inbound, &twice), Err(Violation::UnknownReply));
        }
    }

    #[test]
    fn a_declared_length_reserves_nothing() {
        let mut inbound = opened();
        let mut bytes = Vec::new();
        Frame::new(&mut bytes, kind::CALL).number(0).number(0).number(4 << 20).rest(b"a").end(flag::MORE);
        assert_eq!(read(&mut inbound, &bytes), Ok(1), "it has begun");
        assert!(inbound.assemblies.reserved() <= 64);
    }

    /// What is lent is no more than was declared and a quarter, whatever waits, and comes back when the message is given up.
    #[test]
    fn a_buffer_that_waits_is_lent_to_a_message_that_it_fits() {
        let _open = crate::frame::payload::Open::new();
        let mut inbound = opened();
        let total: usize = 3_333_333;
        let mut bytes = Vec::new();
        Frame::new(&mut bytes, kind::CALL).number(0).number(0).number(total as u64).rest(&[0; 60_000]).end(flag::MORE);
        for capacity in [total * 2, total + 100] {
            crate::frame::payload::recycle(Vec::with_capacity(capacity));
        }
        assert_eq!(read(&mut inbound, &bytes), Ok(1), "it has begun");
        assert!((1..=total + total / 4).contains(&inbound.assemblies.lent()), "{} bytes are lent", inbound.assemblies.lent());
        assert!(inbound.assemblies.abandon_call(0));
        assert_eq!(inbound.assemblies.lent(), 0);
    }

    /// Conformance 33: what was declared justifies 64 KiB, and what has come as much again.
    #[test]
    fn a_chunk_that_is_read_where_it_belongs_reserves_no_more_than_others() {
        let mut inbound = opened();
        let mut bytes = Vec::new();
        Frame::new(&mut bytes, kind::CALL).number(0).number(0).number(4 << 20).rest(b"a").end(flag::MORE);
        let head = bytes.len();
        Frame::new(&mut bytes, kind::CALL_CHUNK).number(0).rest(&[0; 65_000]).end(0);
        let (mut at, mut came) = (0, 1);
        assert!(matches!(inbound.next(&bytes[..head + 5], &mut at), Ok(Some(Event::CallBegins { .. }))));
        assert!(matches!(inbound.next(&bytes[..head + 5], &mut at), Ok(None)));
        for _ in 0..60 {
            let Some(mut place) = inbound.direct() else { break };
            let some = place.remaining_mut().min(1000);
            place.put_slice(&vec![0; some]);
            inbound.took(some).unwrap();
            came += some;
            let reserved = inbound.assemblies.reserved();
            assert!(reserved <= (2 * came).max(MAX_FRAME), "{reserved} bytes for {came}");
        }
        assert!(came > 30_000, "most of it went there");
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }
    }

    /// A session with every kind of frame that has fields.
    fn session() -> Vec<Vec<u8>> {
        let mut frames = vec![opening()];
        let pairs = [("tenant".to_owned(), "a".to_owned())];
        let mut frame = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            frames.push(bytes);
        };
        frame(&|out| codec::call(out, Some(0), 0, &Options::default(), b"payload"));
        frame(&|out| codec::call(out, None, 1, &Options { json: Some(Ways::default()), ..Options::default() }, b"[1]"));
        frame(&|out| codec::call(out, Some(3), 1, &Options { json: Some(Ways { along: true, back: true }), ..Options::default() }, b"[]"));
        let deadline = Some(std::time::Duration::from_secs(9));
        frame(&|out| codec::call(out, Some(1), 1, &Options { deadline, metadata: &pairs, json: None }, b"payload"));
        frame(&|out| Frame::new(out, kind::CALL).number(2).number(0).number(9).rest(b"abc").end(flag::MORE));
        frame(&|out| Frame::new(out, kind::CALL_CHUNK).number(2).rest(b"defghi").end(0));
        frame(&|out| Frame::new(out, kind::REPLY).number(0).rest(b"abc").end(0));
        frame(&|out| Frame::new(out, kind::FAIL).number(0).number(9).rest(b"abc").end(flag::MORE));
        frame(&|out| Frame::new(out, kind::REPLY_CHUNK).number(0).rest(b"defghi").end(0));
        frame(&|out| Frame::new(out, kind::ERROR).number(0).number(3).byte(0).number(251).text("busy").end(0));
        frame(&|out| Frame::new(out, kind::BOUND).number(0).rest(&[0, 1]).end(0));
        frame(&|out| Frame::new(out, kind::BIND).number(2).byte(1).text("S").hash(1).number(1).text("m").hash(2).end(0));
        frame(&|out| codec::write_schema(out, true, 0, b"a schema"));
        frame(&|out| codec::write_schema(out, false, 2, b"another"));
        frame(&|out| Frame::new(out, kind::SCHEMA).byte(1).number(0).rest(b"its beg").end(flag::MORE));
        frame(&|out| Frame::new(out, kind::CANCEL).number(1).end(0));
        frame(&|out| Frame::new(out, kind::PING).rest(b"12345678").end(0));
        frame(&|out| Frame::new(out, kind::GO_AWAY).number(0).number(1).text("bye").end(0));
        frame(&|out| Frame::new(out, kind::CALL_ITEMS).number(1).rest(&[2, 1, 2, 0, 3, 1]).end(0));
        frame(&|out| Frame::new(out, kind::CALL_ITEMS).number(1).end(0));
        frame(&|out| Frame::new(out, kind::REPLY_ITEMS).number(0).rest(&[0x80, 1, 7, 7]).end(0));
        frame(&|out| Frame::new(out, kind::CALL_END).number(1).byte(0).end(0));
        frame(&|out| Frame::new(out, kind::CALL_END).number(1).byte(1).end(0));
        frame(&|out| Frame::new(out, kind::CALL_CREDIT).number(0).number(16_384).end(0));
        frame(&|out| Frame::new(out, kind::REPLY_CREDIT).number(1).number(1 << 40).end(0));
        frame(&|out| Frame::new(out, kind::CALL_STOP).number(0).end(0));
        frames
    }

    /// Conformance 40: any bytes, in any portions, give events or a violation; what is held stays within the allowance.
    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_it_allows() {
        let (session, mut random) = (session(), Random(0x5eed));
        let (mut inputs, mut violations) = (0u32, 0u32);
        let allowed = Limits::default().allowance().assembly * 2;
        while inputs < 1_500_000 {
            let mut bytes: Vec<u8> = match random.below(8) {
                0 => (0..random.below(64)).map(|_| random.below(256) as u8).collect(),
                1 => opening().into_iter().chain((0..random.below(64)).map(|_| random.below(256) as u8)).collect(),
                _ => {
                    let mut bytes = opening();
                    (0..1 + random.below(6)).for_each(|_| bytes.extend_from_slice(&session[1 + random.below(session.len() - 1)]));
                    bytes
                }
            };
            for _ in 0..random.below(4) {
                if let Some(at) = random.below(bytes.len().max(1)).checked_sub(0).filter(|at| *at < bytes.len()) {
                    match random.below(3) {
                        0 => bytes[at] ^= 1 << random.below(8),
                        1 => bytes[at] = 0xff,
                        _ => bytes.truncate(at),
                    }
                }
            }
            let mut inbound = Inbound::new(&Limits::default());
            let (mut at, mut end, mut failed) = (0, 0, false);
            while !failed && end < bytes.len() {
                end = (end + 1 + random.below(40)).min(bytes.len());
                loop {
                    match inbound.next(&bytes[..end], &mut at) {
                        Ok(Some(Event::Refused { .. })) | Err(_) => failed = true,
                        Ok(Some(Event::Call(Call { id: Some(id), .. }))) if random.below(2) == 0 => inbound.answered(id),
                        Ok(Some(Event::Cancel(id))) => drop(inbound.abandon(id).then(|| inbound.answered(id))),
                        Ok(Some(Event::TooLarge { id, .. })) => inbound.answered(id),
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                    }
                    if failed {
                        break;
                    }
                }
                assert!(at <= end);
            }
            let held = inbound.assemblies.reserved() + inbound.schema.as_ref().map_or(0, |(.., bytes)| bytes.len());
            assert!(held <= allowed && held <= 2 * bytes.len(), "{held} bytes are held for {} read", bytes.len());
            let lent = inbound.assemblies.lent();
            assert!(lent <= allowed + allowed / 4, "{lent} bytes are lent");
            violations += u32::from(failed);
            inputs += 1;
        }
        let report = format!("{{\"suite\":\"inbound\",\"inputs\":{inputs},\"refused\":{violations}}}\n");
        std::io::Write::write_all(&mut std::io::stderr(), report.as_bytes()).unwrap();
        assert!(violations > inputs / 10 && violations < inputs, "some of both, or the inputs are no good");
    }

    /// Reads these bytes as the driver does, in random portions, in place where that is allowed. What became of each message.
    fn read_in_portions(bytes: &[u8], random: &mut Random, in_place: bool) -> (Vec<String>, usize) {
        let mut inbound = opened();
        let (mut seen, mut from, mut end, mut direct) = (Vec::new(), 0, 0, 0);
        while end < bytes.len() {
            let most = [20, 5_000, 100_000][random.below(3)];
            let portion = 1 + random.below(most);
            let place = if in_place && from == end { inbound.direct() } else { None };
            if let Some(mut place) = place {
                let count = portion.min(place.remaining_mut()).min(bytes.len() - end);
                place.put_slice(&bytes[end..end + count]);
                direct += count;
                inbound.took(count).unwrap();
                end += count;
                from = end;
            } else {
                end = (end + portion).min(bytes.len());
            }
            let mut at = 0;
            while let Some(event) = inbound.next(&bytes[from..end], &mut at).unwrap() {
                match event {
                    Event::Call(Call { id, payload, .. }) => {
                        inbound.answered(id.unwrap());
                        seen.push(format!("call {id:?} {:?}", sum(payload.bytes())));
                    }
                    Event::Reply { id, payload, .. } => seen.push(format!("reply {id} {:?}", sum(payload.bytes()))),
                    Event::Cancel(id) => {
                        let abandoned = inbound.abandon(id);
                        if abandoned {
                            inbound.answered(id);
                        }
                        seen.push(format!("cancel {id} {abandoned}"));
                    }
                    Event::Error(CallFailed { id, .. }) => seen.push(format!("error {id}")),
                    _ => {}
                }
            }
            from += at;
        }
        assert!(!inbound.is_assembling() && (inbound.large_bytes, inbound.assemblies.reply_bytes()) == (0, 0));
        (seen, direct)
    }

    /// Length and a sum that knows places.
    fn sum(bytes: &[u8]) -> (usize, u32) {
        (bytes.len(), bytes.iter().fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte))))
    }

    /// Messages in chunks between each other, both ways, some taken back: they come out alike, read in place or not.
    #[test]
    fn messages_are_the_same_wherever_they_are_read() {
        let mut random = Random(0x5eed);
        let mut direct = 0;
        for _ in 0..200 {
            let mut bytes = Vec::new();
            // What is still to be sent of each; even ones are calls, odd ones replies.
            let mut rest: Vec<(u32, Vec<u8>)> = (0..6).map(|id| (id, vec![random.below(256) as u8; 1 + random.below(300_000)])).collect();
            for (id, payload) in &mut rest {
                let tail = payload.split_off(random.below(payload.len()).clamp(1, 60_000));
                let frame = if *id % 2 == 0 {
                    Frame::new(&mut bytes, kind::CALL).number(u64::from(*id)).number(0)
                } else {
                    Frame::new(&mut bytes, kind::REPLY).number(u64::from(*id))
                };
                frame.number((payload.len() + tail.len()) as u64).rest(payload).end(flag::MORE);
                *payload = tail;
            }
            rest.retain(|(_, payload)| !payload.is_empty());
            while !rest.is_empty() {
                let chosen = random.below(rest.len());
                let (id, payload) = &mut rest[chosen];
                if random.below(15) == 0 {
                    match *id % 2 {
                        0 => Frame::new(&mut bytes, kind::CANCEL).number(u64::from(*id)).end(0),
                        _ => Frame::new(&mut bytes, kind::ERROR).number(u64::from(*id)).number(1).byte(1).number(0).text("").end(0),
                    }
                    // One more may be under way.
                    let kind = if *id % 2 == 0 { kind::CALL_CHUNK } else { kind::REPLY_CHUNK };
                    Frame::new(&mut bytes, kind).number(u64::from(*id)).rest(&[7; 50_000]).end(0);
                    rest.swap_remove(chosen);
                    continue;
                }
                let chunk: Vec<u8> = payload.drain(..payload.len().min(1 + random.below(60_000))).collect();
                let kind = if *id % 2 == 0 { kind::CALL_CHUNK } else { kind::REPLY_CHUNK };
                Frame::new(&mut bytes, kind).number(u64::from(*id)).rest(&chunk).end(0);
                if payload.is_empty() {
                    rest.swap_remove(chosen);
                }
            }
            let (plain, _) = read_in_portions(&bytes, &mut random, false);
            let (in_place, count) = read_in_portions(&bytes, &mut random, true);
            assert_eq!(plain, in_place);
            direct += count;
        }
        assert!(direct > 1 << 20, "only {direct} bytes were read in place");
    }
}
