//! `harness check` as a command.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::build::{Build, history};

pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

fn harness(args: &[&str]) -> Said {
    said("check", args)
}

pub fn said(subcommand: &str, args: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_harness")).arg(subcommand).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn saved(dir: &tempfile::TempDir, name: &str, build: &Build) -> PathBuf {
    let file = dir.path().join(name);
    std::fs::write(&file, build.text()).unwrap();
    file
}

fn good() -> Build {
    history("memory")
        .write(0, "A", ("k", 1), "8A", [100, 110])
        .read(0, "A", ("k", Some(1)), "8A", [120, 130])
        .restart("B", 200, 300)
}

#[test]
fn what_comes_through_a_pipe_is_read_to_its_end() {
    let ours = good().ends(&[("k", 1, "8A")], &[], &[("k", 1, "8A")]).text();
    let edn = "{:process 0, :type :invoke, :f :write, :value 1}\n{:process 0, :type :ok, :f :write, :value 1}\n\
               {:process 1, :type :invoke, :f :read, :value nil}\n{:process 1, :type :ok, :f :read, :value 2}\n";
    let pipe = |text: String, file: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        let command = command
            .arg("check")
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let _ = writer.join().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    };
    for file in ["-", "/dev/stdin"] {
        let said = pipe(ours.clone(), file);
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        assert!(said.out.contains("diverged: k "), "{}", said.out);
        let said = pipe(edn.to_owned(), file);
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        let name = if file == "-" { "standard input" } else { file };
        assert!(said.out.starts_with(&format!("{name}: 2 operations (jepsen-edn)")), "{}", said.out);
        let said = pipe(String::new(), file);
        assert_eq!(
            (said.code, &*said.err),
            (2, &*format!("error: {name}: the file is empty: expected a history\n"))
        );
    }
}

