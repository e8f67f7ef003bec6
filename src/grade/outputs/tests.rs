use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::grade::record::{CheckMark, Found, Mark, Prepared, Record, UnitId, UnitRecord};
use crate::grade::rubric::{CheckPoints, Credit, Item, SubmissionRules};

/// Names as people hand them in: a formula, a tag, the end of a CDATA section, a pipe, and quotes.
const HOSTILE: &str = "=cmd|'<script>]]>\"";

fn rubric() -> Rubric {
    let check = |check: &str, points| CheckPoints { check: check.to_owned(), points };
    let item = |name: &str, visible, checks| Item {
        name: name.to_owned(),
        about: "A replica is killed, and comes back.".into(),
        workload: "/labs/outage.toml".into(),
        repeats: 2,
        timeout: Duration::from_secs(60),
        fixed_ports: false,
        protocol: None,
        set: Vec::new(),
        vars: Vec::new(),
        checks,
        credit: Credit::Share,
        visible,
    };
    let items = vec![
        item("outage", true, vec![check("convergence", 10.0), check("lww", 2.5)]),
        item("secret", false, vec![check("convergence", 5.0)]),
    ];
    let submission = SubmissionRules {
        node: "python3 {{ dir }}/node.py".into(),
        requires: Vec::new(),
        build: None,
        build_timeout: Duration::from_secs(60),
        env: BTreeMap::new(),
        limits: Vec::new(),
        max_size: 1 << 20,
    };
    Rubric { name: "Lab <2>".into(), about: "Replicas & clocks".into(), seed: 7, submission, items }
}

fn mark(check: &str, mark: Mark, why: &str, found: &[&str]) -> CheckMark {
    let found = found.iter().map(|story| Found {
        kind: "diverged".into(),
        story: (*story).to_owned(),
        cause: "B never asked.".into(),
        proof: vec!["p0 A  write k=1  ok".into(), "``` p1 B  read k=0 <b>".into()],
        faults: vec!["kill B 3.0–7.0 s".into()],
    });
    CheckMark { check: check.to_owned(), mark, why: why.to_owned(), found: found.collect() }
}

fn unit(submission: &str, item: &str, repeat: u32, checks: Vec<CheckMark>) -> Record {
    Record::Unit(UnitRecord {
        unit: UnitId { submission: submission.to_owned(), item: item.to_owned(), repeat },
        checks,
        log: vec!["Traceback:".into(), "  <oops>".into()],
        folder: "runs/outage-1/x".into(),
        rerun: "harness run outage.toml --seed 5".into(),
        duration_ms: u64::from(repeat) * 1234,
        ..UnitRecord::default()
    })
}

/// Ann is good, one with a hostile name fails half, Max cannot be built, Zoe was not decided.
fn class() -> (Rubric, Vec<String>, Known) {
    use Mark::{Failed, Passed, Undecided};
    let mut known = Known::default();
    for repeat in 1..=2 {
        known.learn(unit(
            "ann",
            "outage",
            repeat,
            vec![mark("convergence", Passed, "", &[]), mark("lww", Passed, "", &[])],
        ));
        known.learn(unit("ann", "secret", repeat, vec![mark("convergence", Passed, "", &[])]));
        let half = if repeat == 1 {
            mark("convergence", Failed, "violated", &["A holds *1*, B holds |0|\nunder k"])
        } else {
            mark("convergence", Passed, "", &[])
        };
        known.learn(unit(
            HOSTILE,
            "outage",
            repeat,
            vec![half, mark("lww", Failed, "node A ended with exit code 1 at 0.1 s", &[])],
        ));
        known.learn(unit(
            HOSTILE,
            "secret",
            repeat,
            vec![mark("convergence", Failed, "violated", &["nobody may read this"])],
        ));
        known.learn(unit(
            "zoe",
            "outage",
            repeat,
            vec![
                mark("convergence", Undecided, "the machine was too busy", &[]),
                mark("lww", Passed, "", &[]),
            ],
        ));
    }
    for name in ["ann", HOSTILE, "zoe", "max"] {
        let refused = (name == "max").then(|| "the build `make` failed (exit status: 2)".to_owned());
        let log = if name == "max" { vec!["cc: error".to_owned()] } else { Vec::new() };
        known.learn(Record::Prepared(Prepared {
            submission: name.to_owned(),
            fingerprint: "1".into(),
            refused,
            log,
        }));
    }
    (rubric(), ["zoe", "ann", HOSTILE, "max"].map(str::to_owned).to_vec(), known)
}

