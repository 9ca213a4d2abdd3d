//! What becomes of one pair of types, its parts left aside. The rules are those of `adapt/mod.rs`.

use super::super::node::{Field, Fields, Id, Node, Shape, Variant};
use super::verdict::{Combine, Level};
use super::{REASONS, bare, place};

/// What the writer has.
#[derive(Clone, Copy)]
pub(super) enum Written<'a> {
    Id(Id),
    /// An element of bytes.
    Byte,
    /// The name of a field.
    Name(&'a str),
    Variant(&'a Variant),
}

/// What the reader takes.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Id(Id),
    Variant(&'a Variant),
}

/// What became of a pair.
pub(super) struct Outcome<'a> {
    pub(super) combine: Combine,
    pub(super) opaque: bool,
    pub(super) notes: Vec<(Level, String)>,
    pub(super) parts: Vec<Parts<'a>>,
}

/// Two types that meet in it.
pub(super) struct Parts<'a> {
    pub(super) written: Written<'a>,
    pub(super) wanted: Wanted<'a>,
    pub(super) path: String,
    /// It need not be there.
    pub(super) maybe: bool,
}

pub(super) fn compare<'a>(writer: &'a [Node], reader: &'a [Node], written: Written<'a>, wanted: Wanted<'a>, path: &str) -> Outcome<'a> {
    let outcome = Outcome { combine: Combine::All, opaque: false, notes: Vec::new(), parts: Vec::new() };
    let mut rules = Rules { writer, path, outcome };
    match wanted {
        Wanted::Id(wanted) => {
            let node = match written {
                Written::Id(id) => View::of(bare(writer, id)),
                Written::Byte => View::Node(&Node::U8),
                Written::Name(name) => View::Name(name),
                Written::Variant(variant) => View::inside(&variant.shape),
            };
            rules.values(written, node, Take::of(bare(reader, wanted)));
        }
        Wanted::Variant(wanted) => {
            if let Written::Variant(written) = written {
                rules.variant(written, wanted);
            }
        }
    }
    rules.outcome
}

