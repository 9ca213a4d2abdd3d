//! `docs/limits.md` says what `Limits::default()` is, field by field.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use rpc::Limits;

/// `4 MiB`, `1,024` and `10 s` as `Debug` writes the field.
fn value(text: &str) -> String {
    match text.split_once(' ') {
        Some((number, "KiB")) => (number.parse::<usize>().unwrap() << 10).to_string(),
        Some((number, "MiB")) => (number.parse::<usize>().unwrap() << 20).to_string(),
        Some((number, unit)) => format!("{number}{unit}"),
        None => text.replace(',', ""),
    }
}

#[test]
fn the_document_and_the_defaults_agree() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md")).unwrap();
    let documented: BTreeMap<String, String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter(|(name, _)| *name != "Limits")
        .map(|(name, rest)| (name.to_owned(), value(rest.split_once(" |").unwrap().0)))
        .collect();
    let limits = format!("{:?}", Limits::default());
    let fields = limits.strip_prefix("Limits { ").and_then(|fields| fields.strip_suffix(" }")).unwrap();
    let defaults: BTreeMap<String, String> =
        fields.split(", ").map(|field| field.split_once(": ").unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(documented, defaults);
}
