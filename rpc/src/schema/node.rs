//! What a type looks like on the wire: a table of nodes, each naming its parts by their place in the table.
//!
//! Data only. Who fills the table is `trace/`; who reads messages by it `adapt/` and `json/`. Tables come from peers
//! too: nothing here may be trusted before `peer.rs` has seen it.

use serde::{Deserialize, Serialize};

/// The place of a node in its table.
pub type Id = u32;

/// One type. Names of types are for people; only names of fields and variants mean anything to the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of serde's data model")]
pub enum Node {
    Unit,
    Bool,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    Bytes,
    Option(Id),
    Seq(Id),
    Map(Id, Id),
    Tuple(Vec<Id>),
    UnitStruct(String),
    Newtype(String, Id),
    TupleStruct(String, Vec<Id>),
    Struct(String, Fields),
    Enum(String, Vec<Variant>),
    /// A type that checks or means more than its representation tells, by its Rust path: `uuid::Uuid` over bytes.
    Logical(String, Id),
    /// A type whose shape could not be found, and why.
    Opaque(String),
}

/// The fields of a struct, or of a variant, in the order of the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fields {
    /// Without those that never travel.
    pub list: Vec<Field>,
    /// Their owner refuses fields that it does not know (`#[serde(deny_unknown_fields)]`).
    pub strict: bool,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    /// The name on the wire, without aliases.
    pub name: String,
    /// What its owner also accepts (`#[serde(alias)]`).
    pub aliases: Vec<String>,
    /// Its owner does without it: an `Option`, or `#[serde(default)]`.
    pub optional: bool,
    /// Its type.
    pub node: Id,
}

/// A variant of an enum. Variants stand in the order of their numbers on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Variant {
    /// The name, without aliases.
    pub name: String,
    /// What its owner also accepts (`#[serde(alias)]`).
    pub aliases: Vec<String>,
    /// Its owner takes variants that it does not know for this one (`#[serde(other)]`).
    pub other: bool,
    /// What it holds.
    pub shape: Shape,
}

/// What a variant holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of serde's data model")]
pub enum Shape {
    Unit,
    Newtype(Id),
    Tuple(Vec<Id>),
    Struct(Fields),
    /// It could not be found: a variant that is never read (`#[serde(skip_deserializing)]`), or whose value cannot be made.
    Unknown,
}

/// All methods of a service, as one end knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// In the order of their names.
    pub methods: Vec<Signature>,
    /// The types that they name.
    pub nodes: Vec<Node>,
}

/// The types of one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The wire name, without the service's.
    pub name: String,
    /// What travels as the tuple of arguments: names and types.
    pub arguments: Vec<(String, Id)>,
    /// The argument that is a stream, and its items.
    pub upload: Option<(String, Id)>,
    /// What a reply carries: the return value, or what is inside its `Ok`. None without a reply, and when it is a stream.
    pub returns: Option<Id>,
    /// The method's own error.
    pub error: Option<Id>,
    /// The items of the stream that it returns.
    pub download: Option<Id>,
}

/// One of the types of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The argument in this place of the tuple.
    Argument(usize),
    /// See [`Signature::upload`].
    Upload,
    /// See [`Signature::returns`].
    Returns,
    /// See [`Signature::error`].
    Error,
    /// See [`Signature::download`].
    Download,
}

impl Node {
    /// The nodes that this one names.
    pub(crate) fn each_part(&self, mut visit: impl FnMut(Id)) {
        self.parts(&mut visit);
    }

    fn parts(&self, visit: &mut dyn FnMut(Id)) {
        match self {
            Self::Option(part) | Self::Seq(part) | Self::Newtype(_, part) | Self::Logical(_, part) => visit(*part),
            Self::Map(key, value) => {
                visit(*key);
                visit(*value);
            }
            Self::Tuple(parts) | Self::TupleStruct(_, parts) => parts.iter().for_each(|part| visit(*part)),
            Self::Struct(_, fields) => fields.list.iter().for_each(|field| visit(field.node)),
            Self::Enum(_, variants) => variants.iter().for_each(|variant| variant.shape.parts(visit)),
            _ => {}
        }
    }
}

impl Shape {
    fn parts(&self, visit: &mut dyn FnMut(Id)) {
        match self {
            Self::Newtype(part) => visit(*part),
            Self::Tuple(parts) => parts.iter().for_each(|part| visit(*part)),
            Self::Struct(fields) => fields.list.iter().for_each(|field| visit(field.node)),
            Self::Unit | Self::Unknown => {}
        }
    }
}
