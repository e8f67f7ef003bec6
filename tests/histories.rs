//! Reading foreign histories, and the verdicts other projects reached on theirs.

use std::path::{Path, PathBuf};

use harness::check::Verdict;
use harness::check::linearizability::{self, judge};
use harness::check::models::{Initial, Model};
use harness::history::Outcome;
use harness::history::Value;
use harness::history::calls::{Calls, OPEN};
use harness::history::import::{self, Format, Options};

fn read(text: &str) -> Result<Calls, String> {
    import::read_from(text.as_bytes(), Path::new("h"), Options::default()).map_err(|error| error.to_string())
}

fn told(calls: &Calls) -> Vec<String> {
    calls.calls.iter().map(|call| format!("{}-{} {}", call.invoke, call.ret, calls.describe(call))).collect()
}

#[test]
fn every_format_reads_the_same() {
    let edn = "; a comment\n[{:process 0, :type :invoke, :f :write, :value 3, :time 5}\n\
        {:process :nemesis :type :info :f :kill :value nil}\n\
        #jepsen.history.Op{:process 1 :type :invoke :f :cas :value [3 4] :error #{:a \"b\"}},\n\
        {:process 0 #_ {:x 1} :type :ok :f :write :value 3 :time 7}\n\
        {:process 1, :type :fail, :f :cas :value [3 4] :at #inst \"2020-01-01\"} #_ {:process 7}\n\
        {:process 2 :type :invoke :f :read :value nil}{:process 2 :type :ok :f :read :value 3}\n\
        {:process 3 :type :invoke :f :read}]";
    let one_after_another = edn.replacen('[', "", 1).replace("}]", "}");
    let json = r#"[{"process":0,"type":"invoke","f":"write","value":3},
        {"process":"nemesis","type":"info","f":"kill","value":null},
        {"process":1,"type":"invoke","f":"cas","value":[3,4]},{"process":0,"type":"ok","f":"write","value":3},
        {"process":1,"type":"fail","f":"cas","value":[3,4]},
        {"process":2,"type":"invoke","f":"read","value":null,"extra":{"a":[1,{"b":"\u00e9\n"}]}},
        {"process":2,"type":"ok","f":"read","value":3},{"process":3,"type":"invoke","f":"read"}]"#;
    let lines =
        json.trim_start_matches('[').trim_end_matches(']').replace("},", "}\n").replace("}}\n", "}},");
    let lines = lines.replace("}]}},", "}]}}\n");
    let log = "12:00 INFO [worker] jepsen.util: 0 :invoke :write 3\nINFO  jepsen.util - :nemesis :info :kill nil\n\
        other things\n\
        INFO  jepsen.util - 1\t:invoke\t:cas\t[3 4]\nINFO jepsen.util - 0 :ok :write 3\n\
        INFO jepsen.util - 1 :fail :cas [3 4]\n\
        INFO jepsen.util - 2 :invoke :read nil\nINFO jepsen.util - 2 :ok :read 3\n\
        INFO jepsen.util - 3 :invoke :read nil";
    let expected = [
        "0-3 p0 write 3".to_owned(),
        "2-4 p1 cas [3,4] (failed)".into(),
        "5-6 p2 read 3".into(),
        format!("7-{OPEN} p3 read nil (outcome unknown)"),
    ];
    for (text, format) in [
        (edn, Format::JepsenEdn),
        (&one_after_another, Format::JepsenEdn),
        (json, Format::JepsenJson),
        (&lines, Format::Jsonl),
        (log, Format::PorcupineLog),
    ] {
        assert_eq!(Format::sniff(text.as_bytes()), Some(format));
        assert_eq!(told(&read(text).unwrap()), expected, "{format}");
    }
}

