//! The whole run: every operation on a time line, latency and rate, and the nodes' logs beside it.
//!
//! What is drawn is drawn by the script (`script/*.js`, put together in [`SCRIPT`]) from the columns that
//! [`columns`](super::columns) embeds. Without a script there are still pictures of latency and rate
//! ([`series`](super::series)).

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::beside::{Beside, NodeLog};
use super::{columns, series, shown};
use crate::history::{Fault, History};
use crate::report::evidence::of_fault;
use crate::report::results::Results;
use crate::report::style::{clean, one_line};
use crate::report::violations;

/// The script's parts, in the order in which they need each other; one scope holds them all.
const PARTS: [&str; 8] = [
    include_str!("script/data.js"),
    include_str!("script/view.js"),
    include_str!("script/draw.js"),
    include_str!("script/timeline.js"),
    include_str!("script/charts.js"),
    include_str!("script/logs.js"),
    include_str!("script/save.js"),
    include_str!("script/main.js"),
];
/// More operations than these make a page that no browser opens with pleasure: 100 MB.
const MOST_OPERATIONS: usize = 5_000_000;
/// Longest label of a fault, in characters.
const LABEL_WIDTH: usize = 200;

/// The script, all parts in one scope.
pub(super) fn script() -> String {
    format!("(() => {{\n'use strict';\n{}}})();\n", PARTS.join("\n"))
}

const CONTROLS: &str = r#"<div id="explore" hidden>
<form id="filters" aria-label="Which operations are shown">
<label>rows <select name="rows"><option value="node">by node</option><option value="process">by process</option><option value="key">by key</option><option value="f">by operation</option></select></label>
<label>node <select name="node"><option value="">all</option></select></label>
<label>operation <select name="f"><option value="">all</option></select></label>
<label>outcome <select name="outcome"><option value="">all</option><option value="0">ok</option><option value="1">fail</option><option value="2">info</option></select></label>
<label>key <input name="key" list="keys" size="8" placeholder="all" autocomplete="off"></label><datalist id="keys"></datalist>
<label>process <input name="process" size="5" placeholder="all" inputmode="numeric" autocomplete="off"></label>
<label><input type="checkbox" name="proof"> proofs only</label>
<button type="button" data-act="clear">clear</button>
</form>
<div class="tools" role="group" aria-label="Which part of the run is shown">
<button type="button" data-act="left" aria-label="earlier">←</button><button type="button" data-act="right" aria-label="later">→</button>
<button type="button" data-act="in" aria-label="zoom in">+</button><button type="button" data-act="out" aria-label="zoom out">−</button>
<button type="button" data-act="whole">whole run</button>
<button type="button" data-act="before">previous</button><button type="button" data-act="next">next operation</button>
</div>
<p class="legend"><span><i class="ok"></i>ok</span> <span><i class="fail"></i>fail: certainly did not happen</span> <span><i class="info"></i>info: nobody knows</span> <span><i class="shade"></i>fault in force</span> <span><i class="phase"></i>a phase begins: load, heal, settle</span> <span class="of-proofs"><i class="proof"></i>part of a proof</span></p>
<p id="status" role="status" aria-live="polite"></p>
<canvas id="overview" aria-hidden="true"></canvas>
<div class="stack"><canvas id="timeline" tabindex="0" role="application" aria-label="Timeline of all operations" aria-describedby="help status"></canvas><div id="tip" hidden></div></div>
<p id="help" class="faint">Drag to move, pinch or use the wheel to zoom (click first), double-click to look closer, drag on the small picture to choose a part.
<span class="keys">With the keyboard: <kbd>←</kbd> <kbd>→</kbd> move, <kbd>+</kbd> <kbd>−</kbd> zoom, <kbd>Home</kbd> the whole run, <kbd>↑</kbd> <kbd>↓</kbd> rows, <kbd>n</kbd> <kbd>p</kbd> next and previous operation, <kbd>/</kbd> filter, <kbd>Esc</kbd> clear.</span></p>
<dl id="told" role="status" aria-live="polite"></dl>
<h3>Latency</h3>
<p class="faint">Each operation by when it was sent, on a logarithmic scale. Lines: of those that ended ok, <b>p50</b> (solid), <b>p95</b> (dashed), <b>p99</b> (dotted).</p>
<canvas id="latency" role="img" aria-label="Latency of each operation over time"></canvas>
<h3>Rate</h3>
<p class="faint">Operations a second by when they were sent, coloured by how they ended.</p>
<canvas id="rate" role="img" aria-label="Operations a second over time"></canvas>
</div>
"#;

/// Whether the page has a timeline, and so needs the script.
pub(super) fn has_timeline(beside: &Beside<'_>) -> bool {
    let count = |history: &History| history.ops.len() + history.deliveries.len();
    beside.history.is_some_and(|history| fits(count(history)))
}

fn fits(operations: usize) -> bool {
    (1..=MOST_OPERATIONS).contains(&operations)
}

