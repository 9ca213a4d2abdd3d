//! A schema that a peer sent, checked once before anything is read by it.
//!
//! Its writer is a stranger. After [`Peer::parse`] every number in it is the place of a node, no type contains itself without
//! end, and each node's smallest encoding is known, so that no length passes that the rest of a message cannot hold. What a
//! message may cost is not decided here: `adapt` reads it under the accounts of `frame/payload/guard.rs`.

use std::sync::OnceLock;

use super::node::{Field, Id, Node, Schema, Shape, Signature};
use crate::frame::payload::{Budget, decode};

/// As long as a schema may be.
pub(crate) const BYTES: usize = 1 << 20;
const NODES: usize = 4096;
const METHODS: usize = 4096;
/// Fields, variants, and what else a table of nodes or methods lists, together.
const PARTS: usize = 1 << 16;
/// Of a name that means something: of a field, a variant, an argument or a method.
const NAME: usize = 512;
/// Of a text for people: the path of a type, or why its shape is not known.
const TEXT: usize = 4096;
/// Types in types that all of their values contain.
const DEPTH: u32 = Budget::DEPTH as u32;

/// A peer's schema of one service.
#[derive(Debug)]
pub(crate) struct Peer {
    schema: Schema,
    /// One for each node.
    facts: Vec<Facts>,
    /// The nodes once more, as they are read: first each by itself, then what each contains.
    steps: Vec<Step>,
    /// Where among them the parts of a tuple, a struct or a variant are.
    rows: Vec<Span>,
    /// For each row, who reads its parts by their names.
    readers: Vec<OnceLock<Box<Known>>>,
}

/// A type that reads fields by their names: its list of names, and how it is fed. One for each such type of this program.
#[derive(Debug)]
pub(super) struct Known {
    names: &'static [&'static str],
    pub(super) fed: Fed,
    /// The fields, as [`Peer::row`] gives them.
    pub(super) row: Span,
    next: OnceLock<Box<Self>>,
}

/// Types that read the same fields, and are remembered.
const READERS: usize = 8;

/// How fields are given to their reader.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fed {
    /// One after the other: writer and reader have the same.
    InOrder,
    /// Likewise, and the reader is told their names, which are the writer's.
    Named,
    /// The reader is told their names, or what it knows instead of them.
    ByName,
}

/// Steps that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// A value that is to be read: its node, and what is known of it without looking there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) node: Id,
    /// The node without the newtypes and names around it.
    pub(super) bare: Id,
    pub(super) kind: Leaf,
    /// See [`Peer::row_of`].
    pub(super) row: u32,
}

/// What is worked out about a node.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// The node without the newtypes and names around it.
    bare: Id,
    /// What is inside the newtype that this node is, or the node itself.
    inner: Id,
    /// No value takes fewer bytes.
    least: u32,
    /// How many types in types all values contain.
    depth: u32,
    /// See [`Peer::row_of`].
    row: u32,
    /// What the bare node is.
    leaf: Leaf,
}

/// The nodes that most values end in, and what contains most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
    Str,
    Struct,
    Other,
}

impl Leaf {
    fn of(node: &Node) -> Self {
        match node {
            Node::Bool => Self::Bool,
            Node::I8 => Self::I8,
            Node::I16 => Self::I16,
            Node::I32 => Self::I32,
            Node::I64 => Self::I64,
            Node::U8 => Self::U8,
            Node::U16 => Self::U16,
            Node::U32 => Self::U32,
            Node::U64 => Self::U64,
            Node::F32 => Self::F32,
            Node::F64 => Self::F64,
            Node::Str => Self::Str,
            Node::Struct(..) => Self::Struct,
            _ => Self::Other,
        }
    }
}

