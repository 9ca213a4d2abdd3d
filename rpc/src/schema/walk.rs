//! Goes through a message by its schema, without a type: how long a value is, and whether the bytes are one.
//!
//! Safe on any bytes and any table whose ids are in range; those that are not are faults too.

use std::fmt;

use super::node::{Fields, Id, Node, Shape};

/// Containers in containers.
const DEPTH: usize = 128;
/// Steps that need no bytes, beside some for each byte: what is empty may be many, and what is in it too.
const FREE_STEPS: usize = 1 << 20;

/// How many of these bytes are the value.
#[cfg(test)]
pub(crate) fn walk(nodes: &[Node], id: Id, bytes: &[u8]) -> Result<usize, String> {
    walk_variants(nodes, id, bytes, &mut |_, _| {}).map_err(|stop| stop.to_string())
}

/// The same; each enum on the way is told, with the number of its variant.
pub(crate) fn walk_variants(nodes: &[Node], id: Id, bytes: &[u8], variant: &mut dyn FnMut(Id, usize)) -> Result<usize, Stop> {
    let steps = FREE_STEPS.saturating_add(bytes.len().saturating_mul(DEPTH));
    let mut walk = Walk { nodes, bytes, at: 0, depth: DEPTH, steps, variant };
    walk.value(id)?;
    Ok(walk.at)
}

/// Why the bytes are no such value, and where.
#[derive(Debug)]
pub(crate) struct Stop {
    path: String,
    pub(crate) text: String,
    /// The innermost struct or enum around the place, and which part of it: `Order.method`.
    pub(crate) owner: Option<String>,
    /// The schema does not say what is here.
    pub(crate) unknown: bool,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.trim_start_matches('.') {
            "" => f.write_str(&self.text),
            path => write!(f, "{path}: {}", self.text),
        }
    }
}

impl Stop {
    fn new(text: impl Into<String>) -> Self {
        Self { path: String::new(), text: text.into(), owner: None, unknown: false }
    }

    fn inside(mut self, part: &str) -> Self {
        self.path.insert_str(0, part);
        self
    }

    /// The same, for a part with a name, in a type with one.
    fn of(mut self, name: &str, part: &str) -> Self {
        if self.owner.is_none() {
            self.owner = Some(format!("{name}.{part}"));
        }
        self.inside(&format!(".{part}"))
    }
}

type Done = Result<(), Stop>;

struct Walk<'a> {
    nodes: &'a [Node],
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    steps: usize,
    variant: &'a mut dyn FnMut(Id, usize),
}

impl Walk<'_> {
    fn value(&mut self, id: Id) -> Done {
        let nodes = self.nodes;
        let node = nodes.get(id as usize).ok_or_else(|| Stop::new("a type that is not in the table"))?;
        self.steps = self.steps.checked_sub(1).ok_or_else(|| Stop::new("too many values that take no bytes"))?;
        self.depth = self.depth.checked_sub(1).ok_or_else(|| Stop::new("nested too deep"))?;
        self.node(id, node)?;
        self.depth += 1;
        Ok(())
    }

    fn node(&mut self, id: Id, node: &Node) -> Done {
        match node {
            Node::Unit | Node::UnitStruct(_) => Ok(()),
            Node::Bool => match self.byte()? {
                0 | 1 => Ok(()),
                other => Err(Stop::new(format!("{other} is no bool"))),
            },
            Node::I8 | Node::U8 => self.byte().map(drop),
            Node::I16 | Node::U16 => self.varint(16).map(drop),
            Node::I32 | Node::U32 => self.varint(32).map(drop),
            Node::I64 | Node::U64 => self.varint(64).map(drop),
            Node::I128 | Node::U128 => self.varint(128).map(drop),
            Node::F32 => self.take(4).map(drop),
            Node::F64 => self.take(8).map(drop),
            Node::Char => self.letter(),
            Node::Str => self.text().map(drop),
            Node::Bytes => self.prefixed().map(drop),
            Node::Option(part) => match self.byte()? {
                0 => Ok(()),
                1 => self.value(*part),
                other => Err(Stop::new(format!("{other} is no option"))),
            },
            Node::Seq(part) => self.repeat(|walk| walk.value(*part)),
            Node::Map(key, value) => self.repeat(|walk| {
                walk.value(*key)?;
                walk.value(*value)
            }),
            Node::Tuple(parts) | Node::TupleStruct(_, parts) => self.parts(parts),
            Node::Newtype(_, part) | Node::Logical(_, part) => self.value(*part),
            Node::Struct(name, fields) => self.fields(name, fields),
            Node::Enum(name, variants) => {
                let number = self.varint(32)?;
                let place = usize::try_from(number).ok().filter(|place| *place < variants.len());
                let Some(place) = place else {
                    return Err(Stop::new(format!("variant number {number} of {name}, which has {}", variants.len())));
                };
                (self.variant)(id, place);
                let variant = &variants[place];
                self.shape(&variant.name, &variant.shape).map_err(|stop| stop.of(name, &variant.name))
            }
            Node::Opaque(reason) => Err(Stop { unknown: true, ..Stop::new(format!("an unknown type ({reason})")) }),
        }
    }

    fn shape(&mut self, name: &str, shape: &Shape) -> Done {
        match shape {
            Shape::Unit => Ok(()),
            Shape::Newtype(part) => self.value(*part),
            Shape::Tuple(parts) => self.parts(parts),
            Shape::Struct(fields) => self.fields(name, fields),
            Shape::Unknown => Err(Stop { unknown: true, ..Stop::new("a variant that is never read") }),
        }
    }

    fn parts(&mut self, parts: &[Id]) -> Done {
        for (at, part) in parts.iter().enumerate() {
            self.value(*part).map_err(|stop| stop.inside(&format!(".{at}")))?;
        }
        Ok(())
    }

    fn fields(&mut self, name: &str, fields: &Fields) -> Done {
        for field in &fields.list {
            self.value(field.node).map_err(|stop| stop.of(name, &field.name))?;
        }
        Ok(())
    }

    fn repeat(&mut self, mut each: impl FnMut(&mut Self) -> Done) -> Done {
        let count = self.varint(64)?;
        let mut at: u128 = 0;
        while at < count {
            each(self).map_err(|stop| stop.inside(&format!("[{at}]")))?;
            at += 1;
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&[u8], Stop> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or_else(|| Stop::new(format!("{count} bytes where {} are left", rest.len())))?;
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Seven bits a byte, the lowest first, as postcard writes them: no more bytes and bits than the type has.
    fn varint(&mut self, bits: u32) -> Result<u128, Stop> {
        let mut value = 0;
        for shift in (0..bits).step_by(7) {
            let byte = self.byte()?;
            let left = bits - shift;
            if left < 7 && byte >> left != 0 {
                break;
            }
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Stop::new(format!("a number of more than {bits} bits")))
    }

    fn prefixed(&mut self) -> Result<&[u8], Stop> {
        let length = self.varint(64)?;
        // Longer than the address space is longer than the message.
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn text(&mut self) -> Result<&str, Stop> {
        std::str::from_utf8(self.prefixed()?).map_err(|_| Stop::new("a text that is not UTF-8"))
    }

    fn letter(&mut self) -> Done {
        let text = self.text()?;
        let mut letters = text.chars();
        match (letters.next(), letters.next()) {
            (Some(_), None) => Ok(()),
            _ => Err(Stop::new("a char that is not one letter")),
        }
    }
}
