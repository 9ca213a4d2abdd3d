//! The table that the macro writes, as the library sees it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::frame::payload::Fault;
use crate::schema::source::{Ask, Feed, Part, Source};
use crate::schema::{Reader, Root};
use crate::{Context, Stream, Streaming};

use super::{Contract, HasContract, Hash, Method};

mod io {
    pub(crate) type Result<T> = std::result::Result<T, u8>;
}

#[derive(Serialize, Deserialize)]
struct Lent<'a>(&'a str);

#[crate::service(crate = "crate")]
#[allow(dead_code, reason = "only its table is looked at")]
trait Shapes {
    async fn borrowed(&self, text: &str, bytes: &[u8], one: &u16, many: &[u32], cow: Cow<'_, str>);
    async fn within(&self, lent: Lent<'_>, part: Option<&str>);
    async fn context(&self, cx: &Context, only: u64) -> i8;
    async fn typed(&self) -> Result<u16, String>;
    async fn named(&self) -> io::Result<u32>;
    #[rpc(oneway)]
    async fn silent(&self, a: bool);
    #[deprecated(since = "1.0.0", note = "use silent")]
    fn both(&self, lines: Streaming<u8>, after: u64) -> impl Stream<Item = i16>;
    #[deprecated]
    async fn refusable(&self) -> Result<impl Stream<Item = i32>, String>;
}

#[crate::service(crate = "crate")]
#[allow(dead_code, reason = "only its table is looked at")]
trait Store<K, V> {
    async fn get(&self, key: K) -> io::Result<V>;
}

/// Keeps the name of the first type that asks.
struct First(Option<&'static str>);

impl<'de> Source<'de> for First {
    fn ask(&mut self, ask: &Ask) -> Result<Feed<'de>, Fault> {
        self.0.get_or_insert(ask.value());
        Err(Fault::malformed("enough"))
    }
    fn next(&mut self, _: Part, _: usize) -> Result<bool, Fault> {
        Ok(false)
    }
    fn hint(&self) -> Option<usize> {
        None
    }
    fn payload(&mut self, _: bool) -> Result<(), Fault> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// The last words of the names of a method's types, in the order of `Root`; those that it does not have are left out.
fn types(method: &Method) -> Vec<(Root, String)> {
    let roots = (0..10).map(Root::Argument).chain([Root::Upload, Root::Returns, Root::Error, Root::Download]);
    let named = |root| {
        let mut first = First(None);
        let _ = (method.run)(root, Reader::new(&mut first, None));
        let name = first.0?;
        Some((root, name.rsplit("::").next().unwrap_or(name).replace("<'_>", "")))
    };
    roots.filter_map(named).collect()
}

fn method(contract: &'static Contract, name: &str) -> &'static Method {
    contract.methods.iter().find(|method| method.name == name).expect("a method")
}

fn expect(method: &Method, expected: &[(Root, &str)]) {
    let types = types(method);
    let types: Vec<_> = types.iter().map(|(root, name)| (*root, name.as_str())).collect();
    assert_eq!(types, expected, "{}", method.name);
}

#[test]
fn every_part_of_a_method_is_read_as_what_travels() {
    use Root::{Argument, Download, Error, Returns, Upload};
    let shapes = <ShapesClient as HasContract>::contract();
    let borrowed =
        [(Argument(0), "CowStr"), (Argument(1), "Bytes"), (Argument(2), "u16"), (Argument(3), "Vec<u32>"), (Argument(4), "CowStr"), (Returns, "()")];
    expect(method(shapes, "borrowed"), &borrowed);
    expect(method(shapes, "within"), &[(Argument(0), "Lent"), (Argument(1), "Option<&str>"), (Returns, "()")]);
    expect(method(shapes, "context"), &[(Argument(0), "u64"), (Returns, "i8")]);
    expect(method(shapes, "typed"), &[(Returns, "u16"), (Error, "String")]);
    expect(method(shapes, "named"), &[(Returns, "u32"), (Error, "u8")]);
    expect(method(shapes, "silent"), &[(Argument(0), "bool")]);
    expect(method(shapes, "both"), &[(Argument(0), "u64"), (Upload, "u8"), (Download, "i16")]);
    expect(method(shapes, "refusable"), &[(Error, "String"), (Download, "i32")]);
}

#[test]
fn the_table_says_which_parts_there_are() {
    let shapes = <ShapesClient as HasContract>::contract();
    let fallible: Vec<_> = shapes.methods.iter().filter(|method| method.fallible).map(|method| method.name).collect();
    assert_eq!(fallible, ["named", "refusable", "typed"]);
    assert_eq!(method(shapes, "both").upload, Some("lines"));
    assert_eq!(method(shapes, "refusable").upload, None);
    let deprecated = |name| method(shapes, name).deprecated;
    assert_eq!((deprecated("both"), deprecated("refusable"), deprecated("typed")), (Some("use silent"), Some(""), None));
}

#[test]
fn a_trait_with_parameters_has_one_contract_for_each_choice_of_types() {
    let (one, other) = (<StoreClient<u32, bool> as HasContract>::contract(), <StoreClient<String, bool> as HasContract>::contract());
    assert!(!std::ptr::eq(one, other));
    assert!(std::ptr::eq(one, <StoreClient<u32, bool> as HasContract>::contract()));
    expect(&one.methods[0], &[(Root::Argument(0), "u32"), (Root::Returns, "bool"), (Root::Error, "u8")]);
    expect(&other.methods[0], &[(Root::Argument(0), "String"), (Root::Returns, "bool"), (Root::Error, "u8")]);
}

#[test]
fn threads_that_look_at_once_find_the_same_contract() {
    let look = || std::ptr::from_ref(<StoreClient<i64, i64> as HasContract>::contract()) as usize;
    let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(look)).collect();
    let found: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a contract")).collect();
    assert!(found.iter().all(|contract| *contract == look()));
}

/// The same service in other words, and three that are others.
mod words {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Row {
        id: u64,
        text: String,
    }

    /// Another name, an alias, a default, and fields that do not travel: the same bytes.
    #[derive(Serialize, Deserialize)]
    struct Line {
        #[serde(alias = "key")]
        id: Id,
        #[serde(default)]
        text: String,
        #[serde(skip)]
        _seen: bool,
    }

    #[derive(Serialize, Deserialize)]
    struct Id(u64);

    #[derive(Serialize, Deserialize)]
    struct Renamed {
        key: u64,
        text: String,
    }

    #[crate::service(crate = "crate", name = "Words")]
    #[allow(dead_code, reason = "only its hashes are looked at")]
    pub(super) trait Base {
        async fn get(&self, key: u8, rows: &[Row]) -> Result<Vec<u8>, String>;
    }

    #[crate::service(crate = "crate", name = "Words")]
    #[allow(dead_code, reason = "only its hashes are looked at")]
    pub(super) trait Other {
        async fn get(&self, key: u8, rows: Vec<Line>) -> Result<Box<[u8]>, Box<str>>;
    }

    #[crate::service(crate = "crate", name = "Words")]
    #[allow(dead_code, reason = "only its hashes are looked at")]
    pub(super) trait Changed {
        #[rpc(name = "get")]
        async fn field(&self, key: u8, rows: &[Renamed]) -> Result<Vec<u8>, String>;
        async fn argument(&self, id: u8, rows: &[Row]) -> Result<Vec<u8>, String>;
        async fn infallible(&self, key: u8, rows: &[Row]) -> Vec<u8>;
        async fn kind(&self, key: u16, rows: &[Row]) -> Result<Vec<u8>, String>;
        fn streamed(&self, key: u8, rows: &[Row]) -> impl crate::Stream<Item = u8>;
        async fn uploaded(&self, key: u8, rows: crate::Streaming<Row>) -> Result<Vec<u8>, String>;
        async fn wrapped(&self, key: u8, rows: &[Row]) -> Option<Result<Vec<u8>, String>>;
    }
}

#[test]
fn a_hash_stands_for_what_travels_and_not_for_words() {
    let (base, other) = (<words::BaseClient as HasContract>::contract(), <words::OtherClient as HasContract>::contract());
    assert_eq!(base.method_hash(0), other.method_hash(0));
    assert_eq!(base.hash(), other.hash());
    let changed = <words::ChangedClient as HasContract>::contract();
    let mut hashes: Vec<_> = (0..changed.methods.len()).map(|method| changed.method_hash(method)).chain([base.method_hash(0)]).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), changed.methods.len() + 1, "all are different");
}

#[test]
fn a_trait_with_parameters_has_a_hash_for_each_choice_of_types() {
    let hash = |contract: &'static Contract| (contract.hash(), contract.method_hash(0));
    let (one, other) = (hash(<StoreClient<u32, bool> as HasContract>::contract()), hash(<StoreClient<String, bool> as HasContract>::contract()));
    assert!(one.0 != other.0 && one.1 != other.1);
    assert_eq!(one, hash(<StoreClient<u32, bool> as HasContract>::contract()));
}

/// Postcard does not say what comes next, which an untagged enum would have to know.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Guess {
    Number(u8),
    Text(String),
}

