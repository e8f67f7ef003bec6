//! `harness check` on histories nobody made with this harness.

use std::path::{Path, PathBuf};

use harness::check::ladder::LEVELS;
use serde_json::Value as Json;

use crate::cli::{Said, said};

fn check(args: &[&str]) -> Said {
    said("check", args)
}

/// Runs `harness check FILE args…` on this text.
fn checked(text: &str, args: &[&str]) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("history");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let args: Vec<&str> = std::iter::once(file.as_str()).chain(args.iter().copied()).collect();
    check(&args)
}

/// Each operation as `process f input → output`, one after another, in Jepsen's EDN.
fn edn(ops: &[(u32, &str, &str, &str)]) -> String {
    let event = |(process, f, input, output): &(u32, &str, &str, &str)| {
        format!(
            "{{:process {process}, :type :invoke, :f :{f}, :value {input}}}\n{{:process {process}, :type :ok, :f :{f}, :value {output}}}\n"
        )
    };
    ops.iter().map(event).collect()
}

fn stale() -> String {
    edn(&[
        (0, "write", "17", "17"),
        (1, "write", "18", "18"),
        (2, "read", "nil", "18"),
        (3, "read", "nil", "17"),
    ])
}

#[test]
fn one_line_is_enough() {
    let said = checked(&stale(), &[]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(
        said.out.contains(": 4 operations (jepsen-edn)\nmodel: register, told by the operations"),
        "{}",
        said.out
    );
    let row = said.out.lines().find(|line| line.contains("│ linearizability ")).unwrap();
    assert!(row.contains("┆ invalid ┆ 1 key, 4 operations, 2 reads"), "{}", said.out);
    assert!(said.out.contains("p3 read 17 after"), "{}", said.out);
    let picture: Vec<&str> =
        said.out.lines().filter(|line| line.contains("├─") || line.contains('✗')).collect();
    assert!(picture.iter().any(|line| line.ends_with("├─ read 17 ─┤")), "{}", said.out);
    assert!(
        picture.iter().any(|line| line.trim_start().starts_with("= ") && line.ends_with("✗ 18")),
        "{}",
        said.out
    );
    assert!(said.out.ends_with("\nverdict: invalid\n"), "{}", said.out);
    assert!(!said.out.contains('\x1b'), "no control codes without a terminal");
    assert!(said.out.lines().skip(1).all(|line| line.chars().count() <= 80), "{}", said.out);

    let said = checked(&edn(&[(0, "write", "17", "17"), (1, "read", "nil", "17")]), &[]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("The strongest level that holds: linearizability."), "{}", said.out);
}

#[test]
fn json_has_the_fields_of_a_recorded_run() {
    for args in [&["--json"][..], &["--json", "--check", "linearizability", "--ladder"]] {
        let said = checked(&stale(), args);
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        assert_eq!(said.out.lines().count(), 1);
        let report: Json = serde_json::from_str(&said.out).unwrap();
        assert_eq!((&report["verdict"], &report["exit_code"]), (&Json::from("invalid"), &Json::from(1)));
        assert_eq!(
            (&report["model"], &report["format"]),
            (&Json::from("register"), &Json::from("jepsen-edn"))
        );
        assert_eq!(report["ladder"][0]["name"], "linearizability");
        assert_eq!(report["ladder"][0]["verdict"], "invalid");
        let found = if args.len() > 1 { &report["checks"][0] } else { &report["ladder"][0]["check"] };
        for field in ["name", "mode", "verdict", "reason", "evidence", "violations_total", "excused", "stats"]
        {
            assert!(found.get(field).is_some(), "{field}: {found}");
        }
        let violation = &found["violations"][0];
        for field in ["kind", "nodes", "story", "cause", "ops", "faults"] {
            assert!(violation.get(field).is_some(), "{field}: {violation}");
        }
        let ops: Vec<u64> = serde_json::from_value(violation["ops"].clone()).unwrap();
        assert!(ops.ends_with(&[6]) && ops.iter().all(|op| [0, 2, 4, 6].contains(op)), "{ops:?}");
        assert_eq!(violation["minimal"], true);
    }
}

#[test]
fn the_model_and_its_start_can_be_chosen() {
    let zero = edn(&[(0, "read", "nil", "0"), (0, "cas", "[0 4]", "[0 4]"), (1, "read", "nil", "4")]);
    let said = checked(&zero, &[]);
    assert_eq!(said.code, 1, "nobody wrote 0");
    assert!(said.out.contains("With --initial 0 it is linearizable."), "{}", said.out);
    let said = checked(&zero, &["--initial", "0"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("model: cas-register, told by the operations"), "{}", said.out);
    assert!(said.out.contains("initial\n  value 0"), "{}", said.out);

    let nil = edn(&[(0, "write", "1", "1"), (1, "read", "nil", "nil")]);
    let said = checked(&nil, &["--check", "linearizability"]);
    assert_eq!(said.code, 3, "Knossos did not record this read, others found nothing");
    assert!(said.out.contains("--model register"), "{}", said.out);
    assert_eq!(checked(&nil, &[]).code, 3);
    assert_eq!(checked(&nil, &["--model", "cas-register"]).code, 0);
    let said = checked("", &[]);
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("the file is empty: expected a history"), "{}", said.err);
    let open = checked("{:process 0 :type :invoke :f :write :value 1}", &[]);
    assert_eq!(open.code, 0, "Knossos says so too: {}", open.out);
    let faults = checked("{:process :nemesis :type :info :f :kill :value nil}", &["--json"]);
    assert_eq!(faults.code, 0, "the empty order explains nothing happening: {}", faults.out);
    let strongest: Json = serde_json::from_str(&faults.out).unwrap();
    assert_eq!(strongest["strongest"][0], "linearizability");
    assert!(open.out.contains("no completed read: nothing could"), "{}", open.out);
    assert_eq!(checked(&nil, &["--check", "linearizability", "--model", "register"]).code, 1);

    let txn = edn(&[
        (0, "txn", "[[:w :x 1]]", "[[:w :x 1]]"),
        (1, "txn", "[[:r :x nil] [:r :y nil]]", "[[:r :x 1] [:r :y 5]]"),
    ]);
    let said = checked(&txn, &[]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("With --initial y=5 it is linearizable."), "{}", said.out);
    assert!(said.out.contains("initial\n  values nil"), "{}", said.out);
    assert_eq!(checked(&txn, &["--initial", "x=0,y=5"]).code, 0);
    let said = checked(&txn, &["--initial", "5"]);
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("needs an initial value a register, as in x=0,y=0"), "{}", said.err);
}

