//! What checks measured, for people. `availability` and `staleness` have a form of their own; whatever else a check
//! measures is a line, a table where it fits, or a list.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::evidence::{in_words, scalar};
use super::results::{CheckRow, FaultRow, Results};
use super::style::{Paint, Style};
use super::verdict::is_link_fault;

/// How many faults have a row of their own in the table of availability; those that hurt most come first.
const SHOWN_FAULTS: usize = 8;
/// How many sentences on recovery are shown, the slowest first.
const SHOWN_RECOVERIES: usize = 4;

/// Nodes that took longer to answer after a fault on links were held up by it.
const SLOW_MS: f64 = 1000.0;

/// The figures of every check that measured any.
pub fn section(results: &Results, style: &Style) -> String {
    let mut out = String::new();
    for check in &results.checks {
        let text = match check.name.as_str() {
            // The head of the summary says it.
            "convergence" if check.stats.keys().all(|name| name == "converged_ms") => continue,
            "availability" => availability(check, results, style),
            "staleness" => staleness(check, style),
            "log" => many_failovers(check, style),
            _ => None,
        };
        let text = text.unwrap_or_else(|| generic(&check.stats, style));
        if !text.is_empty() {
            let heading = style.paint(Paint::Strong, &style.text(&format!("{} measured", check.name)));
            let _ = write!(out, "\n{heading}\n{text}");
        }
    }
    out
}

/// `7 ms`, `1.2 s`
pub fn duration(ms: f64) -> String {
    if ms < 1.0 {
        "under 1 ms".to_owned()
    } else if ms < 1e3 {
        format!("{ms:.0} ms")
    } else {
        let seconds = format!("{:.1}", ms / 1e3);
        format!("{} s", seconds.strip_suffix(".0").unwrap_or(&seconds))
    }
}

fn number(row: &Json, name: &str) -> Option<f64> {
    row.get(name)?.as_f64()
}

fn availability(check: &CheckRow, results: &Results, style: &Style) -> Option<String> {
    let list = |name: &str| check.stats.get(name).and_then(Json::as_array);
    let (phases, operations, recovery) = (list("phases")?, list("operations")?, list("recovery")?);
    let mut rows = Vec::new();
    let hidden = phases.len().saturating_sub(SHOWN_FAULTS + 2);
    let kept = worst_phases(phases)?;
    for phase in phases.iter().filter(|phase| hidden == 0 || kept.contains(phase)) {
        rows.push(counts(phase.get("phase")?.as_str()?.to_owned(), phase)?);
    }
    for operation in operations {
        rows.push(counts(format!("every {}", operation.get("f")?.as_str()?), operation)?);
    }
    if rows.is_empty() {
        return Some(String::new());
    }
    let headers = ["phase", "ok", "fail", "info", "p50 ms", "p99 ms", "max ms"];
    let mut out = format!("{}\n", style.table(&headers, &rows, |_, _| None));
    if hidden > 0 {
        let _ = writeln!(out, "and {hidden} more phases in results.json");
    }
    let on_links = |fault: &&FaultRow| is_link_fault(fault);
    let faults_on_links: Vec<&str> =
        results.faults.iter().filter(on_links).map(|fault| fault.label.as_str()).collect();
    for sentence in recoveries(recovery, &faults_on_links)? {
        let _ = writeln!(out, "{}", style.wrap(&sentence, 2));
    }
    Some(out)
}

/// The phases without faults, and those under the faults that left the greatest share unanswered.
fn worst_phases(phases: &[Json]) -> Option<Vec<Json>> {
    let mut faults: Vec<(f64, &Json)> = Vec::new();
    let mut kept = Vec::new();
    for phase in phases {
        if ["healthy", "recovered"].contains(&phase.get("phase")?.as_str()?) {
            kept.push(phase.clone());
            continue;
        }
        let (ok, fail, info) = (number(phase, "ok")?, number(phase, "fail")?, number(phase, "info")?);
        faults.push(((fail + info) / (ok + fail + info).max(1.0), phase));
    }
    faults.sort_by(|one, other| other.0.total_cmp(&one.0));
    kept.extend(faults.into_iter().take(SHOWN_FAULTS).map(|(_, phase)| phase.clone()));
    Some(kept)
}

