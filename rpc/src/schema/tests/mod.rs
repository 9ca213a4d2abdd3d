//! Types of all kinds, traced: their shape, real values of them walked by it, and what the self-check says.
//!
//! - `shapes.rs`: what serde's derive makes; `libraries.rs`: types of others; `checked.rs`: what cannot travel
//! - `hashes.rs`: hashes, and the file that holds them; `alike.rs`: whether a peer's are equal; `service.rs`, `shop.rs`: whole services; `walks.rs`: broken messages

#![expect(clippy::unwrap_used, reason = "a test that fails should panic")]

mod alike;
mod checked;
mod hashes;
mod libraries;
mod service;
mod shapes;
mod shop;
mod walks;

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::node::{Fields, Id, Node, Shape};
use super::table::Table;
use super::trace::{Traced, trace};
use super::walk::walk;

fn traced<T: Serialize + Deserialize<'static>>() -> Traced {
    trace(&mut |reader| reader.read::<T>())
}

/// A type's table, and its root.
fn nodes<T: Serialize + Deserialize<'static>>() -> (Vec<Node>, Id) {
    let found = traced::<T>();
    let mut table = Table::default();
    table.add(found.nodes, found.root);
    let (nodes, roots) = table.finish();
    (nodes, roots[0])
}

/// The type has this shape, these values of it walk by it to their last byte, and the self-check finds nothing.
#[track_caller]
fn is<T: Serialize + Deserialize<'static>>(shape: &str, values: &[T]) {
    let found = traced::<T>();
    assert!(found.built, "no value was made: {}", show(&found.nodes, found.root));
    assert_eq!(found.problems, [""; 0], "{}", show(&found.nodes, found.root));
    is_shaped::<T>(shape, values);
}

/// The same without the self-check.
#[track_caller]
fn is_shaped<T: Serialize + Deserialize<'static>>(shape: &str, values: &[T]) {
    let (nodes, root) = nodes::<T>();
    assert_eq!(show(&nodes, root), shape);
    for (at, value) in values.iter().enumerate() {
        let bytes = postcard::to_stdvec(value).expect("postcard writes it");
        assert_eq!(walk(&nodes, root, &bytes), Ok(bytes.len()), "value {at} as {bytes:?}");
    }
}

/// The self-check finds these, and nothing else.
#[track_caller]
fn has_problems<T: Serialize + Deserialize<'static>>(texts: &[&str]) {
    let found = traced::<T>();
    for text in texts {
        assert!(found.problems.iter().any(|problem| problem.contains(text)), "{text:?} is not in {:#?}", found.problems);
    }
    assert_eq!(found.problems.len(), texts.len(), "{:#?}", found.problems);
}

/// A type on one line: `Name{field: type, field|alias?: type}`, `Name<Variant | Variant(type)>`, `path~inner`, `^Name` inside itself.
/// `?` marks what may be left out, `!` a struct that refuses unknown fields, `*` the variant for unknown ones.
fn show(nodes: &[Node], id: Id) -> String {
    shown(nodes, id, &mut Vec::new())
}

fn shown(nodes: &[Node], id: Id, around: &mut Vec<Id>) -> String {
    let node = &nodes[id as usize];
    if around.contains(&id) {
        return match node {
            Node::Struct(name, _) | Node::Enum(name, _) | Node::Newtype(name, _) | Node::TupleStruct(name, _) => format!("^{name}"),
            _ => "^".to_owned(),
        };
    }
    around.push(id);
    let mut one = |id: Id| shown(nodes, id, around);
    let text = match node {
        Node::Option(part) => format!("{}?", one(*part)),
        Node::Seq(part) => format!("[{}]", one(*part)),
        Node::Map(key, value) => format!("{{{}: {}}}", one(*key), one(*value)),
        Node::Tuple(parts) => format!("({})", list(parts, &mut one)),
        Node::TupleStruct(name, parts) => format!("{name}({})", list(parts, &mut one)),
        Node::UnitStruct(name) => name.clone(),
        Node::Newtype(name, part) => format!("{name}({})", one(*part)),
        Node::Logical(path, part) => format!("{path}~{}", one(*part)),
        Node::Struct(name, parts) => format!("{name}{}", fields(parts, &mut one)),
        Node::Enum(name, variants) => {
            let variants: Vec<String> = variants
                .iter()
                .map(|variant| {
                    let name = std::iter::once(&variant.name).chain(&variant.aliases).cloned().collect::<Vec<_>>().join("|");
                    let star = if variant.other { "*" } else { "" };
                    let shape = match &variant.shape {
                        Shape::Unit => String::new(),
                        Shape::Newtype(part) => format!("({})", one(*part)),
                        Shape::Tuple(parts) => format!("({})", list(parts, &mut one) + ","),
                        Shape::Struct(parts) => fields(parts, &mut one),
                        Shape::Unknown => "(unknown)".to_owned(),
                    };
                    format!("{name}{star}{shape}")
                })
                .collect();
            format!("{name}<{}>", variants.join(" "))
        }
        Node::Opaque(reason) => format!("<{reason}>"),
        plain => format!("{plain:?}").to_lowercase(),
    };
    around.pop();
    text
}

fn list(parts: &[Id], one: &mut dyn FnMut(Id) -> String) -> String {
    parts.iter().map(|part| one(*part)).collect::<Vec<_>>().join(", ")
}

fn fields(fields: &Fields, one: &mut dyn FnMut(Id) -> String) -> String {
    let mut text = "{".to_owned();
    for (at, field) in fields.list.iter().enumerate() {
        let name = std::iter::once(&field.name).chain(&field.aliases).cloned().collect::<Vec<_>>().join("|");
        let mark = if field.optional { "?" } else { "" };
        let comma = if at == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{name}{mark}: {}", one(field.node));
    }
    text.push_str(if fields.strict { "}!" } else { "}" });
    text
}
