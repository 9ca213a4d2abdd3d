//! A message that is read by a schema, its numbers and texts, and passing over values in it that nobody wants. They are checked all the same.

use super::super::node::{Field, Id, Node, Shape, Variant};
use super::super::peer::Peer;
use super::super::source::Leaf;
use super::super::steps::{Form, Step};
use crate::frame::payload::{Budget, Fault, decode::Decoder};

/// A message that is read by the schema of a stranger.
pub(super) struct Input<'de> {
    pub(super) decoder: Decoder<'de>,
    /// How many values may still be visited: a schema may hold thousands of them that take no bytes.
    pub(super) steps: usize,
}

/// Values visited for each byte of a message: more than types have that people write.
const STEPS_PER_BYTE: usize = 32;
/// And for those that take no bytes: a tenth of a millisecond, as a call of few bytes may cost as much.
const STEPS: usize = 1 << 14;

const UNKNOWN: &str = "the writer does not know the shape of this value";

impl<'de> Input<'de> {
    pub(super) fn new(bytes: &'de [u8], budget: Budget, size: usize) -> Result<Self, Fault> {
        let steps = STEPS.saturating_add(bytes.len().saturating_mul(STEPS_PER_BYTE));
        Ok(Self { decoder: Decoder::new(bytes, budget, size)?, steps })
    }

    /// One more value is visited.
    #[inline]
    pub(super) fn step(&mut self) -> Result<(), Fault> {
        self.steps(1)
    }

