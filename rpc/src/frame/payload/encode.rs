//! Values to bytes: appended to a buffer, no longer than a limit, all or nothing.
//!
//! Here too a method's `Result` is taken apart. Neither the macro nor a trait of ours has to know what a `Result` is:
//! serde's own impl says so when it is written.

use std::any::type_name;
use std::cell::Cell;
use std::fmt::Display;

use serde::{Serialize, Serializer};

use super::segments::Segments;
use super::{Encoding, buffers, shared};
#[cfg(feature = "json")]
use crate::schema::{Typed, Types, write};

/// Why a value was not written; the buffer is as it was before.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// It is longer than the limit.
    TooLong,
    /// Its type cannot be written, or its `Serialize` said no.
    Type(String),
    #[cfg(not(feature = "json"))]
    NoJson,
}

/// Where large parts of a value may be set aside; `None` if all of it has to stand in the buffer.
pub(super) type Aside<'a> = Option<&'a mut Option<Box<Segments>>>;

/// Appends a value.
pub(super) fn encode<T: Serialize + ?Sized>(
    value: &T,
    encoding: Encoding,
    limit: usize,
    out: &mut Vec<u8>,
    aside: Aside<'_>,
) -> Result<(), Unwritten> {
    let mut tail = Tail::new(out, limit);
    tail.aside = aside;
    match encoding {
        Encoding::Postcard => {
            let mut serializer = postcard::Serializer { output: tail };
            let written = value.serialize(&mut serializer).map_err(postcard_text);
            serializer.output.finish(written)
        }
        #[cfg(feature = "json")]
        Encoding::Json => {
            let written = Typed(value).serialize(&mut serde_json::Serializer::new(&mut tail)).map_err(super::text::capped);
            tail.finish(written)
        }
        #[cfg(not(feature = "json"))]
        Encoding::Json => Err(Unwritten::NoJson),
    }
}

/// Appends JSON as it is.
#[cfg(feature = "json")]
pub(super) fn encode_value(value: &serde_json::Value, limit: usize, out: &mut Vec<u8>) -> Result<(), Unwritten> {
    let mut tail = Tail::new(out, limit);
    let written = serde_json::to_writer(&mut tail, value).map_err(super::text::capped);
    tail.finish(written)
}

/// Appends what a method returned; of a `Result` only what is inside, and whether that is an `Err`.
pub(super) fn encode_result<R: Serialize + ?Sized>(
    result: &R,
    encoding: Encoding,
    limit: usize,
    out: &mut Vec<u8>,
    aside: Aside<'_>,
) -> (bool, Result<(), Unwritten>) {
    if !is_result::<R>() {
        return (false, encode(result, encoding, limit, out, aside));
    }
    let failed = Cell::new(false);
    let written = encode(&TakenApart { result, failed: &failed }, encoding, limit, out, aside);
    (failed.get(), written)
}

/// The same in JSON, by the schema and without code of the type for it: what postcard writes is written again.
#[cfg(feature = "json")]
pub(super) fn encode_result_by<R: Serialize + ?Sized>(
    result: &R,
    own: super::Results,
    limit: usize,
    out: &mut Vec<u8>,
) -> (bool, Result<(), Unwritten>) {
    let mut scratch = super::buffer();
    // The worst are floats: eight bytes that may be no more than `0.0` in JSON.
    let (failed, written) = encode_result(result, Encoding::Postcard, limit.saturating_mul(3).saturating_add(16), &mut scratch, None);
    let written = written.and_then(|()| match if failed { own.error } else { own.returns } {
        Some(types) => rewrite(types, &scratch, limit, out),
        // A notification that was called by name: its caller waits for something.
        None if scratch.is_empty() => {
            out.extend_from_slice(b"null");
            Ok(())
        }
        None => Err(Unwritten::Type("its type is not in the schema".to_owned())),
    });
    super::recycle(scratch);
    (failed, written)
}

/// Appends the JSON of what was written in postcard.
#[cfg(feature = "json")]
pub(super) fn rewrite(types: Types<'_>, bytes: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Unwritten> {
    let begin = out.len();
    write(types, bytes, limit, out).map_err(|unwritten| {
        out.truncate(begin);
        match unwritten {
            crate::schema::Unwritten::TooLong => Unwritten::TooLong,
            crate::schema::Unwritten::Type(text) => Unwritten::Type(super::text::capped(text)),
        }
    })
}

/// A `Result` behind `#[serde(transparent)]`, or in a box, looks the same to a serializer; but its reader does not know
/// that it is one, so it has to travel whole. The type's name says which it is; `tests/outcomes.rs` notices should names change.
#[inline]
fn is_result<R: ?Sized>() -> bool {
    type_name::<R>().trim_start_matches('&').starts_with("core::result::Result<")
}

/// postcard keeps no text of serde's errors.
#[cold]
fn postcard_text(error: postcard::Error) -> String {
    match error {
        postcard::Error::SerializeSeqLengthUnknown => "it holds a sequence or map of unknown length".to_owned(),
        error => error.to_string(),
    }
}

