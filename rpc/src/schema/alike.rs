//! Whether a peer knows a method as we do, as its hash would say (protocol 4.6), from the peer's schema and without its hash: to make
//! that of a stranger's table could take long, and this ends at the first difference.
//!
//! Not whether two ends that know it differently understand each other: that is `fit/`.

use std::collections::HashMap;

use super::node::{Fields, Id, Node, Shape, Signature};
use super::own::{self, Own};
use super::peer::Peer;
use super::table::Hasher;

/// The hash of this method is the same at both ends. At most `left` types are looked at, and taken from it.
pub(crate) fn alike(own: &Own, ours: &Signature, peer: &Peer, theirs: &Signature, left: &mut usize) -> bool {
    let upload = |method: &Signature| method.upload.as_ref().map(|(name, id)| (own::stream_name(name), *id));
    let (our_upload, their_upload) = (upload(ours), upload(theirs));
    let sides = [(own::arguments(ours, &our_upload), own::arguments(theirs, &their_upload)), (own::results(ours), own::results(theirs))];
    sides.iter().all(|(ours, theirs)| Walk::new(own, peer, left).roots(ours, theirs))
}

/// Through two tables at once. Each of the peer's types has to be, wherever it is met, one and the same of ours.
struct Walk<'a> {
    hasher: &'a Hasher,
    ours: &'a [Node],
    peer: &'a Peer,
    /// By the peer's number.
    met: HashMap<Id, u32>,
    /// Types that cannot be described are told apart by their texts alone, and hashed without them.
    unknown: Vec<(u32, &'a str)>,
    left: &'a mut usize,
}

impl<'a> Walk<'a> {
    fn new(own: &'a Own, peer: &'a Peer, left: &'a mut usize) -> Self {
        Self { hasher: &own.hasher, ours: &own.schema.nodes, peer, met: HashMap::new(), unknown: Vec::new(), left }
    }

    fn roots(mut self, ours: &[(&str, Id)], theirs: &[(&str, Id)]) -> bool {
        if !ours.iter().map(|(name, _)| name).eq(theirs.iter().map(|(name, _)| name)) {
            return false;
        }
        let mut waiting: Vec<(Id, Id)> = ours.iter().zip(theirs).map(|((_, our), (_, their))| (*our, *their)).collect();
        while let Some((our, their)) = waiting.pop() {
            let (our, their) = (self.hasher.inner(our), self.peer.bare_id(their));
            let colour = self.hasher.colour(our);
            match self.met.insert(their, colour) {
                Some(known) if known == colour => continue,
                Some(_) => return false,
                None => {}
            }
            let Some(left) = self.left.checked_sub(1) else { return false };
            *self.left = left;
            let (one, other) = (&self.ours[our as usize], self.peer.bare(their));
            if !same(one, other) || !self.same_unknown(colour, other) {
                return false;
            }
            // As many, and each without its wrappers when its turn comes.
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            one.each_part(|part| ours.push(part));
            other.each_part(|part| theirs.push(part));
            waiting.extend(ours.into_iter().zip(theirs));
        }
        true
    }

    fn same_unknown(&mut self, colour: u32, other: &'a Node) -> bool {
        let Node::Opaque(text) = other else { return true };
        match self.unknown.iter().find(|(known, as_text)| *known == colour || as_text == text) {
            Some(pair) => *pair == (colour, text),
            None => {
                self.unknown.push((colour, text));
                true
            }
        }
    }
}

/// Nothing that is hashed tells them apart, their parts left aside.
fn same(one: &Node, other: &Node) -> bool {
    match (one, other) {
        (Node::Unit | Node::UnitStruct(_), Node::Unit | Node::UnitStruct(_)) => true,
        (Node::Tuple(one) | Node::TupleStruct(_, one), Node::Tuple(other) | Node::TupleStruct(_, other)) => one.len() == other.len(),
        (Node::Struct(_, one), Node::Struct(_, other)) => same_fields(one, other),
        (Node::Enum(_, one), Node::Enum(_, other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.name == other.name && same_shape(&one.shape, &other.shape))
        }
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

fn same_shape(one: &Shape, other: &Shape) -> bool {
    match (one, other) {
        (Shape::Tuple(one), Shape::Tuple(other)) => one.len() == other.len(),
        (Shape::Struct(one), Shape::Struct(other)) => same_fields(one, other),
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

fn same_fields(one: &Fields, other: &Fields) -> bool {
    one.list.iter().map(|field| &field.name).eq(other.list.iter().map(|field| &field.name))
}
