//! The strength ladder: how much of consistency a history shows.
//!
//! ```text
//! linearizability ─► sequential ─► causal ─┬► read-your-writes
//!        │                                 ├► monotonic-reads
//!        │                                 ├► monotonic-writes
//!        │                                 └► writes-follow-reads
//!        └► eventual
//! ```
//!
//! An arrow says "implies" (Herlihy & Wing 1990; Lamport 1979; Ahamad et al. 1995; Brzezinski et al. 2004, who show that causal
//! consistency is the four session guarantees of Terry et al. 1994 together). So a level that holds settles
//! all below it, and one that is violated settles all above it; only what is left is judged. A level whose check is
//! not registered is not listed.
//!
//! **Eventual consistency** is the foot of the ladder and hangs on its top alone: sequential and causal consistency let a
//! session stay behind for ever. Most finite histories can neither prove nor refute it, and its rung then says so; see
//! [`Eventual`](super::levels::Eventual) for what it takes to say more.

use super::Verdict;
use super::models::Model;
use super::plain::{self, Answer, PlainCheck, Question};
use crate::history::calls::Calls;

/// A level, and the level that implies it directly.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    /// The check that judges it.
    pub name: &'static str,
    /// The next stronger level.
    pub above: Option<&'static str>,
}

/// The levels, strongest first; each after the level above it.
pub const LEVELS: [Level; 8] = [
    Level { name: "linearizability", above: None },
    Level { name: "sequential", above: Some("linearizability") },
    Level { name: "causal", above: Some("sequential") },
    Level { name: "read-your-writes", above: Some("causal") },
    Level { name: "monotonic-reads", above: Some("causal") },
    Level { name: "monotonic-writes", above: Some("causal") },
    Level { name: "writes-follow-reads", above: Some("causal") },
    Level { name: "eventual", above: Some("linearizability") },
];

/// What is known of one level.
#[derive(Clone, Debug)]
pub struct Rung {
    /// The level.
    pub name: &'static str,
    /// The conclusion.
    pub verdict: Verdict,
    /// The level it follows from, where the level's own check was not needed or did not know.
    pub implied_by: Option<&'static str>,
    /// What its own check found, where it was run.
    pub answer: Option<Answer>,
}

/// The ladder, climbed.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// One a registered level that judges this model, strongest first.
    pub rungs: Vec<Rung>,
    /// Registered levels whose check does not judge this model.
    pub not_for_model: Vec<&'static str>,
}

impl Ladder {
    /// The conclusion about the strongest level.
    pub fn verdict(&self) -> Verdict {
        self.rungs.first().map_or(Verdict::Unknown, |rung| rung.verdict)
    }

    /// The strongest levels that hold: those of which no stronger one holds.
    pub fn strongest(&self) -> Vec<&'static str> {
        let holds =
            |name: &str| self.rungs.iter().any(|rung| rung.name == name && rung.verdict == Verdict::Valid);
        let names = self.rungs.iter().map(|rung| rung.name).filter(|name| holds(name));
        names.filter(|name| !above(name).any(holds)).collect()
    }

    /// Takes back what hangs on how the history was read: a level that holds here, and is not known to hold on `stricter`
    /// (the same history as it may be meant as well), is unknown because of `why`. Returns whether there was one.
    pub fn doubt(&mut self, stricter: &Ladder, why: &str) -> bool {
        let mut doubted = false;
        for rung in self.rungs.iter_mut().filter(|rung| rung.verdict == Verdict::Valid) {
            let holds = |other: &&Rung| other.name == rung.name && other.verdict == Verdict::Valid;
            *rung = match stricter.rungs.iter().find(holds) {
                // What it follows from here may be taken back; there it holds either way.
                Some(strict) => strict.clone(),
                None => Rung {
                    name: rung.name,
                    verdict: Verdict::Unknown,
                    implied_by: None,
                    answer: Some(Answer::unknown(why)),
                },
            };
            doubted |= rung.verdict == Verdict::Unknown;
        }
        doubted
    }

    /// What proves that the first level fails which does: its own check's answer, or that of the level it follows from.
    pub fn failure(&self) -> Option<(&Rung, &Answer)> {
        let failed = self.rungs.iter().find(|rung| rung.verdict == Verdict::Invalid)?;
        let proved =
            |rung: &&Rung| rung.answer.as_ref().is_some_and(|answer| answer.verdict == Verdict::Invalid);
        let by = failed.implied_by.unwrap_or(failed.name);
        let rung = self.rungs.iter().filter(proved).find(|rung| rung.name == by)?;
        Some((rung, rung.answer.as_ref()?))
    }
}