/// The end of a buffer, while a value is appended. Goes away again if that fails, or panics.
struct Tail<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
    /// How long the buffer may become: what is set aside makes it less.
    end: usize,
    aside: Aside<'a>,
    full: bool,
    complete: bool,
}

impl<'a> Tail<'a> {
    fn new(out: &'a mut Vec<u8>, limit: usize) -> Self {
        let begin = out.len();
        Self { out, begin, end: begin.saturating_add(limit), aside: None, full: false, complete: false }
    }

    #[inline]
    fn has_room(&mut self, count: usize) -> bool {
        if count > self.end - self.out.len() {
            self.full = true;
            return false;
        }
        true
    }

    /// Many bytes, for which there is room.
    #[cold]
    fn extend_much(&mut self, bytes: &[u8]) {
        if let Some(aside) = &mut self.aside
            && let Some(segment) = shared::offered(bytes)
        {
            aside.get_or_insert_default().push(self.out.len() - self.begin, segment);
            self.end -= bytes.len();
            return;
        }
        buffers::make_room(self.out, bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn finish(mut self, written: Result<(), String>) -> Result<(), Unwritten> {
        // Asked first: a `Serialize` may have swallowed our error, or told another one.
        if self.full {
            return Err(Unwritten::TooLong);
        }
        written.map_err(Unwritten::Type)?;
        self.complete = true;
        Ok(())
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.out.truncate(self.begin);
            if let Some(aside) = &mut self.aside {
                **aside = None;
            }
        }
    }
}

impl postcard::ser_flavors::Flavor for Tail<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if !self.has_room(1) {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.out.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if !self.has_room(bytes.len()) {
            return Err(postcard::Error::SerializeBufferFull);
        }
        if let [byte] = bytes {
            // Most numbers are small.
            self.out.push(*byte);
        } else if bytes.len() > buffers::LARGEST {
            self.extend_much(bytes);
        } else {
            self.out.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "json")]
impl std::io::Write for Tail<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !self.has_room(bytes.len()) {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A `Result` that is written as what is inside it.
struct TakenApart<'a, R: ?Sized> {
    result: &'a R,
    failed: &'a Cell<bool>,
}

impl<R: Serialize + ?Sized> Serialize for TakenApart<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.result.serialize(Top { serializer, failed: self.failed })
    }
}

/// Writes anything as `serializer` does, except that `Result::Ok(v)` is written as `v` and `Result::Err(e)` as `e`.
/// Only the top: `v` and `e` meet the serializer itself.
struct Top<'a, S> {
    serializer: S,
    failed: &'a Cell<bool>,
}

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*) -> $ok:ident;)*) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<Self::$ok, S::Error> {
            self.serializer.$method($($name),*)
        }
    )*};
}

impl<S: Serializer> Serializer for Top<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = S::SerializeSeq;
    type SerializeTuple = S::SerializeTuple;
    type SerializeTupleStruct = S::SerializeTupleStruct;
    type SerializeTupleVariant = S::SerializeTupleVariant;
    type SerializeMap = S::SerializeMap;
    type SerializeStruct = S::SerializeStruct;
    type SerializeStructVariant = S::SerializeStructVariant;

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        // A newtype is written as what it holds, and tells the serializer of the type that it holds.
        match (name, variant) {
            ("Result", "Ok") => self.serializer.serialize_newtype_struct(name, value),
            ("Result", "Err") => {
                self.failed.set(true);
                self.serializer.serialize_newtype_struct(name, value)
            }
            _ => self.serializer.serialize_newtype_variant(name, index, variant, value),
        }
    }

    forward! {
        serialize_bool(value: bool) -> Ok;
        serialize_i8(value: i8) -> Ok;
        serialize_i16(value: i16) -> Ok;
        serialize_i32(value: i32) -> Ok;
        serialize_i64(value: i64) -> Ok;
        serialize_i128(value: i128) -> Ok;
        serialize_u8(value: u8) -> Ok;
        serialize_u16(value: u16) -> Ok;
        serialize_u32(value: u32) -> Ok;
        serialize_u64(value: u64) -> Ok;
        serialize_u128(value: u128) -> Ok;
        serialize_f32(value: f32) -> Ok;
        serialize_f64(value: f64) -> Ok;
        serialize_char(value: char) -> Ok;
        serialize_str(value: &str) -> Ok;
        serialize_bytes(value: &[u8]) -> Ok;
        serialize_none() -> Ok;
        serialize_unit() -> Ok;
        serialize_unit_struct(name: &'static str) -> Ok;
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> Ok;
        serialize_seq(length: Option<usize>) -> SerializeSeq;
        serialize_tuple(length: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, length: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, length: usize) -> SerializeTupleVariant;
        serialize_map(length: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, length: usize) -> SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, length: usize) -> SerializeStructVariant;
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.serializer.serialize_some(value)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.serializer.serialize_newtype_struct(name, value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.serializer.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.serializer.is_human_readable()
    }
}
