//! `slow`: a duty cycle of pauses, as a starved or overcommitted machine would give.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Cast, Draw, Effect, Fault, FaultKind, duration_schema};
use crate::document::{Field, Key, Val, table_schema};
use crate::fault::Demand;
use crate::fault::target::Target;

pub(super) static SLOW: FaultKind = FaultKind {
    name: "slow",
    about: "The node runs only a share of the time: it is stopped and continued once each period.",
    on_links: false,
    decode,
    schema,
    draw: draw_any,
    absent_for: None,
};

const RUNNING: f64 = 0.2;
const PERIOD: Duration = Duration::from_millis(100);

const KEYS: &[Key] = &[
    Key { name: "node", about: "whom it slows down", schema: Target::schema },
    Key {
        name: "running",
        about: "the share of the time the node runs, 0.01 to 0.99 (default 0.2)",
        schema: || json!({ "type": "number", "minimum": 0.01, "maximum": 0.99 }),
    },
    Key { name: "period", about: "the length of one cycle (default 100ms)", schema: duration_schema },
];

fn schema() -> Json {
    json!({ "anyOf": [Target::schema(), table_schema(KEYS, &["node"])] })
}

#[derive(Debug)]
struct Slow {
    target: Target,
    running: f64,
    period: Duration,
}

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    if !matches!(field.node.val, Val::Table(_)) {
        let target = Target::decode(field, cast)?;
        return Some(Box::new(Slow { target, running: RUNNING, period: PERIOD }));
    }
    let section = field.section(&field.path, KEYS, &[])?;
    let target = section.required("node", "node = \"A\"").and_then(|field| Target::decode(&field, cast));
    let running = section.field("running").map_or(Some(RUNNING), |field| field.number(0.01..=0.99));
    // Shorter cycles would be lost in what a signal and a timer take.
    let range = Duration::from_millis(10)..=Duration::from_secs(60);
    let period = section.field("period").map_or(Some(PERIOD), |field| field.duration(range));
    Some(Box::new(Slow { target: target?, running: running?, period: period? }))
}

fn draw_any(draw: &mut Draw<'_>, target: Target) -> Box<dyn Fault> {
    Box::new(Slow { target, running: draw.rng.between(1, 5) as f64 / 10.0, period: PERIOD })
}

impl Fault for Slow {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        let nodes = self.target.draw(draw);
        let label = format!("slow {} to {:.0}%", nodes.join(", "), self.running * 100.0);
        let (running, period) = (self.running, self.period);
        Effect::on_nodes(label, nodes, |node| Demand::Slow { node, running, period })
    }
}
