//! Histories that our own runs recorded: every check there is, with nodes, versions and faults.

use std::io::BufReader;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::foreign::Foreign;
use super::{Args, Input, Judged};
use crate::check::models::Model;
use crate::check::plain::{self, Proof, Question};
use crate::check::{self, CHECKS, CheckMode, CheckResult, OF_OBJECTS, Understood, Verdict, Violation};
use crate::history::calls::Calls;
use crate::history::import::Format;
use crate::history::{Durability, History, Value, reader};
use crate::report::style::{Paint, Style};
use crate::report::{Checked, Results, RunFacts, plain as shown, table};

/// How many violations of one check are drawn.
const DRAWN: usize = 3;

/// Judges one file. What is asked of a model goes through the operations alone; the rich history is read only where a
/// check needs it.
///
/// # Errors
/// For people, with the file's name.
pub(super) fn judge(args: &Args, file: &Input) -> Result<Judged, String> {
    let style = Style::stdout();
    let modelled = args.model.is_some() || args.initial.is_some();
    let (of_operations, of_history): (Vec<String>, Vec<String>) = args
        .check
        .iter()
        .cloned()
        .partition(|name| plain::find(name).is_some() && (modelled || check::find(name).is_none()));
    if modelled && of_operations.is_empty() && !args.ladder {
        return Err(format!(
            "{}: --model and --initial are for checks of operations: name one with --check, or add --ladder",
            file.name().display()
        ));
    }
    let mut judged =
        Judged { verdict: Verdict::Valid, text: String::new(), checks: Vec::new(), more: Map::new() };
    if args.check.is_empty() || !of_history.is_empty() {
        on_history(args, file, &of_history, &mut judged, &style)?;
    }
    if of_operations.is_empty() && !args.ladder {
        return Ok(judged);
    }
    let foreign = Foreign::read(args, file, Some(Format::Jsonl))?;
    match judged.text.is_empty() {
        true => judged.text = foreign.head(file.name(), &style),
        false => judged.text.push_str(&format!("\n{}", foreign.model_line(&style))),
    }
    judged.more = foreign.facts();
    foreign.add_checks(&of_operations, &mut judged, &style)?;
    if args.ladder {
        foreign.add_ladder(&mut judged, &style)?;
    }
    Ok(judged)
}

fn on_history(
    args: &Args,
    file: &Input,
    names: &[String],
    judged: &mut Judged,
    style: &Style,
) -> Result<(), String> {
    let content = BufReader::with_capacity(1 << 18, file.read()?);
    let mut history = reader::read_from(content, file.name()).map_err(|error| error.to_string())?;
    if let Some(durability) = &args.durability {
        history.contract.durability = named_durability(durability);
    }
    let checked = run(plan(names, &history), &history);
    let verdicts = checked.iter().map(|(_, mode, result)| as_taken(*mode, result.verdict));
    judged.verdict = verdicts.max().unwrap_or(Verdict::Unknown);
    judged.checks = checked.iter().map(check_json).collect();
    let pictures = pictures(&history, &checked, style);
    judged.text = show_text(file.name(), &history, checked, style) + &pictures;
    Ok(())
}

/// The verdict as the run takes it.
fn as_taken(mode: CheckMode, verdict: Verdict) -> Verdict {
    match (mode, verdict) {
        (CheckMode::Required, verdict) => verdict,
        (CheckMode::Reported, _) => Verdict::Valid,
        (CheckMode::ExpectedToFail, Verdict::Invalid) => Verdict::Valid,
        (CheckMode::ExpectedToFail, Verdict::Valid) => Verdict::Invalid,
        (CheckMode::ExpectedToFail, Verdict::Unknown) => Verdict::Unknown,
    }
}

fn named_durability(name: &str) -> Durability {
    match name {
        "memory" => Durability::Memory,
        "replicated" => Durability::Replicated,
        _ => Durability::Disk,
    }
}

