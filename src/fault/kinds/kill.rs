//! `kill`: SIGKILL to the process group.

use super::{Cast, Draw, Effect, Fault, FaultKind};
use crate::document::Field;
use crate::fault::target::Target;
use crate::fault::{Demand, HowDown};

pub(super) static KILL: FaultKind = FaultKind {
    name: "kill",
    about: "SIGKILL to the node's process group; it is started again when `for` has passed.",
    on_links: false,
    decode,
    schema: Target::schema,
    draw: |_, target| Box::new(Kill(target)),
    absent_for: None,
};

#[derive(Debug)]
struct Kill(Target);

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    Some(Box::new(Kill(Target::decode(field, cast)?)))
}

impl Fault for Kill {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        let nodes = self.0.draw(draw);
        Effect::on_nodes(format!("kill {}", nodes.join(", ")), nodes, |node| Demand::Down {
            node,
            how: HowDown::Kill,
        })
    }
}
