//! `harness convert`: read back by another EDN library, and by our own importer.

use std::collections::BTreeMap;
use std::path::Path;

use clojure_reader::edn::{Edn, read};
use harness::history::calls::Calls;
use harness::history::import::{self, Options};

use crate::build::history;
use crate::cli::{Said, said};
use crate::foreign::shared;

fn convert(args: &[&str]) -> Said {
    said("convert", args)
}

/// Converts a file, in the end to standard output, and gives what was written.
fn converted(path: &Path, to: &str) -> (String, String) {
    let said = convert(&[path.to_str().unwrap(), "--to", to]);
    assert_eq!(said.code, 0, "{}: {}", path.display(), said.err);
    (said.out, said.err)
}

/// The events of EDN text, as the other library reads and writes them.
fn events(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.trim().is_empty() {
        let (event, after) = read(rest).unwrap_or_else(|error| panic!("{error:?}: {rest:.200}"));
        rest = after;
        let Edn::Map(event) = &event else { panic!("an event is a map: {event}") };
        let field = |(key, value): (&Edn<'_>, &Edn<'_>)| match key {
            Edn::Key(name) => (name.to_string(), value.to_string()),
            other => panic!("fields are keywords: {other}"),
        };
        found.push(event.iter().map(field).collect());
    }
    found
}