fn plan(names: &[String], history: &History) -> Vec<(String, CheckMode)> {
    if !names.is_empty() {
        return names.iter().map(|name| (name.clone(), CheckMode::Required)).collect();
    }
    if !history.asked.is_empty() {
        let mode = |mode: &str| match mode {
            "reported" => CheckMode::Reported,
            "expected-to-fail" => CheckMode::ExpectedToFail,
            _ => CheckMode::Required,
        };
        let mut asked: Vec<_> = history.asked.iter().map(|(name, text)| (name.clone(), mode(text))).collect();
        // A JSON object has no order.
        asked.sort_by_key(|(name, _)| check::all().position(|check| check.name() == name.as_str()));
        return asked;
    }
    let mode = |name| match name {
        "staleness" | "availability" => CheckMode::Reported,
        _ => CheckMode::Required,
    };
    // Nobody asked: what is promised only by a store with quorums and leaders is not asked of one without.
    let fits = |name: &str| match name {
        "quorum" => history.contract.write_quorum.is_some(),
        "leader" => history.ops.iter().any(|op| op.claim.as_ref().is_some_and(|claim| claim.role.is_some())),
        "lww" => history.contract.write_quorum.is_none(),
        _ => true,
    };
    let fitting = CHECKS.iter().map(|check| check.name()).filter(|name| fits(name));
    fitting.map(|name| (name.to_owned(), mode(name))).collect()
}

/// What the checks that a history was recorded for say of it; where it does not tell, all that fit it.
pub(in crate::cli) fn checks_of(history: &History) -> Vec<Checked> {
    run(plan(&[], history), history)
}

fn run(plan: Vec<(String, CheckMode)>, history: &History) -> Vec<Checked> {
    let understood = Understood::new(history);
    let result = |name: &str| match check::find(name) {
        Some(check) => understood.judge(check),
        None => CheckResult::unknown("this version of the harness has no such check"),
    };
    plan.into_iter().map(|(name, mode)| (name.clone(), mode, result(&name))).collect()
}

fn show_text(file: &Path, history: &History, checked: Vec<Checked>, style: &Style) -> String {
    let torn = if history.torn { "; the last line is torn and was left out" } else { "" };
    let durability = serde_json::to_value(history.contract.durability).unwrap_or(Json::Null);
    let durability = durability.as_str().unwrap_or_default();
    let results = Results::build(history, checked, RunFacts::default());
    // The load, as the run counted it; what the harness itself looked at beside it is told apart.
    let load = results.load.ok + results.load.fail + results.load.info;
    let own = (history.ops.len() as u64).saturating_sub(load);
    let own = if own > 0 { format!(" and {own} of the harness's own") } else { String::new() };
    let text = format!("{}: {load} operations{own}, durability {durability}{torn}\n", file.display());
    text + &table::render_checks(&results, style)
}

/// Violations that operations alone prove, drawn.
fn pictures(history: &History, checked: &[Checked], style: &Style) -> String {
    let of_objects = |name: &str| OF_OBJECTS.iter().any(|check| check.name() == name);
    let mut found =
        checked.iter().filter(|(name, _, result)| of_objects(name) && !result.violations.is_empty());
    let mut out = String::new();
    let Some(first) = found.next() else { return out };
    let Some(calls) = Calls::from_history(history) else { return out };
    let question = Question { model: Model::infer(&calls).ok(), ..Question::default() };
    for (name, _, result) in std::iter::once(first).chain(found) {
        for violation in result.violations.iter().take(DRAWN) {
            let Some(proof) = proof(&calls, violation) else { continue };
            let key = violation.key.as_ref().map(|key| format!(" of {key}")).unwrap_or_default();
            let title = style.text(&format!("{name}: {}{key}", violation.kind));
            out.push_str(&format!("\n{}\n", style.paint(Paint::Strong, &title)));
            out.push_str(&shown::drawn(&calls, &question, &proof, style));
        }
    }
    out
}

/// A violation's operations as calls; `None` where one of them is not among the calls.
fn proof(calls: &Calls, violation: &Violation) -> Option<Proof> {
    let call = |index: &u64| {
        let position = u32::try_from(*index).ok()?;
        calls.calls.binary_search_by_key(&position, |call| call.invoke).ok().map(|at| at as u32)
    };
    Some(Proof {
        kind: violation.kind,
        key: violation.key.as_deref().map_or(Value::Nil, |key| Value::Text(key.into())),
        ops: violation.ops.iter().map(call).collect::<Option<_>>()?,
        // The violation does not say; nothing that is drawn depends on it.
        minimal: false,
        context: Vec::new(),
        states: Vec::new(),
        story: String::new(),
        cause: String::new(),
    })
}

fn check_json((name, mode, result): &Checked) -> Json {
    json!({
        "name": name,
        "mode": mode,
        "verdict": result.verdict,
        "reason": result.reason,
        "evidence": result.evidence,
        "violations": result.violations,
        "violations_total": result.violations_total,
        "excused": result.excused,
        "stats": result.stats,
    })
}
