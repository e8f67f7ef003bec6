//! Each bug breaks the promise it is named for, and no correct process under the same treatment does.

use super::super::bug::Bug;
use super::judge::broken;
use super::sim::{CLEAN, Link, Sim};

/// What happens to three processes that talk all the time.
#[derive(Clone, Copy, Debug)]
enum Treatment {
    /// A link takes its time, and frames overtake each other on all.
    Jitter,
    /// One misses a tenth of all that is sent to it.
    Loss,
    /// One is cut off for a second and a half.
    Partition,
    /// One stands still for three seconds, three times.
    Pause,
}

fn run(seed: u64, bug: Option<Bug>, treatment: Treatment) -> Vec<&'static str> {
    let mut sim = Sim::new(seed, 3, 4000, bug);
    assert!(sim.until(5000, Sim::is_whole), "{bug:?}, seed {seed}: no first view");
    let odd = sim.rng.below(3) as usize;
    let other = (odd + 1) % 3;
    match treatment {
        Treatment::Jitter => {
            sim.links = vec![vec![Link { jitter: 5, ..CLEAN }; 3]; 3];
            sim.links[odd][other].delay = 150;
            sim.run(3000, 15);
        }
        Treatment::Loss => {
            for rank in 0..3 {
                sim.links[rank][odd].loss = 100;
            }
            sim.run(3000, 15);
        }
        Treatment::Partition => {
            sim.run(500, 15);
            for rank in (0..3).filter(|rank| *rank != odd) {
                sim.links[rank][odd].cut = true;
                sim.links[odd][rank].cut = true;
            }
            sim.run(1500, 15);
        }
        Treatment::Pause => {
            for _ in 0..3 {
                sim.run(500, 15);
                sim.processes[odd].paused = true;
                sim.run(3000, 15);
                sim.processes[odd].paused = false;
                sim.run(300, 15);
            }
        }
    }
    sim.links = vec![vec![CLEAN; 3]; 3];
    sim.until(20_000, Sim::is_settled);
    broken(&sim.lives).into_keys().collect()
}

/// In how many of 10 runs `kind` is broken, and what else ever is.
fn count(bug: Option<Bug>, treatment: Treatment, kind: &str) -> (usize, Vec<&'static str>) {
    let runs: Vec<_> = (0..10).map(|seed| run(seed, bug, treatment)).collect();
    let mut others: Vec<_> = runs.iter().flatten().copied().filter(|other| *other != kind).collect();
    others.sort_unstable();
    others.dedup();
    (runs.iter().filter(|kinds| kinds.contains(&kind)).count(), others)
}

#[test]
fn each_bug_breaks_its_promise() {
    use Treatment::{Jitter, Loss, Partition, Pause};
    for (bug, treatment, kind, least) in [
        (Bug::DeliverOnArrival, Jitter, "total-order", 10),
        (Bug::NoSenderTieBreak, Jitter, "total-order", 10),
        (Bug::TimeoutFallback, Partition, "total-order", 10),
        (Bug::TimeoutFallback, Pause, "total-order", 9),
        (Bug::MinProposal, Jitter, "total-order", 10),
        (Bug::DuplicatesOnRetry, Loss, "integrity", 10),
        (Bug::NoRetransmit, Loss, "agreement", 10),
        (Bug::NotFifo, Jitter, "fifo", 10),
        (Bug::NotCausal, Jitter, "causal", 10),
    ] {
        let (times, others) = count(Some(bug), treatment, kind);
        println!("{bug:?} under {treatment:?}: {kind} in {times} of 10 runs, also {others:?}");
        assert!(times >= least, "{bug:?} under {treatment:?}: {kind} in {times} of 10 runs, also {others:?}");
        assert_eq!(run(0, None, treatment), Vec::<&str>::new(), "the correct process under {treatment:?}");
    }
}

/// One deviation, not several: what has nothing to do with the bug stays whole.
#[test]
fn a_bug_breaks_nothing_else() {
    let clean = |bug| count(Some(bug), Treatment::Jitter, "fifo").1;
    assert_eq!(clean(Bug::NotFifo), Vec::<&str>::new(), "one order for all, if not the senders'");
    let (times, others) = count(Some(Bug::NoRetransmit), Treatment::Jitter, "fifo");
    assert_eq!((times, others), (0, Vec::new()), "it needs a fault to show");
}
