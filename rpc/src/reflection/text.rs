//! A service as a Rust trait. What it is made of came from a server, which may be anyone's: it is printed, whatever it is, and
//! nothing else.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display, Formatter};

use super::{Argument, Method, Service};
use crate::schema::show::{Name, printable};

/// Longer signatures have a line for each argument.
const WIDTH: usize = 100;

impl Display for Service {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, docs, methods, definitions } = self;
        write_docs(f, "", docs)?;
        if name.is_empty() {
            for method in methods {
                write!(f, "{method}")?;
            }
        } else {
            let name = Name::variant(name);
            match name.renamed {
                Some(renamed) => writeln!(f, "#[rpc::service(name = {renamed:?})]")?,
                None => writeln!(f, "#[rpc::service]")?,
            }
            writeln!(f, "pub trait {} {{", name.identifier)?;
            let apart = methods.iter().any(|method| !method.docs.is_empty());
            for (at, method) in methods.iter().enumerate() {
                if at > 0 && apart {
                    writeln!(f)?;
                }
                method.write(f, "    ", "&self")?;
            }
            writeln!(f, "}}")?;
        }
        if !definitions.is_empty() {
            writeln!(f)?;
        }
        definitions.lines().try_for_each(|line| writeln!(f, "{}", printable(line)))
    }
}

impl Service {
    /// Those of the definitions that this method needs, in the order in which a reader meets them.
    #[must_use]
    pub fn definitions_for(&self, method: &Method) -> String {
        // Definitions stand apart by empty lines, and their names are unique.
        let all: HashMap<&str, &str> = self.definitions.split("\n\n").map(|text| (defined_name(text), text)).collect();
        let signature = method.signature(&Name::field(&method.name), "", "");
        let (mut needed, mut known) = (vec![signature.as_str()], HashSet::from([""]));
        let mut next = 0;
        while let Some(text) = needed.get(next).copied() {
            next += 1;
            for word in text.split(|c: char| !c.is_alphanumeric() && c != '_') {
                if let Some((name, definition)) = all.get_key_value(word)
                    && known.insert(name)
                {
                    needed.push(definition);
                }
            }
        }
        let mut out = String::new();
        for (at, definition) in needed.into_iter().skip(1).enumerate() {
            out.push_str(if at > 0 { "\n" } else { "" });
            definition.lines().for_each(|line| out.extend([printable(line).as_str(), "\n"]));
        }
        out
    }
}

/// `Order`, of `struct Order { .. }` with attributes and docs before it.
fn defined_name(text: &str) -> &str {
    let line = text.lines().find_map(|line| ["struct ", "enum ", "type "].iter().find_map(|word| line.strip_prefix(word)));
    let name = line.unwrap_or_default();
    &name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())]
}

/// As a function, with its docs.
impl Display for Method {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write(f, "", "")
    }
}

impl Method {
    fn write(&self, f: &mut Formatter<'_>, indent: &str, receiver: &str) -> fmt::Result {
        write_docs(f, indent, &self.docs)?;
        match self.deprecated.as_deref() {
            Some("deprecated") => writeln!(f, "{indent}#[deprecated]")?,
            Some(note) => writeln!(f, "{indent}#[deprecated = {note:?}]")?,
            None => {}
        }
        let name = Name::field(&self.name);
        let options = self.options(&name);
        if !options.is_empty() {
            writeln!(f, "{indent}#[rpc({})]", options.join(", "))?;
        }
        writeln!(f, "{indent}{};", self.signature(&name, indent, receiver))
    }

    fn options(&self, name: &Name<'_>) -> Vec<String> {
        let mut options: Vec<String> = name.renamed.map(|name| format!("name = {name:?}")).into_iter().collect();
        let flags = [(self.idempotent, "idempotent"), (self.detached, "detached"), (self.oneway, "oneway")];
        options.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.to_owned()));
        options.extend(self.timeout_ms.map(|timeout| match timeout {
            whole if whole % 1000 == 0 => format!("timeout = \"{}s\"", whole / 1000),
            _ => format!("timeout = \"{timeout}ms\""),
        }));
        options
    }

    fn signature(&self, name: &Name<'_>, indent: &str, receiver: &str) -> String {
        let returns = self.result();
        let keyword = if self.items.is_some() && self.error.is_none() { "fn" } else { "async fn" };
        let upload = self.upload.as_ref().map(|Argument { name, r#type }| (name, format!("Streaming<{}>", printable(r#type))));
        let arguments = self.arguments.iter().map(|Argument { name, r#type }| (name, printable(r#type))).chain(upload);
        // Of a method that was registered at run time only the position is known.
        let argument = |(name, text): (&String, String)| match name.parse::<u32>() {
            Ok(_) => text,
            Err(_) => format!("{}: {text}", Name::field(name).identifier),
        };
        let all: Vec<String> = Some(receiver.to_owned()).into_iter().filter(|text| !text.is_empty()).chain(arguments.map(argument)).collect();
        let line = format!("{keyword} {}({}){returns}", name.identifier, all.join(", "));
        if indent.len() + line.len() < WIDTH {
            return line;
        }
        let lines: String = all.iter().map(|argument| format!("\n{indent}    {argument},")).collect();
        format!("{keyword} {}({lines}\n{indent}){returns}", name.identifier)
    }

    /// ` -> Result<Receipt, PayError>`.
    fn result(&self) -> String {
        let value = match (&self.items, &self.returns) {
            (Some(items), _) => format!("impl Stream<Item = {}>", printable(items)),
            (None, Some(returns)) => printable(returns),
            (None, None) => "()".to_owned(),
        };
        match &self.error {
            Some(error) => format!(" -> Result<{value}, {}>", printable(error)),
            None if value == "()" => String::new(),
            None => format!(" -> {value}"),
        }
    }
}

fn write_docs(f: &mut Formatter<'_>, indent: &str, docs: &str) -> fmt::Result {
    docs.lines().try_for_each(|line| match line {
        "" => writeln!(f, "{indent}///"),
        line => writeln!(f, "{indent}/// {}", printable(line)),
    })
}