/// All levels above one, the nearest first.
fn above(name: &str) -> impl Iterator<Item = &'static str> {
    let next = |name: &str| LEVELS.iter().find(|level| level.name == name).and_then(|level| level.above);
    std::iter::successors(next(name), move |name| next(name))
}

/// Climbs the ladder as far as needed to know every level.
///
/// # Errors
/// A sentence, when a level's check cannot judge this history.
pub fn climb(calls: &Calls, question: &Question) -> Result<Ladder, String> {
    climb_with(plain::find, calls, question)
}

fn climb_with(
    find: impl Fn(&str) -> Option<&'static dyn PlainCheck>,
    calls: &Calls,
    question: &Question,
) -> Result<Ladder, String> {
    let mut ladder = Ladder { rungs: Vec::new(), not_for_model: Vec::new() };
    for level in LEVELS {
        let Some(check) = find(level.name) else { continue };
        if question.model.is_some_and(|model| !judges(check, model)) {
            ladder.not_for_model.push(level.name);
            continue;
        }
        let stronger = ladder
            .rungs
            .iter()
            .find(|rung| rung.verdict == Verdict::Valid && above(level.name).any(|name| name == rung.name));
        if let Some(stronger) = stronger {
            let implied_by = Some(stronger.implied_by.unwrap_or(stronger.name));
            ladder.rungs.push(Rung { name: level.name, verdict: Verdict::Valid, implied_by, answer: None });
            continue;
        }
        let answer = check.judge(calls, question)?;
        if answer.verdict == Verdict::Invalid {
            for rung in ladder.rungs.iter_mut().filter(|rung| rung.verdict == Verdict::Unknown) {
                if above(level.name).any(|name| name == rung.name) {
                    rung.verdict = Verdict::Invalid;
                    rung.implied_by = Some(level.name);
                }
            }
        }
        let verdict = answer.verdict;
        ladder.rungs.push(Rung { name: level.name, verdict, implied_by: None, answer: Some(answer) });
    }
    Ok(ladder)
}

