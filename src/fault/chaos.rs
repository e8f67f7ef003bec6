//! `[chaos]`: faults drawn from a seeded generator.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::aim::{Occurrence, Part, When};
use super::kinds::{Cast, Draw, FAULTS, Fault, FaultKind, LATER, duration_schema, find};
use super::schedule::{MAX_SCHEDULED, number};
use super::target::{self, Target, minority};
use super::{Demand, ScheduledFault};
use crate::document::units::show_duration;
use crate::document::{Field, Key, Val, list};
use crate::seed::Rng;

/// A decoded `[chaos]`.
#[derive(Debug)]
pub struct Chaos {
    kinds: Vec<&'static FaultKind>,
    every: Duration,
    shortest: Duration,
    longest: Duration,
    /// One of them is drawn each time.
    targets: Vec<Target>,
    quiet: Duration,
}

/// The keys of `[chaos]`.
pub const KEYS: &[Key] = &[
    Key {
        name: "faults",
        about: "the kinds to draw from; absent: kill, pause, partition, delay",
        schema: kinds_schema,
    },
    Key {
        name: "every",
        about: "the mean time between two beginnings (default 2s)",
        schema: duration_schema,
    },
    Key {
        name: "for",
        about: "how long each lasts: [shortest, longest] (default [\"300ms\", \"2s\"])",
        schema: lasting_schema,
    },
    Key {
        name: "targets",
        about: "whom each is aimed at (default one); a list of nodes and words: one of it. A majority stays up, unless \
                majority, all or followers is asked for",
        schema: Target::schema,
    },
    Key {
        name: "quiet",
        about: "no fault is in force for so long before the end of the load (default 1s)",
        schema: duration_schema,
    },
];

fn kinds_schema() -> Json {
    let names: Vec<&str> = FAULTS.iter().map(|kind| kind.name).collect();
    json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": { "enum": names } })
}

fn lasting_schema() -> Json {
    let one = duration_schema();
    json!({ "anyOf": [one.clone(), { "type": "array", "minItems": 2, "maxItems": 2, "items": one }] })
}

/// Reads `[chaos]`. `load` is how long the load lasts.
pub fn decode(field: &Field<'_>, cast: &Cast<'_>, load: Duration) -> Option<Chaos> {
    let section = field.section("[chaos]", KEYS, &["seed"])?;
    let kinds = match section.field("faults") {
        Some(field) => decode_kinds(&field),
        None => Some(["kill", "pause", "partition", "delay"].into_iter().filter_map(find).collect()),
    };
    let long = Duration::from_secs(86_400);
    let every = match section.field("every") {
        Some(field) => field.duration(Duration::from_millis(10)..=long),
        None => Some(Duration::from_secs(2)),
    };
    let lasting = match section.field("for") {
        Some(field) => decode_lasting(&field, long),
        None => Some((Duration::from_millis(300), Duration::from_secs(2))),
    };
    let targets = match section.field("targets") {
        Some(field) => decode_targets(&field, cast),
        None => Some(vec![Target::One]),
    };
    let quiet = match section.field("quiet") {
        Some(field) => field.duration(Duration::ZERO..=long),
        None => Some(Duration::from_secs(1)),
    };
    let (shortest, longest) = lasting?;
    let chaos = Chaos { kinds: kinds?, every: every?, shortest, longest, targets: targets?, quiet: quiet? };

    // The first gap is at most one and a half times the mean: so at least one fault is drawn, whatever the seed.
    let needed = chaos.every * 3 / 2 + chaos.shortest + chaos.quiet;
    if needed > load {
        section.fail(
            format!("[chaos] finds no room in a load of {}", show_duration(load)),
            format!("expected a load of at least {}", show_duration(needed)),
            Some("1.5 times `every`, the shortest `for` and `quiet` must fit".to_owned()),
        );
        return None;
    }
    if load.as_nanos() / (chaos.every / 2).as_nanos().max(1) > MAX_SCHEDULED as u128 {
        section.fail(
            format!("[chaos] draws more than {MAX_SCHEDULED} faults"),
            "expected a longer `every`",
            None,
        );
        return None;
    }
    for kind in &chaos.kinds {
        let problem = match (kind.on_links, chaos.asked_for_a_majority()) {
            (true, _) if cast.nodes.len() < 2 => "needs a link, and one node has none",
            (false, false) if minority(cast.nodes.len()) == 0 => "leaves no majority of so few nodes",
            _ => continue,
        };
        section.fail(
            format!("[chaos] cannot draw {}: it {problem}", kind.name),
            "expected other `faults` or more nodes",
            (!kind.on_links).then(|| "targets = \"all\" asks for it".to_owned()),
        );
        return None;
    }
    Some(chaos)
}