/// The section, and below it the data it is drawn from.
pub(super) fn section(results: &Results, beside: &Beside<'_>) -> String {
    let logs = logs(&beside.logs);
    let Some(history) = beside.history else {
        return format!(
            "<section><h2>The whole run</h2>\n<p>The history was not at hand when this page was made, so it has no timeline; \
             <code>harness report</code> makes one of a run's folder.</p>\n{logs}</section>\n"
        );
    };
    let operations = history.ops.len() + history.deliveries.len();
    if operations == 0 {
        // Of a system that never came up the logs are what there is.
        let none = "<p>There are no operations: nothing was asked of the nodes.</p>";
        return match logs.is_empty() {
            true => String::new(),
            false => format!("<section><h2>The whole run</h2>\n{none}\n{logs}</section>\n"),
        };
    }
    let mut out = String::from("<section id=\"whole\"><h2>The whole run</h2>\n");
    let timeline = has_timeline(beside);
    if timeline {
        out.push_str(CONTROLS);
    } else {
        let _ = writeln!(
            out,
            "<p class=\"missing\">This run has {operations} operations. A page carries {MOST_OPERATIONS} at most, so the timeline is left \
             out; the pictures are of all operations, and history.jsonl has them.</p>"
        );
    }
    let still: String = series::pictures(history)
        .into_iter()
        .map(|(_, caption, svg)| {
            format!("<figure tabindex=\"0\">{svg}<figcaption>{}</figcaption></figure>\n", shown(&caption))
        })
        .collect();
    // Not in a noscript element: some viewers (Jenkins, by its policy) block scripts without switching them off.
    let missing = match timeline {
        true => {
            "<p class=\"missing\">The script of this page has not run: scripts are off, or blocked where it is shown. The timeline of \
             all operations, its filters and the details of each operation are missing therefore. Everything else is whole, and \
             history.jsonl has every operation.</p>\n"
        }
        false => "",
    };
    let _ = writeln!(out, "<div id=\"still\">{missing}{still}</div>");
    out.push_str(&logs);
    out.push_str("</section>\n");
    if !timeline {
        return out;
    }
    let tables = columns::embed(history, &mut out);
    let _ = writeln!(
        out,
        "<script type=\"application/json\" id=\"run-data\">{}</script>",
        data(results, history, tables)
    );
    out
}

/// What the script has to know beside the columns.
fn data(results: &Results, history: &History, mut tables: Map<String, Json>) -> String {
    let faults: Vec<Json> = history.faults.iter().map(fault).collect();
    let phases: Vec<Json> = history
        .phases
        .iter()
        .map(|(phase, began_ns)| json!({"name": phase, "from": began_ns / 1000}))
        .collect();
    let found = results.checks.iter().flat_map(|check| {
        check.violations.iter().take(super::DRAWN_PER_CHECK).map(move |violation| {
            let title = clean(&one_line(&violations::title(violation), LABEL_WIDTH));
            json!({"title": format!("{}: {title}", clean(&check.name)), "ops": violation.ops})
        })
    });
    tables.insert("violations".into(), found.collect());
    tables.insert("name".into(), clean(&results.workload).into());
    tables.insert("pictureStyle".into(), super::picture::STYLE.into());
    tables.insert("faults".into(), faults.into());
    tables.insert("phases".into(), phases.into());
    // In a script element nothing but these could end it, or begin a comment in which its end is not seen.
    Json::Object(tables).to_string().replace('<', "\\u003c").replace('>', "\\u003e")
}

fn fault(fault: &Fault) -> Json {
    let nodes: Vec<String> = fault.target.iter().map(|node| clean(node)).collect();
    json!({
        "label": clean(&one_line(&fault.label, LABEL_WIDTH)),
        "from": fault.began_ns / 1000,
        "to": fault.ended_ns.map(|ns| ns / 1000),
        "nodes": nodes,
        "evidence": clean(&one_line(&of_fault(&fault.evidence), LABEL_WIDTH)),
    })
}

/// The nodes' logs, side by side where there is room.
fn logs(logs: &[NodeLog]) -> String {
    if logs.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<h3>Node logs</h3>\n<p class=\"faint\">What each node printed, with the second it was received. <span class=\"scripted\" hidden>Choose an \
         operation, and every log scrolls to that moment; click a line, and the timeline does.</span></p>\n<div class=\"logs\">\n",
    );
    for log in logs {
        let cut = match log.left_out {
            0 => String::new(),
            bytes => format!(
                " <span class=\"faint\">the first {} KiB are left out; the file has them</span>",
                bytes.div_ceil(1024)
            ),
        };
        // A line is a line: what some browsers would break at is made visible.
        let text = shown(&log.text).replace('\u{2028}', "\\u{2028}").replace('\u{2029}', "\\u{2029}");
        let _ = writeln!(
            out,
            "<figure class=\"log\"><figcaption>nodes/{0}.log{cut}</figcaption>\
             <pre class=\"log\" tabindex=\"0\" aria-label=\"log of {0}\">{text}</pre></figure>",
            shown(&log.node)
        );
    }
    out.push_str("</div>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_carries_millions_but_not_any_number() {
        assert!(
            !fits(0) && fits(1) && fits(1_000_000) && fits(MOST_OPERATIONS) && !fits(MOST_OPERATIONS + 1)
        );
    }
}
