//! The text of a lock file back to a schema. Every error names its line.
//!
//! The file is the user's own, but merged and edited by hand: whatever it holds, reading it ends, and what comes out can be walked.

use std::collections::HashMap;
use std::fmt;

use super::Lock;
use super::text::{LEAVES, is_plain, roots};
use crate::schema::node::{Field, Fields, Id, Node, Schema, Shape, Signature, Variant};

/// Types nest no deeper on one line.
const DEPTH: usize = 64;
/// No array is longer.
const LONGEST_ARRAY: usize = 1 << 16;

/// Reads what [`write`](super::text::write) wrote. Lines that begin with `#` are comments.
///
/// # Errors
/// The number of a line, from 1, and what is wrong there.
pub(super) fn parse(text: &str) -> Result<Lock, Wrong> {
    // Some editors put a byte order mark before everything.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            lines.push(Line { number, tokens: tokens(line).map_err(|text| Wrong { line: number, text })?, at: 0 });
        }
    }
    let last = text.lines().count().max(1);
    let mut parser = Parser { nodes: Vec::new(), labels: HashMap::new(), known: HashMap::new(), line: last };
    parser.declare(&lines)?;
    let (mut service, mut methods) = (None, Vec::<Signature>::new());
    let mut lines = lines.into_iter();
    while let Some(mut line) = lines.next() {
        parser.line = line.number;
        match line.word("`service`, `fn`, `struct`, `enum`, `logical`, `opaque` or `type`").map_err(|text| parser.wrong(text))?.as_str() {
            "service" if service.is_some() => return Err(parser.wrong("a second service")),
            "service" => {
                service = Some(line.name("the name of the service").and_then(|name| line.done().map(|()| name)).map_err(|text| parser.wrong(text))?)
            }
            "fn" => {
                let method = parser.method(&mut line).map_err(|text| parser.wrong(text))?;
                if methods.iter().any(|known| known.name == method.name) {
                    return Err(parser.wrong(format!("a second method {}", method.name)));
                }
                methods.push(method);
            }
            kind => {
                let kind = kind.to_owned();
                parser.definition(&kind, line, &mut lines)?;
            }
        }
    }
    let Some(service) = service else { return Err(Wrong { line: last, text: "no line `service NAME`".to_owned() }) };
    methods.sort_by(|one, other| one.name.cmp(&other.name));
    let schema = in_order(methods, &parser.nodes);
    Ok(Lock { service, schema })
}

/// What is wrong with a text, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) text: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Without quotes.
    Word(String),
    /// In quotes.
    Quoted(String),
    /// Whatever else stands alone.
    Sign(char),
    Arrow,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "`{word}`"),
            Self::Quoted(text) => write!(f, "{text:?}"),
            Self::Sign(sign) => write!(f, "`{sign}`"),
            Self::Arrow => f.write_str("`->`"),
        }
    }
}

fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let next = letters.peek().copied();
        if letter.is_whitespace() {
        } else if letter == '"' {
            tokens.push(Token::Quoted(quoted(&mut letters)?));
        } else if letter == '-' && next == Some('>') {
            letters.next();
            tokens.push(Token::Arrow);
        } else if is_plain(letter, next) {
            let mut word = String::from(letter);
            while let Some(letter) = letters.peek().copied() {
                let mut ahead = letters.clone();
                ahead.next();
                if !is_plain(letter, ahead.peek().copied()) {
                    break;
                }
                word.push(letter);
                letters.next();
            }
            tokens.push(Token::Word(word));
        } else {
            tokens.push(Token::Sign(letter));
        }
    }
    Ok(tokens)
}

/// The rest of a text in quotes, escaped as Rust does.
fn quoted(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, String> {
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Ok(text),
            '\\' => text.push(escaped(letters).ok_or("an escape that is none")?),
            letter => text.push(letter),
        }
    }
    Err("a quote that does not end".to_owned())
}