/// A value of the writer's.
#[derive(Clone, Copy)]
enum View<'a> {
    Node(&'a Node),
    List(&'a [Id]),
    Fields(&'a [Field]),
    Name(&'a str),
    /// Of a variant that holds nothing.
    Nothing,
    /// Of a variant that holds one value.
    One(Id),
    Unknown,
}

impl<'a> View<'a> {
    fn of(node: &'a Node) -> Self {
        match node {
            Node::Tuple(parts) | Node::TupleStruct(_, parts) => Self::List(parts),
            Node::Struct(_, fields) => Self::Fields(&fields.list),
            node => Self::Node(node),
        }
    }

    fn inside(shape: &'a Shape) -> Self {
        match shape {
            Shape::Unit => Self::Nothing,
            Shape::Newtype(id) => Self::One(*id),
            Shape::Tuple(parts) => Self::List(parts),
            Shape::Struct(fields) => Self::Fields(&fields.list),
            Shape::Unknown => Self::Unknown,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Node(node) => name(node).to_owned(),
            Self::List(parts) => format!("a tuple of {}", parts.len()),
            Self::Fields(_) => "a struct".into(),
            Self::Name(text) => format!("the name {text}"),
            Self::Nothing => "nothing".into(),
            Self::One(_) => "a value".into(),
            Self::Unknown => "a type of unknown shape".into(),
        }
    }
}

/// What the reader takes.
#[derive(Clone, Copy)]
enum Take<'a> {
    Node(&'a Node),
    /// Parts that may have defaults, or may not.
    List(&'a [Id], bool),
    Fields(&'a Fields),
}

impl<'a> Take<'a> {
    fn of(node: &'a Node) -> Self {
        match node {
            Node::Tuple(parts) => Self::List(parts, false),
            Node::TupleStruct(_, parts) => Self::List(parts, true),
            Node::Struct(_, fields) => Self::Fields(fields),
            node => Self::Node(node),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Node(node) => name(node).to_owned(),
            Self::List(parts, _) => format!("a tuple of {}", parts.len()),
            Self::Fields(_) => "a struct".into(),
        }
    }
}

struct Rules<'a, 'p> {
    writer: &'a [Node],
    path: &'p str,
    outcome: Outcome<'a>,
}

impl<'a> Rules<'a, '_> {
    fn adapts(&mut self) {
        self.outcome.notes.push((Level::Adapts, String::new()));
    }

    fn depends(&mut self, reason: &str) {
        self.outcome.notes.push((Level::Depends, format!("{}: {reason}", place(self.path))));
    }

    fn never(&mut self, reason: &str) {
        self.outcome.notes.push((Level::Never, format!("{}: {reason}", place(self.path))));
    }

    fn part(&mut self, written: Written<'a>, wanted: Id, step: &str) {
        self.outcome.parts.push(Parts { written, wanted: Wanted::Id(wanted), path: joined(self.path, step), maybe: false });
    }

    fn part_maybe(&mut self, written: Written<'a>, wanted: Id, step: &str) {
        self.part(written, wanted, step);
        if let Some(part) = self.outcome.parts.last_mut() {
            part.maybe = true;
        }
    }

    fn values(&mut self, written: Written<'a>, view: View<'a>, take: Take<'a>) {
        match (view, take) {
            (View::Node(Node::Opaque(one)), Take::Node(Node::Opaque(other))) if one == other => self.outcome.opaque = true,
            (View::Node(Node::Opaque(_)) | View::Unknown, _) => self.never("the shape of the writer's type is not known"),
            (_, Take::Node(Node::Opaque(_))) => self.depends("the shape of the reader's type is not known"),
            (View::One(id), take) => self.values(Written::Id(id), View::of(bare(self.writer, id)), take),
            (_, Take::Node(Node::Option(inside))) => self.optional(written, view, *inside),
            (View::Node(Node::Option(inside)), take) => self.required(*inside, take),
            (View::Fields(fields), Take::Fields(wanted)) => self.fields(fields, wanted),
            (View::Nothing, Take::Fields(wanted)) => {
                self.adapts();
                self.fields(&[], wanted);
            }
            (View::List(parts), Take::List(wanted, defaults)) => self.lists(parts, wanted, defaults),
            (View::List(parts), Take::Fields(wanted)) => self.list_to_fields(parts, wanted),
            (View::Node(node), Take::List(wanted, _)) => self.elements_to_list(node, wanted, take),
            (View::Node(Node::Map(key, value)), Take::Fields(wanted)) => self.map_to_fields(*key, *value, wanted),
            (View::Node(Node::Seq(element)), Take::Fields(wanted)) => {
                self.depends("a list has to be as long as the struct has fields");
                for field in &wanted.list {
                    self.part(Written::Id(*element), field.node, &field.name);
                }
            }
            (view, Take::Node(node)) => self.plain(view, node),
            (View::Node(Node::Enum(_, variants)), Take::Fields(_)) if variants.iter().any(holds) => {
                self.depends("an enum is read as a map of one entry");
            }
            (view, take) => self.mismatch(view, take),
        }
    }

    fn mismatch(&mut self, view: View<'a>, take: Take<'a>) {
        self.never(&format!("{}, where {} is expected", view.name(), take.name()));
    }

    fn optional(&mut self, written: Written<'a>, view: View<'a>, wanted: Id) {
        match view {
            View::Node(Node::Option(inside)) => {
                self.outcome.combine = Combine::Maybe;
                self.part(Written::Id(*inside), wanted, "");
            }
            View::Node(Node::Unit | Node::UnitStruct(_)) | View::Nothing => self.adapts(),
            _ => {
                self.adapts();
                self.part(written, wanted, "");
            }
        }
    }

    /// An option of the writer's, for what the reader needs.
    fn required(&mut self, mut inside: Id, take: Take<'a>) {
        // A stranger's options may be endless.
        for _ in 0..self.writer.len() {
            match bare(self.writer, inside) {
                Node::Option(id) => inside = *id,
                _ => break,
            }
        }
        let node = bare(self.writer, inside);
        match (node, take) {
            (Node::Option(_), _) => self.never("options in options without end"),
            (Node::Unit | Node::UnitStruct(_), Take::Node(Node::Unit | Node::UnitStruct(_))) => self.adapts(),
            (_, Take::Node(Node::Unit | Node::UnitStruct(_))) => self.depends("a value, where nothing is expected"),
            _ => {
                self.depends("it may be nothing, and the reader needs it");
                self.values(Written::Id(inside), View::of(node), take);
            }
        }
    }

    /// Fields go by names.
    fn fields(&mut self, written: &'a [Field], wanted: &'a Fields) {
        let mut found = vec![false; wanted.list.len()];
        for field in written {
            let known = |name: &String| wanted.list.iter().position(|wanted| wanted.name == *name || wanted.aliases.contains(name));
            let at = known(&field.name).or_else(|| field.aliases.iter().find_map(known));
            match at {
                Some(at) if found[at] => self.never(&format!("field {} is there twice, by two of its names", wanted.list[at].name)),
                Some(at) => {
                    found[at] = true;
                    self.part(Written::Id(field.node), wanted.list[at].node, &field.name);
                }
                None if wanted.strict => self.never(&format!("unknown field {}, and the reader is strict", field.name)),
                None => self.adapts(),
            }
        }
        for (field, found) in wanted.list.iter().zip(found) {
            if !found && !field.optional {
                let path = joined(self.path, &field.name);
                self.outcome.notes.push((Level::Never, format!("{path}: missing, and the reader has no default")));
            }
        }
        if !written.iter().map(|field| &field.name).eq(wanted.list.iter().map(|field| &field.name)) {
            self.adapts();
        }
    }

    fn lists(&mut self, written: &'a [Id], wanted: &'a [Id], defaults: bool) {
        for (at, (written, wanted)) in written.iter().zip(wanted).enumerate() {
            self.part(Written::Id(*written), *wanted, &format!("[{at}]"));
        }
        match wanted.len().checked_sub(written.len()) {
            Some(0) => {}
            Some(missing) if defaults => self.depends(&format!("{missing} parts are missing, which may have defaults")),
            Some(missing) => self.never(&format!("{missing} parts are missing")),
            None => self.adapts(),
        }
    }

    fn list_to_fields(&mut self, written: &'a [Id], wanted: &'a Fields) {
        self.adapts();
        for (written, wanted) in written.iter().zip(&wanted.list) {
            self.part(Written::Id(*written), wanted.node, &wanted.name);
        }
        let missing = wanted.list.get(written.len()..).unwrap_or_default();
        if missing.iter().any(|field| !field.optional) {
            self.never(&format!("{} parts are missing", missing.len()));
        } else if !missing.is_empty() {
            self.depends(&format!("{} parts are missing, which may have defaults", missing.len()));
        }
    }

    fn elements_to_list(&mut self, node: &'a Node, wanted: &'a [Id], take: Take<'a>) {
        let element = match node {
            Node::Seq(element) => Written::Id(*element),
            Node::Bytes => Written::Byte,
            _ => return self.mismatch(View::Node(node), take),
        };
        self.depends(&format!("a list may not have {} elements", wanted.len()));
        for (at, wanted) in wanted.iter().enumerate() {
            self.part(element, *wanted, &format!("[{at}]"));
        }
    }

    fn map_to_fields(&mut self, key: Id, value: Id, wanted: &'a Fields) {
        self.adapts();
        if !matches!(bare(self.writer, key), Node::Str | Node::Char | Node::Enum(..)) {
            let required = wanted.list.iter().any(|field| !field.optional);
            return if required { self.never("the keys are no names") } else { self.depends("the keys are no names") };
        }
        if wanted.strict {
            self.depends("keys may be unknown, and the reader is strict");
        }
        for field in &wanted.list {
            if field.optional {
                self.part_maybe(Written::Id(value), field.node, &field.name);
            } else {
                self.depends(&format!("{} may be missing, and the reader has no default", field.name));
                self.part(Written::Id(value), field.node, &field.name);
            }
        }
    }

    /// To what is neither a struct nor a tuple nor an option.
    fn plain(&mut self, view: View<'a>, wanted: &'a Node) {
        match (view, wanted) {
            (View::Node(written), wanted) if number(written).is_some() => self.numbers(written, wanted),
            (View::Node(Node::Bool), Node::Bool)
            | (View::Node(Node::Char), Node::Char)
            | (View::Node(Node::Str), Node::Str)
            | (View::Node(Node::Bytes), Node::Bytes)
            | (View::Node(Node::Unit), Node::Unit)
            | (View::Node(Node::UnitStruct(_)), Node::UnitStruct(_)) => {}
            (View::Node(Node::Unit | Node::UnitStruct(_)) | View::Nothing, Node::Unit | Node::UnitStruct(_))
            | (View::Node(Node::Char), Node::Str)
            | (View::Name(_), Node::Str)
            | (View::Nothing, Node::Map(..)) => self.adapts(),
            (View::Node(Node::Str), Node::Char) => self.depends("a string may not be one character"),
            (View::Node(Node::Str | Node::Char), Node::Enum(_, variants)) => {
                if variants.iter().any(taken_empty) {
                    self.depends("a string may not be the name of a variant that holds nothing");
                } else {
                    self.never("no variant holds nothing");
                }
            }
            (View::Name(name), Node::Enum(_, variants)) => {
                let known = variants.iter().find(|variant| is_called(variant, name)).or_else(|| variants.iter().find(|variant| variant.other));
                match known {
                    Some(variant) if taken_empty(variant) => self.adapts(),
                    _ => self.never(&format!("unknown variant {name}, expected {}", names(variants))),
                }
            }
            (View::Node(Node::Str), Node::Bytes) => self.depends("the reader may not take a string for bytes"),
            (View::Node(Node::Seq(element)), Node::Bytes) => {
                self.adapts();
                if !matches!(bare(self.writer, *element), Node::U8) {
                    self.depends("the reader may not take a list for bytes");
                }
            }
            (View::List(parts), Node::Bytes) => {
                self.adapts();
                if !parts.iter().all(|part| matches!(bare(self.writer, *part), Node::U8)) {
                    self.depends("the reader may not take a tuple for bytes");
                }
            }
            (View::Node(Node::Seq(element)), Node::Seq(wanted)) => {
                self.outcome.combine = Combine::Maybe;
                self.part(Written::Id(*element), *wanted, "[]");
            }
            (View::Node(Node::Bytes), Node::Seq(wanted)) => {
                self.adapts();
                self.outcome.combine = Combine::Maybe;
                self.part(Written::Byte, *wanted, "[]");
            }
            (View::List(parts), Node::Seq(wanted)) => {
                self.adapts();
                for (at, part) in parts.iter().enumerate() {
                    self.part(Written::Id(*part), *wanted, &format!("[{at}]"));
                }
            }
            (View::Node(Node::Map(key, value)), Node::Map(wanted_key, wanted_value)) => {
                self.outcome.combine = Combine::Maybe;
                self.part(Written::Id(*key), *wanted_key, "[key]");
                self.part(Written::Id(*value), *wanted_value, "[]");
            }
            (View::Fields(fields), Node::Map(key, value)) => {
                self.adapts();
                for field in fields {
                    self.part(Written::Name(&field.name), *key, "[key]");
                    self.part(Written::Id(field.node), *value, &field.name);
                }
            }
            (View::Node(Node::Enum(_, written)), Node::Enum(_, wanted)) => self.variants(written, wanted),
            (View::Node(Node::Enum(_, written)), Node::Str | Node::Bytes | Node::Char) => self.variants_to_text(written, wanted),
            (View::Node(Node::Enum(_, written)), Node::Map(..)) if written.iter().any(holds) => self.depends("an enum is read as a map of one entry"),
            (view, wanted) => self.mismatch(view, Take::Node(wanted)),
        }
    }

    fn numbers(&mut self, written: &'a Node, wanted: &'a Node) {
        let (Some(from), Some(to)) = (number(written), number(wanted)) else { return self.mismatch(View::Node(written), Take::Node(wanted)) };
        match (from, to) {
            (Number::Float(from), Number::Float(to)) if from == to => {}
            (Number::Float(_), Number::Float(_)) => self.adapts(),
            (Number::Float(_), Number::Integer { .. }) => self.never(&format!("{}, where {} is expected", name(written), name(wanted))),
            // The visitors of floats know no wider ones.
            (Number::Integer { bits: 128, .. }, Number::Float(_)) => self.depends(&format!("{} may not fit {}", name(written), name(wanted))),
            (Number::Integer { .. }, Number::Float(_)) => self.adapts(),
            (Number::Integer { signed, bits }, Number::Integer { signed: to_signed, bits: to_bits }) => {
                let fits = if signed == to_signed { bits <= to_bits } else { to_signed && bits < to_bits };
                if !fits {
                    self.depends(&format!("{} may not fit {}", name(written), name(wanted)));
                } else if (signed, bits) != (to_signed, to_bits) {
                    self.adapts();
                }
            }
        }
    }

    fn variants_to_text(&mut self, written: &'a [Variant], wanted: &Node) {
        self.adapts();
        let reads = |variant: &Variant| !holds(variant) && !matches!(wanted, Node::Char if variant.name.chars().count() != 1);
        let refused: Vec<_> = written.iter().filter(|variant| !reads(variant)).map(|variant| variant.name.as_str()).collect();
        if refused.len() == written.len() {
            self.never(&format!("an enum, where {} is expected", name(wanted)));
        } else if !refused.is_empty() {
            self.depends(&format!("{} is expected, which {} cannot be", name(wanted), refused.join(", ")));
        } else if matches!(wanted, Node::Bytes) {
            self.depends("the reader may not take a string for bytes");
        }
    }

    fn variants(&mut self, written: &'a [Variant], wanted: &'a [Variant]) {
        self.outcome.combine = Combine::One;
        if !written.iter().map(|variant| &variant.name).eq(wanted.iter().map(|variant| &variant.name)) {
            self.adapts();
        }
        let mut unknown = 0;
        for variant in written {
            let known = |name: &String| wanted.iter().find(|wanted| is_called(wanted, name));
            let found = known(&variant.name).or_else(|| variant.aliases.iter().find_map(known)).or_else(|| wanted.iter().find(|wanted| wanted.other));
            match found {
                Some(wanted) => self.outcome.parts.push(Parts {
                    written: Written::Variant(variant),
                    wanted: Wanted::Variant(wanted),
                    path: joined(self.path, &variant.name),
                    maybe: false,
                }),
                // A stranger's enum may have tens of thousands, and ours hundreds: nobody reads as many reasons.
                None if unknown >= REASONS => unknown += 1,
                None => {
                    unknown += 1;
                    let reason =
                        format!("when {} is {name}: unknown variant {name}, expected {}", place(self.path), names(wanted), name = variant.name);
                    self.outcome.notes.push((Level::Depends, reason));
                }
            }
        }
        if unknown == written.len() && unknown != 0 {
            self.never("the reader knows none of the variants");
        }
    }

    fn variant(&mut self, written: &'a Variant, wanted: &'a Variant) {
        match (&written.shape, &wanted.shape) {
            (Shape::Unknown, Shape::Unknown) => self.outcome.opaque = true,
            (Shape::Unknown, _) | (_, Shape::Unknown) => self.never("what the variant holds is not known"),
            (Shape::Unit, Shape::Unit) => {}
            // What it holds is dropped, as a field would be.
            (_, Shape::Unit) => self.adapts(),
            (Shape::Newtype(id), Shape::Newtype(wanted)) => self.part(Written::Id(*id), *wanted, ""),
            (_, Shape::Newtype(wanted)) => {
                self.adapts();
                self.part(Written::Variant(written), *wanted, "");
            }
            (Shape::Tuple(parts), Shape::Tuple(wanted)) => self.lists(parts, wanted, true),
            (Shape::Newtype(id), Shape::Tuple(wanted)) => {
                self.adapts();
                match bare(self.writer, *id) {
                    node @ (Node::Tuple(_) | Node::TupleStruct(..) | Node::Seq(_) | Node::Bytes) => {
                        self.values(Written::Id(*id), View::of(node), Take::List(wanted, true));
                    }
                    _ => self.lists(std::slice::from_ref(id), wanted, true),
                }
            }
            (Shape::Unit | Shape::Struct(_), Shape::Tuple(wanted)) => self.mismatch(View::inside(&written.shape), Take::List(wanted, true)),
            (shape, Shape::Struct(wanted)) => {
                if !matches!(shape, Shape::Struct(_)) {
                    self.adapts();
                }
                self.values(Written::Variant(written), View::inside(shape), Take::Fields(wanted));
            }
        }
    }
}

/// A place in a place.
fn joined(path: &str, step: &str) -> String {
    match step {
        "" => path.to_owned(),
        step if path.is_empty() || step.starts_with('[') => format!("{path}{step}"),
        step => format!("{path}.{step}"),
    }
}

fn holds(variant: &Variant) -> bool {
    !matches!(variant.shape, Shape::Unit)
}

fn is_called(variant: &Variant, name: &str) -> bool {
    variant.name == name || variant.aliases.iter().any(|alias| alias == name)
}

/// It can be read from nothing but its name.
fn taken_empty(variant: &Variant) -> bool {
    match &variant.shape {
        Shape::Unit => true,
        Shape::Struct(fields) => fields.list.iter().all(|field| field.optional),
        _ => false,
    }
}

fn names(variants: &[Variant]) -> String {
    let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

enum Number {
    Float(u32),
    Integer { signed: bool, bits: u32 },
}

fn number(node: &Node) -> Option<Number> {
    let integer = |signed, bits| Some(Number::Integer { signed, bits });
    match node {
        Node::I8 => integer(true, 8),
        Node::I16 => integer(true, 16),
        Node::I32 => integer(true, 32),
        Node::I64 => integer(true, 64),
        Node::I128 => integer(true, 128),
        Node::U8 => integer(false, 8),
        Node::U16 => integer(false, 16),
        Node::U32 => integer(false, 32),
        Node::U64 => integer(false, 64),
        Node::U128 => integer(false, 128),
        Node::F32 => Some(Number::Float(32)),
        Node::F64 => Some(Number::Float(64)),
        _ => None,
    }
}

fn name(node: &Node) -> &str {
    match node {
        Node::Unit | Node::UnitStruct(_) => "a unit",
        Node::Bool => "bool",
        Node::I8 => "i8",
        Node::I16 => "i16",
        Node::I32 => "i32",
        Node::I64 => "i64",
        Node::I128 => "i128",
        Node::U8 => "u8",
        Node::U16 => "u16",
        Node::U32 => "u32",
        Node::U64 => "u64",
        Node::U128 => "u128",
        Node::F32 => "f32",
        Node::F64 => "f64",
        Node::Char => "char",
        Node::Str => "a string",
        Node::Bytes => "bytes",
        Node::Option(_) => "an option",
        Node::Seq(_) => "a list",
        Node::Map(..) => "a map",
        Node::Tuple(_) | Node::TupleStruct(..) => "a tuple",
        Node::Struct(..) => "a struct",
        Node::Enum(..) => "an enum",
        Node::Newtype(..) | Node::Logical(..) | Node::Opaque(_) => "a type of unknown shape",
    }
}
