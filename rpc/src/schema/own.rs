//! All types of one of our own services: its schema, its hashes, and what of it will not work.
//!
//! Made from the functions that generated code lends (`Run`). Not here: schemas that a peer sent.

use super::node::{Id, Root, Schema, Signature};
use super::peer::Peer;
use super::table::{Hasher, Table};
use super::{Run, trace};
use crate::frame::limits::SCHEMA_MEMORY;
use crate::service::{Contract, Hash};

/// What this end knows of a service.
#[derive(Debug)]
pub(crate) struct Own {
    /// Methods stand in the order in which they were given: that of the contract, by name.
    pub(crate) schema: Schema,
    /// It as it is sent; empty if no peer would take it (protocol 9.5).
    pub(crate) bytes: Vec<u8>,
    pub(super) hasher: Hasher,
    /// Of each method.
    pub(crate) hashes: Vec<Hashes>,
    /// Of the service: the names of its methods, and their hashes.
    pub(crate) hash: u128,
    /// What postcard cannot carry, or would carry wrongly: method, part, type and attribute.
    pub(crate) problems: Vec<String>,
    /// How many values were read to find all this.
    #[cfg_attr(not(test), allow(dead_code, reason = "what it costs is for tests"))]
    pub(crate) passes: u32,
}

/// What a method is on the wire, one hash for each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashes {
    /// Of the arguments, their names, and the items that follow them.
    pub(crate) arguments: u128,
    /// Of the return value, the error, and the items that come back.
    pub(crate) results: u128,
}

/// What has to be known of a method to trace it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described {
    /// The wire name, without the service's.
    pub(crate) name: &'static str,
    /// The names of the arguments that travel as a tuple.
    pub(crate) arguments: &'static [&'static str],
    /// The name of the argument that is a stream.
    pub(crate) upload: Option<&'static str>,
    /// It has an error of its own.
    pub(crate) fallible: bool,
    /// It returns a stream.
    pub(crate) downloads: bool,
    /// It has no reply.
    pub(crate) oneway: bool,
    /// Reads its types.
    pub(crate) run: Run,
}

impl Own {
    /// Traces all types of this contract.
    pub(crate) fn of(contract: &Contract) -> Self {
        let methods = contract.methods.iter().map(|method| Described {
            name: method.name,
            arguments: method.arguments,
            upload: method.upload,
            fallible: method.fallible,
            downloads: method.downloads,
            oneway: method.oneway,
            run: method.run,
        });
        Self::of_methods(contract.name, methods)
    }

    /// Traces all types of these methods.
    pub(crate) fn of_methods(service: &str, methods: impl IntoIterator<Item = Described>) -> Self {
        let mut collected = Collected::default();
        let mut signatures: Vec<Signature> = methods.into_iter().map(|method| collected.method(service, &method)).collect();
        let Collected { table, problems, passes } = collected;
        let (nodes, roots) = table.finish();
        for signature in &mut signatures {
            signature.each_root(|root| *root = roots[*root as usize]);
        }
        let hasher = Hasher::new(&nodes);
        let hashes: Vec<Hashes> = signatures.iter().map(|signature| Hashes::of(signature, &hasher)).collect();
        let schema = Schema { methods: signatures, nodes };
        // Growing a Vec is all that could fail. What no peer would take is not sent, or it would close the connection (protocol 9.5).
        let mut bytes = postcard::to_stdvec(&schema).expect("a schema is plain data");
        if Peer::parse(&bytes, SCHEMA_MEMORY).is_err() {
            bytes = Vec::new();
        }
        let hash = service_hash(service, &schema, &hashes);
        Self { schema, bytes, hasher, hashes, hash, problems, passes }
    }
}

/// Protocol 4.6.
fn service_hash(service: &str, schema: &Schema, hashes: &[Hashes]) -> u128 {
    let methods = schema.methods.iter().zip(hashes);
    let hash = methods.fold(Hash::new(service), |hash, (method, hashes)| hash.text(&method.name).text_bytes(&hashes.both().to_le_bytes()));
    hash.finish()
}

impl Hashes {
    /// Hashes a method whose types the hasher knows.
    pub(crate) fn of(signature: &Signature, hasher: &Hasher) -> Self {
        let upload = signature.upload.as_ref().map(|(name, id)| (stream_name(name), *id));
        let (arguments, results) = (arguments(signature, &upload), results(signature));
        Self { arguments: hasher.hash(&arguments), results: hasher.hash(&results) }
    }

    /// What a bind says of the method.
    pub(crate) fn both(self) -> u128 {
        Hash::EMPTY.text_bytes(&self.arguments.to_le_bytes()).text_bytes(&self.results.to_le_bytes()).finish()
    }
}

/// What is hashed of the arguments. A stream stands behind the tuple, and apart from it: it is no argument of the same name and type.
pub(super) fn arguments<'s>(signature: &'s Signature, upload: &'s Option<(String, Id)>) -> Vec<(&'s str, Id)> {
    signature.arguments.iter().chain(upload).map(|(name, id)| (name.as_str(), *id)).collect()
}

pub(super) fn stream_name(name: &str) -> String {
    format!("stream {name}")
}

/// What is hashed of the results.
pub(super) fn results(signature: &Signature) -> Vec<(&str, Id)> {
    let results = [("returns", signature.returns), ("error", signature.error), ("download", signature.download)];
    results.into_iter().filter_map(|(name, id)| Some((name, id?))).collect()
}

impl Signature {
    fn each_root(&mut self, mut visit: impl FnMut(&mut Id)) {
        self.arguments.iter_mut().for_each(|(_, id)| visit(id));
        self.upload.iter_mut().for_each(|(_, id)| visit(id));
        self.returns.iter_mut().for_each(&mut visit);
        self.error.iter_mut().for_each(&mut visit);
        self.download.iter_mut().for_each(&mut visit);
    }
}

#[derive(Default)]
struct Collected {
    table: Table,
    problems: Vec<String>,
    passes: u32,
}

impl Collected {
    /// Its signature, with the numbers of roots where their ids will be.
    fn method(&mut self, service: &str, method: &Described) -> Signature {
        let full = if service.is_empty() { method.name.to_owned() } else { format!("{service}.{}", method.name) };
        let mut root = |root, part: &str| self.root(method.run, root, &full, part);
        let arguments = method.arguments.iter().enumerate();
        Signature {
            name: method.name.to_owned(),
            arguments: arguments.map(|(at, name)| ((*name).to_owned(), root(Root::Argument(at), name))).collect(),
            upload: method.upload.map(|name| (name.to_owned(), root(Root::Upload, name))),
            returns: (!method.oneway && !method.downloads).then(|| root(Root::Returns, "returns")),
            error: method.fallible.then(|| root(Root::Error, "error")),
            download: method.downloads.then(|| root(Root::Download, "items")),
        }
    }

    fn root(&mut self, run: Run, root: Root, method: &str, part: &str) -> Id {
        let traced = trace::trace(&mut |reader| run(root, reader));
        self.passes += traced.passes;
        self.problems.extend(traced.problems.into_iter().map(|problem| format!("{method}: {part}: {problem}")));
        self.table.add(traced.nodes, traced.root) as Id
    }
}
