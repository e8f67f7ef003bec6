//! The history on disk: readable whatever happens to the harness.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use harness::history::model::Held;
use harness::history::recorder::{Asked, Completion, Recorder};
use harness::history::{Number, Outcome, Phase, Value, Version};
use serde_json::{Value as Json, json};

/// Every line of a history; panics at one that is no JSON, or out of order.
pub fn events(path: &Path) -> Vec<Json> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    let events: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut last_time = 0;
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event["index"], place);
        let time = event["time"].as_u64().unwrap();
        assert!(time >= last_time, "time runs backwards at {event}");
        last_time = time;
    }
    events
}

fn without_time(mut event: Json) -> Json {
    event.as_object_mut().unwrap().remove("time");
    event
}

#[test]
fn events_are_written_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    let value = Value::int(17);
    let asked = Asked { process: 3, f: "write", key: Some("k1"), value: &value, node: "B" };
    let version = Version { ts: Number::Int(9), origin: "B".into() };
    recorder.nemesis("run", None, &json!({"workload": "outage", "seed": 42}));
    recorder.phase(Phase::Main);
    recorder.invoke(asked);
    recorder.complete(
        asked,
        Completion { outcome: Outcome::Ok, version: Some(&version), ..Completion::default() },
    );
    let read = Asked { process: 4, f: "read", key: Some("k \"1\""), value: &Value::Nil, node: "C" };
    recorder.invoke(read);
    recorder.complete(
        read,
        Completion { outcome: Outcome::Ok, value: Some(&Value::Text("x\n".into())), ..Completion::default() },
    );
    recorder.invoke(asked);
    recorder.complete(
        asked,
        Completion { error: Some("timeout after 1s"), raw: Some("\u{fffd}<html>"), ..Completion::default() },
    );
    let held = Held { value: Value::int(17), version: Some(version.clone()) };
    let bare = Held { value: Value::int(3), version: None };
    let snapshot = [("k1".into(), held), ("k2".into(), bare)].into();
    let probe = Asked { process: 6, f: "snapshot", key: None, value: &Value::Nil, node: "A" };
    recorder.invoke(probe);
    recorder.complete(
        probe,
        Completion { outcome: Outcome::Ok, snapshot: Some(&snapshot), ..Completion::default() },
    );
    recorder.nemesis("start", Some("B"), &json!({"pid": 123}));
    assert_eq!(recorder.finish().unwrap().events, 11);
    let written: Vec<Json> = events(&path).into_iter().map(without_time).collect();
    let expected = json!([
        {"index":0,"process":"nemesis","type":"info","f":"run","value":{"workload":"outage","seed":42}},
        {"index":1,"process":"nemesis","type":"info","f":"phase","value":"main"},
        {"index":2,"process":3,"type":"invoke","f":"write","key":"k1","value":17,"node":"B"},
        {"index":3,"process":3,"type":"ok","f":"write","key":"k1","value":17,"node":"B","version":{"ts":9,"origin":"B"}},
        {"index":4,"process":4,"type":"invoke","f":"read","key":"k \"1\"","value":null,"node":"C"},
        {"index":5,"process":4,"type":"ok","f":"read","key":"k \"1\"","value":"x\n","node":"C"},
        {"index":6,"process":3,"type":"invoke","f":"write","key":"k1","value":17,"node":"B"},
        {"index":7,"process":3,"type":"info","f":"write","key":"k1","value":17,"node":"B","error":"timeout after 1s","raw":"\u{fffd}<html>"},
        {"index":8,"process":6,"type":"invoke","f":"snapshot","value":null,"node":"A"},
        {"index":9,"process":6,"type":"ok","f":"snapshot","value":{"k1":{"value":17,"version":{"ts":9,"origin":"B"}},"k2":{"value":3}},"node":"A"},
        {"index":10,"process":"nemesis","type":"info","f":"start","value":{"pid":123},"node":"B"},
    ]);
    assert_eq!(Json::from(written), expected);
}

