//! One table for many types: equal types become one node, and their order does not depend on how they were found. And the hash
//! of what a type is on the wire.
//!
//! Two nodes are equal if nothing that can be reached from them tells them apart. That is found by colours: all nodes begin with
//! one, and get another as soon as what they say, or the colours of their parts, differ.

use std::collections::HashMap;
use std::fmt::Write;

use super::node::{Field, Fields, Id, Node, Shape, Variant};
use crate::service::Hash;

/// Collects types; see [`Table::finish`].
#[derive(Debug, Default)]
pub(crate) struct Table {
    nodes: Vec<Node>,
    roots: Vec<Id>,
}

impl Table {
    /// Adds a type with a table of its own. Gives the number of the root, for [`finish`](Self::finish).
    pub(crate) fn add(&mut self, nodes: Vec<Node>, root: Id) -> usize {
        let base = self.nodes.len() as Id;
        self.nodes.extend(nodes.into_iter().map(|node| renumbered(node, &mut |id| id + base)));
        self.roots.push(root + base);
        self.roots.len() - 1
    }

    /// The nodes, each once, in the order in which they are met from the roots, depth first; and where the roots are.
    pub(crate) fn finish(self) -> (Vec<Node>, Vec<Id>) {
        let Self { nodes, roots } = self;
        let parts: Vec<Vec<Id>> = nodes.iter().map(parts).collect();
        let colours = colours(&nodes.iter().map(label).collect::<Vec<_>>(), &parts);
        let order = depth_first(&colours, &parts, &roots);
        let place: HashMap<u32, Id> = order.iter().enumerate().map(|(at, id)| (colours[*id as usize], at as Id)).collect();
        let new = |id: Id| place[&colours[id as usize]];
        let merged = order.iter().map(|id| renumbered(nodes[*id as usize].clone(), &mut { new })).collect();
        (merged, roots.into_iter().map(new).collect())
    }
}

/// Hashes types as they are on the wire: kinds, names of fields and names of variants. Not names of types, aliases, or what a
/// type does without; wrappers are what they wrap.
#[derive(Debug)]
pub(crate) struct Hasher {
    labels: Vec<String>,
    parts: Vec<Vec<Id>>,
    colours: Vec<u32>,
    /// What each node is, without its wrappers.
    inner: Vec<Id>,
}

impl Hasher {
    pub(crate) fn new(nodes: &[Node]) -> Self {
        let inner: Vec<Id> = (0..nodes.len() as Id).map(|id| unwrapped(nodes, id)).collect();
        let parts: Vec<Vec<Id>> = nodes.iter().map(|node| parts(node).into_iter().map(|id| inner[id as usize]).collect()).collect();
        // What cannot be known is not the same as something else that cannot be known, though both hash as that.
        let distinct: Vec<String> = nodes
            .iter()
            .map(|node| match node {
                Node::Opaque(reason) => format!("opaque {reason:?}"),
                node => wire_label(node),
            })
            .collect();
        let colours = colours(&distinct, &parts);
        Self { labels: nodes.iter().map(wire_label).collect(), parts, colours, inner }
    }

    /// A node without its wrappers.
    pub(super) fn inner(&self, id: Id) -> Id {
        self.inner[id as usize]
    }

    /// Equal for nodes that nothing tells apart which is hashed, and no text of a type that cannot be described.
    pub(super) fn colour(&self, id: Id) -> u32 {
        self.colours[id as usize]
    }

    /// Of types under names, in order.
    pub(crate) fn hash(&self, roots: &[(&str, Id)]) -> u128 {
        Hash::new(&self.text(roots)).finish()
    }

    /// What is hashed, as protocol 4.6 says: a line a root, then a line a node. Each name stands behind its length, so no two lists
    /// of types read the same.
    pub(crate) fn text(&self, roots: &[(&str, Id)]) -> String {
        let ids: Vec<Id> = roots.iter().map(|(_, id)| self.inner[*id as usize]).collect();
        let order = depth_first(&self.colours, &self.parts, &ids);
        let place: HashMap<u32, usize> = order.iter().enumerate().map(|(at, id)| (self.colours[*id as usize], at)).collect();
        let number = |id: Id| place[&self.colours[id as usize]];
        let mut text = String::new();
        for ((name, _), id) in roots.iter().zip(&ids) {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}:{name} {}", name.len(), number(*id));
        }
        for id in &order {
            text.push_str(&self.labels[*id as usize]);
            for part in &self.parts[*id as usize] {
                let _ = write!(text, " {}", number(*part));
            }
            text.push('\n');
        }
        text
    }
}

/// The node behind newtypes and paths. One that wraps itself stays as it is.
fn unwrapped(nodes: &[Node], id: Id) -> Id {
    let mut at = id;
    for _ in 0..nodes.len() {
        match &nodes[at as usize] {
            Node::Newtype(_, part) | Node::Logical(_, part) => at = *part,
            _ => return at,
        }
    }
    id
}

