//! The four session guarantees of plain operations: `read-your-writes`, `monotonic-reads`, `monotonic-writes`,
//! `writes-follow-reads` (Terry et al. 1994; Viotti & Vukolić, *Consistency in non-transactional distributed storage
//! systems*, 2016). A session is a process.
//!
//! **Definition.** Nobody shows versions here, but values name their writes. So each guarantee is: *there is an order of the
//! writes to each key, the start before all, such that*
//!
//! | guarantee | for each session and key |
//! |---|---|
//! | read your writes | a read finds the session's last write before it, or a newer one |
//! | monotonic reads | a read finds what an earlier read of the session found, or something newer |
//! | monotonic writes | a client's writes are in the order it made them; and who has read one of them finds, from then on, in the keys that client wrote before, what it wrote or something newer |
//! | writes follow reads | a write is newer than what its client had read before of the key; and who has read it finds, from then on, in the keys its client had read before, what that client found or something newer |
//!
//! Real time bears on none of them. They are judged each by itself, apart from one premise each: what is
//! *older* can be known to a client only through another guarantee, without which the usual examples of a violation would not
//! be any, and monotonic writes could not be violated at all:
//! - *read your writes* and *monotonic reads* take for granted that a client's own writes to one key are ordered
//!   as it made them. (Write 1, write 2, read 1: the read is the culprit, not the order of the writes.)
//! - *monotonic writes* and *writes follow reads* say what others see of a client's writes, and take for granted that those
//!   others' reads of one key do not go back. Where they do without any further reason, nothing is concluded.
//!
//! Where a violation rests on its premise, its story says so. So no alarm is false: if the premise is what is
//! broken, then that is another of the four guarantees. The statistic `alone` counts the violations that rest on no premise.
//!
//! **Complexity.** Reads × sessions for the last two, linear for the others; cycles by Tarjan's algorithm.
//!
//! **Why it is sound.** Each demand follows from the definition; a cycle among them, or a demand for something newer than
//! the start, leaves no order of versions. Causal convergence ([`Causal`](super::Causal)) implies all four at once, premises
//! included: its order of writes is one that all demands agree with. What outcomes mean, and what becomes of values that
//! were written twice, is in [`registers`](super::registers): such reads are left out, and then "nothing found" is `unknown`.
//!
//! Versions, where a store shows them, say more: the checks of the same names in `[checks]` use them.

use std::time::Instant;

use serde_json::{Map, Value as Json};

use super::causal::{MOST_TIME, by_invocation, conclude, evidence, in_sessions, unsaid};
use super::minimal::Prover;
use super::registers::{Facts, MODELS, Sessions, arrange};
use super::versions::{Demands, Ground, Guarantee, broken, broken_alone};
use crate::check::models::Model;
use crate::check::plain::{Answer, PlainCheck, Proof, Question};
use crate::history::Value;
use crate::history::calls::Calls;

/// `read-your-writes` of plain operations.
pub struct ReadYourWrites;
/// `monotonic-reads` of plain operations.
pub struct MonotonicReads;
/// `monotonic-writes` of plain operations.
pub struct MonotonicWrites;
/// `writes-follow-reads` of plain operations.
pub struct WritesFollowReads;

macro_rules! plain_check {
    ($check:ident, $name:literal, $about:literal) => {
        impl PlainCheck for $check {
            fn name(&self) -> &'static str {
                $name
            }

            fn about(&self) -> &'static str {
                $about
            }

            fn models(&self) -> &'static [Model] {
                MODELS
            }

            fn judge(&self, calls: &Calls, question: &Question) -> Result<Answer, String> {
                judge(calls, question, Guarantee::$check)
            }
        }
    };
}

