//! The workloads that are shipped.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::fault::Demand;
use harness::history::Durability;
use harness::workload::{CheckMode, ClientSpec, NodeFacts, Overrides, PeerFacts, Workload, render_node};

use super::shipped;

fn load(path: &Path) -> Workload {
    Workload::load(path, &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn all_are_right_and_say_what_they_are() {
    for path in shipped() {
        let workload = load(&path);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let system = system(&path);
        let name = if system == "lww" { stem.to_owned() } else { format!("{system}-{stem}") };
        assert_eq!(workload.name, name);
        assert!(!workload.about.is_empty(), "{name}");
        if system.starts_with("quorum") {
            continue;
        }
        for check in [
            "convergence",
            "lww",
            "read-your-writes",
            "monotonic-reads",
            "monotonic-writes",
            "writes-follow-reads",
        ] {
            assert!(workload.checks.contains(&(check.to_owned(), CheckMode::Required)), "{name}: {check}");
        }
        let kills = workload
            .faults
            .iter()
            .any(|fault| fault.demands.iter().any(|demand| matches!(demand, Demand::Down { .. })));
        let durability = workload.checks.iter().any(|(check, _)| check == "durability");
        assert_eq!(kills, durability, "{name}: durability is checked where something is killed");
    }
}

/// The folder a workload is in, `quorum-lab` for `quorum/lab`; those of the last-writer-wins store are in none.
fn system(path: &Path) -> String {
    let folder = path.parent().unwrap().strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
    match folder.strip_prefix("workloads").unwrap().to_str().unwrap() {
        "" => "lww".to_owned(),
        folder => folder.replace('/', "-"),
    }
}

#[test]
fn those_of_the_quorum_store_start_it_as_the_course_does() {
    for path in shipped().into_iter().filter(|path| system(path).starts_with("quorum")) {
        let workload = load(&path);
        let name = &workload.name;
        assert_eq!(
            workload.client.probe,
            Some(Duration::from_millis(100)),
            "{name}: somebody has to know who leads"
        );
        assert!(workload.cluster.elect_within.is_some(), "{name}");
        let (w, r) = (workload.cluster.write_quorum.unwrap(), workload.cluster.read_quorum.unwrap());
        let facts = NodeFacts {
            host: "127.0.0.1".to_owned(),
            port: 8001,
            ports: Default::default(),
            dir: "/tmp/b".into(),
            peers: vec![PeerFacts {
                id: "A".to_owned(),
                host: "127.1.2.1".to_owned(),
                port: 8000,
                ports: Default::default(),
            }],
        };
        let node = render_node(&workload, 1, &facts).unwrap();
        assert_eq!(node.argv[1..], ["node", "quorum"], "{name}");
        let id = workload.cluster.nodes[1].clone();
        let expected = [
            ("NODE_ID", id),
            ("PEERS", "http://127.1.2.1:8000".to_owned()),
            ("PORT", "8001".to_owned()),
            ("READ_QUORUM", r.to_string()),
            ("WRITE_QUORUM", w.to_string()),
        ];
        assert_eq!(node.env, expected.map(|(name, value)| (name.to_owned(), value)).into(), "{name}");
        // Another W is another W everywhere.
        let overrides = Overrides { vars: vec!["W=1".to_owned()], ..Overrides::default() };
        let other = Workload::load(&path, &overrides).unwrap();
        assert_eq!(other.cluster.write_quorum, Some(1), "{name}");
        assert_eq!(render_node(&other, 1, &facts).unwrap().env["WRITE_QUORUM"], "1", "{name}");
    }
}

#[test]
fn those_of_the_lab_have_patience_with_real_nodes() {
    for path in shipped().into_iter().filter(|path| path.parent().unwrap().ends_with("lab2")) {
        for seed in 0..20 {
            let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
            let workload = Workload::load(&path, &overrides).unwrap();
            let name = &workload.name;
            assert_eq!(workload.cluster.durability, Durability::Memory, "{name}");
            assert_eq!(workload.client.max_in_flight, Some(2), "{name}");
            assert_eq!(workload.cluster.port, Some(8000), "{name}");
            assert!(workload.settle_within >= Duration::from_secs(15), "{name}");
            for fault in &workload.faults {
                let lasting = fault.until.unwrap_or(workload.load.duration) - fault.at;
                let least = match fault.f {
                    "kill" | "pause" => 8,
                    "partition" => 20,
                    _ => 0,
                };
                assert!(lasting >= Duration::from_secs(least), "{name}, seed {seed}: {}", fault.label);
            }
        }
    }
}

#[test]
fn those_for_other_quorum_stores_have_patience_too() {
    for path in shipped().into_iter().filter(|path| system(path) == "quorum-lab") {
        for seed in 0..20 {
            let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
            let workload = Workload::load(&path, &overrides).unwrap();
            let name = &workload.name;
            assert_eq!(workload.client.max_in_flight, Some(2), "{name}");
            assert!(workload.client.timeout >= Duration::from_secs(3), "{name}");
            assert!(workload.cluster.elect_within >= Some(Duration::from_secs(8)), "{name}");
            assert!(workload.settle_within >= Duration::from_secs(20), "{name}");
            for fault in &workload.faults {
                let lasting = fault.until.unwrap_or(workload.load.duration) - fault.at;
                assert!(lasting >= Duration::from_secs(1), "{name}, seed {seed}: {}", fault.label);
            }
        }
    }
}

/// While faults follow each other closely nobody owes anyone a leader, and `leader` would have nothing to judge of elections.
#[test]
fn chaos_leaves_time_for_an_election_at_last() {
    for name in ["pubsub/chaos.toml", "quorum/chaos.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads").join(name);
        for seed in 0..20 {
            let workload =
                Workload::load(&path, &Overrides { seed: Some(seed), ..Overrides::default() }).unwrap();
            let healed = workload.faults.iter().map(|fault| fault.until.unwrap()).max().unwrap();
            let elect_within = workload.cluster.elect_within.unwrap();
            // Beside it: for a process that was killed to come back, and for the margin that the check leaves.
            let room = elect_within + Duration::from_millis(900);
            assert!(healed + room <= workload.load.duration, "{name}, seed {seed}: healed at {healed:?}");
        }
    }
}

#[test]
fn quick_ones_are_quick() {
    for path in shipped().into_iter().filter(|path| !system(path).contains("lab")) {
        let workload = load(&path);
        assert!(workload.load.duration <= Duration::from_secs(12), "{}", workload.name);
        assert_eq!(workload.cluster.durability, Durability::Disk);
    }
}

#[test]
fn what_the_results_keep_loads_to_the_same_workload() {
    let here = |workload: &Workload| {
        let Workload {
            name, about, seed, vars, cluster, client, load, faults, settle_within, checks, ..
        } = workload;
        // A path is written down as it is from anywhere.
        let protocol = client.protocol.rsplit('/').next().unwrap_or_default().to_owned();
        let client = ClientSpec { protocol, ..client.clone() };
        format!(
            "{name:?} {about:?} {seed:?} {vars:?} {cluster:?} {client:?} {load:?} {faults:?} {settle_within:?} {checks:?}"
        )
    };
    for path in shipped() {
        let first = load(&path);
        let again = Workload::parse(&first.resolved, Path::new("elsewhere.toml"), &Overrides::default());
        let again = again.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(here(&first), here(&again));
        assert_eq!(first.resolved, again.resolved);
    }
}

#[test]
fn commands_are_the_lab_s() {
    let workload = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads/skew.toml"));
    let peer = |id: &str, host: &str, port| PeerFacts {
        id: id.to_owned(),
        host: host.to_owned(),
        port,
        ports: Default::default(),
    };
    let facts = NodeFacts {
        host: "127.0.0.1".to_owned(),
        port: 8001,
        ports: Default::default(),
        dir: "/tmp/a b".into(),
        peers: vec![peer("A", "127.1.2.1", 8000), peer("C", "127.1.2.3", 8002)],
    };
    let node = render_node(&workload, 1, &facts).unwrap();
    let expected = "node lww --id B --port 8001 --peers http://127.1.2.1:8000,http://127.1.2.3:8002";
    assert_eq!(node.argv[1..].join(" "), expected);
    assert!(Path::new(&node.argv[0]).is_absolute());
    assert_eq!(node.env["NODE_CLOCK_SKEW_MS"], "2000");
}

#[test]
fn paths_with_spaces_survive_and_files_are_found_from_a_node_s_own_directory() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("node.py"), "").unwrap();
    let text = super::edited(
        "command = \"{{ node }} --id {{ id }} --port {{ port }}\"",
        "command = \"/bin/sh node.py --dir {{ dir }} --id {{ id }}\"\nenv = { DIR = \"{{ dir }}\", N = 3 }",
    );
    let workload = Workload::parse(&text, &folder.path().join("w.toml"), &Overrides::default()).unwrap();
    let facts = NodeFacts {
        host: "h".to_owned(),
        port: 1,
        ports: Default::default(),
        dir: "/tmp/a b".into(),
        peers: Vec::new(),
    };
    let node = render_node(&workload, 0, &facts).unwrap();
    let script = folder.path().join("node.py").display().to_string();
    assert_eq!(node.argv, ["/bin/sh", &script, "--dir", "/tmp/a b", "--id", "A"]);
    assert_eq!(node.env["DIR"], "/tmp/a b");
    assert_eq!(node.env["N"], "3");
}

