//! A schema that a peer sent, checked once before anything is read by it.
//!
//! Its writer is a stranger. After [`Peer::parse`] every number in it is the place of a node, no type contains itself without
//! end, and each node's smallest encoding is known, so that no length passes that the rest of a message cannot hold. What a
//! message may cost is not decided here: `adapt` reads it under the accounts of `frame/payload/guard.rs`.

use serde::Deserialize;

use super::node::{Field, Id, Node, Schema, Shape, Signature};
use super::steps::Steps;
use crate::frame::limits::{MAX_SCHEMA, SCHEMA_MEMORY};
use crate::frame::payload::decode::Decoder;
use crate::frame::payload::{Budget, Fault, Problem};

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
#[derive(Debug, Default)]
pub(crate) struct Peer {
    schema: Schema,
    /// One for each node.
    facts: Vec<Facts>,
    /// The nodes as they are read.
    pub(super) steps: Steps,
    /// Bytes of it, estimated from above.
    memory: usize,
}

/// While facts are worked out there are two of each.
const FACTS: usize = size_of::<Facts>() + size_of::<Option<Facts>>();

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
}

impl Peer {
    /// Reads and checks a schema that fills no more than so much memory, a copy of its bytes included: a field may be four bytes on
    /// the wire, and is 56 here.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8], memory: usize) -> Result<Self, String> {
        if bytes.len() > MAX_SCHEMA {
            return Err(format!("a schema of {} bytes, above the limit of {MAX_SCHEMA}", bytes.len()));
        }
        let full = || format!("schemas that fill more than {SCHEMA_MEMORY} bytes of memory (protocol 9.5)");
        let most = memory.checked_sub(bytes.len()).ok_or_else(full)?;
        let (schema, left) = decoded(bytes, most).map_err(|fault| match fault.problem() {
            Problem::Refused(_) => full(),
            _ => format!("a malformed schema: {fault}"),
        })?;
        let worked_out = schema.nodes.len().saturating_mul(FACTS) + Steps::memory(&schema.nodes);
        let left = left.checked_sub(worked_out).ok_or_else(full)?;
        Ok(Self { memory: memory - left, ..Self::check(schema)? })
    }

    /// Checks a schema.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(crate) fn check(schema: Schema) -> Result<Self, String> {
        check_tables(&schema)?;
        let facts = facts(&schema.nodes)?;
        let steps = Steps::of(&schema.nodes, |id| facts[id as usize].bare);
        Ok(Self { schema, facts, steps, memory: 0 })
    }

    /// How much memory it fills, if it was read from bytes: a bit more than that.
    pub(crate) fn memory(&self) -> usize {
        self.memory
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
        &self.schema.nodes[self.bare_id(id) as usize]
    }

    /// The number of that node.
    #[inline]
    pub(super) fn bare_id(&self, id: Id) -> Id {
        self.facts[id as usize].bare
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

    /// No value of this node takes fewer bytes.
    #[inline]
    pub(super) fn least(&self, id: Id) -> usize {
        self.facts[id as usize].least as usize
    }
}

/// A schema, and how much is left of so many bytes of memory.
fn decoded(bytes: &[u8], memory: usize) -> Result<(Schema, usize), Fault> {
    let budget = Budget { bytes: memory, depth: Budget::DEPTH };
    let mut decoder = Decoder::new(bytes, budget, size_of::<Schema>())?;
    let schema = Schema::deserialize(&mut decoder)?;
    decoder.finish()?;
    Ok((schema, decoder.guard.bytes()))
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
    let leaf = |least| Some(Facts { bare: id, inner: id, least, depth: 1 });
    let all = |parts: &mut dyn Iterator<Item = Id>| {
        let (mut least, mut depth) = (0_u32, 0);
        for part in parts {
            let part = known[part as usize]?;
            least = least.saturating_add(part.least);
            depth = depth.max(part.depth);
        }
        Some(Facts { bare: id, inner: id, least, depth: depth + 1 })
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
