//! Putting the parts of a class together that were graded on different machines.

use std::path::{Path, PathBuf};

use super::journal::Known;
use super::plan::Bases;
use super::record::{Part, UnitRecord};
use super::rubric::Rubric;
use super::tree::{self, TreeError};

/// The class that `parts` are of, each an output folder and what is known there, and all that is known of it: as if it had been
/// graded in one go.
///
/// # Errors
/// Which part is missing, given twice, of another class or of another rubric.
pub fn together(rubric: &Rubric, parts: Vec<(PathBuf, Known)>) -> Result<(Vec<String>, Known), String> {
    let mut named = Vec::new();
    for (at, known) in &parts {
        match &known.part {
            Some(part) => named.push((at.as_path(), part)),
            None => return Err(format!("{}: no grading left its results there", at.display())),
        }
    }
    let submissions = agree(&named)?;
    let bases = Bases::of(rubric);
    let mut all =
        Known { part: Some(Part { which: 1, of: 1, submissions: submissions.clone() }), ..Known::default() };
    for (at, known) in parts {
        let asked = |unit: &UnitRecord| rubric.items.iter().any(|item| item.name == unit.unit.item);
        // Of items that the rubric had once nobody asks.
        let stranger = known.units.values().find(|unit| asked(unit) && !bases.still_hold(unit));
        if let Some(unit) = stranger {
            return Err(format!(
                "{}: {} {} was run under another rubric, another workload or another version of the harness",
                at.display(),
                unit.unit.submission,
                unit.unit.item
            ));
        }
        all.prepared.extend(known.prepared);
        all.units.extend(known.units);
    }
    Ok((submissions, all))
}

/// Copies a submission's runs into the merged folder; a part that has none has another's submissions.
///
/// # Errors
/// The file system says no.
pub fn take_runs(from: &Path, to: &Path) -> Result<(), TreeError> {
    if !from.is_dir() {
        return Ok(());
    }
    tree::copy(from, to, u64::MAX / 2)
}

/// The class that all parts are of; each part is there once.
fn agree(parts: &[(&Path, &Part)]) -> Result<Vec<String>, String> {
    let Some(((first_at, first), others)) = parts.split_first() else {
        return Err("there is nothing to merge".to_owned());
    };
    for (at, part) in others {
        let (one, other) = (first_at.display(), at.display());
        if part.submissions != first.submissions {
            let only_in_other = part.submissions.iter().find(|name| !first.submissions.contains(name));
            let only_in_one = first.submissions.iter().find(|name| !part.submissions.contains(name));
            let only = match (only_in_other, only_in_one) {
                (Some(name), _) => format!(": {name} is only in {other}"),
                (None, Some(name)) => format!(": {name} is only in {one}"),
                (None, None) => String::new(),
            };
            return Err(format!("{one} and {other} are parts of different classes{only}"));
        }
        if part.of != first.of {
            return Err(format!("{one} is one of {} parts, and {other} one of {}", first.of, part.of));
        }
    }
    let mut missing = Vec::new();
    for which in 1..=first.of {
        let mut here = parts.iter().filter(|(_, part)| part.which == which);
        match (here.next(), here.next()) {
            (None, _) => missing.push(format!("{which}/{}", first.of)),
            (Some((one, _)), Some((other, _))) => {
                let (one, other) = (one.display(), other.display());
                return Err(format!("part {which}/{} is given twice: {one} and {other}", first.of));
            }
            (Some(_), None) => {}
        }
    }
    match missing.as_slice() {
        [] => Ok(first.submissions.clone()),
        [one] => Err(format!("part {one} is missing")),
        many => Err(format!("parts {} are missing", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_to_fit_together() {
        let of = |which: usize, of: usize, names: &[&str]| Part {
            which,
            of,
            submissions: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let agree = |parts: &[Part]| {
            let paths: Vec<PathBuf> = (1..=parts.len()).map(|at| format!("out{at}").into()).collect();
            agree(&paths.iter().map(PathBuf::as_path).zip(parts).collect::<Vec<_>>())
        };
        let both = ["ada", "bob"];
        assert_eq!(agree(&[of(2, 2, &both), of(1, 2, &both)]).unwrap(), both);
        let error = |parts: &[Part]| agree(parts).unwrap_err();
        assert_eq!(error(&[of(1, 3, &both)]), "parts 2/3, 3/3 are missing");
        assert_eq!(error(&[of(1, 2, &both), of(1, 2, &both)]), "part 1/2 is given twice: out1 and out2");
        assert_eq!(error(&[of(1, 2, &both), of(2, 3, &both)]), "out1 is one of 2 parts, and out2 one of 3");
        assert_eq!(
            error(&[of(1, 2, &both), of(2, 2, &["ada"])]),
            "out1 and out2 are parts of different classes: bob is only in out1"
        );
        assert_eq!(
            error(&[of(1, 2, &["ada"]), of(2, 2, &both)]),
            "out1 and out2 are parts of different classes: bob is only in out2"
        );
        assert_eq!(error(&[]), "there is nothing to merge");
    }
}
