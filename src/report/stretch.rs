//! The stretches of a run that people tell apart: healthy, under each fault, recovered.

use super::results::{Results, ViolationRow};
use crate::history::Phase;

/// Part of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stretch {
    /// No fault has begun.
    Healthy,
    /// Under the fault with this label.
    Under(String),
    /// No fault is in force any more.
    Recovered,
}

impl Stretch {
    /// `healthy`, `under kill B`, `recovered`
    pub fn name(&self) -> String {
        match self {
            Stretch::Healthy => "healthy".to_owned(),
            Stretch::Under(label) => format!("under {label}"),
            Stretch::Recovered => "recovered".to_owned(),
        }
    }
}

/// All stretches of a run, in the order of their beginnings. A fault that repeats is one stretch: names must not depend
/// on how often it came. Empty for a run without faults, which has nothing to tell apart.
pub fn all(results: &Results) -> Vec<Stretch> {
    let mut labels: Vec<&str> = Vec::new();
    for fault in &results.faults {
        if !labels.contains(&&*fault.label) {
            labels.push(&fault.label);
        }
    }
    if labels.is_empty() {
        return Vec::new();
    }
    let under = labels.into_iter().map(|label| Stretch::Under(label.to_owned()));
    [Stretch::Healthy].into_iter().chain(under).chain([Stretch::Recovered]).collect()
}

/// Where a violation showed: where the last of its operations was invoked, which made the proof whole. Of several
/// faults in force at that moment the one that began last. `None` where no operation of it is known.
pub fn of(results: &Results, violation: &ViolationRow) -> Option<Stretch> {
    let moment_ms = violation.proof.iter().map(|op| op.invoked_ms).max_by(f64::total_cmp)?;
    let heal_ms = results.phases.iter().find(|row| row.phase == Phase::Heal).map(|row| row.began_ms as f64);
    let began = results.faults.iter().filter(|fault| fault.began_ms as f64 <= moment_ms);
    let in_force = began.clone().filter(|fault| {
        // A fault that nobody saw end ended with the heal.
        fault.ended_ms.map(|ms| ms as f64).or(heal_ms).is_none_or(|ended_ms| moment_ms <= ended_ms)
    });
    Some(match in_force.max_by_key(|fault| fault.began_ms) {
        Some(fault) => Stretch::Under(fault.label.clone()),
        None if began.count() > 0 => Stretch::Recovered,
        None => Stretch::Healthy,
    })
}
