//! A class whose runs are made by a stand-in for the harness: what is run again, beside what, and what is kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::grade::discover;
use crate::grade::parse;
use crate::grade::record::Mark;

const RUBRIC: &str = r#"
name = "small"
[submission]
node = "{{ harness }} {{ dir }}"
[[item]]
name = "one"
workload = "workloads/outage.toml"
checks = { convergence = 1 }
[[item]]
name = "two"
workload = "workloads/lab2/outage.toml"
checks = { convergence = 1 }
"#;

/// Plays `harness run`: notes when it begins and ends, and what the submission's `behaviour` is told to it does in its first
/// attempts.
const PLAY: &str = r#"#!/bin/sh
dir=; results=
while [ $# -gt 0 ]; do
    case $1 in
        cluster.copy=*) dir=${1#cluster.copy=?}; dir=${dir%?} ;;
        --results) results=$2; shift ;;
    esac
    shift
done
log=LOG
folder=$(dirname "$results")
name=$(basename "$(dirname "$(dirname "$folder")")")-$(basename "$folder")
echo "begin $name" >> "$log"
count=$(grep -c "^begin $name\$" "$log")
verdict=valid; failures='[]'; extra=
. "$dir/behaviour"
cat <<END
{"schema":1,"workload":"w","seed":1,"verdict":"valid","exit_code":0,"started":"","duration_ms":1,
 "checks":[{"name":"convergence","mode":"required","verdict":"$verdict","evidence":{},"violations":[],"violations_total":1,"excused":0}],
 "faults":[],"nodes":[],"load":{"asked_rate":1,"achieved_rate":1,"ok":9,"fail":0,"info":0},"failures":$failures}
END
echo "end $name" >> "$log"
"#;

struct Lab {
    root: tempfile::TempDir,
    rubric: Rubric,
}

/// What is known in the end, and how many units were when it began.
struct Done {
    units: Vec<UnitRecord>,
    kept: usize,
    interrupted: bool,
}

impl Done {
    fn undecided(&self) -> usize {
        self.units.iter().filter(|unit| unit.checks[0].mark == Mark::Undecided).count()
    }
}

impl Lab {
    fn new(submissions: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let here = env!("CARGO_MANIFEST_DIR");
        let text = RUBRIC.replace("workloads/", &format!("{here}/workloads/"));
        let path = root.path().join("rubric.toml");
        fs::write(&path, text).unwrap();
        let rubric = parse::read(&path).unwrap_or_else(|error| panic!("{error}"));
        for (name, behaviour) in submissions {
            let folder = root.path().join("class").join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("behaviour"), behaviour).unwrap();
        }
        let log = root.path().join("log");
        fs::write(&log, "").unwrap();
        let program = root.path().join("play");
        fs::write(&program, PLAY.replace("LOG", &log.display().to_string())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(root.path().join("out")).unwrap();
        Lab { root, rubric }
    }

    fn grade(&self, jobs: usize, stop: &(dyn Fn() -> bool + Sync)) -> Done {
        let out = self.root.path().join("out");
        let kept = AtomicUsize::new(0);
        let grading = Grading {
            rubric: &self.rubric,
            part: Part { which: 1, of: 1, submissions: Vec::new() },
            submissions: &discover::discover(&self.root.path().join("class")).unwrap(),
            out: &out,
            jobs,
            own_network: false,
            isolation: "none",
            walls: Walls { isolation: None, hidden: &[] },
            harness: &self.root.path().join("play"),
            stop,
            tell: &|event| {
                if let Event::Counted(known, _) = event {
                    kept.store(*known, Ordering::Relaxed);
                }
            },
        };
        let class = grade(&grading).unwrap_or_else(|error| panic!("{error}"));
        let known = Known::read(&out.join(crate::grade::journal::JOURNAL)).unwrap();
        let units = known.units.into_values().collect();
        Done { units, kept: kept.into_inner(), interrupted: class.is_none() }
    }

    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.path().join("log")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// How often each run was begun.
    fn begun(&self, name: &str) -> usize {
        self.log().iter().filter(|line| **line == format!("begin {name}")).count()
    }
}

