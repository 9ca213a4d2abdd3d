//! A schema as the text of a lock file: one line a method, and one a field or variant of each type that has a name.
//!
//! ```text
//! service shop.v1
//!
//! fn pay(order: Order) -> Receipt or PayError
//! fn watch(sku: String) -> stream Event
//!
//! enum PayError {
//!     Declined
//!     Limit(u64) [alias TooMuch]
//! }
//! struct Order {
//!     id: u64
//!     lines: Vec<Line>
//! }
//! ```
//! Made for review: a change of one field is a change of one line. Types stand in the order of their names, and nothing in it depends
//! on anything else than what travels and how it is called. `parse.rs` reads it back.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::Lock;
use crate::schema::node::{Field, Fields, Id, Node, Shape, Signature, Variant};

/// What a name of a type must not be, because it means something else.
const TAKEN: &[&str] = &[
    "bool", "i8", "i16", "i32", "i64", "i128", "u8", "u16", "u32", "u64", "u128", "f32", "f64", "char", "String", "Bytes", "Option", "Vec", "Map",
    "Result", "stream", "and", "or",
];

/// Tuples of one type are arrays to most people from here on.
const ARRAY: usize = 3;

/// The text, without the comment that a file begins with.
pub(super) fn write(lock: &Lock) -> String {
    let nodes = &lock.schema.nodes;
    let writer = Writer { nodes, labels: Labels::new(lock) };
    let mut out = format!("service {}\n\n", name(&lock.service));
    for method in &lock.schema.methods {
        writer.method(method, &mut out);
    }
    let mut labels: Vec<_> = writer.labels.0.iter().collect();
    labels.sort_by_key(|(_, label)| *label);
    for (id, label) in labels {
        out.push('\n');
        writer.definition(label, &nodes[*id as usize], &mut out);
    }
    out
}

/// All types of a method, in the order of [`Signature`].
pub(super) fn roots(method: &Signature) -> impl Iterator<Item = Id> {
    let arguments = method.arguments.iter().map(|(_, id)| *id);
    let upload = method.upload.as_ref().map(|(_, id)| *id);
    arguments.chain(upload).chain(method.returns).chain(method.error).chain(method.download)
}

/// The nodes that have a definition of their own, and what they are called.
struct Labels(HashMap<Id, String>);

impl Labels {
    fn new(lock: &Lock) -> Self {
        let mut labels = Self(HashMap::new());
        let mut taken: HashSet<String> = TAKEN.iter().map(|name| (*name).to_owned()).collect();
        let (mut seen, mut open) = (HashSet::new(), Vec::new());
        for root in lock.schema.methods.iter().flat_map(roots) {
            labels.visit(&lock.schema.nodes, root, &mut taken, &mut seen, &mut open);
        }
        labels
    }

    /// `open`: the nodes without names that are being visited. One that comes again within itself needs a name to end.
    fn visit(&mut self, nodes: &[Node], id: Id, taken: &mut HashSet<String>, seen: &mut HashSet<Id>, open: &mut Vec<Id>) {
        let node = &nodes[id as usize];
        let own = own_name(node);
        if own.is_none() && open.contains(&id) && !self.0.contains_key(&id) {
            self.0.insert(id, free("Type", taken));
        }
        if !seen.insert(id) {
            return;
        }
        if let Some(own) = own {
            self.0.insert(id, free(&label(own), taken));
            // Whatever is in it is behind a name.
            let mut open = Vec::new();
            node.each_part(|part| self.visit(nodes, part, taken, seen, &mut open));
        } else {
            open.push(id);
            node.each_part(|part| self.visit(nodes, part, taken, seen, open));
            open.pop();
        }
    }
}

/// The name, or the first that is free with a number.
fn free(name: &str, taken: &mut HashSet<String>) -> String {
    let mut free = name.to_owned();
    let mut number = 1;
    while !taken.insert(free.clone()) {
        number += 1;
        free = format!("{name}{number}");
    }
    free
}

/// What the author of a type called it; none for those that are written where they are used.
fn own_name(node: &Node) -> Option<&str> {
    match node {
        Node::Enum(..) if result_of(node).is_some() => None,
        Node::UnitStruct(name) | Node::Newtype(name, _) | Node::TupleStruct(name, _) | Node::Struct(name, _) | Node::Enum(name, _) => Some(name),
        Node::Logical(path, _) => Some(path),
        Node::Opaque(_) => Some("Opaque"),
        _ => None,
    }
}

