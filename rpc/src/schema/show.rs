//! Types as Rust text, for people: `Vec<Line>`, and what `Line` is.
//!
//! Not read back by anything. Names of fields and variants are those of the wire, and of types those that their authors gave
//! them; two types of one name are told apart by a number. A table may be a stranger's (`rpc describe`, a lock file): whatever
//! its names hold, what comes out is printable, and of bounded length. Traits are written by `reflection/text.rs`.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::node::{Field, Fields, Id, Node, Shape, Variant};

#[cfg(test)]
mod tests;

/// Types nest no deeper in one text, and a text grows no longer: types that refer to one another only through types without
/// names would go on for ever.
const DEPTH: usize = 32;
const LONGEST: usize = 1_000;
/// All definitions together.
const LONGEST_DEFINITIONS: usize = 1 << 20;

/// What is left out reads so.
const CUT: &str = "..";

/// Arrays are tuples to serde: from this length on, a tuple of one type is shown as an array.
const ARRAY: usize = 3;

/// Names that mean something else in a text than a user's type.
const TAKEN: &[&str] = &["Bytes", "Map", "Option", "Result", "Stream", "Streaming", "String", "Vec", "bool", "char", "str"];

/// A table of nodes with a name for each type that has one.
pub(crate) struct Show<'a> {
    nodes: &'a [Node],
    /// In the order of the nodes; the index of the node that carries the name, for a type that only checks another.
    names: Vec<Option<(Id, String)>>,
}

impl<'a> Show<'a> {
    pub(crate) fn new(nodes: &'a [Node]) -> Self {
        let mut taken = Taken::default();
        let mut names: Vec<_> = (0..).zip(nodes).map(|(id, node)| type_name(nodes, node).map(|name| (id, taken.take(name)))).collect();
        for (id, node) in nodes.iter().enumerate() {
            if let Node::Logical(_, inner) = node
                && names[id].is_none()
            {
                names[id] = names.get(*inner as usize).cloned().flatten();
            }
        }
        Self { nodes, names }
    }

    /// The type as it is written where it is used.
    pub(crate) fn inline(&self, id: Id) -> String {
        self.text(id, &mut Mentioned::default())
    }

    /// What the types of these roots are, in the order in which a reader meets their names.
    pub(crate) fn definitions(&self, roots: impl IntoIterator<Item = Id>) -> String {
        let (mut mentioned, mut out) = (Mentioned::default(), String::new());
        for root in roots {
            self.text(root, &mut mentioned);
        }
        let mut next = 0;
        while let Some(id) = mentioned.order.get(next).copied() {
            next += 1;
            if !out.is_empty() {
                out.push('\n');
            }
            if out.len() > LONGEST_DEFINITIONS {
                out.push_str("// and more types\n");
                break;
            }
            self.define(id, &mut mentioned, &mut out);
        }
        out
    }

    fn text(&self, id: Id, mentioned: &mut Mentioned) -> String {
        let mut out = String::new();
        self.mention(id, 0, mentioned, &mut out);
        out
    }

