//! `throttle`: a link carries at most so many bytes a second.

use serde_json::{Value as Json, json};

use super::{Cast, Draw, Effect, Fault, FaultKind};
use crate::document::units::{rate, show_size};
use crate::document::{Field, Key, Val, table_schema};
use crate::fault::Toll;
use crate::fault::links::{FROM, Links, TO, some_links};
use crate::fault::target::Target;

pub(super) static THROTTLE: FaultKind = FaultKind {
    name: "throttle",
    about: "The links carry at most so many bytes a second.",
    on_links: true,
    decode,
    schema,
    draw: draw_any,
    absent_for: None,
};

const KEYS: &[Key] =
    &[FROM, TO, Key { name: "rate", about: "bytes a second: \"64KiB/s\"", schema: rate_schema }];

fn rate_schema() -> Json {
    json!({ "type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]+)?\\s*([kKMGmg][iI]?)?[bB](/s|/sec)?\\s*$" })
}

fn schema() -> Json {
    json!({ "anyOf": [rate_schema(), table_schema(KEYS, &["rate"])] })
}

#[derive(Debug)]
struct Throttle {
    links: Links,
    rate: u64,
}

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    if !some_links(field, cast) {
        return None;
    }
    if !matches!(field.node.val, Val::Table(_)) {
        return Some(Box::new(Throttle { links: Links::ALL, rate: field.unit(rate, "64KiB/s")? }));
    }
    let section = field.section(&field.path, KEYS, &[])?;
    let links = Links::decode(&section, cast);
    let rate = section.required("rate", "rate = \"64KiB/s\"").and_then(|field| field.unit(rate, "64KiB/s"));
    Some(Box::new(Throttle { links: links?, rate: rate? }))
}

fn draw_any(draw: &mut Draw<'_>, target: Target) -> Box<dyn Fault> {
    let rate = draw.rng.between(2, 32) << 10;
    Box::new(Throttle { links: Links::from_target(target), rate })
}

impl Fault for Throttle {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        let rest = format!(" to {}/s", show_size(self.rate));
        self.links.effect(draw, "throttle", &rest, Toll::Throttle { rate: self.rate })
    }
}
