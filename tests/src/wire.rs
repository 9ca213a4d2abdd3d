//! The protocol spoken by hand, from `docs/protocol.md` and nothing else: an implementation of its own to test against.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rpc::Server;
use rpc::transport::Transport;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

/// Protocol 3.3.
pub mod kind {
    #![allow(missing_docs)]
    pub const HELLO: u8 = 1;
    pub const REFUSED: u8 = 2;
    pub const BIND: u8 = 3;
    pub const BOUND: u8 = 4;
    pub const CALL: u8 = 5;
    pub const NOTIFY: u8 = 6;
    pub const REPLY: u8 = 7;
    pub const FAIL: u8 = 8;
    pub const ERROR: u8 = 9;
    pub const CALL_CHUNK: u8 = 10;
    pub const REPLY_CHUNK: u8 = 11;
    pub const CANCEL: u8 = 12;
    pub const PING: u8 = 13;
    pub const PONG: u8 = 14;
    pub const GO_AWAY: u8 = 15;
    pub const CALL_ITEMS: u8 = 16;
    pub const REPLY_ITEMS: u8 = 17;
    pub const CALL_END: u8 = 18;
    pub const CALL_CREDIT: u8 = 19;
    pub const REPLY_CREDIT: u8 = 20;
    pub const CALL_STOP: u8 = 21;
    pub const SCHEMA: u8 = 22;
}

/// Protocol 3.2.
pub mod flag {
    #![allow(missing_docs)]
    pub const MORE: u8 = 0x20;
    pub const OPTIONS: u8 = 0x40;
    pub const SKIP: u8 = 0x80;
}

/// Protocol 3.1.
pub const MAX_FRAME: usize = 65_536;

/// Protocol 2.1.
pub const PREFACE: [u8; 8] = *b"\xf5rpc\r\n\x01\x00";

/// Protocol 1.2.
#[must_use]
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// Protocol 1.3.
#[must_use]
pub fn text(text: &str) -> Vec<u8> {
    [&varint(text.len() as u64)[..], text.as_bytes()].concat()
}

/// Protocol 4.6.
#[must_use]
pub fn hash(texts: &[&[u8]]) -> u128 {
    let mut hash: u128 = 0x6c62272e07bb014262b821756295c58d;
    for text in texts {
        for byte in text.iter().copied().chain((text.len() as u64).to_le_bytes()) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(0x1000000000000000000013b);
        }
    }
    hash
}

/// Protocol 4.6: of a method, by the text of its arguments and that of its results.
#[must_use]
pub fn method_hash(arguments: &str, results: &str) -> u128 {
    let of = |text: &str| hash(&[text.as_bytes()]).to_le_bytes();
    hash(&[&of(arguments), &of(results)])
}

/// A header as it may be: whatever length it claims.
#[must_use]
pub fn header(kind: u8, flags: u8, length: usize) -> [u8; 4] {
    let [low, middle, high, _] = (length as u32).to_le_bytes();
    [kind | flags, low, middle, high]
}

/// A whole frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    [&header(kind, flags, body.len())[..], &body].concat()
}

/// Preface and hello with these keys.
#[must_use]
pub fn opening(keys: &[(u64, u64)]) -> Vec<u8> {
    let keys: Vec<u8> = keys.iter().flat_map(|(key, value)| [varint(*key), varint(*value)].concat()).collect();
    [&PREFACE[..], &frame(kind::HELLO, 0, &[&keys])].concat()
}

/// Binds one number to one method by name.
#[must_use]
pub fn bind_name(number: u64, name: &str) -> Vec<u8> {
    frame(kind::BIND, 0, &[&varint(number), &[0], &text(name)])
}

/// Binds numbers from `first` on to a service: its methods with their hashes, in order of name.
#[must_use]
pub fn bind_service(first: u64, service: &str, methods: &[(&str, u128)]) -> Vec<u8> {
    let hashes: Vec<_> = methods.iter().map(|(_, hash)| hash.to_le_bytes()).collect();
    let mut texts = vec![service.as_bytes()];
    for ((name, _), hash) in methods.iter().zip(&hashes) {
        texts.extend([name.as_bytes(), hash]);
    }
    let whole = hash(&texts);
    let pairs: Vec<u8> = methods.iter().flat_map(|(name, hash)| [&text(name)[..], &hash.to_le_bytes()].concat()).collect();
    frame(kind::BIND, 0, &[&varint(first), &[1], &text(service), &whole.to_le_bytes(), &varint(methods.len() as u64), &pairs])
}

