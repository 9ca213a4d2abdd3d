//! JSON and types: `table` (each row of `docs/json.md`), `forms` (texts), `written` (by schema, beside serde_json), `beside` (reading, beside
//! serde_json on mutated JSON) and `hostile` (budgets, paths of errors).

mod beside;
mod forms;
mod hostile;
mod table;
mod written;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::node::{Field, Fields, Id, Node, Shape, Variant};
use super::{Types, Unwritten, write};
use crate::Error;
use crate::frame::payload::{Budget, Encoding, decode_reply, encode_arguments};

/// Reads a whole JSON text.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    decode_reply(text.as_bytes(), Encoding::Json, Budget::default())
}

fn refusal<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
    read::<T>(text).expect_err("this must be refused").message().to_owned()
}

/// The JSON of a value without a schema.
fn typed<T: Serialize + ?Sized>(value: &T) -> String {
    let mut bytes = Vec::new();
    encode_arguments(value, Encoding::Json, usize::MAX, &mut bytes, None).expect("it has JSON");
    String::from_utf8(bytes).expect("JSON is text")
}

/// The JSON of a value whose type is the last of these.
fn by_schema<T: Serialize + ?Sized>(nodes: &[Node], value: &T) -> Result<String, Unwritten> {
    let bytes = postcard::to_stdvec(value).expect("plain data");
    let mut out = Vec::new();
    write(Types { nodes, root: nodes.len() as Id - 1 }, &bytes, usize::MAX, &mut out)?;
    Ok(String::from_utf8(out).expect("JSON is text"))
}

fn fields(list: &[(&str, Id)]) -> Fields {
    let field = |(name, node): &(&str, Id)| Field { name: (*name).to_owned(), aliases: Vec::new(), optional: false, node: *node };
    Fields { list: list.iter().map(field).collect(), strict: false }
}

fn structure(name: &str, list: &[(&str, Id)]) -> Node {
    Node::Struct(name.to_owned(), fields(list))
}

fn enumeration(name: &str, variants: Vec<(&str, Shape)>) -> Node {
    let variant = |(name, shape): (&str, Shape)| Variant { name: name.to_owned(), aliases: Vec::new(), other: false, shape };
    Node::Enum(name.to_owned(), variants.into_iter().map(variant).collect())
}

fn logical(path: &str, inner: Id) -> Node {
    Node::Logical(path.to_owned(), inner)
}
