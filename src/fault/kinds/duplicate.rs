//! `duplicate`: datagrams arrive twice, as after a switch has changed its mind about the way.

use super::{Cast, Fault, FaultKind, mishap};
use crate::document::Field;
use crate::fault::Toll;

pub(super) static DUPLICATE: FaultKind = FaultKind {
    name: "duplicate",
    about: "A share of the datagrams on the links arrives twice.",
    on_links: true,
    decode,
    schema: mishap::schema,
    draw: |draw, target| mishap::draw_any(draw, target, "duplicate", Toll::Duplicate { share: 0.0 }),
    absent_for: None,
};

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    mishap::decode(field, cast, "duplicate", Toll::Duplicate { share: 0.0 })
}