/// A call without options, in one frame.
#[must_use]
pub fn call(id: u64, number: u64, payload: &[u8]) -> Vec<u8> {
    frame(kind::CALL, 0, &[&varint(id), &varint(number), payload])
}

/// A call by name, in one frame.
#[must_use]
pub fn json_call(id: u64, number: u64, payload: &str) -> Vec<u8> {
    frame(kind::CALL, flag::OPTIONS, &[&varint(id), &varint(number), &[4], payload.as_bytes()])
}

/// The first frame of a call in chunks.
#[must_use]
pub fn large_call(id: u64, number: u64, total: u64, chunk: &[u8]) -> Vec<u8> {
    frame(kind::CALL, flag::MORE, &[&varint(id), &varint(number), &varint(total), chunk])
}

/// Bytes of items, of a call or of a reply.
#[must_use]
pub fn items(kind: u8, id: u64, bytes: &[u8]) -> Vec<u8> {
    frame(kind, 0, &[&varint(id), bytes])
}

/// The end of a call's items: 0 after the last one.
#[must_use]
pub fn end(id: u64, how: u8) -> Vec<u8> {
    frame(kind::CALL_END, 0, &[&varint(id), &[how]])
}

/// Credit for items, of a call or of a reply.
#[must_use]
pub fn credit(kind: u8, id: u64, bytes: u64) -> Vec<u8> {
    frame(kind, 0, &[&varint(id), &varint(bytes)])
}

/// A cancel.
#[must_use]
pub fn cancel(id: u64) -> Vec<u8> {
    frame(kind::CANCEL, 0, &[&varint(id)])
}

/// Protocol 9.2: a schema in one frame; `whose` is 0 for the callee's and 1 for the caller's.
#[must_use]
pub fn schema(whose: u8, first: u64, bytes: &[u8]) -> Vec<u8> {
    frame(kind::SCHEMA, 0, &[&[whose], &varint(first), bytes])
}

/// Protocol 9.6: methods as [`method`] makes them, and nodes.
#[must_use]
pub fn schema_of(methods: &[Vec<u8>], nodes: &[&[u8]]) -> Vec<u8> {
    [varint(methods.len() as u64), methods.concat(), varint(nodes.len() as u64), nodes.concat()].concat()
}

/// Protocol 9.6: the arguments' names and places, then the places of upload, return value, error and download.
#[must_use]
pub fn method(name: &str, arguments: &[(&str, u64)], upload: Option<(&str, u64)>, rest: [Option<u64>; 3]) -> Vec<u8> {
    let mut bytes = [text(name), varint(arguments.len() as u64)].concat();
    for (name, place) in arguments {
        bytes.extend([text(name), varint(*place)].concat());
    }
    match upload {
        Some((name, place)) => bytes.extend([vec![1], text(name), varint(place)].concat()),
        None => bytes.push(0),
    }
    for place in rest {
        match place {
            Some(place) => bytes.extend([vec![1], varint(place)].concat()),
            None => bytes.push(0),
        }
    }
    bytes
}

/// A frame that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The low five bits of the first byte.
    pub kind: u8,
    /// The high three.
    pub flags: u8,
    /// What stands behind the header.
    pub body: Vec<u8>,
}

impl Frame {
    /// The varint at the start of the body, and the rest.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn number(&self) -> (u64, &[u8]) {
        read_varint(&self.body)
    }

    /// Code, executed byte, retry-after and message of an error frame.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn error(&self) -> (u64, u8, u64, String) {
        assert_eq!(self.kind, kind::ERROR, "{self:?}");
        let (_, rest) = self.number();
        let (code, rest) = read_varint(rest);
        let (executed, rest) = (rest[0], &rest[1..]);
        let (retry_after, rest) = read_varint(rest);
        (code, executed, retry_after, read_text(rest))
    }

    /// Code, accepted count and message of a go-away.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn go_away(&self) -> (u64, u64, String) {
        assert_eq!(self.kind, kind::GO_AWAY, "{self:?}");
        let (code, rest) = self.number();
        let (accepted, rest) = read_varint(rest);
        (code, accepted, read_text(rest))
    }
}

/// The varint at the start of these bytes, and the rest.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn read_varint(bytes: &[u8]) -> (u64, &[u8]) {
    let end = bytes.iter().position(|byte| *byte < 0x80).expect("a varint ends") + 1;
    let value = bytes[..end].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    (value, &bytes[end..])
}

fn read_text(bytes: &[u8]) -> String {
    let (length, rest) = read_varint(bytes);
    assert_eq!(length as usize, rest.len(), "the text is the last field");
    String::from_utf8(rest.to_vec()).expect("a text is UTF-8")
}