fn escaped(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match letters.next()? {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        '0' => Some('\0'),
        'u' => {
            letters.next_if_eq(&'{')?;
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_hexdigit) {
                digits.push(digit);
            }
            letters.next_if_eq(&'}')?;
            char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
        }
        same @ ('"' | '\\' | '\'') => Some(same),
        _ => None,
    }
}

/// One line, read from the left.
struct Line {
    number: usize,
    tokens: Vec<Token>,
    at: usize,
}

impl Line {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn expected(&self, what: &str) -> String {
        match self.peek() {
            Some(token) => format!("expected {what}, found {token}"),
            None => format!("expected {what}, found the end of the line"),
        }
    }

    fn sign_follows(&mut self, sign: char) -> bool {
        let follows = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(follows);
        follows
    }

    fn word_follows(&mut self, word: &str) -> bool {
        let follows = matches!(self.peek(), Some(Token::Word(found)) if found == word);
        self.at += usize::from(follows);
        follows
    }

    fn sign(&mut self, sign: char) -> Result<(), String> {
        if self.sign_follows(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    fn word(&mut self, what: &str) -> Result<String, String> {
        match self.peek().cloned() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    fn quoted_follows(&mut self) -> Option<String> {
        let Some(Token::Quoted(text)) = self.peek().cloned() else { return None };
        self.at += 1;
        Some(text)
    }

    /// A name of the wire.
    fn name(&mut self, what: &str) -> Result<String, String> {
        match self.quoted_follows() {
            Some(name) => Ok(name),
            None => self.word(what),
        }
    }

    fn done(&self) -> Result<(), String> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("the end of the line")) }
    }
}

/// What may stand in brackets behind a name, a field or a variant.
#[derive(Default)]
struct Marks {
    words: Vec<String>,
    aliases: Vec<String>,
}

impl Marks {
    /// Those that follow, if any do; each a word that is allowed, or an alias.
    fn read(line: &mut Line, allowed: &[&str], aliases: bool) -> Result<Self, String> {
        let mut marks = Self::default();
        // `{ .. } [strict] [other]`
        while line.sign_follows('[') {
            loop {
                let word = line.word("a mark")?;
                if word == "alias" && aliases {
                    marks.aliases.push(line.name("an alias")?);
                } else if allowed.contains(&word.as_str()) {
                    marks.words.push(word);
                } else {
                    return Err(format!("unknown mark `{word}`"));
                }
                if !line.sign_follows(',') {
                    break;
                }
            }
            line.sign(']')?;
        }
        Ok(marks)
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }
}

struct Parser {
    nodes: Vec<Node>,
    /// The places of the types with definitions.
    labels: HashMap<String, Id>,
    /// The places of those without.
    known: HashMap<Node, Id>,
    /// For errors.
    line: usize,
}

impl Parser {
    fn wrong(&self, text: impl Into<String>) -> Wrong {
        Wrong { line: self.line, text: text.into() }
    }

    /// Gives a place to each type that is defined, for it may be used before.
    fn declare(&mut self, lines: &[Line]) -> Result<(), Wrong> {
        let mut inside = false;
        for line in lines {
            if inside {
                inside = line.tokens != [Token::Sign('}')];
                continue;
            }
            if let [Token::Word(kind), Token::Word(label), ..] = line.tokens.as_slice()
                && matches!(kind.as_str(), "struct" | "enum" | "logical" | "opaque" | "type")
            {
                inside = line.tokens.last() == Some(&Token::Sign('{'));
                let id = self.nodes.len() as Id;
                self.nodes.push(Node::Unit);
                if self.labels.insert(label.clone(), id).is_some() {
                    return Err(Wrong { line: line.number, text: format!("a second definition of `{label}`") });
                }
            }
        }
        Ok(())
    }