    fn mention(&self, id: Id, depth: usize, mentioned: &mut Mentioned, out: &mut String) {
        if depth > DEPTH || out.len() > LONGEST {
            return out.push_str(CUT);
        }
        let Some(node) = self.nodes.get(id as usize) else { return out.push_str(CUT) };
        if let Some((id, name)) = &self.names[id as usize] {
            mentioned.note(*id);
            return out.push_str(name);
        }
        let mut list = |open: &str, parts: &[Id], close: &str| {
            out.push_str(open);
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                if out.len() > LONGEST {
                    out.push_str(CUT);
                    break;
                }
                self.mention(*part, depth + 1, mentioned, out);
            }
            out.push_str(close);
        };
        match node {
            Node::Option(part) => list("Option<", &[*part], ">"),
            Node::Seq(part) => list("Vec<", &[*part], ">"),
            Node::Map(key, value) => list("Map<", &[*key, *value], ">"),
            Node::Tuple(parts) => match parts.as_slice() {
                [one] => list("(", &[*one], ",)"),
                [first, rest @ ..] if parts.len() >= ARRAY && rest.iter().all(|part| part == first) => {
                    list("[", &[*first], &format!("; {}]", parts.len()));
                }
                parts => list("(", parts, ")"),
            },
            Node::Enum(_, variants) => match result_of(node) {
                Some((ok, error)) => list("Result<", &[ok, error], ">"),
                None => {
                    debug_assert!(variants.is_empty(), "an enum has a name");
                    list("", &[], CUT);
                }
            },
            // One that has no name here goes by that of the type in it, which has one.
            Node::Logical(_, inner) => list("", &[*inner], ""),
            leaf => out.push_str(leaf_name(leaf)),
        }
    }

    fn define(&self, id: Id, mentioned: &mut Mentioned, out: &mut String) {
        let (Some(node), Some((_, name))) = (self.nodes.get(id as usize), &self.names[id as usize]) else { return };
        match node {
            Node::UnitStruct(_) => line(out, format_args!("struct {name};")),
            Node::Newtype(_, part) => line(out, format_args!("struct {name}({});", self.text(*part, mentioned))),
            Node::TupleStruct(_, parts) => line(out, format_args!("struct {name}({});", self.texts(parts, mentioned))),
            Node::Struct(_, fields) => {
                if fields.strict {
                    out.push_str("#[serde(deny_unknown_fields)]\n");
                }
                if fields.list.is_empty() {
                    return line(out, format_args!("struct {name} {{}}"));
                }
                line(out, format_args!("struct {name} {{"));
                for field in &fields.list {
                    if out.len() > LONGEST_DEFINITIONS {
                        out.push_str("    // and more fields\n");
                        break;
                    }
                    self.field(field, mentioned, out);
                }
                out.push_str("}\n");
            }
            Node::Enum(_, variants) if variants.is_empty() => line(out, format_args!("enum {name} {{}}")),
            Node::Enum(_, variants) => {
                line(out, format_args!("enum {name} {{"));
                for variant in variants {
                    if out.len() > LONGEST_DEFINITIONS {
                        out.push_str("    // and more variants\n");
                        break;
                    }
                    self.variant(variant, mentioned, out);
                }
                out.push_str("}\n");
            }
            Node::Logical(path, inner) => {
                line(out, format_args!("/// {}, which may ask for more than this.", printable(path)));
                line(out, format_args!("type {name} = {};", self.text(*inner, mentioned)));
            }
            Node::Opaque(why) => {
                line(out, format_args!("/// {}", printable(why)));
                line(out, format_args!("struct {name} {{ .. }}"));
            }
            _ => {}
        }
    }

    fn field(&self, field: &Field, mentioned: &mut Mentioned, out: &mut String) {
        let is_option = matches!(self.nodes.get(field.node as usize), Some(Node::Option(_)));
        let name = Name::field(&field.name);
        attributes(out, &name, &field.aliases, (field.optional && !is_option).then_some("default"));
        let comment = if is_option && !field.optional { " // has to be there" } else { "" };
        line(out, format_args!("    {}: {},{comment}", name.identifier, self.text(field.node, mentioned)));
    }

    fn variant(&self, variant: &Variant, mentioned: &mut Mentioned, out: &mut String) {
        let name = Name::variant(&variant.name);
        attributes(out, &name, &variant.aliases, variant.other.then_some("other"));
        let name = &name.identifier;
        match &variant.shape {
            Shape::Unit => line(out, format_args!("    {name},")),
            Shape::Newtype(part) => line(out, format_args!("    {name}({}),", self.text(*part, mentioned))),
            Shape::Tuple(parts) => line(out, format_args!("    {name}({}),", self.texts(parts, mentioned))),
            Shape::Struct(fields) => self.struct_variant(name, fields, mentioned, out),
            Shape::Unknown => line(out, format_args!("    {name}, // what it holds is not known")),
        }
    }

    /// On one line if that is short and says it all.
    fn struct_variant(&self, name: &str, fields: &Fields, mentioned: &mut Mentioned, out: &mut String) {
        let mut inside = String::new();
        for field in &fields.list {
            if inside.len() + out.len() > LONGEST_DEFINITIONS {
                inside.push_str("    // and more fields\n");
                break;
            }
            self.field(field, mentioned, &mut inside);
        }
        let plain = !inside.contains("#[") && !inside.contains("//");
        let short = inside.trim_end().trim_end_matches(',').split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
        if fields.strict {
            out.push_str("    // takes no other fields\n");
        }
        if fields.list.is_empty() {
            line(out, format_args!("    {name} {{}},"));
        } else if plain && short.len() <= 100 {
            line(out, format_args!("    {name} {{ {short} }},"));
        } else {
            line(out, format_args!("    {name} {{"));
            for inner in inside.lines() {
                line(out, format_args!("    {inner}"));
            }
            out.push_str("    },\n");
        }
    }

    fn texts(&self, parts: &[Id], mentioned: &mut Mentioned) -> String {
        let mut out = String::new();
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            if out.len() > LONGEST {
                out.push_str(CUT);
                break;
            }
            self.mention(*part, 1, mentioned, &mut out);
        }
        out
    }
}

/// The names given so far.
struct Taken(HashMap<String, u32>);

impl Default for Taken {
    fn default() -> Self {
        Self(TAKEN.iter().map(|name| ((*name).to_owned(), 1)).collect())
    }
}

