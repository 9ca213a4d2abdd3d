//! Values to try on types that check what they are given.
//!
//! The first is what every ordinary type takes; the second is zero or empty, which the self-check wants to see written
//! (`#[serde(skip_serializing_if)]`). The order is part of what makes traces repeatable; it has no meaning to the wire.

use crate::schema::node::Node;
use crate::schema::source::{Feed, Kind};

/// How many candidates are worth trying for one value: no list is longer.
pub(super) const MOST: u32 = 40;

const TEXTS: &[&str] = &[
    "a",
    "",
    "1",
    "2020-01-01T00:00:00Z",
    "2020-01-01",
    "00:00:00",
    "2020-01-01T00:00:00",
    "http://a.b/",
    "127.0.0.1",
    "00000000-0000-0000-0000-000000000001",
    "a@b.co",
    "1.0.0",
    "USD",
    "usd",
    "Mon",
    "+00:00",
    "UTC",
    "Europe/Paris",
    "127.0.0.1:1",
    "::1",
    "[::1]:1",
    "127.0.0.0/8",
    "en",
    "en-US",
    "/",
    "00",
    "true",
    // Cards, accounts and books by their check digits.
    "4111111111111111",
    "DE89370400440532013000",
    "9780306406157",
    "+14155550100",
    "P1D",
    "1s",
    "#000000",
    "00:00:00:00:00:00",
    "text/plain",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "{}",
];

const LENGTHS: &[usize] = &[16, 0, 1, 4, 8, 12, 20, 24, 32, 33, 48, 64];
static BYTES: [u8; 64] = [0; 64];

const UNSIGNED: &[u64] = &[1, 0, 2, 4, 10, 100, 1_000, 1 << 20, 1 << 40];
const SIGNED: &[i64] = &[1, 0, 2, -1, 10, 100, 1_000, 1 << 20, -1_000];
const FLOATS: &[f64] = &[1.0, 0.0, 0.5, -1.0, 100.0];
const LETTERS: &[&str] = &["a", "1", "A", " "];

fn pick<T: Copy>(list: &[T], choice: u32) -> T {
    list[choice as usize % list.len()]
}

/// The node of a type without parts, and the name under which all of its kind are one.
pub(super) fn leaf(kind: Kind) -> Option<(&'static str, Node)> {
    Some(match kind {
        Kind::Bool => ("bool", Node::Bool),
        Kind::I8 => ("i8", Node::I8),
        Kind::I16 => ("i16", Node::I16),
        Kind::I32 => ("i32", Node::I32),
        Kind::I64 => ("i64", Node::I64),
        Kind::I128 => ("i128", Node::I128),
        Kind::U8 => ("u8", Node::U8),
        Kind::U16 => ("u16", Node::U16),
        Kind::U32 => ("u32", Node::U32),
        Kind::U64 => ("u64", Node::U64),
        Kind::U128 => ("u128", Node::U128),
        Kind::F32 => ("f32", Node::F32),
        Kind::F64 => ("f64", Node::F64),
        Kind::Char => ("char", Node::Char),
        Kind::Str => ("str", Node::Str),
        Kind::Bytes => ("bytes", Node::Bytes),
        Kind::Unit => ("unit", Node::Unit),
        Kind::UnitStruct(name) => ("unit struct", Node::UnitStruct(name.to_owned())),
        _ => return None,
    })
}

/// How many values [`feed`] knows for a kind.
pub(super) fn count(kind: Kind) -> u32 {
    let count = match kind {
        Kind::Bool => 2,
        Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 | Kind::I128 => SIGNED.len(),
        Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 | Kind::U128 => UNSIGNED.len(),
        Kind::F32 | Kind::F64 => FLOATS.len(),
        Kind::Char => LETTERS.len(),
        Kind::Str => TEXTS.len(),
        Kind::Bytes => LENGTHS.len(),
        Kind::Any | Kind::Ignored | Kind::Identifier => 5,
        _ => 1,
    };
    count as u32
}

/// The value to try: `choice` counts from 0 and wraps around.
pub(super) fn feed(kind: Kind, choice: u32) -> Feed<'static> {
    match kind {
        Kind::Bool => Feed::Bool(choice.is_multiple_of(2)),
        Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => Feed::Signed(pick(SIGNED, choice)),
        Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 => Feed::Unsigned(pick(UNSIGNED, choice)),
        Kind::I128 => Feed::I128(Box::new(i128::from(pick(SIGNED, choice)))),
        Kind::U128 => Feed::U128(Box::new(u128::from(pick(UNSIGNED, choice)))),
        Kind::F32 | Kind::F64 => Feed::Float(pick(FLOATS, choice)),
        Kind::Char => Feed::Str(pick(LETTERS, choice)),
        Kind::Str => Feed::Str(pick(TEXTS, choice)),
        Kind::Bytes => Feed::Bytes(&BYTES[..pick(LENGTHS, choice)]),
        // Types that ask what there is: something that lets what stands beside them be seen.
        Kind::Any | Kind::Ignored | Kind::Identifier => match choice % 5 {
            0 => Feed::Unit,
            1 => Feed::Str("a"),
            2 => Feed::Unsigned(1),
            3 => Feed::Bool(true),
            _ => Feed::Float(1.0),
        },
        _ => Feed::Unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_list_is_longer_than_the_number_of_tries() {
        for kind in [Kind::Str, Kind::Bytes, Kind::U8, Kind::I8, Kind::F32, Kind::Char, Kind::Any] {
            assert!(count(kind) <= MOST, "{kind:?}");
        }
    }
}