#[test]
fn keys_are_split_off() {
    let keyed =
        "{:process 0 :type :invoke :f :read :value [:x nil]} {:process 0 :type :ok :f :read :value [:x 4]}
        {:process 0 :type :invoke :f :cas :value [\"y\" [1 2]]}";
    let keyed = read(keyed).unwrap();
    assert_eq!(keyed.keys, [Value::Nil, Value::Text("x".into()), Value::Text("y".into())]);
    let second = format!("2-{OPEN} p0 cas [1,2] (outcome unknown) of \"y\"");
    assert_eq!(told(&keyed), ["0-1 p0 read 4 of \"x\"", &second]);
    let plain = "{:process 0 :type :invoke :f :cas :value [1 2]} {:process 0 :type :ok :f :cas :value [1 2]}";
    assert_eq!(read(plain).unwrap().keys, [Value::Nil]);
    let kv = read("{:process 0, :type :invoke, :f :append, :key \"7\", :value \"x\"}").unwrap();
    assert_eq!(kv.keys[1], Value::Text("7".into()));
    let mixed =
        "{:process 0 :type :invoke :f :read :value [:x nil]}\n{:process 1 :type :invoke :f :read :value nil}";
    assert_eq!(
        read(mixed).unwrap_err(),
        "h:2: this history breaks the rules: a value [key value] was expected, as on line 1"
    );
}

#[test]
fn broken_rules_are_named() {
    let event = |process: &u32, kind: &&str, time: &u64| {
        format!("{{:process {process} :type :{kind} :f :read :value nil :time {time}}}\n")
    };
    let case = |events: &[(u32, &str, u64)]| {
        let text: String = events.iter().map(|(process, kind, time)| event(process, kind, time)).collect();
        read(&text).unwrap_err()
    };
    assert_eq!(
        case(&[(0, "invoke", 1), (1, "ok", 2)]),
        "h:2: this history breaks the rules: process 1 completes an operation it never invoked"
    );
    assert_eq!(
        case(&[(0, "invoke", 1), (0, "invoke", 2)]),
        "h:2: this history breaks the rules: process 0 invokes while its operation of line 1 is still open"
    );
    assert_eq!(
        case(&[(0, "invoke", 5), (0, "ok", 2)]),
        "h:2: this history breaks the rules: \
         time runs backwards: process 0 completes at 2 what it invoked at 5 on line 1"
    );
    let indices =
        "{:process 0 :type :invoke :f :read :index 4}\n{:process 1 :type :invoke :f :read :index 4}";
    assert_eq!(
        read(indices).unwrap_err(),
        "h:2: this history breaks the rules: index 4 comes after index 4: indices must rise"
    );
    let other = read("{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :write}");
    assert_eq!(
        other.unwrap_err(),
        "h:2: this history breaks the rules: process 0 completes a write but had invoked a read on line 1"
    );
    let another =
        read("{:process 0 :type :invoke :f :write :value 3}\n{:process 0 :type :ok :f :write :value 4}");
    assert_eq!(
        another.unwrap_err(),
        "h:2: this history breaks the rules: process 0 completes its write of 3 with 4, invoked on line 1: \
         a completion has the value again, or nil"
    );
    for answered in ["3", "nil"] {
        let text = format!(
            "{{:process 0 :type :invoke :f :write :value 3}}\n{{:process 0 :type :ok :f :write :value {answered}}}"
        );
        assert!(read(&text).is_ok(), "{answered}");
    }
    // Across processes the order of the file counts, and that is said.
    let text = event(&0, &"invoke", &9) + &event(&1, &"invoke", &3);
    assert!(read(&text).unwrap().notes[0].contains(
        "time 3 is before 9 of line 1: process 1's invoke of read comes after process 0's invoke of read;"
    ));
}

#[test]
fn malformed_input_says_where_and_what() {
    for (text, expected) in [
        (
            "{:process 0 :type :invok :f :read}",
            "h:1: expected a :type of :invoke, :ok, :fail or :info, found `invok`",
        ),
        (
            "{:process 0\n :type :ok",
            "h:2: expected a keyword such as `:process`, or `}`, found the end of the file",
        ),
        (
            "[{:process -4 :type :ok :f :read}",
            "h:1: expected a process number from 0 to 4294967295, found -4",
        ),
        (
            "[{:process 0 :type :invoke :f :read}\n)",
            "h:2: expected an event, `{:process 0, :type :invoke, …}`, found `)`",
        ),
        ("{:process 0 :f :read}", "h:1: expected a field :type in this event"),
        ("{:process 0 :value 12x}", "h:1: expected a number, found `12x`"),
        ("{:process 0 :value \"abc}", "h:1: expected `\"` to close this string"),
        ("{\"process\":0,\"type\":\"ok\" \"f\"}\n", "h:1: expected `,` or `}` after a field, found `\"`"),
        (
            "[{\"process\":0,\"type\":\"invoke\",\"f\":\"read\"}",
            "h:1: expected `,` or `]` after an event, found the end of the file",
        ),
        (
            "{\"process\":0,\"type\":\"invoke\",\"f\":\"read\",\"value\":[1,}\n",
            "h:1: expected a value, found `}`",
        ),
        (
            "{\"process\":0,\"type\":\"invoke\",\"f\":\"read\",\"value\":tru}\n",
            "h:1: expected a value, found `tru`",
        ),
        ("jepsen.util - x :ok :read nil", "h:1: expected a process number after `jepsen.util -`, found `x`"),
        (
            "jepsen.util - 1 :oh :read nil",
            "h:1: expected a type of :invoke, :ok, :fail or :info, found `:oh`",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), expected, "{text}");
    }
    assert!(read("hello").unwrap_err().starts_with("h: the format is not recognised"));
    let deep = format!("{{:process 0 :value {}", "[".repeat(100_000));
    assert_eq!(read(&deep).unwrap_err(), "h:1: values are nested deeper than 64");
    let error = "jepsen-json5".parse::<Format>().unwrap_err();
    assert!(error.ends_with("did you mean `jepsen-json`?"), "{error}");
}

#[test]
fn a_torn_last_line_is_absent() {
    let text =
        "{\"process\":0,\"type\":\"invoke\",\"f\":\"read\",\"key\":\"k\"}\n{\"process\":0,\"type\":\"o";
    let calls = read(text).unwrap();
    assert_eq!(calls.calls.len(), 1);
    assert_eq!(calls.calls[0].outcome, Outcome::Info);
    assert_eq!(calls.notes, ["line 2 is torn and read as absent"]);
}

#[test]
fn reading_does_not_depend_on_where_the_window_ends() {
    struct Drip<'a>(&'a [u8]);
    impl std::io::Read for Drip<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.len().min(1);
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }
    let mut text = String::new();
    for process in 0..3000 {
        text += &format!(
            "{{:process {process} :type :invoke #_ 4 :f :write #_[1] :value [\"k\\u00e9\" {process}]}}\n"
        );
    }
    let whole = told(&read(&text).unwrap());
    assert!(text.len() > 2 * 64 * 1024);
    let mut shifted = text.clone();
    for _ in 0..12 {
        shifted.insert(0, ' ');
        assert_eq!(told(&read(&shifted).unwrap()), whole);
    }
    let dripped = import::read_from(Drip(text.as_bytes()), Path::new("h"), Options::default()).unwrap();
    assert_eq!(told(&dripped), whole);
}

