//! What the harness itself records, as histories by hand have it. Times are milliseconds.

/// An event of the harness, without its time.
pub fn nemesis(f: &str, node: Option<&str>, value: &str) -> String {
    let node = node.map(|node| format!(r#","node":"{node}""#)).unwrap_or_default();
    format!(r#""process":"nemesis","type":"info","f":"{f}","value":{value}{node}"#)
}

/// Both edges of a fault on `target`, a list in JSON; `more` are further members of their value.
pub fn fault(f: &str, [from, until]: [u64; 2], target: &str, label: &str, more: &str) -> [(u64, String); 2] {
    [(from, "begin"), (until, "end")].map(|(ms, edge)| {
        let value = format!(
            r#"{{"fault":{from},"edge":"{edge}","target":{target},"label":"{label}","took_effect":true{more}}}"#
        );
        (ms, nemesis(f, None, &value))
    })
}

/// A kill, the end of the node's process and its next start.
pub fn kill(node: &str, times: [u64; 2]) -> [(u64, String); 4] {
    let [from, until] = times;
    let target = format!(r#"["{node}"]"#);
    let [begin, end] = fault("kill", times, &target, &format!("kill {node}"), "");
    let exit = nemesis("exit", Some(node), r#"{"pid":1,"signal":9,"expected":true}"#);
    let start = nemesis("start", Some(node), r#"{"pid":1}"#);
    [begin, (from, exit), (until, start), end]
}
