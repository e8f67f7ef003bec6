//! What a completion says again of what was invoked.
//!
//! The completion of an operation that brings a value along (a write) carries the same value in every format, or none. One
//! that carries another leaves open which of the two the object holds, and every verdict would rest on a guess. What answers
//! instead of repeating is no contradiction: reads and dequeues, the reads within a transaction, a compare-and-set
//! (whose clients answer with the pair, the new value or a truth value), an increment that tells the sum.

use serde_json::Value as Json;

use crate::history::Value;

/// How the `ok` completion of `f` contradicts its invocation, to follow "process 3 completes"; `None`: not at all.
pub(super) fn contradiction(f: &str, asked: &Value, answered: &Value) -> Option<String> {
    match f {
        "write" | "put" | "append" | "enqueue" | "add" | "remove" if answered != asked => {
            Some(format!("its {f} of {} with {answered}", show(asked)))
        }
        "txn" => another_transaction(&parts(asked)?, &parts(answered)?),
        _ => None,
    }
}

/// The first part of a transaction that is not the one that was invoked.
fn another_transaction(asked: &[Json], answered: &[Json]) -> Option<String> {
    if asked.len() != answered.len() {
        return Some(format!("a transaction of {} parts with {}", asked.len(), answered.len()));
    }
    let differs = |(asked, answered): &(&Json, &Json)| match (asked.as_array(), answered.as_array()) {
        (Some(asked), Some(answered)) => {
            let reads = matches!(asked.first().and_then(Json::as_str), Some("r" | "read"));
            // Of a read the value is the answer.
            let said = if reads { 2 } else { asked.len().max(answered.len()) };
            asked.iter().take(said).ne(answered.iter().take(said))
        }
        _ => asked != answered,
    };
    let (asked, answered) = asked.iter().zip(answered).find(differs)?;
    Some(format!("{asked} of a transaction with {answered}"))
}

fn parts(value: &Value) -> Option<Vec<Json>> {
    let Value::Json(text) = value else { return None };
    match serde_json::from_str(text) {
        Ok(Json::Array(parts)) => Some(parts),
        _ => None,
    }
}

fn show(value: &Value) -> String {
    if value.is_nil() { "nil".into() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::from_json(&serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    #[test]
    fn only_what_brings_a_value_along_must_repeat_it() {
        for (f, asked, answered, expected) in [
            ("write", "3", "3", None),
            ("write", "17", "17.0", None),
            ("write", "3", "4", Some("its write of 3 with 4")),
            ("write", "null", "4", Some("its write of nil with 4")),
            ("enqueue", "3", "true", Some("its enqueue of 3 with true")),
            ("append", "\"x\"", "\"xx\"", Some("its append of \"x\" with \"xx\"")),
            ("read", "null", "4", None),
            ("read", "3", "4", None),
            ("dequeue", "null", "4", None),
            ("cas", "[1, 2]", "true", None),
            ("increment", "1", "5", None),
            ("txn", r#"[["r","x",null],["w","y",1]]"#, r#"[["r","x",4],["w","y",1]]"#, None),
            (
                "txn",
                r#"[["r","x",null],["w","y",1]]"#,
                r#"[["r","x",4],["w","y",2]]"#,
                Some(r#"["w","y",1] of a transaction with ["w","y",2]"#),
            ),
            (
                "txn",
                r#"[["r","x",null]]"#,
                r#"[["r","y",1]]"#,
                Some(r#"["r","x",null] of a transaction with ["r","y",1]"#),
            ),
            (
                "txn",
                r#"[["w","y",1]]"#,
                r#"[["w","y",1],["w","y",2]]"#,
                Some("a transaction of 1 parts with 2"),
            ),
        ] {
            let found = contradiction(f, &value(asked), &value(answered));
            assert_eq!(found.as_deref(), expected, "{f} {asked} {answered}");
        }
    }
}