#[test]
fn verdicts_and_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let valid = saved(&dir, "valid.jsonl", &good().agree(&[("k", 1, "8A")]));
    let invalid = saved(&dir, "invalid.jsonl", &good().ends(&[("k", 1, "8A")], &[], &[("k", 1, "8A")]));
    let (valid, invalid) = (valid.to_str().unwrap(), invalid.to_str().unwrap());

    let said = harness(&[valid, "--check", "convergence", "lww", "read-your-writes"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(
        said.out.contains("2 operations") || said.out.contains("operations, durability memory"),
        "{}",
        said.out
    );
    assert!(said.out.ends_with("verdict: valid\n"), "{}", said.out);

    let said = harness(&[valid]);
    assert_eq!(said.code, 3, "durability had nothing to bite on: {}", said.out);
    let row = said.out.lines().find(|line| line.contains("│ durability ")).unwrap();
    assert!(row.contains("┆ unknown ┆ no node was restarted after it"), "{}", said.out);

    let said = harness(&[valid, invalid, "--check", "convergence"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("diverged: k "), "{}", said.out);
    assert!(said.out.contains("│ cause ┆ A never sent k to B again after B came back."), "{}", said.out);
    assert!(said.out.contains("│ under ┆ kill B 0.2–0.3 s"), "{}", said.out);

    let said = harness(&[invalid, "--json"]);
    assert_eq!(said.code, 1);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["verdict"], "invalid");
    assert_eq!(report["checks"][0]["name"], "convergence");
    assert_eq!(report["checks"][0]["violations"][0]["key"], "k");
}

#[test]
fn durability_can_be_overridden() {
    let dir = tempfile::tempdir().unwrap();
    let build = history("memory").write(0, "A", ("k", 1), "8A", [100, 110]).restart("A", 200, 300).agree(&[]);
    let file = saved(&dir, "lost.jsonl", &build);
    let file = file.to_str().unwrap();
    let said = harness(&[file, "--check", "durability"]);
    assert_eq!(said.code, 0, "{}", said.out);
    assert!(said.out.contains("1 loss excused"), "{}", said.out);
    assert_eq!(harness(&[file, "--check", "durability", "--durability", "disk"]).code, 1);
}

#[test]
fn the_modes_of_the_history_count() {
    let dir = tempfile::tempdir().unwrap();
    let text = |mode: &str| {
        let text = good().ends(&[("k", 1, "8A")], &[], &[("k", 1, "8A")]).text();
        text.replacen(
            "{\"contract\"",
            &format!("{{\"checks\":{{\"convergence\":\"{mode}\"}},\"contract\""),
            1,
        )
    };
    for (mode, code) in [("required", 1), ("reported", 0), ("expected-to-fail", 0)] {
        let file = dir.path().join(mode);
        std::fs::write(&file, text(mode)).unwrap();
        let said = harness(&[file.to_str().unwrap()]);
        assert_eq!(said.code, code, "{mode}: {}", said.out);
        assert!(!said.out.contains("read-your-writes"), "{}", said.out);
    }
}

#[test]
fn bad_usage_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let said = harness(&["x", "--check", "convergance"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("there is no check \"convergance\"; did you mean \"convergence\"?"),
        "{}",
        said.err
    );
    let broken = dir.path().join("broken.jsonl");
    let run = good().text().lines().next().unwrap().to_owned();
    std::fs::write(&broken, format!("{run}\n{{}}\n")).unwrap();
    let said = harness(&[broken.to_str().unwrap()]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("broken.jsonl:2: column 2: missing field `index`"), "{}", said.err);
    assert_eq!(harness(&["x", "--durability", "paper"]).code, 2);
}

/// A recorded run in which C, never told, answers an old value; and one check that operations alone suffice for.
fn stale() -> Build {
    history("disk")
        .write(0, "A", ("k", 1), "1A", [100, 110])
        .write(0, "A", ("k", 2), "2A", [120, 130])
        .read(1, "C", ("k", Some(1)), "1A", [140, 150])
        .agree(&[("k", 2, "2A")])
}

#[test]
fn operations_of_a_run_are_drawn_and_can_be_given_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let file = saved(&dir, "stale.jsonl", &stale());
    let file = file.to_str().unwrap();

    let rich = harness(&[file, "--check", "linearizability"]);
    assert_eq!(rich.code, 1, "{}{}", rich.out, rich.err);
    let rows: Vec<&str> = rich.out.lines().filter(|line| line.contains("├─")).collect();
    assert!(
        rows.iter().any(|row| row.trim_start().starts_with("p1 ") && row.contains("read 1")),
        "{}",
        rich.out
    );
    assert!(
        rich.out.lines().any(|line| line.trim_start().starts_with('=') && line.ends_with("✗ 2")),
        "{}",
        rich.out
    );
    assert!(rich.out.contains("│ node  ┆ C "), "A is innocent: {}", rich.out);

    let plain = harness(&[file, "--check", "linearizability", "--model", "register"]);
    assert_eq!(plain.code, 1, "{}{}", plain.out, plain.err);
    assert!(plain.out.contains("model: register; initial value nil"), "{}", plain.out);
    assert!(plain.out.contains("✗ 2"), "{}", plain.out);
    // Final snapshots are no operations: without the stale read nothing is wrong.
    let fine = saved(&dir, "fine.jsonl", &good().agree(&[("k", 1, "8A")]));
    let fine = fine.to_str().unwrap();
    assert_eq!(harness(&[fine, "--check", "linearizability", "--model", "register"]).code, 0);
    assert_eq!(harness(&[fine, "--check", "linearizability", "--initial", "7"]).code, 0);

    let both = harness(&[file, "--check", "convergence", "linearizability", "--model", "register", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&both.out).unwrap();
    let names: Vec<_> = report["checks"].as_array().unwrap().iter().map(|check| &check["name"]).collect();
    assert_eq!(names, ["convergence", "linearizability"]);
    assert_eq!(report["checks"][1]["violations"][0]["key"], "k");

    let said = harness(&[file, "--model", "register"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("--model and --initial are for checks of operations"), "{}", said.err);
}

#[test]
fn a_run_shows_its_ladder_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let file = saved(&dir, "stale.jsonl", &stale());
    let file = file.to_str().unwrap();
    let without = harness(&[file, "--check", "convergence"]);
    assert!(!without.out.contains("strongest"), "{}", without.out);
    let with = harness(&[file, "--check", "convergence", "--ladder"]);
    assert_eq!((without.code, with.code), (0, 0), "the ladder is shown, not required: {}", with.out);
    let row = with.out.lines().find(|line| line.contains("│ linearizability ")).unwrap();
    assert!(row.contains("┆ invalid"), "{}", with.out);
    assert!(with.out.contains("convergence"), "{}", with.out);
}
