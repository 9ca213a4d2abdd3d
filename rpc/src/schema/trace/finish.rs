//! From what the tracer knows to a table of nodes.

use super::state::{EnumState, FieldState, FieldsState, ShapeState, Slot, State, Type};
use crate::schema::node::{Field, Fields, Id, Node, Shape, Variant};

/// The nodes of all types, the root's last.
pub(super) fn nodes(types: &[Type], root: &Slot) -> (Vec<Node>, Id) {
    let mut table = Table { types, nodes: Vec::new(), places: Vec::new() };
    // Types come first, in the order in which they were met, then what stands around or instead of them.
    table.places = (0..types.len() as Id).collect();
    table.nodes = vec![Node::Unit; types.len()];
    for (at, one) in types.iter().enumerate() {
        if let Some(path) = one.logical {
            table.places[at] = table.push(Node::Logical(path.to_owned(), at as Id));
        }
    }
    for (at, one) in types.iter().enumerate() {
        table.nodes[at] = table.node(&one.state);
    }
    let root = table.slot(root);
    (table.nodes, root)
}

struct Table<'a> {
    types: &'a [Type],
    nodes: Vec<Node>,
    /// Of each type: the node that stands for it.
    places: Vec<Id>,
}

impl Table<'_> {
    fn push(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        (self.nodes.len() - 1) as Id
    }

    fn slot(&mut self, slot: &Slot) -> Id {
        match slot.node {
            _ if slot.varies => self.push(Node::Opaque("its shape depends on what was read before it".to_owned())),
            Some(id) => self.places[id as usize],
            None if slot.dead => self.push(Node::Opaque("no value of it could be made".to_owned())),
            None => self.push(Node::Opaque("it was never asked for".to_owned())),
        }
    }

    fn slots(&mut self, slots: &[Slot]) -> Vec<Id> {
        slots.iter().map(|slot| self.slot(slot)).collect()
    }

    fn node(&mut self, state: &State) -> Node {
        match state {
            State::Leaf(node) => node.clone(),
            State::Option(slot) => Node::Option(self.slot(slot)),
            State::Seq(slot) => Node::Seq(self.slot(slot)),
            State::Newtype(name, slot) => Node::Newtype((*name).to_owned(), self.slot(slot)),
            State::Map(key, value) => Node::Map(self.slot(key), self.slot(value)),
            State::Tuple(None, slots) => Node::Tuple(self.slots(slots)),
            State::Tuple(Some(name), slots) => Node::TupleStruct((*name).to_owned(), self.slots(slots)),
            State::Struct(name, fields) => Node::Struct((*name).to_owned(), self.fields(fields)),
            State::Enum(name, variants) => Node::Enum((*name).to_owned(), self.variants(variants)),
        }
    }

    fn fields(&mut self, fields: &FieldsState) -> Fields {
        let list = fields.real().map(|place| self.field(fields, place)).collect();
        Fields { list, strict: fields.strict == Some(true) }
    }

    fn field(&mut self, fields: &FieldsState, place: usize) -> Field {
        let field = &fields.list[place];
        let aliases = fields.list.iter().filter(|other| other.alias_of == Some(place)).map(|alias| alias.name.to_owned()).collect();
        Field { name: field.name.to_owned(), aliases, optional: self.is_optional(field), node: self.slot(&field.slot) }
    }

    /// If it could not be tried, the type tells.
    fn is_optional(&self, field: &FieldState) -> bool {
        let is_option = field.slot.node.is_some_and(|id| matches!(self.types[id as usize].state, State::Option(_)));
        field.optional.unwrap_or(is_option)
    }

    fn variants(&mut self, variants: &EnumState) -> Vec<Variant> {
        let places = (0..variants.list.len()).filter(|place| variants.list[*place].alias_of.is_none());
        places.map(|place| self.variant(variants, place)).collect()
    }

    fn variant(&mut self, variants: &EnumState, place: usize) -> Variant {
        let variant = &variants.list[place];
        let aliases = variants.list.iter().filter(|other| other.alias_of == Some(place)).map(|alias| alias.name.to_owned()).collect();
        let shape = match &variant.shape {
            None => Shape::Unknown,
            Some(ShapeState::Unit) => Shape::Unit,
            Some(ShapeState::Newtype(slot)) => Shape::Newtype(self.slot(slot)),
            Some(ShapeState::Tuple(slots)) => Shape::Tuple(self.slots(slots)),
            Some(ShapeState::Struct(fields)) => Shape::Struct(self.fields(fields)),
        };
        Variant { name: variant.name.to_owned(), aliases, other: variants.other == Some(Some(place)), shape }
    }
}
