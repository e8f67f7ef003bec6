//! `restart`: SIGTERM, and started again as soon as it has ended.

use std::time::Duration;

use super::{Cast, Draw, Effect, Fault, FaultKind};
use crate::document::Field;
use crate::fault::target::Target;
use crate::fault::{Demand, HowDown};

pub(super) static RESTART: FaultKind = FaultKind {
    name: "restart",
    about: "SIGTERM, then started again: at once when it has ended, or when `for` has passed.",
    on_links: false,
    decode,
    schema: Target::schema,
    draw: |_, target| Box::new(Restart(target)),
    // Not zero: a window in which nothing is in force demands nothing. The node is down until it has ended anyway.
    absent_for: Some(Duration::from_millis(1)),
};

#[derive(Debug)]
struct Restart(Target);

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    Some(Box::new(Restart(Target::decode(field, cast)?)))
}

impl Fault for Restart {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        let nodes = self.0.draw(draw);
        let label = format!("restart {}", nodes.join(", "));
        Effect::on_nodes(label, nodes, |node| Demand::Down { node, how: HowDown::Stop })
    }
}