/// Cuts bytes into frames; they must be whole.
#[must_use]
pub fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_at_checked(4) {
        let length = u32::from_le_bytes([header[1], header[2], header[3], 0]) as usize;
        frames.push(Frame { kind: header[0] & 0x1f, flags: header[0] & 0xe0, body: rest[..length].to_vec() });
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "an incomplete frame");
    frames
}

/// One end of a connection, spoken by hand.
pub struct Raw<T = DuplexStream> {
    io: T,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Raw<T> {
    /// Over any stream.
    pub fn over(io: T) -> Self {
        Self { io }
    }

    /// The stream itself.
    pub fn into_io(self) -> T {
        self.io
    }

    /// Sends these bytes; a peer that has closed does not mind.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.io.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Says that nothing more will be sent.
    pub async fn shut(&mut self) {
        self.io.shutdown().await.ok();
    }

    /// The peer's preface and hello.
    ///
    /// # Panics
    /// If it sends anything else.
    pub async fn opened(&mut self) -> Frame {
        let mut preface = [0; 8];
        self.io.read_exact(&mut preface).await.expect("a preface");
        assert_eq!(preface, PREFACE);
        let hello = self.frame().await.expect("a hello");
        assert_eq!(hello.kind, kind::HELLO);
        hello
    }

    /// The next frame; none when the peer has closed.
    pub async fn frame(&mut self) -> Option<Frame> {
        let mut header = [0; 4];
        self.io.read_exact(&mut header).await.ok()?;
        let mut body = vec![0; u32::from_le_bytes([header[1], header[2], header[3], 0]) as usize];
        self.io.read_exact(&mut body).await.ok()?;
        Some(Frame { kind: header[0] & 0x1f, flags: header[0] & 0xe0, body })
    }

    /// All frames until the peer closes.
    pub async fn frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame().await {
            frames.push(frame);
        }
        frames
    }

    /// All bytes until the peer closes.
    pub async fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.io.read_to_end(&mut bytes).await.ok();
        bytes
    }
}

/// Serves one connection; the other end is spoken by hand.
pub fn serve(server: Server) -> (Raw, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let task = tokio::spawn(async move { server.serve_connection(Transport::over(far, "test")).await.expect("the server's names differ") });
    (Raw::over(near), task)
}

/// As [`serve`], with preface and hello behind.
pub async fn opened(server: Server) -> Raw {
    let (mut raw, _task) = serve(server);
    raw.send(opening(&[])).await;
    raw.opened().await;
    raw
}

/// What was handed to the transport, call by call.
#[derive(Clone, Debug, Default)]
pub struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

impl Writes {
    /// All so far.
    ///
    /// # Panics
    /// If a test panicked while it looked.
    #[must_use]
    pub fn all(&self) -> Vec<Vec<u8>> {
        self.0.lock().expect("nobody panics here").clone()
    }

    /// All so far, as one.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.all().concat()
    }

    /// Forgets them.
    ///
    /// # Panics
    /// If a test panicked while it looked.
    pub fn clear(&self) {
        self.0.lock().expect("nobody panics here").clear();
    }
}

/// A stream that notes every write.
#[derive(Debug)]
pub struct Recorder<T> {
    io: T,
    writes: Writes,
}

impl<T> Recorder<T> {
    /// Around this stream.
    pub fn new(io: T, writes: Writes) -> Self {
        Self { io, writes }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Recorder<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = written {
            self.writes.0.lock().expect("nobody panics here").push(bytes[..written].to_vec());
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Recorder<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut tokio::io::ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

/// Compares bytes with a dump: hexadecimal bytes, `'text'`, and comments after `#`.
///
/// # Panics
/// If they differ; it shows both as hexadecimal.
#[track_caller]
pub fn assert_bytes(bytes: &[u8], dump: &str) {
    let mut expected = Vec::new();
    for line in dump.lines() {
        for word in line.split('#').next().unwrap_or_default().split_whitespace() {
            match word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')) {
                Some(text) => expected.extend_from_slice(text.as_bytes()),
                None => expected.push(u8::from_str_radix(word, 16).expect("two hexadecimal digits")),
            }
        }
    }
    let hex =
        |bytes: &[u8]| bytes.chunks(16).map(|line| line.iter().map(|byte| format!("{byte:02x} ")).collect::<String>() + "\n").collect::<String>();
    assert!(bytes == expected, "\ngot:\n{}\nexpected:\n{}", hex(bytes), hex(&expected));
}

/// Pseudo-random numbers, the same in every run (xorshift).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
