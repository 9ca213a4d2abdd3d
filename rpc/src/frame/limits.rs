//! Every limit in one place, with its default and the reason for it. `docs/limits.md` repeats the table; a test compares them.

use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The longest a frame may be after its header. A constant of the protocol (`docs/protocol.md` 3.1): a length prefix can
/// never make a reader reserve more than this.
pub(crate) const MAX_FRAME: usize = 64 * KIB;

/// Room that the head of a call or reply may take in its frame; a longer message goes in chunks.
pub(crate) const MAX_HEAD: usize = 64;

/// The most metadata that a call may carry, whatever the limits say: its head stands in one frame (`docs/protocol.md` 5.6).
pub(crate) const MAX_METADATA: usize = 32 * KIB;

/// The longest name of a service or method on the wire (`docs/protocol.md` 4.1).
pub(crate) const MAX_NAME: usize = 512;

/// How many methods an end binds on one connection before it makes another (`docs/protocol.md` 4.3).
pub(crate) const NUMBERS: usize = 4096;

/// What an end may send before it has read the peer's hello (`docs/protocol.md` 2.3).
pub(crate) const BEFORE_HELLO: Allowance = Allowance { max_message: 64 * KIB, in_flight: 64, call_bytes: 64 * KIB, assembly: 0, schemas: false };

/// Bytes of schemas that an end takes on one connection (`docs/protocol.md` 9.5). Twenty methods take about 1.4 KB.
pub(crate) const MAX_SCHEMA: usize = MIB;

/// Memory that the schemas of one connection may fill (`docs/protocol.md` 9.5). Those of people's services fill about eight times
/// their bytes; a stranger's would fill sixteen times a mebibyte.
pub(crate) const SCHEMA_MEMORY: usize = 4 * MIB;

/// Memory that the schemas of all clients of a server may fill, those that many send counted once.
pub(crate) const SCHEMAS_MEMORY: usize = 64 * MIB;

/// Bytes of our schemas that may be on their way to a peer that has not sent its own. The next one waits.
pub(crate) const OPEN_SCHEMAS: usize = 64 * KIB;

/// Bytes of a stream that may be sent before any credit has come (`docs/protocol.md` 7.3).
pub(crate) const FIRST_WINDOW: usize = 16 * KIB;

/// How far the window of a stream grows while its reader keeps up.
pub(crate) const MAX_WINDOW: usize = 256 * KIB;

/// The deadline of a call when neither the call, the method nor the client names one.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection that makes no call holds its hello back, hoping to send it with the first call.
pub(crate) const HELLO_DELAY: Duration = Duration::from_millis(5);

/// Handlers that were polled in place for longer than this in one batch send the next batch to tasks of their own.
pub(crate) const IN_PLACE: Duration = Duration::from_millis(1);

/// What one end allows the other, as its hello says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) max_message: usize,
    pub(crate) in_flight: usize,
    pub(crate) call_bytes: usize,
    pub(crate) assembly: usize,
    /// It exchanges schemas where contracts differ (`docs/protocol.md` 9).
    pub(crate) schemas: bool,
}

/// What an end accepts from its peer, and for how long it waits. Both ends have one.
///
/// Take the default and change fields: `let mut limits = Limits::default(); limits.max_message = 16 << 20;`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the arguments of a call, or of its result, on the wire. 4 MiB: what tonic accepts by default too.
    pub max_message: usize,
    /// Calls in flight on one connection, each way. 1,024: more hide nothing of the latency of a local network.
    pub max_in_flight: usize,
    /// Bytes of small calls (one frame) that a caller may have unanswered. 1 MiB: what one connection can make us hold.
    pub max_call_bytes: usize,
    /// Bytes of large calls (more than one frame) that a caller may have unanswered, and of large replies under way.
    /// `max_message` + 1 MiB: the largest message always fits, and a second one can start beside it.
    pub max_assembly: usize,
    /// Calls with streams that a peer may have open on one connection; the next one is `Overloaded`. 128: each may hold 16 KiB
    /// that nobody reads.
    pub max_streams: usize,
    /// Bytes by which the windows of a connection's streams may grow in all, beyond 16 KiB each. 2 MiB: eight streams at
    /// full speed over a long way.
    pub max_stream_bytes: usize,
    /// Bytes of metadata of one call: keys, values and their lengths; at most 32 KiB. 8 KiB: what HTTP servers accept as headers.
    pub max_metadata: usize,
    /// Methods that a peer may bind on one connection. 4,096, which clients count on: services on a port times methods, with room.
    pub max_binds: usize,
    /// Nesting of a value. 128, as in serde_json: deeper ones could overflow a stack.
    pub max_depth: usize,
    /// Bytes of memory that decoding one message may fill. 64 MiB, 16 times the largest message: a byte on the wire can
    /// stand for a large value in memory.
    pub max_decoded: usize,
    /// Connections a server holds; the next one is told so and closed. 10,000.
    pub max_connections: usize,
    /// Handlers of a server that wait at the same time, over all connections; further calls are `Overloaded`. 65,536.
    pub max_handlers: usize,
    /// Until a peer has said hello, the handshake of TLS included. 10 s: three lost packets of a TCP handshake and its reply.
    pub handshake_timeout: Duration,
    /// Until a frame that has begun to arrive is complete. 30 s: 64 KiB at modem speed.
    pub progress_timeout: Duration,
    /// Until the peer takes bytes that are ready to leave, or answers a ping behind a part of a large message. 30 s.
    pub write_timeout: Duration,
    /// Without a byte from the peer, until it is asked whether it is still there; `Duration::MAX` never asks. 20 s: what
    /// mobile carriers and NATs keep a quiet connection for is longer.
    pub keepalive_interval: Duration,
    /// Until a peer that was asked has sent anything. 10 s: with the above, a dead one is found within 30 s.
    pub keepalive_timeout: Duration,
    /// Until a connection is made, the handshake of TLS included. 10 s.
    pub connect_timeout: Duration,
    /// How long a draining server, or a client that closes, waits for calls in flight. 30 s: the default deadline of a call.
    pub drain_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 4 * MIB,
            max_in_flight: 1024,
            max_call_bytes: MIB,
            max_assembly: 5 * MIB,
            max_streams: 128,
            max_stream_bytes: 2 * MIB,
            max_metadata: 8 * KIB,
            max_binds: 4096,
            max_depth: 128,
            max_decoded: 64 * MIB,
            max_connections: 10_000,
            max_handlers: 65_536,
            handshake_timeout: Duration::from_secs(10),
            progress_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            drain_grace: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// What our hello says. Never less than what a peer may send before it has read it.
    pub(crate) fn allowance(&self) -> Allowance {
        // A length and one more fit in 32 bits.
        let most = u32::MAX as usize - 1;
        let max_message = self.max_message.clamp(BEFORE_HELLO.max_message, most);
        Allowance {
            max_message,
            in_flight: self.max_in_flight.clamp(BEFORE_HELLO.in_flight, 1 << 20),
            call_bytes: self.max_call_bytes.clamp(BEFORE_HELLO.call_bytes, most),
            assembly: self.max_assembly.clamp(max_message, most),
            schemas: true,
        }
    }
}