/// `core::num::NonZero<u64>` is `NonZero`.
fn label(path: &str) -> String {
    let plain = path.split('<').next().unwrap_or_default();
    let last = plain.rsplit("::").next().unwrap_or_default();
    let mut label: String = last.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect();
    if !label.starts_with(|letter: char| letter.is_alphabetic() || letter == '_') {
        label.insert(0, '_');
    }
    label
}

/// Of a `Result` inside a type: what is in it.
pub(super) fn result_of(node: &Node) -> Option<(Id, Id)> {
    let Node::Enum(name, variants) = node else { return None };
    let plain = |variant: &Variant, name| variant.name == name && variant.aliases.is_empty() && !variant.other;
    match variants.as_slice() {
        [ok, error] if name == "Result" && plain(ok, "Ok") && plain(error, "Err") => match (&ok.shape, &error.shape) {
            (Shape::Newtype(ok), Shape::Newtype(error)) => Some((*ok, *error)),
            _ => None,
        },
        _ => None,
    }
}

struct Writer<'a> {
    nodes: &'a [Node],
    labels: Labels,
}

impl Writer<'_> {
    fn method(&self, method: &Signature, out: &mut String) {
        let plain = method.arguments.iter().map(|(argument, id)| format!("{}: {}", name(argument), self.mention(*id)));
        let upload = method.upload.iter().map(|(argument, id)| format!("{}: stream {}", name(argument), self.mention(*id)));
        let arguments: Vec<_> = plain.chain(upload).collect();
        put(out, format_args!("fn {}({})", name(&method.name), arguments.join(", ")));
        match (method.returns, method.download) {
            (Some(returns), None) => put(out, format_args!(" -> {}", self.mention(returns))),
            (Some(returns), Some(items)) => put(out, format_args!(" -> {} and stream {}", self.mention(returns), self.mention(items))),
            (None, Some(items)) => put(out, format_args!(" -> stream {}", self.mention(items))),
            (None, None) => {}
        }
        if let Some(error) = method.error {
            put(out, format_args!(" or {}", self.mention(error)));
        }
        out.push('\n');
    }

    /// The type where it is used.
    fn mention(&self, id: Id) -> String {
        match self.labels.0.get(&id) {
            Some(label) => label.clone(),
            None => self.inline(&self.nodes[id as usize]),
        }
    }

    /// A type without a name.
    fn inline(&self, node: &Node) -> String {
        match node {
            Node::Option(part) => format!("Option<{}>", self.mention(*part)),
            Node::Seq(part) => format!("Vec<{}>", self.mention(*part)),
            Node::Map(key, value) => format!("Map<{}, {}>", self.mention(*key), self.mention(*value)),
            Node::Tuple(parts) => match parts.as_slice() {
                [first, rest @ ..] if parts.len() >= ARRAY && rest.iter().all(|part| part == first) => {
                    format!("[{}; {}]", self.mention(*first), parts.len())
                }
                parts => self.parts(parts),
            },
            Node::Enum(..) => match result_of(node) {
                Some((ok, error)) => format!("Result<{}, {}>", self.mention(ok), self.mention(error)),
                None => unreachable!("an enum has a name"),
            },
            leaf => leaf_name(leaf).to_owned(),
        }
    }

    /// `(A, B)`, `(A,)`, `(,)`: one alone is something else.
    fn parts(&self, parts: &[Id]) -> String {
        let texts: Vec<_> = parts.iter().map(|part| self.mention(*part)).collect();
        let comma = if parts.len() < 2 { "," } else { "" };
        format!("({}{comma})", texts.join(", "))
    }

    fn definition(&self, label: &str, node: &Node, out: &mut String) {
        let head = |own: &str| if own == label { label.to_owned() } else { format!("{label} {own:?}") };
        match node {
            Node::UnitStruct(own) => put(out, format_args!("struct {}\n", head(own))),
            Node::Newtype(own, part) => put(out, format_args!("struct {}({})\n", head(own), self.mention(*part))),
            Node::TupleStruct(own, parts) => put(out, format_args!("struct {}{}\n", head(own), self.parts(parts))),
            Node::Struct(own, fields) => {
                put(out, format_args!("struct {}{} {{\n", head(own), strict(fields)));
                for field in &fields.list {
                    put(out, format_args!("    {}\n", self.field(field)));
                }
                out.push_str("}\n");
            }
            Node::Enum(own, variants) if result_of(node).is_none() => {
                put(out, format_args!("enum {} {{\n", head(own)));
                for variant in variants {
                    put(out, format_args!("    {}\n", self.variant(variant)));
                }
                out.push_str("}\n");
            }
            Node::Logical(path, part) => put(out, format_args!("logical {label} {path:?} = {}\n", self.mention(*part))),
            Node::Opaque(why) => put(out, format_args!("opaque {label} {why:?}\n")),
            node => put(out, format_args!("type {label} = {}\n", self.inline(node))),
        }
    }

    /// `note: Option<String> [alias remark]`. What is usual is not said: an `Option` may be missing, anything else may not.
    fn field(&self, field: &Field) -> String {
        let is_option = !self.labels.0.contains_key(&field.node) && matches!(self.nodes[field.node as usize], Node::Option(_));
        let mark = match (field.optional, is_option) {
            (true, false) => Some("default"),
            (false, true) => Some("required"),
            _ => None,
        };
        format!("{}: {}{}", name(&field.name), self.mention(field.node), marks(mark, &field.aliases))
    }

    fn variant(&self, variant: &Variant) -> String {
        let inside = match &variant.shape {
            Shape::Unit => String::new(),
            Shape::Newtype(part) => format!("({})", self.mention(*part)),
            Shape::Tuple(parts) => self.parts(parts),
            Shape::Struct(fields) if fields.list.is_empty() => format!(" {{}}{}", strict(fields)),
            Shape::Struct(fields) => {
                let list: Vec<_> = fields.list.iter().map(|field| self.field(field)).collect();
                format!(" {{ {} }}{}", list.join(", "), strict(fields))
            }
            Shape::Unknown => " ?".to_owned(),
        };
        format!("{}{inside}{}", name(&variant.name), marks(variant.other.then_some("other"), &variant.aliases))
    }
}

