//! A grading while it lasts, on standard error: a line for each unit that is known; on a terminal, below them, what is being run
//! and how long it will take.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::grade::class::Event;
use crate::grade::discover::Submission;
use crate::grade::{Mark, UnitId, UnitRecord};
use crate::report::progress::ProgressMode;
use crate::report::style::{clean, one_line};

/// The longest line.
const WIDTH: usize = 200;

/// Shows a grading.
pub(super) struct Progress {
    inner: Mutex<Inner>,
}

struct Inner {
    mode: ProgressMode,
    width: usize,
    began: Instant,
    table: MultiProgress,
    head: Option<ProgressBar>,
    running: BTreeMap<UnitId, ProgressBar>,
    /// Units: known, known when it began, all.
    counts: [usize; 3],
}

impl Progress {
    /// Shows nothing yet.
    pub(super) fn new(mode: ProgressMode, submissions: &[Submission]) -> Self {
        let width = submissions.iter().map(|one| one.name.chars().count()).max().unwrap_or_default().min(30);
        let target = match mode {
            ProgressMode::Live => ProgressDrawTarget::stderr_with_hz(10),
            _ => ProgressDrawTarget::hidden(),
        };
        let table = MultiProgress::with_draw_target(target);
        let (running, counts) = (BTreeMap::new(), [0; 3]);
        Progress {
            inner: Mutex::new(Inner {
                mode,
                width,
                began: Instant::now(),
                table,
                head: None,
                running,
                counts,
            }),
        }
    }

    /// Takes note of an event and shows it.
    pub(super) fn tell(&self, event: &Event<'_>) {
        // What is behind the lock is only shown, so a poisoned one is as good.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).tell(event);
    }

    /// Clears the table away.
    pub(super) fn finish(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let running = std::mem::take(&mut inner.running);
        running.into_values().chain(inner.head.take()).for_each(|bar| bar.finish_and_clear());
    }
}

impl Inner {
    fn tell(&mut self, event: &Event<'_>) {
        let width = self.width;
        match event {
            Event::Counted(known, all) => {
                self.counts = [*known, *known, *all];
                let known =
                    if *known > 0 { format!(", {known} of them known already") } else { String::new() };
                self.say(&format!("{all} runs{known}"));
                if self.mode == ProgressMode::Live {
                    let bar = ProgressBar::new(*all as u64).with_style(style("{bar:20} {wide_msg}"));
                    self.head = Some(self.table.add(bar));
                }
            }
            Event::Began(unit, attempt) => {
                if self.mode == ProgressMode::Live {
                    let bar = ProgressBar::new_spinner().with_style(style("  {elapsed:>4}  {wide_msg}"));
                    let bar = self.table.add(bar);
                    let again =
                        if *attempt > 1 { format!(", attempt {attempt}, alone") } else { String::new() };
                    bar.set_message(format!(
                        "{:width$} {} {}{again}",
                        unit.submission, unit.item, unit.repeat
                    ));
                    bar.enable_steady_tick(Duration::from_secs(1));
                    self.running.insert((*unit).clone(), bar);
                }
            }
            Event::Refused(name, why) => self.say(&format!("{name}: cannot be graded: {why}")),
            Event::Again(unit, why) => {
                self.ended(unit);
                let (name, item, repeat) = (&unit.submission, &unit.item, unit.repeat);
                self.say(&format!("          {name:width$} {item} {repeat}: once more, alone: {why}"));
            }
            Event::Done(record) => {
                self.ended(&record.unit);
                self.counts[0] += 1;
                let [known, _, all] = self.counts;
                let UnitId { submission, item, repeat } = &record.unit;
                self.say(&format!(
                    "[{known:>3}/{all}] {submission:width$} {item} {repeat}: {}",
                    came_to(record)
                ));
            }
        }
        if let Some(head) = &self.head {
            head.set_position(self.counts[0] as u64);
            head.set_message(left(self.counts, self.began.elapsed()));
        }
    }

    fn ended(&mut self, unit: &UnitId) {
        if let Some(bar) = self.running.remove(unit) {
            bar.finish_and_clear();
            self.table.remove(&bar);
        }
    }

    fn say(&self, text: &str) {
        let line = one_line(&clean(text), WIDTH);
        match self.mode {
            ProgressMode::Quiet => {}
            // Standard error may be closed; nobody reads it then.
            ProgressMode::Lines => {
                let _ = writeln!(io::stderr(), "{line}");
            }
            ProgressMode::Live => {
                let _ = self.table.println(line);
            }
        }
    }
}

/// `passed`, or which checks were not.
fn came_to(record: &UnitRecord) -> String {
    let named = |mark: Mark, word: &str| {
        let names = record.checks.iter().filter(|check| check.mark == mark);
        let names: Vec<&str> = names.map(|check| check.check.as_str()).collect();
        (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
    };
    let parts: Vec<String> =
        [named(Mark::Failed, "failed"), named(Mark::Undecided, "undecided")].into_iter().flatten().collect();
    if parts.is_empty() { "passed".to_owned() } else { parts.join("; ") }
}

/// `20 of 80 runs; about 10 min left`
fn left([known, before, all]: [usize; 3], elapsed: Duration) -> String {
    let done = known.saturating_sub(before);
    if done == 0 || known >= all {
        return format!("{known} of {all} runs");
    }
    let left_s = elapsed.as_secs_f64() / done as f64 * (all - known) as f64;
    match left_s {
        0.0..90.0 => format!("{known} of {all} runs; about {left_s:.0} s left"),
        _ => format!("{known} of {all} runs; about {:.0} min left", left_s / 60.0),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_it_will_take() {
        let left = |counts, seconds| left(counts, Duration::from_secs(seconds));
        assert_eq!(left([0, 0, 80], 5), "0 of 80 runs");
        assert_eq!(left([20, 0, 80], 20), "20 of 80 runs; about 60 s left");
        // What was known before took no time.
        assert_eq!(left([60, 50, 80], 60), "60 of 80 runs; about 2 min left");
        assert_eq!(left([80, 0, 80], 60), "80 of 80 runs");
    }
}
