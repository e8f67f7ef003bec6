//! Levels of the strength ladder must not contradict each other, whatever is registered.

use harness::check::Verdict;
use harness::check::ladder::{LEVELS, climb, judges};
use harness::check::models::Model;
use harness::check::plain::{Question, find};
use harness::history::calls::{Call, Calls, OPEN};
use harness::history::{Outcome, Value};
use harness::seed::Rng;

/// A random history of a register: at most eight operations of three sessions, three values, two keys.
fn random(rng: &mut Rng) -> Calls {
    let mut calls = Calls::new();
    let functions = [calls.function("read"), calls.function("write")];
    let keys = [calls.text_key("x"), calls.text_key("y")];
    let distinct = rng.below(3) > 0;
    let mut open: [Option<usize>; 3] = [None; 3];
    let (mut position, mut next) = (0, 0);
    let count = 2 + rng.below(7) as usize;
    while calls.calls.len() < count || open.iter().any(Option::is_some) {
        let process = rng.below(3) as usize;
        match open[process].take() {
            Some(at) => {
                let call = &mut calls.calls[at];
                match rng.below(12) {
                    0 => call.outcome = Outcome::Fail,
                    1 => continue,
                    _ => call.outcome = Outcome::Ok,
                }
                call.ret = position;
                if call.outcome == Outcome::Ok {
                    call.output = call.input;
                    if call.f == functions[0] {
                        let seen = rng.below(4) as i64;
                        let value = if seen == 0 { Value::Nil } else { Value::int(seen) };
                        call.output = calls.values.intern(value);
                    }
                }
            }
            None if calls.calls.len() < count => {
                let write = rng.below(2) == 1 && next < 3;
                let input = if write {
                    next += 1;
                    Value::int(if distinct { next } else { 1 + rng.below(3) as i64 })
                } else {
                    Value::Nil
                };
                let input = calls.values.intern(input);
                open[process] = Some(calls.calls.len());
                calls.calls.push(Call {
                    process: process as u32,
                    key: keys[rng.below(5) as usize / 4],
                    input,
                    output: calls.values.intern(Value::Nil),
                    invoke: position,
                    ret: OPEN,
                    f: functions[usize::from(write)],
                    outcome: Outcome::Info,
                });
            }
            None => continue,
        }
        position += 1;
    }
    calls
}

fn told(calls: &Calls) -> String {
    let line = |call: &Call| format!("{}-{} {}\n", call.invoke, call.ret, calls.describe(call));
    calls.calls.iter().map(line).collect()
}

#[test]
fn verdicts_are_monotone() {
    let mut rng = Rng::new(7, "ladder");
    let question = Question { model: Some(Model::Register), ..Question::default() };
    let levels: Vec<_> = LEVELS
        .iter()
        .filter_map(|level| Some((level, find(level.name)?)))
        .filter(|(_, check)| judges(*check, Model::Register))
        .collect();
    assert!(!levels.is_empty());
    let mut seen = vec![[0_u32; 3]; levels.len()];
    let enough = |seen: &[[u32; 3]]| seen.iter().all(|[valid, _, invalid]| *valid > 5 && *invalid > 5);
    for round in 0..4_000 {
        if round >= 1_000 && enough(&seen) {
            break;
        }
        let calls = random(&mut rng);
        let verdicts: Vec<Verdict> =
            levels.iter().map(|(_, check)| check.judge(&calls, &question).unwrap().verdict).collect();
        for (weak, (level, _)) in levels.iter().enumerate() {
            seen[weak][verdicts[weak] as usize] += 1;
            let mut above = level.above;
            while let Some(name) = above {
                if let Some(strong) = levels.iter().position(|(level, _)| level.name == name) {
                    assert!(
                        !(verdicts[strong] == Verdict::Valid && verdicts[weak] == Verdict::Invalid),
                        "{name} is valid, {} is not:\n{}",
                        level.name,
                        told(&calls)
                    );
                }
                above = LEVELS.iter().find(|level| level.name == name).and_then(|level| level.above);
            }
        }
        // What the ladder infers is what the checks themselves say, where they say anything.
        let ladder = climb(&calls, &question).unwrap();
        for rung in &ladder.rungs {
            let own = verdicts[levels.iter().position(|(level, _)| level.name == rung.name).unwrap()];
            assert!(own == rung.verdict || own == Verdict::Unknown, "{}:\n{}", rung.name, told(&calls));
        }
    }
    // Of each level some were valid and some were not: the comparison above meant something.
    assert!(enough(&seen), "{seen:?}");
}
