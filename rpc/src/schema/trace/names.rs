//! What the compiler's names of types and visitors tell. They may change with the compiler: then texts are less exact and a few types
//! lose their path, no more. Hashes do not depend on them.

use std::any::type_name;

use crate::frame::payload::{Bytes, CowStr, SharedBytes};
use crate::schema::source::{Ask, Kind};

/// Structs and enums of the standard library that mean more than their structure tells: their name, what their visitor makes, and
/// their path.
const SPECIAL: &[(&str, &str, &str)] = &[
    ("Duration", "core::time::Duration", "core::time::Duration"),
    ("SystemTime", "core::time::Duration", "std::time::SystemTime"),
    ("IpAddr", "core::net::ip_addr::IpAddr", "core::net::ip_addr::IpAddr"),
    ("SocketAddr", "core::net::socket_addr::SocketAddr", "core::net::socket_addr::SocketAddr"),
];

/// Crates whose types are no more than bytes.
const PLAIN: &[&str] = &["bytes::", "serde_bytes::"];

/// A path outside of the standard library, such as `uuid::Uuid`.
pub(super) fn is_own(value: &str) -> bool {
    let Some((krate, _)) = value.split_once("::") else { return false };
    let is_path = krate.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    let is_ours = [type_name::<CowStr<'static>>(), type_name::<Bytes<'static>>(), type_name::<SharedBytes>()].contains(&value);
    is_path && !is_ours && !matches!(krate, "alloc" | "core" | "std") && !PLAIN.iter().any(|plain| value.starts_with(plain))
}

/// The path that a struct or enum has in the schema.
pub(super) fn special(name: &str, value: &str) -> Option<&'static str> {
    SPECIAL.iter().find(|special| special.0 == name && special.1 == value).map(|special| special.2)
}

/// serde_derive made this visitor of a struct, an enum or a variant.
pub(super) fn is_derived(visitor: &str) -> bool {
    visitor.split("::").any(|segment| segment == "__Visitor" || segment.starts_with("__Visitor<"))
}

/// The type whose derived `Deserialize` has this in it.
fn owner(visitor: &str) -> Option<String> {
    let (_, rest) = visitor.split_once("Deserialize for ")?;
    let (name, _) = rest.split_once(">::deserialize")?;
    Some(short(name))
}

/// A type without the paths of modules: `Vec<Line>`.
pub(crate) fn short(name: &str) -> String {
    let mut short = String::new();
    let mut word = String::new();
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_alphanumeric() || letter == '_' {
            word.push(letter);
        } else if letter == ':' && letters.peek() == Some(&':') {
            letters.next();
            word.clear();
        } else {
            short.push_str(&word);
            word.clear();
            short.push(letter);
        }
    }
    short + &word
}

const NEEDS: &str = "needs a format that says what it holds, which postcard is not";

/// Why a type that asks this cannot travel; `context` is where it stands.
pub(super) fn self_describing(ask: &Ask, context: &str) -> String {
    let visitor = ask.visitor();
    if visitor.contains("TaggedContentVisitor") {
        let name = owner(visitor).unwrap_or_else(|| context.to_owned());
        return format!("{name}: #[serde(tag)] {NEEDS}: leave the attribute out");
    }
    if matches!(ask.kind, Kind::Map) {
        let name = owner(visitor).unwrap_or_else(|| context.to_owned());
        return format!("{name}: #[serde(flatten)] {NEEDS}: make it an ordinary field");
    }
    if visitor.contains("ContentVisitor") {
        return format!("{context}: #[serde(untagged)] {NEEDS}: leave the attribute out");
    }
    if is_derived(visitor) {
        let name = owner(visitor).unwrap_or_else(|| context.to_owned());
        return format!("{name}: #[serde(tag, content)] {NEEDS}: leave the attributes out");
    }
    let method = match ask.kind {
        Kind::Identifier => "deserialize_identifier",
        Kind::Ignored => "deserialize_ignored_any",
        _ => "deserialize_any",
    };
    format!("{context}: {} calls {method}, which {NEEDS}", short(ask.value()))
}

/// What is wrong with a part that is one type for some values and another for others.
pub(super) fn varying(context: &str) -> String {
    format!(
        "{context}: what is here depends on what was read before it (as with #[serde(tag, content)]): both ends must have the same \
         version of it, and it cannot be checked that they do"
    )
}
