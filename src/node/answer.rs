//! Answers and refusals, all of them JSON.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value as Json;

/// How deep arrays and objects may be nested in a value. The log and the peers put it into objects of their own, and a
/// JSON reader gives up at 128.
pub const MAX_DEPTH: usize = 100;

/// An answer with a JSON body.
pub fn json(status: StatusCode, body: &Json) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// A value as an error message shows it: its first 40 characters.
pub fn brief(json: &Json) -> String {
    let text = json.to_string();
    if text.chars().count() <= 40 { text } else { text.chars().take(40).chain(['…']).collect() }
}

/// Whether `value` is nested deeper than `levels`.
pub fn is_deeper_than(value: &Json, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return value.is_array() || value.is_object() };
    match value {
        Json::Array(items) => items.iter().any(|item| is_deeper_than(item, below)),
        Json::Object(fields) => fields.values().any(|item| is_deeper_than(item, below)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_in_levels() {
        let nested = |levels| {
            let text = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
            serde_json::from_str::<Json>(&text).unwrap()
        };
        for levels in 0..5 {
            assert!(!is_deeper_than(&nested(levels), levels), "{levels}");
            assert!(levels == 0 || is_deeper_than(&nested(levels), levels - 1), "{levels}");
        }
        assert!(is_deeper_than(&serde_json::json!({"a": [1, {"b": 2}]}), 2));
    }
}
