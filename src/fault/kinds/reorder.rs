//! `reorder`: datagrams are overtaken by later ones, as where a network has several ways.

use std::time::Duration;

use serde_json::Value as Json;

use super::{Cast, Fault, FaultKind, duration_schema, mishap};
use crate::document::{Field, Key};
use crate::fault::Toll;
use crate::fault::links::{FROM, TO};

pub(super) static REORDER: FaultKind = FaultKind {
    name: "reorder",
    about: "A share of the datagrams on the links is held back until later ones have overtaken it.",
    on_links: true,
    decode,
    schema,
    draw: |draw, target| mishap::draw_any(draw, target, "reorder", NONE),
    absent_for: None,
};

/// How long one waits to be overtaken where nothing else is said: less than what protocols wait before they send again.
const WITHIN: Duration = Duration::from_millis(100);
const NONE: Toll = Toll::Reorder { share: 0.0, within: WITHIN };

const KEYS: &[Key] = &[
    FROM,
    TO,
    mishap::SHARE,
    Key {
        name: "within",
        about: "how long a datagram waits to be overtaken at most (default 100ms)",
        schema: duration_schema,
    },
];

fn schema() -> Json {
    mishap::schema_of(KEYS)
}

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    mishap::decode_with(field, cast, "reorder", KEYS, |section| {
        let range = Duration::from_millis(1)..=Duration::from_secs(600);
        let within = match section.and_then(|section| section.field("within")) {
            Some(field) => field.duration(range)?,
            None => WITHIN,
        };
        Some(Toll::Reorder { share: 0.0, within })
    })
}