    fn method(&mut self, line: &mut Line) -> Result<Signature, String> {
        let name = line.name("the name of a method")?;
        let mut method = Signature { name, arguments: Vec::new(), upload: None, returns: None, error: None, download: None };
        line.sign('(')?;
        while !line.sign_follows(')') {
            let argument = line.name("the name of an argument")?;
            line.sign(':')?;
            if line.word_follows("stream") {
                if method.upload.is_some() {
                    return Err("a second argument that is a stream".to_owned());
                }
                method.upload = Some((argument, self.ty(line, 0)?));
            } else {
                method.arguments.push((argument, self.ty(line, 0)?));
            }
            if !line.sign_follows(',') {
                line.sign(')')?;
                break;
            }
        }
        if line.peek() == Some(&Token::Arrow) {
            line.at += 1;
            if line.word_follows("stream") {
                method.download = Some(self.ty(line, 0)?);
            } else {
                method.returns = Some(self.ty(line, 0)?);
                if line.word_follows("and") {
                    if !line.word_follows("stream") {
                        return Err(line.expected("`stream`"));
                    }
                    method.download = Some(self.ty(line, 0)?);
                }
            }
        }
        if line.word_follows("or") {
            method.error = Some(self.ty(line, 0)?);
        }
        line.done()?;
        Ok(method)
    }

    /// A definition, whose head is `line` and whose body are the next ones.
    fn definition(&mut self, kind: &str, mut line: Line, lines: &mut impl Iterator<Item = Line>) -> Result<(), Wrong> {
        let head = self.head(kind, &mut line).map_err(|text| self.wrong(text))?;
        let (id, body) = head;
        let node = match body {
            Body::Whole(node) => node,
            Body::Struct(name, strict) => {
                let mut list = Vec::new();
                self.body(lines, |parser, line| {
                    list.push(parser.field(line)?);
                    Ok(())
                })?;
                Node::Struct(name, Fields { list, strict })
            }
            Body::Enum(name) => {
                let mut variants = Vec::new();
                self.body(lines, |parser, line| {
                    variants.push(parser.variant(line)?);
                    Ok(())
                })?;
                Node::Enum(name, variants)
            }
        };
        self.nodes[id as usize] = node;
        Ok(())
    }

    fn body(
        &mut self,
        lines: &mut impl Iterator<Item = Line>,
        mut each: impl FnMut(&mut Self, &mut Line) -> Result<(), String>,
    ) -> Result<(), Wrong> {
        for mut line in lines {
            self.line = line.number;
            if line.tokens == [Token::Sign('}')] {
                return Ok(());
            }
            each(self, &mut line).and_then(|()| line.done()).map_err(|text| self.wrong(text))?;
        }
        Err(self.wrong("expected `}`, found the end of the file"))
    }

    fn head(&mut self, kind: &str, line: &mut Line) -> Result<(Id, Body), String> {
        if !matches!(kind, "struct" | "enum" | "logical" | "opaque" | "type") {
            return Err(format!("expected `service`, `fn`, `struct`, `enum`, `logical`, `opaque` or `type`, found `{kind}`"));
        }
        let label = line.word("the name of a type")?;
        let id = self.labels.get(&label).copied().ok_or_else(|| format!("`{label}` begins inside another type"))?;
        let quoted = line.quoted_follows();
        let name = quoted.clone().unwrap_or_else(|| label.clone());
        let body = match kind {
            "logical" => {
                line.sign('=')?;
                Body::Whole(Node::Logical(quoted.ok_or("expected the path of the type, in quotes")?, self.ty(line, 0)?))
            }
            "opaque" => Body::Whole(Node::Opaque(quoted.ok_or("expected the reason, in quotes")?)),
            "type" => {
                line.sign('=')?;
                Body::Whole(self.node(line, 0)?)
            }
            "enum" => {
                line.sign('{')?;
                Body::Enum(name)
            }
            _ => self.structure(name, line)?,
        };
        line.done()?;
        Ok((id, body))
    }

    fn structure(&mut self, name: String, line: &mut Line) -> Result<Body, String> {
        if line.sign_follows('(') {
            return Ok(Body::Whole(match self.parts(line, 0)? {
                Parts::One(part) => Node::Newtype(name, part),
                Parts::Several(parts) => Node::TupleStruct(name, parts),
                Parts::Nothing => return Err("expected a type, found `)`".to_owned()),
            }));
        }
        let marks = Marks::read(line, &["strict"], false)?;
        if line.sign_follows('{') {
            return Ok(Body::Struct(name, marks.has("strict")));
        }
        if marks.has("strict") {
            return Err(line.expected("`{`"));
        }
        Ok(Body::Whole(Node::UnitStruct(name)))
    }

