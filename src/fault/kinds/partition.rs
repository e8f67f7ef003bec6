//! `partition`: links are cut; bytes on them are held in silence until the heal.

use serde_json::{Value as Json, json};

use super::{Cast, Draw, Effect, Fault, FaultKind};
use crate::document::{Field, Key, Val, table_schema};
use crate::fault::aim::Part;
use crate::fault::links::{Links, some_links};
use crate::fault::shapes::{Pairs, between, random_split, ring, show, split};
use crate::fault::target::{self, Target, minority};
use crate::fault::{Demand, Toll};

pub(super) static PARTITION: FaultKind = FaultKind {
    name: "partition",
    about: "Links are cut: what is sent on them is held in silence, and arrives when it heals.",
    on_links: true,
    decode,
    schema,
    draw: draw_any,
    absent_for: None,
};

const COMPANY: &[&str] = &["minority"];

const WORDS: &[&str] = &["halves", "random", "bridge", "ring"];

const KEYS: &[Key] = &[
    Key { name: "isolate", about: "these on one side, everyone else on the other", schema: Target::schema },
    Key {
        name: "with",
        about: "minority: those isolated get company, as much as leaves a majority on the other side",
        schema: || json!({ "enum": COMPANY }),
    },
    Key { name: "from", about: "one-way: what these send is not heard …", schema: Target::schema },
    Key { name: "to", about: "… by these", schema: Target::schema },
    Key { name: "bridge", about: "this node alone hears both halves of the rest", schema: Target::schema },
];

fn schema() -> Json {
    json!({
        "anyOf": [
            { "type": "array", "minItems": 2, "items": Target::names_schema(),
              "description": "groups: [[\"A\"], [\"B\", \"C\"]]; a node in no group keeps all its links" },
            { "enum": WORDS },
            table_schema(KEYS, &[])
        ]
    })
}

#[derive(Debug)]
enum Partition {
    /// The groups do not hear each other.
    Groups(Vec<Vec<String>>),
    /// These on one side, the rest on the other.
    Isolate(Target),
    /// These, and others with them, as many as leave a majority on the other side.
    IsolateWithMinority(Target),
    /// One direction only.
    OneWay(Links),
    /// One node hears both halves of the rest.
    Bridge(Target),
    /// Two groups as equal as can be.
    Halves,
    /// Two groups of any size.
    Random,
    /// Every node hears a majority, no two the same.
    Ring,
}

fn decode(field: &Field<'_>, cast: &Cast<'_>) -> Option<Box<dyn Fault>> {
    if !some_links(field, cast) {
        return None;
    }
    let partition = match &field.node.val {
        Val::List(_) => Partition::Groups(groups(field, cast)?),
        Val::Table(_) => table(field, cast)?,
        Val::Text(_) => match field.word(WORDS, &[])? {
            "halves" => Partition::Halves,
            "random" => Partition::Random,
            "bridge" => at_least_three(field, cast, "a bridge")?.then_some(Partition::Bridge(Target::One))?,
            _ => at_least_three(field, cast, "a ring")?.then_some(Partition::Ring)?,
        },
        _ => return field.wrong_type("groups such as [[\"A\"], [\"B\", \"C\"]], a word or a table"),
    };
    Some(Box::new(partition))
}

fn at_least_three(field: &Field<'_>, cast: &Cast<'_>, what: &str) -> Option<bool> {
    let enough = cast.nodes.len() >= 3;
    if !enough {
        field.fail(format!("is {what}, which needs at least 3 nodes"), "expected another partition");
    }
    enough.then_some(true)
}

fn groups(field: &Field<'_>, cast: &Cast<'_>) -> Option<Vec<Vec<String>>> {
    let items = field.items("groups")?;
    if items.len() < 2 || items.iter().any(|item| !matches!(item.node.val, Val::List(_))) {
        field.fail(
            if items.len() < 2 { "has fewer than two groups" } else { "is not a list of groups" },
            "expected groups such as [[\"A\"], [\"B\", \"C\"]]",
        );
        return None;
    }
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut fine = true;
    for item in &items {
        let Some(group) = target::names(item, cast) else {
            fine = false;
            continue;
        };
        for member in item.items("nodes")? {
            let name = member.text()?;
            if let Some(other) = groups.iter().position(|group| group.iter().any(|node| node == name)) {
                member.fail(
                    format!("overlaps another group: {name:?} is in group {other} already"),
                    "each node in one group at most",
                );
                fine = false;
            }
        }
        groups.push(group);
    }
    fine.then_some(groups)
}