#[crate::service(crate = "crate", untested)]
#[allow(dead_code, reason = "only its table is looked at")]
trait Guesses {
    async fn guess(&self, guess: Guess) -> u8;
}

#[test]
#[should_panic(expected = "Guesses has types that do not travel as they are:\nGuesses.guess: guess: Guess: ")]
fn the_generated_test_fails_on_types_that_do_not_travel() {
    crate::__private::assert_travels(<GuessesClient as HasContract>::contract());
}

#[test]
#[should_panic(expected = "there is no ")]
fn the_generated_test_fails_without_its_lock_file() {
    crate::__private::assert_locked(<StoreClient<u8, u8> as HasContract>::contract(), env!("CARGO_MANIFEST_DIR"), "no such file", &[]);
}

#[test]
#[should_panic(expected = "Some methods are behind #[cfg] (get there now; old, older not there). The file holds")]
fn the_generated_test_names_the_methods_behind_a_cfg() {
    let contract = <StoreClient<u8, u8> as HasContract>::contract();
    assert!(contract.methods.iter().any(|method| method.name == "get"), "{:?}", contract.methods);
    crate::__private::assert_locked(contract, env!("CARGO_MANIFEST_DIR"), "no such file", &["get", "old", "older"]);
}

/// The examples of protocol 4.6.
mod described {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct List {
        id: u8,
        next: Option<Box<List>>,
    }

