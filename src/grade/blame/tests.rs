//! Every way in which a run can end, and whose fault it is.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::grade::host::Weather;
use crate::grade::record::HostLoad;
use crate::grade::rubric::{CheckPoints, Credit};

fn item() -> Item {
    let points = |check: &str| CheckPoints { check: check.into(), points: 1.0 };
    Item {
        name: "outage".into(),
        about: String::new(),
        workload: PathBuf::new(),
        repeats: 1,
        fixed_ports: false,
        protocol: None,
        timeout: Duration::from_secs(90),
        set: Vec::new(),
        vars: Vec::new(),
        checks: vec![points("convergence"), points("read-your-writes")],
        credit: Credit::Share,
        visible: true,
    }
}

fn check(name: &str, verdict: &str) -> Json {
    let violations = match verdict {
        "invalid" => json!([{"kind": "diverged", "nodes": ["B"], "story": "B holds 3.", "cause": "Lost.",
                             "ops": [1], "faults": ["kill B 3.0–7.0 s"],
                             "proof": [{"op": 1, "process": 0, "node": "B", "f": "read", "key": "k", "value": 3, "version": null,
                                        "outcome": "ok", "invoked_ms": 1.0, "returned_ms": 2.0}]}]),
        _ => json!([]),
    };
    let total = violations.as_array().unwrap().len();
    json!({"name": name, "mode": "required", "verdict": verdict, "reason": (verdict == "unknown").then_some("no read"),
           "evidence": {}, "violations": violations, "violations_total": total, "excused": 0})
}

/// A run with these verdicts, changed by `change`.
fn results(verdicts: [&str; 2], change: impl Fn(&mut Json)) -> Results {
    let mut json = json!({
        "schema": 1, "workload": "outage", "seed": 1, "verdict": "valid", "exit_code": 0, "started": "", "duration_ms": 1,
        "checks": [check("convergence", verdicts[0]), check("read-your-writes", verdicts[1])],
        "faults": [], "nodes": [{"id": "A", "exits": []}, {"id": "B", "exits": []}],
        "load": {"asked_rate": 1.0, "achieved_rate": 1.0, "ok": 90, "fail": 5, "info": 5},
    });
    change(&mut json);
    serde_json::from_value(json).unwrap()
}

fn attempt(results: Option<Results>) -> Attempt {
    Attempt {
        end: End::Code(0),
        results,
        said: String::new(),
        weather: Weather { load: HostLoad::default(), overload: None, cpu_s: Some(10.0) },
        own_cpu_s: 1.0,
        took: Duration::from_secs(20),
    }
}

fn overloaded(attempt: Attempt) -> Attempt {
    let overload = Some("the machine stood still for 1200 ms".to_owned());
    Attempt { weather: Weather { overload, ..attempt.weather }, ..attempt }
}

/// `F U again: …`: passed, failed or undecided, each check, and why it is run again.
fn judged(attempt: &Attempt, number: u32, alone: bool) -> String {
    let judgement = judge(&item(), attempt, number, alone);
    let letter = |check: &CheckMark| match check.mark {
        Mark::Passed => {
            assert!(check.why.is_empty() && check.found.is_empty());
            "P"
        }
        Mark::Failed => {
            assert!(!check.why.is_empty());
            "F"
        }
        Mark::Undecided => {
            assert!(!check.why.is_empty());
            "U"
        }
    };
    let marks: Vec<&str> = judgement.checks.iter().map(letter).collect();
    let again = judgement.again.map(|why| format!(" again: {why}")).unwrap_or_default();
    format!("{}{again}", marks.join(" "))
}

/// Alone and first, beside others and first, alone and last.
fn thrice(attempt: &Attempt) -> [String; 3] {
    [judged(attempt, 1, true), judged(attempt, 1, false), judged(attempt, ATTEMPTS, true)]
}

#[test]
fn a_calm_run_is_taken_at_its_word() {
    let same = |text: &str| [(); 3].map(|()| text.to_owned());
    assert_eq!(thrice(&attempt(Some(results(["valid", "valid"], |_| {})))), same("P P"));
    let violated = attempt(Some(results(["invalid", "valid"], |_| {})));
    assert_eq!(thrice(&violated), same("F P"));
    let Judgement { checks, .. } = judge(&item(), &violated, 1, true);
    assert_eq!(checks[0].why, "a violation: B holds 3.");
    let Found { kind, story, cause, proof, faults } = &checks[0].found[0];
    assert_eq!((kind.as_str(), story.as_str(), cause.as_str()), ("diverged", "B holds 3.", "Lost."));
    assert_eq!((proof.as_slice(), faults.len()), (&["p0 B  read k=3  ok  0.001–0.002 s".to_owned()][..], 1));
    // Of what it does not ask for it does not speak; of what was not judged it says so.
    let none = attempt(Some(results(["valid", "valid"], |run| run["checks"] = json!([]))));
    assert_eq!(judged(&none, ATTEMPTS, true), "U U");
}

