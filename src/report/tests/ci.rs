//! What a run leaves for continuous integration.

use roxmltree::{Document, Node};

use super::*;
use crate::report::{github, junit, markdown};

/// The rules of both schemas ([`rules`](super::rules)), and what we ask of ourselves beside: one suite, and messages that are
/// repeated in the body, since some readers show only that.
#[track_caller]
fn check_schema(xml: &str) {
    assert_eq!(super::rules::broken(xml), Vec::<String>::new(), "{xml}");
    let document = Document::parse(xml).unwrap();
    let suites = document.descendants().filter(|node| node.has_tag_name("testsuite")).count();
    assert_eq!(suites, 1, "a suite is a run");
    for outcome in
        document.descendants().filter(|node| node.has_tag_name("failure") || node.has_tag_name("error"))
    {
        let message = outcome.attribute("message").unwrap();
        assert!(outcome.text().unwrap().contains(message), "the message is repeated in the body: {message}");
    }
}

/// `name: outcome` a line.
fn outcomes(xml: &str) -> String {
    let document = Document::parse(xml).unwrap();
    let case = |node: Node<'_, '_>| {
        let outcome = node.first_element_child();
        let word = outcome.map_or("passed", |outcome| outcome.tag_name().name());
        let message = outcome.and_then(|outcome| outcome.attribute("message")).unwrap_or_default();
        format!("{}: {word} {message}", node.attribute("name").unwrap()).trim_end().to_owned()
    };
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
    cases.map(case).collect::<Vec<_>>().join("\n")
}

/// A violation of a session guarantee whose last operation is `op`.
fn own_write_missed(op: u64) -> Violation {
    Violation {
        kind: "missed-own-write",
        key: Some("k3".into()),
        nodes: vec!["C".into()],
        story: "process 4 wrote 118 and then read 97 <at C>.".into(),
        cause: "C answered from a copy that was behind.".into(),
        ops: vec![400, op],
        faults: Vec::new(),
        diagram: None,
    }
}

fn of_a_session(ops: &[u64]) -> Checked {
    let found = ops.iter().map(|op| own_write_missed(*op)).collect();
    ("read-your-writes".into(), CheckMode::Required, result(Verdict::Invalid, json!({"reads": 9}), found))
}

#[test]
fn a_run_with_violations() {
    let xml = junit::render(&diverged_runs());
    check_schema(&xml);
    insta::assert_snapshot!(xml);
}