fn parts(node: &Node) -> Vec<Id> {
    let mut parts = Vec::new();
    node.each_part(|part| parts.push(part));
    parts
}

/// All that a node says, without what its parts are.
fn label(node: &Node) -> String {
    format!("{:?}", renumbered(node.clone(), &mut |_| 0))
}

/// What of a node matters to the wire, without what its parts are.
fn wire_label(node: &Node) -> String {
    match node {
        Node::Option(_) => "option".to_owned(),
        Node::Seq(_) => "seq".to_owned(),
        Node::Map(..) => "map".to_owned(),
        Node::UnitStruct(_) => "unit".to_owned(),
        Node::Tuple(parts) | Node::TupleStruct(_, parts) => format!("tuple {}", parts.len()),
        Node::Struct(_, fields) => format!("struct{}", field_names(fields)),
        Node::Enum(_, variants) => {
            let mut text = "enum".to_owned();
            for variant in variants {
                let _ = write!(text, " {}:{} ", variant.name.len(), variant.name);
                let _ = match &variant.shape {
                    Shape::Unit => write!(text, "unit"),
                    Shape::Newtype(_) => write!(text, "newtype"),
                    Shape::Tuple(parts) => write!(text, "tuple {}", parts.len()),
                    Shape::Struct(fields) => write!(text, "struct{}", field_names(fields)),
                    Shape::Unknown => write!(text, "unknown"),
                };
            }
            text
        }
        // Only those that wrap themselves are left.
        Node::Newtype(..) | Node::Logical(..) => "endless".to_owned(),
        Node::Opaque(_) => "opaque".to_owned(),
        plain => format!("{plain:?}").to_lowercase(),
    }
}

fn field_names(fields: &Fields) -> String {
    fields.list.iter().map(|field| format!(" {}:{}", field.name.len(), field.name)).collect()
}

/// A number for each node: equal for two nodes if, and only if, nothing tells them apart.
fn colours(labels: &[String], parts: &[Vec<Id>]) -> Vec<u32> {
    let mut colours = vec![0; labels.len()];
    let mut count = 1;
    loop {
        let mut seen: HashMap<(&str, Vec<u32>), u32> = HashMap::new();
        let next: Vec<u32> = labels
            .iter()
            .zip(parts)
            .map(|(label, parts)| {
                let parts = parts.iter().map(|part| colours[*part as usize]).collect();
                let fresh = seen.len() as u32;
                *seen.entry((label, parts)).or_insert(fresh)
            })
            .collect();
        let found = seen.len();
        colours = next;
        if found == count {
            return colours;
        }
        count = found;
    }
}

/// One node of each colour, as they are met: a node before its parts, and those in order.
fn depth_first(colours: &[u32], parts: &[Vec<Id>], roots: &[Id]) -> Vec<Id> {
    let mut met = vec![false; colours.len()];
    let mut order = Vec::new();
    let mut waiting: Vec<Id> = roots.iter().rev().copied().collect();
    while let Some(id) = waiting.pop() {
        let colour = colours[id as usize] as usize;
        if !std::mem::replace(&mut met[colour], true) {
            order.push(id);
            waiting.extend(parts[id as usize].iter().rev());
        }
    }
    order
}

/// The same node with other ids.
fn renumbered(node: Node, new: &mut dyn FnMut(Id) -> Id) -> Node {
    match node {
        Node::Option(part) => Node::Option(new(part)),
        Node::Seq(part) => Node::Seq(new(part)),
        Node::Map(key, value) => Node::Map(new(key), new(value)),
        Node::Newtype(name, part) => Node::Newtype(name, new(part)),
        Node::Logical(path, part) => Node::Logical(path, new(part)),
        Node::Tuple(parts) => Node::Tuple(parts.into_iter().map(new).collect()),
        Node::TupleStruct(name, parts) => Node::TupleStruct(name, parts.into_iter().map(new).collect()),
        Node::Struct(name, fields) => Node::Struct(name, renumbered_fields(fields, new)),
        Node::Enum(name, variants) => Node::Enum(name, variants.into_iter().map(|variant| renumbered_variant(variant, new)).collect()),
        plain => plain,
    }
}

fn renumbered_fields(fields: Fields, new: &mut dyn FnMut(Id) -> Id) -> Fields {
    let list = fields.list.into_iter().map(|field| Field { node: new(field.node), ..field }).collect();
    Fields { list, ..fields }
}

fn renumbered_variant(variant: Variant, new: &mut dyn FnMut(Id) -> Id) -> Variant {
    let shape = match variant.shape {
        Shape::Newtype(part) => Shape::Newtype(new(part)),
        Shape::Tuple(parts) => Shape::Tuple(parts.into_iter().map(new).collect()),
        Shape::Struct(fields) => Shape::Struct(renumbered_fields(fields, new)),
        plain => plain,
    };
    Variant { shape, ..variant }
}