impl Peer {
    /// Reads and checks a schema.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > BYTES {
            return Err(format!("a schema of {} bytes, above the limit of {BYTES}", bytes.len()));
        }
        let schema = decode::from_slice(bytes, Budget::of(BYTES)).map_err(|fault| format!("a malformed schema: {fault}"))?;
        Self::check(schema)
    }

    /// Checks a schema.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(crate) fn check(schema: Schema) -> Result<Self, String> {
        check_tables(&schema)?;
        let facts = facts(&schema.nodes)?;
        let mut peer = Self { schema, facts, steps: Vec::new(), rows: Vec::new(), readers: Vec::new() };
        peer.lay_out();
        Ok(peer)
    }

    /// Works out the steps.
    fn lay_out(&mut self) {
        let nodes = &self.schema.nodes;
        for (facts, node) in self.facts.iter_mut().zip(nodes) {
            facts.row = self.rows.len() as u32;
            let parts = match node {
                Node::Enum(_, variants) => variants.len(),
                Node::Tuple(_) | Node::TupleStruct(..) | Node::Struct(..) => 1,
                _ => 0,
            };
            self.rows.resize(self.rows.len() + parts, Span { first: 0, count: 0 });
        }
        self.readers.resize_with(self.rows.len(), OnceLock::new);
        let step = |id: Id| {
            let facts = self.facts[id as usize];
            Step { node: id, bare: facts.bare, kind: facts.leaf, row: self.facts[facts.bare as usize].row }
        };
        self.steps.extend((0..nodes.len() as Id).map(step));
        let mut rows = self.rows.iter_mut();
        let mut row = |parts: &mut dyn Iterator<Item = Id>| {
            let start = self.steps.len();
            self.steps.extend(parts.map(step));
            if let Some(row) = rows.next() {
                *row = Span { first: start as u32, count: (self.steps.len() - start) as u32 };
            }
        };
        for node in nodes {
            match node {
                Node::Tuple(ids) | Node::TupleStruct(_, ids) => row(&mut ids.iter().copied()),
                Node::Struct(_, fields) => row(&mut fields.list.iter().map(|field| field.node)),
                Node::Enum(_, variants) => variants.iter().for_each(|variant| match &variant.shape {
                    Shape::Newtype(id) => row(&mut std::iter::once(*id)),
                    Shape::Tuple(ids) => row(&mut ids.iter().copied()),
                    Shape::Struct(fields) => row(&mut fields.list.iter().map(|field| field.node)),
                    Shape::Unit | Shape::Unknown => row(&mut std::iter::empty()),
                }),
                _ => {}
            }
        }
    }

    /// What the peer sent.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The method of this name.
    pub(crate) fn method(&self, name: &str) -> Option<&Signature> {
        self.schema.methods.iter().find(|method| method.name == name)
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.schema.nodes
    }

    /// A node, without the newtypes and names around it.
    #[inline]
    pub(super) fn bare(&self, id: Id) -> &Node {
        &self.schema.nodes[self.facts[id as usize].bare as usize]
    }

    #[inline]
    pub(super) fn node(&self, id: Id) -> &Node {
        &self.schema.nodes[id as usize]
    }

    /// What is inside a newtype. Anything else is itself.
    #[inline]
    pub(super) fn inner(&self, id: Id) -> Id {
        self.facts[id as usize].inner
    }

    /// All steps. Those of single nodes have the numbers of these.
    #[inline]
    pub(super) fn all_steps(&self) -> &[Step] {
        &self.steps
    }

    #[inline]
    pub(super) fn steps(&self, span: Span) -> &[Step] {
        &self.steps[span.first as usize..(span.first + span.count) as usize]
    }

    /// The number of the row of parts of this node, which is a tuple or a struct, or that of its first variant, which those of the others
    /// follow.
    #[inline]
    pub(super) fn row_of(&self, id: Id) -> u32 {
        self.facts[self.facts[id as usize].bare as usize].row
    }

    /// The parts of a tuple, a struct or a variant.
    #[inline]
    pub(super) fn row(&self, row: u32) -> Span {
        self.rows[row as usize]
    }

    /// How the fields of this row are fed to a type that knows these names, if they have met before.
    #[inline]
    pub(super) fn known(&self, row: u32, names: &'static [&'static str]) -> Option<&Known> {
        let mut known = self.readers[row as usize].get()?;
        while !std::ptr::eq(known.names, names) {
            known = known.next.get()?;
        }
        Some(known)
    }

    /// They have met.
    #[cold]
    pub(super) fn meet(&self, row: u32, names: &'static [&'static str], fed: Fed) {
        let mut slot = &self.readers[row as usize];
        for _ in 0..READERS {
            let known = slot.get_or_init(|| Box::new(Known { names, fed, row: self.row(row), next: OnceLock::new() }));
            if std::ptr::eq(known.names, names) {
                return;
            }
            slot = &known.next;
        }
    }

    /// No value of this node takes fewer bytes.
    #[inline]
    pub(super) fn least(&self, id: Id) -> usize {
        self.facts[id as usize].least as usize
    }
}

fn check_tables(schema: &Schema) -> Result<(), String> {
    limit("methods", schema.methods.len(), METHODS)?;
    limit("types", schema.nodes.len(), NODES)?;
    let mut table = Table { nodes: schema.nodes.len(), parts: 0 };
    schema.nodes.iter().try_for_each(|node| table.node(node))?;
    schema.methods.iter().try_for_each(|method| table.method(method))
}

fn limit(what: &str, count: usize, limit: usize) -> Result<(), String> {
    if count > limit { Err(format!("a schema with {count} {what}, above the limit of {limit}")) } else { Ok(()) }
}

/// Counts what is listed, and knows which nodes there are.
struct Table {
    nodes: usize,
    parts: usize,
}

impl Table {
    fn id(&self, id: Id) -> Result<(), String> {
        if id as usize >= self.nodes { Err(format!("a schema of {} types names one with the number {id}", self.nodes)) } else { Ok(()) }
    }