#[test]
fn violations_are_placed_where_their_last_operation_was() {
    let checks = vec![of_a_session(&[412, 976]), valid("lww", json!({"writes": 3}))];
    let xml = junit::render(&Results::build(&history(), checks, facts()));
    check_schema(&xml);
    insta::assert_snapshot!(outcomes(&xml), @r"
    run: passed
    read-your-writes / healthy: passed
    read-your-writes / under kill B: failure missed-own-write: k3: Process 4 wrote 118 and then read 97 <at C>.
    read-your-writes / recovered: failure missed-own-write: k3: Process 4 wrote 118 and then read 97 <at C>.
    lww / healthy: passed
    lww / under kill B: passed
    lww / recovered: passed
    ");
}

#[test]
fn where_not_all_violations_are_listed_no_stretch_is_said_to_have_none() {
    let (name, mode, mut found) = of_a_session(&[976]);
    found.violations_total = 70;
    let xml = junit::render(&Results::build(&history(), vec![(name, mode, found)], facts()));
    check_schema(&xml);
    insta::assert_snapshot!(outcomes(&xml), @r"
    run: passed
    read-your-writes / healthy: skipped of 70 violations of read-your-writes only 1 are listed, none of them here
    read-your-writes / under kill B: skipped of 70 violations of read-your-writes only 1 are listed, none of them here
    read-your-writes / recovered: failure missed-own-write: k3: Process 4 wrote 118 and then read 97 <at C>.
    ");
}

#[test]
fn what_could_not_be_judged_is_an_error_and_no_failure() {
    let mut history = history();
    history.faults[0].took_effect = false;
    let mut unknown = valid("lww", json!({}));
    unknown.2.verdict = Verdict::Unknown;
    unknown.2.reason = Some("no write was acknowledged".into());
    let mut reported = unknown.clone();
    reported.0 = "staleness".into();
    reported.1 = CheckMode::Reported;
    let mut expected = valid("linearizability", json!({}));
    expected.1 = CheckMode::ExpectedToFail;
    let checks = vec![unknown, reported, expected, valid("convergence", json!({"keys": 8}))];
    let results = Results::build(&history, checks, facts());
    assert_eq!(results.exit_code, 4);
    let xml = junit::render(&results);
    check_schema(&xml);
    insta::assert_snapshot!(outcomes(&xml), @r#"
    run: error the fault "kill B" at 3.0 s did not take effect
    lww: error lww could not be decided: no write was acknowledged
    staleness: skipped staleness could not be decided: no write was acknowledged
    linearizability: skipped the run could not be judged, see the case "run"
    convergence: skipped the run could not be judged, see the case "run"
    "#);
    insta::assert_snapshot!(github::annotations(&results), @r#"
    ::error file=workloads/outage.toml,title=outage%3A the run could not be judged (seed 42)::the fault "kill B" at 3.0 s did not take effect
    ::error file=workloads/outage.toml,title=outage%3A lww (seed 42)::could not be decided: no write was acknowledged
    ::error file=workloads/outage.toml,title=outage%3A linearizability (seed 42)::was expected to fail, but no anomaly showed
    "#);
}

/// Whatever nodes print, values hold and users call things: a reader of XML must not choke on it, nor see another shape.
#[test]
fn no_text_breaks_the_file() {
    let nasty = "\0\u{1}\u{8}\u{b}\u{1b}[31m<&>\"']]>\r\n\t\u{fffe}\u{ffff}\u{7f}\u{85}\u{202e}😀 ::error::x %0A ``` | </testcase>";
    let mut results = diverged_runs();
    results.workload = nasty.into();
    results.file = nasty.into();
    results.rerun = nasty.into();
    results.notes.push(nasty.into());
    results.cell.insert(nasty.into(), nasty.into());
    results.failures.push(Failure {
        what: nasty.into(),
        node: Some(nasty.into()),
        log: vec![nasty.into()],
        ..Failure::default()
    });
    for check in &mut results.checks {
        check.promise = nasty.into();
        check.reason = Some(nasty.into());
        for violation in &mut check.violations {
            violation.kind = nasty.into();
            violation.key = Some(nasty.into());
            violation.story = nasty.into();
            violation.cause = nasty.into();
            violation.faults = vec![nasty.into()];
            for op in &mut violation.proof {
                op.value = json!(nasty);
                op.error = Some(nasty.into());
            }
        }
    }
    let xml = junit::render(&results);
    check_schema(&xml);
    let bad = |letter: char| {
        letter.is_control() && !"\n\t\r\u{7f}\u{85}".contains(letter) || "\u{fffe}\u{ffff}".contains(letter)
    };
    assert!(!xml.contains(bad), "not XML 1.0");
    let document = Document::parse(&xml).unwrap();
    let file = document.descendants().find(|node| node.attribute("name") == Some("file")).unwrap();
    assert!(file.attribute("value").unwrap().contains("<&>\"']]>\r\n\t"), "nothing else is lost");

    let annotations = github::annotations(&results);
    assert!(annotations.lines().all(|line| line.starts_with("::error file=")), "{annotations}");
    assert_eq!(annotations.lines().count(), 3, "one a failed check, one for the run: {annotations}");

    let text = markdown::render(&results);
    assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{text}");
    let outside: String = text.split("````").step_by(2).collect();
    assert!(!outside.contains("</testcase>"), "{outside}");
}

/// A history without its run does not know when it was; the file is one all the same.
#[test]
fn without_a_time_there_is_still_a_valid_file() {
    let mut results = diverged_runs();
    for started in ["", "yesterday", "2026-01-31T10:15:00+01:00"] {
        results.started = started.into();
        check_schema(&junit::render(&results));
    }
}

#[test]
fn a_suite_is_named_after_workload_cell_and_seed() {
    let mut results = diverged_runs();
    results.cell = BTreeMap::from([("W".into(), "2".into()), ("R".into(), "3".into())]);
    let xml = junit::render(&results);
    check_schema(&xml);
    assert_eq!(xml.matches("classname=\"outage.R=3,W=2.seed42\"").count(), xml.matches("<testcase").count());
}

#[test]
fn a_run_as_markdown() {
    insta::assert_snapshot!(markdown::render(&diverged_runs()));
    insta::assert_snapshot!(github::annotations(&diverged_runs()), @r"
    ::error file=workloads/outage.toml,title=outage%3A convergence (seed 42)::diverged: k3: After the heal all replicas must hold the same value under k3, but A and C hold 118 and B holds 97.
    ::error file=workloads/outage.toml,title=outage%3A lww (seed 42)::lost-update: Acknowledged write 1 is gone. (and 43 more)
    ");
    let valid_run = Results::build(&history(), vec![valid("lww", json!({"writes": 9}))], facts());
    assert_eq!(github::annotations(&valid_run), "");
}

#[test]
fn a_step_s_summary_never_outgrows_what_github_shows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary.md");
    let mut results = diverged_runs();
    results.checks[0].violations[0].story = "long ".repeat(60_000);
    for _ in 0..6 {
        github::append_summary(&results, &path).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.len() > 900_000 && text.len() <= 1 << 20, "{}", text.len());
    assert!(text.starts_with("## ❌ invalid: outage · seed 42\n"), "{}", &text[..80]);
    assert!(text.contains("The rest did not fit here"));
}