/// Whether a check can judge this model.
pub fn judges(check: &dyn PlainCheck, model: Model) -> bool {
    check.models().is_empty() || check.models().contains(&model)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check that concludes what it is told to; `None`: it must not be asked.
    struct Says(&'static str, Option<Verdict>);
    impl PlainCheck for Says {
        fn name(&self) -> &'static str {
            self.0
        }
        fn about(&self) -> &'static str {
            ""
        }
        fn models(&self) -> &'static [Model] {
            if self.0 == "causal" { &[Model::Register] } else { &[] }
        }
        fn judge(&self, _: &Calls, _: &Question) -> Result<Answer, String> {
            let Some(verdict) = self.1 else { panic!("{} follows from another level", self.0) };
            Ok(Answer { verdict, ..Answer::unknown("") })
        }
    }

    /// Climbs with these conclusions, `v`, `i` or `u` a level; a space is a level that is not registered, and a
    /// full stop one that must not be asked.
    fn climbed(verdicts: &str) -> Ladder {
        let find = |name: &str| -> Option<&'static dyn PlainCheck> {
            let at = LEVELS.iter().position(|level| level.name == name)?;
            let verdict = match verdicts.as_bytes()[at] {
                b'v' => Some(Verdict::Valid),
                b'i' => Some(Verdict::Invalid),
                b'u' => Some(Verdict::Unknown),
                b'.' => None,
                _ => return None,
            };
            Some(Box::leak(Box::new(Says(LEVELS[at].name, verdict))))
        };
        let question = Question { model: Some(Model::Register), ..Question::default() };
        climb_with(find, &Calls::new(), &question).unwrap_or_else(|why| panic!("{why}"))
    }

    fn told(verdicts: &str) -> (String, String, Option<&'static str>) {
        let ladder = climbed(verdicts);
        let letter = |rung: &Rung| match rung.verdict {
            Verdict::Valid => 'v',
            Verdict::Invalid => 'i',
            Verdict::Unknown => 'u',
        };
        let first = ladder.failure().map(|(rung, _)| rung.name);
        (ladder.rungs.iter().map(letter).collect(), ladder.strongest().join(" "), first)
    }

    #[test]
    fn what_holds_settles_what_is_below() {
        assert_eq!(told("v......."), ("vvvvvvvv".into(), "linearizability".into(), None));
        assert_eq!(told("iv.....u"), ("ivvvvvvu".into(), "sequential".into(), Some("linearizability")));
        assert_eq!(told("uv.....v"), ("uvvvvvvv".into(), "sequential eventual".into(), None));
        assert_eq!(told("i v....u"), ("ivvvvvu".into(), "causal".into(), Some("linearizability")));
    }

    #[test]
    fn what_fails_settles_what_is_above() {
        assert_eq!(told("uuiviviu").0, "iiiviviu");
        assert_eq!(told("uuiviviu").1, "read-your-writes monotonic-writes");
        assert_eq!(told("uuuvivvu").0, "iiivivvu");
        assert_eq!(told("uuuvivvu").2, Some("monotonic-reads"));
        // What is not causal may come to agree, and what never agrees may be causal.
        assert_eq!(told("uuuvvvvi").0, "iuuvvvvi");
        assert_eq!(told("uuuvvvvi").2, Some("eventual"));
        assert_eq!(
            told("iuuvvvvv"),
            (
                "iuuvvvvv".into(),
                LEVELS[3..].iter().map(|level| level.name).collect::<Vec<_>>().join(" "),
                Some("linearizability")
            )
        );
    }

    #[test]
    fn what_hangs_on_the_reading_is_unknown() {
        let mut ladder = climbed("v.......");
        assert!(ladder.doubt(&climbed("iuvvvvvu"), "it depends"));
        let (verdicts, strongest) = (ladder.rungs.iter().map(|rung| rung.verdict), ladder.strongest());
        let unknown = verdicts.filter(|verdict| *verdict == Verdict::Unknown).count();
        assert_eq!((unknown, strongest, ladder.verdict()), (3, vec!["causal"], Verdict::Unknown));
        assert_eq!(
            ladder.rungs[0].answer.as_ref().and_then(|answer| answer.reason.as_deref()),
            Some("it depends")
        );
        let mut ladder = climbed("v.......");
        assert!(!ladder.doubt(&climbed("v......."), "it depends"));
        assert_eq!(ladder.verdict(), Verdict::Valid);
    }

    #[test]
    fn a_level_is_left_out_where_it_cannot_judge() {
        let find = |name: &str| -> Option<&'static dyn PlainCheck> {
            (name == "causal").then_some(&Says("causal", Some(Verdict::Valid)) as &'static dyn PlainCheck)
        };
        let question = Question { model: Some(Model::Queue), ..Question::default() };
        let Ok(ladder) = climb_with(find, &Calls::new(), &question) else { panic!("it can be climbed") };
        assert!(ladder.rungs.is_empty());
        assert_eq!(ladder.not_for_model, ["causal"]);
        assert_eq!(ladder.verdict(), Verdict::Unknown);
    }
}
