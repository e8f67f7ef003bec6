//! What a run looks like from outside, as text. Time comes in from outside too, so that tests need not wait.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{RATE_OVER, RunEvent};
use crate::history::Phase;
use crate::report::style::{clean, one_line};

/// How often a line is written when nothing changes.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What is known of the run, and how to say it. Time comes in from outside.
#[derive(Debug)]
pub(super) struct State {
    main: Duration,
    phase: Phase,
    phase_began: Duration,
    faults: BTreeMap<u64, String>,
    counts: [u64; 3],
    sample: (Duration, u64),
    rate: Option<f64>,
    last_line: Duration,
    /// Whether the line last returned should stay above a live bar.
    pub(super) lasting: bool,
}

impl State {
    pub(super) fn new(main: Duration) -> Self {
        State {
            main,
            phase: Phase::Setup,
            phase_began: Duration::ZERO,
            faults: BTreeMap::new(),
            counts: [0; 3],
            sample: (Duration::ZERO, 0),
            rate: None,
            last_line: Duration::ZERO,
            lasting: false,
        }
    }

    fn count(&mut self, elapsed: Duration, counts: [u64; 3]) {
        self.counts = counts;
        let total: u64 = counts.iter().sum();
        let (since, before) = self.sample;
        let span = elapsed.saturating_sub(since);
        if span >= RATE_OVER {
            self.rate = Some(total.saturating_sub(before) as f64 / span.as_secs_f64());
            self.sample = (elapsed, total);
        }
    }

    /// The line to write now, if one is due.
    pub(super) fn tick(&mut self, elapsed: Duration, counts: [u64; 3]) -> Option<String> {
        self.count(elapsed, counts);
        if elapsed.saturating_sub(self.last_line) < LINE_EVERY {
            return None;
        }
        self.last_line = elapsed;
        Some(self.status(elapsed))
    }

    /// Takes note of an event; the line that tells it, if it deserves one.
    pub(super) fn event(&mut self, elapsed: Duration, counts: [u64; 3], event: &RunEvent) -> Option<String> {
        self.count(elapsed, counts);
        self.lasting = false;
        let line = match event {
            RunEvent::Phase(phase) => {
                self.phase = *phase;
                self.phase_began = elapsed;
                if *phase == Phase::Main {
                    self.sample = (elapsed, counts.iter().sum());
                    self.rate = None;
                }
                match phase {
                    Phase::Setup => "setup: starting the nodes".to_owned(),
                    Phase::Main => format!("main: load and faults for {} s", self.main.as_secs_f64()),
                    Phase::Heal => "heal: lifting every fault".to_owned(),
                    Phase::Settle => "settle: waiting for the replicas to agree".to_owned(),
                    Phase::Done => "done".to_owned(),
                }
            }
            RunEvent::NodeStarted { .. } => return None,
            RunEvent::NodeReady { node, after } => {
                format!("{node} is ready after {:.1} s", after.as_secs_f64())
            }
            RunEvent::NodeExited { expected: true, .. } => return None,
            RunEvent::NodeExited { node, how, .. } => {
                self.lasting = true;
                format!("{node} ended by itself: {how}")
            }
            RunEvent::FaultBegan { id, label } => {
                self.faults.insert(*id, label.clone());
                format!("fault: {label}")
            }
            RunEvent::FaultEnded { id, took_effect } => {
                let label = self.faults.remove(id).unwrap_or_else(|| format!("fault {id}"));
                self.lasting = !took_effect;
                let effect = if *took_effect { "" } else { "; it did not take effect" };
                format!("lifted: {label}{effect}")
            }
            RunEvent::Warning(text) => {
                self.lasting = true;
                format!("warning: {text}")
            }
        };
        self.last_line = elapsed;
        Some(one_line(&clean(&line), 400))
    }

    pub(super) fn position_ms(&self, elapsed: Duration) -> u64 {
        let total_ms = self.main.as_millis() as u64;
        match self.phase {
            Phase::Setup => 0,
            Phase::Main => (elapsed.saturating_sub(self.phase_began).as_millis() as u64).min(total_ms),
            Phase::Heal | Phase::Settle | Phase::Done => total_ms,
        }
    }