plain_check!(ReadYourWrites, "read-your-writes", "a client reads its own writes, or something newer");
plain_check!(MonotonicReads, "monotonic-reads", "a client's reads of a key never go back to something older");
plain_check!(MonotonicWrites, "monotonic-writes", "a client's writes are seen in the order it made them");
plain_check!(
    WritesFollowReads,
    "writes-follow-reads",
    "who sees a write sees, from then on, what its client had read before"
);

/// At most so many violations are shown.
const MOST_SHOWN: usize = 8;
/// After so many contradictions that prove nothing the search for one that does is given up.
const MOST_TRIED: usize = 200;

fn judge(calls: &Calls, question: &Question, guarantee: Guarantee) -> Result<Answer, String> {
    let facts = Facts::new(calls, question)?;
    let sessions = arrange(&facts.list, facts.initial, &[]);
    let mut evidence = evidence(calls, &facts, &sessions);
    let keys = calls.keys.len();
    let mut demands = Demands::new(&sessions, keys, guarantee, false);
    evidence.insert("judged".into(), Json::from(demands.judged));
    let cyclic = demands.cyclic(&sessions);
    if demands.judged == 0 && !cyclic {
        let why = match sessions.left_out {
            0 => nothing_to_judge(guarantee),
            _ => "values were written more than once, and no other read tells anything",
        };
        return Ok(Answer { evidence, ..Answer::unknown(why) });
    }
    let mut search = Search {
        calls,
        guarantee,
        sessions: &sessions,
        prover: Prover::new(&facts, Instant::now() + MOST_TIME),
        proofs: Vec::new(),
        found: Vec::new(),
        alone: 0,
        in_vain: 0,
    };
    let late = std::mem::take(&mut demands.late);
    search.late(&late);
    if cyclic {
        drop(demands);
        search.cycles();
    }
    let Search { proofs, found, alone, in_vain, .. } = search;
    let mut reason = unsaid(&facts, &sessions);
    if in_vain > 0 {
        reason = Some(format!(
            "{in_vain} contradictions were found in which the reads of one client go back by themselves (see monotonic-reads), so that they show nothing of this"
        ));
    }
    let mut stats = Map::new();
    if !proofs.is_empty() {
        stats.insert("alone".into(), Json::from(alone));
    }
    Ok(Answer { stats, ..conclude(proofs, found.len() as u64, reason, evidence) })
}

fn nothing_to_judge(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::ReadYourWrites => "no client read a key after writing it",
        Guarantee::MonotonicReads => "no client read a key again after finding a write there",
        Guarantee::MonotonicWrites => {
            "no client read a key that the client of a write it had read had written before"
        }
        Guarantee::WritesFollowReads => {
            "no client wrote a key it had read, or read one that the client of a write it had read had read before"
        }
    }
}

struct Search<'a> {
    calls: &'a Calls,
    guarantee: Guarantee,
    sessions: &'a Sessions,
    prover: Prover<'a>,
    proofs: Vec<Proof>,
    /// The keys with a violation.
    found: Vec<u32>,
    /// Violations that rest on no premise, among those shown.
    alone: u64,
    in_vain: usize,
}

