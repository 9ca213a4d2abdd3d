//! postcard's bytes to values, under the guard. Nothing here knows of methods, errors of the crate or JSON.
//!
//! A deserializer of our own rather than a wrapper around postcard's, because the guard has to know how many bytes are
//! left when a length is declared (postcard's map access does not tell, and its flavors must outlive the message, so that
//! they cannot share a cursor), because postcard drops serde's error texts, and because one layer costs less than two.
//! The format is <https://postcard.jamesmunns.com/wire-format>; `tests/random.rs` compares it with postcard on random bytes.
//!
//! It differs from postcard in one answer: more elements than bytes are left is an error, unless the elements have no size.

use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer, Visitor};

use super::fault::Fault;
use super::guard::{Account, Budget, Guard};

/// Reads one value that is the whole message.
pub(crate) fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8], budget: Budget) -> Result<T, Fault> {
    let mut decoder = Decoder::new(bytes, budget, size_of::<T>())?;
    // Given back as it came: it may be large.
    let value = T::deserialize(&mut decoder);
    match decoder.input.len() {
        left if left != 0 && value.is_ok() => Err(trailing(left)),
        _ => value,
    }
}

#[cold]
fn malformed(text: &'static str) -> Fault {
    Fault::malformed(text)
}

#[cold]
fn trailing(left: usize) -> Fault {
    Fault::malformed(format!("{left} bytes follow the value"))
}

#[cold]
pub(crate) fn too_long(declared: usize, left: usize) -> Fault {
    Fault::malformed(format!("{declared} elements are declared, but only {left} bytes are left"))
}

/// What is left of a message, and of its budget. `schema/adapt` reads by it as well, what a schema tells it to.
#[derive(Debug)]
pub(crate) struct Decoder<'de> {
    pub(crate) input: &'de [u8],
    pub(crate) guard: Guard,
}

/// Seven bits a byte, the lowest first; at most as many bytes as the type needs, and no bit beyond it.
macro_rules! varint {
    ($name:ident $long:ident: $type:ty) => {
        #[inline]
        pub(crate) fn $name(&mut self) -> Result<$type, Fault> {
            // Most numbers are small.
            match self.input {
                [value @ 0..=0x7f, rest @ ..] => {
                    self.input = rest;
                    Ok(<$type>::from(*value))
                }
                _ => self.$long(),
            }
        }

        #[inline(never)]
        fn $long(&mut self) -> Result<$type, Fault> {
            const LONGEST: usize = <$type>::BITS.div_ceil(7) as usize;
            const LAST: u8 = (1 << (<$type>::BITS % 7)) - 1;
            let input = self.input;
            if let [low, high @ 0..=0x7f, rest @ ..] = input
                && *low >= 0x80
            {
                self.input = rest;
                return Ok(<$type>::from(*low & 0x7f) | <$type>::from(*high) << 7);
            }
            let mut value: $type = 0;
            for at in 0..LONGEST {
                let Some(&byte) = input.get(at) else { return Err(malformed(END)) };
                value |= <$type>::from(byte & 0x7f) << (7 * at);
                if byte & 0x80 == 0 {
                    if at == LONGEST - 1 && byte > LAST {
                        break;
                    }
                    self.input = &input[at + 1..];
                    return Ok(value);
                }
            }
            Err(malformed("a number is longer than its type"))
        }
    };
}

const END: &str = "the bytes end inside the value";

impl<'de> Decoder<'de> {
    /// For a value of this size that is the whole message.
    #[inline]
    pub(crate) fn new(bytes: &'de [u8], budget: Budget, size: usize) -> Result<Self, Fault> {
        Ok(Self { input: bytes, guard: Guard::new(budget, bytes.len(), size)? })
    }

