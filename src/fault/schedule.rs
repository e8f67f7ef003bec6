//! `[[fault]]`: when faults begin and end, and their expansion to a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::ScheduledFault;
use super::aim::{Occurrence, When};
use super::kinds::{Cast, Draw, FAULTS, Fault, FaultKind, LATER, duration_schema};
use crate::document::units::show_duration;
use crate::document::{Field, Key, list};
use crate::seed::Rng;

/// The most faults a schedule may have.
pub const MAX_SCHEDULED: usize = 10_000;

/// A decoded `[[fault]]` table.
#[derive(Debug)]
pub struct Planned {
    kind: &'static FaultKind,
    fault: Arc<dyn Fault>,
    at: Duration,
    lasting: Option<Duration>,
    every: Option<Duration>,
    when: When,
}

const WHENS: &[&str] = &["writing"];

/// The times every `[[fault]]` may have.
const TIMES: &[Key] = &[
    Key { name: "at", about: "when it begins, from the start of the load", schema: duration_schema },
    Key {
        name: "for",
        about: "how long it lasts; absent: until the heal at the end of the load",
        schema: duration_schema,
    },
    Key {
        name: "every",
        about: "it begins again so long after each beginning, until the end of the load; targets are drawn anew",
        schema: duration_schema,
    },
    Key {
        name: "when",
        about: "writing: it begins as soon as a write is under way at its target, or 1s later",
        schema: || json!({ "enum": WHENS }),
    },
];

/// Every key of a `[[fault]]` table: the times, and one key for each kind of fault.
pub fn keys() -> Vec<Key> {
    let kinds = FAULTS.iter().map(|kind| Key { name: kind.name, about: kind.about, schema: kind.schema });
    TIMES.iter().cloned().chain(kinds).collect()
}

/// The JSON Schema of `fault`.
pub fn schema() -> Json {
    let mut table = crate::document::table_schema(&keys(), &["at"]);
    table["oneOf"] = FAULTS.iter().map(|kind| json!({ "required": [kind.name] })).collect();
    json!({ "type": "array", "items": table })
}

/// Reads `fault`, an array of tables. `load` is how long the load lasts, where that is known.
pub fn decode(field: &Field<'_>, cast: &Cast<'_>, load: Option<Duration>) -> Vec<Planned> {
    let crate::document::Val::List(_) = field.node.val else {
        let _: Option<()> = field.wrong_type("[[fault]]: a table in double brackets");
        return Vec::new();
    };
    let keys = keys();
    let items = field.items("tables").unwrap_or_default();
    items.iter().filter_map(|item| decode_one(item, &keys, cast, load)).collect()
}

fn decode_one(item: &Field<'_>, keys: &[Key], cast: &Cast<'_>, load: Option<Duration>) -> Option<Planned> {
    let section = item.section("[[fault]]", keys, LATER)?;
    let mut named: Vec<(&'static FaultKind, Field<'_>)> = Vec::new();
    for kind in FAULTS {
        if let Some(field) = section.field(kind.name) {
            named.push((kind, field));
        }
    }
    let names: Vec<&str> = FAULTS.iter().map(|kind| kind.name).collect();
    match named.as_slice() {
        [] => {
            // An unknown key was reported already and is what was meant.
            let unknown = section.fields().any(|(entry, _)| !keys.iter().any(|key| key.name == entry.key));
            if !unknown {
                section.fail(
                    "this [[fault]] names no fault",
                    format!("expected one of {}", list(&names, "or")),
                    None,
                );
            }
            return None;
        }
        [_] => {}
        [(first, _), (second, field), ..] => {
            field.sink.fail(
                &field.node.at,
                format!("this [[fault]] names two faults: {} and {}", first.name, second.name),
                "each fault in a [[fault]] of its own",
                None,
            );
            return None;
        }
    }
    let (kind, field) = named.remove(0);
    let fault = (kind.decode)(&field, cast);

    let long = Duration::from_secs(7 * 86_400);
    let at_field = section.required("at", "at = \"3s\"");
    let at = at_field.as_ref().and_then(|field| field.duration(Duration::ZERO..=long));
    if let (Some(at), Some(field), Some(load)) = (at, &at_field, load)
        && at >= load
    {
        field.fail(
            format!("is {}: the fault begins after the end of the load", show_duration(at)),
            format!("expected less than load.duration, {}", show_duration(load)),
        );
        return None;
    }
    let lasting = match section.field("for") {
        Some(field) => Some(field.duration(Duration::from_millis(1)..=long)?),
        None => kind.absent_for,
    };
    let every = match section.field("every") {
        Some(field) => {
            let every = field.duration(Duration::from_millis(10)..=long)?;
            if lasting.is_none() {
                field.fail("repeats a fault that is never lifted", "expected a `for` beside it");
                return None;
            }
            let repeats = load.unwrap_or_default().saturating_sub(at?).as_nanos() / every.as_nanos();
            if repeats >= MAX_SCHEDULED as u128 {
                field.fail(
                    format!("repeats the fault {repeats} times"),
                    format!("expected at most {MAX_SCHEDULED}"),
                );
                return None;
            }
            Some(every)
        }
        None => None,
    };
    let when = match section.field("when") {
        Some(field) => field.word(WHENS, &[]).map(|_| When::Writing)?,
        None => When::Due,
    };
    Some(Planned { kind, fault: fault?.into(), at: at?, lasting, every, when })
}

/// Draws every target and lays out every repetition; by when they begin. What would last beyond the end of the load
/// is lifted by the heal.
pub fn expand(planned: &[Planned], cast: &Cast<'_>, load: Duration, seed: u64) -> Vec<ScheduledFault> {
    let mut schedule = Vec::new();
    // Streams are named by what a fault is and not by its place, so that adding one leaves the others as they were.
    let mut alike: BTreeMap<(&str, Duration), u32> = BTreeMap::new();
    for plan in planned {
        let twin = alike.entry((plan.kind.name, plan.at)).or_default();
        let mut at = plan.at;
        let mut repeat = 0;
        while at < load && schedule.len() < MAX_SCHEDULED {
            let label = format!("fault/{}/{}/{twin}/{repeat}", plan.kind.name, plan.at.as_nanos());
            let mut draw = Draw::new(cast.nodes, Rng::new(seed, &label));
            let until = plan.lasting.map(|lasting| at + lasting).filter(|until| *until < load);
            let occurrence = Occurrence { kind: plan.kind, at, until, when: plan.when, drawn: false };
            schedule.push(occurrence.expand(&plan.fault, &mut draw));
            let Some(every) = plan.every else { break };
            at += every;
            repeat += 1;
        }
        *twin += 1;
    }
    number(&mut schedule);
    schedule
}

/// Sorts a schedule by when its faults begin, and numbers them.
pub fn number(schedule: &mut [ScheduledFault]) {
    schedule.sort_by_key(|fault| fault.at);
    for (id, fault) in schedule.iter_mut().enumerate() {
        fault.id = id as u64;
    }
}
