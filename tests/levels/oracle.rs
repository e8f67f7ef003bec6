//! The definitions, tried out: every choice of what happened, of whose write was read, and of orders. Nothing is shared
//! with the checks.

use std::collections::HashSet;

use harness::history::Outcome;

use crate::small::{Op, What};

/// What happened in one way the history may be explained: operations, and for each read the operation it read.
struct World {
    /// Indices of the operations that happened.
    happened: Vec<usize>,
    /// For each operation that reads: the write it read; `None` is the start.
    source: Vec<Option<usize>>,
}

fn reads(op: &Op) -> Option<i64> {
    match op.what {
        What::Read if op.outcome == Outcome::Ok => Some(op.value),
        What::Cas(from) if op.outcome != Outcome::Fail => Some(from),
        _ => None,
    }
}

fn writes(op: &Op) -> bool {
    op.what != What::Read && op.outcome != Outcome::Fail
}

/// Whether one operation comes before another by their process's order: what was acknowledged does.
fn ordered(ops: &[Op], one: usize, other: usize) -> bool {
    ops[one].process == ops[other].process
        && ops[one].invoke < ops[other].invoke
        && ops[one].outcome == Outcome::Ok
}

/// Whether some world has the property. `thin_air`: what a read of what nobody wrote makes of a world: left out of
/// account, or impossible.
fn some_world(ops: &[Op], thin_air: bool, property: &mut dyn FnMut(&World) -> bool) -> bool {
    let may: Vec<usize> =
        (0..ops.len()).filter(|at| writes(&ops[*at]) && ops[*at].outcome == Outcome::Info).collect();
    (0..1_u32 << may.len()).any(|mask| {
        let takes_part = |at: usize| match may.iter().position(|info| *info == at) {
            Some(bit) => mask >> bit & 1 == 1,
            None => ops[at].outcome == Outcome::Ok,
        };
        let happened: Vec<usize> = (0..ops.len()).filter(|at| takes_part(*at)).collect();
        let mut world = World { happened, source: vec![None; ops.len()] };
        let readers: Vec<usize> =
            world.happened.iter().copied().filter(|at| reads(&ops[*at]).is_some()).collect();
        pair(ops, &readers, thin_air, &mut world, property)
    })
}

/// Pairs the reads with every write they may have read.
fn pair(
    ops: &[Op],
    readers: &[usize],
    thin_air: bool,
    world: &mut World,
    property: &mut dyn FnMut(&World) -> bool,
) -> bool {
    let Some((read, rest)) = readers.split_first() else { return property(world) };
    let value = reads(&ops[*read]);
    let wrote =
        |at: &usize| writes(&ops[*at]) && ops[*at].key == ops[*read].key && Some(ops[*at].value) == value;
    let mut choices: Vec<Option<usize>> = world.happened.iter().copied().filter(wrote).map(Some).collect();
    if value == Some(0) {
        choices.push(None);
    }
    let may_wrote = |at: usize| wrote(&at);
    if thin_air && choices.is_empty() && !(0..ops.len()).any(may_wrote) {
        // Says nothing: as if it had not been read.
        let without: Vec<usize> = world.happened.clone();
        if ops[*read].what == What::Read {
            world.happened.retain(|at| at != read);
        }
        world.source[*read] = Some(usize::MAX);
        let found = pair(ops, rest, thin_air, world, property);
        world.happened = without;
        return found;
    }
    choices.into_iter().any(|choice| {
        world.source[*read] = choice;
        pair(ops, rest, thin_air, world, property)
    })
}

/// Whether the history is sequentially consistent. A failed compare-and-set saw another value, as etcd has it.
pub fn sequential(ops: &[Op]) -> bool {
    // Where it has been in vain: what was placed, and what the keys held.
    fn go(ops: &[Op], placed: u32, held: [i64; 4], been: &mut HashSet<(u32, [i64; 4])>) -> bool {
        let is_placed = |at: usize| placed >> at & 1 == 1;
        let saw_another = |op: &Op| op.outcome == Outcome::Fail && matches!(op.what, What::Cas(_));
        let due = |at: usize| ops[at].outcome == Outcome::Ok || saw_another(&ops[at]);
        if (0..ops.len()).all(|at| is_placed(at) || !due(at)) {
            return true;
        }
        if !been.insert((placed, held)) {
            return false;
        }
        (0..ops.len()).any(|at| {
            let op = &ops[at];
            let earlier = |other: usize| {
                due(other) && ops[other].process == op.process && ops[other].invoke < op.invoke
            };
            let blocked = (0..ops.len()).any(|other| !is_placed(other) && earlier(other));
            let possible = due(at) || op.outcome == Outcome::Info && op.what != What::Read;
            let mut held = held;
            let here = &mut held[op.key as usize];
            let differs = match op.what {
                What::Cas(from) if saw_another(op) => *here == from,
                _ => reads(op).is_some_and(|value| *here != value),
            };
            if is_placed(at) || blocked || !possible || differs {
                return false;
            }
            if writes(op) {
                *here = op.value;
            }
            go(ops, placed | 1 << at, held, been)
        })
    }
    go(ops, 0, [0; 4], &mut HashSet::new())
}

