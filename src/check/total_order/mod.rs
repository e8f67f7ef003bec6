//! `total-order`: broadcast messages reach every process, once, in one order that respects cause and effect.
//!
//! **Definitions.** Hadzilacos and Toueg, *A Modular Approach to Fault-Tolerant Broadcasts and Related Problems*, 1994, in
//! the wording of Défago, Schiper and Urbán, *Total Order Broadcast and Multicast Algorithms*, ACM Computing Surveys 2004. A
//! *process* is one life of a node: a node that was started again is another process, which comes in later. A process is
//! *correct* when it was there from the first start to the end of the run.
//!
//! | kind | what it proves |
//! |---|---|
//! | `from-nowhere` (integrity) | a message was delivered that nobody had sent by then |
//! | `duplicate` (integrity) | a process delivered a message twice |
//! | `own-message-missing` (validity) | a correct process never delivered what it had been given to send |
//! | `missing` (agreement) | a correct process never delivered what another one delivered |
//! | `order` (total order) | two processes delivered two messages in different orders |
//! | `gap` (total order) | a process delivered `m2`, never `m1`, and another one delivered `m1` before `m2` |
//! | `not-fifo` (FIFO order) | a process delivered a sender's later message before an earlier one |
//! | `not-causal` (causal order) | a process delivered a message before one that its sender had delivered when it sent it |
//!
//! **What is declared.** With `uniform` the promises bind crashed processes too: what one of them delivered before it died,
//! and in which order, the others must deliver. Without it only correct processes are compared with each other. With
//! `views` a process that others could not hear may have been removed from the group, as a crashed one is: one that a fault
//! of the run had silenced then owes nothing that it never delivered, but what it delivered is still in order. Where
//! nodes say when they were removed (`removals_told`), that is known and need not be guessed: who says nothing owes everything,
//! and between two removals, and after the last, nothing may be left out. Blocking for
//! as long as a process is gone is a correct answer, and without `views` the only one: validity is judged only while
//! nobody is missing.
//!
//! **Soundness.** Messages are unique, so a delivery names its message. A delivery is seen after it happened, so one that
//! was seen before a line was handed to the same process was known to it: it is that line's cause. A line that was handed
//! over before another was asked for came first. "Never" is said only of a run that healed, and had its time to settle; and of a
//! process that lacks what another delivered, only where that was in the first half of the settling, or before.
//! Before the first fault began, or the first process ended, nobody can have been removed.
//! What was left in the pipe of a killed process counts as delivered by it, as it was. Violations name the deliveries and
//! sendings that contradict each other, and no others.
//!
//! **Complexity.** For p processes and n messages O(p² n).

mod facts;
mod found;
mod judge;

use super::findings::evidence;
use super::listed::conclude;
use super::{Check, CheckResult, misread};
use crate::history::History;
use facts::Broadcasts;

/// The check.
pub struct TotalOrder;

impl Check for TotalOrder {
    fn name(&self) -> &'static str {
        "total-order"
    }

    fn about(&self) -> &'static str {
        "Every process delivers the same messages, once, in one order that respects cause and effect."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Broadcasts::new(history);
        let misread = misread::deliveries(history);
        let found = if misread.is_none() { judge::judge(&facts) } else { Vec::new() };
        let delivering = facts.sequences.iter().filter(|sequence| !sequence.items.is_empty()).count();
        let figures = evidence([
            ("messages", facts.messages.len() as u64),
            ("deliveries", history.deliveries.len() as u64),
            ("processes", facts.sequences.len() as u64),
            ("concurrent", facts.concurrent()),
        ]);
        let contract = &history.contract;
        let unknown = match delivering {
            _ if misread.is_some() => misread.as_deref(),
            0 if contract.views && !contract.removals_told => Some(
                "no process delivered anything, and each may have been removed from the group while a fault was in force; \
                 views = false in [cluster] says that nobody ever is",
            ),
            0 => Some("no process delivered anything"),
            1 => Some("only one process delivered anything: there was nobody to compare it with"),
            _ => None,
        };
        let excused = facts.excused();
        CheckResult { excused, ..conclude(&facts, found, figures, unknown) }
    }
}
