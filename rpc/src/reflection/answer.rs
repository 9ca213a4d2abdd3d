//! How a server answers: from its contracts and their schemas, put together when the first one asks.

use std::sync::{Arc, OnceLock};

use super::{Argument, Method, Reflection, Service};
use crate::schema::show::Show;
use crate::schema::{Id, Node, Schema, Signature};
use crate::service::{self, Contract};

/// All that a server serves, without the means to serve it.
pub(crate) struct Answer {
    listed: Vec<Listed>,
    services: OnceLock<Vec<Service>>,
}

struct Listed {
    contract: &'static Contract,
    /// Of methods that were registered at run time: the types that they return, by their Rust names.
    returns: Vec<&'static str>,
    schema: OnceLock<Schema>,
}

impl Answer {
    /// Of these services, and of itself.
    pub(crate) fn new(services: &[Arc<dyn service::Service>], own: &'static Contract) -> Self {
        let (named, mut run_time): (Vec<_>, Vec<_>) = services.iter().partition(|service| !service.contract().name.is_empty());
        let named = named.into_iter().map(|service| service.contract()).chain([own]).map(|contract| Listed::new(contract, Vec::new()));
        // Each is a contract of its own; to people they are one list, and their types one table.
        run_time.sort_by_key(|service| service.contract().methods[0].name);
        let methods: Vec<_> = run_time.iter().map(|service| service.contract().methods[0]).collect();
        let run_time = (!methods.is_empty()).then(|| {
            let contract = Contract::new("", "Methods that were registered at run time.", methods.leak());
            Listed::new(Box::leak(Box::new(contract)), run_time.iter().map(|service| service.returns()).collect())
        });
        Self { listed: named.chain(run_time).collect(), services: OnceLock::new() }
    }
}

impl Reflection for Answer {
    fn services(&self) -> Vec<Service> {
        self.services.get_or_init(|| self.listed.iter().map(Listed::describe).collect()).clone()
    }

    fn schema(&self, service: &str) -> Option<Schema> {
        self.listed.iter().find(|listed| listed.contract.name == service).map(|listed| listed.schema().clone())
    }
}

impl Listed {
    fn new(contract: &'static Contract, returns: Vec<&'static str>) -> Self {
        Self { contract, returns, schema: OnceLock::new() }
    }

    fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| {
            let mut schema = self.contract.own().schema.clone();
            for (signature, returns) in schema.methods.iter_mut().zip(&self.returns) {
                let (value, error) = of_type_name(returns);
                let mut node = |text: String| {
                    schema.nodes.push(Node::Opaque(text));
                    schema.nodes.len() as Id - 1
                };
                signature.returns = Some(node(value));
                signature.error = error.map(node);
            }
            schema
        })
    }

    fn describe(&self) -> Service {
        let (contract, schema) = (self.contract, self.schema());
        let show = Show::new(&schema.nodes);
        let methods = contract.methods.iter().zip(&schema.methods).map(|(method, signature)| describe(method, signature, &show, &schema.nodes));
        let roots = schema.methods.iter().flat_map(types);
        Service {
            name: contract.name.to_owned(),
            docs: contract.docs.to_owned(),
            methods: methods.collect(),
            // What is known of an opaque one stands where it is used.
            definitions: show.definitions(roots.filter(|id| opaque(&schema.nodes, *id).is_none())),
        }
    }
}

fn describe(method: &service::Method, signature: &Signature, show: &Show<'_>, nodes: &[Node]) -> Method {
    let text = |id: Id| opaque(nodes, id).map_or_else(|| show.inline(id), str::to_owned);
    let argument = |(name, id): &(String, Id)| Argument { name: name.clone(), r#type: text(*id) };
    Method {
        name: method.name.to_owned(),
        docs: method.docs.to_owned(),
        arguments: signature.arguments.iter().map(argument).collect(),
        upload: signature.upload.as_ref().map(argument),
        returns: signature.returns.map(text),
        error: signature.error.map(text),
        items: signature.download.map(text),
        oneway: method.oneway,
        idempotent: method.idempotent,
        detached: method.detached,
        timeout_ms: method.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        deprecated: method.deprecated.map(|note| if note.is_empty() { "deprecated" } else { note }.to_owned()),
    }
}

fn opaque(nodes: &[Node], id: Id) -> Option<&str> {
    match &nodes[id as usize] {
        Node::Opaque(text) => Some(text),
        _ => None,
    }
}

fn types(signature: &Signature) -> impl Iterator<Item = Id> {
    let arguments = signature.arguments.iter().chain(&signature.upload).map(|(_, id)| *id);
    arguments.chain(signature.returns).chain(signature.error).chain(signature.download)
}

/// `core::result::Result<alloc::string::String, shop::Refused>` is `String` and `Refused`.
fn of_type_name(name: &str) -> (String, Option<String>) {
    let plain = without_paths(name);
    let inside = plain.strip_prefix("Result<").and_then(|rest| rest.strip_suffix('>'));
    let mut depth = 0_u32;
    let comma = inside.and_then(|inside| {
        inside.char_indices().find_map(|(at, c)| {
            match c {
                '<' | '(' | '[' => depth += 1,
                '>' | ')' | ']' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => return Some(at),
                _ => {}
            }
            None
        })
    });
    match (inside, comma) {
        (Some(inside), Some(comma)) => (inside[..comma].to_owned(), Some(inside[comma + 1..].trim().to_owned())),
        _ => (plain, None),
    }
}

/// `alloc::vec::Vec<shop::Line>` is `Vec<Line>`.
fn without_paths(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("::") {
        let (before, after) = rest.split_at(at);
        let segment = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |last| last + 1);
        out.push_str(&before[..segment]);
        rest = &after[2..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_returned_type_is_what_its_author_calls_it() {
        assert_eq!(of_type_name(std::any::type_name::<u64>()), ("u64".to_owned(), None));
        assert_eq!(of_type_name(std::any::type_name::<Vec<(String, Option<Answer>)>>()), ("Vec<(String, Option<Answer>)>".to_owned(), None));
        let result = std::any::type_name::<Result<std::collections::BTreeMap<u8, (u8, u16)>, Result<(), std::io::Error>>>();
        assert_eq!(of_type_name(result), ("BTreeMap<u8, (u8, u16)>".to_owned(), Some("Result<(), Error>".to_owned())));
    }
}
