//! Faults aimed at whoever leads, on the bundled store.

use harness::history::{History, reader};
use serde_json::{Value as Json, json};

use crate::quorum::{lab, run};

/// A fault of the kind `f`, which lasts so long from `at` on; `more` are lines of its table.
fn fault(at: &str, lasts: &str, more: &str) -> String {
    format!("[[fault]]\nat = \"{at}\"\nfor = \"{lasts}\"\n{more}\n")
}

/// Who had said last, before `moment_ns`, that it leads, in the latest term in which anybody had.
fn leader_at(history: &History, moment_ns: u64) -> String {
    let said = history.ops.iter().filter(|op| &*op.f == "status" && op.end_ns() <= moment_ns);
    let leads = said.filter_map(|op| {
        let claim = op.claim.as_ref().filter(|claim| claim.leads())?;
        Some((claim.term, op.end_ns(), op.node.as_deref()?.to_owned()))
    });
    leads.max().unwrap_or_else(|| panic!("nobody led at {moment_ns}")).2
}

#[test]
fn the_leader_is_killed_cut_off_and_stopped_whoever_it_is() {
    let faults = fault("500ms", "700ms", "kill = \"leader\"\nwhen = \"writing\"\nevery = \"2s\"")
        + &fault("4500ms", "700ms", "partition = { isolate = \"leader\", with = \"minority\" }")
        + &fault("1700ms", "300ms", "pause = \"follower\"");
    let lab = lab("outage", &faults);
    let ended = run(&lab, &["--set=checks.durability=reported", "--set=load.duration=7s"]);
    ended.expect_code(0);
    let results = ended.json();
    let rows = results["faults"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["took_effect"] == true), "{rows:?}");
    let history = reader::read(&lab.history()).unwrap();
    let of = |f: &str| history.faults.iter().filter(|fault| &*fault.f == f).collect::<Vec<_>>();
    let kills = of("kill");
    assert_eq!(kills.len(), 4, "at 0.5, 2.5, 4.5 and 6.5 s: {rows:?}");
    for kill in kills {
        let [node] = kill.target.as_slice() else { panic!("not one target: {kill:?}") };
        assert_eq!(kill.label, format!("kill leader while it writes ({node})"));
        assert_eq!(**node, leader_at(&history, kill.began_ns), "{kill:?}");
        assert_eq!(kill.evidence["exits"][&**node]["signal"], 9, "{kill:?}");
        assert!(kill.evidence["writes_under_way"].is_u64(), "{kill:?}");
    }
    for (f, word) in [("pause", "pause follower ("), ("partition", "isolate leader with a minority (")] {
        let [fault] = of(f)[..] else { panic!("not one {f}: {rows:?}") };
        assert!(fault.label.starts_with(word), "{fault:?}");
        let leads = fault.target.iter().any(|node| **node == *leader_at(&history, fault.began_ns));
        assert_eq!(leads, f == "partition", "{fault:?}");
    }
}

#[test]
fn where_nobody_leads_the_run_is_inconclusive_and_says_why() {
    let faults = fault("500ms", "1m", "kill = \"all\"") + &fault("1500ms", "500ms", "pause = \"leader\"");
    let lab = lab("outage", &faults);
    let ended = run(&lab, &["--set=load.duration=3s", "--set=checks.durability=reported"]);
    ended.expect_code(3);
    let results = ended.json();
    let row = results["faults"].as_array().unwrap().iter().find(|row| row["f"] == "pause").unwrap();
    assert_eq!((&row["took_effect"], &row["evidence"]["aimless"]), (&json!(false), &json!(true)), "{row}");
    let why: Vec<&str> = results["why"].as_array().unwrap().iter().filter_map(Json::as_str).collect();
    let told = why.iter().any(|why| {
        why.starts_with("the fault \"pause leader\"") && why.contains("there was nobody to aim at for")
    });
    assert!(told, "{why:?}");
    assert_eq!(results["failures"], json!([]), "the harness failed at nothing");
}
