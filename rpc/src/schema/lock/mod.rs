//! Lock files: the wire contract of a service as a text in its user's repository, compared by a generated test.
//!
//! Not here: what fits what (`fit.rs`), and types as people read them (`show.rs`), which nobody reads back.
//!
//! - `text.rs`: a schema as text; `parse.rs`: and back
//! - `compare.rs`: what a change breaks

mod compare;
mod parse;
#[cfg(test)]
mod tests;
mod text;

use std::path::Path;
use std::{fs, io};

use self::compare::{Comparison, difference};
use super::node::{Node, Schema};
use crate::service::Contract;

/// The variable that says what to do with lock files that are not what they should be.
pub(crate) const VARIABLE: &str = "RPC_LOCK";
/// Its only value: write them.
pub(crate) const REWRITE: &str = "rewrite";

/// What a lock file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    /// The wire name.
    pub(crate) service: String,
    pub(crate) schema: Schema,
}

impl Lock {
    /// What this service is now.
    pub(crate) fn of(contract: &'static Contract) -> Self {
        Self { service: contract.name.to_owned(), schema: contract.own().schema.clone() }
    }

    /// Without what the compiler calls things, which may change with the next one: it says nothing of the wire.
    fn without_paths(&self) -> Self {
        let mut lock = self.clone();
        for node in &mut lock.schema.nodes {
            match node {
                Node::Logical(path, _) => path.clear(),
                Node::Opaque(why) => why.clear(),
                _ => {}
            }
        }
        lock
    }
}

/// Compares a contract with its file, or writes the file if the variable has this value.
///
/// # Errors
/// What is wrong, for the person who runs the test.
pub(crate) fn check(lock: &Lock, path: &Path, variable: Option<&str>) -> Result<(), String> {
    let file = path.display();
    let rewrite = match variable {
        None | Some("") => false,
        Some(REWRITE) => true,
        Some(other) => return Err(format!("{VARIABLE} is {other:?}: the only value is `{REWRITE}`")),
    };
    let cure = format!("`{VARIABLE}={REWRITE} cargo test`");
    let text = match fs::read(path) {
        // What is no text is no lock file, and says so in its first line; that is no reason not to write one.
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("{file} cannot be read: {error}")),
    };
    if rewrite {
        let whole = whole(lock);
        if let Some(of) = text.as_deref().and_then(|text| another(text, lock)) {
            return Err(format!("{file} holds the contract of {of}, and stays as it is: {}", apart(&of, lock)));
        }
        return match text {
            Some(text) if text.lines().eq(whole.lines()) => Ok(()),
            _ => write(path, whole).map_err(|error| format!("{file} cannot be written: {error}")),
        };
    }
    let Some(text) = text else {
        return Err(format!("there is no {file} yet: run {cure} once, and commit the file"));
    };
    let locked = parse::parse(&text).map_err(|wrong| format!("{file}, {wrong}; {cure} writes it anew"))?;
    let cure = match another(&text, lock) {
        Some(of) => apart(&of, lock),
        None => format!("If this is meant, run {cure} and commit the file."),
    };
    judge(&locked, lock).map_err(|text| format!("{file}: {text}\n{cure}"))
}

/// What is to be said of methods behind a `#[cfg]` when code and file differ: perhaps nothing else is wrong.
pub(crate) fn of_features(contract: &Contract, conditional: &[&str]) -> String {
    let (here, away): (Vec<&str>, Vec<&str>) = conditional.iter().partition(|name| contract.methods.iter().any(|method| method.name == **name));
    let listed = |names: Vec<&str>, what: &str| (!names.is_empty()).then(|| format!("{} {what}", names.join(", ")));
    let told: Vec<String> = [listed(here, "there now"), listed(away, "not there")].into_iter().flatten().collect();
    if told.is_empty() {
        return String::new();
    }
    format!(
        "\nSome methods are behind #[cfg] ({}). The file holds the contract as one set of features makes it: run this test, and write the file, with \
         that set.",
        told.join("; ")
    )
}

/// Whose contract a text is, if it is one and not of this service: two traits may name one file, by mistake.
fn another(text: &str, lock: &Lock) -> Option<String> {
    parse::parse(text).ok().map(|locked| locked.service).filter(|service| *service != lock.service)
}

fn apart(other: &str, lock: &Lock) -> String {
    let now = &lock.service;
    format!("Each service needs a file of its own. If {other} is now called {now}, remove the file and run `{VARIABLE}={REWRITE} cargo test`.")
}

fn write(path: &Path, text: String) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text)
}

/// # Errors
/// What differs, what that breaks, and in which lines.
fn judge(locked: &Lock, now: &Lock) -> Result<(), String> {
    if text::write(&locked.without_paths()) == text::write(&now.without_paths()) {
        return Ok(());
    }
    let comparison = Comparison::of(locked, now);
    let class = comparison.class();
    let reasons = comparison.to_string();
    let gap = if reasons.is_empty() { "" } else { "\n" };
    Err(format!("the contract of {} has changed: {class}\n\n{reasons}{gap}{}", now.service, difference(locked, now)))
}

/// The file as it is written.
fn whole(lock: &Lock) -> String {
    let text = text::write(lock);
    format!(
        "# What travels between the clients and servers of this service. A test compares it with the code;\n\
         # `{VARIABLE}={REWRITE} cargo test` writes it.\n\n{text}"
    )
}

/// The service of a lock file, and its schema.
///
/// # Errors
/// Which line cannot be read, and why.
pub fn read_lock(text: &str) -> Result<(String, Schema), String> {
    parse::parse(text).map(|lock| (lock.service, lock.schema)).map_err(|wrong| wrong.to_string())
}