fn strict(fields: &Fields) -> &'static str {
    if fields.strict { " [strict]" } else { "" }
}

/// ` [default, alias remark]`, or nothing.
fn marks(word: Option<&str>, aliases: &[String]) -> String {
    let aliases = aliases.iter().map(|alias| format!("alias {}", name(alias)));
    let all: Vec<_> = word.map(str::to_owned).into_iter().chain(aliases).collect();
    if all.is_empty() { String::new() } else { format!(" [{}]", all.join(", ")) }
}

/// A name of the wire: as it is, or in quotes if it could be taken for something else.
pub(super) fn name(name: &str) -> String {
    let mut letters = name.chars().peekable();
    let mut plain = !name.is_empty();
    while let Some(letter) = letters.next() {
        plain &= is_plain(letter, letters.peek().copied());
    }
    if plain { name.to_owned() } else { format!("{name:?}") }
}

/// Whether this letter, before that one, is part of a name without quotes. `->` is none.
pub(super) fn is_plain(letter: char, next: Option<char>) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '.' || (letter == '-' && next.is_some_and(char::is_alphanumeric))
}

/// In the order of `Node`.
pub(super) const LEAVES: &[(&str, Node)] = &[
    ("()", Node::Unit),
    ("bool", Node::Bool),
    ("i8", Node::I8),
    ("i16", Node::I16),
    ("i32", Node::I32),
    ("i64", Node::I64),
    ("i128", Node::I128),
    ("u8", Node::U8),
    ("u16", Node::U16),
    ("u32", Node::U32),
    ("u64", Node::U64),
    ("u128", Node::U128),
    ("f32", Node::F32),
    ("f64", Node::F64),
    ("char", Node::Char),
    ("String", Node::Str),
    ("Bytes", Node::Bytes),
];

fn leaf_name(node: &Node) -> &'static str {
    LEAVES.iter().find(|(_, leaf)| leaf == node).map(|(name, _)| *name).expect("a leaf")
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A `String` takes whatever it is given.
    let _ = out.write_fmt(text);
}
