//! Whether a link really did what was asked of it.

use serde_json::{Value as Json, json};

use crate::fault::Toll;
use crate::fault::world::LinkTotals;

pub(super) fn since(before: LinkTotals, now: LinkTotals) -> LinkTotals {
    LinkTotals {
        delivered_bytes: now.delivered_bytes.saturating_sub(before.delivered_bytes),
        held_bytes: now.held_bytes.saturating_sub(before.held_bytes),
        held_connections: now.held_connections.saturating_sub(before.held_connections),
        delayed_bytes: now.delayed_bytes.saturating_sub(before.delayed_bytes),
        reset_connections: now.reset_connections.saturating_sub(before.reset_connections),
        bypasses: now.bypasses.saturating_sub(before.bypasses),
    }
}

pub(super) fn link_json(during: &LinkTotals) -> Json {
    json!({
        "delivered_bytes": during.delivered_bytes,
        "held_bytes": during.held_bytes,
        "held_connections": during.held_connections,
        "delayed_bytes": during.delayed_bytes,
        "reset_connections": during.reset_connections,
        "bypasses": during.bypasses,
    })
}

/// A link that carried nothing may still have been cut; one that delivered while it was cut, or was walked around, was not.
pub(super) fn link_failure(from: &str, to: &str, toll: Toll, during: &LinkTotals) -> Option<String> {
    if during.bypasses > 0 {
        return Some(format!("the fault on {from}→{to} did not hold: {from} talked to {to} past its link"));
    }
    // What was in the kernel's buffers when the cut fell still arrives.
    const UNDER_WAY_BYTES: u64 = 4 << 20;
    (toll == Toll::Cut && during.delivered_bytes > UNDER_WAY_BYTES)
        .then(|| format!("{} bytes crossed {from}→{to} while it was cut", during.delivered_bytes))
}
