//! Whole clusters under thousands of schedules, and single steps.

mod sim;
mod steps;
mod watch;

use self::sim::Sim;
use self::watch::Broken;
use crate::node::pubsub::bug::Bug;

/// `HARNESS_SOAK` asks for more, `HARNESS_SOAK_FIRST` for others.
fn seeds() -> std::ops::Range<u64> {
    let asked =
        |name, otherwise| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let first = asked("HARNESS_SOAK_FIRST", 0);
    first..first + asked("HARNESS_SOAK", 400)
}

#[test]
fn the_correct_node_keeps_its_promises_under_every_schedule() {
    let half = |odd: u64| {
        let (mut acked, mut terms, mut snapshots) = (0, 0, 0);
        for seed in seeds().filter(|seed| seed % 2 == odd) {
            let watch = Sim::run(seed, None).unwrap_or_else(|broken| panic!("seed {seed}: {broken:?}"));
            acked += watch.acked.len() as u64;
            terms += watch.terms() as u64;
            snapshots += watch.snapshots;
        }
        [acked, terms, snapshots]
    };
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| half(0));
        (half(1), one.join().unwrap())
    });
    let [acked, terms, snapshots] = [0, 1, 2].map(|at| one[at] + other[at]);
    // Schedules in which nothing happens would prove nothing.
    let runs = seeds().end - seeds().start;
    assert!(acked > 50 * runs && terms > 2 * runs && snapshots > runs / 4, "{acked} {terms} {snapshots}");
}

/// What the first of some schedules to show it shows of `bug`.
fn shown(bug: Bug) -> Broken {
    (0..60).find_map(|seed| Sim::run(seed, Some(bug)).err()).unwrap_or_else(|| panic!("{bug:?} is not found"))
}

#[test]
fn each_bug_breaks_the_promise_it_should() {
    use Broken::{
        AppliedDiffer, Dirty, Gap, LeaderLacks, LogsDiffer, Lost, Stale, TopicsDiffer, Twice, TwoLeaders,
    };
    let found = |bug, expected: fn(&Broken) -> bool| {
        let broken = shown(bug);
        assert!(expected(&broken), "{bug:?}: {broken:?}");
    };
    found(Bug::AckBeforeCommit, |broken| matches!(broken, Stale(_) | Lost(_)));
    found(Bug::NoFsync, |broken| matches!(broken, LeaderLacks(_) | Lost(_) | AppliedDiffer(_)));
    found(Bug::VoteTwice, |broken| matches!(broken, TwoLeaders(_) | LogsDiffer(_)));
    found(Bug::CommitsOldTerm, |broken| {
        matches!(broken, AppliedDiffer(_) | LeaderLacks(_) | TopicsDiffer(_))
    });
    found(Bug::DedupEvicts, |broken| matches!(broken, Twice(_)));
    found(Bug::DedupLocal, |broken| matches!(broken, Twice(_)));
    found(Bug::DirtyHistory, |broken| matches!(broken, Dirty(_)));
    found(Bug::SubscriberGap, |broken| matches!(broken, Gap(_)));
    found(Bug::ReordersTopic, |broken| matches!(broken, TopicsDiffer(_) | Broken::Clock(_)));
    found(Bug::OffByOneTruncate, |broken| {
        matches!(broken, AppliedDiffer(_) | LogsDiffer(_) | TopicsDiffer(_))
    });
}
