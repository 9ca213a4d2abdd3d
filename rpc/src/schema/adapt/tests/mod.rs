//! Messages read by their writer's schema: `evolution` (what may change in a type), `places` (where borrowed data and errors
//! point), `plain` (beside plain decoding), `quick` (what is read without a question), `hostile` (what a stranger writes), `mutated`
//! (a million of them).

mod evolution;
mod hostile;
mod mutated;
mod places;
mod plain;
mod quick;

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::node::{Field, Fields, Id, Node, Schema, Shape, Signature, Variant};
use super::super::peer::Peer;
use super::*;
use crate::frame::payload::{Problem, decode};

/// A type as its writer knows it, written down by hand: [`Types`] makes a table of it.
#[derive(Clone, Debug)]
pub(super) enum Type {
    /// Without parts.
    Leaf(Node),
    Option(Box<Type>),
    Seq(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Tuple(Vec<Type>),
    Newtype(&'static str, Box<Type>),
    Logical(&'static str, Box<Type>),
    TupleStruct(&'static str, Vec<Type>),
    Struct(Names, Vec<(Names, Type)>),
    Enum(&'static str, Vec<(Names, Holds)>),
    /// The struct, newtype or enum of this name that is being written down: recursion.
    This(&'static str),
}

/// A name, and its aliases: `amount|a`. With a `?` after it, of a field, the owner does without it; of a variant, unknown ones
/// are taken for it. With a `!`, of a struct, unknown fields are refused.
pub(super) type Names = &'static str;

/// What a variant holds.
#[derive(Clone, Debug)]
pub(super) enum Holds {
    Nothing,
    One(Type),
    List(Vec<Type>),
    Named(Vec<(Names, Type)>),
    Unknown,
}

#[allow(non_upper_case_globals, reason = "they stand for types")]
pub(super) mod types {
    use super::*;

    pub(crate) const Unit: Type = Type::Leaf(Node::Unit);
    pub(crate) const Bool: Type = Type::Leaf(Node::Bool);
    pub(crate) const I8: Type = Type::Leaf(Node::I8);
    pub(crate) const I16: Type = Type::Leaf(Node::I16);
    pub(crate) const I32: Type = Type::Leaf(Node::I32);
    pub(crate) const I64: Type = Type::Leaf(Node::I64);
    pub(crate) const I128: Type = Type::Leaf(Node::I128);
    pub(crate) const U8: Type = Type::Leaf(Node::U8);
    pub(crate) const U16: Type = Type::Leaf(Node::U16);
    pub(crate) const U32: Type = Type::Leaf(Node::U32);
    pub(crate) const U64: Type = Type::Leaf(Node::U64);
    pub(crate) const U128: Type = Type::Leaf(Node::U128);
    pub(crate) const F32: Type = Type::Leaf(Node::F32);
    pub(crate) const F64: Type = Type::Leaf(Node::F64);
    pub(crate) const Char: Type = Type::Leaf(Node::Char);
    pub(crate) const Str: Type = Type::Leaf(Node::Str);
    pub(crate) const Bytes: Type = Type::Leaf(Node::Bytes);

    pub(crate) fn option(inside: Type) -> Type {
        Type::Option(Box::new(inside))
    }
    pub(crate) fn seq(element: Type) -> Type {
        Type::Seq(Box::new(element))
    }
    pub(crate) fn map(key: Type, value: Type) -> Type {
        Type::Map(Box::new(key), Box::new(value))
    }
    pub(crate) fn tuple(parts: impl IntoIterator<Item = Type>) -> Type {
        Type::Tuple(parts.into_iter().collect())
    }
    pub(crate) fn newtype(name: &'static str, inside: Type) -> Type {
        Type::Newtype(name, Box::new(inside))
    }
    pub(crate) fn logical(name: &'static str, inside: Type) -> Type {
        Type::Logical(name, Box::new(inside))
    }
    pub(crate) fn structure(name: Names, fields: impl IntoIterator<Item = (Names, Type)>) -> Type {
        Type::Struct(name, fields.into_iter().collect())
    }
    pub(crate) fn tuple_struct(name: &'static str, parts: impl IntoIterator<Item = Type>) -> Type {
        Type::TupleStruct(name, parts.into_iter().collect())
    }
    pub(crate) fn enumeration(name: &'static str, variants: impl IntoIterator<Item = (Names, Holds)>) -> Type {
        Type::Enum(name, variants.into_iter().collect())
    }
    pub(crate) fn named(fields: impl IntoIterator<Item = (Names, Type)>) -> Holds {
        Holds::Named(fields.into_iter().collect())
    }
}

/// Writes types down as a table of nodes, from the outside in.
#[derive(Default)]
pub(super) struct Types {
    nodes: Vec<Node>,
    named: HashMap<&'static str, Id>,
}

impl Types {
    pub(super) fn add(&mut self, node: &Type) -> Id {
        if let Type::This(name) = node {
            return self.named[name];
        }
        let id = self.nodes.len() as Id;
        self.nodes.push(Node::Unit);
        let node = match node {
            Type::Leaf(node) => node.clone(),
            Type::Option(inside) => Node::Option(self.add(inside)),
            Type::Seq(element) => Node::Seq(self.add(element)),
            Type::Map(key, value) => Node::Map(self.add(key), self.add(value)),
            Type::Tuple(parts) => Node::Tuple(self.all(parts)),
            Type::Newtype(name, inside) => {
                self.named.insert(name, id);
                Node::Newtype((*name).into(), self.add(inside))
            }
            Type::Logical(name, inside) => Node::Logical((*name).into(), self.add(inside)),
            Type::TupleStruct(name, parts) => Node::TupleStruct((*name).into(), self.all(parts)),
            Type::Struct(name, fields) => {
                let (name, strict) = flag(name, '!');
                self.named.insert(name, id);
                Node::Struct(name.into(), Fields { strict, ..self.fields(fields) })
            }
            Type::Enum(name, variants) => {
                self.named.insert(name, id);
                Node::Enum((*name).into(), variants.iter().map(|(names, holds)| self.variant(names, holds)).collect())
            }
            Type::This(_) => Node::Unit,
        };
        self.nodes[id as usize] = node;
        id
    }

    fn all(&mut self, parts: &[Type]) -> Vec<Id> {
        parts.iter().map(|part| self.add(part)).collect()
    }

    fn fields(&mut self, fields: &[(Names, Type)]) -> Fields {
        let field = |(names, node): &(Names, Type)| {
            let (names, default) = flag(names, '?');
            let (name, aliases) = split(names);
            Field { name, aliases, optional: default || matches!(node, Type::Option(_)), node: self.add(node) }
        };
        Fields { list: fields.iter().map(field).collect(), strict: false }
    }

    fn variant(&mut self, names: Names, holds: &Holds) -> Variant {
        let (names, other) = flag(names, '?');
        let (name, aliases) = split(names);
        let shape = match holds {
            Holds::Nothing => Shape::Unit,
            Holds::One(inside) => Shape::Newtype(self.add(inside)),
            Holds::List(parts) => Shape::Tuple(self.all(parts)),
            Holds::Named(fields) => Shape::Struct(self.fields(fields)),
            Holds::Unknown => Shape::Unknown,
        };
        Variant { name, aliases, other, shape }
    }

    pub(super) fn nodes(self) -> Vec<Node> {
        self.nodes
    }
}

fn flag(name: Names, flag: char) -> (Names, bool) {
    name.strip_suffix(flag).map_or((name, false), |name| (name, true))
}

fn split(names: &str) -> (String, Vec<String>) {
    let mut names = names.split('|').map(str::to_owned);
    (names.next().unwrap_or_default(), names.collect())
}

/// A peer whose schema holds this type alone; the type is its first node.
pub(super) fn peer(node: &Type) -> Peer {
    sent(Schema { methods: Vec::new(), nodes: nodes(node) })
}

/// The table of a type; it stands first.
pub(super) fn nodes(node: &Type) -> Vec<Node> {
    let mut types = Types::default();
    types.add(node);
    types.nodes()
}

/// A peer that sent this schema.
pub(super) fn sent(schema: Schema) -> Peer {
    Peer::parse(&postcard::to_stdvec(&schema).expect("plain data"), usize::MAX).expect("a sound schema")
}

pub(super) fn bytes_of<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data")
}

/// Reads a message by the writer's type.
pub(super) fn read<T: DeserializeOwned>(writer: &Type, bytes: &[u8]) -> Result<T, String> {
    value(&peer(writer), 0, bytes, Budget::default()).map_err(|fault| fault.to_string())
}
