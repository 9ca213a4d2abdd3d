//! Each way a peer can break the protocol, by name. Any of them closes the connection with this reason.

use std::fmt;

use super::codec;

/// A fault of the peer that no call can be blamed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// The first bytes are those of another protocol.
    WrongProtocol(&'static str),
    /// Ours, but no version in common.
    Version {
        lowest: u16,
        highest: u16,
    },
    FrameTooLong(usize),
    /// A frame of this kind ended in the middle of a field, or went on after the last one.
    BadFrame(&'static str),
    UnknownFrame(u8),
    /// A frame before its time, or twice.
    Unexpected(&'static str),
    /// A call id at or above the number of calls we allow.
    CallId,
    /// A call id that is in use.
    DuplicateCall,
    /// A method number that was never bound.
    UnboundMethod,
    /// Numbers are bound in order, without gaps.
    BadBind,
    TooManyBinds,
    /// More bytes of unanswered calls, or of messages under way, than our hello allows.
    Allowance,
    /// A reply to a call that was never made, or that has been answered.
    UnknownReply,
    /// A reply to a method whose bind has not been answered.
    UnboundReply,
    /// More bytes of a stream than there was credit for.
    Credit,
    /// An item that is longer than a message may be.
    ItemTooLong(usize),
    /// More bytes of schemas than one connection may bring.
    SchemaTooLong,
    /// A schema that is none, and why.
    BadSchema(Box<str>),
}

impl Violation {
    pub(crate) const CLASSES: usize = 17 + codec::OTHER_PROTOCOLS.len();

    /// A number for each fault, and for each protocol that is not ours.
    pub(crate) fn class(&self) -> usize {
        match self {
            Self::Version { .. } => 0,
            Self::FrameTooLong(_) => 1,
            Self::BadFrame(_) => 2,
            Self::UnknownFrame(_) => 3,
            Self::Unexpected(_) => 4,
            Self::CallId => 5,
            Self::DuplicateCall => 6,
            Self::UnboundMethod => 7,
            Self::BadBind => 8,
            Self::TooManyBinds => 9,
            Self::Allowance => 10,
            Self::UnknownReply => 11,
            Self::UnboundReply => 12,
            Self::Credit => 13,
            Self::ItemTooLong(_) => 14,
            Self::SchemaTooLong => 15,
            Self::BadSchema(_) => 16,
            Self::WrongProtocol(name) => 17 + codec::OTHER_PROTOCOLS.iter().position(|other| other == name).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongProtocol(name) => write!(f, "the peer speaks {name}, not this protocol"),
            Self::Version { lowest, highest } => {
                write!(f, "the peer speaks versions {lowest} to {highest} of the protocol, this end speaks version {}", codec::VERSION)
            }
            Self::FrameTooLong(length) => write!(f, "frame of {length} bytes exceeds the limit of {} (protocol 3.1)", super::limits::MAX_FRAME),
            Self::BadFrame(kind) => write!(f, "malformed {kind} frame"),
            Self::UnknownFrame(kind) => write!(f, "unknown frame kind {kind}"),
            Self::Unexpected(kind) => write!(f, "unexpected {kind} frame"),
            Self::CallId => f.write_str("call id above the limit (Limits::max_in_flight)"),
            Self::DuplicateCall => f.write_str("call id in use"),
            Self::UnboundMethod => f.write_str("call to a method number that is not bound"),
            Self::BadBind => f.write_str("bind out of order"),
            Self::TooManyBinds => f.write_str("too many methods bound (Limits::max_binds)"),
            Self::Allowance => f.write_str("more unanswered bytes than allowed (Limits::max_call_bytes, Limits::max_assembly)"),
            Self::UnknownReply => f.write_str("reply to a call that is not open"),
            Self::UnboundReply => f.write_str("reply before its bind was answered"),
            Self::Credit => f.write_str("more bytes of a stream than there was credit for"),
            Self::ItemTooLong(length) => write!(f, "item of {length} bytes exceeds the limit (Limits::max_message)"),
            Self::SchemaTooLong => write!(f, "schemas of more than {} bytes on one connection (protocol 9.5)", super::limits::MAX_SCHEMA),
            Self::BadSchema(why) => write!(f, "malformed schema: {why}"),
        }
    }
}