#[test]
fn what_cannot_be_told_is_asked_for() {
    let said = checked(&edn(&[(0, "add", "1", "1"), (1, "read", "nil", "nil")]), &[]);
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("the model cannot be told from `add`, `read`: it may be set or counter; --model chooses one of register, "), "{}", said.err);
    let said = checked(&edn(&[(0, "generate", "nil", "1"), (0, "read", "nil", "1")]), &[]);
    assert!(said.code == 2 && said.err.contains("no model knows all of `generate`, `read`"), "{}", said.err);
    let said = checked(&stale(), &["--model", "queue"]);
    assert!(
        said.code == 2 && said.err.contains("the model `queue` knows enqueue and dequeue"),
        "{}",
        said.err
    );
    let said = checked(&stale(), &["--model", "regster"]);
    assert!(said.code == 2 && said.err.contains("did you mean `register`?"), "{}", said.err);
}

/// An element listed twice is no matter of linearizability, nor is the order of ids.
#[test]
fn objects_are_judged_beside_the_ladder() {
    let set = |read: &str| edn(&[(0, "add", "1", "1"), (1, "read", "nil", read)]);
    let said = checked(&set("[1 1]"), &["--json"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let report: Json = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["ladder"][0]["verdict"], "valid");
    assert_eq!(
        (&report["checks"][0]["name"], &report["checks"][0]["violations"][0]["kind"]),
        (&Json::from("set"), &Json::from("duplicated"))
    );
    let said = checked(&set("[1 1]"), &[]);
    assert!(said.out.contains("p1 read 1 twice in one answer"), "{}", said.out);
    assert!(said.out.ends_with("\nverdict: invalid\n"), "{}", said.out);
    assert_eq!(checked(&set("[1 1]"), &["--check", "linearizability"]).code, 0, "asked for the order alone");
    assert_eq!(checked(&set("[1]"), &[]).code, 0);
    // That nothing could be missed is no answer to whether the order is right.
    let unread = edn(&[(1, "read", "nil", "[]"), (0, "add", "1", "1")]);
    assert_eq!(checked(&unread, &["--check", "set"]).code, 3);
    assert_eq!(checked(&unread, &["--model", "set"]).code, 0);

    let queue = edn(&[(0, "enqueue", "1", "1"), (1, "dequeue", "nil", "1"), (1, "dequeue", "nil", "1")]);
    let said = checked(&queue, &[]);
    assert!(said.code == 1 && said.out.contains("\nqueue: 1 violation"), "{}", said.out);
    let drained = edn(&[(0, "enqueue", "1", "1"), (1, "drain", "nil", "[1 1]")]);
    let said = checked(&drained, &[]);
    assert!(said.code == 1 && said.out.contains("\nqueue: 1 violation"), "{}{}", said.out, said.err);
    let counter = edn(&[(0, "add", "1", "1"), (1, "read", "nil", "2")]);
    let said = checked(&counter, &[]);
    assert!(said.code == 1 && said.out.contains("\ncounter: 1 violation"), "{}", said.out);

    let ids = |second: &str| edn(&[(0, "generate", "nil", "1"), (1, "generate", "nil", second)]);
    assert_eq!(checked(&ids("2"), &[]).code, 0);
    let said = checked(&ids("1"), &[]);
    assert!(said.code == 1 && said.out.contains("p0 was given the id 1, and so was p1"), "{}", said.out);
}

#[test]
fn a_check_of_runs_says_that_it_needs_one() {
    let said = checked(&stale(), &["--check", "convergence"]);
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("history: `convergence` needs a history recorded by harness"), "{}", said.err);
    assert!(said.err.contains("checks of operations: linearizability"), "{}", said.err);
    let said = checked(&stale(), &["--durability", "disk"]);
    assert!(
        said.code == 2 && said.err.contains("--durability is about histories recorded by harness"),
        "{}",
        said.err
    );
}