#[test]
fn what_was_not_put_to_the_test_is_not_passed() {
    let unknown = attempt(Some(results(["valid", "unknown"], |_| {})));
    let again = "P U again: read-your-writes could not be decided: no read";
    assert_eq!(thrice(&unknown), [again, again, "P U"].map(str::to_owned));
    // A fault that did nothing leaves all open but what is proved; so does a failure of the harness.
    let fault = |run: &mut Json| {
        run["faults"] = json!([{"f": "kill", "target": "B", "label": "kill B", "began_ms": 3000, "ended_ms": 7000,
                                "took_effect": false, "overlapping_ops": 0}]);
    };
    let why = "the fault \"kill B\" at 3.0 s did not take effect";
    assert_eq!(
        judged(&attempt(Some(results(["invalid", "valid"], fault))), 1, true),
        format!("F U again: {why}")
    );
    let failure = |run: &mut Json| run["failures"] = json!([{"what": "port 8000 is taken by sshd"}]);
    let failed = attempt(Some(results(["valid", "valid"], failure)));
    assert_eq!(judged(&failed, 1, true), "U U again: port 8000 is taken by sshd");
    assert_eq!(judged(&failed, ATTEMPTS, true), "U U");
    // A node that goes past the links it was given makes void what was to be tested.
    let bypass = |run: &mut Json| {
        run["faults"] = json!([{"f": "partition", "target": "A|B", "label": "partition A | B", "began_ms": 1, "ended_ms": 2,
                                "took_effect": true, "overlapping_ops": 9}]);
        run["bypasses"] = json!([{"from": "A", "to": "B", "seen": 3}]);
        run["why"] = json!(["A reached B past its link (seen 3 times), so \"partition A | B\" did not hold"]);
    };
    let past = attempt(Some(results(["invalid", "valid"], bypass)));
    assert_eq!(judged(&past, 1, true), "F F");
    assert_eq!(
        judge(&item(), &past, 1, true).checks[1].why,
        "A reached B past the address it was given for it"
    );
    let void = |run: &mut Json| {
        bypass(run);
        run["faults"] = json!([]);
        run["why"] = json!([]);
    };
    assert_eq!(judged(&attempt(Some(results(["valid", "valid"], void))), 1, true), "P P");
    // An anomaly that was to show: a demonstration may be graded too.
    let demo = |run: &mut Json| run["checks"][0]["mode"] = json!("expected-to-fail");
    assert_eq!(judged(&attempt(Some(results(["invalid", "valid"], demo))), 1, true), "P P");
    assert_eq!(judged(&attempt(Some(results(["valid", "valid"], demo))), 1, true), "F P");
}