    /// So many values, or other things in the schema, are visited.
    #[inline]
    pub(super) fn steps(&mut self, count: usize) -> Result<(), Fault> {
        match self.steps.checked_sub(count) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(Fault::malformed("too many values in so few bytes")),
        }
    }

    /// A number or a bool; none if it is something else.
    pub(super) fn number(&mut self, form: Form) -> Result<Option<Leaf>, Fault> {
        use Form::{Bool, F32, F64, I8, I16, I32, I64, Other, Str, Struct, U8, U16, U32, U64};
        let decoder = &mut self.decoder;
        Ok(Some(match form {
            Bool => Leaf::Bool(decoder.bool()?.into()),
            I8 => Leaf::Signed((decoder.byte()? as i8).into()),
            I16 => Leaf::Signed(signed(decoder.varint_u16()?.into())),
            I32 => Leaf::Signed(signed(decoder.varint_u32()?.into())),
            I64 => Leaf::Signed(signed(decoder.varint_u64()?)),
            U8 => Leaf::Unsigned(decoder.byte()?.into()),
            U16 => Leaf::Unsigned(decoder.varint_u16()?.into()),
            U32 => Leaf::Unsigned(decoder.varint_u32()?.into()),
            U64 => Leaf::Unsigned(decoder.varint_u64()?),
            F32 => Leaf::Float(f64::from(f32::from_le_bytes(decoder.array()?)).to_bits()),
            F64 => Leaf::Float(u64::from_le_bytes(decoder.array()?)),
            Str | Struct | Other => return Ok(None),
        }))
    }

    /// A text, or nothing has been read: whoever then reads it another way finds what is wrong.
    #[inline]
    pub(super) fn text(&mut self) -> Option<&'de str> {
        let [length @ 0..=0x7f, rest @ ..] = self.decoder.input else { return self.long_text() };
        let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
        let text = std::str::from_utf8(bytes).ok()?;
        self.decoder.input = rest;
        Some(text)
    }

    #[inline(never)]
    fn long_text(&mut self) -> Option<&'de str> {
        let before = self.decoder.input;
        let text = self.decoder.str().ok();
        if text.is_none() {
            self.decoder.input = before;
        }
        text
    }

    /// The number of a variant, and what it is.
    #[inline]
    pub(super) fn variant<'n>(&mut self, variants: &'n [Variant]) -> Result<(u32, &'n Variant), Fault> {
        let number = self.decoder.varint_u32()?;
        variants.get(number as usize).map(|variant| (number, variant)).ok_or_else(|| no_variant(number, variants.len()))
    }

    /// Passes over a value.
    pub(super) fn skip(&mut self, peer: &Peer, id: Id) -> Result<(), Fault> {
        self.step()?;
        if peer.least(id) == 0 {
            // So is no other value of it, however much is in it.
            return Ok(());
        }
        let node = &peer.nodes()[id as usize];
        let decoder = &mut self.decoder;
        match node {
            Node::Unit | Node::UnitStruct(_) => Ok(()),
            Node::Bool => decoder.bool().map(drop),
            Node::I8 | Node::U8 => decoder.byte().map(drop),
            Node::I16 | Node::U16 => decoder.varint_u16().map(drop),
            Node::I32 | Node::U32 => decoder.varint_u32().map(drop),
            Node::I64 | Node::U64 => decoder.varint_u64().map(drop),
            Node::I128 | Node::U128 => decoder.varint_u128().map(drop),
            Node::F32 => decoder.bytes(4).map(drop),
            Node::F64 => decoder.bytes(8).map(drop),
            Node::Char => decoder.char().map(drop),
            Node::Str => decoder.str().map(drop),
            Node::Bytes => decoder.counted().map(drop),
            Node::Opaque(_) => Err(Fault::malformed(UNKNOWN)),
            _ => {
                let outside = decoder.guard.enter(0, 0)?;
                let skipped = self.skip_parts(peer, node);
                self.decoder.guard.leave(outside);
                skipped
            }
        }
    }

    fn skip_parts(&mut self, peer: &Peer, node: &Node) -> Result<(), Fault> {
        match node {
            Node::Option(part) => match self.decoder.option()? {
                true => self.skip(peer, *part),
                false => Ok(()),
            },
            Node::Seq(part) if matches!(peer.bare(*part), Node::U8) => self.decoder.counted().map(drop),
            Node::Seq(part) => self.skip_elements(peer, std::slice::from_ref(part)),
            Node::Map(key, value) => self.skip_elements(peer, &[*key, *value]),
            Node::Newtype(_, part) | Node::Logical(_, part) => self.skip(peer, *part),
            Node::Tuple(parts) | Node::TupleStruct(_, parts) => self.skip_all(peer, parts),
            Node::Struct(_, fields) => self.skip_fields(peer, &fields.list),
            Node::Enum(_, variants) => {
                let (_, variant) = self.variant(variants)?;
                self.skip_shape(peer, &variant.shape)
            }
            _ => Ok(()),
        }
    }

    fn skip_elements(&mut self, peer: &Peer, parts: &[Id]) -> Result<(), Fault> {
        let count = self.decoder.length()?;
        if parts.iter().all(|part| peer.least(*part) == 0) {
            return Ok(self.decoder.guard.empty_elements(count)?);
        }
        (0..count).try_for_each(|_| self.skip_all(peer, parts))
    }

    pub(super) fn skip_all(&mut self, peer: &Peer, parts: &[Id]) -> Result<(), Fault> {
        parts.iter().try_for_each(|part| self.skip(peer, *part))
    }

    pub(super) fn skip_steps(&mut self, peer: &Peer, steps: &[Step]) -> Result<(), Fault> {
        steps.iter().try_for_each(|step| self.skip(peer, step.node))
    }

    pub(super) fn skip_fields(&mut self, peer: &Peer, fields: &[Field]) -> Result<(), Fault> {
        fields.iter().try_for_each(|field| self.skip(peer, field.node))
    }

    pub(super) fn skip_shape(&mut self, peer: &Peer, shape: &Shape) -> Result<(), Fault> {
        match shape {
            Shape::Unit => Ok(()),
            Shape::Newtype(part) => self.skip(peer, *part),
            Shape::Tuple(parts) => self.skip_all(peer, parts),
            Shape::Struct(fields) => self.skip_fields(peer, &fields.list),
            Shape::Unknown => Err(unknown()),
        }
    }
}

/// Zigzag: the sign is the lowest bit.
#[inline]
pub(super) fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cold]
pub(super) fn unknown() -> Fault {
    Fault::malformed(UNKNOWN)
}

#[cold]
fn no_variant(number: u32, count: usize) -> Fault {
    Fault::malformed(format!("a variant with the number {number}, of {count}"))
}