impl Search<'_> {
    /// Reads of the start that come too late.
    fn late(&mut self, late: &[Ground]) {
        for ground in late {
            let nodes: Vec<u32> =
                ground.iter().copied().filter(|node| (*node as usize) < self.sessions.nodes.len()).collect();
            let Some(read) = nodes.last().map(|node| self.sessions.nodes[*node as usize]) else { continue };
            if self.found.contains(&read.key) || self.in_vain >= MOST_TRIED {
                continue;
            }
            let ops: Vec<u32> = nodes.iter().map(|node| self.sessions.nodes[*node as usize].call).collect();
            self.attempt(read.key, &ops, &ops);
        }
    }

    /// Demands that contradict each other.
    fn cycles(&mut self) {
        let demands = Demands::new(self.sessions, self.calls.keys.len(), self.guarantee, true);
        demands.each_cycle(self.sessions, |_, cycle, ops| {
            let key = self.sessions.nodes[cycle[0].from as usize].key;
            if !self.found.contains(&key) {
                let versions: Vec<u32> =
                    cycle.iter().map(|edge| self.sessions.nodes[edge.from as usize].call).collect();
                self.attempt(key, &ops, &versions);
            }
            self.in_vain < MOST_TRIED
        });
    }

    /// Takes operations for a proof if they are.
    fn attempt(&mut self, key: u32, ops: &[u32], versions: &[u32]) {
        let keys = self.calls.keys.len();
        let guarantee = self.guarantee;
        if self.proofs.len() >= MOST_SHOWN || Instant::now() > self.prover.deadline {
            // Counted, if it needs no premise that might be broken here.
            if matches!(guarantee, Guarantee::ReadYourWrites | Guarantee::MonotonicReads)
                || self.premise_holds(ops)
            {
                self.found.push(key);
            }
            return;
        }
        if !self.premise_holds(ops) {
            self.in_vain += 1;
            return;
        }
        let Some((proof, minimal)) = self.prover.prove(ops, &|sessions| broken(sessions, keys, guarantee))
        else {
            self.in_vain += 1;
            return;
        };
        self.found.push(key);
        let alone = self.prover.shows(&proof, &|sessions| broken_alone(sessions, keys, guarantee));
        self.alone += u64::from(alone);
        let told = by_invocation(self.calls, proof.clone());
        let mut context = self.prover.context(&proof);
        context.extend(versions.iter().copied().filter(|call| !proof.contains(call)));
        context.sort_unstable();
        context.dedup();
        let mut story = format!("{}: {}", promise(guarantee), in_sessions(self.calls, &told));
        if !alone {
            story.push_str(premise(guarantee));
        }
        self.proofs.push(Proof {
            kind: kind(guarantee),
            key: self.calls.keys.get(key as usize).cloned().unwrap_or(Value::Nil),
            ops: told,
            minimal,
            context,
            states: Vec::new(),
            story,
            cause: cause(guarantee).into(),
        });
    }

    /// Whether the operations do not contradict the premise by themselves.
    fn premise_holds(&self, ops: &[u32]) -> bool {
        match self.guarantee {
            Guarantee::ReadYourWrites | Guarantee::MonotonicReads => true,
            _ => {
                let keys = self.calls.keys.len();
                let reads = |sessions: &Sessions| broken_alone(sessions, keys, Guarantee::MonotonicReads);
                !self.prover.shows(ops, &reads)
            }
        }
    }
}

fn kind(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::ReadYourWrites => "own-write-unread",
        Guarantee::MonotonicReads => "read-went-back",
        Guarantee::MonotonicWrites => "writes-reordered",
        Guarantee::WritesFollowReads => "write-before-its-cause",
    }
}

fn promise(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::ReadYourWrites => "a client did not find its own write, or anything newer",
        Guarantee::MonotonicReads => "a client's reads went back to something older",
        Guarantee::MonotonicWrites => "a client's writes were not seen in the order it made them",
        Guarantee::WritesFollowReads => "a write was seen without what its client had read before it",
    }
}

fn premise(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::ReadYourWrites | Guarantee::MonotonicReads => {
            " (provided that a client's writes to one key are kept in the order it made them; if not, monotonic-writes is what is broken)"
        }
        _ => {
            " (provided that the reader's own reads do not go back; if they do, monotonic-reads is what is broken)"
        }
    }
}

fn cause(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::ReadYourWrites => {
            "the read was answered by a copy that the client's write had not reached, or the write was lost"
        }
        Guarantee::MonotonicReads => "the later read was answered by a copy that lags behind the one before",
        Guarantee::MonotonicWrites => {
            "copies apply a client's writes in the order they happen to arrive, or stamp them by clocks that differ"
        }
        Guarantee::WritesFollowReads => "copies apply a write before the one it answers to has arrived",
    }
}