fn counts(name: String, row: &Json) -> Option<Vec<String>> {
    let mut cells = vec![name];
    for count in ["ok", "fail", "info"] {
        cells.push(row.get(count)?.as_u64()?.to_string());
    }
    for latency in ["p50_ms", "p99_ms", "max_ms"] {
        cells.push(number(row, latency).map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1}")));
    }
    Some(cells)
}

/// `B answered again 66 ms after kill B ended`, the slowest first; the nodes of one fault share a sentence. Clients reach
/// nodes whatever becomes of the links between these, so that of faults on links only slow recoveries are told.
fn recoveries(rows: &[Json], faults_on_links: &[&str]) -> Option<Vec<String>> {
    // By fault: each node with what it took, in the order of the faults of this label; `None`: it never answered.
    type Nodes<'r> = BTreeMap<&'r str, Vec<Option<f64>>>;
    let mut faults: Vec<(&str, Nodes)> = Vec::new();
    for row in rows {
        let (fault, node) = (row.get("fault")?.as_str()?, row.get("node")?.as_str()?);
        let at = faults.iter().position(|(known, _)| *known == fault).unwrap_or_else(|| {
            faults.push((fault, Nodes::new()));
            faults.len() - 1
        });
        faults[at].1.entry(node).or_default().push(number(row, "ms"));
    }
    let mut sentences: Vec<(f64, String)> = Vec::new();
    for (fault, nodes) in &faults {
        let (mut names, mut times, mut slowest) = (Vec::new(), 0, 0_f64);
        for (node, took) in nodes {
            if took.iter().any(Option::is_none) {
                let line = format!("{node} answered nothing that was asked after {fault} ended.");
                sentences.push((f64::INFINITY, line));
                continue;
            }
            names.push(*node);
            times = times.max(took.len());
            slowest = took.iter().flatten().copied().fold(slowest, f64::max);
        }
        if faults_on_links.contains(fault) && slowest < SLOW_MS {
            continue;
        }
        let who = match names.as_slice() {
            [] => continue,
            [only] => (*only).to_owned(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        };
        let within = if names.len() > 1 || times > 1 { "at most " } else { "" };
        let each = if times > 1 { " each time" } else { "" };
        let line = format!("{who} answered again {within}{} after {fault} ended{each}.", duration(slowest));
        sentences.push((slowest, line));
    }
    sentences.sort_by(|one, other| other.0.total_cmp(&one.0));
    let hidden = sentences.len().saturating_sub(SHOWN_RECOVERIES);
    let mut lines: Vec<String> =
        sentences.into_iter().take(SHOWN_RECOVERIES).map(|(_, sentence)| sentence).collect();
    if hidden > 0 {
        lines.push(format!("After {hidden} other faults the nodes answered sooner."));
    }
    Some(lines)
}

fn staleness(check: &CheckRow, style: &Style) -> Option<String> {
    let ages = check.stats.get("by_age")?.as_array()?;
    let share = number(&Json::Object(check.stats.clone()), "p_stale")?;
    let mut rows = Vec::new();
    let (mut reads, mut stale) = (0, 0);
    for age in ages {
        let (of, p_stale) = (age.get("reads")?.as_u64()?, number(age, "p_stale")?);
        let behind = (p_stale * of as f64).round() as u64;
        reads += of;
        stale += behind;
        if of > 0 {
            let from = number(age, "from_ms")?;
            let when = match number(age, "until_ms") {
                None => format!("over {} ago", duration(from)),
                Some(until) if from == 0.0 => format!("up to {} ago", duration(until)),
                Some(until) => format!("{} to {} ago", duration(from), duration(until)),
            };
            rows.push(vec![when, of.to_string(), behind.to_string(), percent(p_stale)]);
        }
    }
    if reads == 0 {
        return Some(String::new());
    }
    if stale == 0 {
        let line = format!(
            "None of {reads} reads was stale: each showed the write of the highest version acknowledged, at any node, \
             before it was asked, or a higher one."
        );
        return Some(format!("{}\n", style.wrap(&line, 2)));
    }
    let behind = check.stats.get("behind_ms")?;
    let versions = check.stats.get("versions_behind").and_then(|versions| number(versions, "max"))?;
    let plural = if versions == 1.0 { "version" } else { "versions" };
    let line = format!(
        "{stale} of {reads} reads ({}) were stale: they missed a write that some node had acknowledged before. Of these \
         the median was {} behind, the worst {}, and none more than {versions} {plural}.",
        percent(share),
        duration(number(behind, "p50")?),
        duration(number(behind, "max")?)
    );
    let headers = ["key last acknowledged", "reads", "stale", "P(stale)"];
    Some(format!("{}\n{}\n", style.wrap(&line, 2), style.table(&headers, &rows, |_, _| None)))
}

/// Where a log met more faults than have room: those after which publishers waited longest.
fn many_failovers(check: &CheckRow, style: &Style) -> Option<String> {
    let rows = check.stats.get("failover")?.as_array()?;
    if rows.len() <= SHOWN_FAULTS {
        return None;
    }
    // Nothing acknowledged any more is the longest wait of all.
    let wait = |row: &Json| number(row, "next_ack_ms").unwrap_or(f64::INFINITY);
    let mut ranked: Vec<usize> = (0..rows.len()).collect();
    ranked.sort_by(|one, other| wait(&rows[*other]).total_cmp(&wait(&rows[*one])));
    let median = wait(&rows[ranked[ranked.len() / 2]]);
    let mut worst = ranked[..SHOWN_FAULTS].to_vec();
    worst.sort_unstable();
    let mut stats = check.stats.clone();
    stats.insert("failover".into(), worst.into_iter().map(|at| rows[at].clone()).collect());
    let median = match median.is_finite() {
        true => format!("the median of all is {}", duration(median)),
        false => "after most of them nothing was acknowledged any more".to_owned(),
    };
    let line = format!(
        "Of {} faults these are the {SHOWN_FAULTS} after which publishers waited longest; {median}.",
        rows.len()
    );
    Some(format!("{}{}\n", generic(&stats, style), style.wrap(&line, 2)))
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// Single figures in a line; rows of like columns as a table where it fits, else as a list.
fn generic(stats: &Map<String, Json>, style: &Style) -> String {
    let nested = |value: &Json| value.is_object() || value.is_array();
    let (tables, plain): (Map<String, Json>, Map<String, Json>) =
        stats.clone().into_iter().partition(|(_, value)| nested(value));
    let mut out = String::new();
    if !plain.is_empty() {
        let _ = writeln!(out, "{}", style.wrap(&in_words(&Json::Object(plain)), 2));
    }
    // Objects are the rows of one table, by their names; each list of objects is a table of its own.
    let mut named = Vec::new();
    for (name, value) in &tables {
        match value {
            Json::Object(row) if !row.values().any(nested) => named.push((name.replace('_', " "), row)),
            Json::Array(items) if !items.is_empty() && items.iter().all(flat) => {
                let rows = items.iter().filter_map(Json::as_object).map(|row| (String::new(), row)).collect();
                let _ = writeln!(out, "{}:\n{}", style.text(&name.replace('_', " ")), grid(rows, style));
            }
            other => {
                let line = format!("{}: {}", name.replace('_', " "), in_words(other));
                let _ = writeln!(out, "{}", style.wrap(&line, 2));
            }
        }
    }
    if !named.is_empty() {
        let _ = writeln!(out, "{}", grid(named, style));
    }
    out
}

fn flat(item: &Json) -> bool {
    item.as_object()
        .is_some_and(|row| !row.is_empty() && row.values().all(|cell| !cell.is_object() && !cell.is_array()))
}

fn grid(rows: Vec<(String, &Map<String, Json>)>, style: &Style) -> String {
    let mut columns: Vec<&String> = Vec::new();
    for key in rows.iter().flat_map(|(_, row)| row.keys()) {
        if !columns.contains(&key) {
            columns.push(key);
        }
    }
    let named = rows.iter().any(|(name, _)| !name.is_empty());
    let lead = |text: &str| named.then(|| text.to_owned());
    let headers: Vec<String> =
        lead("").into_iter().chain(columns.iter().map(|column| column.replace('_', " "))).collect();
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let cells = |(name, row): &(String, &Map<String, Json>)| {
        let cells = columns.iter().map(|column| row.get(*column).map_or_else(|| "–".to_owned(), scalar));
        lead(name).into_iter().chain(cells).collect::<Vec<_>>()
    };
    let table: Vec<Vec<String>> = rows.iter().map(cells).collect();
    if style.fits(&headers, &table) {
        return style.table(&headers, &table, |_, _| None);
    }
    let line = |(name, row): &(String, &Map<String, Json>)| {
        style.wrap(&format!("- {name} {}", in_words(&Json::Object((*row).clone()))), 2)
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stats(json: Json) -> Map<String, Json> {
        json.as_object().cloned().unwrap()
    }

    #[test]
    fn recoveries_are_sentences() {
        let rows = json!([
            {"fault": "kill B", "node": "B", "ms": 65.961},
            {"fault": "partition A | B", "node": "A", "ms": 3.2},
            {"fault": "partition A | B", "node": "B", "ms": 0.4},
            {"fault": "pause C", "node": "C", "ms": 12.0},
            {"fault": "pause C", "node": "C", "ms": 1250.0},
            {"fault": "kill A", "node": "A", "ms": null},
            {"fault": "delay A→B by 2s", "node": "A", "ms": 12.0},
        ]);
        assert_eq!(
            recoveries(rows.as_array().unwrap(), &["delay A→B by 2s"]).unwrap(),
            [
                "A answered nothing that was asked after kill A ended.",
                "C answered again at most 1.2 s after pause C ended each time.",
                "B answered again 66 ms after kill B ended.",
                "A and B answered again at most 3 ms after partition A | B ended.",
            ]
        );
    }

    #[test]
    fn of_many_failovers_the_longest_are_shown() {
        let rows = |count: u64| -> Vec<Json> {
            let ms = |at: u64| if at == 3 { Json::Null } else { json!(at * 10) };
            (0..count).map(|at| json!({"fault": format!("kill {at}"), "next_ack_ms": ms(at)})).collect()
        };
        let check = |count| CheckRow {
            name: "log".into(),
            promise: String::new(),
            mode: crate::check::CheckMode::Required,
            verdict: crate::check::Verdict::Valid,
            reason: None,
            evidence: Map::new(),
            violations: Vec::new(),
            violations_total: 0,
            excused: 0,
            stats: stats(json!({"failover": rows(count)})),
        };
        assert_eq!(many_failovers(&check(8), &Style::PLAIN), None);
        let text = many_failovers(&check(20), &Style::PLAIN).unwrap();
        let shown: Vec<&str> = text.lines().filter(|line| line.contains("kill")).collect();
        assert_eq!(shown.len(), 8, "{text}");
        assert!(shown[0].contains("kill 3 ") && shown[7].contains("kill 19"), "{text}");
        let text = text.replace("\n  ", " ");
        assert!(text.contains(
            "Of 20 faults these are the 8 after which publishers waited longest; the median of all is 100 ms."
        ));
    }

    #[test]
    fn figures_nobody_foresaw_are_never_broken_within_words() {
        let narrow = Style { width: 40, ..Style::PLAIN };
        let row =
            json!({"first_quantile": 1.5, "second_quantile": 22, "third": "unbelievable", "incomparable": 4});
        let text = generic(
            &stats(json!({"total": 3, "shares": [row.clone(), row], "deep": {"a": {"b": 1}}})),
            &narrow,
        );
        insta::assert_snapshot!(text, @r"
        total 3
        shares:
        - first quantile 1.5, second quantile
          22, third unbelievable, incomparable 4
        - first quantile 1.5, second quantile
          22, third unbelievable, incomparable 4
        deep: a b 1
        ");
        let text = generic(&stats(json!({"queue": {"p50": 1, "p99": 4.25}, "disk": {"p50": 7}})), &narrow);
        insta::assert_snapshot!(text, @r"
        ┌───────┬─────┬──────┐
        │       ┆ p50 ┆  p99 │
        ╞═══════╪═════╪══════╡
        │ queue ┆   1 ┆ 4.25 │
        │ disk  ┆   7 ┆    – │
        └───────┴─────┴──────┘
        ");
    }
}
