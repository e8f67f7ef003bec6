//! `report.html`: a run as one page that needs nothing but itself, for e-mails, artifacts and paper.
//!
//! No network, no fonts of its own, and one script, its own: the page's security policy lets no other run. Whatever
//! nodes, workloads or users wrote goes through [`escape`], after [`clean`] has made control characters visible; where
//! it is data of the script, no `<` is left in it.

mod beside;
mod columns;
mod curves;
mod diagram;
mod messages;
mod picture;
mod series;
mod whole;

use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};

use super::evidence::{of_check, of_fault, scalar};
use super::isolation;
use super::results::{CheckRow, Results, ViolationRow};
use super::style::{clean, one_line};
use super::{table, violations};
use crate::check::{CheckMode, Verdict};
use crate::history::Phase;

pub use beside::{Beside, NodeLog};
pub use messages::{Message, Messages};
pub use picture::pictures;

/// The style sheet of pages.
pub const STYLE: &str = include_str!("page.css");
/// How many violations of one check are drawn; the page says how many there were.
const DRAWN_PER_CHECK: usize = 20;
/// How many of those are there at first sight; the others are mostly the same story about another key.
const AT_ONCE: usize = 3;
/// What arrows in a picture mean.
const ARROWS: &str = " Arrows: messages as the links saw them; for each operation the first that its node sent to each other \
    from its beginning on, and the last it was handed by each until its end. A broken one was lost. messages.csv has all of them.";
/// Longest cell, in characters.
const CELL_WIDTH: usize = 2000;

/// The whole page, with as much of the run as is at hand.
pub fn render(results: &Results, beside: &Beside<'_>) -> String {
    let title = format!("{}: {} (seed {})", table::word(results.verdict), results.workload, results.seed);
    let nonce = nonce(results);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        shown(&title)
    );
    out.push_str(&head(results));
    out.push_str("<main>\n");
    out.push_str(&checks(results));
    let mut number = 0;
    for check in results.checks.iter().filter(|check| !check.violations.is_empty()) {
        out.push_str(&of_violations(results, check, &beside.messages, &mut number));
    }
    out.push_str(&whole::section(results, beside));
    out.push_str(&faults(results));
    out.push_str(&figures(results));
    out.push_str(&agreement(results, beside));
    out.push_str(&troubles(results));
    out.push_str(&about(results, beside));
    out.push_str("</main>\n");
    if whole::has_timeline(beside) {
        let _ = writeln!(out, "<script nonce=\"{nonce}\">\n{}</script>", whole::script());
    }
    out.push_str("</body>\n</html>\n");
    out
}

/// What marks the page's own script as such. The same results give the same page; whoever wrote a value into a history
/// would have had to know all of it, times included, to guess it.
fn nonce(results: &Results) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    results.to_json().hash(&mut hasher);
    let first = hasher.finish();
    first.hash(&mut hasher);
    format!("{first:016x}{:016x}", hasher.finish())
}

/// Text as the content of an element or of a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

/// What others wrote, as it may be shown.
fn shown(text: &str) -> String {
    escape(&clean(text))
}

fn class(verdict: Verdict) -> &'static str {
    table::word(verdict)
}

fn head(results: &Results) -> String {
    let nodes: Vec<&str> = results.nodes.iter().map(|node| node.id.as_str()).collect();
    let cell: String = results.cell.iter().map(|(name, value)| format!(" · {name}={value}")).collect();
    let started = match results.started.as_str() {
        "" => String::new(),
        started => format!(" · {started}"),
    };
    let load = &results.load;
    let mut out = format!(
        "<header class=\"{0}\">\n<p class=\"verdict\">{0}</p>\n<h1>{1}</h1>\n<p>{2}</p>\n<p>{3}</p>\n",
        class(results.verdict),
        shown(&results.workload),
        shown(&format!("seed {}{cell} · nodes {}{started}", results.seed, nodes.join(", "))),
        shown(&format!(
            "{} operations: {} ok, {} fail, {} info · {:.1} s",
            load.ok + load.fail + load.info,
            load.ok,
            load.fail,
            load.info,
            results.duration_ms as f64 / 1e3
        )),
    );
    if !results.why.is_empty() {
        let lines: String = results.why.iter().map(|why| format!("<li>{}</li>", shown(why))).collect();
        let _ = writeln!(out, "<ul>{lines}</ul>");
    }
    out.push_str("</header>\n");
    out
}