impl Taken {
    /// The name, or the first free one of `Name2`, `Name3`.
    fn take(&mut self, name: String) -> String {
        let Some(mut last) = self.0.get(&name).copied() else {
            self.0.insert(name.clone(), 1);
            return name;
        };
        let free = loop {
            last += 1;
            let free = format!("{name}{last}");
            if !self.0.contains_key(&free) {
                break free;
            }
        };
        self.0.insert(name, last);
        self.0.insert(free.clone(), 1);
        free
    }
}

/// The named types of a text, as its reader meets them.
#[derive(Default)]
struct Mentioned {
    order: Vec<Id>,
    known: HashSet<Id>,
}

impl Mentioned {
    fn note(&mut self, id: Id) {
        if self.known.insert(id) {
            self.order.push(id);
        }
    }
}

/// A name of the wire in Rust.
pub(crate) struct Name<'a> {
    pub(crate) identifier: String,
    /// The wire's, if the identifier is another.
    pub(crate) renamed: Option<&'a str>,
}

impl<'a> Name<'a> {
    /// Of a field, an argument or a method.
    pub(crate) fn field(name: &'a str) -> Self {
        Self::new(name, || name.to_owned())
    }

    /// Of a variant or a trait: `payment.captured` becomes `PaymentCaptured`.
    pub(crate) fn variant(name: &'a str) -> Self {
        Self::new(name, || {
            let words = name.split(|c: char| !c.is_alphanumeric());
            words.map(capitalized).collect()
        })
    }

    fn new(name: &'a str, otherwise: impl FnOnce() -> String) -> Self {
        if is_identifier(name) {
            return match name {
                // No keyword is raw that has a meaning inside paths.
                "self" | "Self" | "super" | "crate" | "_" => Self { identifier: format!("{name}_"), renamed: Some(name) },
                _ if is_keyword(name) => Self { identifier: format!("r#{name}"), renamed: None },
                _ => Self { identifier: name.to_owned(), renamed: None },
            };
        }
        Self { identifier: identifier(&otherwise()), renamed: Some(name) }
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The text with everything else than a letter, a digit or `_` replaced.
fn identifier(text: &str) -> String {
    let mut out: String = text.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    if !out.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        out.insert(0, '_');
    }
    out
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_') && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn is_keyword(name: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum", "extern", "false", "final",
        "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
        "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
    ];
    KEYWORDS.binary_search(&name).is_ok()
}

/// The text on one line, with everything escaped that a terminal could take for a command or does not show.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

/// What a type goes by, before it is told apart from others of that name. None for types without one.
fn type_name(nodes: &[Node], node: &Node) -> Option<String> {
    let name = match node {
        Node::UnitStruct(name) | Node::Newtype(name, _) | Node::TupleStruct(name, _) | Node::Struct(name, _) => name,
        Node::Enum(name, _) if result_of(node).is_none() => name,
        Node::Logical(path, inner) => {
            let name = last_of_path(path);
            // `Card` that checks a `Card` of its own shape is one type to people.
            return match nodes.get(*inner as usize) {
                Some(inner) if !matches!(inner, Node::Logical(..)) && type_name(nodes, inner).as_ref() == Some(&name) => None,
                _ => Some(name),
            };
        }
        Node::Opaque(_) => return Some("Opaque".to_owned()),
        _ => return None,
    };
    Some(last_of_path(name))
}

/// `core::num::NonZero<u64>` is `NonZero`.
fn last_of_path(path: &str) -> String {
    let plain = path.split('<').next().unwrap_or_default();
    let last = plain.rsplit("::").next().unwrap_or_default();
    Name::variant(last).identifier
}

/// A `Result` inside a type.
fn result_of(node: &Node) -> Option<(Id, Id)> {
    let Node::Enum(name, variants) = node else { return None };
    match variants.as_slice() {
        [ok, error] if name == "Result" && ok.name == "Ok" && error.name == "Err" => match (&ok.shape, &error.shape) {
            (Shape::Newtype(ok), Shape::Newtype(error)) => Some((*ok, *error)),
            _ => None,
        },
        _ => None,
    }
}

fn leaf_name(node: &Node) -> &'static str {
    match node {
        Node::Unit => "()",
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
        Node::Str => "String",
        Node::Bytes => "Bytes",
        _ => CUT,
    }
}

/// `#[serde(rename = "type", alias = "kind", default)]`, if there is anything to say.
fn attributes(out: &mut String, name: &Name<'_>, aliases: &[String], word: Option<&str>) {
    let renamed = name.renamed.map(|name| format!("rename = {name:?}"));
    let aliases = aliases.iter().map(|alias| format!("alias = {alias:?}"));
    let all: Vec<String> = renamed.into_iter().chain(aliases).chain(word.map(str::to_owned)).collect();
    if !all.is_empty() {
        line(out, format_args!("    #[serde({})]", all.join(", ")));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A `String` takes whatever it is given.
    let _ = out.write_fmt(text);
    out.push('\n');
}
