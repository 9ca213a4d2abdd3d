//! JSON as it is typed and as it is shown.

use serde_json::Value;

/// What a call takes: an array by position, an object by name. Anything else is the only argument.
pub(crate) fn arguments(json: Value) -> Value {
    match json {
        Value::Array(_) | Value::Object(_) => json,
        only => Value::Array(vec![only]),
    }
}

/// On several lines, for people; on one, for programs.
pub(crate) fn text(json: &Value, pretty: bool) -> String {
    let text = if pretty { format!("{json:#}") } else { json.to_string() };
    // Control characters of C1 pass through JSON, and mean something to a terminal.
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
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
        assert_eq!(text(&json!({ "a": "\u{9b}2J\u{1b}[2J" }), false), "{\"a\":\"\u{fffd}2J\\u001b[2J\"}");
        assert_eq!(text(&json!({ "a": [1] }), true), "{\n  \"a\": [\n    1\n  ]\n}");
    }
}