    fn parts(&mut self, more: usize) -> Result<(), String> {
        self.parts = self.parts.saturating_add(more);
        limit("parts of types", self.parts, PARTS)
    }

    fn node(&mut self, node: &Node) -> Result<(), String> {
        let mut ids = Ok(());
        node.each_part(|part| ids = ids.clone().and(self.id(part)));
        ids?;
        match node {
            Node::Tuple(parts) => self.parts(parts.len()),
            Node::TupleStruct(name, parts) => text(name).and(self.parts(parts.len())),
            Node::Struct(name, fields) => text(name).and(self.fields(&fields.list)),
            Node::Enum(name, variants) => {
                text(name)?;
                self.parts(variants.len())?;
                for variant in variants {
                    self.names(&variant.name, &variant.aliases)?;
                    match &variant.shape {
                        Shape::Tuple(parts) => self.parts(parts.len())?,
                        Shape::Struct(fields) => self.fields(&fields.list)?,
                        Shape::Unit | Shape::Newtype(_) | Shape::Unknown => {}
                    }
                }
                Ok(())
            }
            Node::UnitStruct(name) | Node::Newtype(name, _) | Node::Logical(name, _) | Node::Opaque(name) => text(name),
            _ => Ok(()),
        }
    }

    fn fields(&mut self, fields: &[Field]) -> Result<(), String> {
        self.parts(fields.len())?;
        fields.iter().try_for_each(|field| self.names(&field.name, &field.aliases))
    }

    fn names(&mut self, name: &str, aliases: &[String]) -> Result<(), String> {
        self.parts(aliases.len())?;
        limit("bytes in a name", name.len(), NAME)?;
        aliases.iter().try_for_each(|alias| limit("bytes in a name", alias.len(), NAME))
    }

    fn method(&mut self, method: &Signature) -> Result<(), String> {
        limit("bytes in a name", method.name.len(), NAME)?;
        self.parts(method.arguments.len())?;
        for (name, id) in method.arguments.iter().chain(&method.upload) {
            limit("bytes in a name", name.len(), NAME)?;
            self.id(*id)?;
        }
        [method.returns, method.error, method.download].iter().flatten().try_for_each(|id| self.id(*id))
    }
}

fn text(text: &str) -> Result<(), String> {
    limit("bytes in the name of a type", text.len(), TEXT)
}

/// Nodes are worked out when all their parts are that stand in every value; a part behind a tag or a length does not.
fn facts(nodes: &[Node]) -> Result<Vec<Facts>, String> {
    let mut facts: Vec<Option<Facts>> = vec![None; nodes.len()];
    let mut unknown = nodes.len();
    while unknown != 0 {
        let before = unknown;
        // Tables are written from the outside in, so that one round is enough for most.
        for (id, node) in nodes.iter().enumerate().rev() {
            if facts[id].is_none()
                && let Some(fact) = fact(id as Id, node, &facts)
            {
                if fact.depth > DEPTH {
                    return Err(format!("a schema whose types nest deeper than the limit of {DEPTH}"));
                }
                facts[id] = Some(fact);
                unknown -= 1;
            }
        }
        if unknown == before {
            return Err("a schema with a type that contains itself without end".to_owned());
        }
    }
    Ok(facts.into_iter().flatten().collect())
}

fn fact(id: Id, node: &Node, known: &[Option<Facts>]) -> Option<Facts> {
    let leaf = |least| Some(Facts { bare: id, inner: id, least, depth: 1, row: 0, leaf: Leaf::of(node) });
    let all = |parts: &mut dyn Iterator<Item = Id>| {
        let (mut least, mut depth) = (0_u32, 0);
        for part in parts {
            let part = known[part as usize]?;
            least = least.saturating_add(part.least);
            depth = depth.max(part.depth);
        }
        Some(Facts { bare: id, inner: id, least, depth: depth + 1, row: 0, leaf: Leaf::of(node) })
    };
    match node {
        Node::Unit | Node::UnitStruct(_) => leaf(0),
        Node::F32 => leaf(4),
        Node::F64 => leaf(8),
        // A length and one letter.
        Node::Char => leaf(2),
        Node::Newtype(_, part) => known[*part as usize].map(|inside| Facts { inner: *part, depth: inside.depth + 1, ..inside }),
        Node::Logical(_, part) => {
            let inside = known[*part as usize]?;
            let inner = if inside.inner == *part { id } else { inside.inner };
            Some(Facts { inner, depth: inside.depth + 1, ..inside })
        }
        Node::Tuple(parts) | Node::TupleStruct(_, parts) => all(&mut parts.iter().copied()),
        Node::Struct(_, fields) => all(&mut fields.list.iter().map(|field| field.node)),
        // A number of one byte, a tag, or a length. What follows may be left out, or is not worth working out.
        _ => leaf(1),
    }
}
