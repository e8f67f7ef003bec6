//! One event as our own recorder writes it.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::history::import::Seen;

/// Appends one event.
pub(super) fn event(seen: &Seen<'_>, out: &mut String) {
    let _ = write!(
        out,
        "{{\"index\":{},\"time\":{},\"process\":{},\"type\":\"{}\",\"f\":{}",
        seen.position,
        super::time(seen),
        seen.process,
        seen.kind,
        Json::from(seen.f)
    );
    if !seen.key.is_nil() {
        let _ = write!(out, ",\"key\":{}", seen.key.to_json());
    }
    let _ = write!(out, ",\"value\":{}", seen.value);
    for (name, value) in seen.more {
        let _ = write!(out, ",{}:{value}", Json::from(name.as_str()));
    }
    out.push('}');
}
