//! Two ends that know a service differently: what becomes of each method, once both schemas are there (protocol 9).
//!
//! No frames here: when schemas travel is `connection/binds.rs` for the caller and `server/bound.rs` for the callee. Whether
//! types fit is `fit/`, and how values are read that do not look alike `adapt/`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::alike::alike;
use super::fit::{self, Fit};
use super::node::{Id, Root, Signature};
use super::peer::Peer;
use crate::connection::streams::Role;
use crate::frame::limits::{SCHEMA_MEMORY, SCHEMAS_MEMORY};
use crate::frame::payload::Fault;
use crate::log::log_limited;
use crate::service::Contract;

/// What an end does about a method that its peer knows with other arguments or another result.
///
/// Fields that were added with a default, removed, moved or renamed with an alias, variants that were added, integers that were
/// widened: such differences are bridged, value by value. A method that cannot work at all is [`Incompatible`] under each of
/// these, alone, and before it runs; the others go on.
///
/// [`Incompatible`]: crate::ErrorKind::Incompatible
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strictness {
    /// It is called. Differences are logged, once a connection and service; a value that the reader cannot take fails its own
    /// call. The default.
    #[default]
    Warn,
    /// It is called if every value can be read: where that depends on the value (a `u32` that is read as a `u8`, a variant that
    /// the reader does not know) it is refused.
    Refuse,
    /// It is refused.
    Exact,
}

/// What all connections of a server, or of a client, know of their peers.
#[derive(Default)]
pub(crate) struct Schemas {
    pub(crate) strictness: Strictness,
    /// By a hash that is secret and made here: what a peer says of its schema's hash means nothing.
    known: Mutex<HashMap<u64, Vec<Weak<Compared>>>>,
    hasher: RandomState,
    /// What the schemas that are known fill.
    memory: Arc<AtomicUsize>,
}

/// What a connection has left for its peer's schemas: who binds a service again and again could keep it busy, or fill its memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    /// Pairs of types that may be compared.
    pub(crate) pairs: usize,
    /// Bytes that may be filled.
    pub(crate) memory: usize,
}

impl Default for Left {
    fn default() -> Self {
        Self { pairs: fit::PAIRS, memory: SCHEMA_MEMORY }
    }
}

impl Schemas {
    pub(crate) fn new(strictness: Strictness) -> Arc<Self> {
        Arc::new(Self { strictness, ..Self::default() })
    }

    /// What the peer's schema means for each method of this contract. Peers that send the same bytes share it. What it costs is taken
    /// from `left`.
    ///
    /// # Errors
    /// The bytes are no schema, or fill more memory than is left.
    pub(crate) fn compare(&self, contract: &'static Contract, role: Role, bytes: &[u8], left: &mut Left) -> Result<Arc<Compared>, String> {
        let hash = self.hasher.hash_one((bytes, std::ptr::from_ref(contract).addr(), role == Role::Caller));
        if let Some(known) = self.find(hash, contract, role, bytes)
            && let Some(memory) = left.memory.checked_sub(known.peer.memory())
        {
            left.memory = memory;
            return Ok(known);
        }
        let peer = Peer::parse(bytes, left.memory)?;
        left.memory -= peer.memory();
        let Some(held) = self.hold(role, peer.memory()) else {
            log_limited!(warn, "the schemas of all clients fill {SCHEMAS_MEMORY} bytes of memory: another is not looked at");
            return Ok(Arc::new(Compared::unread(contract, role)));
        };
        let compared = Arc::new(Compared::new(contract, role, bytes, peer, held, self.strictness, &mut left.pairs));
        if left.pairs == 0 {
            // Not compared to its end: others do not share what this peer has brought about.
            return Ok(compared);
        }
        let mut known = self.known();
        known.retain(|_, entries| {
            entries.retain(|entry| entry.strong_count() > 0);
            !entries.is_empty()
        });
        known.entry(hash).or_default().push(Arc::downgrade(&compared));
        Ok(compared)
    }

    /// Room for another schema, if there is any. A client chooses its servers, and has none of too many.
    fn hold(&self, role: Role, bytes: usize) -> Option<Held> {
        let before = self.memory.fetch_add(bytes, Ordering::Relaxed);
        let held = Held { bytes, all: self.memory.clone() };
        (role == Role::Caller || before.saturating_add(bytes) <= SCHEMAS_MEMORY).then_some(held)
    }

