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
        datagrams: now.datagrams.saturating_sub(before.datagrams),
        cut_datagrams: now.cut_datagrams.saturating_sub(before.cut_datagrams),
        delayed_datagrams: now.delayed_datagrams.saturating_sub(before.delayed_datagrams),
        dropped_datagrams: now.dropped_datagrams.saturating_sub(before.dropped_datagrams),
        duplicated_datagrams: now.duplicated_datagrams.saturating_sub(before.duplicated_datagrams),
        reordered_datagrams: now.reordered_datagrams.saturating_sub(before.reordered_datagrams),
        corrupted_datagrams: now.corrupted_datagrams.saturating_sub(before.corrupted_datagrams),
        bypasses: now.bypasses.saturating_sub(before.bypasses),
    }
}

pub(super) fn link_json(during: &LinkTotals) -> Json {
    let mut counted = json!({
        "delivered_bytes": during.delivered_bytes,
        "held_bytes": during.held_bytes,
        "held_connections": during.held_connections,
        "delayed_bytes": during.delayed_bytes,
        "reset_connections": during.reset_connections,
        "bypasses": during.bypasses,
    });
    // Most systems have none.
    if datagrams(during) + during.delayed_datagrams > 0 {
        counted["datagrams"] = json!(during.datagrams);
        counted["cut_datagrams"] = json!(during.cut_datagrams);
        counted["delayed_datagrams"] = json!(during.delayed_datagrams);
        counted["dropped_datagrams"] = json!(during.dropped_datagrams);
        counted["duplicated_datagrams"] = json!(during.duplicated_datagrams);
        counted["reordered_datagrams"] = json!(during.reordered_datagrams);
        counted["corrupted_datagrams"] = json!(during.corrupted_datagrams);
    }
    counted
}

/// A link that carried nothing may still have been cut; one that delivered while it was cut, or was walked around, was not.
pub(super) fn link_failure(from: &str, to: &str, toll: Toll, during: &LinkTotals) -> Option<String> {
    if during.bypasses > 0 {
        return Some(format!("the fault on {from}→{to} did not hold: {from} talked to {to} past its link"));
    }
    // What was in the kernel's buffers when the cut fell still arrives.
    const UNDER_WAY_BYTES: u64 = 4 << 20;
    const UNDER_WAY_DATAGRAMS: u64 = 1_000;
    let crossed = match *during {
        LinkTotals { delivered_bytes, .. } if delivered_bytes > UNDER_WAY_BYTES => {
            format!("{delivered_bytes} bytes")
        }
        LinkTotals { datagrams, .. } if datagrams > UNDER_WAY_DATAGRAMS => format!("{datagrams} datagrams"),
        _ => return None,
    };
    (toll == Toll::Cut).then(|| format!("{crossed} crossed {from}→{to} while it was cut"))
}

/// Datagrams that came to the link, whatever became of them; those still on their way aside.
pub(super) fn datagrams(during: &LinkTotals) -> u64 {
    let copies = during.duplicated_datagrams;
    (during.datagrams + during.cut_datagrams + during.dropped_datagrams).saturating_sub(copies)
}

/// What a fault on datagrams has come to over all of its links.
#[derive(Debug, Default)]
pub(super) struct Mishaps {
    f: &'static str,
    /// Datagrams on its links since the run began, and of those the ones that came while it was in force.
    ever: u64,
    meanwhile: u64,
    /// How many were to be affected, on the average, and how many were.
    expected: f64,
    affected: u64,
}

impl Mishaps {
    /// A toll of the fault: what its link has counted since the run began, and while the fault was in force.
    pub fn add(&mut self, toll: Toll, ever: &LinkTotals, during: &LinkTotals) {
        let (f, share, affected) = match toll {
            Toll::Drop { share } => ("dropped", share, during.dropped_datagrams),
            Toll::Duplicate { share } => ("duplicated", share, during.duplicated_datagrams),
            Toll::Corrupt { share } => ("damaged", share, during.corrupted_datagrams),
            // Whether one is overtaken depends on what comes behind it.
            Toll::Reorder { .. } => ("reordered", 0.0, during.reordered_datagrams),
            _ => return,
        };
        self.f = f;
        self.ever += datagrams(ever);
        // Those that a cut took first were not there to be affected.
        let open = datagrams(during).saturating_sub(during.cut_datagrams);
        self.meanwhile += open;
        self.expected += share * open as f64;
        self.affected += affected;
    }

    /// Chance may spare a few, and a while may pass without any; but where none ever came there was nothing to befall, and
    /// chance does not spare as many as these: less than once in 10⁹ runs.
    pub fn failure(&self) -> Option<String> {
        const CERTAIN: f64 = 21.0;
        match self {
            Mishaps { f: "", .. } => None,
            Mishaps { ever: 0, .. } => {
                Some("no datagram ever crossed its links; it does nothing to TCP".to_owned())
            }
            Mishaps { f, affected: 0, expected, meanwhile, .. } if *expected > CERTAIN => {
                Some(format!("of {meanwhile} datagrams that crossed its links none was {f}"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(toll: Toll, before: LinkTotals, now: LinkTotals) -> Option<String> {
        let mut mishaps = Mishaps::default();
        mishaps.add(toll, &now, &since(before, now));
        mishaps.failure()
    }

    #[test]
    fn a_fault_on_datagrams_needs_datagrams_and_must_have_met_some() {
        let none = LinkTotals { delivered_bytes: 1_000_000, ..LinkTotals::default() };
        let some = LinkTotals { datagrams: 300, ..none };
        let (drop, rare) = (Toll::Drop { share: 0.1 }, Toll::Drop { share: 0.001 });
        let never = "no datagram ever crossed its links; it does nothing to TCP";
        assert_eq!(failure(drop, none, none).as_deref(), Some(never));
        let spared = "of 300 datagrams that crossed its links none was dropped";
        assert_eq!(failure(drop, none, some).as_deref(), Some(spared));
        assert_eq!(failure(rare, none, some), None, "chance");
        assert_eq!(failure(drop, some, some), None, "a silent moment of a link that does carry datagrams");
        assert_eq!(failure(drop, none, LinkTotals { dropped_datagrams: 1, ..some }), None);
        assert_eq!(failure(Toll::Cut, none, none), None, "no fault on datagrams alone");
        let held = Toll::Reorder { share: 1.0, within: std::time::Duration::from_millis(1) };
        assert_eq!(failure(held, none, some), None, "there may be nothing to overtake them");
        let cut = LinkTotals { cut_datagrams: 300, ..none };
        assert_eq!(failure(drop, none, cut), None, "a cut took them first");
    }
}
