//! Every kind of fault: how it is written, and the demands it expands to. One file a fault; see [`FAULTS`].

use std::fmt::Debug;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Demand;
use super::aim::{Aimed, Parts};
use super::target::Target;
use crate::document::Field;
use crate::seed::Rng;

mod delay;
mod jitter;
mod kill;
mod partition;
mod pause;
mod reset;
mod restart;
mod slow;
mod stop;
mod throttle;

/// One kind of fault.
#[derive(Debug)]
pub struct FaultKind {
    /// Its key in a `[[fault]]` table, and its name everywhere.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    /// Whether it is on links, not on nodes.
    pub on_links: bool,
    /// Reads the value of its key; notes what is wrong with it.
    pub decode: fn(&Field<'_>, &Cast<'_>) -> Option<Box<dyn Fault>>,
    /// The JSON Schema of the value of its key.
    pub schema: fn() -> Json,
    /// How `[chaos]` draws one: aimed at the given target, of random strength.
    pub draw: fn(&mut Draw<'_>, Target) -> Box<dyn Fault>,
    /// How long it lasts when `for` is absent; `None`: until the heal.
    pub absent_for: Option<Duration>,
}

/// Every kind of fault there is. Adding one is a file and a line here.
pub static FAULTS: &[&FaultKind] = &[
    &kill::KILL,
    &stop::STOP,
    &restart::RESTART,
    &pause::PAUSE,
    &slow::SLOW,
    &partition::PARTITION,
    &delay::DELAY,
    &jitter::JITTER,
    &throttle::THROTTLE,
    &reset::RESET,
];

/// Faults of the design that this version does not support.
pub const LATER: &[&str] = &["drop", "reorder", "duplicate", "corrupt", "clock", "disk"];

/// The kind called `name`.
pub fn find(name: &str) -> Option<&'static FaultKind> {
    FAULTS.iter().copied().find(|kind| kind.name == name)
}

/// Who can be aimed at, while a fault is decoded.
#[derive(Clone, Copy, Debug)]
pub struct Cast<'a> {
    /// All nodes, in the workload's order.
    pub nodes: &'a [String],
    /// The protocol by which no node can be asked for its role, where it is such a one.
    pub mute: Option<&'a str>,
}

/// A decoded fault, its targets not yet drawn.
pub trait Fault: Debug + Send + Sync {
    /// Draws the targets and says what is demanded of them. May be called again with the same draws, once it is known who
    /// plays which part.
    fn expand(&self, draw: &mut Draw<'_>) -> Effect;
}

/// What targets are drawn with: each occurrence of a fault has a stream of its own.
#[derive(Debug)]
pub struct Draw<'a> {
    /// All nodes, in the workload's order.
    pub nodes: &'a [String],
    /// The stream.
    pub rng: Rng,
    /// Who plays which part now; `None`: that is not known yet, and words stand for nodes.
    pub parts: Option<&'a Parts>,
    /// Whom words for parts came to mean, in the order in which they were met.
    pub aimed: Vec<Aimed>,
}

impl<'a> Draw<'a> {
    /// Draws from `rng` among `nodes`, while nobody knows who plays which part.
    pub fn new(nodes: &'a [String], rng: Rng) -> Self {
        Draw { nodes, rng, parts: None, aimed: Vec::new() }
    }

    /// Whether words stand for nodes.
    pub fn has_words(&self) -> bool {
        self.aimed.iter().any(|aimed| aimed.nodes.is_empty())
    }
}

/// A fault with its targets drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The nodes it is aimed at; empty for a fault on links.
    pub target: Vec<String>,
    /// For people: "kill B".
    pub label: String,
    /// What is demanded.
    pub demands: Vec<Demand>,
}

impl Effect {
    /// One demand on each of `nodes`.
    pub(super) fn on_nodes(label: String, nodes: Vec<String>, demand: impl Fn(String) -> Demand) -> Self {
        let demands = nodes.iter().cloned().map(demand).collect();
        Effect { target: nodes, label, demands }
    }
}

/// The schema of a duration.
pub fn duration_schema() -> Json {
    json!({
        "type": "string",
        "description": "a duration with its unit: \"200ms\", \"3s\", \"1m 30s\"",
        "pattern": "^\\s*([0-9]+(\\.[0-9]+)?\\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|\
            minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d)\\s*)+$"
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_registry_is_tidy() {
        let names: BTreeSet<_> = FAULTS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), FAULTS.len(), "names are unique");
        for kind in FAULTS {
            assert!(kind.about.ends_with('.'), "{}: a sentence", kind.name);
            assert!(kind.about.len() <= 120, "{}: one line", kind.name);
            assert!(!LATER.contains(&kind.name), "{} is supported now", kind.name);
            assert!(std::ptr::eq(find(kind.name).unwrap(), *kind));
        }
    }
}
