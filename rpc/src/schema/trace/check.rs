//! The self-check: whether what a type's `Serialize` writes is what its `Deserialize` was seen to read.
//!
//! Attributes that change only one of the two are silent in postcard: a field or variant that is left out shifts what follows.
//! Values that tracing made are written by the type itself and walked by its schema.

use super::state::{State, Texts, Type};
use crate::schema::node::{Id, Node};
use crate::schema::walk::walk_variants;

/// A value that was made while tracing, as the type writes it.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) bytes: Vec<u8>,
    /// The variants that were fed, by their place among the names; later by their number.
    pub(super) picks: Vec<(Id, usize)>,
}

impl Sample {
    /// Names that are aliases have no number, which is known only in the end.
    pub(super) fn numbered(mut self, types: &[Type]) -> Self {
        for (id, pick) in &mut self.picks {
            if let State::Enum(_, variants) = &types[*id as usize].state {
                *pick = variants.number(*pick);
            }
        }
        self
    }
}

/// Walks all samples and adds what is wrong. One fault shifts all that follows, so only the first of each kind is told.
pub(super) fn samples(nodes: &[Node], root: Id, samples: &[Sample], name: &str, problems: &mut Texts) {
    let mut shifted = None;
    let mut is_swapped = false;
    for sample in samples {
        let mut seen = Vec::new();
        let walked = walk_variants(nodes, root, &sample.bytes, &mut |id, place| seen.push((id, place)));
        if let Some(text) = swapped(nodes, sample, &seen) {
            problems.add(text);
            is_swapped = true;
            continue;
        }
        let (place, text) = match walked {
            Ok(length) if length == sample.bytes.len() => continue,
            Ok(length) => (name.to_owned(), format!("{} bytes are left over", sample.bytes.len() - length)),
            Err(stop) if stop.unknown => continue,
            Err(stop) => (stop.owner.unwrap_or_else(|| name.to_owned()), stop.text),
        };
        shifted.get_or_insert_with(|| {
            format!(
                "{place}: what is written is not what is read ({text}): postcard needs all that #[serde(skip_serializing_if)], \
                 #[serde(skip_serializing)], #[serde(skip_deserializing)] and the like, here or before it, leave out"
            )
        });
    }
    if let Some(text) = shifted.filter(|_| !is_swapped) {
        problems.add(text);
    }
}

/// A variant that is written under another's number.
fn swapped(nodes: &[Node], sample: &Sample, seen: &[(Id, usize)]) -> Option<String> {
    for (id, place) in seen {
        let Some(Node::Enum(name, variants)) = nodes.get(*id as usize) else { continue };
        let mut fed = sample.picks.iter().filter(|pick| pick.0 == *id);
        let once = seen.iter().filter(|other| other.0 == *id).count() == 1;
        if let (Some((_, pick)), None, true) = (fed.next(), fed.next(), once)
            && pick != place
        {
            let (given, got) = (variants.get(*pick)?, variants.get(*place)?);
            return Some(format!(
                "{name}: {} is written with the number that is read as {}: a variant before it is left out by #[serde(skip)]",
                given.name, got.name
            ));
        }
    }
    None
}
