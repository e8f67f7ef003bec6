//! The table of `harness selftest`: which shipped workload finds which bundled bug with which check.
//!
//! Three forms of the same rows: a table for the terminal, JSON, and Markdown for the README, where it stands between
//! two markers so that a test can tell whether it is still true of the bugs there are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::style::{Paint, Style};

/// Line before the table in the README.
pub const BEGIN: &str = "<!-- selftest:begin -->";
/// Line after the table in the README.
pub const END: &str = "<!-- selftest:end -->";

/// One bug, or the correct node, under one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelftestRow {
    /// The system: `lww`.
    pub system: String,
    /// The bug; `None`: the correct node, with which nothing may be found.
    pub bug: Option<String>,
    /// The workload's name.
    pub workload: String,
    /// How many runs there were.
    pub runs: u64,
    /// In how many of them a required check proved a violation.
    pub found: u64,
    /// Each check that proved one, with the number of runs in which it did.
    pub checks: BTreeMap<String, u64>,
    /// Seeds of the runs that did not come out as they should: a bug that was missed, a correct node that was blamed, a
    /// run that could not be decided.
    pub missed: Vec<u64>,
}

impl SelftestRow {
    /// Whether every run came out as it should.
    pub fn passed(&self) -> bool {
        let expected = if self.bug.is_some() { self.runs } else { 0 };
        self.runs > 0 && self.missed.is_empty() && self.found == expected
    }

    fn checks(&self) -> String {
        let mut checks: Vec<(&String, &u64)> = self.checks.iter().collect();
        checks.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
        checks.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }
}

/// As JSON text, ending in a newline: `{"schema": 1, "passed": …, "rows": […]}`.
pub fn to_json(rows: &[SelftestRow]) -> String {
    let json = serde_json::json!({
        "schema": super::results::SCHEMA,
        "passed": rows.iter().all(SelftestRow::passed),
        "rows": rows,
    });
    format!("{json:#}\n")
}

/// For people, ending in a newline.
pub fn render(rows: &[SelftestRow], style: &Style) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let verdict = if row.passed() { "ok" } else { "MISSED" };
            let bug = match &row.bug {
                Some(bug) => format!("{}: {bug}", row.system),
                None => format!("{}, correct", row.system),
            };
            let mut checks = row.checks();
            if !row.missed.is_empty() {
                let seeds: Vec<String> = row.missed.iter().map(u64::to_string).collect();
                let _ = write!(
                    checks,
                    "{}wrong with seed {}",
                    if checks.is_empty() { "" } else { "; " },
                    seeds.join(", ")
                );
            }
            vec![verdict.into(), bug, row.workload.clone(), format!("{}/{}", row.found, row.runs), checks]
        })
        .collect();
    let table = style.table(&["", "bug", "workload", "found", "checks"], &cells, |column, text| {
        match (column, text) {
            (0, "ok") => Some(Paint::Good),
            (0, "MISSED") => Some(Paint::Bad),
            _ => None,
        }
    });
    let wrong = rows.iter().filter(|row| !row.passed()).count();
    let sentence = match (rows.len(), wrong) {
        (0, _) => "nothing was run".to_owned(),
        (_, 0) => "every bug was found in every run, and no correct node was blamed".to_owned(),
        (all, wrong) => format!("{wrong} of {all} rows are not as they should be"),
    };
    let paint = if wrong == 0 && !rows.is_empty() { Paint::Good } else { Paint::Bad };
    format!("{table}\n{}\n", style.paint(paint, &sentence))
}

/// As a Markdown table, ending in a newline.
pub fn markdown(rows: &[SelftestRow]) -> String {
    let mut out =
        String::from("| system | bug | workload | found | by check (runs) |\n|---|---|---|---|---|\n");
    for row in rows {
        let bug = match &row.bug {
            Some(bug) => format!("`{bug}`"),
            None => "none (the correct node)".to_owned(),
        };
        let checks = if row.checks.is_empty() { "–".to_owned() } else { row.checks() };
        let _ = writeln!(
            out,
            "| {} | {bug} | {} | {}/{} | {checks} |",
            row.system, row.workload, row.found, row.runs
        );
    }
    out
}

/// Why a README has no place for the table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkerError {
    /// A marker is not there.
    #[error("there is no line \"{0}\"")]
    Missing(&'static str),
    /// A marker is there more than once, or the end comes before the beginning.
    #[error("\"{BEGIN}\" and \"{END}\" must each be there once, in this order")]
    Order,
}

/// Where the table stands in a README.
fn place(readme: &str) -> Result<Range<usize>, MarkerError> {
    let once = |marker: &'static str| {
        let at = readme.find(marker).ok_or(MarkerError::Missing(marker))?;
        if readme.matches(marker).count() > 1 { Err(MarkerError::Order) } else { Ok(at) }
    };
    let (begin, end) = (once(BEGIN)? + BEGIN.len(), once(END)?);
    if begin <= end { Ok(begin..end) } else { Err(MarkerError::Order) }
}

