//! Pictures as files of their own, for papers and lab reports.

use std::collections::BTreeMap;

use super::{Beside, DRAWN_PER_CHECK, curves, diagram, series};
use crate::report::results::Results;

/// What the page's style sheet gives the pictures there, in the colours of paper.
pub(super) const STYLE: &str = "svg{background:#fff}text{font:12px system-ui,sans-serif;fill:#1c2126}\
    .lane{stroke:#d5dae0}.lane-name{font-weight:600}.fault{fill:#b3261e;fill-opacity:.12}\
    .fault-name{fill:#b3261e;font-size:11px}.tick{stroke:#5b6570}.tick-name{fill:#5b6570;text-anchor:middle;font-size:11px}\
    .level{fill:#5b6570;text-anchor:end;font-size:11px}.ok{fill:#2f6fde}.fail{fill:#8a929b}.info{fill:#c98a12}\
    .message line{stroke:#5b6570}.message polygon{fill:#5b6570}.message.lost line{stroke:#b3261e;stroke-dasharray:5 3}.message.lost text{fill:#b3261e}\
    .op.ok rect{fill:#2f6fde}.op.fail rect{fill:#8a929b}.op.info rect{fill:none;stroke:#c98a12;stroke-dasharray:4 3}\
    path{fill:none;stroke:#1c2126;stroke-width:1.5}path.p95{stroke-dasharray:7 4}path.p99{stroke-dasharray:2 3}\
    .curve{stroke-width:2}.c0{stroke:#2f6fde}.c1{stroke:#c2571a}.c2{stroke:#14702f}.c3{stroke:#8a3ab9}.c4{stroke:#8a5a00}.c5{stroke:#5b6570}";

/// Every picture of a run: a name that no other has and that is a file's name, and a whole SVG file.
pub fn pictures(results: &Results, beside: &Beside<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for check in &results.checks {
        for (at, violation) in check.violations.iter().take(DRAWN_PER_CHECK).enumerate() {
            let svg = diagram::draw(results, violation, &beside.messages);
            let name = format!("{}-{}-{}", plain(&check.name), at + 1, plain(&violation.kind));
            found.push((name, svg));
        }
    }
    if let Some(history) = beside.history {
        let over_time = series::pictures(history).into_iter().map(|(name, _, svg)| (name.to_owned(), svg));
        found.extend(over_time);
        found.extend(curves::convergence(history).map(|svg| ("convergence".to_owned(), svg)));
    }
    found.extend(curves::staleness(results).map(|svg| ("staleness".to_owned(), svg)));
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut numbered = Vec::new();
    for (name, svg) in found.into_iter().filter(|(_, svg)| !svg.is_empty()) {
        let times = taken.entry(name.clone()).or_default();
        *times += 1;
        let name = if *times == 1 { name } else { format!("{name}-{times}") };
        numbered.push((name, alone(&svg)));
    }
    numbered
}

/// Letters, digits and hyphens.
fn plain(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    name.chars().take(60).map(letter).collect()
}

/// A picture of the page as a file that needs no page. Two letters that HTML takes are none of XML's.
fn alone(svg: &str) -> String {
    let svg = svg.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}");
    let inside = svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1);
    let inside = inside.replacen('>', &format!("><style>{STYLE}</style>"), 1);
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{inside}\n")
}
