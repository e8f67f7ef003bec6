//! `[client]`: how clients talk to nodes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{key, or_default, text_schema};
use crate::client::{Protocol, protocol::BUILT_IN};
use crate::document::{Field, Key, Section, nearest};
use crate::fault::kinds::duration_schema;
use crate::workload::ClientSpec;

/// The keys of `[client]`.
pub(in crate::workload) fn client_keys() -> Vec<Key> {
    vec![
        key(
            "protocol",
            "a built-in protocol, or the path of a protocol file, relative to the workload",
            text_schema,
        ),
        key("timeout", "of one operation (default 1s)", duration_schema),
        key(
            "max-in-flight",
            "operations in flight at one node at a time; absent: no limit",
            || json!({ "type": "integer", "minimum": 1, "maximum": 10000 }),
        ),
        key(
            "probe",
            "how often each node is asked for its role and term; absent: every 100ms where something depends on it",
            duration_schema,
        ),
    ]
}

/// Reads `[client]`; `beside` is the workload's folder. The protocol is loaded to see that it can be, and answered
/// because the load's operations depend on it.
pub(in crate::workload) fn client(
    section: &Section<'_>,
    beside: &Path,
) -> Option<(ClientSpec, Arc<Protocol>)> {
    let named =
        section.required("protocol", "protocol = \"lab2\"").and_then(|field| protocol(&field, beside));
    let range = Duration::from_millis(1)..=Duration::from_secs(3600);
    let timeout = or_default(section.field("timeout"), Duration::from_secs(1), |field| field.duration(range));
    let max_in_flight = or_default(section.field("max-in-flight"), None, |field| {
        Some(u32::try_from(field.whole(1..=10_000)?).ok())
    });
    let range = Duration::from_millis(10)..=Duration::from_secs(60);
    let probe = or_default(section.field("probe"), None, |field| field.duration(range).map(Some));
    let (name, protocol) = named?;
    if let (Some(field), false) = (section.field("probe"), protocol.has("status")) {
        let title = format!("asks for a status that the protocol {:?} does not teach", protocol.name());
        field.fail(title, "expected a protocol with a `[status]`");
        return None;
    }
    // A mistake was noted for whatever is `None`, so these clients never run; the load can be held against the protocol.
    let timeout = timeout.unwrap_or_default();
    let spec = ClientSpec {
        protocol: name,
        timeout,
        max_in_flight: max_in_flight.flatten(),
        probe: probe.flatten(),
    };
    Some((spec, protocol))
}

/// How often nodes are asked for their status where the workload does not say.
pub(in crate::workload) const DEFAULT_PROBE: Duration = Duration::from_millis(100);

fn protocol(field: &Field<'_>, beside: &Path) -> Option<(String, Arc<Protocol>)> {
    let name = field.text()?;
    let is_path = name.contains('/') || name.ends_with(".toml");
    if is_path && !beside.join(name).is_file() {
        let title = format!("names no file: {}", beside.join(name).display());
        field.fail(title, "expected a protocol file, relative to the workload");
        return None;
    }
    let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
    if !is_path && !names.contains(&name) {
        let title = format!("names an unknown protocol: {name:?}");
        let fallback = format!("expected {} or the path of a protocol file", names.join(", "));
        let label = nearest(name, names).map_or(fallback, |near| format!("did you mean `{near}`?"));
        field.fail(title, label);
        return None;
    }
    match Protocol::load(name, beside) {
        Ok(protocol) => Some((name.to_owned(), protocol)),
        Err(error) => {
            let title = match error.mistakes.len() {
                1 => "names a protocol file with a mistake in it",
                _ => "names a protocol file with mistakes in it",
            };
            field.fail_help(title, "this file", Some(error.to_string()));
            None
        }
    }
}
