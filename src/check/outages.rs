//! How many nodes were out of service when.

use crate::history::{History, Life};

/// How many nodes were down or stopped, over the whole run.
///
/// A node is down from the end of its process until the next one of it answers, and stopped while a `pause` is in force. One
/// that runs slowly, or that others cannot reach, is in service: clients reach it.
pub struct Outages {
    /// From when on (ns) how many were out, by time; the first from 0.
    steps: Vec<(u64, u64)>,
}

impl Outages {
    /// Those of a history.
    pub fn of(history: &History) -> Self {
        let mut edges: Vec<(u64, i64)> = Vec::new();
        for (node, lives) in &history.lives {
            let mut spans = down(lives);
            let paused = history.faults.iter().filter(|fault| &*fault.f == "pause" && fault.took_effect);
            let mine = paused.filter(|fault| fault.target.contains(node));
            spans.extend(mine.map(|fault| (fault.began_ns, fault.ended_ns.unwrap_or(u64::MAX))));
            for (from_ns, to_ns) in merged(spans) {
                edges.extend([(from_ns, 1), (to_ns, -1)]);
            }
        }
        edges.sort_unstable();
        let mut steps = vec![(0, 0)];
        let mut out = 0_i64;
        for (at_ns, change) in edges {
            out += change;
            let count = u64::try_from(out).unwrap_or_default();
            match steps.last_mut() {
                Some(last) if last.0 == at_ns => last.1 = count,
                _ => steps.push((at_ns, count)),
            }
        }
        Outages { steps }
    }

    /// The most that were out at one moment of `[from_ns, to_ns]`.
    pub fn most_during(&self, from_ns: u64, to_ns: u64) -> u64 {
        let first = self.steps.partition_point(|(at_ns, _)| *at_ns <= from_ns).saturating_sub(1);
        let during = self.steps[first..].iter().take_while(|(at_ns, _)| *at_ns <= to_ns);
        during.map(|(_, count)| *count).max().unwrap_or(0)
    }
}

fn down(lives: &[Life]) -> Vec<(u64, u64)> {
    let mut spans = Vec::new();
    for (place, life) in lives.iter().enumerate() {
        let Some(ended_ns) = life.ended_ns else { continue };
        let next_ns = lives.get(place + 1..).into_iter().flatten().find_map(|next| next.ready_ns);
        spans.push((ended_ns, next_ns.unwrap_or(u64::MAX)));
    }
    spans
}

/// The same moments, in spans that do not overlap.
fn merged(mut spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    spans.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from_ns, to_ns) in spans {
        match merged.last_mut() {
            Some(last) if from_ns <= last.1 => last.1 = last.1.max(to_ns),
            _ => merged.push((from_ns, to_ns)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::history::Fault;

    fn life(ready_ns: Option<u64>, ended_ns: Option<u64>) -> Life {
        Life {
            pid: 1,
            started_ns: ready_ns.unwrap_or_default(),
            ready_ns,
            ended_ns,
            expected: true,
            signal: None,
            code: None,
            log: Vec::new(),
        }
    }

    fn pause(node: &str, began_ns: u64, ended_ns: Option<u64>) -> Fault {
        Fault {
            id: 0,
            f: "pause".into(),
            target: vec![node.into()],
            label: format!("pause {node}"),
            began_ns,
            ended_ns,
            took_effect: true,
            evidence: serde_json::Value::Null,
        }
    }

    #[test]
    fn nodes_are_counted_once_and_until_they_answer_again() {
        let lives = [
            // It never answered in its second life.
            ("A", vec![life(Some(1), Some(100)), life(None, Some(150)), life(Some(200), None)]),
            ("B", vec![life(Some(1), Some(120)), life(Some(180), None)]),
            ("C", vec![life(Some(1), None)]),
        ];
        let lives = lives.into_iter().map(|(node, lives)| (Arc::from(node), lives)).collect();
        // The pause of A lies in a time when it is down anyway.
        let faults = vec![pause("A", 110, Some(130)), pause("C", 300, None)];
        let outages = Outages::of(&History { lives, faults, ..History::default() });
        let at = |at_ns| outages.most_during(at_ns, at_ns);
        let moments = [0, 99, 100, 119, 120, 179, 180, 199, 200, 299, 300, 9_999];
        assert_eq!(moments.map(at), [0, 0, 1, 1, 2, 2, 1, 1, 0, 0, 1, 1]);
        assert_eq!(outages.most_during(0, 110), 1);
        assert_eq!(outages.most_during(50, 250), 2, "the worst of all moments");
        assert_eq!(Outages::of(&History::default()).most_during(0, u64::MAX), 0);
    }
}
