//! Looking for contradictions.

use std::collections::HashSet;

use super::facts::{Broadcasts, MessageId, ProcessId, Sequence};
use super::found::Found;

/// Everything that contradicts the definitions.
pub fn judge(facts: &Broadcasts) -> Vec<Found> {
    let mut found = Vec::new();
    for process in 0..facts.sequences.len() {
        integrity(facts, process, &mut found);
        fifo(facts, process, &mut found);
        causal(facts, process, &mut found);
        for other in 0..facts.sequences.len() {
            if process != other && bound(facts, process, other) {
                order(facts, process, other, &mut found);
                agreement(facts, process, other, &mut found);
            }
        }
    }
    validity(facts, &mut found);
    most_telling(found)
}

/// Of two messages one of which follows from the other, that they came the wrong way round says more than that two
/// processes disagree about them.
fn most_telling(mut found: Vec<Found>) -> Vec<Found> {
    let related = |found: &Found| match *found {
        Found::Fifo { first, then, .. } | Found::Causal { cause: first, then, .. } => Some((first, then)),
        _ => None,
    };
    let pairs: HashSet<(MessageId, MessageId)> = found.iter().filter_map(related).collect();
    found.retain(|found| match *found {
        Found::Order { first, then, .. } => {
            !pairs.contains(&(first, then)) && !pairs.contains(&(then, first))
        }
        _ => true,
    });
    found
}

/// Whether what `leader` delivered binds `follower` at all.
fn bound(facts: &Broadcasts, leader: ProcessId, follower: ProcessId) -> bool {
    let both_correct = facts.sequences[leader].correct && facts.sequences[follower].correct;
    facts.history.contract.uniform || both_correct
}

fn integrity(facts: &Broadcasts, process: ProcessId, found: &mut Vec<Found>) {
    let sequence = &facts.sequences[process];
    found.extend(sequence.strange.iter().map(|delivery| Found::Strange { delivery: delivery.index }));
    for (first, again) in &sequence.repeated {
        found.push(Found::Repeated { first: first.index, again: again.index });
    }
    for (id, delivery) in &sequence.items {
        let asked = facts.messages[*id].asked_ns();
        if asked.is_none_or(|asked_ns| delivery.time_ns < asked_ns) {
            found.push(Found::Early { message: *id, delivery: delivery.index });
        }
    }
}

/// Two messages in different orders, or one of them left out between others. Each inversion shows in two neighbours of
/// the one sequence, so neighbours are enough to see whether there is one.
fn order(facts: &Broadcasts, leader: ProcessId, follower: ProcessId, found: &mut Vec<Found>) {
    let (one, other) = (&facts.sequences[leader], &facts.sequences[follower]);
    let common = |sequence: &Sequence| -> Vec<MessageId> {
        let shared = |id: &MessageId| one.place.contains_key(id) && other.place.contains_key(id);
        sequence.items.iter().map(|(id, _)| *id).filter(shared).collect()
    };
    if leader < follower {
        for pair in common(one).windows(2) {
            if other.place[&pair[0]] > other.place[&pair[1]] {
                found.push(Found::Order { first: pair[0], then: pair[1], here: leader, there: follower });
            }
        }
    }
    gap(facts, leader, follower, found);
}

fn gap(facts: &Broadcasts, leader: ProcessId, follower: ProcessId, found: &mut Vec<Found>) {
    let (one, other) = (&facts.sequences[leader], &facts.sequences[follower]);
    if one.removable && !facts.history.contract.uniform {
        return;
    }
    // Whoever may have been removed and let in again has missed what came between. When that was is told, or unknown: but not
    // before anything had happened.
    let unknown = other.removable && !facts.history.contract.removals_told;
    let until_ns = if unknown { facts.undisturbed_until_ns() } else { u64::MAX };
    // A process that came in later begins where it came in: with the first of its messages, in the leader's order.
    let begins = match other.begins_with_the_group() {
        true => 0,
        false => match one.items.iter().position(|(id, _)| other.place.contains_key(id)) {
            Some(begins) => begins,
            None => return,
        },
    };
    let last = one.items.iter().rposition(|(id, _)| other.place.contains_key(id)).unwrap_or(0);
    let mut missed = None;
    let mut stint = 0;
    for (id, _) in one.items.get(begins..=last).unwrap_or_default() {
        let Some(place) = other.place.get(id) else {
            missed = missed.or(Some(*id));
            continue;
        };
        if let Some(missing) = missed.take()
            && other.stint(*place) == stint
            && other.items[*place].1.time_ns < until_ns
        {
            found.push(Found::Gap { missing, later: *id, had: leader, lacks: follower });
        }
        stint = other.stint(*place);
    }
}

