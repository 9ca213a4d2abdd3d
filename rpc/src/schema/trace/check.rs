//! The self-check: whether what a type's `Serialize` writes is what its `Deserialize` was seen to read.
//!
//! Attributes that change only one of the two are silent in postcard: a field or variant that is left out shifts what follows.
//! Values that tracing made are written by the type itself and walked by its schema.

use super::state::{State, Texts, Type};
use super::walk::walk_variants;
use crate::schema::node::{Id, Node};

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

/// Walks all samples and adds what is wrong.
pub(super) fn samples(nodes: &[Node], root: Id, samples: &[Sample], name: &str, problems: &mut Texts) {
    for sample in samples {
        let mut seen = Vec::new();
        let walked = walk_variants(nodes, root, &sample.bytes, &mut |id, place| seen.push((id, place)));
        if let Some(text) = swapped(nodes, sample, &seen) {
            problems.add(text);
            continue;
        }
        let rest = match walked {
            Ok(length) if length == sample.bytes.len() => continue,
            Ok(length) => format!("{} bytes are left over", sample.bytes.len() - length),
            Err(text) => text,
        };
        problems.add(format!(
            "{name}: it does not write what it reads: #[serde(skip_serializing_if)], #[serde(skip)] on a variant or another attribute \
             leaves out what postcard needs ({rest})"
        ));
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