    /// Nothing may follow the value.
    #[inline]
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        match self.input.len() {
            0 => Ok(()),
            left => Err(trailing(left)),
        }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Fault> {
        match self.input.split_first() {
            Some((&byte, rest)) => {
                self.input = rest;
                Ok(byte)
            }
            None => Err(malformed(END)),
        }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'de [u8], Fault> {
        match self.input.split_at_checked(count) {
            Some((bytes, rest)) => {
                self.input = rest;
                Ok(bytes)
            }
            None => Err(malformed(END)),
        }
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        match self.input.split_first_chunk() {
            Some((bytes, rest)) => {
                self.input = rest;
                Ok(*bytes)
            }
            None => Err(malformed(END)),
        }
    }

    varint!(varint_u16 long_u16: u16);
    varint!(varint_u32 long_u32: u32);
    varint!(varint_u64 long_u64: u64);
    varint!(varint_u128 long_u128: u128);

    #[cfg(target_pointer_width = "64")]
    #[inline]
    pub(crate) fn length(&mut self) -> Result<usize, Fault> {
        self.varint_u64().map(|length| length as usize)
    }

    /// As postcard has it: a length is as wide as the machine's words.
    #[cfg(not(target_pointer_width = "64"))]
    #[inline]
    pub(crate) fn length(&mut self) -> Result<usize, Fault> {
        self.varint_u32().map(|length| length as usize)
    }

    #[inline]
    pub(crate) fn counted(&mut self) -> Result<&'de [u8], Fault> {
        let length = self.length()?;
        self.bytes(length)
    }

    #[inline]
    pub(crate) fn str(&mut self) -> Result<&'de str, Fault> {
        std::str::from_utf8(self.counted()?).map_err(|_| malformed("a string is not UTF-8"))
    }

    /// Of one's own: copied first, as bytes are faster to check where the allocator puts them than where they happen to lie.
    pub(crate) fn string(&mut self) -> Result<String, Fault> {
        String::from_utf8(self.counted()?.to_vec()).map_err(|_| malformed("a string is not UTF-8"))
    }

    #[inline]
    pub(crate) fn bool(&mut self) -> Result<bool, Fault> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed("a bool is neither 0 nor 1")),
        }
    }

    /// The first character of a string of up to four bytes, as postcard reads it.
    pub(crate) fn char(&mut self) -> Result<&'de str, Fault> {
        let bytes = self.counted()?;
        let text = if bytes.len() <= 4 { std::str::from_utf8(bytes).ok() } else { None };
        let first = text.and_then(|text| text.chars().next().and_then(|first| text.get(..first.len_utf8())));
        first.ok_or_else(|| malformed("a char is not one"))
    }

    /// Whether an option holds something.
    #[inline]
    pub(crate) fn option(&mut self) -> Result<bool, Fault> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed("an option is neither 0 nor 1")),
        }
    }

    /// What the declared length lets serde reserve.
    #[inline]
    pub(crate) fn hint(&self, declared: usize) -> Option<usize> {
        Some(if declared > self.input.len() { 0 } else { declared })
    }

    /// A value with parts, one level deeper; its parts find `room` in it.
    #[inline]
    fn nested<T>(&mut self, room: usize, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        let outside = self.guard.enter(size_of::<T>(), room)?;
        let value = read(self);
        self.guard.leave(outside);
        value
    }
}

/// Zigzag: the sign is the lowest bit.
macro_rules! signed {
    ($($method:ident $visit:ident $varint:ident $type:ty;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let value = self.$varint()?;
            visitor.$visit((value >> 1) as $type ^ -((value & 1) as $type))
        }
    )*};
}

macro_rules! unsigned {
    ($($method:ident $visit:ident $varint:ident;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit(self.$varint()?)
        }
    )*};
}

