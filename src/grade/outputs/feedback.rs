//! `feedback.md`: what a student is told. Items the rubric hides are not in it.

use std::fmt::Write as _;

use super::word;
use crate::grade::journal::Known;
use crate::grade::record::{CheckMark, Found, Mark, UnitRecord};
use crate::grade::rubric::{Item, Rubric};
use crate::grade::score::{CheckScore, ItemScore, Scored, show};
use crate::report::markdown::{cell_of, fenced, plain};

/// The whole file.
pub fn render(rubric: &Rubric, scored: &Scored, known: &Known) -> String {
    let visible = |item: &&ItemScore| item.visible;
    let shown: Vec<&ItemScore> = scored.items.iter().filter(visible).collect();
    let (points, of) =
        shown.iter().map(|item| item.points()).fold((0.0, 0.0), |sum, item| (sum.0 + item.0, sum.1 + item.1));
    let mut out = format!("# {}: {}\n\n", plain(&rubric.name), plain(&scored.name));
    let _ = writeln!(out, "**{} of {} points.**\n", show(points), show(of));
    if let Some(why) = &scored.refused {
        let _ = writeln!(out, "It could not be graded: {}.\n", plain(why));
        let log =
            known.prepared.get(&scored.name).map(|prepared| prepared.log.join("\n")).unwrap_or_default();
        if !log.is_empty() {
            let _ = writeln!(out, "The last that was printed:\n\n{}\n", fenced(&log));
        }
        return out;
    }
    out.push_str("| what | check | points | how it went |\n|---|---|---|---|\n");
    for item in &shown {
        for check in &item.checks {
            let points = check.points.map_or("–".to_owned(), show);
            let _ = writeln!(
                out,
                "| {} | {} | {points} of {} | {} |",
                cell_of(&item.name),
                cell_of(&check.check),
                show(check.of),
                cell_of(&how(check))
            );
        }
    }
    for score in &shown {
        let Some(item) = rubric.items.iter().find(|item| item.name == score.name) else { continue };
        out.push_str(&of_item(item, score, &scored.name, known));
    }
    out
}

/// `failed 1 of 3 repeats (6–79% at 95% confidence)`
pub(super) fn how(check: &CheckScore) -> String {
    let decided = check.passed + check.failed;
    let mut text = match check.failed_share() {
        None => word(check).to_owned(),
        Some(_) if check.failed == 0 && decided == 1 => "passed".to_owned(),
        Some(_) if check.failed == 0 => format!("passed all {decided} repeats"),
        Some((_, low, high)) => {
            let percent = |share: f64| (share * 100.0).round();
            let repeats = if decided == 1 { "repeat" } else { "repeats" };
            let bounds = format!("{}–{}% at 95% confidence", percent(low), percent(high));
            match decided {
                1 => format!("failed the only {repeats}"),
                _ => format!("failed {} of {decided} {repeats} ({bounds})", check.failed),
            }
        }
    };
    if check.undecided > 0 {
        let _ = write!(text, ", {} not decided", check.undecided);
    }
    if check.missing > 0 {
        let _ = write!(text, ", {} not run yet", check.missing);
    }
    text
}

fn of_item(item: &Item, score: &ItemScore, submission: &str, known: &Known) -> String {
    let units: Vec<&UnitRecord> = known
        .units
        .values()
        .filter(|unit| unit.unit.submission == submission && unit.unit.item == item.name)
        .collect();
    let troubled = |check: &&CheckScore| check.failed > 0 || check.undecided > 0;
    let checks: Vec<&CheckScore> = score.checks.iter().filter(troubled).collect();
    if checks.is_empty() {
        return String::new();
    }
    let mut out = format!("\n## {}\n\n", plain(&item.name));
    if !item.about.is_empty() {
        let _ = writeln!(out, "{}\n", plain(&item.about));
    }
    let mut told = Vec::new();
    for check in checks {
        let marks = units
            .iter()
            .filter_map(|unit| Some((*unit, unit.checks.iter().find(|mark| mark.check == check.check)?)));
        // The one with the most to show.
        let worst = marks.filter(|(_, mark)| mark.mark != Mark::Passed).max_by_key(|(unit, mark)| {
            (mark.mark == Mark::Failed, !mark.found.is_empty(), std::cmp::Reverse(unit.unit.repeat))
        });
        let Some((unit, mark)) = worst else { continue };
        // What kept all checks of a run from being judged is told once.
        let same = mark.found.is_empty().then(|| mark.why.clone());
        if same.as_ref().is_some_and(|why| told.contains(why)) {
            continue;
        }
        told.extend(same);
        out.push_str(&of_check(unit, mark));
    }
    out
}

fn of_check(unit: &UnitRecord, mark: &CheckMark) -> String {
    // What kept a run from being judged is about all of its checks.
    let title = if mark.found.is_empty() { "Nothing to judge".to_owned() } else { plain(&mark.check) };
    let mut out = format!("### {title}\n\n");
    if mark.mark == Mark::Undecided {
        let _ = writeln!(out, "Not decided, which costs nothing: {}.\n", plain(&mark.why));
    } else if mark.found.is_empty() {
        let _ = writeln!(out, "{}.\n", plain(&capital(&mark.why)));
    }
    for found in &mark.found {
        out.push_str(&of_found(found));
    }
    if mark.found.is_empty() && !unit.log.is_empty() {
        let _ = writeln!(out, "The last lines of its log:\n\n{}\n", fenced(&unit.log.join("\n")));
    }
    if !unit.rerun.is_empty() {
        let _ = writeln!(
            out,
            "To see it yourself (repeat {}), in the folder of your submission:\n\n{}\n",
            unit.unit.repeat,
            fenced(&unit.rerun)
        );
    }
    if !unit.folder.is_empty() {
        let _ = writeln!(out, "All of that run: `{}`\n", unit.folder.replace('`', "'"));
    }
    out
}

fn of_found(found: &Found) -> String {
    let mut out = format!("**{}**: {}\n\n", plain(&found.kind), plain(&found.story));
    if !found.proof.is_empty() {
        let _ = writeln!(out, "The operations that prove it:\n\n{}\n", fenced(&found.proof.join("\n")));
    }
    if !found.faults.is_empty() {
        let _ = writeln!(out, "Meanwhile: {}.\n", plain(&found.faults.join("; ")));
    }
    if !found.cause.is_empty() {
        let _ = writeln!(out, "Where to look first: {}\n", plain(&found.cause));
    }
    out
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