fn written(dir: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Everything a checker sees, in words: interned ids may differ from one reading to another.
fn told(calls: &Calls) -> Vec<String> {
    let line = |call: &harness::history::calls::Call| {
        format!("{}-{} {:?} {}", call.invoke, call.ret, call.outcome, calls.describe(call))
    };
    calls.calls.iter().map(line).collect()
}

#[test]
fn a_recorded_run_becomes_jepsen_s_history() {
    let dir = tempfile::tempdir().unwrap();
    let build = history("disk")
        .write(0, "A", ("k1", 1), "8A", [100, 110])
        .read(1, "B", ("k1", Some(1)), "8A", [120, 130])
        .restart("B", 200, 300)
        .write_as("info", 0, "A", ("k2", 2), "", [310, 330])
        .write_as("open", 2, "A", ("k2", 3), "", [340, 350])
        .agree(&[("k1", 1, "8A")]);
    let path = written(&dir, "history.jsonl", &build.text());
    let (text, notes) = converted(&path, "edn");
    assert!(notes.contains("events of snapshots left out"), "{notes}");
    let events = events(&text);
    let clients: Vec<_> = events.iter().filter(|event| event["process"].parse::<u32>().is_ok()).collect();
    let lines: Vec<String> = clients
        .iter()
        .map(|event| format!("{} {} {} {}", event["process"], event["type"], event["f"], event["value"]))
        .collect();
    assert_eq!(
        lines,
        [
            "0 :invoke :write [\"k1\" 1]",
            "0 :ok :write [\"k1\" 1]",
            "1 :invoke :read [\"k1\" nil]",
            "1 :ok :read [\"k1\" 1]",
            "0 :invoke :write [\"k2\" 2]",
            "0 :info :write [\"k2\" 2]",
            "2 :invoke :write [\"k2\" 3]",
        ]
    );
    let nemesis: Vec<_> = events.iter().filter(|event| event["process"] == ":nemesis").collect();
    assert_eq!(nemesis.len() + clients.len(), events.len());
    assert!(nemesis.iter().all(|event| event["type"] == ":info"));
    assert_eq!(nemesis.iter().filter(|event| event["f"] == ":kill").count(), 2);
    let number = |event: &BTreeMap<String, String>, field: &str| event[field].parse::<i64>().unwrap();
    for pair in events.windows(2) {
        assert!(number(&pair[0], "index") < number(&pair[1], "index"));
        assert!(number(&pair[0], "time") <= number(&pair[1], "time"));
    }
    let write = clients.iter().find(|event| event["type"] == ":ok").unwrap();
    assert_eq!(write["version"], "{:origin \"A\", :ts 8}");

    // And back: what the checks of operations see is the same, from the run as from its EDN.
    let back = written(&dir, "back.edn", &text);
    let same = import::read(&path, Options::default()).unwrap();
    assert_eq!(told(&import::read(&back, Options::default()).unwrap()), told(&same));
    let rich = harness::history::reader::read(&path).unwrap();
    assert_eq!(told(&Calls::from_history(&rich).unwrap()), told(&same));
    // JSON lines of a run are the run.
    let (lines, _) = converted(&path, "jsonl");
    let again = written(&dir, "again.jsonl", &lines);
    let again = harness::history::reader::read(&again).unwrap();
    assert_eq!((again.ops.len(), again.faults.len()), (rich.ops.len(), rich.faults.len()));
    assert_eq!(again.final_snapshots().len(), rich.final_snapshots().len());
}

#[test]
fn awkward_values_survive() {
    let values = [
        r#""a \"quoted\" \\ line\nbreak\ttab é ∀ 🦀""#,
        "-7",
        "1.5",
        "true",
        "null",
        r#"[1,[2,"x"],{"a b":null,"c":[]}]"#,
        r#"":not-a-keyword""#,
        "9007199254740993",
        r#""""#,
    ];
    let mut text = String::new();
    for (process, value) in values.iter().enumerate() {
        for kind in ["invoke", "ok"] {
            text += &format!(
                "{{\"process\":{process},\"type\":\"{kind}\",\"f\":\"write it\",\"key\":\"k {}\",\"value\":{value}}}\n",
                process % 2
            );
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = written(&dir, "odd.jsonl", &text);
    let (edn, notes) = converted(&path, "edn");
    assert!(notes.contains("18 events without a time"), "{notes}");
    let events = events(&edn);
    assert_eq!(events.len(), 2 * values.len());
    assert_eq!(events[0]["f"], "\"write it\"");
    let (first, _) = read(&edn).unwrap();
    let key = |name: &str| Edn::Key(name.to_owned().into());
    let value = match &first {
        Edn::Map(event) => &event[&key("value")],
        other => panic!("{other}"),
    };
    let Edn::Vector(pair) = value else { panic!("{value}") };
    assert_eq!(pair[1], Edn::Str("a \"quoted\" \\ line\nbreak\ttab é ∀ 🦀".into()));
    let same = told(&import::read(&path, Options::default()).unwrap());
    for (name, text) in [("back.edn", edn.clone()), ("back.jsonl", converted(&path, "jsonl").0)] {
        let back = written(&dir, name, &text);
        assert_eq!(told(&import::read(&back, Options::default()).unwrap()), same, "{name}");
    }
}

#[test]
fn one_key_is_left_out_unless_that_would_mislead() {
    let dir = tempfile::tempdir().unwrap();
    let line = |value: &str| {
        format!("{{\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"k\",\"value\":{value}}}\n")
    };
    let plain = written(&dir, "plain.jsonl", &line("3"));
    let (edn, notes) = converted(&plain, "edn");
    assert!(edn.contains(":value 3}"), "{edn}");
    assert!(notes.contains("the only key, \"k\", is left out"), "{notes}");
    let pair = written(&dir, "pair.jsonl", &line("[1,2]"));
    let (edn, _) = converted(&pair, "edn");
    assert!(edn.contains(":value [\"k\" [1 2]]}"), "{edn}");
}

#[test]
fn transactions_are_spelled_as_elle_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "{\"process\":0,\"type\":\"invoke\",\"f\":\"txn\",\"value\":[[\"append\",\"x\",1],[\"r\",5,null]]}\n";
    let (edn, _) = converted(&written(&dir, "txn.jsonl", text), "edn");
    assert_eq!(
        edn,
        "{:index 0, :time 0, :process 0, :type :invoke, :f :txn, :value [[:append :x 1] [:r 5 nil]]}\n"
    );
}

#[test]
fn nothing_is_written_of_a_broken_history_nor_over_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let broken =
        written(&dir, "broken.edn", "{:process 0 :type :invoke :f :read}{:process 1 :type :ok :f :read}");
    let out = dir.path().join("out.edn");
    let said = convert(&[broken.to_str().unwrap(), "--to", "edn", "-o", out.to_str().unwrap()]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("broken.edn:1: this history breaks the rules"), "{}", said.err);
    assert!(!out.exists());
    let fine = written(&dir, "fine.edn", "{:process 0 :type :invoke :f :read}");
    let said = convert(&[fine.to_str().unwrap(), "--to", "jsonl", "-o", fine.to_str().unwrap()]);
    assert!(said.code == 2 && said.err.contains("is both what is read"), "{}", said.err);
    assert_eq!(std::fs::read_to_string(&fine).unwrap(), "{:process 0 :type :invoke :f :read}");
    let said = convert(&[fine.to_str().unwrap(), "--to", "edn", "-o", out.to_str().unwrap()]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
    assert_eq!(events(&std::fs::read_to_string(&out).unwrap()).len(), 1);
    // What is there is not lost unless that is asked for.
    let (fine_path, out_path) = (fine.to_str().unwrap(), out.to_str().unwrap());
    let said = convert(&[fine_path, "--to", "jsonl", "-o", out_path]);
    assert!(
        said.code == 2 && said.err.contains("out.edn: is there already; --force overwrites it"),
        "{}",
        said.err
    );
    assert!(std::fs::read_to_string(&out).unwrap().starts_with("{:index"));
    assert_eq!(convert(&[fine_path, "--to", "jsonl", "-o", out_path, "--force"]).code, 0);
    assert!(std::fs::read_to_string(&out).unwrap().starts_with("{\""));
    assert_eq!(convert(&[fine_path, "--to", "jsonl", "-o", "/dev/null"]).code, 0);
    let said = convert(&[fine.to_str().unwrap(), "--to", "xml"]);
    assert!(said.code == 2 && said.err.contains("written as edn or jsonl, not as `xml`"), "{}", said.err);
}

#[test]
fn shared_histories_go_there_and_back() {
    let Some(folder) = shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "knossos/cas-register-bug.edn",
        "knossos/multi-register.edn",
        "knossos/mongodb-v0-ack-rollback-0.edn",
        "porcupine/etcd_000.log",
        "porcupine/c10-bad.txt",
    ] {
        let path = folder.join(name);
        let same = told(&import::read(&path, Options::default()).unwrap());
        for to in ["edn", "jsonl"] {
            let (text, _) = converted(&path, to);
            if to == "edn" {
                let completed = same.len();
                assert!(events(&text).len() >= completed, "{name}");
            }
            let back = written(&dir, &format!("back.{to}"), &text);
            assert_eq!(told(&import::read(&back, Options::default()).unwrap()), same, "{name} as {to}");
        }
    }
}