    fn find(&self, hash: u64, contract: &'static Contract, role: Role, bytes: &[u8]) -> Option<Arc<Compared>> {
        let known = self.known();
        let is_it = |known: &Arc<Compared>| std::ptr::eq(known.contract, contract) && known.role == role && *known.bytes == *bytes;
        known.get(&hash)?.iter().filter_map(Weak::upgrade).find(is_it)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Vec<Weak<Compared>>>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Memory that is filled by a schema, and free again when this is dropped.
struct Held {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A service as both ends know it.
pub(crate) struct Compared {
    contract: &'static Contract,
    role: Role,
    /// The peer's schema as it came.
    bytes: Box<[u8]>,
    peer: Peer,
    /// By this end's number.
    methods: Vec<Comparison>,
    _held: Option<Held>,
}

struct Comparison {
    /// Its place in the peer's schema.
    signature: usize,
    plan: Plan,
    /// That it differs, for the log.
    note: Option<Note>,
}

struct Note {
    text: Box<str>,
    /// It does not work, or not with every value.
    warns: bool,
}

impl Note {
    fn new(text: String, warns: bool) -> Option<Self> {
        Some(Self { text: text.into(), warns })
    }
}

/// What becomes of a method.
pub(crate) enum Plan {
    /// The peer's schema does not have it.
    Unknown,
    /// This end reads what the peer writes as its own.
    Plain,
    /// This end reads what the peer writes by the peer's schema.
    Adapted,
    /// It is not called, and this is why.
    Refused(Box<str>),
}

impl Compared {
    fn new(contract: &'static Contract, role: Role, bytes: &[u8], peer: Peer, held: Held, strictness: Strictness, left: &mut usize) -> Self {
        let own = contract.own();
        let theirs = peer.schema();
        let mut methods = Vec::with_capacity(contract.methods.len());
        for (number, ours) in own.schema.methods.iter().enumerate() {
            let Some(signature) = theirs.methods.iter().position(|method| method.name == ours.name) else {
                methods.push(Comparison { signature: 0, plan: Plan::Unknown, note: None });
                continue;
            };
            if alike(own, ours, &peer, &theirs.methods[signature], left) {
                // Its hash is equal, so there is nothing to look at: neither what cannot be described nor how strict this end is.
                methods.push(Comparison { signature, plan: Plan::Plain, note: None });
                continue;
            }
            let (ours, theirs) = ((&own.schema.nodes[..], ours), (&theirs.nodes[..], &theirs.methods[signature]));
            let (caller, callee) = match role {
                Role::Caller => (ours, theirs),
                Role::Callee => (theirs, ours),
            };
            let (arguments, results) = (fit::fit_arguments(caller, callee, left), fit::fit_results(callee, caller, left));
            let (plan, note) = judge(role, &arguments, &results, strictness, &contract.full_name(number));
            methods.push(Comparison { signature, plan, note });
        }
        Self { contract, role, bytes: bytes.into(), peer, methods, _held: Some(held) }
    }

    /// Of a schema that there is no room for.
    fn unread(contract: &'static Contract, role: Role) -> Self {
        let refused = |number| {
            let text = format!("{}: the server has no room for another schema", contract.full_name(number));
            Comparison { signature: 0, plan: Plan::Refused(text.into()), note: None }
        };
        let methods = (0..contract.methods.len()).map(refused).collect();
        Self { contract, role, bytes: Box::default(), peer: Peer::default(), methods, _held: None }
    }

    pub(crate) fn plan(&self, method: usize) -> &Plan {
        self.methods.get(method).map_or(&Plan::Unknown, |comparison| &comparison.plan)
    }

    /// Something of this method looks different to the two ends.
    pub(crate) fn differs(&self, method: usize) -> bool {
        self.methods.get(method).is_some_and(|comparison| comparison.note.is_some())
    }

    /// How to read what the peer writes of each method, where that is not as this end would write it.
    pub(crate) fn writers(self: &Arc<Self>) -> Box<[Option<Arc<Writer>>]> {
        let writer = |(method, comparison): (usize, &Comparison)| {
            matches!(comparison.plan, Plan::Adapted).then(|| Arc::new(Writer { compared: self.clone(), method }))
        };
        self.methods.iter().enumerate().map(writer).collect()
    }

    /// Says what differs, in one line: what does not work, or may not, first.
    pub(crate) fn log(&self, peer: &str) {
        let mut notes: Vec<&Note> = self.methods.iter().filter_map(|comparison| comparison.note.as_ref()).collect();
        notes.sort_by_key(|note| !note.warns);
        let Some(first) = notes.first() else { return };
        let more = notes.len().saturating_sub(NOTES);
        let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
        let texts: Vec<&str> = notes.iter().take(NOTES).map(|note| &*note.text).collect();
        let text = format!("{peer} knows {} differently: {}{rest}", self.contract.name, texts.join("; "));
        // Places of their own: of two ends in one process both are heard.
        match (self.role, first.warns) {
            (Role::Caller, true) => log_limited!(warn, "{text}"),
            (Role::Callee, true) => log_limited!(warn, "{text}"),
            (_, false) => log_limited!(info, "{text}"),
        }
    }
}

/// Methods in one line of the log.
const NOTES: usize = 20;

/// Texts of one refusal.
const TEXTS: usize = 3;

/// A method of a peer, as that peer writes it.
pub(crate) struct Writer {
    compared: Arc<Compared>,
    /// This end's number.
    method: usize,
}

impl Writer {
    pub(crate) fn peer(&self) -> &Peer {
        &self.compared.peer
    }

    pub(crate) fn signature(&self) -> &Signature {
        &self.peer().schema().methods[self.compared.methods[self.method].signature]
    }

    /// The peer's type for a part of the method.
    ///
    /// # Errors
    /// To the peer it has no such part, and yet one came.
    pub(crate) fn root(&self, root: Root) -> Result<Id, Fault> {
        let signature = self.signature();
        let id = match root {
            Root::Argument(place) => signature.arguments.get(place).map(|(_, id)| *id),
            Root::Upload => signature.upload.as_ref().map(|(_, id)| *id),
            Root::Returns => signature.returns,
            Root::Error => signature.error,
            Root::Download => signature.download,
        };
        id.ok_or_else(|| Fault::malformed("the peer's schema does not have this part of the method"))
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What becomes of a method whose two directions fit like this, and why it differs.
fn judge(role: Role, arguments: &Fit, results: &Fit, strictness: Strictness, name: &str) -> (Plan, Option<Note>) {
    let (reads, writes) = match role {
        Role::Caller => ((results, "the peer's reply cannot be read"), (arguments, "the peer cannot read these arguments")),
        Role::Callee => ((arguments, "the peer's arguments cannot be read"), (results, "the peer cannot read the reply")),
    };
    for (fit, what) in [reads, writes] {
        if let Fit::Never(texts) = fit {
            let text = format!("{name}: {what}: {}", joined(texts));
            return (Plan::Refused(text.clone().into()), Note::new(text, true));
        }
    }
    let mut notes = Vec::new();
    for (fit, _) in [reads, writes] {
        if let Fit::Depends(texts) = fit {
            notes.push(joined(texts));
        }
    }
    let differs = !matches!((arguments, results), (Fit::Same, Fit::Same));
    if !notes.is_empty() && strictness != Strictness::Warn {
        let text = format!("{name}: some values cannot be read: {} (Strictness::{strictness:?})", notes.join(", "));
        return (Plan::Refused(text.clone().into()), Note::new(text, true));
    }
    if differs && strictness == Strictness::Exact {
        let text = format!("{name}: the two ends know this method with different arguments or results (Strictness::Exact)");
        return (Plan::Refused(text.clone().into()), Note::new(text, true));
    }
    let note = match notes.is_empty() {
        _ if !differs => None,
        true => Note::new(format!("{name}: adapted"), false),
        false => Note::new(format!("{name}: adapted, but {}", notes.join(", ")), true),
    };
    let plan = if matches!(reads.0, Fit::Same) { Plan::Plain } else { Plan::Adapted };
    (plan, note)
}

/// Names in these may be a stranger's.
fn joined(texts: &[String]) -> String {
    let more = if texts.len() > TEXTS { ", .." } else { "" };
    let texts: Vec<String> = texts.iter().take(TEXTS).map(|text| shown(text)).collect();
    texts.join(", ") + more
}

/// Fit for a log.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(200).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should panic")]
mod tests {
    use super::*;
    use crate::schema::node::{Node, Schema};
    use crate::service::Method;

    static SHOP: Contract = Contract::new(
        "Shop",
        "",
        &[Method {
            name: "add",
            arguments: &["n"],
            run: |root, reader| match root {
                Root::Argument(0) | Root::Returns => reader.read::<u64>(),
                _ => reader.none(),
            },
            ..Method::DEFAULT
        }],
    );

    fn schema(argument: Node, result: Node) -> Vec<u8> {
        let method =
            Signature { name: "add".to_owned(), arguments: vec![("n".to_owned(), 0)], upload: None, returns: Some(1), error: None, download: None };
        postcard::to_stdvec(&Schema { methods: vec![method], nodes: vec![argument, result] }).unwrap()
    }

    #[test]
    fn peers_that_send_the_same_bytes_share_one_schema_until_the_last_one_leaves() {
        let schemas = Schemas::new(Strictness::Warn);
        let bytes = schema(Node::U32, Node::U64);
        let compare = |role, bytes: &[u8]| schemas.compare(&SHOP, role, bytes, &mut Left::default()).unwrap();
        let (first, second) = (compare(Role::Callee, &bytes), compare(Role::Callee, &bytes.clone()));
        assert!(Arc::ptr_eq(&first, &second));
        // What it means is another matter for another role, or other bytes.
        let others = [compare(Role::Caller, &bytes), compare(Role::Callee, &schema(Node::U8, Node::U64))];
        assert!(others.iter().all(|other| !Arc::ptr_eq(&first, other)));
        assert_eq!(schemas.known().values().map(Vec::len).sum::<usize>(), 3);
        drop((first, second));
        let again = compare(Role::Callee, &bytes);
        assert_eq!(Arc::strong_count(&again), 1);
        drop(others);
        compare(Role::Callee, &schema(Node::U16, Node::U64));
        assert_eq!(schemas.known().values().map(Vec::len).sum::<usize>(), 2, "what nobody uses is forgotten");
        schemas.compare(&SHOP, Role::Callee, &bytes[1..], &mut Left::default()).err().unwrap();
        assert_eq!(schemas.known().values().map(Vec::len).sum::<usize>(), 2);
    }

    /// A schema of this many types that nothing names.
    fn large(types: usize, name: &str) -> Vec<u8> {
        let nodes = [vec![Node::U64, Node::U64], vec![Node::Opaque(name.to_owned()); types]].concat();
        let Schema { methods, .. } = postcard::from_bytes(&schema(Node::U64, Node::U64)).unwrap();
        postcard::to_stdvec(&Schema { methods, nodes }).unwrap()
    }

    #[test]
    fn the_schemas_of_one_connection_fill_no_more_memory_than_there_is_for_them() {
        let schemas = Schemas::new(Strictness::Warn);
        let (mut left, mut kept) = (Left::default(), Vec::new());
        let why = loop {
            assert!(kept.len() < 50);
            match schemas.compare(&SHOP, Role::Callee, &large(1000, &kept.len().to_string()), &mut left) {
                Ok(compared) => kept.push(compared),
                Err(why) => break why,
            }
        };
        assert_eq!(why, "schemas that fill more than 4194304 bytes of memory (protocol 9.5)");
        assert!(kept.len() > 20, "{}", kept.len());
        assert!(schemas.memory.load(Ordering::Relaxed) <= SCHEMA_MEMORY);
        // Another connection's are another matter, and those that both send are filled once.
        let before = schemas.memory.load(Ordering::Relaxed);
        let mut other = Left::default();
        let shared = schemas.compare(&SHOP, Role::Callee, &large(1000, "0"), &mut other).unwrap();
        assert!(Arc::ptr_eq(&shared, &kept[0]) && other.memory < SCHEMA_MEMORY);
        assert_eq!(schemas.memory.load(Ordering::Relaxed), before);
        drop((shared, kept));
        assert_eq!(schemas.memory.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_server_looks_at_no_more_schemas_than_it_has_memory_for() {
        let schemas = Schemas::new(Strictness::Warn);
        let compare = |number: usize| schemas.compare(&SHOP, Role::Callee, &large(250, &format!("{number:04000}")), &mut Left::default());
        let mut kept = Vec::new();
        let refused = loop {
            assert!(kept.len() < 100);
            let compared = compare(kept.len()).unwrap();
            match compared.plan(0) {
                Plan::Plain => kept.push(compared),
                Plan::Refused(why) => break why.to_string(),
                Plan::Unknown | Plan::Adapted => unreachable!("it is the same"),
            }
        };
        assert_eq!(refused, "Shop.add: the server has no room for another schema");
        assert!(schemas.memory.load(Ordering::Relaxed) <= SCHEMAS_MEMORY);
        kept.pop();
        assert!(matches!(compare(1000).unwrap().plan(0), Plan::Plain), "who leaves makes room");
    }

    static BLIND: Contract = Contract::new(
        "Blind",
        "",
        &[Method {
            name: "see",
            arguments: &["one", "other"],
            run: |root, reader| match root {
                Root::Argument(0) => reader.read::<Unread<1>>(),
                Root::Argument(1) => reader.read::<Unread<2>>(),
                Root::Returns => reader.read::<std::marker::PhantomData<u8>>(),
                _ => reader.none(),
            },
            ..Method::DEFAULT
        }],
    );

    /// A type that nobody can make: what it looks like cannot be found out. Two of them are not the same.
    struct Unread<const N: usize>;

    impl<const N: usize> serde::Serialize for Unread<N> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }

    impl<'de, const N: usize> serde::Deserialize<'de> for Unread<N> {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom(format!("never {N}")))
        }
    }

    #[test]
    fn a_method_whose_hash_is_equal_is_never_refused() {
        let own = BLIND.own();
        let texts: Vec<&Node> = own.schema.nodes.iter().filter(|node| matches!(node, Node::Opaque(_))).collect();
        assert!(!texts.is_empty(), "{:?}", own.schema);
        for strictness in [Strictness::Warn, Strictness::Refuse, Strictness::Exact] {
            for role in [Role::Caller, Role::Callee] {
                // The other end was built by another version of this crate, or of the compiler, whose texts are different.
                let mut theirs = own.schema.clone();
                for node in &mut theirs.nodes {
                    match node {
                        Node::Opaque(text) => text.push_str(", as it was said once"),
                        Node::UnitStruct(_) => *node = Node::Unit,
                        Node::Unit => *node = Node::UnitStruct("Nothing".to_owned()),
                        _ => {}
                    }
                }
                let plan = |theirs: &Schema| {
                    let bytes = postcard::to_stdvec(theirs).unwrap();
                    let compared = Schemas::new(strictness).compare(&BLIND, role, &bytes, &mut Left::default()).unwrap();
                    (matches!(compared.plan(0), Plan::Plain), compared.differs(0))
                };
                assert_eq!(plan(&theirs), (true, false), "{role:?} {strictness:?}");
                theirs.methods[0].arguments[0].0 = "once".to_owned();
                assert_ne!(plan(&theirs), (true, false), "{role:?} {strictness:?}: another name is another hash");
            }
        }
    }

    #[test]
    fn each_end_reads_what_the_other_writes() {
        let schemas = Schemas::new(Strictness::Warn);
        let plan = |role, argument, result| match schemas.compare(&SHOP, role, &schema(argument, result), &mut Left::default()).unwrap().plan(0) {
            Plan::Unknown => "unknown".to_owned(),
            Plan::Plain => "plain".to_owned(),
            Plan::Adapted => "adapted".to_owned(),
            Plan::Refused(why) => why.to_string(),
        };
        assert_eq!(plan(Role::Callee, Node::U64, Node::U64), "plain");
        assert_eq!(plan(Role::Callee, Node::U32, Node::U64), "adapted");
        assert_eq!(plan(Role::Callee, Node::U64, Node::U32), "plain", "the caller adapts");
        assert_eq!(plan(Role::Caller, Node::U32, Node::U64), "plain", "the callee adapts");
        assert_eq!(plan(Role::Caller, Node::U64, Node::U32), "adapted");
        assert!(plan(Role::Callee, Node::Str, Node::U64).starts_with("Shop.add: the peer's arguments cannot be read: n: "));
        assert!(plan(Role::Callee, Node::U64, Node::Str).starts_with("Shop.add: the peer cannot read the reply: "));
        assert!(plan(Role::Caller, Node::Str, Node::U64).starts_with("Shop.add: the peer cannot read these arguments: n: "));
        assert!(plan(Role::Caller, Node::U64, Node::Str).starts_with("Shop.add: the peer's reply cannot be read: "));
    }
}