    /// `main 5.0 of 12 s: 998 ok, 0 fail, 2 info, 200/s; kill B`
    pub(super) fn status(&self, elapsed: Duration) -> String {
        let [ok, fail, info] = self.counts;
        let spent = elapsed.saturating_sub(self.phase_began).as_secs_f64();
        let phase = match self.phase {
            Phase::Setup => format!("setup {spent:.1} s"),
            Phase::Main => format!("main {spent:.1} of {} s", self.main.as_secs_f64()),
            Phase::Heal => format!("heal {spent:.1} s"),
            Phase::Settle => format!("settle {spent:.1} s"),
            Phase::Done => "done".to_owned(),
        };
        let mut out = format!("{phase}: {ok} ok, {fail} fail, {info} info");
        if let (Phase::Main, Some(rate)) = (self.phase, self.rate) {
            out.push_str(&format!(", {rate:.0}/s"));
        }
        if !self.faults.is_empty() {
            let labels: Vec<&str> = self.faults.values().map(String::as_str).collect();
            out.push_str("; ");
            out.push_str(&labels.join(", "));
        }
        one_line(&clean(&out), 400)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_run_in_lines() {
        let mut state = State::new(s(12.0));
        let mut lines = Vec::new();
        let kill = RunEvent::FaultBegan { id: 0, label: "kill B".into() };
        let cut = RunEvent::FaultBegan { id: 1, label: "partition A | B C".into() };
        lines.push(state.event(s(0.0), [0; 3], &RunEvent::Phase(Phase::Setup)));
        lines.push(state.event(s(0.1), [0; 3], &RunEvent::NodeStarted { node: "A".into(), pid: 7 }));
        lines.push(state.event(s(0.2), [0; 3], &RunEvent::NodeReady { node: "A".into(), after: s(0.1) }));
        lines.push(state.event(s(0.5), [0; 3], &RunEvent::Phase(Phase::Main)));
        lines.push(state.tick(s(1.5), [200, 0, 0]));
        lines.push(state.event(s(3.5), [600, 0, 0], &kill));
        lines.push(state.event(s(4.0), [650, 9, 1], &cut));
        lines.push(state.tick(s(8.9), [1000, 9, 1]));
        lines.push(state.tick(s(9.5), [1100, 9, 1]));
        lines.push(state.tick(s(10.5), [1200, 9, 1]));
        lines.push(state.event(s(11.0), [1300, 9, 1], &RunEvent::FaultEnded { id: 0, took_effect: true }));
        lines.push(state.event(s(11.0), [1300, 9, 1], &RunEvent::FaultEnded { id: 1, took_effect: false }));
        lines.push(state.event(s(12.5), [1600, 9, 1], &RunEvent::Phase(Phase::Heal)));
        lines.push(state.event(s(12.6), [1600, 9, 1], &RunEvent::Phase(Phase::Settle)));
        lines.push(state.tick(s(17.7), [1600, 9, 1]));
        lines.push(state.event(s(18.0), [1600, 9, 1], &RunEvent::Phase(Phase::Done)));
        let lines: Vec<String> = lines.into_iter().flatten().collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
    setup: starting the nodes
    A is ready after 0.1 s
    main: load and faults for 12 s
    fault: kill B
    fault: partition A | B C
    main 9.0 of 12 s: 1100 ok, 9 fail, 1 info, 76/s; kill B, partition A | B C
    lifted: kill B
    lifted: partition A | B C; it did not take effect
    heal: lifting every fault
    settle: waiting for the replicas to agree
    settle 5.1 s: 1600 ok, 9 fail, 1 info
    done
    ");
    }

    #[test]
    fn the_bar_follows_the_main_phase() {
        let mut state = State::new(s(10.0));
        assert_eq!(state.position_ms(s(3.0)), 0);
        state.event(s(3.0), [0; 3], &RunEvent::Phase(Phase::Main));
        assert_eq!(state.position_ms(s(7.0)), 4000);
        assert_eq!(state.position_ms(s(70.0)), 10_000);
        state.event(s(13.0), [0; 3], &RunEvent::Phase(Phase::Heal));
        assert_eq!(state.position_ms(s(13.0)), 10_000);
    }
}
