//! What a grading leaves, one file a format.
//!
//! What is about the class as a whole (`grades.csv`, `grades.json`, `index.html`, `junit.xml`, `classroom/`) holds nothing that
//! differs between two gradings with the same marks: no times, no load of the machine (that is in `machine.csv`), no folder with a date. So however
//! the work was spread, the bytes are the same. What a student reads (`submissions/NAME/feedback.md`, `gradescope/`) shows what one
//! run found.

mod classroom;
mod csv;
mod feedback;
mod gradescope;
mod json;
mod junit;
mod machine;
mod page;
mod table;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use csv::render as csv;
pub use gradescope::render as gradescope;
pub use json::render as json;
pub use machine::summary as machine;
pub use table::render as table;

use super::journal::Known;
use super::rubric::Rubric;
use super::score::{Class, Scored, score};

/// Why an output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct OutputError {
    /// Where.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// Where a submission's own files are, below the output folder.
pub fn folder_of(out: &Path, submission: &str) -> PathBuf {
    out.join("submissions").join(submission)
}

/// Writes everything there is to say of `submissions` into `out`, each file whole or not at all.
///
/// # Errors
/// The first file that could not be written.
pub fn write_all(
    rubric: &Rubric,
    submissions: &[String],
    known: &Known,
    out: &Path,
) -> Result<Class, OutputError> {
    let class = score(rubric, submissions, known);
    for scored in &class.submissions {
        write_one(rubric, scored, known, out)?;
    }
    write(&out.join("grades.csv"), &csv(rubric, &class))?;
    write(&out.join("grades.json"), &json(rubric, &class))?;
    write(&out.join("junit.xml"), &junit::render(rubric, &class))?;
    write(&out.join("machine.csv"), &machine::render(known))?;
    write(&out.join("index.html"), &page::render(rubric, &class))?;
    Ok(class)
}

/// Writes what is about one submission alone: partial results, while the class is still being graded.
///
/// # Errors
/// The first file that could not be written.
pub fn write_one(rubric: &Rubric, scored: &Scored, known: &Known, out: &Path) -> Result<(), OutputError> {
    let name = &scored.name;
    write(&folder_of(out, name).join("feedback.md"), &feedback::render(rubric, scored, known))?;
    write(&out.join("gradescope").join(format!("{name}.json")), &gradescope(rubric, scored, known))?;
    write(&out.join("classroom").join(format!("{name}.json")), &classroom::render(rubric, scored))
}

fn write(path: &Path, text: &str) -> Result<(), OutputError> {
    let done = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Whoever reads while it is written sees the old file.
        let mut unfinished = path.to_owned().into_os_string();
        unfinished.push(".part");
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&unfinished, path)
    };
    done().map_err(|source| OutputError { path: path.to_owned(), source })
}

/// How a check of a submission stands, in a word.
fn word(score: &super::score::CheckScore) -> &'static str {
    match (score.points, score.failed) {
        (None, _) if score.missing > 0 && score.undecided == 0 => "not run",
        (None, _) => "review",
        (Some(_), 0) => "passed",
        (Some(_), failed) if failed < score.passed + failed => "partly failed",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests;
