//! From what was recorded to points. Pure: a function of the rubric, the submissions' names and the records alone, whatever
//! the order in which they came, the machine they were made on, and the time they took.
//!
//! A check's points are given by the repeats that were *decided*: those that passed or failed. One that was undecided costs
//! nothing and earns nothing; where none was decided, or none was run, there are no points yet and somebody has to look.
//!
//! **The interval.** A share of a few repeats says little about the submission. Beside the share that failed stands the score
//! interval of Wilson (*Probable Inference, the Law of Succession, and Statistical Inference*, 1927) at 95%: shares outside of it
//! would have made what was seen unlikely. It holds the share seen, stays within 0 and 1, and never has a width of zero.

use std::collections::BTreeMap;

use super::journal::Known;
use super::record::{Mark, UnitId, UnitRecord};
use super::rubric::{CheckPoints, Credit, Item, Rubric};

/// The class, scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// One a submission, by name.
    pub submissions: Vec<Scored>,
}

/// One submission, scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Its name.
    pub name: String,
    /// Why it could not be graded at all.
    pub refused: Option<String>,
    /// One an item of the rubric.
    pub items: Vec<ItemScore>,
}

/// One item of one submission.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemScore {
    /// The item's name.
    pub name: String,
    /// Whether the student sees it.
    pub visible: bool,
    /// One a check, in the rubric's order.
    pub checks: Vec<CheckScore>,
}

/// One check of one item of one submission.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckScore {
    /// The check's name.
    pub check: String,
    /// What it is worth.
    pub of: f64,
    /// Repeats that passed.
    pub passed: u32,
    /// Repeats that failed.
    pub failed: u32,
    /// Repeats that were not decided.
    pub undecided: u32,
    /// Repeats that were not run yet.
    pub missing: u32,
    /// The points; `None`: nothing was decided yet.
    pub points: Option<f64>,
}

impl CheckScore {
    /// The share of the decided repeats that failed, with the bounds of its interval.
    pub fn failed_share(&self) -> Option<(f64, f64, f64)> {
        let decided = self.passed + self.failed;
        (decided > 0).then(|| {
            let (low, high) = wilson(self.failed, decided);
            (f64::from(self.failed) / f64::from(decided), low, high)
        })
    }

    /// Whether somebody has to look.
    pub fn needs_review(&self) -> bool {
        self.points.is_none()
    }
}

impl ItemScore {
    /// Points and what there was to have.
    pub fn points(&self) -> (f64, f64) {
        let sum = self.checks.iter().map(|check| check.points.unwrap_or_default()).sum();
        (round(sum), round(self.checks.iter().map(|check| check.of).sum()))
    }
}

impl Scored {
    /// Points and what there was to have.
    pub fn points(&self) -> (f64, f64) {
        let (points, of) = self
            .items
            .iter()
            .map(ItemScore::points)
            .fold((0.0, 0.0), |sum, item| (sum.0 + item.0, sum.1 + item.1));
        (round(points), round(of))
    }

    /// Whether somebody has to look.
    pub fn needs_review(&self) -> bool {
        self.items.iter().flat_map(|item| &item.checks).any(CheckScore::needs_review)
    }
}

/// The bounds of Wilson's score interval at 95% for `hits` of `all`, which is not 0.
pub fn wilson(hits: u32, all: u32) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    let (n, share) = (f64::from(all), f64::from(hits) / f64::from(all));
    let middle = share + Z * Z / (2.0 * n);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let bound = |value: f64| (value / (1.0 + Z * Z / n)).clamp(0.0, 1.0);
    // Exact where the formula is, and its floating point is not.
    let low = if hits == 0 { 0.0 } else { bound(middle - spread) };
    let high = if hits == all { 1.0 } else { bound(middle + spread) };
    (low, high)
}

/// To hundredths of a point, halves away from zero.
pub fn round(points: f64) -> f64 {
    // A little is added so that 0.125 times 100, which floating point makes 12.499…, is a half.
    (points * 100.0 + 1e-7).round() / 100.0
}

