//! The JSON Schema of a workload file, from the same keys that decode it.

use serde_json::{Map, Value as Json, json};

use super::decode;
use crate::document::table_schema;

/// The JSON Schema (draft 2020-12) of a workload file, for editors.
///
/// It knows shapes; what depends on other parts of the file (nodes, times, templates) only
/// [`Workload::load`](super::Workload::load) can check.
pub fn schema() -> Json {
    let mut schema = table_schema(&decode::keys(), decode::REQUIRED);
    let mut document = Map::new();
    document.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    document.insert("title".into(), json!("harness workload"));
    document.insert(
        "description".into(),
        json!("One scenario: a cluster, its clients' load, the faults and the checks."),
    );
    if let Json::Object(rest) = schema.take() {
        document.extend(rest);
    }
    Json::Object(document)
}
