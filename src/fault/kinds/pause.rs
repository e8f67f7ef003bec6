//! `pause`: SIGSTOP to the whole process group.

use super::{Cast, Draw, Effect, Fault, FaultKind};
use crate::document::Field;
use crate::fault::Demand;
use crate::fault::target::Target;

pub(super) static PAUSE: FaultKind = FaultKind {
    name: "pause",
    about: "SIGSTOP to the node's process group, SIGCONT when `for` has passed; connections stay open meanwhile.",
    on_links: false,
    decode,
    schema: Target::schema,
    draw: |_, target| Box::new(Pause(target)),
    absent_for: None,
};

#[derive(Debug)]
struct Pause(Target);

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    Some(Box::new(Pause(Target::decode(field, cast)?)))
}

impl Fault for Pause {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        let nodes = self.0.draw(draw);
        Effect::on_nodes(format!("pause {}", nodes.join(", ")), nodes, |node| Demand::Paused { node })
    }
}