#[test]
fn every_check_can_be_asked_for_by_name_and_none_panics() {
    // Sessions that read what they wrote and write after what they read: something to judge for every guarantee.
    let register = edn(&[
        (0, "write", "1", "1"),
        (0, "read", "nil", "1"),
        (0, "write", "2", "2"),
        (1, "read", "nil", "2"),
        (1, "read", "nil", "2"),
        (1, "write", "3", "3"),
        (0, "read", "nil", "3"),
        (1, "read", "nil", "3"),
    ]);
    let keyed = edn(&[
        (0, "write", "[:x 1]", "[:x 1]"),
        (0, "write", "[:y 2]", "[:y 2]"),
        (1, "read", "[:y nil]", "[:y 2]"),
        (1, "read", "[:x nil]", "[:x 1]"),
    ]);
    let set = edn(&[(0, "add", "1", "1"), (1, "read", "nil", "[1]")]);
    let counter = edn(&[(0, "add", "1", "1"), (1, "read", "nil", "1")]);
    let queue = edn(&[(0, "enqueue", "1", "1"), (1, "dequeue", "nil", "1")]);
    let ids = edn(&[(0, "generate", "nil", "1"), (1, "generate", "nil", "2")]);
    for check in harness::check::plain::PLAIN {
        let mut judged = 0;
        for text in [&register, &keyed, &set, &counter, &queue, &ids, &String::new()] {
            let said = checked(text, &["--check", check.name()]);
            assert!([0, 1, 2, 3].contains(&said.code), "{}: {} {}", check.name(), said.code, said.err);
            assert!(!said.err.contains("panicked"), "{}: {}", check.name(), said.err);
            judged += u32::from(said.code < 2);
        }
        assert!(judged > 0, "{} has judged none of them", check.name());
    }
}

