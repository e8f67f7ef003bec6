//! `unique-ids`: no id is issued twice.
//!
//! After Jepsen's `unique-ids` checker: of all `generate` operations that completed `ok`, no two carry the same id.
//! **Sound** by definition: an `ok` answer was given to a client, and so was the other. What failed or has an unknown
//! outcome showed nobody an id and is left aside. Ids that were rounded when the history was read (whole numbers beyond
//! 64 bits) cannot be told apart: equal ones make the verdict `unknown`, not `invalid`.
//!
//! With keys, each key is a source of its own. Complexity: linear; some 60 bytes an id.

use super::{ByValue, Tally, each_key, exact, figures, function, proof};
use crate::check::models::show;
use crate::check::plain::{Answer, PlainCheck, Question};
use crate::history::Outcome;
use crate::history::calls::{Calls, ValueId};

/// The check `unique-ids`.
pub struct UniqueIds;

/// The issues of one id.
#[derive(Default)]
struct Issued {
    first: u32,
    /// The second, where there is one.
    second: Option<u32>,
    times: u64,
}

impl PlainCheck for UniqueIds {
    fn name(&self) -> &'static str {
        "unique-ids"
    }

    fn about(&self) -> &'static str {
        "no id is issued twice"
    }

    fn judge(&self, calls: &Calls, _: &Question) -> Result<Answer, String> {
        let mut tally = Tally::default();
        let (mut issued, mut comparable, mut duplicated, mut most) = (0, false, 0, 0);
        let keys = each_key(calls, |key, order| {
            let mut ids: ByValue<Issued> = ByValue::default();
            for index in order {
                let call = &calls.calls[*index as usize];
                match function(calls, call) {
                    "snapshot" => continue,
                    "generate" => {}
                    other => {
                        return Err(format!(
                            "the check `unique-ids` knows generate; this history has `{other}`"
                        ));
                    }
                }
                if call.outcome != Outcome::Ok {
                    continue;
                }
                if call.output == ValueId::NIL {
                    return Err(format!("`generate` by p{} completed without an id", call.process));
                }
                let id = ids.entry(calls.values.get(call.output));
                match id.times {
                    0 => id.first = *index,
                    1 => id.second = Some(*index),
                    _ => {}
                }
                id.times += 1;
                issued += 1;
            }
            comparable |= ids.entries.len() > 1 || ids.entries.iter().any(|(_, id)| id.times > 1);
            let (mut count, mut worst) = (0, None);
            for (value, id) in ids.entries.iter().filter(|(_, id)| id.times > 1) {
                if !exact(value) {
                    tally.unknown.get_or_insert_with(|| {
                        format!("ids such as {} are too large to be told apart", show(value))
                    });
                    continue;
                }
                count += 1;
                most = most.max(id.times);
                if worst.is_none_or(|(_, times)| id.times > times) {
                    worst = Some(((value, id), id.times));
                }
            }
            duplicated += count;
            if let Some(((value, id), times)) = worst {
                let ops: Vec<u32> = [id.first].into_iter().chain(id.second).collect();
                let whose = |index: u32| calls.calls[index as usize].process;
                let often = if times > 2 { format!(", {times} times in all") } else { String::new() };
                let story = format!(
                    "p{} was given the id {}, and so was p{}{often}",
                    whose(id.first),
                    show(value),
                    whose(id.second.unwrap_or(id.first)),
                );
                let cause =
                    "two nodes drew from the same range, or one forgot after a restart what it had issued";
                tally.found(count, proof(calls, "duplicated", key, ops, story, cause));
            }
            Ok(())
        })?;
        if !comparable {
            tally.unknown = Some("fewer than two ids were issued: nothing could have been found".into());
        }
        let evidence = figures([("keys", keys), ("ids", issued)]);
        Ok(tally.answer(evidence, figures([("duplicated", duplicated), ("most_times", most)])))
    }
}
