//! The runs of a matrix: one workload under every combination of some variables, compared.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use figures::{Age, CellFigures, Gathering, Latency, Stale, Writes};

use super::repeat::{RepeatCheck, RepeatRun, RepeatSummary, rank};
use super::results::SCHEMA;
use super::verdict::EXIT_VALID;
use crate::check::Verdict;

mod figures;
mod table;
#[cfg(test)]
mod tests;

/// What the runs of a matrix came to. Its JSON is `matrix.json`, beside the runs' folders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatrixSummary {
    /// The schema number, as of `results.json`.
    pub schema: u64,
    /// The workload's name.
    pub workload: String,
    /// The worst verdict: invalid, then unknown, then valid.
    pub verdict: Verdict,
    /// The exit code of the whole: 1 before 4 before 3 before 0.
    pub exit_code: u8,
    /// The variables, in the workload's order.
    pub axes: Vec<MatrixAxis>,
    /// The cells that were run, in the order they were run.
    pub cells: Vec<MatrixCell>,
}

/// A variable and the values it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatrixAxis {
    /// The variable.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
}

/// One combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatrixCell {
    /// The value of each axis.
    pub cell: BTreeMap<String, String>,
    /// The worst verdict of its runs.
    pub verdict: Verdict,
    /// The exit code of its runs together.
    pub exit_code: u8,
    /// Its runs, in the order they ran.
    pub runs: Vec<RepeatRun>,
    /// What each check said over its runs.
    pub checks: Vec<RepeatCheck>,
    /// What is compared.
    pub figures: CellFigures,
}

impl MatrixCell {
    /// Of the runs of one cell.
    pub fn new(cell: BTreeMap<String, String>, runs: RepeatSummary, figures: CellFigures) -> Self {
        let RepeatSummary { verdict, exit_code, runs, checks, .. } = runs;
        MatrixCell { cell, verdict, exit_code, runs, checks, figures }
    }
}

impl MatrixSummary {
    /// No runs yet.
    pub fn new(workload: &str, axes: Vec<MatrixAxis>) -> Self {
        MatrixSummary {
            schema: SCHEMA,
            workload: workload.to_owned(),
            verdict: Verdict::Valid,
            exit_code: EXIT_VALID,
            axes,
            cells: Vec::new(),
        }
    }

    /// Takes in one more cell.
    pub fn push(&mut self, cell: MatrixCell) {
        self.verdict = self.verdict.max(cell.verdict);
        if rank(cell.exit_code) > rank(self.exit_code) {
            self.exit_code = cell.exit_code;
        }
        self.cells.push(cell);
    }

    /// As JSON text, indented, ending in a newline.
    pub fn to_json(&self) -> String {
        // Every key is a string and every number is finite, so this cannot fail.
        let mut text = serde_json::to_string_pretty(self).expect("plain data is JSON");
        text.push('\n');
        text
    }

    /// Writes `matrix.json` so that a reader sees the whole file or none of it.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("json.part");
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(self.to_json().as_bytes())?;
        drop(file);
        fs::rename(&unfinished, path)
    }
}
