//! The bundled store with a leader: killed in turn, found without a leader, and its histories judged again.

use std::collections::BTreeSet;
use std::path::Path;

use harness::history::{History, Op, Outcome, Phase, reader};
use serde_json::json;

use crate::support::{Ended, Lab, check};

/// A shipped workload of the store, with other faults and as short as a test may be.
pub fn lab(name: &str, faults: &str) -> Lab {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("workloads/quorum/{name}.toml"));
    let text = std::fs::read_to_string(path).unwrap();
    let (head, rest) = text.split_once("[[fault]]").unwrap();
    let tail = &rest[rest.find("[settle]").unwrap()..];
    let lab = Lab::new(&format!("quorum-{name}"));
    std::fs::write(lab.file(), format!("{head}{faults}{tail}")).unwrap();
    lab
}

pub fn run(lab: &Lab, more: &[&str]) -> Ended {
    let sets = [
        "--json",
        "--quiet",
        "--set=load.duration=6s",
        "--set=load.rate=60",
        "--set=client.timeout=3s",
        "--set=cluster.ready-within=60s",
        "--set=settle.within=20s",
    ];
    let seed: &[&str] =
        if more.iter().any(|argument| argument.starts_with("--seed")) { &[] } else { &["--seed=7"] };
    lab.run(&[&sets, seed, more].concat())
}

fn ok<'h>(history: &'h History, f: &'h str) -> impl Iterator<Item = &'h Op> {
    history.ops.iter().filter(move |op| &*op.f == f && op.outcome == Outcome::Ok)
}

/// Whoever leads is killed at the latest when its own turn comes.
#[test]
fn every_node_is_killed_in_turn() {
    let kills: Vec<String> = [("n1", "1s"), ("n2", "2500ms"), ("n3", "4s")]
        .map(|(node, at)| format!("[[fault]]\nat = \"{at}\"\nfor = \"900ms\"\nkill = \"{node}\"\n"))
        .to_vec();
    let lab = lab("outage", &kills.concat());
    let ended = run(&lab, &["--set=checks.durability=reported"]);
    ended.expect_code(0);
    let results = ended.json();
    for name in ["convergence", "linearizability"] {
        assert_eq!(check(&results, name)["verdict"], "valid", "{results}");
    }

    let history = reader::read(&lab.history()).unwrap();
    for f in ["write", "delete", "strong-read", "session-read", "eventual-read", "snapshot", "status"] {
        assert!(ok(&history, f).count() > 0, "no {f} succeeded");
    }
    let contract = &history.contract;
    assert_eq!(
        (contract.write_quorum, contract.read_quorum, contract.elect_within_ms),
        (Some(2), Some(2), Some(3000))
    );
    // Nobody wrote before somebody led, and everything acknowledged says where, by how many and in which term.
    let first_write = ok(&history, "write").map(|op| op.invoked_ns).min().unwrap();
    let leads = |op: &&Op| op.claim.as_ref().is_some_and(|claim| claim.leads());
    assert!(ok(&history, "status").filter(leads).any(|op| op.end_ns() < first_write));
    let mut leaders = BTreeSet::new();
    for op in ok(&history, "write").chain(ok(&history, "delete")) {
        let claim = op.claim.as_ref().unwrap_or_else(|| panic!("{op:?} claims nothing"));
        assert_eq!((claim.achieved, claim.leader.as_deref()), (Some(true), op.node.as_deref()), "{op:?}");
        assert!(claim.acks >= Some(2) && op.version.is_some(), "{op:?}");
        assert!(&*op.f == "write" || op.value.is_nil());
        leaders.insert((claim.term.unwrap(), claim.leader.clone().unwrap()));
    }
    assert!(leaders.len() > 1, "the leader was killed: {leaders:?}");
    let terms: BTreeSet<u64> = leaders.iter().map(|(term, _)| *term).collect();
    assert_eq!(terms.len(), leaders.len(), "two leaders in one term: {leaders:?}");
    // The status of nodes is no load.
    let main = history.phase_began_ns(Phase::Main).unwrap();
    let heal = history.phase_began_ns(Phase::Heal).unwrap();
    let load = history.ops.iter().filter(|op| !matches!(&*op.f, "status" | "snapshot"));
    let load = load.filter(|op| (main..=heal).contains(&op.invoked_ns)).count() as u64;
    let counted = ["ok", "fail", "info"].map(|outcome| results["load"][outcome].as_u64().unwrap());
    assert_eq!(counted.iter().sum::<u64>(), load);
    // Again from the history alone.
    let (code, out, err) = lab.check(&lab.history());
    assert_eq!(code, Some(0), "{out}{err}");
}