#[test]
fn an_event_is_in_the_file_when_the_call_returns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    let value = Value::int(1);
    let asked = Asked { process: 0, f: "write", key: Some("k1"), value: &value, node: "A" };
    recorder.invoke(asked);
    assert_eq!(events(&path).len(), 1);
    recorder.complete_deferred(asked, Completion::default());
    recorder.invoke(asked);
    assert_eq!(events(&path).len(), 3);
    recorder.complete_deferred(asked, Completion::default());
    recorder.flush();
    assert_eq!(events(&path).len(), 4);
    assert_eq!(recorder.written().bytes, path.metadata().unwrap().len());
}

#[test]
fn threads_record_in_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let recorder = Recorder::create(&path).unwrap();
    std::thread::scope(|scope| {
        for process in 0..4 {
            let recorder = Arc::clone(&recorder);
            scope.spawn(move || record(&recorder, process, 500));
        }
    });
    let events = events(&path);
    assert_eq!(events.len(), 4000);
    for process in 0..4 {
        let own: Vec<&str> = events
            .iter()
            .filter(|event| event["process"] == process)
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        assert_eq!(own, ["invoke", "ok"].repeat(500));
    }
}

fn record(recorder: &Recorder, process: u64, operations: i64) {
    for number in 0..operations {
        let value = Value::int(number);
        let asked = Asked { process, f: "write", key: Some("k1"), value: &value, node: "A" };
        recorder.invoke(asked);
        recorder.complete(asked, Completion { outcome: Outcome::Ok, ..Completion::default() });
    }
}

const CHILD_PATH: &str = "HARNESS_TEST_RECORD_TO";
const CHILD_EVENTS: &str = "HARNESS_TEST_RECORD_OPERATIONS";

/// The other process of the two tests below: this test binary again, asked by its environment.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD_PATH) else { return };
    let recorder = Recorder::create(path).unwrap();
    if let Ok(operations) = std::env::var(CHILD_EVENTS) {
        record(&recorder, 0, 1000);
        let before = resident_bytes();
        record(&recorder, 0, operations.parse().unwrap());
        eprintln!("grown {}", resident_bytes().saturating_sub(before));
        return;
    }
    // Until killed. What is said to have been recorded has been.
    let mut err = std::io::stderr().lock();
    let value = Value::int(1);
    for process in 0.. {
        let asked = Asked { process, f: "write", key: Some("k1"), value: &value, node: "A" };
        let index = recorder.invoke(asked);
        writeln!(err, "recorded {index}").unwrap();
        recorder.complete(asked, Completion { outcome: Outcome::Ok, ..Completion::default() });
    }
}

fn spawn_child(path: &Path, operations: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "recorder::child", "--nocapture"]).env(CHILD_PATH, path);
    if let Some(operations) = operations {
        command.env(CHILD_EVENTS, operations.to_string());
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_kill_loses_nothing_that_happened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    for round in 1..=10 {
        let mut child = spawn_child(&path, None);
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
        // The last thing told may be torn: then it is nothing, or a smaller number.
        let recorded = |line: String| line.strip_prefix("recorded ")?.parse::<usize>().ok();
        // Killed after ever more events, each time at another point of one.
        let mut last = None;
        while last.is_none_or(|last| last < round * 137) {
            last = recorded(told.next().unwrap().unwrap()).or(last);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let last = told.map_while(Result::ok).filter_map(recorded).last().max(last).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let whole = &text[..text.rfind('\n').unwrap() + 1];
        std::fs::write(&path, whole).unwrap();
        assert!(
            events(&path).len() > last,
            "event {last} had happened, and {} are in the file",
            events(&path).len()
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat() {
    let folder = tempfile::tempdir().unwrap();
    let child = spawn_child(&folder.path().join("history.jsonl"), Some(500_000));
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let grown: u64 = told.lines().find_map(|line| line.strip_prefix("grown ")?.parse().ok()).unwrap();
    // A million events are 100 MB on disk.
    assert!(grown < 1 << 20, "a million events took {grown} bytes of memory");
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> u64 {
    0
}