const NOT_SELF_DESCRIBING: &str = "the type asks the bytes what they are, which they do not say";

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = Fault;

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    signed! {
        deserialize_i16 visit_i16 varint_u16 i16;
        deserialize_i32 visit_i32 varint_u32 i32;
        deserialize_i64 visit_i64 varint_u64 i64;
        deserialize_i128 visit_i128 varint_u128 i128;
    }

    unsigned! {
        deserialize_u8 visit_u8 byte;
        deserialize_u16 visit_u16 varint_u16;
        deserialize_u32 visit_u32 varint_u32;
        deserialize_u64 visit_u64 varint_u64;
        deserialize_u128 visit_u128 varint_u128;
        deserialize_str visit_borrowed_str str;
        deserialize_bytes visit_borrowed_bytes counted;
        deserialize_string visit_string string;
        deserialize_byte_buf visit_bytes counted;
    }

    #[inline]
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_i8(self.byte()? as i8)
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f32(f32::from_le_bytes(self.array()?))
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f64(f64::from_le_bytes(self.array()?))
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(self.bool()?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_char(self.char()?.chars().next().ok_or_else(|| malformed("a char is not one"))?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.option()? {
            self.nested(size_of::<V::Value>().saturating_sub(1), |decoder| visitor.visit_some(decoder))
        } else {
            // A box around it takes the memory of what is not there as well.
            self.guard.take(size_of::<V::Value>())?;
            visitor.visit_none()
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.nested(size_of::<V::Value>(), |decoder| visitor.visit_newtype_struct(decoder))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let left = self.length()?;
        self.nested(0, |decoder| visitor.visit_seq(Elements { decoder, left, account: Account::sequence::<V::Value>() }))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.nested(size_of::<V::Value>(), |decoder| visitor.visit_seq(Fields { decoder, left: length }))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _name: &'static str, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(self, _name: &'static str, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let left = self.length()?;
        let (keys, values) = (Account::map::<V::Value>(), Account::map::<V::Value>());
        self.nested(0, |decoder| visitor.visit_map(Entries { decoder, left, keys, values }))
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(self, _name: &'static str, _variants: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.nested(size_of::<V::Value>().saturating_sub(1), |decoder| visitor.visit_enum(Variant { decoder }))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Fault> {
        Err(malformed(NOT_SELF_DESCRIBING))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Fault> {
        Err(malformed(NOT_SELF_DESCRIBING))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Fault> {
        Err(malformed(NOT_SELF_DESCRIBING))
    }
}

/// The parts of a tuple, an array or a struct, whose number the type knows.
struct Fields<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Fields<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.decoder.hint(self.left)
    }
}

/// The elements of a sequence, whose number the peer declared.
struct Elements<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
    account: Account,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        let size = size_of::<T::Value>();
        if size != 0 && self.account.is_new() && self.left > self.decoder.input.len() {
            return Err(too_long(self.left, self.decoder.input.len()));
        }
        self.account.element(&mut self.decoder.guard, size, Some(self.left))?;
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.decoder.hint(self.left)
    }
}

/// The entries of a map, whose number the peer declared.
struct Entries<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
    left: usize,
    keys: Account,
    values: Account,
}

impl<'de> de::MapAccess<'de> for Entries<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        let size = size_of::<K::Value>();
        if size != 0 && self.keys.is_new() && self.left > self.decoder.input.len() {
            return Err(too_long(self.left, self.decoder.input.len()));
        }
        self.keys.element(&mut self.decoder.guard, size, Some(self.left))?;
        self.left -= 1;
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        self.values.element(&mut self.decoder.guard, size_of::<V::Value>(), Some(self.left.saturating_add(1)))?;
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.decoder.hint(self.left)
    }
}

/// A variant's number and what it holds.
struct Variant<'a, 'de> {
    decoder: &'a mut Decoder<'de>,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let number = self.decoder.varint_u32()?;
        let number: de::value::U32Deserializer<Fault> = number.into_deserializer();
        Ok((seed.deserialize(number)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.decoder)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Fields { decoder: self.decoder, left: length })
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Fields { decoder: self.decoder, left: fields.len() })
    }
}