    fn field(&mut self, line: &mut Line) -> Result<Field, String> {
        let name = line.name("the name of a field")?;
        line.sign(':')?;
        let node = self.ty(line, 0)?;
        let marks = Marks::read(line, &["default", "required"], true)?;
        // As it is written here: what a definition says may not have been read yet.
        let is_option = node as usize >= self.labels.len() && matches!(self.nodes[node as usize], Node::Option(_));
        let optional = marks.has("default") || (is_option && !marks.has("required"));
        Ok(Field { name, aliases: marks.aliases, optional, node })
    }

    fn variant(&mut self, line: &mut Line) -> Result<Variant, String> {
        let name = line.name("the name of a variant")?;
        let mut shape = if line.sign_follows('(') {
            match self.parts(line, 0)? {
                Parts::One(part) => Shape::Newtype(part),
                Parts::Several(parts) => Shape::Tuple(parts),
                Parts::Nothing => return Err("expected a type, found `)`".to_owned()),
            }
        } else if line.sign_follows('{') {
            let mut list = Vec::new();
            while !line.sign_follows('}') {
                list.push(self.field(line)?);
                if !line.sign_follows(',') {
                    line.sign('}')?;
                    break;
                }
            }
            Shape::Struct(Fields { list, strict: false })
        } else if line.sign_follows('?') {
            Shape::Unknown
        } else {
            Shape::Unit
        };
        let marks = Marks::read(line, &["other", "strict"], true)?;
        match &mut shape {
            Shape::Struct(fields) => fields.strict = marks.has("strict"),
            _ if marks.has("strict") => return Err("only what has fields is strict".to_owned()),
            _ => {}
        }
        let other = marks.has("other");
        Ok(Variant { name, aliases: marks.aliases, other, shape })
    }

    /// A type where it is used.
    fn ty(&mut self, line: &mut Line, depth: usize) -> Result<Id, String> {
        if let Some(Token::Word(word)) = line.peek()
            && let Some(id) = self.labels.get(word)
        {
            line.at += 1;
            return Ok(*id);
        }
        let node = self.node(line, depth)?;
        if let Some(id) = self.known.get(&node) {
            return Ok(*id);
        }
        let id = self.nodes.len() as Id;
        self.known.insert(node.clone(), id);
        self.nodes.push(node);
        Ok(id)
    }

    /// A type that is written where it is used.
    fn node(&mut self, line: &mut Line, depth: usize) -> Result<Node, String> {
        if depth > DEPTH {
            return Err(format!("types nested deeper than {DEPTH}"));
        }
        if line.sign_follows('(') {
            return match self.parts(line, depth + 1)? {
                Parts::Nothing => Ok(Node::Unit),
                Parts::Several(parts) => Ok(Node::Tuple(parts)),
                Parts::One(_) => Err("a tuple of one type ends in a comma: `(T,)`".to_owned()),
            };
        }
        if line.sign_follows('[') {
            let part = self.ty(line, depth + 1)?;
            line.sign(';')?;
            let length = line.word("a length")?;
            let length =
                length.parse().ok().filter(|length| *length <= LONGEST_ARRAY).ok_or_else(|| format!("`{length}` is no length of an array"))?;
            line.sign(']')?;
            return Ok(Node::Tuple(vec![part; length]));
        }
        let expected = line.expected("a type");
        let word = line.word("a type")?;
        let mut inside = |count: usize| -> Result<Vec<Id>, String> {
            line.sign('<')?;
            let mut parts = vec![self.ty(line, depth + 1)?];
            while parts.len() < count {
                line.sign(',')?;
                parts.push(self.ty(line, depth + 1)?);
            }
            line.sign('>')?;
            Ok(parts)
        };
        match word.as_str() {
            "Option" => Ok(Node::Option(inside(1)?[0])),
            "Vec" => Ok(Node::Seq(inside(1)?[0])),
            "Map" => inside(2).map(|parts| Node::Map(parts[0], parts[1])),
            "Result" => inside(2).map(|parts| result(parts[0], parts[1])),
            word => LEAVES.iter().find(|(name, _)| *name == word).map(|(_, leaf)| leaf.clone()).ok_or(expected),
        }
    }

