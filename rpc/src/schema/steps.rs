//! A peer's nodes once more, laid out as messages are read: one small step for each value, and the parts of a struct one after the other.
//!
//! `adapt/` goes by them, so that a field costs no look at its node. They say nothing that the table of nodes does not, and are made once,
//! when `peer.rs` has checked that. Here is also remembered which of this program's types read a struct, and how its fields are fed to them:
//! names are compared once, and not with every message.

use std::sync::OnceLock;

use super::node::{Id, Node, Shape};

/// A value that is to be read: its node, and what is known of it without looking there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) node: Id,
    /// The node without the newtypes and names around it.
    pub(super) bare: Id,
    /// What that is.
    pub(super) form: Form,
    /// The number of its row, if it is a tuple or a struct, or that of its first variant, which those of the others follow.
    pub(super) row: u32,
}

/// The nodes that most values end in, and what contains most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
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

impl Form {
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

/// Steps that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) count: u32,
}

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

/// A type that reads the fields of a row.
#[derive(Debug)]
pub(super) struct Known {
    /// The names that it knows: a list that is nowhere else in the program.
    names: &'static [&'static str],
    pub(super) fed: Fed,
    /// See [`Steps::row`].
    pub(super) row: Span,
    next: OnceLock<Box<Self>>,
}

/// Types that read the same fields, and are remembered.
const READERS: usize = 8;

/// All steps of a schema.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// First each node by itself, under its own number, then the rows.
    list: Vec<Step>,
    /// The parts of each tuple, struct and variant.
    rows: Vec<Span>,
    /// For each row, who has read it.
    readers: Vec<OnceLock<Box<Known>>>,
}

impl Steps {
    /// Of these nodes; `bare` says of each what it is without the newtypes and names around it.
    pub(super) fn of(nodes: &[Node], bare: impl Fn(Id) -> Id) -> Self {
        let mut count = 0;
        let mut first = Vec::with_capacity(nodes.len());
        for node in nodes {
            first.push(count);
            count += rows(node);
        }
        let step = |node: Id| {
            let bare = bare(node);
            Step { node, bare, form: Form::of(&nodes[bare as usize]), row: first[bare as usize] }
        };
        let mut steps = Self { list: (0..nodes.len() as Id).map(step).collect(), rows: Vec::with_capacity(count as usize), readers: Vec::new() };
        steps.readers.resize_with(count as usize, OnceLock::new);
        let mut row = |parts: &mut dyn Iterator<Item = Id>| {
            let first = steps.list.len();
            steps.list.extend(parts.map(step));
            steps.rows.push(Span { first: first as u32, count: (steps.list.len() - first) as u32 });
        };
        for node in nodes {
            match node {
                Node::Tuple(ids) | Node::TupleStruct(_, ids) => row(&mut ids.iter().copied()),
                Node::Struct(_, fields) => row(&mut fields.list.iter().map(|field| field.node)),
                Node::Enum(_, variants) => variants.iter().for_each(|variant| match &variant.shape {
                    Shape::Newtype(id) => row(&mut [*id].into_iter()),
                    Shape::Tuple(ids) => row(&mut ids.iter().copied()),
                    Shape::Struct(fields) => row(&mut fields.list.iter().map(|field| field.node)),
                    Shape::Unit | Shape::Unknown => row(&mut [].into_iter()),
                }),
                _ => {}
            }
        }
        steps
    }

    /// Bytes that they fill, before they are made.
    pub(super) fn memory(nodes: &[Node]) -> usize {
        let of = |node: &Node| {
            let mut parts = 0;
            if rows(node) > 0 {
                node.each_part(|_| parts += 1);
            }
            size_of::<Step>() * (1 + parts) + (size_of::<Span>() + size_of::<OnceLock<Box<Known>>>()) * rows(node) as usize
        };
        nodes.iter().map(of).sum()
    }

    pub(super) fn all(&self) -> &[Step] {
        &self.list
    }

    pub(super) fn get(&self, span: Span) -> &[Step] {
        &self.list[span.first as usize..(span.first + span.count) as usize]
    }

    /// See [`Step::row`].
    #[inline]
    pub(super) fn row_of(&self, id: Id) -> u32 {
        self.list[id as usize].row
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
}

/// How many rows a node has.
fn rows(node: &Node) -> u32 {
    match node {
        Node::Enum(_, variants) => variants.len() as u32,
        Node::Tuple(_) | Node::TupleStruct(..) | Node::Struct(..) => 1,
        _ => 0,
    }
}
