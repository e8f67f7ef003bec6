//! `corrupt`: datagrams arrive with bits flipped, past a checksum that did not notice or was not asked for.

use super::{Cast, Fault, FaultKind, mishap};
use crate::document::Field;
use crate::fault::Toll;

pub(super) static CORRUPT: FaultKind = FaultKind {
    name: "corrupt",
    about: "A share of the datagrams on the links arrives with some bits flipped.",
    on_links: true,
    decode,
    schema: mishap::schema,
    draw: |draw, target| mishap::draw_any(draw, target, "corrupt", Toll::Corrupt { share: 0.0 }),
    absent_for: None,
};

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    mishap::decode(field, cast, "corrupt", Toll::Corrupt { share: 0.0 })
}
