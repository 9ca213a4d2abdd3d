//! Whether what one end writes can be read by the other: from two schemas alone, without their types.
//!
//! `adapt` is what happens to a message; this says beforehand what will happen to all of them. Both follow one table of rules,
//! held together by `adapt/tests/evolution.rs`. Two things a schema does not tell: whether a type with a check of its own
//! (`Logical`) takes a value, which is assumed, and whether a part that a longer tuple lacks has a default.
//!
//! Types may contain themselves, so pairs of types are compared, each pair once, and verdicts are passed on from the inside to
//! the outside until nothing changes.
//!
//! - `rules.rs`: what becomes of one pair
//! - `verdict.rs`: what becomes of a pair by what became of its parts

mod rules;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::HashMap;

use self::rules::{Outcome, Wanted, Written};
use self::verdict::{Combine, Level, Pair, settle};
use super::node::{Id, Node, Signature};

/// What is to be expected where a writer and a reader know types by these schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// The bytes are the same.
    Same,
    /// Every value can be read.
    Adapts,
    /// Some values cannot be read: which, and why.
    Depends(Vec<String>),
    /// No value can be read: why.
    Never(Vec<String>),
}

/// As many pairs of types are compared for one peer: a stranger's schema may be made to have no end of them, and a pair takes a
/// microsecond or two.
pub(crate) const PAIRS: usize = 1 << 15;
/// As many reasons are given.
const REASONS: usize = 32;
/// As long as one of them may be.
const REASON: usize = 300;

/// What becomes of values of one type.
#[cfg(test)]
pub(crate) fn fit(writer: (&[Node], Id), reader: (&[Node], Id)) -> Fit {
    let mut left = PAIRS;
    let mut comparison = Comparison::new(writer.0, reader.0, &mut left);
    let root = comparison.root(Combine::All);
    comparison.part(root, Written::Id(writer.1), Wanted::Id(reader.1), String::new());
    comparison.finish(root)
}

/// What becomes of the arguments of a call, and of the items that the caller streams. At most `left` pairs are compared, and taken
/// from it.
pub(crate) fn fit_arguments(writer: (&[Node], &Signature), reader: (&[Node], &Signature), left: &mut usize) -> Fit {
    let mut comparison = Comparison::new(writer.0, reader.0, left);
    let root = comparison.root(Combine::All);
    let (written, wanted) = (&writer.1.arguments, &reader.1.arguments);
    for (name, id) in wanted {
        match written.iter().find(|(written, _)| written == name) {
            Some((_, written)) => comparison.part(root, Written::Id(*written), Wanted::Id(*id), name.clone()),
            None if matches!(bare(reader.0, *id), Node::Option(_)) => comparison.note(root, Level::Adapts, String::new()),
            None => comparison.note(root, Level::Never, format!("{name}: missing, and the reader has no default")),
        }
    }
    if !written.iter().map(|(name, _)| name).eq(wanted.iter().map(|(name, _)| name)) {
        comparison.note(root, Level::Adapts, String::new());
    }
    comparison.stream(root, upload(writer.1), upload(reader.1));
    comparison.finish(root)
}

/// What becomes of a reply: the value, the method's own error, and the items that the callee streams.
pub(crate) fn fit_results(writer: (&[Node], &Signature), reader: (&[Node], &Signature), left: &mut usize) -> Fit {
    let mut comparison = Comparison::new(writer.0, reader.0, left);
    let root = comparison.root(Combine::All);
    match (writer.1.returns, reader.1.returns) {
        (Some(written), Some(wanted)) => comparison.part(root, Written::Id(written), Wanted::Id(wanted), "the reply".into()),
        (None, None) => {}
        (Some(_), None) => comparison.note(root, Level::Never, "the reply: a value, where none is expected".into()),
        (None, Some(_)) => comparison.note(root, Level::Never, "the reply: no value, where one is expected".into()),
    }
    let items = |id: Option<Id>| id.map(|id| ("the stream", id));
    comparison.stream(root, items(writer.1.download), items(reader.1.download));
    match (writer.1.error, reader.1.error) {
        // A reply may still be a value, whatever becomes of errors.
        (Some(written), Some(wanted)) => {
            let errors = comparison.group(root, Combine::Maybe);
            comparison.part(errors, Written::Id(written), Wanted::Id(wanted), "the error".into());
        }
        (None, None) => {}
        // Errors travel apart from values: readers of one need not know of the other.
        (Some(_), None) | (None, Some(_)) => comparison.note(root, Level::Adapts, String::new()),
    }
    comparison.finish(root)
}

fn upload(method: &Signature) -> Option<(&str, Id)> {
    method.upload.as_ref().map(|(name, id)| (name.as_str(), *id))
}

struct Comparison<'a> {
    writer: &'a [Node],
    reader: &'a [Node],
    pairs: Vec<Pair>,
    /// Pairs of nodes that have been met.
    known: HashMap<(Id, Id), usize>,
    /// Pairs whose rules have not been applied.
    open: Vec<(usize, Written<'a>, Wanted<'a>)>,
    /// Pairs that may still be compared.
    left: &'a mut usize,
    too_many: bool,
}

