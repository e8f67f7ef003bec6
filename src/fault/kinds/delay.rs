//! `delay`: what flows on a link arrives later, in order, as on a longer wire.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Cast, Draw, Effect, Fault, FaultKind, duration_schema};
use crate::document::units::show_duration;
use crate::document::{Field, Key, Val, table_schema};
use crate::fault::Toll;
use crate::fault::links::{FROM, Links, TO, some_links};
use crate::fault::target::Target;

pub(super) static DELAY: FaultKind = FaultKind {
    name: "delay",
    about: "What flows on the links arrives later by a fixed time, plus up to `jitter`, in order.",
    on_links: true,
    decode,
    schema,
    draw: draw_any,
    absent_for: None,
};

/// The longest delay; longer ones are partitions.
pub(super) const LONGEST: Duration = Duration::from_secs(600);

const KEYS: &[Key] = &[
    FROM,
    TO,
    Key { name: "by", about: "how much later", schema: duration_schema },
    Key { name: "jitter", about: "up to so much later still, drawn for each chunk", schema: duration_schema },
];

fn schema() -> Json {
    json!({ "anyOf": [duration_schema(), table_schema(KEYS, &["by"])] })
}

#[derive(Debug)]
struct Delay {
    links: Links,
    by: Duration,
    jitter: Duration,
}

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    if !some_links(field, cast) {
        return None;
    }
    let range = Duration::from_micros(1)..=LONGEST;
    if !matches!(field.node.val, Val::Table(_)) {
        let by = field.duration(range)?;
        return Some(Box::new(Delay { links: Links::ALL, by, jitter: Duration::ZERO }));
    }
    let section = field.section(&field.path, KEYS, &[])?;
    let links = Links::decode(&section, cast);
    let by = section.required("by", "by = \"200ms\"").and_then(|field| field.duration(range));
    let range = Duration::ZERO..=LONGEST;
    let jitter = section.field("jitter").map_or(Some(Duration::ZERO), |field| field.duration(range));
    Some(Box::new(Delay { links: links?, by: by?, jitter: jitter? }))
}

fn draw_any(draw: &mut Draw<'_>, target: Target) -> Box<dyn Fault> {
    let by = Duration::from_millis(draw.rng.between(50, 500));
    let jitter = Duration::from_millis(draw.rng.between(0, 50));
    Box::new(Delay { links: Links::from_target(target), by, jitter })
}

impl Fault for Delay {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        let mut rest = format!(" by {}", show_duration(self.by));
        if !self.jitter.is_zero() {
            rest.push_str(&format!(" to {}", show_duration(self.by + self.jitter)));
        }
        self.links.effect(draw, "delay", &rest, Toll::Delay { by: self.by, jitter: self.jitter })
    }
}
