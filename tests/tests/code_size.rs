//! What a user's type costs in code: tracing, adapting and JSON are one `Deserializer`, at most 15 KB for a type that a method names.
//!
//! Two programs are built as a user builds them, in release, with 20 and with 40 such types; the difference is what 20 of them cost. With
//! `RPC_LONG` two more, of a service with 10 and with 20 methods, say what a method costs in all; that is shown, and no limit is set for it.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUDGET: usize = 15 << 10;

/// Types such as people have: structs of six fields, of which one is another such type, and enums of four variants. No two have the same
/// names, or the compiler would make one of two.
fn types(count: usize) -> String {
    let mut code = String::from("use serde::{Deserialize, Serialize};\n");
    for n in 0..count {
        let before = if n == 0 { "()".to_owned() } else { format!("T{}", n - 1) };
        let derive = "#[derive(Serialize, Deserialize, Clone, Debug)]";
        let _ = if n % 4 == 3 {
            writeln!(code, "{derive} pub enum T{n} {{ A{n}, B{n}(u32), C{n} {{ x{n}: u8, y: String }}, D{n}({before}) }}")
        } else {
            writeln!(
                code,
                "{derive} pub struct T{n} {{ pub id{n}: u64, pub name: String, pub amount{n}: i32, #[serde(default)] pub tags: Vec<String>, \
                 pub on: bool, pub part: Option<{before}> }}"
            )
        };
    }
    code
}

/// What generated code lends to whoever reads its types.
fn roots(count: usize) -> String {
    let runs: String = (0..count).map(|n| format!("    |_, reader| reader.read::<T{n}>(),\n")).collect();
    let types = types(count);
    format!("{types}static RUNS: &[rpc::__private::Run] = &[\n{runs}];\nfn main() {{ println!(\"{{}}\", std::hint::black_box(RUNS).len()); }}\n")
}

fn service(methods: usize) -> String {
    let types = types(2 * methods);
    let signature = |n: usize| format!("async fn m{n}(&self, a: T{}) -> Result<T{}, String>", 2 * n, 2 * n + 1);
    let each = |end: &str| (0..methods).map(|n| format!("    {}{end}\n", signature(n))).collect::<String>();
    let bodies = each(" { Err(format!(\"{a:?}\")) }");
    let calls: String = (0..methods).map(|n| format!("    let _ = big.m{n}(std::hint::black_box(None).unwrap()).await;\n")).collect();
    format!(
        "{types}#[rpc::service]\ntrait Big {{\n{}}}\nstruct My;\nimpl Big for My {{\n{bodies}}}\n\
         #[tokio::main(flavor = \"current_thread\")]\nasync fn main() {{\n    let big = BigClient::local(My);\n{calls}}}\n",
        each(";")
    )
}

/// Builds a program outside the workspace and gives the size of its code.
fn built(name: &str, main: &str) -> usize {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // target/debug/deps/code_size-1234 -> target/code_size
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("code_size");
    let package = target.join(name);
    std::fs::create_dir_all(package.join("src")).unwrap();
    let rpc = here.join("../rpc").canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\nrpc = {{ path = {rpc:?} }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\ntokio = {{ version = \"1\", features = [\"macros\", \"rt\"] }}\n"
    );
    std::fs::write(package.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(package.join("src/main.rs"), main).unwrap();
    // The workspace's versions: what is on disk already.
    std::fs::copy(here.join("../Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let build = |offline: bool| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--release", "--quiet"]).args(offline.then_some("--offline")).current_dir(&package);
        // As users have it, whatever this build is told.
        cargo.env("CARGO_TARGET_DIR", target.join("target")).env_remove("RUSTFLAGS").output().unwrap()
    };
    let mut output = build(true);
    if !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("--offline") {
        output = build(false);
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    code(&target.join("target/release").join(name))
}

/// The bytes of all sections that are executed, of a 64-bit ELF file.
fn code(path: &PathBuf) -> usize {
    const EXECUTED: usize = 4;
    let file = std::fs::read(path).unwrap();
    assert_eq!(file[..6], *b"\x7fELF\x02\x01", "a 64-bit program, lowest bytes first");
    let number = |at: usize, bytes: usize| file[at..at + bytes].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let (table, entry, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    let sections = (0..count).map(|section| table + section * entry);
    sections.filter(|section| number(section + 8, 8) & EXECUTED != 0).map(|section| number(section + 32, 8)).sum()
}

#[test]
#[ignore = "builds in release: a step of .ci/run"]
fn a_type_costs_no_more_code_than_the_budget() {
    let per = |few: usize, many: usize, count: usize| (many - few) / count;
    let root = per(built("roots_20", &roots(20)), built("roots_40", &roots(40)), 20);
    rpc_tests::report!("{root} bytes of code for a type to be traced, adapted and read from JSON");
    if std::env::var_os("RPC_LONG").is_some() {
        let method = per(built("methods_10", &service(10)), built("methods_20", &service(20)), 10);
        rpc_tests::report!("{method} bytes of code for a method with two types of its own, client and server");
    }
    assert!(root > 500, "{root}: nothing was measured");
    assert!(root <= BUDGET, "{root} bytes of code for a type, above the budget of {BUDGET}");
}
