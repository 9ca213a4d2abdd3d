//! postcard's bytes to JSON, by the schema that they were written by: what a service returns to callers by name.
//!
//! The bytes are our own, but tables and bytes are checked all the same: nothing here panics, and nothing is longer than the limit.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::node::{Fields, Id, Node, Shape};
use super::EXACT;
use super::forms::{Form, base64, uuid_text};
use crate::frame::payload::Budget;

/// What bytes are: a place in a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Types<'a> {
    pub(crate) nodes: &'a [Node],
    pub(crate) root: Id,
}

/// Why there is no JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// It is longer than the limit.
    TooLong,
    /// The type has no JSON, or the bytes are not of the type.
    Type(String),
}

/// Appends the JSON of a value, no longer than `limit`. What was appended before an error is for the caller to take away.
pub(crate) fn write(types: Types<'_>, bytes: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Unwritten> {
    let end = out.len().saturating_add(limit);
    let mut writer = Writer { nodes: types.nodes, bytes, out, end, depth: Budget::DEPTH + 1 };
    writer.value(types.root)?;
    match writer.bytes.len() {
        0 => Ok(()),
        left => Err(other(format_args!("{left} bytes follow the value"))),
    }
}

#[cold]
fn other(text: impl Display) -> Unwritten {
    Unwritten::Type(text.to_string())
}

struct Writer<'a, 'o> {
    nodes: &'a [Node],
    bytes: &'a [u8],
    out: &'o mut Vec<u8>,
    /// How long the buffer may become.
    end: usize,
    depth: usize,
}

type Written = Result<(), Unwritten>;