#[test]
fn grades_are_the_same_whatever_the_order_and_the_time() {
    let (rubric, names, known) = class();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let safe: Vec<String> = names.iter().filter(|name| *name != HOSTILE).cloned().collect();
    write_all(&rubric, &safe, &known, one.path()).unwrap();
    let mut later = known.clone();
    for unit in later.units.values_mut() {
        (unit.duration_ms, unit.attempts, unit.host.busy, unit.folder) = (9, 3, 0.9, "elsewhere".into());
    }
    let reversed: Vec<String> = safe.iter().rev().cloned().collect();
    write_all(&rubric, &reversed, &later, other.path()).unwrap();
    for file in ["grades.csv", "grades.json", "index.html", "junit.xml", "classroom/zoe.json"] {
        let read = |dir: &tempfile::TempDir| std::fs::read_to_string(dir.path().join(file)).unwrap();
        assert_eq!(read(&one), read(&other), "{file}");
    }
    assert!(other.path().join("submissions/ann/feedback.md").exists());
}

#[test]
fn csv_is_for_spreadsheets() {
    let (rubric, names, known) = class();
    insta::assert_snapshot!(csv(&rubric, &score(&rubric, &names, &known)).replace('\r', ""), @r#"
    submission,points,of,review,outage: convergence,outage: lww,secret: convergence
    "'=cmd|'<script>]]>""",5,17.5,no,5,0,0
    ann,17.5,17.5,no,10,2.5,5
    max,0,17.5,no,0,0,0
    zoe,2.5,17.5,yes,,2.5,
    "#);
}

#[test]
fn the_machine_is_told_of() {
    let (_, _, mut known) = class();
    assert_eq!(super::machine::summary(&Known::default()), "");
    for (at, unit) in known.units.values_mut().enumerate() {
        (unit.duration_ms, unit.isolation) = (2_340, "files signals".into());
        unit.host.busy = [0.25, 0.75][at % 2];
        unit.host.late_ms = at as u64;
        unit.attempts = 1 + u32::from(at == 0);
    }
    insta::assert_snapshot!(super::machine::summary(&known), @"10 runs; 1 was repeated; the machine was busy 50% of the time, and a thread that could run waited up to 9 ms; kept from nodes: files signals");
    let csv = super::machine::render(&known);
    insta::assert_snapshot!(csv.replace('\r', "").lines().take(3).collect::<Vec<_>>().join("\n"), @r#"
    submission,item,repeat,attempts,seconds,busy_percent,longest_wait_ms,least_memory_mib,kept_from_nodes
    "'=cmd|'<script>]]>""",outage,1,2,2.3,25,0,0,files signals
    "'=cmd|'<script>]]>""",outage,2,1,2.3,75,1,0,files signals
    "#);
}

#[test]
fn the_table_says_what_most_fail_and_where_to_look() {
    let (rubric, names, known) = class();
    let style = crate::report::style::Style::PLAIN;
    insta::assert_snapshot!(table(&rubric, &score(&rubric, &names, &known), &style));
}

#[test]
fn json_says_everything() {
    let (rubric, names, known) = class();
    insta::assert_snapshot!(json(&rubric, &score(&rubric, &names, &known)));
}

#[test]
fn students_are_told_what_failed_and_nothing_hidden() {
    let (rubric, names, known) = class();
    let class = score(&rubric, &names, &known);
    for scored in &class.submissions {
        let text = feedback::render(&rubric, scored, &known);
        assert!(!text.contains("secret") && !text.contains("nobody may read"), "{text}");
    }
    insta::assert_snapshot!("feedback_hostile", feedback::render(&rubric, &class.submissions[0], &known));
    insta::assert_snapshot!("feedback_max", feedback::render(&rubric, &class.submissions[2], &known));
    insta::assert_snapshot!("feedback_zoe", feedback::render(&rubric, &class.submissions[3], &known));
}

#[test]
fn gradescope_takes_it() {
    let (rubric, names, known) = class();
    let class = score(&rubric, &names, &known);
    for scored in &class.submissions {
        let text = gradescope(&rubric, scored, &known);
        let result: serde_json::Value = serde_json::from_str(&text).unwrap();
        follows_gradescope(&result);
        assert_eq!(result["tests"][2]["visibility"], "hidden");
        let sum: f64 =
            result["tests"].as_array().unwrap().iter().map(|test| test["score"].as_f64().unwrap()).sum();
        assert!((sum - result["score"].as_f64().unwrap()).abs() < 1e-9);
    }
    insta::assert_snapshot!(gradescope(&rubric, &class.submissions[3], &known));
}

/// The rules of its documentation: which fields there are, of which type, with which words.
fn follows_gradescope(result: &serde_json::Value) {
    let formats = ["text", "html", "simple_format", "md", "ansi"];
    let visibilities = ["hidden", "after_due_date", "after_published", "visible"];
    let top = [
        "score",
        "execution_time",
        "output",
        "output_format",
        "test_output_format",
        "test_name_format",
        "visibility",
        "stdout_visibility",
        "extra_data",
        "tests",
        "leaderboard",
    ];
    let of_test = [
        "score",
        "max_score",
        "status",
        "name",
        "name_format",
        "number",
        "output",
        "output_format",
        "tags",
        "visibility",
        "extra_data",
    ];
    let one_of = |object: &serde_json::Value, key: &str, words: &[&str]| {
        assert!(
            object.get(key).is_none_or(|word| word.as_str().is_some_and(|word| words.contains(&word))),
            "{key}: {object}"
        );
    };
    let known = |object: &serde_json::Value, keys: &[&str]| {
        assert!(object.as_object().unwrap().keys().all(|key| keys.contains(&key.as_str())), "{object}");
    };
    known(result, &top);
    one_of(result, "output_format", &formats);
    one_of(result, "visibility", &visibilities);
    one_of(result, "stdout_visibility", &visibilities);
    assert!(result["score"].is_number() && result["output"].is_string());
    for test in result["tests"].as_array().unwrap() {
        known(test, &of_test);
        one_of(test, "output_format", &formats);
        one_of(test, "name_format", &formats);
        one_of(test, "visibility", &visibilities);
        one_of(test, "status", &["passed", "failed"]);
        assert!(test["score"].is_number() && test["max_score"].is_number() && test["name"].is_string());
        assert!(
            test["number"].is_string()
                && test["tags"].as_array().unwrap().iter().all(serde_json::Value::is_string)
        );
    }
}

#[test]
fn classroom_takes_it() {
    let (rubric, names, known) = class();
    let class = score(&rubric, &names, &known);
    let states: Vec<String> = class
        .submissions
        .iter()
        .map(|scored| {
            let result: serde_json::Value =
                serde_json::from_str(&classroom::render(&rubric, scored)).unwrap();
            assert_eq!(
                (&result["version"], &result["max_score"]),
                (&serde_json::json!(1), &serde_json::json!(17.5))
            );
            for test in result["tests"].as_array().unwrap() {
                assert!(["pass", "fail", "error"].contains(&test["status"].as_str().unwrap()));
                assert!(test["name"].is_string() && test["score"].is_number());
            }
            result["status"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(states, ["fail", "pass", "fail", "error"]);
}

#[test]
fn junit_counts_what_it_holds() {
    let (rubric, names, known) = class();
    let text = junit::render(&rubric, &score(&rubric, &names, &known));
    let document = roxmltree::Document::parse(&text).unwrap();
    let suites: Vec<_> =
        document.root_element().children().filter(|node| node.has_tag_name("testsuite")).collect();
    assert_eq!(suites.len(), 4);
    for suite in suites {
        let cases: Vec<_> = suite.children().filter(|node| node.has_tag_name("testcase")).collect();
        let count = |tag: &str| {
            cases.iter().filter(|case| case.children().any(|node| node.has_tag_name(tag))).count()
        };
        let says = |name: &str| suite.attribute(name).unwrap().parse::<usize>().unwrap();
        assert_eq!(
            (says("tests"), says("failures"), says("errors")),
            (cases.len(), count("failure"), count("error"))
        );
        let mut names: Vec<_> = cases.iter().map(|case| case.attribute("name").unwrap()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), cases.len());
    }
}

#[test]
fn the_page_holds_no_one_else_s_markup() {
    let (rubric, names, known) = class();
    let text = page::render(&rubric, &score(&rubric, &names, &known));
    assert_eq!(text.matches("<script").count(), 1, "the page's own");
    assert!(text.contains("=cmd|&#39;&lt;script&gt;]]&gt;&quot;") && text.contains("Lab &lt;2&gt;"));
    assert!(text.contains("What most of the class fails") && text.contains("at 1 somebody has to look"));
}