    /// What follows an opening parenthesis.
    fn parts(&mut self, line: &mut Line, depth: usize) -> Result<Parts, String> {
        if line.sign_follows(')') {
            return Ok(Parts::Nothing);
        }
        if line.sign_follows(',') {
            line.sign(')')?;
            return Ok(Parts::Several(Vec::new()));
        }
        let mut parts = vec![self.ty(line, depth)?];
        let mut comma = false;
        while line.sign_follows(',') {
            comma = true;
            if line.peek() == Some(&Token::Sign(')')) {
                break;
            }
            parts.push(self.ty(line, depth)?);
        }
        line.sign(')')?;
        Ok(if comma { Parts::Several(parts) } else { Parts::One(parts[0]) })
    }
}

enum Body {
    Whole(Node),
    Struct(String, bool),
    Enum(String),
}

enum Parts {
    Nothing,
    One(Id),
    Several(Vec<Id>),
}

fn result(ok: Id, error: Id) -> Node {
    let variant = |name: &str, part| Variant { name: name.to_owned(), aliases: Vec::new(), other: false, shape: Shape::Newtype(part) };
    Node::Enum("Result".to_owned(), vec![variant("Ok", ok), variant("Err", error)])
}

/// The nodes that the methods use, in the order in which a walk meets them.
pub(super) fn in_order(mut methods: Vec<Signature>, nodes: &[Node]) -> Schema {
    let mut places = HashMap::new();
    let mut order = Vec::new();
    let mut waiting: Vec<Id> = methods.iter().flat_map(roots).collect();
    waiting.reverse();
    while let Some(id) = waiting.pop() {
        if places.contains_key(&id) {
            continue;
        }
        places.insert(id, order.len() as Id);
        order.push(id);
        let before = waiting.len();
        nodes[id as usize].each_part(|part| waiting.push(part));
        waiting[before..].reverse();
    }
    let place = |id: &mut Id| *id = places[id];
    for method in &mut methods {
        let arguments = method.arguments.iter_mut().map(|(_, id)| id);
        let upload = method.upload.as_mut().map(|(_, id)| id);
        arguments.chain(upload).chain(&mut method.returns).chain(&mut method.error).chain(&mut method.download).for_each(place);
    }
    let mut nodes: Vec<_> = order.iter().map(|id| nodes[*id as usize].clone()).collect();
    for node in &mut nodes {
        each_part_mut(node, place);
    }
    Schema { methods, nodes }
}

fn each_part_mut(node: &mut Node, mut visit: impl FnMut(&mut Id)) {
    let of_fields = |fields: &mut Fields, visit: &mut dyn FnMut(&mut Id)| fields.list.iter_mut().for_each(|field| visit(&mut field.node));
    match node {
        Node::Option(part) | Node::Seq(part) | Node::Newtype(_, part) | Node::Logical(_, part) => visit(part),
        Node::Map(key, value) => {
            visit(key);
            visit(value);
        }
        Node::Tuple(parts) | Node::TupleStruct(_, parts) => parts.iter_mut().for_each(visit),
        Node::Struct(_, fields) => of_fields(fields, &mut visit),
        Node::Enum(_, variants) => {
            for variant in variants {
                match &mut variant.shape {
                    Shape::Newtype(part) => visit(part),
                    Shape::Tuple(parts) => parts.iter_mut().for_each(&mut visit),
                    Shape::Struct(fields) => of_fields(fields, &mut visit),
                    Shape::Unit | Shape::Unknown => {}
                }
            }
        }
        _ => {}
    }
}