    #[derive(Serialize, Deserialize)]
    enum Reason {
        Lost,
        Fraud(u64),
        Late { at: u64 },
    }

    #[crate::service(crate = "crate")]
    #[allow(dead_code, reason = "only its hashes are looked at")]
    pub(super) trait Till {
        async fn add(&self, a: u32, b: u32) -> u32;
        async fn list(&self, list: List);
        async fn why(&self, why: Reason);
    }
}

#[test]
fn hashes_are_made_as_the_protocol_says() {
    let hash = |texts: &[&[u8]]| texts.iter().fold(Hash::EMPTY, |hash, text| hash.text_bytes(text)).finish();
    let method = |arguments: &str, results: &str| {
        let (arguments, results) = (hash(&[arguments.as_bytes()]), hash(&[results.as_bytes()]));
        hash(&[&arguments.to_le_bytes(), &results.to_le_bytes()])
    };
    let till = <described::TillClient as HasContract>::contract();
    let add = method("1:a 0\n1:b 0\nu32\n", "7:returns 0\nu32\n");
    let list = method("4:list 0\nstruct 2:id 4:next 1 2\nu8\noption 0\n", "7:returns 0\nunit\n");
    let why = method("3:why 0\nenum 4:Lost unit 5:Fraud newtype 4:Late struct 2:at 1 1\nu64\n", "7:returns 0\nunit\n");
    assert_eq!([0, 1, 2].map(|number| till.method_hash(number)), [add, list, why]);
    let [add, list, why] = [add, list, why].map(u128::to_le_bytes);
    assert_eq!(till.hash(), hash(&[b"Till", b"add", &add, b"list", &list, b"why", &why]));
}