#[test]
fn what_a_submission_did_itself_costs_points() {
    let never = |run: &mut Json| {
        run["checks"] = json!([]);
        run["load"] = json!({"asked_rate": 1.0, "achieved_rate": 0.0, "ok": 0, "fail": 0, "info": 0});
        run["failures"] =
            json!([{"what": "node A did not become ready within 10s", "node": "A", "log": ["a\u{1b}[2J"]}]);
    };
    let never = attempt(Some(results(["valid", "valid"], never)));
    let beside = "F F again: node A did not become ready within 10s";
    assert_eq!(thrice(&never), ["F F", beside, "F F"].map(str::to_owned));
    let Judgement { why, log, .. } = judge(&item(), &never, 1, true);
    assert_eq!(
        (why, log),
        (vec!["node A did not become ready within 10s".to_owned()], vec!["a\\x1b[2J".to_owned()])
    );

    let exit = |signal: Option<i32>, code: Option<i32>| {
        move |run: &mut Json| {
            run["nodes"][1]["exits"] = json!([
                {"at_ms": 9000, "pid": 1, "expected": true, "signal": 9, "code": null},
                {"at_ms": 9100, "pid": 2, "expected": false, "signal": signal, "code": code, "log": ["Traceback"]}]);
        }
    };
    let died = attempt(Some(results(["invalid", "valid"], exit(None, Some(1)))));
    assert_eq!(thrice(&died), ["F F", "F F", "F F"].map(str::to_owned));
    let Judgement { checks, why, log, .. } = judge(&item(), &died, 1, true);
    assert!(!checks[0].found.is_empty() && checks[1].found.is_empty());
    assert_eq!(checks[1].why, "B ended by itself at 9.1 s: exit code 1");
    assert_eq!((why, log), (vec![checks[1].why.clone()], vec!["Traceback".to_owned()]));
    // The system may have killed it for somebody else's hunger.
    let killed = attempt(Some(results(["valid", "valid"], exit(Some(9), None))));
    assert_eq!(judged(&killed, 1, false), "F F again: B ended by itself at 9.1 s: signal 9");
    assert_eq!(judged(&killed, 2, true), "F F");

    // What came of being stopped is not what the submission is told.
    let limit = "node B was stopped by a limit of [cluster.limits]: disk 20 MiB exceeded (22 MiB)";
    let greedy = |run: &mut Json| {
        run["failures"] = json!([{"what": limit, "node": "B", "limit": "disk 20 MiB exceeded (22 MiB)"}]);
    };
    let greedy = attempt(Some(results(["invalid", "valid"], greedy)));
    assert_eq!(thrice(&greedy), ["F F", "F F", "F F"].map(str::to_owned));
    let checks = judge(&item(), &greedy, 1, true).checks;
    assert!(checks.iter().all(|check| check.found.is_empty() && check.why == limit), "{checks:?}");

    let mute = |run: &mut Json| {
        run["load"]["ok"] = json!(0);
        run["not_understood"] =
            json!([{"node": "A", "f": "read", "why": "no value", "count": 3, "raw": "<html>"}]);
    };
    let mute = attempt(Some(results(["unknown", "unknown"], mute)));
    assert_eq!(thrice(&mute), ["F F", "F F", "F F"].map(str::to_owned));
    assert_eq!(
        judge(&item(), &mute, 1, true).checks[0].why,
        "none of 10 operations was answered as the protocol has it: A answered read with \"<html>\" (no value)"
    );
}

#[test]
fn on_an_overloaded_machine_only_what_needs_no_clock_is_proved() {
    let still = "the machine stood still for 1200 ms";
    let violated = overloaded(attempt(Some(results(["invalid", "invalid"], |_| {}))));
    assert_eq!(judged(&violated, 1, true), format!("U F again: {still}"));
    assert_eq!(judged(&violated, ATTEMPTS, true), "U F");
    let why = judge(&item(), &violated, ATTEMPTS, true).checks[0].why.clone();
    assert_eq!(why, format!("a violation: B holds 3.; but {still}, so that it proves nothing"));
    // Who passes under load passes.
    assert_eq!(judged(&overloaded(attempt(Some(results(["valid", "valid"], |_| {})))), 1, true), "P P");
    let died = |run: &mut Json| {
        run["nodes"][1]["exits"] =
            json!([{"at_ms": 1, "pid": 2, "expected": false, "signal": null, "code": 1, "log": []}]);
    };
    let died = overloaded(attempt(Some(results(["unknown", "unknown"], died))));
    assert_eq!(judged(&died, 2, true), format!("U U again: {still}"));
    // When it is alone and uses most of what is used, the load is its own.
    let own = Attempt { own_cpu_s: 8.0, ..violated };
    assert_eq!(judged(&own, 1, false), format!("U F again: {still}"));
    assert_eq!(judged(&own, 2, true), "F F");
}

#[test]
fn what_the_harness_did_costs_nothing() {
    let ended = |end, said: &str| Attempt { end, said: said.into(), ..attempt(None) };
    let killed = ended(End::Signal(9), "");
    assert_eq!(
        thrice(&killed),
        [
            "U U again: the harness was ended by signal 9",
            "U U again: the harness was ended by signal 9",
            "U U"
        ]
        .map(str::to_owned)
    );
    assert_eq!(
        judged(&ended(End::Code(4), "error: no space left"), 1, true),
        "U U again: the harness ended with code 4 and left no results: error: no space left"
    );
    let late = Attempt { end: End::TimedOut, ..attempt(Some(results(["invalid", "valid"], |_| {}))) };
    assert_eq!(judged(&late, 1, true), "U U again: the run was not over within 1m 30s");
}