fn table(field: &Field<'_>, cast: &Cast<'_>) -> Option<Partition> {
    let section = field.section(&field.path, KEYS, &[])?;
    let has = |key| section.field(key).is_some();
    let forms = [has("isolate"), has("from") || has("to"), has("bridge")];
    if forms.iter().filter(|present| **present).count() != 1 {
        section.fail(
            format!("`{}` must have one form", field.path),
            "expected one of { isolate = … }, { from = …, to = … } and { bridge = … }",
            None,
        );
        return None;
    }
    if let Some(field) = section.field("isolate") {
        let target = Target::decode(&field, cast)?;
        let everyone = match target.fixed(cast) {
            Some(names) => names.len() == cast.nodes.len(),
            None => target == Target::Majority && cast.nodes.len() == 2,
        };
        if everyone {
            field.fail("is every node: nobody is left to be cut off from", "expected fewer nodes");
            return None;
        }
        let Some(with) = section.field("with") else { return Some(Partition::Isolate(target)) };
        with.word(COMPANY, &[])?;
        let minority = minority(cast.nodes.len());
        let one = match &target {
            Target::One | Target::Part(Part::Leader | Part::Follower) => true,
            Target::Names(names) => names.len() == 1,
            _ => false,
        };
        if minority == 0 || !one {
            let title = if one { "needs at least 3 nodes" } else { "gives company to one node only" };
            with.fail(title, "expected isolate = \"leader\", or one node, of at least three");
            return None;
        }
        return Some(Partition::IsolateWithMinority(target));
    }
    if let Some(with) = section.field("with") {
        with.fail("goes with `isolate`", "expected { isolate = \"leader\", with = \"minority\" }");
        return None;
    }
    if let Some(field) = section.field("bridge") {
        at_least_three(&field, cast, "a bridge")?;
        let target = Target::decode(&field, cast)?;
        let part = matches!(&target, Target::Part(Part::Leader | Part::Follower));
        if !part
            && !matches!(&target, Target::One)
            && !matches!(&target, Target::Names(names) if names.len() == 1)
        {
            field.fail("is not one node", "expected one node, or \"one\"");
            return None;
        }
        return Some(Partition::Bridge(target));
    }
    section.required("from", "from = \"A\"")?;
    section.required("to", "to = \"B\"")?;
    Some(Partition::OneWay(Links::decode(&section, cast)?))
}

/// What `[chaos]` draws: one direction as often as both. Who is not heard and who hears nothing are different troubles: a
/// leader of the second kind keeps its followers quiet and commits nothing.
fn draw_any(draw: &mut Draw<'_>, target: Target) -> Box<dyn Fault> {
    // Where everyone may be meant, one direction of everyone's links would be all links.
    if matches!(target, Target::All | Target::Random) {
        return Box::new(Partition::Isolate(target));
    }
    Box::new(match draw.rng.below(4) {
        0 => Partition::OneWay(Links::from_target(target)),
        1 => Partition::OneWay(Links::to_target(target)),
        _ => Partition::Isolate(target),
    })
}

impl Fault for Partition {
    fn expand(&self, draw: &mut Draw<'_>) -> Effect {
        let cut = |label: String, target: Vec<String>, cuts: Pairs| {
            let demands =
                cuts.into_iter().map(|(from, to)| Demand::Link { from, to, toll: Toll::Cut }).collect();
            Effect { target, label, demands }
        };
        let grouped =
            |groups: &[Vec<String>]| cut(format!("partition {}", show(groups)), Vec::new(), between(groups));
        // Which links are cut is not known before those are who play a part.
        let unknown = |verb: &str, target: Vec<String>, rest: &str| {
            let label = format!("{verb} {}{rest}", target.join(" "));
            Effect { target, label, demands: Vec::new() }
        };
        let isolated = |target: Vec<String>, rest: &str| unknown("isolate", target, rest);
        let nodes = draw.nodes;
        let count = nodes.len();
        match self {
            Partition::Groups(groups) => grouped(groups),
            Partition::Isolate(target) => {
                let mut chosen = target.draw(draw);
                if draw.has_words() {
                    return isolated(chosen, "");
                }
                if chosen.len() == count {
                    // Drawn at random this may be everyone; somebody must be left to be cut off from.
                    let spared = draw.rng.below(count as u64) as usize;
                    chosen.remove(spared.min(chosen.len() - 1));
                }
                let groups = split(draw.nodes, &chosen);
                Effect { target: chosen, ..grouped(&groups) }
            }
            Partition::IsolateWithMinority(target) => {
                let mut chosen = target.draw(draw);
                if draw.has_words() {
                    return isolated(chosen, " with a minority");
                }
                // Company that is down is none.
                let up = draw.parts.map_or(nodes, |parts| parts.followers.as_slice());
                let mut others: Vec<&String> = up.iter().filter(|node| !chosen.contains(*node)).collect();
                draw.rng.shuffle(&mut others);
                others.truncate(minority(count).saturating_sub(chosen.len()));
                chosen.extend(others.into_iter().cloned());
                let groups = split(nodes, &chosen);
                Effect { target: groups[0].clone(), ..grouped(&groups) }
            }
            Partition::OneWay(links) => links.effect(draw, "cut", "", Toll::Cut),
            Partition::Bridge(target) => {
                let bridge = target.draw(draw);
                if draw.has_words() {
                    return unknown("partition but for", bridge, "");
                }
                let rest: Vec<String> =
                    draw.nodes.iter().filter(|node| !bridge.contains(node)).cloned().collect();
                let groups = random_split(draw, &rest, rest.len() / 2);
                let label = format!("partition {} but for {}", show(&groups), bridge.join(" "));
                cut(label, bridge, between(&groups))
            }
            Partition::Halves => grouped(&random_split(draw, nodes, count / 2)),
            Partition::Random => {
                let size = draw.rng.between(1, count as u64 - 1) as usize;
                grouped(&random_split(draw, nodes, size))
            }
            Partition::Ring => {
                let (order, cuts) = ring(draw);
                cut(format!("partition in a ring {}", order.join(" ")), Vec::new(), cuts)
            }
        }
    }
}