#[test]
fn malformed_files_are_named_with_line_and_expectation() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let torn = file("torn.edn", "[{:process 0 :type :invoke :f :read}\n{:process 0 :type :okay}]");
    let said = check(&[&torn]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("torn.edn:2: expected a :type of :invoke, :ok, :fail or :info, found `okay`"),
        "{}",
        said.err
    );
    let broken = file("broken.edn", "{:process 0 :type :ok :f :read :value 1}");
    let said = check(&[&broken]);
    assert!(said.code == 2 && said.err.contains("broken.edn:1: this history breaks the rules: process 0 completes an operation it never invoked"), "{}", said.err);
    let prose = file("prose.txt", "Dear diary, …");
    let said = check(&[&prose]);
    assert!(said.code == 2 && said.err.contains("prose.txt: the format is not recognised"), "{}", said.err);
    let said = check(&[&prose, "--format", "jepsen-edn"]);
    assert!(said.code == 2 && said.err.contains("prose.txt:1: expected an event"), "{}", said.err);
    assert_eq!(check(&[dir.path().join("absent").to_str().unwrap()]).code, 2);

    // Of several files the worst counts, and the others are still judged.
    let (bad, good) = (
        file("bad.edn", &stale()),
        file("good.edn", &edn(&[(0, "write", "1", "1"), (0, "read", "nil", "1")])),
    );
    assert_eq!(check(&[&good, &bad]).code, 1);
    let said = check(&[&good, &broken, &bad, "--json"]);
    assert_eq!((said.code, said.out.lines().count()), (2, 2));
}

#[test]
fn the_search_keeps_its_budget() {
    // Every order of 14 concurrent writes of few values is possible; none explains the last read.
    let mut text = String::new();
    for process in 0..14 {
        text +=
            &format!("{{:process {process} :type :invoke :f :append :key \"k\" :value \"{process},\"}}\n");
    }
    for process in 0..14 {
        text += &format!("{{:process {process} :type :ok :f :append :key \"k\" :value \"{process},\"}}\n");
    }
    text += "{:process 0 :type :invoke :f :get :key \"k\" :value nil}\n";
    text += "{:process 0 :type :ok :f :get :key \"k\" :value \"x\"}\n";
    let reason = |args: &[&str]| {
        let args = [&["--json", "--check", "linearizability"], args].concat();
        let said = checked(&text, &args);
        assert_eq!(said.code, 3, "{}{}", said.out, said.err);
        let report: Json = serde_json::from_str(&said.out).unwrap();
        report["checks"][0]["reason"].as_str().unwrap().to_owned()
    };
    let time = reason(&["--budget", "20ms"]);
    assert!(time.starts_with("key \"k\": the time of 20ms was used up"), "{time}");
    let memory = reason(&["--memory", "1MiB"]);
    assert!(memory.starts_with("key \"k\": the memory of 1 MiB was used up"), "{memory}");
    let said = checked(&text, &["--budget", "soon"]);
    assert!(said.code == 2 && said.err.contains("expected a duration such as"), "{}", said.err);
}

/// Where the recorded histories of other projects are, if they are there.
pub fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("HARNESS_HISTORIES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/histories"), PathBuf::from);
    if folder.join("EXPECTED.tsv").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: {} is absent; set HARNESS_HISTORIES to the recorded histories", folder.display());
    None
}

