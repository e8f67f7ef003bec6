//! What the faults on datagrams have in common: a share of what flows on some links.

use serde_json::{Value as Json, json};

use super::{Cast, Draw, Effect, Fault};
use crate::document::{Field, Key, Section, Val, table_schema};
use crate::fault::Toll;
use crate::fault::links::{FROM, Links, TO, some_links};
use crate::fault::target::Target;

/// The key of the share, beside `from` and `to`.
pub(super) const SHARE: Key =
    Key { name: "share", about: "which share of the datagrams, 0 to 1", schema: share_schema };

/// The keys of a fault that is a share and nothing else.
const KEYS: &[Key] = &[FROM, TO, SHARE];

/// Below, a run sees none.
const LEAST: f64 = 0.0001;

/// This happens to a share of the datagrams.
#[derive(Debug)]
pub(super) struct Mishap {
    links: Links,
    share: f64,
    /// "drop", for the label.
    verb: &'static str,
    /// As [`Toll`] has it; the share is put in.
    toll: Toll,
}

fn share_schema() -> Json {
    json!({ "type": "number", "minimum": LEAST, "maximum": 1 })
}

/// A share of all links, or a table with `keys`.
pub(super) fn schema_of(keys: &[Key]) -> Json {
    json!({ "anyOf": [share_schema(), table_schema(keys, &["share"])] })
}

pub(super) fn schema() -> Json {
    schema_of(KEYS)
}

/// `verb = 0.1` on all links, or `verb = { from = "A", to = "B", share = 0.1 }`.
pub(super) fn decode(
    field: &Field<'_>,
    cast: &Cast<'_>,
    verb: &'static str,
    toll: Toll,
) -> Option<Box<dyn Fault>> {
    decode_with(field, cast, verb, KEYS, |_| Some(toll))
}

/// As [`decode`], with `keys` of its own beside those of [`KEYS`], which `toll` reads; it is given no table where there is
/// only a share.
pub(super) fn decode_with(
    field: &Field<'_>,
    cast: &Cast<'_>,
    verb: &'static str,
    keys: &[Key],
    toll: impl FnOnce(Option<&Section<'_>>) -> Option<Toll>,
) -> Option<Box<dyn Fault>> {
    if !some_links(field, cast) {
        return None;
    }
    if !matches!(field.node.val, Val::Table(_)) {
        let share = field.number(LEAST..=1.0)?;
        return Some(Box::new(Mishap { links: Links::ALL, share, verb, toll: toll(None)? }));
    }
    let section = field.section(&field.path, keys, &[])?;
    let links = Links::decode(&section, cast);
    let share = section.required("share", "share = 0.1").and_then(|field| field.number(LEAST..=1.0));
    let toll = toll(Some(&section));
    Some(Box::new(Mishap { links: links?, share: share?, verb, toll: toll? }))
}

/// What `[chaos]` draws: from one datagram in twenty to two in five.
pub(super) fn draw_any(
    draw: &mut Draw<'_>,
    target: Target,
    verb: &'static str,
    toll: Toll,
) -> Box<dyn Fault> {
    let share = draw.rng.between(5, 40) as f64 / 100.0;
    Box::new(Mishap { links: Links::from_target(target), share, verb, toll })
}

impl Fault for Mishap {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        let share = self.share;
        let toll = match self.toll {
            Toll::Drop { .. } => Toll::Drop { share },
            Toll::Duplicate { .. } => Toll::Duplicate { share },
            Toll::Reorder { within, .. } => Toll::Reorder { share, within },
            Toll::Corrupt { .. } => Toll::Corrupt { share },
            other => other,
        };
        // In percent, without the noise of binary fractions.
        let percent = (share * 1e6).round() / 1e4;
        self.links.effect(draw, &format!("{} {percent}% on", self.verb), "", toll)
    }
}