/// A table that scrolls by itself where the screen is narrow. Cells are HTML.
fn table_of(headers: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = headers.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    let mut out =
        format!("<div class=\"wide\" tabindex=\"0\"><table><thead><tr>{head}</tr></thead><tbody>\n");
    for row in rows {
        // On a phone a row becomes a card, whose lines need the column's name.
        let cell = |(name, cell): (&&str, &String)| format!("<td data-name=\"{name}\">{cell}</td>");
        let cells: String = headers.iter().zip(row).map(cell).collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

fn checks(results: &Results) -> String {
    if results.checks.is_empty() {
        return String::new();
    }
    let row = |check: &CheckRow| {
        let name = match check.violations.is_empty() {
            true => shown(&check.name),
            false => format!("<a href=\"#check-{0}\">{0}</a>", shown(&check.name)),
        };
        let found = match (check.verdict, check.violations_total) {
            (Verdict::Unknown, _) => check.reason.clone().unwrap_or_default(),
            (_, 0) => "nothing".to_owned(),
            (_, 1) => "1 violation".to_owned(),
            (_, total) => format!("{total} violations"),
        };
        let excused = check.excuse().map(|excuse| format!(", {excuse}")).unwrap_or_default();
        vec![
            name,
            format!("<span class=\"{0}\">{0}</span>", class(check.verdict)),
            table::mode(check.mode).to_owned(),
            shown(&check.promise),
            shown(&(found + &excused)),
            shown(&one_line(&of_check(&check.evidence), CELL_WIDTH)),
        ]
    };
    let rows: Vec<Vec<String>> = results.checks.iter().map(row).collect();
    let headers = ["check", "verdict", "mode", "promised", "found", "what it judged"];
    format!("<section><h2>Checks</h2>\n{}</section>\n", table_of(&headers, &rows))
}

/// `number` counts the violations drawn so far on the whole page.
fn of_violations(results: &Results, check: &CheckRow, messages: &Messages, number: &mut usize) -> String {
    let note = match check.mode {
        CheckMode::Required => "",
        CheckMode::Reported => ", reported only",
        CheckMode::ExpectedToFail => ", as expected",
    };
    let mut out = format!(
        "<section id=\"check-{0}\"><h2>{0}: {1} {2}{note}</h2>\n<p>Promised: {3}</p>\n",
        shown(&check.name),
        check.violations_total,
        if check.violations_total == 1 { "violation" } else { "violations" },
        shown(&check.promise)
    );
    let drawn: Vec<&ViolationRow> = check.violations.iter().take(DRAWN_PER_CHECK).collect();
    for (at, violation) in drawn.iter().enumerate() {
        if at == AT_ONCE {
            let more = drawn.len() - AT_ONCE;
            let _ = writeln!(
                out,
                "<details class=\"more\"><summary class=\"plain\">{more} more with their proofs</summary>"
            );
        }
        out.push_str(&of_violation(results, violation, messages, *number, at == 0));
        *number += 1;
    }
    if drawn.len() > AT_ONCE {
        out.push_str("</details>\n");
    }
    let drawn = drawn.len() as u64;
    if check.violations_total > drawn {
        let hidden = check.violations_total - drawn;
        let _ = writeln!(out, "<p>{hidden} more are not shown here; results.json lists up to 50.</p>");
    }
    out.push_str("</section>\n");
    out
}

fn of_violation(
    results: &Results,
    violation: &ViolationRow,
    messages: &Messages,
    number: usize,
    open: bool,
) -> String {
    let mut out = format!(
        "<details class=\"violation\" data-violation=\"{number}\"{}><summary>{}</summary>\n<p class=\"story\">{}</p>\n",
        if open { " open" } else { "" },
        shown(&violations::title(violation)),
        shown(&violations::sentence(&violation.story))
    );
    let picture = diagram::draw(results, violation, messages);
    if !picture.is_empty() {
        let _ = writeln!(
            out,
            "<figure tabindex=\"0\">{picture}<figcaption>The operations that prove it, in their order; \
             distances between moments are not to scale. Shaded, if any: faults in force.{}</figcaption></figure>",
            if picture.contains("class=\"message") { ARROWS } else { "" }
        );
    }
    if let Some(text) = &violation.diagram {
        let _ = writeln!(out, "<pre tabindex=\"0\">{}</pre>", shown(text));
    }
    let _ = writeln!(out, "<pre tabindex=\"0\">{}</pre>", shown(&violations::proof(violation)));
    let mut facts = String::new();
    let mut fact = |name: &str, text: &str| {
        if !text.is_empty() {
            let _ = writeln!(facts, "<dt>{name}</dt><dd>{}</dd>", shown(text).replace('\n', "<br>"));
        }
    };
    fact("nodes", &violation.nodes.join(", "));
    fact("under", &violation.faults.join("\n"));
    let held = if violation.now.is_empty() { String::new() } else { violations::now(&violation.now) };
    fact("in the end", &held);
    fact("likely cause", &violation.cause);
    let _ = writeln!(out, "<dl>{facts}</dl></details>");
    out
}

fn faults(results: &Results) -> String {
    if results.faults.is_empty() {
        return String::new();
    }
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1e3);
    let rows: Vec<Vec<String>> = results
        .faults
        .iter()
        .enumerate()
        .map(|(at, fault)| {
            let took = if fault.took_effect { ("valid", "yes") } else { ("invalid", "no") };
            vec![
                format!("<span data-fault=\"{at}\">{}</span>", shown(&fault.label)),
                seconds(fault.began_ms),
                fault.ended_ms.map_or_else(|| "the end".to_owned(), seconds),
                format!("<span class=\"{}\">{}</span>", took.0, took.1),
                fault.overlapping_ops.to_string(),
                shown(&one_line(&of_fault(&fault.evidence), CELL_WIDTH)),
            ]
        })
        .collect();
    let headers = ["fault", "from", "to", "took effect", "operations meanwhile", "evidence"];
    format!("<section><h2>Faults</h2>\n{}</section>\n", table_of(&headers, &rows))
}

/// Operations and latency by phase, as `availability` measured them.
fn figures(results: &Results) -> String {
    let measured = results.checks.iter().find(|check| check.name == "availability");
    let phases = measured.and_then(|check| check.stats.get("phases")?.as_array());
    let Some(phases) = phases.filter(|phases| !phases.is_empty()) else { return String::new() };
    const COLUMNS: [&str; 8] = ["phase", "ok", "fail", "info", "p50_ms", "p90_ms", "p99_ms", "max_ms"];
    let row = |phase: &serde_json::Value| {
        COLUMNS
            .iter()
            .map(|name| shown(&scalar(phase.get(name).unwrap_or(&serde_json::Value::Null))))
            .collect()
    };
    let rows: Vec<Vec<String>> = phases.iter().map(row).collect();
    let headers = ["phase", "ok", "fail", "info", "p50 ms", "p90 ms", "p99 ms", "max ms"];
    format!("<section><h2>Operations and latency</h2>\n{}</section>\n", table_of(&headers, &rows))
}

fn figure(svg: &str, caption: &str) -> String {
    format!("<figure tabindex=\"0\">{svg}<figcaption>{caption}</figcaption></figure>\n")
}

/// How stale reads were, and how the nodes came to agree.
fn agreement(results: &Results, beside: &Beside<'_>) -> String {
    let mut out = String::new();
    if let Some(svg) = curves::staleness(results) {
        let caption = "P(stale | age): of the reads that came so long after the last acknowledged write to their key, how many \
                       showed an older version. Ages at which nobody read have no point.";
        let _ = writeln!(out, "<section><h2>Staleness</h2>\n{}</section>", figure(&svg, caption));
    }
    let settle = &results.settle;
    let told = match settle.converged_ms {
        Some(ms) => format!("All nodes agreed {:.2} s after the last fault was lifted.", ms as f64 / 1e3),
        None if settle.within_ms > 0 && results.phases.iter().any(|row| row.phase == Phase::Settle) => {
            format!(
                "Not every node had everything {:.1} s after the last fault was lifted.",
                settle.within_ms as f64 / 1e3
            )
        }
        None => String::new(),
    };
    let mut told = told;
    let removals = beside.history.map_or(&[][..], |history| &history.removals);
    let mut removed: Vec<&str> = removals.iter().map(|removal| &*removal.node).collect();
    removed.sort_unstable();
    removed.dedup();
    if !removed.is_empty() {
        let _ = write!(
            told,
            " The others went on without {} for a while, which then began anew.",
            shown(&removed.join(", "))
        );
    }
    let svg = beside.history.and_then(curves::convergence);
    if svg.is_some() || !told.is_empty() {
        let _ = writeln!(out, "<section><h2>Convergence</h2>\n<p>{told}</p>");
        if let Some(svg) = svg {
            let caption = "How much each node lacked of what was there in the end. Gaps: it did not answer.";
            out.push_str(&figure(&svg, caption));
        }
        out.push_str("</section>\n");
    }
    out
}

/// What went wrong beside the checks, and unexpected ends of nodes with their last lines.
fn troubles(results: &Results) -> String {
    let mut out = String::new();
    let mut tell = |what: &str, log: &[String]| {
        let _ = writeln!(out, "<p>{}</p>", shown(what));
        if !log.is_empty() {
            let _ = writeln!(out, "<pre tabindex=\"0\">{}</pre>", shown(&log.join("\n")));
        }
    };
    for failure in &results.failures {
        tell(&failure.what, &failure.log);
    }
    for node in &results.nodes {
        for exit in node.exits.iter().filter(|exit| !exit.expected) {
            let how = match (exit.signal, exit.code) {
                (Some(signal), _) => format!("by signal {signal}"),
                (None, Some(code)) => format!("with exit code {code}"),
                (None, None) => "in a way nobody saw".to_owned(),
            };
            let at_s = exit.at_ms as f64 / 1e3;
            let what = match &exit.limit {
                Some(limit) => format!("{} was stopped at {at_s:.1} s: {limit}", node.id),
                None => format!("{} ended {how} at {at_s:.1} s, unasked", node.id),
            };
            tell(&what, &exit.log);
        }
    }
    results.notes.iter().for_each(|note| tell(note, &[]));
    if out.is_empty() { out } else { format!("<section><h2>What else happened</h2>\n{out}</section>\n") }
}

fn about(results: &Results, beside: &Beside<'_>) -> String {
    let versions = &results.versions;
    let kernel = versions.kernel.as_deref().unwrap_or("");
    let workload = match &beside.workload {
        Some(text) => format!(
            "<details><summary class=\"plain\">The workload as it was run</summary><pre tabindex=\"0\">{}</pre></details>\n",
            shown(text)
        ),
        None => String::new(),
    };
    let isolation = results.isolation.as_ref().map(isolation::line);
    let isolation =
        isolation.map(|line| format!("<p class=\"faint\">{}</p>\n", shown(&line))).unwrap_or_default();
    format!(
        "<section><h2>Again</h2>\n<p>The same operations and faults:</p>\n<pre tabindex=\"0\">{}</pre>\n{workload}{isolation}\
         <p class=\"faint\">{}</p></section>\n",
        shown(&results.rerun),
        shown(&format!(
            "harness {} on {} {kernel}, {} CPUs. Everything is in results.json and history.jsonl beside this page.",
            versions.harness, versions.os, versions.cpus
        ))
    )
}
