//! Processes of a node that left its group: found in the process table, signalled one by one.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::life::{Node, Shared};
use super::process::{self, Pid};

/// How long the look at a node's children may take that comes before a signal.
const GLANCE: Duration = Duration::from_micros(500);
/// How often the process table is read to catch what is started meanwhile.
const ROUNDS: usize = 3;

/// Sends a signal to one process. Whoever ended meanwhile needs none, and whoever may not be signalled shows in
/// the next look at the table.
pub(crate) fn send(pid: Pid, signal: Signal) {
    let _ = kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Descendants of a process, as many as a quick look shows. Their descent is lost as soon as it is killed.
pub(crate) fn glance(leader: Pid) -> Vec<Pid> {
    let began = Instant::now();
    let mut found = vec![leader];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied().filter(|_| began.elapsed() < GLANCE) {
        found.extend(process::listed_children(pid).unwrap_or_default());
        next += 1;
    }
    found.remove(0);
    found
}

/// Sends the signal to every process of the node outside its group; `seen` were its descendants a moment ago.
pub(crate) fn signal_all(
    shared: &Shared,
    node: &Node,
    leader: Pid,
    signal: Signal,
    seen: &[Pid],
) -> Vec<u32> {
    let mut told: Vec<Pid> = Vec::new();
    for _ in 0..ROUNDS {
        let table = process::table();
        let mut strays = process::of_node(&table, shared.warden, leader, &shared.mark, &node.spec.id);
        // Still below the warden: so still the process that was seen.
        let kin = process::descendants(&table, [shared.warden]);
        let seen = table.iter().filter(|process| seen.contains(&process.pid) && kin.contains(&process.pid));
        strays.extend(seen.cloned());
        strays
            .retain(|process| process.is_alive() && process.group != leader && !told.contains(&process.pid));
        if strays.is_empty() {
            break;
        }
        for stray in strays {
            send(stray.pid, signal);
            told.push(stray.pid);
        }
    }
    told.sort_unstable();
    told.dedup();
    told.into_iter().map(Pid::cast_unsigned).collect()
}