/// Where the recorded histories of other projects are, if they are there.
fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("HARNESS_HISTORIES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/histories"), PathBuf::from);
    if folder.join("EXPECTED.tsv").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: {} is absent; set HARNESS_HISTORIES to the recorded histories", folder.display());
    None
}

#[test]
fn every_shared_history_can_be_read() {
    let Some(folder) = shared() else { return };
    let expected = std::fs::read_to_string(folder.join("EXPECTED.tsv")).unwrap();
    let mut count = 0;
    for line in expected.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split('\t').next().unwrap();
        let calls = import::read(&folder.join(name), Options::default()).unwrap();
        assert!(!calls.calls.is_empty() || name.contains("rollback"), "{name}");
        count += 1;
    }
    assert_eq!(count, 107);
}

#[test]
fn every_shared_verdict_is_reproduced() {
    let Some(folder) = shared() else { return };
    let expected = std::fs::read_to_string(folder.join("EXPECTED.tsv")).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in expected.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let calls = import::read(&folder.join(columns[0]), Options::default()).unwrap();
        let model: Model = columns[1].parse().unwrap();
        let initial = match columns[2] {
            "\"\" per key" => Initial::Default,
            given => given.parse().unwrap(),
        };
        let began = std::time::Instant::now();
        let mut options = linearizability::Options::new(model, initial);
        options.prove = false;
        let judgement = judge(&calls, &options).unwrap();
        let took = began.elapsed();
        let valid = if columns[3] == "true" { Verdict::Valid } else { Verdict::Invalid };
        if judgement.verdict != valid {
            wrong.push(format!("{}: {:?} {:?}", columns[0], judgement.verdict, judgement.reason));
        }
        if let Some(failure) = judgement.failure {
            println!("{} {took:?}: {} ({} operations)", columns[0], failure.story, failure.proof.len());
        }
        count += 1;
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(count, 107);
}
