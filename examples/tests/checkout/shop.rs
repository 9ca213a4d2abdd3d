//! What the tests do with a checkout: pay, ask, audit.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Server, run};

/// A folder for one test's book, gone when the test ends.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("checkout-{test}-{}", std::process::id()));
        // What a killed run with the same number has left.
        std::fs::remove_dir_all(&folder).ok();
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn book(&self) -> String {
        self.0.join("book.redb").display().to_string()
    }

    /// A file with this text; its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A server on this book.
    pub fn serve(&self, more: &[&str]) -> Server {
        let book = self.book();
        let mut arguments = vec!["--data", &book];
        arguments.extend(more);
        Server::with("checkout", &arguments, &[])
    }

    /// What `audit` prints, once it has said that the books balance.
    pub fn audit(&self) -> Vec<Value> {
        audited(&["--data", &self.book()])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

pub fn audited(place: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["audit"];
    arguments.extend(place);
    let ran = run("checkout", &arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.log);
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A command that prints one line of JSON, and its exit code.
pub fn line(arguments: &[&str]) -> (Value, Option<i32>) {
    let ran = run("checkout", arguments);
    assert_eq!(ran.log, "");
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    (serde_json::from_str(&ran.out).unwrap(), ran.code)
}

/// One payment of JPY 1990.
pub fn pay(address: &str, key: &str, order: &str, more: &[&str]) -> (Value, Option<i32>) {
    pay_amount(address, key, order, "1990", more)
}

pub fn pay_amount(address: &str, key: &str, order: &str, amount: &str, more: &[&str]) -> (Value, Option<i32>) {
    let mut arguments = vec!["pay", "--addr", address, "--key", key, "--order", order, "--amount", amount, "--currency", "JPY"];
    arguments.extend(more);
    line(&arguments)
}

pub fn status(address: &str, key: &str) -> Value {
    let (line, code) = line(&["status", "--addr", address, "--key", key]);
    assert_eq!(code, Some(0), "{line}");
    line
}
