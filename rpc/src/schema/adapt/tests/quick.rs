//! What is read without a question, and beside it what is not: several types for the same fields, elements that are given at once, and
//! visitors that do not take all that they are given.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::types::*;
use super::*;

/// Types for the fields `id` and `name`, more of them than a row remembers.
macro_rules! readers {
    ($($reader:ident { $($(#[$attribute:meta])* $field:ident: $type:ty),* } $id:ident;)*) => {
        $(#[derive(Debug, Deserialize)]
        struct $reader { $($(#[$attribute])* $field: $type),* })*

        fn ids(writer: &Peer, message: &[u8]) -> Vec<(&'static str, u64)> {
            vec![$((stringify!($reader), value::<$reader>(writer, 0, message, Budget::default()).expect("it adapts").$id.into())),*]
        }

        /// All of them in one message.
        type All = ($($reader),*);

        #[expect(non_snake_case, reason = "the names of the types serve as those of their values")]
        fn ids_of_all(($($reader),*): All) -> Vec<u64> {
            vec![$($reader.$id.into()),*]
        }
    };
}

readers! {
    Same { id: u64, #[expect(dead_code)] name: String } id;
    Turned { #[expect(dead_code)] name: String, id: u64 } id;
    Smaller { id: u16, #[expect(dead_code)] name: String } id;
    Fewer { id: u32 } id;
    More { id: u32, #[serde(default)] #[expect(dead_code)] more: Vec<u8> } id;
    Other { #[serde(alias = "id")] number: u64 } number;
    Renamed { #[serde(rename = "id")] other: u64, #[expect(dead_code)] name: String } other;
    Optional { #[expect(dead_code)] name: Option<String>, #[expect(dead_code)] none: Option<u8>, id: u32 } id;
    Again { id: u64, #[expect(dead_code)] name: String } id;
    Tenth { #[expect(dead_code)] name: String, id: u8 } id;
}

#[test]
fn types_that_read_the_same_fields_are_each_fed_by_their_own_names() {
    let record = structure("Record", [("id", U64), ("name", Str)]);
    let writer = peer(&record);
    for id in [7_u64, 200] {
        let read = ids(&writer, &bytes_of(&(id, "a name")));
        assert!(read.len() > 8 && read.iter().all(|(_, read)| *read == id), "{read:?}");
    }
    // One after the other, at the same depth.
    let writer = peer(&seq(record));
    let messages: Vec<_> = (0..10_u64).map(|id| (id, "a name")).collect();
    for _ in 0..2 {
        let read: All = value(&writer, 0, &bytes_of(&messages), Budget::default()).expect("it adapts");
        assert_eq!(ids_of_all(read), (0..10).collect::<Vec<_>>());
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Small {
    qty: u8,
}

#[test]
fn elements_that_are_given_at_once_are_where_errors_say() {
    let mut numbers: Vec<u32> = (0..100).collect();
    numbers[73] = 300;
    let (plain, structs) = (seq(U32), seq(structure("Small", [("qty", U32)])));
    let message = bytes_of(&numbers);
    let expected = |path| Err(format!("{path}: invalid value: integer `300`, expected u8"));
    assert_eq!(read::<Vec<u8>>(&plain, &message).map(drop), expected("[73]"));
    // Collections of another making are paid for as they grow.
    assert_eq!(read::<BTreeSet<u8>>(&plain, &message).map(drop), expected("[73]"));
    assert_eq!(read::<Vec<Small>>(&structs, &message).map(drop), expected("[73].qty"));
    assert_eq!(read::<BTreeSet<Small>>(&structs, &message).map(drop), expected("[73].qty"));
    assert_eq!(read::<Vec<(u32, u8)>>(&seq(tuple([U32, U32])), &bytes_of(&vec![(1_u32, 2_u32), (3, 300)])).map(drop), expected("[1][1]"));
}

#[test]
fn maps_are_read_entry_by_entry() {
    let numbers: BTreeMap<u32, String> = (0..40).map(|number| (number, number.to_string())).collect();
    assert_eq!(
        read::<BTreeMap<u64, String>>(&map(U32, Str), &bytes_of(&numbers)),
        Ok(numbers.iter().map(|(key, text)| (u64::from(*key), text.clone())).collect())
    );
    let large = BTreeMap::from([("a", 1_u32), ("b", 300)]);
    assert_eq!(
        read::<HashMap<String, u8>>(&map(Str, U32), &bytes_of(&large)).map(drop),
        Err("[1]: invalid value: integer `300`, expected u8".to_owned())
    );
}

/// Takes the first two parts of a sequence, and what follows it in `T`.
#[derive(Debug, PartialEq)]
struct Two<T>(T, T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Two<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Takes<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Takes<T> {
            type Value = Two<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Two<T>, A::Error> {
                let mut next = || parts.next_element()?.ok_or_else(|| serde::de::Error::custom("too few"));
                Ok(Two(next()?, next()?))
            }
        }
        deserializer.deserialize_seq(Takes(PhantomData))
    }
}

#[test]
fn a_visitor_that_stops_early_is_told_how_many_elements_are_left() {
    let writer = tuple([seq(U16), U8]);
    assert_eq!(read::<(Two<u16>, u8)>(&writer, &bytes_of(&(vec![1_u16, 2], 3_u8))), Ok((Two(1, 2), 3)));
    assert_eq!(read::<(Two<u16>, u8)>(&writer, &bytes_of(&(vec![1_u16, 2, 4, 5], 3_u8))), Err("[0]: 2 elements too many".into()));
}

/// The names of the fields alone: it goes on without the values.
#[derive(Debug, PartialEq)]
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Takes;
        impl<'de> Visitor<'de> for Takes {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = fields.next_key()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_struct("Names", &["all"], Takes)
    }
}

#[test]
fn values_whose_names_were_enough_are_passed_over() {
    let record = structure("Record", [("id", U64), ("lines", seq(Str)), ("end", U8)]);
    let writer = peer(&tuple([record, U8]));
    let message = bytes_of(&((1_000_u64, vec!["a", "b"], 9_u8), 5_u8));
    // The second time it is known how such a type is fed.
    for _ in 0..2 {
        let read: (Names, u8) = value(&writer, 0, &message, Budget::default()).expect("it adapts");
        assert_eq!(read, (Names(["id", "lines", "end"].map(str::to_owned).into()), 5));
    }
}

/// Takes what a variant holds for a number, whichever variant it is.
#[derive(Debug, PartialEq)]
struct AnyVariant(u64);

impl<'de> Deserialize<'de> for AnyVariant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Unread;
        impl<'de> Deserialize<'de> for Unread {
            fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                Ok(Self)
            }
        }
        struct Takes;
        impl<'de> Visitor<'de> for Takes {
            type Value = AnyVariant;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a variant")
            }
            fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<AnyVariant, A::Error> {
                let (Unread, variant) = variant.variant()?;
                variant.newtype_variant().map(AnyVariant)
            }
        }
        deserializer.deserialize_enum("AnyVariant", &[], Takes)
    }
}

#[test]
fn a_variant_whose_name_nobody_reads_holds_what_it_holds() {
    for node in [U64, newtype("Number", U64), option(U64)] {
        let writer = enumeration("Written", [("None", Holds::Nothing), ("Some", Holds::One(node.clone()))]);
        let bytes = if matches!(node, Type::Option(_)) { &[1, 1, 0xac, 2][..] } else { &[1, 0xac, 2] };
        assert_eq!(read::<AnyVariant>(&writer, bytes), Ok(AnyVariant(300)));
    }
}