impl<'a> Writer<'a, '_> {
    fn node(&self, id: Id) -> Result<&'a Node, Unwritten> {
        self.nodes.get(id as usize).ok_or_else(|| other("a type is not in its table"))
    }

    /// The next value of these bytes, of a type that stands for itself.
    fn read<T: Deserialize<'a>>(&mut self) -> Result<T, Unwritten> {
        let (value, rest) = postcard::take_from_bytes(self.bytes).map_err(other)?;
        self.bytes = rest;
        Ok(value)
    }

    fn length(&mut self) -> Result<u64, Unwritten> {
        self.read::<u64>()
    }

    fn push(&mut self, text: &str) -> Written {
        if text.len() > self.end.saturating_sub(self.out.len()) {
            return Err(Unwritten::TooLong);
        }
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Something whose JSON is serde_json's.
    fn plain(&mut self, value: impl Serialize) -> Written {
        // A text may be six times as long in JSON: the limit is asked while it is written.
        struct Tail<'t>(&'t mut Vec<u8>, usize);
        impl std::io::Write for Tail<'_> {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                if bytes.len() > self.1.saturating_sub(self.0.len()) {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
                self.0.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        serde_json::to_writer(Tail(self.out, self.end), &value).map_err(|error| if error.is_io() { Unwritten::TooLong } else { other(error) })
    }

    fn quoted(&mut self, value: impl Display) -> Written {
        self.push(&format!("\"{value}\""))
    }

    fn unsigned(&mut self, value: u128) -> Written {
        if value > EXACT.into() { self.quoted(value) } else { self.push(&value.to_string()) }
    }

    fn signed(&mut self, value: i128) -> Written {
        if value.unsigned_abs() > EXACT.into() { self.quoted(value) } else { self.push(&value.to_string()) }
    }

    fn value(&mut self, id: Id) -> Written {
        if self.depth == 0 {
            return Err(other(format_args!("the value is nested deeper than {}", Budget::DEPTH)));
        }
        self.depth -= 1;
        let begin = self.out.len();
        match Form::of_node(self.nodes, id) {
            Some(Form::Bytes) => {
                let text = base64(self.read()?);
                self.quoted(text)?;
            }
            Some(form) => {
                let before = self.bytes;
                self.parts(id)?;
                let text = match form {
                    // Its representation is bytes, and those are base64.
                    Form::Uuid => postcard::take_from_bytes::<&[u8]>(before).ok().and_then(|(bytes, _)| uuid_text(bytes)),
                    _ => self.out.get(begin..).and_then(|parts| serde_json::from_slice::<Value>(parts).ok()).and_then(|parts| form.text(&parts)),
                };
                if let Some(text) = text {
                    self.out.truncate(begin);
                    self.plain(text)?;
                }
            }
            None => self.parts(id)?,
        }
        self.depth += 1;
        Ok(())
    }

    fn parts(&mut self, id: Id) -> Written {
        match self.node(id)? {
            Node::Unit | Node::UnitStruct(_) => self.push("null"),
            Node::Bool => match self.read::<u8>()? {
                0 => self.push("false"),
                1 => self.push("true"),
                _ => Err(other("a bool is neither 0 nor 1")),
            },
            Node::I8 => {
                let value = self.read::<i8>()?;
                self.signed(value.into())
            }
            Node::I16 => {
                let value = self.read::<i16>()?;
                self.signed(value.into())
            }
            Node::I32 => {
                let value = self.read::<i32>()?;
                self.signed(value.into())
            }
            Node::I64 => {
                let value = self.read::<i64>()?;
                self.signed(value.into())
            }
            Node::I128 => {
                let value = self.read::<i128>()?;
                self.signed(value)
            }
            Node::U8 => {
                let value = self.read::<u8>()?;
                self.unsigned(value.into())
            }
            Node::U16 => {
                let value = self.read::<u16>()?;
                self.unsigned(value.into())
            }
            Node::U32 => {
                let value = self.read::<u32>()?;
                self.unsigned(value.into())
            }
            Node::U64 => {
                let value = self.read::<u64>()?;
                self.unsigned(value.into())
            }
            Node::U128 => {
                let value = self.read::<u128>()?;
                self.unsigned(value)
            }
            Node::F32 => {
                let value = self.read::<f32>()?;
                self.plain(value)
            }
            Node::F64 => {
                let value = self.read::<f64>()?;
                self.plain(value)
            }
            Node::Char => {
                let value = self.read::<char>()?;
                self.plain(value)
            }
            Node::Str => {
                let value = self.read::<&str>()?;
                self.plain(value)
            }
            Node::Bytes => {
                let text = base64(self.read()?);
                self.quoted(text)
            }
            Node::Option(inner) => match self.read::<u8>()? {
                0 => self.push("null"),
                1 => self.value(*inner),
                _ => Err(other("an option is neither 0 nor 1")),
            },
            Node::Seq(inner) => {
                let count = self.length()?;
                self.push("[")?;
                for at in 0..count {
                    self.comma(at != 0)?;
                    self.value(*inner)?;
                }
                self.push("]")
            }
            Node::Map(key, value) => {
                let count = self.length()?;
                self.push("{")?;
                for at in 0..count {
                    self.comma(at != 0)?;
                    self.key(*key)?;
                    self.push(":")?;
                    self.value(*value)?;
                }
                self.push("}")
            }
            Node::Tuple(parts) | Node::TupleStruct(_, parts) => self.list(parts),
            Node::Newtype(_, inner) | Node::Logical(_, inner) => self.value(*inner),
            Node::Struct(_, fields) => self.fields(fields),
            Node::Enum(name, variants) => {
                let number = self.read::<u32>()?;
                let Some(variant) = variants.get(number as usize) else { return Err(other(format_args!("{name} has no variant {number}"))) };
                if matches!(variant.shape, Shape::Unit) {
                    return self.plain(&variant.name);
                }
                self.push("{")?;
                self.plain(&variant.name)?;
                self.push(":")?;
                match &variant.shape {
                    Shape::Newtype(inner) => self.value(*inner)?,
                    Shape::Tuple(parts) => self.list(parts)?,
                    Shape::Struct(fields) => self.fields(fields)?,
                    Shape::Unit | Shape::Unknown => return Err(other(format_args!("the shape of {name}::{} is not known", variant.name))),
                }
                self.push("}")
            }
            Node::Opaque(why) => Err(other(format_args!("the shape of a type is not known: {why}"))),
        }
    }

    fn comma(&mut self, needed: bool) -> Written {
        if needed { self.push(",") } else { Ok(()) }
    }

    fn list(&mut self, parts: &[Id]) -> Written {
        self.push("[")?;
        for (at, part) in parts.iter().enumerate() {
            self.comma(at != 0)?;
            self.value(*part)?;
        }
        self.push("]")
    }

    fn fields(&mut self, fields: &Fields) -> Written {
        self.push("{")?;
        for (at, field) in fields.list.iter().enumerate() {
            self.comma(at != 0)?;
            self.plain(&field.name)?;
            self.push(":")?;
            self.value(field.node)?;
        }
        self.push("}")
    }

    /// What is a text as a value, or a number, can be the key of an object.
    fn key(&mut self, id: Id) -> Written {
        let begin = self.out.len();
        let before = self.bytes;
        self.value(id)?;
        match self.out.get(begin) {
            Some(b'"') => Ok(()),
            Some(b'-' | b'0'..=b'9' | b't' | b'f') => {
                let text = String::from_utf8_lossy(&self.out[begin..]).into_owned();
                self.out.truncate(begin);
                self.quoted(text)
            }
            first => {
                let what = match first {
                    Some(b'[') => "an array",
                    Some(b'{') => "an object",
                    _ => "null",
                };
                self.bytes = before;
                Err(other(format_args!("the key of a map is {what}, which JSON cannot have: keys are texts, numbers and variants without parts")))
            }
        }
    }
}
