//! `stop`: SIGTERM to the process group.

use super::{Cast, Draw, Effect, Fault, FaultKind};
use crate::document::Field;
use crate::fault::target::Target;
use crate::fault::{Demand, HowDown};

pub(super) static STOP: FaultKind = FaultKind {
    name: "stop",
    about: "SIGTERM (SIGKILL after 2 s) to the node's process group; it is started again when `for` has passed.",
    on_links: false,
    decode,
    schema: Target::schema,
    draw: |_, target| Box::new(Stop(target)),
    absent_for: None,
};

#[derive(Debug)]
struct Stop(Target);

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    Some(Box::new(Stop(Target::decode(field, cast)?)))
}

impl Fault for Stop {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        let nodes = self.0.draw(draw);
        Effect::on_nodes(format!("stop {}", nodes.join(", ")), nodes, |node| Demand::Down {
            node,
            how: HowDown::Stop,
        })
    }
}