/// Points without zeros that say nothing: `7.5`, `10`.
pub fn show(points: f64) -> String {
    let text = format!("{points:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Scores a class: the submissions named, whatever else is known.
pub fn score(rubric: &Rubric, submissions: &[String], known: &Known) -> Class {
    let mut names = submissions.to_vec();
    names.sort();
    names.dedup();
    let scored = |name: String| {
        let refused = known.prepared.get(&name).and_then(|prepared| prepared.refused.clone());
        let items =
            rubric.items.iter().map(|item| of_item(item, &name, refused.is_some(), &known.units)).collect();
        Scored { name, refused, items }
    };
    Class { submissions: names.into_iter().map(scored).collect() }
}

fn of_item(item: &Item, name: &str, refused: bool, units: &BTreeMap<UnitId, UnitRecord>) -> ItemScore {
    let check = |wanted: &CheckPoints| {
        let mut score =
            CheckScore { check: wanted.check.clone(), of: wanted.points, ..CheckScore::default() };
        for repeat in 1..=item.repeats {
            let unit = UnitId { submission: name.to_owned(), item: item.name.clone(), repeat };
            let marks = units
                .get(&unit)
                .and_then(|record| record.checks.iter().find(|mark| mark.check == wanted.check));
            match marks.map(|mark| mark.mark) {
                _ if refused => score.failed += 1,
                Some(Mark::Passed) => score.passed += 1,
                Some(Mark::Failed) => score.failed += 1,
                Some(Mark::Undecided) => score.undecided += 1,
                None => score.missing += 1,
            }
        }
        score.points = points(&score, item.credit);
        score
    };
    ItemScore {
        name: item.name.clone(),
        visible: item.visible,
        checks: item.checks.iter().map(check).collect(),
    }
}

fn points(score: &CheckScore, credit: Credit) -> Option<f64> {
    let decided = score.passed + score.failed;
    // A repeat that is still to come may change it.
    if decided == 0 {
        return None;
    }
    Some(match credit {
        Credit::AllOrNothing if score.failed > 0 => 0.0,
        Credit::AllOrNothing => round(score.of),
        Credit::Share => round(score.of * f64::from(score.passed) / f64::from(decided)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grade::record::{CheckMark, Prepared, Record};
    use crate::grade::rubric::SubmissionRules;
    use proptest::prelude::*;
    use std::time::Duration;

    fn rubric(repeats: u32, credit: Credit) -> Rubric {
        let check = |check: &str, points| CheckPoints { check: check.to_owned(), points };
        let item = Item {
            name: "outage".into(),
            about: String::new(),
            workload: "outage.toml".into(),
            repeats,
            timeout: Duration::from_secs(60),
            fixed_ports: false,
            protocol: None,
            set: Vec::new(),
            vars: Vec::new(),
            checks: vec![check("convergence", 10.0), check("lww", 5.0)],
            credit,
            visible: true,
        };
        let submission = SubmissionRules {
            node: "{{ dir }}/node".into(),
            requires: Vec::new(),
            build: None,
            build_timeout: Duration::from_secs(60),
            env: BTreeMap::new(),
            limits: Vec::new(),
            max_size: 1 << 20,
        };
        Rubric { name: "Lab".into(), about: String::new(), seed: 1, submission, items: vec![item] }
    }

    fn unit(repeat: u32, marks: [Mark; 2]) -> Record {
        let mark = |check: &str, mark| CheckMark {
            check: check.to_owned(),
            mark,
            why: String::new(),
            found: Vec::new(),
        };
        let unit = UnitId { submission: "ann".into(), item: "outage".into(), repeat };
        let checks = vec![mark("convergence", marks[0]), mark("lww", marks[1])];
        Record::Unit(UnitRecord { unit, checks, ..UnitRecord::default() })
    }

    fn scored(records: &[Record], repeats: u32, credit: Credit) -> Scored {
        let mut known = Known::default();
        records.iter().cloned().for_each(|record| known.learn(record));
        score(&rubric(repeats, credit), &["ann".to_owned()], &known).submissions.remove(0)
    }

    #[test]
    fn points_follow_the_decided_repeats() {
        use Mark::{Failed, Passed, Undecided};
        let records = [unit(1, [Passed, Passed]), unit(2, [Failed, Undecided]), unit(3, [Passed, Undecided])];
        let ann = scored(&records, 3, Credit::Share);
        let [convergence, lww] = &ann.items[0].checks[..] else { panic!() };
        assert_eq!((convergence.points, lww.points), (Some(6.67), Some(5.0)));
        assert_eq!(ann.points(), (11.67, 15.0));
        assert!(!ann.needs_review());
        let strict = scored(&records, 3, Credit::AllOrNothing);
        assert_eq!(strict.points(), (5.0, 15.0));
        // Nothing decided: no points, and no loss that would not be looked at.
        let ann = scored(&[unit(1, [Passed, Undecided])], 1, Credit::Share);
        assert!(ann.needs_review() && ann.items[0].checks[1].points.is_none());
        let none = scored(&[], 2, Credit::Share);
        assert_eq!((none.needs_review(), none.items[0].checks[0].missing), (true, 2));
    }

    #[test]
    fn who_cannot_be_run_has_nothing() {
        let refused = Prepared {
            submission: "ann".into(),
            fingerprint: String::new(),
            refused: Some("it has no node.py".into()),
            log: Vec::new(),
        };
        let ann = scored(&[Record::Prepared(refused)], 3, Credit::Share);
        assert_eq!((ann.points(), ann.needs_review()), ((0.0, 15.0), false));
        assert_eq!(ann.items[0].checks[0].failed, 3);
    }

    #[test]
    fn the_interval_is_wilsons() {
        let near = |(low, high): (f64, f64), expected: (f64, f64)| {
            assert!((low - expected.0).abs() < 5e-4 && (high - expected.1).abs() < 5e-4, "{low} {high}");
        };
        near(wilson(0, 10), (0.0, 0.2775));
        near(wilson(1, 10), (0.0179, 0.4042));
        near(wilson(5, 10), (0.2366, 0.7634));
        near(wilson(10, 10), (0.7225, 1.0));
        near(wilson(1, 1), (0.2065, 1.0));
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_share(all in 1u32..500, hits in 0u32..500) {
            let hits = hits.min(all);
            let (low, high) = wilson(hits, all);
            let share = f64::from(hits) / f64::from(all);
            prop_assert!(0.0 <= low && low <= share && share <= high && high <= 1.0 && low < high);
        }

        #[test]
        fn the_order_of_records_does_not_matter(marks in prop::collection::vec((0u8..3, 0u8..3), 1..8), turn in 0usize..8, whole: bool) {
            let mark = |number| [Mark::Passed, Mark::Failed, Mark::Undecided][usize::from(number)];
            let mut records: Vec<Record> =
                marks.iter().zip(1..).map(|((one, other), repeat)| unit(repeat, [mark(*one), mark(*other)])).collect();
            let credit = if whole { Credit::AllOrNothing } else { Credit::Share };
            let repeats = u32::try_from(records.len()).unwrap();
            let one = scored(&records, repeats, credit);
            records.rotate_left(turn % marks.len());
            prop_assert_eq!(&one, &scored(&records, repeats, credit));
            for check in &one.items[0].checks {
                prop_assert!(check.points.is_none_or(|points| (0.0..=check.of).contains(&points)));
                prop_assert_eq!(check.failed == 0 && check.passed > 0, check.points == Some(check.of));
            }
        }
    }
}
