//! Whatever is in the file, nothing panics; whatever the seed, the schedule keeps its promises.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use harness::fault::aim::Parts;
use harness::fault::{Demand, ScheduledFault};
use harness::workload::{Overrides, Workload};
use proptest::prelude::*;

use super::fuzz::PIECES;
use super::{BASE, led, parse, shipped};

/// Renders what comes of `text`: mistakes must be showable too.
fn digest(text: &str, overrides: &Overrides) {
    match Workload::parse(text, Path::new("w.toml"), overrides) {
        Ok(workload) => assert!(!workload.resolved.is_empty()),
        Err(errors) => {
            assert!(!errors.list.is_empty());
            assert!(!errors.render(false).is_empty() && !errors.render(true).is_empty());
        }
    }
}

fn mutated() -> impl Strategy<Value = String> {
    let texts: Vec<String> = shipped().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let edit = (any::<prop::sample::Index>(), 0_usize..20, prop::sample::select(PIECES));
    (prop::sample::select(texts), prop::collection::vec(edit, 1..5)).prop_map(|(text, edits)| {
        let mut letters: Vec<char> = text.chars().collect();
        for (place, gone, piece) in edits {
            let at = place.index(letters.len() + 1);
            let end = (at + gone).min(letters.len());
            letters.splice(at..end, piece.chars());
        }
        letters.into_iter().collect()
    })
}

/// Who is neither down nor paused at `moment`.
///
/// A node that will be known only then may be any: so that at worst each is one that nothing else takes out.
fn up(schedule: &[ScheduledFault], nodes: &[String], moment: Duration) -> usize {
    let mut out = BTreeSet::new();
    let mut unknown = 0;
    for fault in
        schedule.iter().filter(|fault| fault.at <= moment && fault.until.is_none_or(|until| moment <= until))
    {
        for demand in &fault.demands {
            match demand {
                Demand::Down { .. } | Demand::Paused { .. } if fault.pending.is_some() => unknown += 1,
                Demand::Down { node, .. } | Demand::Paused { node } => {
                    out.insert(node.clone());
                }
                _ => {}
            }
        }
    }
    nodes.iter().filter(|node| !out.contains(*node)).count().saturating_sub(unknown)
}

fn names_of(demand: &Demand) -> Vec<&String> {
    match demand {
        Demand::Down { node, .. } | Demand::Paused { node } | Demand::Slow { node, .. } => vec![node],
        Demand::Link { from, to, .. } => vec![from, to],
    }
}

fn with_nodes(count: usize, rest: &str) -> String {
    let names: Vec<String> = (0..count).map(|index| format!("\"n{index}\"")).collect();
    let base = BASE.replace("\"A\", \"B\", \"C\"", &names.join(", "));
    let start = base.find("[[fault]]").unwrap();
    let end = base.find("[checks]").unwrap();
    format!("{}{rest}\n{}", &base[..start], &base[end..])
}

/// Of a node's links, in which directions a fault cuts some.
fn cut_of(fault: &ScheduledFault, node: &str) -> (bool, bool) {
    let pairs = || {
        fault.demands.iter().filter_map(|demand| match demand {
            Demand::Link { from, to, .. } => Some((from, to)),
            _ => None,
        })
    };
    (pairs().any(|(from, _)| from == node), pairs().any(|(_, to)| to == node))
}