fn agreement(facts: &Broadcasts, leader: ProcessId, follower: ProcessId, found: &mut Vec<Found>) {
    let (one, other) = (&facts.sequences[leader], &facts.sequences[follower]);
    let last = one.items.iter().rposition(|(id, _)| other.place.contains_key(id));
    // A newcomer, or one that was removed and let in again, owes what comes after the first it has: it was in by then.
    let is_in = |last: usize| {
        facts.history.contract.removals_told
            && facts.history.contract.views
            && other.stays
            && other.place.get(&one.items[last].0).is_some_and(|at| other.stint(*at) == other.removed.len())
    };
    if !facts.settled || !(other.owes_all() || last.is_some_and(is_in)) {
        return;
    }
    // Messages before the last that both have are gaps, and told as such.
    let rest = one.items[last.map_or(0, |last| last + 1)..].iter();
    let missing = rest.filter(|(id, delivery)| !other.place.contains_key(id) && facts.had_time(delivery));
    found.extend(missing.map(|(id, _)| Found::Missing { message: *id, had: leader, lacks: follower }));
}

fn validity(facts: &Broadcasts, found: &mut Vec<Found>) {
    // While somebody is gone, to wait is right.
    if !facts.settled || !(facts.whole || facts.history.contract.views) {
        return;
    }
    for (id, message) in facts.messages.iter().enumerate() {
        let Some(op) = message.sent() else { continue };
        let Some(node) = op.node.as_deref() else { continue };
        let own = facts.sequences.iter().position(|sequence| sequence.node == node && sequence.owes_all());
        if let Some(process) = own.filter(|process| !facts.sequences[*process].place.contains_key(&id)) {
            // Where others have it, agreement tells it better.
            if !facts.sequences.iter().any(|sequence| sequence.place.contains_key(&id)) {
                found.push(Found::OwnMissing { message: id, process });
            }
        }
    }
}

/// For every sender, the later of two of its messages must not come first. The neighbour in the sender's order is compared:
/// the last message that was handed over before this one was asked for.
fn fifo(facts: &Broadcasts, process: ProcessId, found: &mut Vec<Found>) {
    let here = &facts.sequences[process];
    for sender in &facts.sequences {
        let mut by_return = sender.sent.clone();
        by_return.sort_by_key(|(_, op)| op.returned_ns);
        let mut next = 0;
        // The one among those handed over so far which this process delivered last.
        let mut latest: Option<(usize, MessageId)> = None;
        for (id, op) in &sender.sent {
            while let Some((earlier, before)) = by_return.get(next)
                && before.returned_ns.is_some_and(|returned_ns| returned_ns < op.invoked_ns)
            {
                let place = here.place.get(earlier).copied();
                if let Some(place) = place
                    && latest.is_none_or(|(known, _)| known < place)
                {
                    latest = Some((place, *earlier));
                }
                next += 1;
            }
            let Some(place) = here.place.get(id) else { continue };
            if let Some((_, first)) = latest.filter(|(last, _)| last > place) {
                found.push(Found::Fifo { first, then: *id, process });
            }
        }
    }
}

/// What a sender had delivered when it sent must be delivered first everywhere. That is a beginning of the sender's own
/// sequence, so it is enough to know how much of it this process has delivered so far.
fn causal(facts: &Broadcasts, process: ProcessId, found: &mut Vec<Found>) {
    let here = &facts.sequences[process];
    for sender in facts.sequences.iter().filter(|sender| !std::ptr::eq(*sender, here)) {
        let mut known: Vec<(usize, usize, MessageId)> = Vec::new();
        for (id, op) in &sender.sent {
            let before = sender.items.partition_point(|(_, delivery)| delivery.time_ns < op.invoked_ns);
            known.extend(here.place.get(id).map(|place| (*place, before, *id)));
        }
        known.sort_unstable();
        let mut done = 0;
        for (place, before, id) in known {
            // Delivered here by then, or never: what never comes is agreement's business.
            let is_here = |cause: MessageId| here.place.get(&cause).is_none_or(|there| *there <= place);
            while done < before && is_here(sender.items[done].0) {
                done += 1;
            }
            if done < before {
                let cause = sender.items[done].0;
                found.push(Found::Causal { cause, then: id, sender: sender.items[done].1.index, process });
            }
        }
    }
}
