//! Faults whose target is known only when they begin: whoever leads then, and the others.
//!
//! Everything else about a schedule is fixed before the run. Such a fault keeps itself and its stream of random numbers
//! ([`Pending`]), and is expanded a second time when it begins, by the same code and with the same draws, now that it is
//! known who plays which [`Part`]. Until then the words stand for the nodes.

use std::sync::Arc;
use std::time::Duration;

use super::ScheduledFault;
use super::kinds::{Draw, Effect, Fault, FaultKind};
use crate::seed::Rng;

/// How long a fault waits for somebody to aim at. Elections of what students and engineers run take less than this; who
/// has no leader for longer has none to be killed.
pub const AIM_WITHIN: Duration = Duration::from_secs(5);

/// How long a fault waits for a write to be under way at its target.
pub const WRITE_WITHIN: Duration = Duration::from_secs(1);

/// A part that a node plays while the system runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The node that leads.
    Leader,
    /// One of the others that are up, drawn.
    Follower,
    /// All the others that are up.
    Followers,
}

impl Part {
    /// All of them, by their words in a workload.
    pub const ALL: [(Part, &'static str); 3] =
        [(Part::Leader, "leader"), (Part::Follower, "follower"), (Part::Followers, "followers")];

    /// The part called `word`.
    pub fn of(word: &str) -> Option<Self> {
        Part::ALL.iter().find(|(_, name)| *name == word).map(|(part, _)| *part)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        Part::ALL.iter().find(|(part, _)| *part == self).map_or("leader", |(_, word)| word)
    }
}

/// Who plays which part at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Who leads.
    pub leader: String,
    /// All others that are up, in the workload's order.
    pub followers: Vec<String>,
}

/// Whom a fault's words came to mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aimed {
    /// The word.
    pub word: &'static str,
    /// The nodes; empty: nobody, yet.
    pub nodes: Vec<String>,
}

/// Nobody plays a part that a fault is aimed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nobody;

/// What decides when a fault begins, beside its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// Nothing.
    #[default]
    Due,
    /// A write is under way at its target; waited for at most [`WRITE_WITHIN`].
    Writing,
}

/// What is settled of a fault only when it begins.
#[derive(Clone, Debug)]
pub struct Pending {
    fault: Arc<dyn Fault>,
    nodes: Arc<[String]>,
    /// Before anything was drawn.
    rng: Rng,
    /// What decides when it begins, beside its time.
    pub when: When,
    /// Whether `[chaos]` drew it: nobody counts on this one to happen.
    pub drawn: bool,
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        // A fault is plain data behind a trait; what is printed of it is all there is.
        format!("{self:?}") == format!("{other:?}")
    }
}

impl Pending {
    /// The fault as it is, now that these play their parts. `words` is its label until now: "kill leader" becomes
    /// "kill leader (B)".
    ///
    /// # Errors
    /// When nobody plays a part it is aimed at.
    pub fn aim(&self, words: &str, parts: Option<&Parts>) -> Result<Effect, Nobody> {
        let mut draw = Draw { parts, ..Draw::new(&self.nodes, self.rng.clone()) };
        let effect = self.fault.expand(&mut draw);
        if draw.has_words() {
            return Err(Nobody);
        }
        let meant = match (draw.aimed.as_slice(), effect.label.strip_prefix("partition ")) {
            ([], _) => return Ok(Effect { label: words.to_owned(), ..effect }),
            (_, Some(groups)) => groups.to_owned(),
            ([only], None) => only.nodes.join(", "),
            (several, None) => {
                let meant = |aimed: &Aimed| format!("{}: {}", aimed.word, aimed.nodes.join(", "));
                several.iter().map(meant).collect::<Vec<_>>().join("; ")
            }
        };
        Ok(Effect { label: format!("{words} ({meant})"), ..effect })
    }

    /// Every node, in the workload's order.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }
}

/// One occurrence of a fault, before it has a place in a schedule.
pub(super) struct Occurrence {
    pub kind: &'static FaultKind,
    pub at: Duration,
    pub until: Option<Duration>,
    pub when: When,
    pub drawn: bool,
}

impl Occurrence {
    /// Draws what can be drawn now.
    pub fn expand(self, fault: &Arc<dyn Fault>, draw: &mut Draw<'_>) -> ScheduledFault {
        let rng = draw.rng.clone();
        draw.aimed.clear();
        let effect = fault.expand(draw);
        let pending = (self.when != When::Due || !draw.aimed.is_empty()).then(|| Pending {
            fault: Arc::clone(fault),
            nodes: draw.nodes.into(),
            rng,
            when: self.when,
            drawn: self.drawn,
        });
        let label = match self.when {
            When::Due => effect.label,
            When::Writing => format!("{} while it writes", effect.label),
        };
        ScheduledFault {
            id: 0,
            f: self.kind.name,
            target: effect.target,
            label,
            at: self.at,
            until: self.until,
            demands: effect.demands,
            pending,
        }
    }
}