/// Every order of `items`, until one will do.
fn some_order(items: &mut Vec<usize>, from: usize, will_do: &mut dyn FnMut(&[usize]) -> bool) -> bool {
    if from == items.len() {
        return will_do(items);
    }
    (from..items.len()).any(|at| {
        items.swap(from, at);
        let found = some_order(items, from + 1, will_do);
        items.swap(from, at);
        found
    })
}

/// Whether the history is causally convergent.
pub fn causal(ops: &[Op]) -> bool {
    some_world(ops, false, &mut |world| {
        // Each operation in two halves, reading and then writing; for each half those that come before it.
        let mut past = [0_u32; 16];
        for one in &world.happened {
            past[2 * one + 1] |= 1 << (2 * one);
            for other in &world.happened {
                if ordered(ops, *one, *other) {
                    past[2 * other] |= 2 << (2 * one);
                }
            }
            if let (Some(_), Some(source)) = (reads(&ops[*one]), world.source[*one]) {
                past[2 * one] |= 2 << (2 * source);
            }
        }
        for through in 0..16 {
            for to in 0..16 {
                if past[to] >> through & 1 == 1 {
                    past[to] |= past[through];
                }
            }
        }
        if (0..16).any(|at| past[at] >> at & 1 == 1) {
            return false;
        }
        let before = |write: usize, half: usize| past[half] >> (2 * write + 1) & 1 == 1;
        let mut written: Vec<usize> = world.happened.iter().copied().filter(|at| writes(&ops[*at])).collect();
        some_order(&mut written, 0, &mut |order| {
            let agrees = (0..order.len())
                .all(|late| (0..late).all(|early| !before(order[late], 2 * order[early] + 1)));
            agrees
                && world.happened.iter().filter(|at| reads(&ops[**at]).is_some()).all(|read| {
                    let visible =
                        |write: &&usize| ops[**write].key == ops[*read].key && before(**write, 2 * read);
                    order.iter().rfind(visible).copied() == world.source[*read]
                })
        })
    })
}

/// The session guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    ReadYourWrites,
    MonotonicReads,
    MonotonicWrites,
    WritesFollowReads,
}

/// A demand: the first version is older than the second, or may also be the same.
type Demand = (Option<usize>, Option<usize>, bool);

fn own_order(ops: &[Op], world: &World, into: &mut Vec<Demand>) {
    for one in &world.happened {
        for other in &world.happened {
            if writes(&ops[*one])
                && writes(&ops[*other])
                && ops[*one].key == ops[*other].key
                && ordered(ops, *one, *other)
            {
                into.push((Some(*one), Some(*other), true));
            }
        }
    }
}

fn forward(ops: &[Op], world: &World, into: &mut Vec<Demand>) {
    for one in &world.happened {
        for other in &world.happened {
            let both = reads(&ops[*one]).is_some() && reads(&ops[*other]).is_some();
            if both && ops[*one].key == ops[*other].key && ordered(ops, *one, *other) {
                into.push((world.source[*one], world.source[*other], false));
            }
        }
    }
}

fn demanded(ops: &[Op], world: &World, guarantee: Guarantee, into: &mut Vec<Demand>) {
    let pairs = || world.happened.iter().flat_map(|one| world.happened.iter().map(|other| (*one, *other)));
    match guarantee {
        Guarantee::ReadYourWrites => {
            for (write, read) in pairs() {
                let fits =
                    writes(&ops[write]) && reads(&ops[read]).is_some() && ops[write].key == ops[read].key;
                if fits && ordered(ops, write, read) {
                    into.push((Some(write), world.source[read], false));
                }
            }
        }
        Guarantee::MonotonicReads => forward(ops, world, into),
        Guarantee::MonotonicWrites => own_order(ops, world, into),
        Guarantee::WritesFollowReads => {
            for (read, write) in pairs() {
                let fits =
                    writes(&ops[write]) && reads(&ops[read]).is_some() && ops[write].key == ops[read].key;
                if fits && (ordered(ops, read, write) || read == write) && world.source[read].is_some() {
                    into.push((world.source[read], Some(write), true));
                }
            }
        }
    }
    if matches!(guarantee, Guarantee::ReadYourWrites | Guarantee::MonotonicReads) {
        return;
    }
    for (shown, read) in pairs() {
        let both = reads(&ops[shown]).is_some() && reads(&ops[read]).is_some();
        let Some(write) =
            world.source[shown].filter(|_| both && (shown == read || ordered(ops, shown, read)))
        else {
            continue;
        };
        for earlier in &world.happened {
            let same_key = ops[*earlier].key == ops[read].key;
            if guarantee == Guarantee::MonotonicWrites {
                if same_key && writes(&ops[*earlier]) && (ordered(ops, *earlier, write)) {
                    into.push((Some(*earlier), world.source[read], false));
                }
            } else if same_key
                && reads(&ops[*earlier]).is_some()
                && world.source[*earlier].is_some()
                && (ordered(ops, *earlier, write) || *earlier == write)
            {
                into.push((world.source[*earlier], world.source[read], false));
            }
        }
    }
}

