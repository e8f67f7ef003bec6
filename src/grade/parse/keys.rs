//! The keys of a rubric: from them come decoding, suggestions and the schema for editors.

use serde_json::{Map, Value as Json, json};

use super::{MAX_POINTS, MAX_REPEATS};
use crate::document::{Key, table_schema};

fn text() -> Json {
    json!({ "type": "string" })
}

fn name() -> Json {
    json!({ "type": "string", "pattern": "^[^.\\s/].*$" })
}

fn duration() -> Json {
    json!({ "type": "string", "examples": ["90s", "5m"] })
}

fn repeats() -> Json {
    json!({ "type": "integer", "minimum": 1, "maximum": MAX_REPEATS })
}

fn scalars() -> Json {
    json!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
}

fn key(name: &'static str, about: &'static str, schema: fn() -> Json) -> Key {
    Key { name, about, schema }
}

/// The keys of the file.
pub(super) fn top_keys() -> Vec<Key> {
    vec![
        key("name", "the rubric's name", name),
        key("about", "what it is about", text),
        key(
            "seed",
            "from which the seed of every run is drawn (default 1)",
            || json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
        ),
        key("repeats", "how often each item is run, unless it says otherwise (default 1)", repeats),
        key("timeout", "how long a run may take, unless its item says otherwise (default 5m)", duration),
        key("submission", "what is asked of a submission, and how it starts", || {
            table_schema(&submission_keys(), &["node"])
        }),
        key(
            "item",
            "a workload with what it is worth",
            || json!({ "type": "array", "minItems": 1, "items": table_schema(&item_keys(), &["workload", "checks"]) }),
        ),
    ]
}

/// The keys of `[submission]`.
pub(super) fn submission_keys() -> Vec<Key> {
    vec![
        key("node", "how a node starts; {{ dir }} is the submission's folder", text),
        key(
            "requires",
            "files that must be there",
            || json!({ "type": "array", "items": { "type": "string" } }),
        ),
        key("build", "a command that is run once in the submission's folder", text),
        key("build-timeout", "how long the build may take (default 60s)", duration),
        key("env", "environment of the build and of the nodes", scalars),
        key("limits", "what a node may use, as in a workload's [cluster.limits]", scalars),
        key("max-size", "the most a submission may have, unpacked (default 50MiB)", text),
    ]
}

/// The keys of an `[[item]]`.
pub(super) fn item_keys() -> Vec<Key> {
    vec![
        key("workload", "the workload file, relative to the rubric", text),
        key("name", "its name; absent: that of the workload file", name),
        key("about", "what it tests", text),
        key("repeats", "how often it is run", repeats),
        key("timeout", "how long a run may take", duration),
        key("set", "settings over the workload's", || json!({ "type": "object" })),
        key("vars", "variables over the workload's", scalars),
        key("checks", "the points of each check", || {
            json!({ "type": "object", "minProperties": 1,
                    "additionalProperties": { "type": "number", "minimum": 0, "maximum": MAX_POINTS } })
        }),
        key(
            "credit",
            "how repeats become points (default share)",
            || json!({ "enum": ["share", "all-or-nothing"] }),
        ),
        key("visible", "whether students see it (default true)", || json!({ "type": "boolean" })),
    ]
}

/// The JSON Schema (draft 2020-12) of a rubric, for editors.
pub fn schema() -> Json {
    let mut document = Map::new();
    document.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    document.insert("title".into(), json!("harness rubric"));
    document.insert("description".into(), json!("What a class's submissions are graded on."));
    if let Json::Object(rest) = table_schema(&top_keys(), &["name", "submission", "item"]) {
        document.extend(rest);
    }
    Json::Object(document)
}
