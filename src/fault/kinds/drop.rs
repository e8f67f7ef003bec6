//! `drop`: datagrams are lost, as on a bad line or at a router whose queue is full.

use super::{Cast, Fault, FaultKind, mishap};
use crate::document::Field;
use crate::fault::Toll;

pub(super) static DROP: FaultKind = FaultKind {
    name: "drop",
    about: "A share of the datagrams on the links is lost.",
    on_links: true,
    decode,
    schema: mishap::schema,
    draw: |draw, target| mishap::draw_any(draw, target, "drop", Toll::Drop { share: 0.0 }),
    absent_for: None,
};

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    mishap::decode(field, cast, "drop", Toll::Drop { share: 0.0 })
}
