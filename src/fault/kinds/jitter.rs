//! `jitter`: what flows on a link arrives later by a random time, in order.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Cast, Draw, Effect, Fault, FaultKind, delay::LONGEST, duration_schema};
use crate::document::units::show_duration;
use crate::document::{Field, Key, Val, table_schema};
use crate::fault::Toll;
use crate::fault::links::{FROM, Links, TO, some_links};
use crate::fault::target::Target;

pub(super) static JITTER: FaultKind = FaultKind {
    name: "jitter",
    about: "What flows on the links arrives later by a random time up to the one given, in order.",
    on_links: true,
    decode,
    schema,
    draw: draw_any,
    absent_for: None,
};

const KEYS: &[Key] = &[
    FROM,
    TO,
    Key { name: "by", about: "up to so much later, drawn for each chunk", schema: duration_schema },
];

fn schema() -> Json {
    json!({ "anyOf": [duration_schema(), table_schema(KEYS, &["by"])] })
}

#[derive(Debug)]
struct Jitter {
    links: Links,
    by: Duration,
}

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    if !some_links(field, cast) {
        return None;
    }
    let range = Duration::from_micros(1)..=LONGEST;
    if !matches!(field.node.val, Val::Table(_)) {
        return Some(Box::new(Jitter { links: Links::ALL, by: field.duration(range)? }));
    }
    let section = field.section(&field.path, KEYS, &[])?;
    let links = Links::decode(&section, cast);
    let by = section.required("by", "by = \"200ms\"").and_then(|field| field.duration(range));
    Some(Box::new(Jitter { links: links?, by: by? }))
}

fn draw_any(draw: &mut Draw<'_>, target: Target) -> Box<dyn Fault> {
    let by = Duration::from_millis(draw.rng.between(20, 300));
    Box::new(Jitter { links: Links::from_target(target), by })
}

impl Fault for Jitter {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        let rest = format!(" up to {}", show_duration(self.by));
        self.links.effect(draw, "jitter", &rest, Toll::Delay { by: Duration::ZERO, jitter: self.by })
    }
}
