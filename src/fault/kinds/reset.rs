//! `reset`: connections are reset, as by a firewall that lost its state.

use serde_json::{Value as Json, json};

use super::{Cast, Draw, Effect, Fault, FaultKind};
use crate::document::{Field, Key, Val, table_schema};
use crate::fault::links::{FROM, Links, TO, some_links};
use crate::fault::target::Target;
use crate::fault::{Demand, Toll};

pub(super) static RESET: FaultKind = FaultKind {
    name: "reset",
    about: "Connections on the links are reset, and new ones too while it is in force.",
    on_links: true,
    decode,
    schema,
    draw: |_, target| Box::new(Reset::Touching(target)),
    absent_for: None,
};

const KEYS: &[Key] = &[FROM, TO];

fn schema() -> Json {
    json!({ "anyOf": [Target::schema(), table_schema(KEYS, &[])] })
}

#[derive(Debug)]
enum Reset {
    /// Every link from or to these.
    Touching(Target),
    On(Links),
}

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    if !some_links(field, cast) {
        return None;
    }
    if !matches!(field.node.val, Val::Table(_)) {
        return Some(Box::new(Reset::Touching(Target::decode(field, cast)?)));
    }
    let section = field.section(&field.path, KEYS, &[])?;
    Some(Box::new(Reset::On(Links::decode(&section, cast)?)))
}

impl Fault for Reset {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        match self {
            Reset::On(links) => links.effect(draw, "reset", "", Toll::Reset),
            Reset::Touching(target) => {
                let chosen = target.draw(draw);
                let mut demands = Vec::new();
                for from in draw.nodes {
                    for to in draw.nodes {
                        if from != to && (chosen.contains(from) || chosen.contains(to)) {
                            demands.push(Demand::Link {
                                from: from.clone(),
                                to: to.clone(),
                                toll: Toll::Reset,
                            });
                        }
                    }
                }
                let all = chosen.len() == draw.nodes.len();
                let label = if all {
                    "reset all links".to_owned()
                } else {
                    format!("reset links of {}", chosen.join(", "))
                };
                Effect { target: if all { Vec::new() } else { chosen }, label, demands }
            }
        }
    }
}
