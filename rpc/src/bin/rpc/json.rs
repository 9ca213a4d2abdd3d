//! JSON as it is typed and as it is shown.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A text that is JSON, of which each key means something.
///
/// # Errors
/// As a server has them: a key that stands twice in an object is refused. `Value` takes the last one in silence.
pub(crate) fn parse(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str::<Unique>(text)?;
    serde_json::from_str(text)
}

/// Passes over JSON, and finds keys that stand twice.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self, A::Error> {
        while access.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = access.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format_args!("duplicate key `{key}`")));
            }
            keys.insert(key);
            access.next_value::<Self>()?;
        }
        Ok(self)
    }
}

/// What a call takes: an array by position, an object by name. Anything else is the only argument.
pub(crate) fn arguments(json: Value) -> Value {
    match json {
        Value::Array(_) | Value::Object(_) => json,
        only => Value::Array(vec![only]),
    }
}

/// On several lines, for people; on one, for programs.
pub(crate) fn text(json: &Value, pretty: bool) -> String {
    shown(&if pretty { format!("{json:#}") } else { json.to_string() })
}

/// The same JSON, of which nothing is a command to a terminal: what JSON leaves as it is and should not be is escaped. So a program
/// that reads it gets what the server sent.
pub(crate) fn shown(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // DEL and C1, for JSON has escaped all others but the ends of its own lines; and what turns the direction of a text.
            '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_value_is_the_only_argument() {
        assert_eq!(arguments(json!(null)), json!([null]));
        assert_eq!(arguments(json!({ "a": 1 })), json!({ "a": 1 }));
        assert_eq!(arguments(json!([1, 2])), json!([1, 2]));
    }

    #[test]
    fn no_text_of_a_server_is_a_command_to_the_terminal() {
        assert_eq!(text(&json!({ "a": "\u{9b}2J\u{1b}[2J" }), false), "{\"a\":\"\\u009b2J\\u001b[2J\"}");
        assert_eq!(text(&json!({ "a": [1] }), true), "{\n  \"a\": [\n    1\n  ]\n}");
    }

    #[test]
    fn what_is_shown_is_the_same_json() {
        let sent = json!({ "\u{85}": "\u{7f}\u{9b}\u{202e}\u{2066}\u{200f} \"\\ \n ß \u{1f375}" });
        for pretty in [true, false] {
            let text = text(&sent, pretty);
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()) && !text.contains('\u{202e}') && text.contains('ß'), "{text}");
            assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), sent);
        }
    }

    #[test]
    fn a_key_stands_once() {
        assert_eq!(
            parse(r#"[{"a": 1, "b": {"a": -2.5}}, null, true, "a"]"#).expect("JSON"),
            json!([{ "a": 1, "b": { "a": -2.5 } }, null, true, "a"])
        );
        for twice in [r#"{"a": 1, "a": 1}"#, r#"[[{"b": {"a": 1, "\u0061": 2}}]]"#] {
            let said = parse(twice).expect_err("a key stands twice").to_string();
            assert!(said.starts_with("duplicate key `a` at line 1 column "), "{said}");
        }
        assert!(parse("[1").is_err() && parse("1 2").is_err());
    }
}
