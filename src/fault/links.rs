//! Which directed links a fault is on.

use super::aim::Part;
use super::kinds::{Cast, Draw, Effect};
use super::target::Target;
use super::{Demand, Toll};
use crate::document::{Field, Key, Section};

/// The links from some nodes to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    from: Target,
    to: Target,
}

/// The keys that name links in a fault's table.
pub const FROM: Key = Key { name: "from", about: "the sending nodes; absent: all", schema: Target::schema };
/// See [`FROM`].
pub const TO: Key = Key { name: "to", about: "the receiving nodes; absent: all", schema: Target::schema };

impl Links {
    /// Every link.
    pub const ALL: Links = Links { from: Target::All, to: Target::All };

    /// The links from `from` to everyone.
    pub fn from_target(from: Target) -> Links {
        Links { from, to: Target::All }
    }

    /// The links from everyone to `to`.
    pub fn to_target(to: Target) -> Links {
        Links { from: Target::All, to }
    }

    /// Reads `from` and `to` of a fault's table.
    pub fn decode(section: &Section<'_>, cast: &Cast<'_>) -> Option<Links> {
        let target = |key| match section.field(key) {
            Some(field) => Target::decode(&field, cast),
            None => Some(Target::All),
        };
        let links = Links { from: target("from")?, to: target("to")? };
        let alone = |target: &Target| match target {
            Target::Part(part @ (Part::Leader | Part::Follower)) => Some(part.word().to_owned()),
            _ => target
                .fixed(cast)
                .and_then(|names| <[String; 1]>::try_from(names.to_vec()).ok())
                .map(|[only]| only),
        };
        if let (Some(from), Some(to)) = (alone(&links.from), alone(&links.to))
            && from == to
        {
            section.fail(
                format!("there is no link from {from} to itself"),
                "expected two different nodes",
                None,
            );
            return None;
        }
        Some(links)
    }

    /// The pairs (from, to), at least one, and how to say them: "A→C", "all links".
    pub fn draw(&self, draw: &mut Draw<'_>) -> (String, Vec<(String, String)>) {
        let from = self.from.draw(draw);
        let mut to = self.to.draw(draw);
        if let [only] = from.as_slice()
            && to.iter().all(|node| node == only)
        {
            // Drawn apart, both may be the same node; then the links to everyone else are meant.
            to = draw.nodes.iter().filter(|node| *node != only).cloned().collect();
        }
        let pairs: Vec<(String, String)> = from
            .iter()
            .flat_map(|from| to.iter().map(move |to| (from.clone(), to.clone())))
            .filter(|(from, to)| from != to)
            .collect();
        let others = |few: &[String]| to.len() == draw.nodes.len() && !few.is_empty();
        let label = if from.len() == draw.nodes.len() && to.len() == draw.nodes.len() {
            "all links".to_owned()
        } else if others(&from) {
            format!("{}→others", from.join(", "))
        } else if from.len() == draw.nodes.len() {
            format!("others→{}", to.join(", "))
        } else {
            format!("{}→{}", from.join(", "), to.join(", "))
        };
        (label, pairs)
    }

    /// The same toll on each drawn link. `verb` and `rest` surround the links in the label.
    pub fn effect(&self, draw: &mut Draw<'_>, verb: &str, rest: &str, toll: Toll) -> Effect {
        let (links, pairs) = self.draw(draw);
        let label = format!("{verb} {links}{rest}");
        let demands = pairs.into_iter().map(|(from, to)| Demand::Link { from, to, toll }).collect();
        Effect { target: Vec::new(), label, demands }
    }
}

/// Whether the cluster has links; notes the mistake where it has none.
pub fn some_links(field: &Field<'_>, cast: &Cast<'_>) -> bool {
    let some = cast.nodes.len() >= 2;
    if !some {
        field.fail("needs a link, and one node has none", "expected a fault on the node");
    }
    some
}