/// The README with the table for `rows` between the markers.
///
/// # Errors
/// When the markers are not there.
pub fn splice(readme: &str, rows: &[SelftestRow]) -> Result<String, MarkerError> {
    let place = place(readme)?;
    Ok(format!("{}\n{}{}", &readme[..place.start], markdown(rows), &readme[place.end..]))
}

/// The (system, bug) pairs that the README's table names, for the test that keeps it true. The correct node is not
/// among them.
///
/// # Errors
/// When the markers are not there.
pub fn bugs_in(readme: &str) -> Result<Vec<(String, String)>, MarkerError> {
    let table = &readme[place(readme)?];
    let bug = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let system = cells.next()?;
        let bug = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((system.to_owned(), bug.to_owned()))
    };
    Ok(table.lines().filter_map(bug).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<SelftestRow> {
        let row =
            |bug: Option<&str>, workload: &str, found, checks: &[(&str, u64)], missed: &[u64]| SelftestRow {
                system: "lww".into(),
                bug: bug.map(str::to_owned),
                workload: workload.into(),
                runs: 3,
                found,
                checks: checks.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
                missed: missed.to_vec(),
            };
        vec![
            row(None, "outage", 0, &[], &[]),
            row(Some("no-catch-up"), "outage", 3, &[("convergence", 3), ("durability", 1)], &[]),
            row(Some("racy-tick"), "concurrent", 2, &[("lww", 2)], &[44]),
        ]
    }

    #[test]
    fn the_table_in_three_forms() {
        insta::assert_snapshot!(render(&rows(), &Style::PLAIN), @r"
    ┌────────┬──────────────────┬────────────┬───────┬─────────────────────────────┐
    │        ┆ bug              ┆ workload   ┆ found ┆ checks                      │
    ╞════════╪══════════════════╪════════════╪═══════╪═════════════════════════════╡
    │ ok     ┆ lww, correct     ┆ outage     ┆ 0/3   ┆                             │
    │ ok     ┆ lww: no-catch-up ┆ outage     ┆ 3/3   ┆ convergence 3, durability 1 │
    │ MISSED ┆ lww: racy-tick   ┆ concurrent ┆ 2/3   ┆ lww 2; wrong with seed 44   │
    └────────┴──────────────────┴────────────┴───────┴─────────────────────────────┘
    1 of 3 rows are not as they should be
    ");
        insta::assert_snapshot!(markdown(&rows()), @r"
    | system | bug | workload | found | by check (runs) |
    |---|---|---|---|---|
    | lww | none (the correct node) | outage | 0/3 | – |
    | lww | `no-catch-up` | outage | 3/3 | convergence 3, durability 1 |
    | lww | `racy-tick` | concurrent | 2/3 | lww 2 |
    ");
        let json: serde_json::Value = serde_json::from_str(&to_json(&rows())).unwrap();
        assert_eq!(json["passed"], false);
        assert_eq!(json["rows"][2]["missed"], serde_json::json!([44]));
        let back: Vec<SelftestRow> = serde_json::from_value(json["rows"].clone()).unwrap();
        assert_eq!(back, rows());
    }

    #[test]
    fn what_counts_as_passed() {
        let passed: Vec<bool> = rows().iter().map(SelftestRow::passed).collect();
        assert_eq!(passed, [true, true, false]);
        let mut blamed = rows().remove(0);
        blamed.found = 1;
        assert!(!blamed.passed());
        let none = SelftestRow { runs: 0, found: 0, ..rows().remove(1) };
        assert!(!none.passed(), "a bug that was never run was never found");
    }

    #[test]
    fn the_readme_is_spliced_between_the_markers_again_and_again() {
        let readme = format!("# H\n\n{BEGIN}\nold\n{END}\n\nmore\n");
        let once = splice(&readme, &rows()).unwrap();
        assert!(once.starts_with(&format!("# H\n\n{BEGIN}\n| system")), "{once}");
        assert!(once.ends_with(&format!("|\n{END}\n\nmore\n")), "{once}");
        assert!(!once.contains("old"));
        assert_eq!(splice(&once, &rows()).unwrap(), once);
        let pair = |bug: &str| ("lww".to_owned(), bug.to_owned());
        assert_eq!(bugs_in(&once).unwrap(), [pair("no-catch-up"), pair("racy-tick")]);
    }

    #[test]
    fn markers_must_be_there_once_and_in_order() {
        assert_eq!(splice("none", &[]), Err(MarkerError::Missing(BEGIN)));
        assert_eq!(splice(BEGIN, &[]), Err(MarkerError::Missing(END)));
        assert_eq!(splice(&format!("{END}\n{BEGIN}"), &[]), Err(MarkerError::Order));
        assert_eq!(splice(&format!("{BEGIN}{BEGIN}{END}"), &[]), Err(MarkerError::Order));
    }
}