#[test]
fn chaos_cuts_links_in_one_direction_too() {
    let cuts = |targets: &str| {
        let chaos = format!(
            "[chaos]\nfaults = [\"partition\"]\nevery = \"200ms\"\nfor = \"100ms\"\ntargets = \"{targets}\"\n"
        );
        let text = with_nodes(3, &chaos);
        let overrides = Overrides { seed: Some(1), ..Overrides::default() };
        Workload::parse(&text, Path::new("w.toml"), &overrides).unwrap().faults
    };
    let of_one = cuts("n1");
    let seen: BTreeSet<_> = of_one.iter().map(|fault| cut_of(fault, "n1")).collect();
    let every: BTreeSet<_> = [(true, false), (false, true), (true, true)].into();
    assert_eq!(seen, every, "not heard, not hearing, and both, of {} cuts", of_one.len());
    // Somebody is always left on the other side.
    let links = 3 * 2;
    for targets in ["all", "random", "majority"] {
        for fault in cuts(targets) {
            assert!((1..links).contains(&fault.demands.len()), "{targets}: {}", fault.label);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}", lines in "([a-z]{1,8} ?= ?[\"\\[{0-9a-z]{0,6}\n){0,8}") {
        digest(&text, &Overrides::default());
        digest(&lines, &Overrides::default());
    }

    #[test]
    fn no_mutation_panics(text in mutated()) {
        digest(&text, &Overrides::default());
    }

    #[test]
    fn no_flag_panics(
        set in "[a-z.0-9\" ]{0,12}=?\\PC{0,12}",
        path in prop::sample::select(vec!["load.rate", "fault.0.kill", "fault.0.at", "cluster.nodes.1", "checks.lww", "vars.node", "name"]),
        value in "\\PC{0,12}",
        node in "\\PC{0,20}",
    ) {
        let sets = vec![set.clone(), format!("{path}={value}")];
        digest(BASE, &Overrides { sets, vars: vec![set], ..Overrides::default() });
        digest(BASE, &Overrides { node: Some(node), ..Overrides::default() });
    }

    #[test]
    fn chaos_keeps_its_promises(seed in 0..=i64::MAX as u64, nodes in 3_usize..8, target in 0_usize..7, every_ms in 100_u64..2_000) {
        let target = ["\"one\"", "\"random\"", "\"minority\"", "\"n1\"", "[\"n0\", \"n2\"]", "[\"one\", \"leader\"]", "\"follower\""][target];
        let kinds = r#"["kill", "stop", "restart", "pause", "slow", "partition", "delay", "jitter", "throttle", "reset", "drop", "duplicate", "reorder", "corrupt"]"#;
        let text = with_nodes(nodes, &format!(
            "[chaos]\nfaults = {kinds}\nevery = \"{every_ms}ms\"\ntargets = {target}\nfor = [\"100ms\", \"3s\"]\nquiet = \"1500ms\"\n"
        ));
        let text = if target.contains("leader") || target.contains("follower") { led(&text) } else { text };
        let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
        let load = || Workload::parse(&text, Path::new("w.toml"), &overrides).unwrap_or_else(|errors| panic!("{errors}"));
        let workload = load();
        prop_assert_eq!(&workload.faults, &load().faults, "the same seed, the same schedule");
        prop_assert!(!workload.faults.is_empty());
        let names: BTreeSet<&String> = workload.cluster.nodes.iter().collect();
        for (index, fault) in workload.faults.iter().enumerate() {
            prop_assert_eq!(fault.id, index as u64);
            if fault.pending.is_none() {
                prop_assert!(!fault.demands.is_empty(), "{}", &fault.label);
                prop_assert!(fault.demands.iter().flat_map(names_of).all(|name| names.contains(name)));
                prop_assert!(fault.target.iter().all(|name| names.contains(name)));
            }
            let until = fault.until.unwrap();
            prop_assert!(fault.at < until && until <= Duration::from_millis(8_500), "{}", &fault.label);
            prop_assert!(until - fault.at >= Duration::from_millis(100) && until - fault.at <= Duration::from_secs(3));
            for moment in [fault.at, until] {
                let up = up(&workload.faults, &workload.cluster.nodes, moment);
                prop_assert!(up * 2 > nodes, "{up} of {nodes} up at {moment:?}");
            }
        }
        let other = Overrides { seed: Some(seed ^ 1), ..Overrides::default() };
        let other = Workload::parse(&text, Path::new("w.toml"), &other).unwrap();
        prop_assert_ne!(other.faults, workload.faults, "another seed, another schedule");
    }

    #[test]
    fn every_kind_of_fault_expands(seed in 0..1_000_000_u64, nodes in 3_usize..8) {
        let faults = [
            "kill = \"random\"", "stop = \"one\"", "restart = \"all\"", "pause = \"minority\"", "slow = \"majority\"",
            "partition = \"halves\"", "partition = \"random\"", "partition = \"ring\"", "partition = \"bridge\"",
            "partition = { isolate = \"random\" }", "partition = { isolate = \"majority\" }", "partition = { bridge = \"n1\" }",
            "partition = { from = \"one\", to = \"one\" }", "partition = [[\"n0\"], [\"n1\", \"n2\"]]",
            "delay = \"10ms\"", "delay = { from = \"random\", to = \"random\", by = \"1s\", jitter = \"1s\" }",
            "jitter = { from = \"n0\", by = \"1s\" }", "throttle = { to = \"n0\", rate = \"1KiB/s\" }", "reset = \"one\"",
            "drop = 0.25", "duplicate = { from = \"random\", share = 1 }", "corrupt = { to = \"n1\", share = 0.01 }",
            "reorder = { from = \"one\", to = \"one\", share = 0.5, within = \"20ms\" }",
        ];
        let tables: String = faults.iter().map(|fault| format!("[[fault]]\nat = \"1s\"\nfor = \"500ms\"\nevery = \"2s\"\n{fault}\n")).collect();
        let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
        let workload = Workload::parse(&with_nodes(nodes, &tables), Path::new("w.toml"), &overrides)
            .unwrap_or_else(|errors| panic!("{errors}"));
        prop_assert_eq!(workload.faults.len(), faults.len() * 5, "at 1, 3, 5, 7 and 9 s");
        for fault in &workload.faults {
            prop_assert!(!fault.demands.is_empty(), "{}", &fault.label);
            for demand in &fault.demands {
                let unlike = !matches!(demand, Demand::Link { from, to, .. } if from == to);
                prop_assert!(unlike, "{}", &fault.label);
            }
        }
    }
}

#[test]
fn adding_a_fault_leaves_the_others_as_they_were() {
    let random = |at: &str| format!("[[fault]]\nat = \"{at}\"\nfor = \"1s\"\nkill = \"random\"\n");
    let overrides = Overrides { seed: Some(11), ..Overrides::default() };
    let labels = |rest: &str| -> Vec<(Duration, String)> {
        let workload = Workload::parse(&with_nodes(5, rest), Path::new("w.toml"), &overrides).unwrap();
        workload.faults.into_iter().map(|fault| (fault.at, fault.label)).collect()
    };
    let few = labels(&(random("2s") + &random("6s")));
    let more =
        labels(&(random("4s") + &random("2s") + &random("6s") + "[[fault]]\nat = \"1s\"\npause = \"one\"\n"));
    assert!(few.iter().all(|fault| more.contains(fault)), "{few:?} {more:?}");
}

#[test]
fn repetitions_draw_anew_and_the_heal_lifts_what_lasts_too_long() {
    let rest = "[[fault]]\nat = \"0s\"\nfor = \"400ms\"\nevery = \"500ms\"\nkill = \"one\"\n[[fault]]\nat = \"8s\"\nfor = \"1h\"\npause = \"n0\"\n\
                [[fault]]\nat = \"9s\"\nrestart = \"n1\"\n[[fault]]\nat = \"9s\"\nstop = \"n2\"\n";
    let workload = parse(&with_nodes(5, rest)).unwrap();
    let kills: Vec<&ScheduledFault> = workload.faults.iter().filter(|fault| fault.f == "kill").collect();
    assert_eq!(kills.len(), 20);
    assert!(kills.iter().map(|fault| &fault.target).collect::<BTreeSet<_>>().len() > 1);
    let one = |f: &str| workload.faults.iter().find(|fault| fault.f == f).unwrap();
    assert_eq!(one("pause").until, None);
    assert_eq!(one("stop").until, None);
    assert!(one("restart").until.is_some(), "a restart is over when the node has ended");
}

/// Each label until the fault begins, and afterwards, were B to lead and all to be up.
fn aimed(fault: &str) -> (String, String) {
    let text = led(&with_nodes(5, &format!("[[fault]]\nat = \"1s\"\n{fault}\n")));
    let overrides = Overrides { seed: Some(7), ..Overrides::default() };
    let workload = Workload::parse(&text, Path::new("w.toml"), &overrides).unwrap();
    let fault = &workload.faults[0];
    let followers = ["n0", "n2", "n3", "n4"].map(String::from).to_vec();
    let parts = Parts { leader: "n1".into(), followers };
    let pending = fault.pending.as_ref().unwrap();
    pending.aim(&fault.label, None).expect_err("nobody is known to lead");
    let effect = pending.aim(&fault.label, Some(&parts)).unwrap();
    assert_eq!(effect, pending.aim(&fault.label, Some(&parts)).unwrap(), "the same draws each time");
    for name in effect.demands.iter().flat_map(names_of).chain(&effect.target) {
        assert!(workload.cluster.nodes.contains(name), "{name} in {effect:?}");
    }
    (fault.label.clone(), effect.label)
}

#[test]
fn faults_on_the_leader_say_whom_they_mean_once_that_is_known() {
    let labels: String = [
        "kill = \"leader\"",
        "pause = \"followers\"",
        "stop = \"follower\"",
        "restart = \"leader\"\nwhen = \"writing\"",
        "slow = { node = \"leader\", running = 0.5 }",
        "partition = { isolate = \"leader\" }",
        "partition = { isolate = \"leader\", with = \"minority\" }",
        "partition = { isolate = \"followers\" }",
        "partition = { bridge = \"leader\" }",
        "partition = { from = \"leader\", to = \"followers\" }",
        "delay = { from = \"leader\", by = \"2s\" }",
        "throttle = { to = \"leader\", rate = \"1KiB/s\" }",
        "jitter = { from = \"followers\", to = \"leader\", by = \"1s\" }",
        "reset = \"leader\"",
    ]
    .map(aimed)
    .iter()
    .map(|(before, after)| format!("{before} ⇒ {after}\n"))
    .collect();
    insta::assert_snapshot!(labels, @r"
    kill leader ⇒ kill leader (n1)
    pause followers ⇒ pause followers (n0, n2, n3, n4)
    stop follower ⇒ stop follower (n0)
    restart leader while it writes ⇒ restart leader while it writes (n1)
    slow leader to 50% ⇒ slow leader to 50% (n1)
    isolate leader ⇒ isolate leader (n1 | n0 n2 n3 n4)
    isolate leader with a minority ⇒ isolate leader with a minority (n1 n4 | n0 n2 n3)
    isolate followers ⇒ isolate followers (n0 n2 n3 n4 | n1)
    partition but for leader ⇒ partition but for leader (n3 n4 | n0 n2 but for n1)
    cut leader→followers ⇒ cut leader→followers (leader: n1; followers: n0, n2, n3, n4)
    delay leader→others by 2s ⇒ delay leader→others by 2s (n1)
    throttle others→leader to 1KiB/s ⇒ throttle others→leader to 1KiB/s (n1)
    jitter followers→leader up to 1s ⇒ jitter followers→leader up to 1s (followers: n0, n2, n3, n4; leader: n1)
    reset links of leader ⇒ reset links of leader (n1)
    ");
}

#[test]
fn a_leader_cut_off_with_a_minority_leaves_a_majority() {
    for nodes in 3..8 {
        let fault = "[[fault]]\nat = \"1s\"\npartition = { isolate = \"leader\", with = \"minority\" }\n";
        let workload = parse(&led(&with_nodes(nodes, fault))).unwrap();
        let [leader, followers @ ..] = workload.cluster.nodes.as_slice() else { panic!("no nodes") };
        let parts = Parts { leader: leader.clone(), followers: followers.to_vec() };
        let pending = workload.faults[0].pending.as_ref().unwrap();
        let effect = pending.aim("isolate leader", Some(&parts)).unwrap();
        assert!(effect.target.contains(leader), "{effect:?}");
        assert_eq!(effect.target.len(), (nodes - 1) / 2, "{nodes} nodes: {effect:?}");
    }
}