/// Without `--model`, every shared history gives the verdict that is expected of the model it was recorded for.
#[test]
fn the_shared_histories_are_judged_without_being_told_the_model() {
    let Some(folder) = shared() else { return };
    let expected = std::fs::read_to_string(folder.join("EXPECTED.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = expected
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect();
    let (mut count, mut drawn) = (0, 0);
    for initial in ["0", "nil", "x=0,y=0", "\"\" per key"] {
        // The proof of a hard one takes seconds without optimisation; `tests/histories.rs` judges them all.
        let hard = |name: &str| name.contains("memstress3-53") || name.contains("cas-failure");
        let these: Vec<_> = rows.iter().filter(|row| row[2] == initial && !hard(row[0])).step_by(4).collect();
        let paths: Vec<String> =
            these.iter().map(|row| folder.join(row[0]).to_str().unwrap().to_owned()).collect();
        let mut args: Vec<&str> = paths.iter().map(String::as_str).collect();
        args.extend(["--json", "--check", "linearizability"]);
        if !initial.starts_with('"') {
            args.extend(["--initial", initial]);
        }
        let said = check(&args);
        assert_eq!(said.err, "");
        for (row, line) in these.iter().zip(said.out.lines()) {
            let report: Json = serde_json::from_str(line).unwrap();
            // One has only reads and writes: a register like any other.
            let same = report["model"] == row[1]
                || (row[1].ends_with("cas-register") && report["model"] == "register");
            assert!(same, "{}: {}", row[0], report["model"]);
            let verdict = if row[3] == "true" { "valid" } else { "invalid" };
            let nothing_to_see =
                report["checks"][0]["reason"] == "no completed read: nothing could have been found";
            assert!(
                report["verdict"] == verdict || (verdict == "valid" && nothing_to_see),
                "{}: {line}",
                row[0]
            );
            drawn += usize::from(verdict == "invalid");
            count += 1;
        }
    }
    assert!(count >= 26 && drawn >= 9, "{count} {drawn}");
}

#[test]
fn proofs_of_shared_histories_are_drawn_within_eighty_columns() {
    let Some(folder) = shared() else { return };
    for name in ["porcupine/etcd_000.log", "porcupine/c10-bad.txt", "knossos/rethink-fail-minimal.edn"] {
        let path = folder.join(name);
        let said = check(&[path.to_str().unwrap()]);
        assert_eq!(said.code, 1, "{name}: {}", said.err);
        assert!(said.out.contains('✗'), "{name}: {}", said.out);
        let wide = said.out.lines().skip(1).find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{name}");
    }
}

/// What the README shows is what is printed.
#[test]
fn the_readme_shows_what_is_printed() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let sample = readme.split("<!-- check:begin -->\n").nth(1).unwrap();
    let sample = sample.split("<!-- check:end -->").next().unwrap();
    let sample: String =
        sample.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    let text = "{:process 0, :type :invoke, :f :write, :value 17}
        {:process 0, :type :ok, :f :write, :value 17}
        {:process 1, :type :invoke, :f :write, :value 18}
        {:process 2, :type :invoke, :f :read, :value nil}
        {:process 2, :type :ok, :f :read, :value 18}
        {:process 1, :type :ok, :f :write, :value 18}
        {:process 3, :type :invoke, :f :read, :value nil}
        {:process 3, :type :ok, :f :read, :value 17}";
    let printed = checked(text, &[]).out;
    // The name of the file is this test's own.
    let printed = printed.split_once(": ").map(|(_, rest)| format!("history.edn: {rest}")).unwrap();
    // A build with fewer levels has a shorter ladder; what follows it is the same.
    let whole = LEVELS.iter().all(|level| harness::check::plain::find(level.name).is_some());
    let part = |text: &str| match whole {
        true => text.to_owned(),
        false => text.split_once("\nlinearizability: ").unwrap().1.to_owned(),
    };
    assert_eq!(part(&sample), part(&printed), "put this into README.md between the markers, indented");
}