fn decode_kinds(field: &Field<'_>) -> Option<Vec<&'static FaultKind>> {
    let names: Vec<&'static str> = FAULTS.iter().map(|kind| kind.name).collect();
    let items = field.items(&format!("faults: {}", list(&names, "or")))?;
    if items.is_empty() {
        field.fail("is empty", format!("expected some of {}", list(&names, "and")));
        return None;
    }
    let mut kinds: Vec<&'static FaultKind> = Vec::new();
    let mut fine = true;
    for item in items {
        match item.word(&names, LATER).and_then(find) {
            Some(kind) if kinds.iter().any(|other| other.name == kind.name) => {
                item.fail("is in the list already", "each fault once");
                fine = false;
            }
            Some(kind) => kinds.push(kind),
            None => fine = false,
        }
    }
    fine.then_some(kinds)
}

/// A list may have words too; one of it is drawn each time.
fn decode_targets(field: &Field<'_>, cast: &Cast<'_>) -> Option<Vec<Target>> {
    let is_word = |item: &Field<'_>| matches!(&item.node.val, Val::Text(text) if target::WORDS.contains(&text.as_str()));
    let items = match &field.node.val {
        Val::List(_) => field.items("nodes")?,
        _ => Vec::new(),
    };
    if !items.iter().any(is_word) {
        return Target::decode(field, cast).map(|target| vec![target]);
    }
    let mut targets = Vec::new();
    for item in &items {
        let target = Target::decode(item, cast)?;
        if targets.contains(&target) {
            item.fail("is in the list already", "each target once");
            return None;
        }
        targets.push(target);
    }
    Some(targets)
}

fn decode_lasting(field: &Field<'_>, long: Duration) -> Option<(Duration, Duration)> {
    let range = Duration::from_millis(1)..=long;
    let Val::List(_) = field.node.val else { return field.duration(range).map(|lasting| (lasting, lasting)) };
    let items = field.items("two durations")?;
    let [shortest, longest] = items.as_slice() else {
        field.fail("is not a pair of durations", "expected [shortest, longest]");
        return None;
    };
    let (low, high) = (shortest.duration(range.clone())?, longest.duration(range)?);
    if low > high {
        longest.fail("is shorter than the shortest", "expected [shortest, longest]");
        return None;
    }
    Some((low, high))
}

impl Chaos {
    fn asked_for_a_majority(&self) -> bool {
        let many = |target: &Target| {
            matches!(target, Target::Majority | Target::All | Target::Part(Part::Followers))
        };
        self.targets.iter().any(many)
    }

    /// Draws the schedule for `seed` and adds it to `schedule`, whose node faults count as down too.
    pub fn expand(&self, cast: &Cast<'_>, load: Duration, seed: u64, schedule: &mut Vec<ScheduledFault>) {
        let end = load.saturating_sub(self.quiet);
        let mut rng = Rng::new(seed, "chaos");
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let mut deck = Vec::new();
        let mut at = Duration::ZERO;
        for number in 0..MAX_SCHEDULED {
            at += Duration::from_nanos(rng.between(ns(self.every / 2), ns(self.every * 3 / 2)));
            let room = end.saturating_sub(at);
            if room < self.shortest {
                break;
            }
            let lasting = rng.between(ns(self.shortest), ns(self.longest.min(room)));
            let until = at + Duration::from_nanos(lasting);
            // Kinds are dealt like cards: each comes up before one comes up again.
            if deck.is_empty() {
                deck = self.kinds.clone();
                rng.shuffle(&mut deck);
            }
            // A stream for each, so that what one draws does not change the next.
            let mut draw = Draw::new(cast.nodes, Rng::new(seed, &format!("chaos/{number}")));
            let fits = |kind: &'static FaultKind| self.draw_one(kind, &mut draw, at, until, schedule);
            if let Some((index, fault)) = first_that_fits(&deck, fits) {
                deck.remove(index);
                schedule.push(fault);
            }
        }
        number(schedule);
    }

    /// One fault of `kind` that leaves a majority up, unless otherwise asked; `None` when several draws gave none.
    fn draw_one(
        &self,
        kind: &'static FaultKind,
        draw: &mut Draw<'_>,
        at: Duration,
        until: Duration,
        schedule: &[ScheduledFault],
    ) -> Option<ScheduledFault> {
        for _ in 0..8 {
            let target = match self.targets.as_slice() {
                [Target::Names(names)] => Target::Names(vec![draw.rng.pick(names)?.clone()]),
                [only] => only.clone(),
                several => draw.rng.pick(several)?.clone(),
            };
            let fault: Arc<dyn Fault> = (kind.draw)(draw, target).into();
            let occurrence = Occurrence { kind, at, until: Some(until), when: When::Due, drawn: true };
            let fault = occurrence.expand(&fault, draw);
            if self.asked_for_a_majority() || leaves_a_majority(&fault, schedule, draw.nodes.len()) {
                return Some(fault);
            }
        }
        None
    }
}

fn first_that_fits(
    deck: &[&'static FaultKind],
    mut draw: impl FnMut(&'static FaultKind) -> Option<ScheduledFault>,
) -> Option<(usize, ScheduledFault)> {
    deck.iter().enumerate().find_map(|(index, kind)| Some((index, draw(kind)?)))
}

/// Whether a majority is neither down nor paused at any moment of `fault`. A node that is only slow counts as up.
fn leaves_a_majority(fault: &ScheduledFault, schedule: &[ScheduledFault], nodes: usize) -> bool {
    let mine = out_of_service(fault);
    if mine.is_empty() {
        return true;
    }
    let overlapping: Vec<&ScheduledFault> = schedule
        .iter()
        .filter(|other| {
            fault.until.is_none_or(|until| other.at <= until)
                && other.until.is_none_or(|until| fault.at <= until)
        })
        .collect();
    // The most are out when one of them begins: the state changes nowhere else for the worse.
    let moments = overlapping.iter().map(|other| other.at.max(fault.at)).chain([fault.at]);
    moments.into_iter().all(|moment| {
        let mut out = mine.clone();
        for other in &overlapping {
            if other.at <= moment && other.until.is_none_or(|until| moment <= until) {
                out.extend(out_of_service(other));
            }
        }
        out.len() <= minority(nodes)
    })
}

/// Nodes that the fault takes out, and when it begins for those that only then will be known: no two of these are taken for
/// the same node.
fn out_of_service(fault: &ScheduledFault) -> BTreeSet<(&str, Option<Duration>)> {
    let unknown = fault.pending.is_some().then_some(fault.at);
    fault
        .demands
        .iter()
        .filter_map(|demand: &Demand| match demand {
            Demand::Down { node, .. } | Demand::Paused { node } => Some((node.as_str(), unknown)),
            Demand::Slow { .. } | Demand::Link { .. } => None,
        })
        .collect()
}