fn attempts(done: &Done, submission: &str, item: &str) -> (u32, Mark) {
    let is = |unit: &&UnitRecord| unit.unit.submission == submission && unit.unit.item == item;
    let unit = done.units.iter().find(is).unwrap_or_else(|| panic!("no {submission} {item}"));
    (unit.attempts, unit.checks[0].mark)
}

const HARNESS_FAILS: &str = r#"failures='[{"what":"no port"}]'"#;

#[test]
fn what_failed_for_the_harness_is_run_again_and_alone() {
    let once = format!("[ $count -gt 1 ] || {HARNESS_FAILS}");
    // The others are at work for long enough to be seen beside it, were they let.
    let slow = "sleep 0.2";
    let lab = Lab::new(&[
        ("ada", &once),
        ("bob", HARNESS_FAILS),
        ("cy", slow),
        ("dee", slow),
        ("eve", "kill -9 $$"),
    ]);
    let done = lab.grade(3, &|| false);
    assert_eq!(attempts(&done, "ada", "one"), (2, Mark::Passed));
    assert_eq!(attempts(&done, "bob", "one"), (3, Mark::Undecided));
    assert_eq!(attempts(&done, "cy", "two"), (1, Mark::Passed));
    assert_eq!(attempts(&done, "eve", "two"), (3, Mark::Undecided));
    assert_eq!((done.undecided(), done.units.len(), done.kept), (4, 10, 0));
    // While a second attempt is under way nothing else begins or ends.
    let log = lab.log();
    let mut seen: Vec<&str> = Vec::new();
    for (at, line) in log.iter().enumerate() {
        let name = line.split_once(' ').unwrap().1;
        // eve's stand-in does not live to write its end.
        if line.starts_with("begin") && seen.contains(&name) && !name.starts_with("eve") {
            assert_eq!(log.get(at + 1), Some(&format!("end {name}")), "{log:?}");
        }
        seen.push(name);
    }
    // Asked again, those that nobody could decide are tried again, and no others.
    let done = lab.grade(3, &|| false);
    assert_eq!((done.kept, done.undecided()), (6, 4));
    assert_eq!((lab.begun("bob-one-1"), lab.begun("ada-one-1"), lab.begun("cy-one-1")), (6, 2, 1));
}

#[test]
fn a_submission_that_was_handed_in_anew_is_graded_anew() {
    let lab = Lab::new(&[("ada", ""), ("bob", "")]);
    assert_eq!(lab.grade(1, &|| false).kept, 0);
    fs::write(lab.root.path().join("class/ada/behaviour"), "verdict=invalid").unwrap();
    fs::create_dir(lab.root.path().join("class/cy")).unwrap();
    fs::write(lab.root.path().join("class/cy/behaviour"), "").unwrap();
    let done = lab.grade(1, &|| false);
    assert_eq!(done.kept, 2);
    assert_eq!(attempts(&done, "ada", "one"), (1, Mark::Failed));
    assert_eq!(attempts(&done, "bob", "one"), (1, Mark::Passed));
    assert_eq!((lab.begun("ada-one-1"), lab.begun("bob-one-1"), lab.begun("cy-one-1")), (2, 1, 1));
}

#[test]
fn an_interrupted_unit_is_not_known() {
    let lab = Lab::new(&[("ada", ""), ("bob", "exec sleep 300")]);
    let looks = AtomicUsize::new(0);
    let bob_runs = || lab.begun("bob-one-1") == 1 && looks.fetch_add(1, Ordering::Relaxed) > 0;
    let done = lab.grade(1, &bob_runs);
    assert!(done.interrupted);
    assert_eq!((done.units.len(), done.undecided()), (2, 0));
}