/// One clear line instead of a thousand failed writes.
#[test]
fn a_cluster_that_never_elects_anybody_is_given_no_load() {
    let lab = lab("outage", "");
    let node = "{{ harness }} node quorum --bug url-sorts-first";
    let ended =
        run(&lab, &["--node", node, "--set=cluster.ready-within=5s", "--set=cluster.elect-within=2s"]);
    let results = ended.json();
    let said = match check_of_leaders(&results) {
        // The check says it with the operations that prove it.
        true => {
            ended.expect_code(1);
            results["notes"].clone()
        }
        false => {
            ended.expect_code(4);
            json!([results["failures"][0]["what"]])
        }
    };
    let said = said[0].as_str().unwrap();
    assert!(said.starts_with("no leader was ever elected, "), "{said}");
    for node in ["n1", "n2", "n3"] {
        assert!(said.contains(&format!("{node} says follower in term ")), "{said}");
    }
    let history = reader::read(&lab.history()).unwrap();
    assert!(history.ops.iter().all(|op| &*op.f == "status"), "nothing else was asked");
    assert!(ok(&history, "status").count() >= 3, "what they said is in the history");
    assert!(history.phase_began_ns(Phase::Main).is_none());
}

/// Whether the results have a violated check `leader`.
fn check_of_leaders(results: &serde_json::Value) -> bool {
    results["checks"].as_array().unwrap().iter().any(|check| check["name"] == "leader")
}

/// What theory says of the corners of exercise 3, measured: R + W <= N is stale where a follower lags, the others never are.
#[test]
fn a_matrix_of_quorums_shows_where_strong_reads_are_stale() {
    let lag = "[[fault]]\nat = \"300ms\"\nfor = \"5s\"\n\
               delay = { from = \"leader\", to = \"follower\", by = \"250ms\" }\n";
    let matrix = "[matrix]\nW = [1, 3]\nR = [1, 3]\n";
    let lab = lab("exercise3", &[lag, matrix].concat());
    // That a read is stale takes a moment that a busy machine may not have; that none is, is a promise.
    let is_shown = (1..=4).any(|seed| {
        let ended = run(&lab, &["--set=load.keys=2", &format!("--seed={seed}")]);
        ended.expect_code(0);
        stale_cells(&ended.json())
    });
    assert!(is_shown, "no stale read with W + R <= N");
}

/// Whether every cell with W + R <= N had a stale read; that no other one had.
fn stale_cells(results: &serde_json::Value) -> bool {
    let cells = results["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 4, "{results}");
    let mut all = true;
    for cell in cells {
        let quorum =
            |name: &str| cell["cell"][name].as_str().and_then(|text| text.parse::<i64>().ok()).unwrap();
        let levels = cell["figures"]["staleness"].as_array().unwrap();
        let strong =
            levels.iter().find(|level| level["f"] == "strong-read").unwrap_or_else(|| panic!("{cell}"));
        let (reads, stale) = (strong["reads"].as_u64().unwrap(), strong["stale"].as_u64().unwrap());
        assert!(reads > 0, "{cell}");
        let may = quorum("W") + quorum("R") <= 3;
        assert!(may || stale == 0, "{cell}");
        all &= !may || stale > 0;
    }
    all
}