impl<'a> Comparison<'a> {
    fn new(writer: &'a [Node], reader: &'a [Node], left: &'a mut usize) -> Self {
        Self { writer, reader, pairs: Vec::new(), known: HashMap::new(), open: Vec::new(), left, too_many: false }
    }

    fn root(&mut self, combine: Combine) -> usize {
        self.pairs.push(Pair::new(combine, String::new()));
        self.pairs.len() - 1
    }

    fn note(&mut self, pair: usize, level: Level, reason: String) {
        self.pairs[pair].note(level, reason);
    }

    /// A part of a pair that has parts of its own, in the same place.
    fn group(&mut self, pair: usize, combine: Combine) -> usize {
        let path = self.pairs[pair].path.clone();
        self.pairs.push(Pair::new(combine, path));
        let group = self.pairs.len() - 1;
        self.pairs[pair].parts.push(group);
        group
    }

    /// Two types that meet in this pair.
    fn part(&mut self, pair: usize, written: Written<'a>, wanted: Wanted<'a>, path: String) {
        let key = match (written, wanted) {
            (Written::Id(written), Wanted::Id(wanted)) => Some((bare_id(self.writer, written), bare_id(self.reader, wanted))),
            _ => None,
        };
        if let Some(&part) = key.as_ref().and_then(|key| self.known.get(key)) {
            self.pairs[pair].parts.push(part);
            return;
        }
        match self.left.checked_sub(1) {
            Some(left) => *self.left = left,
            None => {
                self.too_many = true;
                return;
            }
        }
        // Reasons are cut in any case. In a stranger's schema types can be in types thousands deep, under names as long as they like.
        let path = if path.len() > REASON { path.chars().take(REASON).collect() } else { path };
        self.pairs.push(Pair::new(Combine::All, path));
        let part = self.pairs.len() - 1;
        self.pairs[pair].parts.push(part);
        if let Some(key) = key {
            self.known.insert(key, part);
        }
        self.open.push((part, written, wanted));
    }

    fn stream(&mut self, root: usize, written: Option<(&str, Id)>, wanted: Option<(&str, Id)>) {
        match (written, wanted) {
            (Some((_, written)), Some((name, wanted))) => {
                // A stream may be empty.
                let items = self.group(root, Combine::Maybe);
                self.part(items, Written::Id(written), Wanted::Id(wanted), format!("{name}[]"));
            }
            (None, None) => {}
            (Some((name, _)), None) => self.note(root, Level::Never, format!("{name}: a stream, where none is expected")),
            (None, Some((name, _))) => self.note(root, Level::Never, format!("{name}: no stream, where one is expected")),
        }
    }

    fn finish(mut self, root: usize) -> Fit {
        while let Some((pair, written, wanted)) = self.open.pop() {
            let path = self.pairs[pair].path.clone();
            let outcome = rules::compare(self.writer, self.reader, written, wanted, &path);
            self.apply(pair, outcome);
        }
        let mut level = settle(&mut self.pairs, root);
        if level != Level::Same && self.pairs.iter().any(|pair| pair.opaque) {
            // Equal bytes need nobody to understand them; anything else is read part by part.
            for pair in self.pairs.iter_mut().filter(|pair| pair.opaque) {
                pair.note(Level::Never, format!("{}: the shape of the type is not known", place(&pair.path)));
            }
            level = settle(&mut self.pairs, root);
        }
        if self.too_many {
            level = level.max(Level::Depends);
            self.pairs[root].note(Level::Depends, format!("more than {PAIRS} pairs of types, which were not all compared"));
        }
        match level {
            Level::Same => Fit::Same,
            Level::Adapts => Fit::Adapts,
            Level::Depends => Fit::Depends(self.reasons()),
            Level::Never => Fit::Never(self.reasons()),
        }
    }

    fn apply(&mut self, pair: usize, outcome: Outcome<'a>) {
        let target = &mut self.pairs[pair];
        target.combine = outcome.combine;
        target.opaque = outcome.opaque;
        for (level, reason) in outcome.notes {
            target.note(level, reason);
        }
        for part in outcome.parts {
            let around = if part.maybe { self.group(pair, Combine::Maybe) } else { pair };
            self.part(around, part.written, part.wanted, part.path);
        }
    }

    /// Reasons for what cannot be read, the outermost first.
    fn reasons(&self) -> Vec<String> {
        let reasons = self.pairs.iter().flat_map(|pair| &pair.reasons).take(REASONS);
        reasons.map(|reason| reason.chars().take(REASON).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()).collect()
    }
}

/// How a place is called in a reason.
fn place(path: &str) -> &str {
    if path.is_empty() { "the value" } else { path }
}

/// The node without newtypes and names around it. A table may be anyone's.
fn bare_id(nodes: &[Node], mut id: Id) -> Id {
    for _ in 0..nodes.len() {
        match nodes.get(id as usize) {
            Some(Node::Newtype(_, inside) | Node::Logical(_, inside)) => id = *inside,
            _ => break,
        }
    }
    id
}

fn bare(nodes: &[Node], id: Id) -> &Node {
    static NOWHERE: Node = Node::Opaque(String::new());
    match nodes.get(bare_id(nodes, id) as usize) {
        None | Some(Node::Newtype(..) | Node::Logical(..)) => &NOWHERE,
        Some(node) => node,
    }
}
