//! Waiting, before the load begins, until the system has a leader.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::allowance::Allowance;
use super::engine::Options;
use super::setup::{self, SetupError, System};
use crate::load::StatusWatch;
use crate::workload::Workload;

/// How often it is looked whether there is a leader.
const LOOK: Duration = Duration::from_millis(5);

/// Begins to ask the nodes for their status, where the workload needs it, and waits for a leader, where it promises one. A
/// system that never had one is told of in [`System::leaderless`]: it is up, but there is nothing to load.
///
/// # Errors
/// A node ended meanwhile.
pub(super) fn watch(workload: &Workload, options: &Options, system: &mut System) -> Result<(), SetupError> {
    let Some(period) = workload.client.probe else { return Ok(()) };
    let shared = &system.shared;
    let watch = StatusWatch::start(&shared.runtime, &shared.targets, shared.clients, period);
    system.watch = Some(watch);
    let Some(elect_within) = workload.cluster.elect_within else { return Ok(()) };
    let leaders = shared.targets.leaders();
    // A node that starts slowly has no business in an election yet.
    let within = elect_within.max(workload.cluster.ready_within);
    let began = Instant::now();
    let allowance = Allowance::new(within, shared, &workload.cluster.nodes);
    while leaders.leader().is_none() {
        if let Some(failure) = setup::early_exit(shared, &system.events, Duration::ZERO) {
            return Err(SetupError::System(failure));
        }
        if options.interrupt.asked() {
            return Ok(());
        }
        if allowance.is_over() {
            let waited_s = began.elapsed().as_secs_f64();
            let mut line = format!("no leader was ever elected, {waited_s:.1} s after every node was up");
            for (place, word) in leaders.words().iter().enumerate() {
                // Writing to a String cannot fail.
                let _ = write!(line, "{} {word}", if place == 0 { ":" } else { ";" });
            }
            system.leaderless = Some(line);
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
