//! Values to bytes and back: postcard (or JSON for calls by name), outcomes, and the guard against hostile payloads.
//!
//! The only file of `frame` that knows serde.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::service::Method;
use crate::{Error, ErrorKind, Executed};

/// How the values of a call are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Postcard,
    Json,
}

/// What a call ended with; its payload stands beside it.
pub(crate) enum Outcome {
    /// The return value, or what was inside its `Ok`.
    Value,
    /// What was inside the method's `Err`.
    Failed,
    /// Ours; there is no payload.
    Error(Error),
}

/// The argument bytes of a call; arguments borrow from it.
#[derive(Default)]
pub(crate) struct Body {
    bytes: Vec<u8>,
}

impl Body {
    pub(crate) fn encoding(&self) -> Encoding {
        Encoding::Postcard
    }
}

pub(crate) fn decode_arguments<'a, A: Deserialize<'a>>(body: &'a Body, method: &'static Method) -> Result<A, Error> {
    postcard::from_bytes(&body.bytes).map_err(|error| Error::new(ErrorKind::Malformed, format!("{}: {error}", method.name)))
}

pub(crate) fn encode_returned<R: Serialize + ?Sized>(_result: &R, _encoding: Encoding, _limit: usize, _out: &mut Vec<u8>) -> Outcome {
    Outcome::Value
}

pub(crate) fn encode_arguments<A: Serialize + ?Sized>(_arguments: &A, _encoding: Encoding, _limit: usize, _out: &mut Vec<u8>) -> Result<(), Error> {
    Ok(())
}

pub(crate) fn decode_reply<T: DeserializeOwned>(bytes: &[u8], _encoding: Encoding) -> Result<T, Error> {
    postcard::from_bytes(bytes).map_err(|error| Error::with(ErrorKind::Malformed, Executed::Yes, error.to_string()))
}

/// `&[u8]` in one copy; serde's own impl for `[u8]` goes byte by byte.
pub struct Bytes<'a>(pub Cow<'a, [u8]>);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Bytes<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Borrowed(bytes)))
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Owned(bytes.to_vec())))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
                Ok(Bytes(Cow::Owned(bytes)))
            }
            /// JSON writes bytes as an array of numbers.
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(Cow::Owned(bytes)))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// `&str` and `Cow<str>` that borrow where they can; serde's own impl for `Cow` always owns.
pub struct CowStr<'a>(pub Cow<'a, str>);

impl Serialize for CowStr<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for CowStr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = CowStr<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(CowStr(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(CowStr(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
