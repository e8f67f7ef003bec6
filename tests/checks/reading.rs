//! Reading: what is paired with what, what a kill leaves, and what is wrong where.

use std::path::Path;
use std::sync::Arc;

use harness::history::{Durability, History, Outcome, Phase, Sessions, Tie, Value, reader};

const GOOD: &str = r#"{"index":0,"time":0,"process":"nemesis","type":"info","f":"run","value":{"contract":{"nodes":["A","B"],"durability":"memory","sessions":"roaming","tie":"lower","settle_within_ms":10000},"workload":"outage","seed":42,"checks":{"lww":"required","staleness":"reported"}}}
{"index":1,"time":5,"process":"nemesis","type":"info","f":"phase","value":"setup"}
{"index":2,"time":6,"process":"nemesis","type":"info","f":"start","node":"B","value":{"pid":7}}
{"index":3,"time":7,"process":"nemesis","type":"info","f":"ready","node":"B","value":{}}
{"index":4,"time":8,"process":"nemesis","type":"info","f":"phase","value":"main"}
{"index":5,"time":10,"process":3,"type":"invoke","f":"write","key":"k1","value":17,"node":"B"}
{"index":6,"time":11,"process":4,"type":"invoke","f":"read","key":"k1","value":null,"node":"B"}
{"index":7,"time":12,"process":3,"type":"ok","f":"write","key":"k1","value":17,"node":"B","version":{"ts":9,"origin":"B"},"future":[1]}
{"index":8,"time":13,"process":4,"type":"ok","f":"read","key":"k1","value":"17","node":"B","version":{"ts":9.5}}
{"index":9,"time":14,"process":"nemesis","type":"info","f":"kill","value":{"fault":0,"edge":"begin","target":["B"],"label":"kill B","took_effect":true,"evidence":{"pid":7}}}
{"index":10,"time":15,"process":"nemesis","type":"info","f":"exit","node":"B","value":{"pid":7,"signal":9,"code":null,"expected":true,"log":["a","b"]}}
{"index":11,"time":16,"process":5,"type":"invoke","f":"write","key":"k2","value":18,"node":"A"}
{"index":12,"time":17,"process":5,"type":"info","f":"write","key":"k2","value":18,"node":"A","error":"timeout after 1s"}
{"index":13,"time":18,"process":"nemesis","type":"info","f":"start","node":"B","value":{"pid":8}}
{"index":14,"time":19,"process":"nemesis","type":"info","f":"kill","value":{"fault":0,"edge":"end","took_effect":true,"evidence":{"signal":9}}}
{"index":15,"time":20,"process":6,"type":"invoke","f":"write","key":"k2","value":19,"node":"A"}
{"index":16,"time":21,"process":"nemesis","type":"info","f":"bypass","value":{"from":"A","to":"B","seen":3}}
{"index":17,"time":22,"process":9,"type":"invoke","f":"snapshot","value":null,"node":"A"}
{"index":18,"time":23,"process":9,"type":"ok","f":"snapshot","value":{"k1":{"value":17,"version":{"ts":9,"origin":"B"}},"k2":{"value":3}},"node":"A"}
{"index":19,"time":24,"process":"nemesis","type":"info","f":"converged","value":{"ms":812}}
{"index":20,"time":25,"process":"nemesis","type":"info","f":"something-new","value":{"x":1}}
"#;

fn read(text: &str) -> Result<History, String> {
    reader::read_from(text.as_bytes(), Path::new("h.jsonl")).map_err(|error| error.to_string())
}

#[test]
fn everything_finds_its_place() {
    let history = read(GOOD).unwrap();
    let contract = &history.contract;
    assert_eq!(
        (contract.durability, contract.sessions, contract.tie),
        (Durability::Memory, Sessions::Roaming, Tie::Lower)
    );
    assert_eq!((contract.nodes.len(), contract.settle_within_ms), (2, 10_000));
    assert_eq!(history.asked["staleness"], "reported");
    assert_eq!(history.phases, [(Phase::Setup, 5), (Phase::Main, 8)]);
    let summary: Vec<_> =
        history.ops.iter().map(|op| (op.index, op.end_index, op.outcome, op.value.clone())).collect();
    assert_eq!(
        summary,
        [
            (5, Some(7), Outcome::Ok, Value::int(17)),
            (6, Some(8), Outcome::Ok, Value::Text("17".into())),
            (11, Some(12), Outcome::Info, Value::int(18)),
            (15, None, Outcome::Info, Value::int(19)),
            (17, Some(18), Outcome::Ok, Value::Nil),
        ]
    );
    let [write, read, timed_out, open, snapshot] = &history.ops[..] else { panic!("five operations") };
    assert_eq!(write.version.as_ref().unwrap().to_string(), "ts 9 of B");
    assert_eq!(read.version.as_ref().unwrap().to_string(), "ts 9.5");
    assert_eq!((write.invoked_ns, write.returned_ns, open.returned_ns), (10, Some(12), None));
    assert_eq!(timed_out.error.as_deref(), Some("timeout after 1s"));
    let held = snapshot.snapshot.as_ref().unwrap();
    assert_eq!((held["k1"].value.clone(), held["k2"].version.clone()), (Value::int(17), None));
    // Names are kept once.
    assert!(Arc::ptr_eq(write.key.as_ref().unwrap(), read.key.as_ref().unwrap()));
    let origin = &write.version.as_ref().unwrap().origin;
    assert!(Arc::ptr_eq(origin, write.node.as_ref().unwrap()));
    assert!(Arc::ptr_eq(origin, &held["k1"].version.as_ref().unwrap().origin));
    let lives = &history.lives["B"];
    assert_eq!(
        (lives[0].pid, lives[0].started_ns, lives[0].ready_ns, lives[0].ended_ns),
        (7, 6, Some(7), Some(15))
    );
    assert_eq!((lives[0].signal, lives[0].expected, lives[0].log.len()), (Some(9), true, 2));
    assert_eq!((lives[1].pid, lives[1].ended_ns), (8, None));
    let fault = &history.faults[0];
    assert_eq!((fault.began_ns, fault.ended_ns, fault.took_effect), (14, Some(19), true));
    assert_eq!(fault.evidence, serde_json::json!({"pid": 7, "signal": 9}));
    assert_eq!(history.bypasses, [("A".into(), "B".into(), 3)]);
    assert_eq!((history.converged_ms, history.torn), (Some(812), false));
}