/// Whether some order of all versions, the start first, meets the demands. (One order for all keys is as good as one for
/// each.)
fn met(ops: &[Op], world: &World, demands: &[Demand]) -> bool {
    let mut versions: Vec<usize> = world.happened.iter().copied().filter(|at| writes(&ops[*at])).collect();
    some_order(&mut versions, 0, &mut |order| {
        let place = |version: Option<usize>| match version {
            None => 0,
            Some(write) => 1 + order.iter().position(|at| *at == write).unwrap(),
        };
        demands.iter().all(|(older, newer, strictly)| {
            let (older, newer) = (place(*older), place(*newer));
            older < newer || !strictly && older == newer
        })
    })
}

/// Reads of what nobody wrote bear on no guarantee.
fn known(world: &World) -> World {
    let source = world.source.iter().map(|source| source.filter(|at| *at != usize::MAX)).collect();
    World { happened: world.happened.clone(), source }
}

fn premise(ops: &[Op], world: &World, guarantee: Guarantee, into: &mut Vec<Demand>) {
    match guarantee {
        Guarantee::ReadYourWrites | Guarantee::MonotonicReads => own_order(ops, world, into),
        _ => forward(ops, world, into),
    }
}

fn possible(ops: &[Op], guarantee: Guarantee, judged: bool) -> bool {
    some_world(ops, true, &mut |world| {
        let world = known(world);
        let mut demands = Vec::new();
        premise(ops, &world, guarantee, &mut demands);
        if judged {
            demanded(ops, &world, guarantee, &mut demands);
        }
        met(ops, &world, &demands)
    })
}

/// Whether a guarantee is kept: no part of the history contradicts it while it agrees with the premise.
pub fn kept(ops: &[Op], guarantee: Guarantee) -> bool {
    if possible(ops, guarantee, true) {
        return true;
    }
    // What failed stays so: a read of it says nothing of any guarantee.
    let failed: u32 = (0..ops.len()).filter(|at| ops[*at].outcome == Outcome::Fail).map(|at| 1 << at).sum();
    !(0..1_u32 << ops.len()).filter(|mask| mask & failed == failed).any(|mask| {
        let kept: Vec<u32> = (0..ops.len() as u32).filter(|at| mask >> at & 1 == 1).collect();
        let part = crate::small::relaxed(ops, &kept);
        possible(&part, guarantee, false) && !possible(&part, guarantee, true)
    })
}

/// Eventual consistency: whether what was read had been written by somebody; and whether the copies were seen to agree
/// when the writing had ended. Processes whose last operation has no outcome are gone.
pub fn eventual(ops: &[Op]) -> (bool, bool) {
    let own = ops.iter().filter(|op| op.outcome == Outcome::Ok).all(|op| {
        reads(op).is_none_or(|value| {
            value == 0 || ops.iter().any(|by| writes(by) && by.key == op.key && by.value == value)
        })
    });
    let gone = |process: u32| {
        let last = ops.iter().filter(|op| op.process == process).max_by_key(|op| op.invoke);
        last.is_some_and(|op| op.outcome == Outcome::Info)
    };
    let key_agrees = |key: u32| {
        let written: Vec<&Op> = ops.iter().filter(|op| op.key == key && writes(op)).collect();
        let read: Vec<&Op> = ops
            .iter()
            .filter(|op| op.key == key && op.what == What::Read && op.outcome == Outcome::Ok)
            .filter(|op| !gone(op.process))
            .collect();
        let last_of = |read_by: &Op| {
            read.iter().filter(|op| op.process == read_by.process).all(|op| op.invoke <= read_by.invoke)
        };
        let finals: Vec<&&Op> = read.iter().filter(|op| last_of(op)).collect();
        written.is_empty()
            || finals.len() > 1
                && finals.iter().all(|last| {
                    written.iter().all(|write| write.outcome == Outcome::Ok && write.ret < last.invoke)
                        && written.iter().any(|write| write.value == last.value)
                        && last.value == finals[0].value
                })
    };
    let some_write = ops.iter().any(writes);
    (own, own && some_write && (0..4).all(key_agrees))
}

/// Whether each read returns what the definition of a regular, or safe, register allows.
pub fn regular(ops: &[Op], safe: bool) -> bool {
    let before = |one: &Op, other: &Op| one.ret < other.invoke;
    let written = || ops.iter().filter(|op| writes(op));
    ops.iter().filter(|op| op.what == What::Read && op.outcome == Outcome::Ok).all(|read| {
        let of_key = || written().filter(|write| write.key == read.key);
        if safe && of_key().any(|write| !before(write, read) && !before(read, write)) {
            return true;
        }
        let fits = |write: &&Op| {
            write.value == read.value
                && !before(read, write)
                && !of_key().any(|other| before(write, other) && before(other, read))
        };
        of_key().any(|write| fits(&write)) || read.value == 0 && !of_key().any(|other| before(other, read))
    })
}