#[test]
fn overrides_override() {
    let overrides = Overrides {
        node: Some("/bin/sh -c true".to_owned()),
        vars: Vec::new(),
        sets: [
            "load.rate=7.5",
            "fault.0.at=1s",
            "client.max-in-flight=3",
            "checks.staleness=reported",
            "cluster.port=9000",
        ]
        .map(str::to_owned)
        .to_vec(),
        seed: Some(7),
        ..Overrides::default()
    };
    let workload = Workload::parse(super::BASE, Path::new("w.toml"), &overrides).unwrap();
    assert_eq!(workload.load.rate, 7.5);
    assert_eq!(workload.faults[0].at, Duration::from_secs(1));
    assert_eq!(workload.client.max_in_flight, Some(3));
    assert_eq!(workload.cluster.port, Some(9000));
    assert_eq!(workload.seed, 7);
    assert_eq!(workload.vars["node"], "/bin/sh -c true");
    assert_eq!(workload.checks.len(), 2);
}

#[test]
fn the_command_line_validates_and_shows_the_schedule() {
    let harness = env!("CARGO_BIN_EXE_harness");
    let folder = env!("CARGO_MANIFEST_DIR");
    let run =
        |arguments: &[&str]| Command::new(harness).current_dir(folder).args(arguments).output().unwrap();

    let output = run(&["validate", "--schedule", "--seed", "7", "workloads/outage.toml"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!("validate_schedule", String::from_utf8(output.stdout).unwrap());

    let output = run(&["validate", "workloads/outage.toml", "workloads/outge.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("ok workloads/outage.toml: outage"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("did you mean `workloads/outage.toml`?"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'));

    let output = run(&["validate", "workloads/protocols/pubsub.toml"]);
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        stdout,
        "ok workloads/protocols/pubsub.toml: protocol pubsub over line: publish, history, subscribe, status, ready\n"
    );
    let wrong = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(wrong.path(), "transport = \"stdio\"\ndelivr = 'x'\n[broadcast]\nline = 'y'\n").unwrap();
    let output = run(&["validate", wrong.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains(":2:1: a protocol file has no key `delivr`; did you mean `deliver`?"),
        "{stderr}"
    );

    let output = run(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, harness::workload::schema::schema());
}