#[test]
fn a_history_cut_anywhere_reads_as_what_was_whole() {
    let whole: Vec<usize> = GOOD.match_indices('\n').map(|(place, _)| place).collect();
    for length in 0..GOOD.len() {
        let history = read(&GOOD[..length]).unwrap_or_else(|error| panic!("cut at {length}: {error}"));
        let torn = length != 0 && !whole.contains(&length) && !GOOD[..length].ends_with('\n');
        assert_eq!(history.torn, torn, "cut at {length}");
        let mut padded = GOOD.as_bytes()[..length].to_vec();
        padded.extend([0; 40]);
        let padded = reader::read_from(&padded[..], Path::new("h.jsonl")).unwrap();
        assert!(padded.torn);
        // A last line that lacks but its newline is lost under padding.
        assert!(history.ops.len() - padded.ops.len() <= 1);
    }
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let line = |number: usize, text: &str| {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        lines[number - 1] = text;
        read(&(lines.join("\n") + "\n")).map(|_| ()).unwrap_err()
    };
    let cases = [
        (
            6,
            r#"{"index":5,"time":10,"process":3,"type":"invoke","key":"k1"}"#,
            "h.jsonl:6: column 60: missing field `f`; expected one event",
        ),
        (
            6,
            r#"{"index":5,"time":10,"process":"nobody","type":"invoke","f":"x"}"#,
            "invalid value: string \"nobody\", expected a process number, \"nemesis\" or \"node\"",
        ),
        (
            6,
            r#"{"index":5,"time":10,"process":3,"type":"done","f":"x"}"#,
            "unknown variant `done`, expected one of `invoke`, `ok`, `fail`, `info`",
        ),
        (6, "not json", "h.jsonl:6: column 2: expected ident; expected one event"),
        (
            6,
            r#"{"index":3,"time":10,"process":3,"type":"invoke","f":"write"}"#,
            "h.jsonl:6: index 3 after index 4; expected indices that grow",
        ),
        (
            6,
            r#"{"index":5,"time":1,"process":3,"type":"invoke","f":"write"}"#,
            "h.jsonl:6: time 1 ns after time 8 ns; expected times that never go backwards",
        ),
        (
            6,
            r#"{"index":5,"time":10,"process":8,"type":"ok","f":"write"}"#,
            "h.jsonl:6: process 8 completes a write (ok) that it never invoked",
        ),
        (
            7,
            r#"{"index":6,"time":10,"process":3,"type":"invoke","f":"read"}"#,
            "h.jsonl:7: process 3 invokes a read while its operation 5 is still open",
        ),
        (
            8,
            r#"{"index":7,"time":12,"process":3,"type":"ok","f":"read"}"#,
            "h.jsonl:8: process 3 invoked write k1 (operation 5) but completes read",
        ),
        (
            8,
            r#"{"index":7,"time":12,"process":3,"type":"ok","f":"write","key":"k2"}"#,
            "process 3 invoked write k1 (operation 5) but completes write k2",
        ),
        (
            8,
            r#"{"index":7,"time":12,"process":3,"type":"ok","f":"write","version":{"ts":"nine"}}"#,
            "`version` of a completion event is \"nine\"; expected a version whose ts is a number",
        ),
        (
            19,
            r#"{"index":18,"time":23,"process":9,"type":"ok","f":"snapshot","value":3}"#,
            "h.jsonl:19: `value` of a snapshot event is 3; expected an object",
        ),
        (
            19,
            r#"{"index":18,"time":23,"process":9,"type":"ok","f":"snapshot","value":{"k1":3}}"#,
            "`value` of a snapshot event is 3 under \"k1\"; expected an object with \"value\"",
        ),
        (
            2,
            r#"{"index":1,"time":5,"process":"nemesis","type":"info","f":"phase","value":"lunch"}"#,
            "`value` of a phase event is \"lunch\"; expected one of \"setup\"",
        ),
        (
            3,
            r#"{"index":2,"time":6,"process":"nemesis","type":"info","f":"start","value":{"pid":7}}"#,
            "`node` of a start event is absent; expected the node",
        ),
        (
            1,
            r#"{"index":0,"time":0,"process":"nemesis","type":"info","f":"run","value":{"contract":{"durability":"paper"}}}"#,
            "`value` of a run event is not a contract (unknown variant `paper`",
        ),
    ];
    for (number, text, expected) in cases {
        let error = line(number, text);
        assert!(error.contains(expected), "{text}\n  said: {error}\n  want: {expected}");
    }
    let missing = reader::read(Path::new("no/such/history.jsonl")).unwrap_err().to_string();
    assert!(missing.starts_with("no/such/history.jsonl: "), "{missing}");
}
