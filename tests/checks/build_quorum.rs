//! Histories of a store with quorums and leaders, in few words.

use super::{Build, version};

/// A history of nodes A, B and C with W and R that ran from 0 to 20 s.
pub fn quorum(durability: &str, write: u64, read: u64) -> Build {
    let contract = format!(
        r#"{{"contract":{{"nodes":["A","B","C"],"durability":"{durability}","settle_within_ms":500,"write_quorum":{write},"read_quorum":{read}}}}}"#
    );
    let mut build = Build { contract, events: Vec::new() };
    for node in ["A", "B", "C"] {
        build = build.event(0, "start", Some(node), r#"{"pid":1}"#).event(10, "ready", Some(node), "{}");
    }
    build.event(20, "phase", None, "\"main\"").event(20_000, "phase", None, "\"heal\"")
}

/// What an operation asks and is answered.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    pub f: &'a str,
    pub kind: &'a str,
    pub key: &'a str,
    pub value: Option<i64>,
    pub version: &'a str,
    /// Members of the claim.
    pub claim: &'a str,
}

impl<'a> Said<'a> {
    pub fn write(key: &'a str, value: i64, version: &'a str, claim: &'a str) -> Self {
        Said { f: "write", kind: "ok", key, value: Some(value), version, claim }
    }

    pub fn delete(key: &'a str, version: &'a str) -> Self {
        Said { f: "delete", kind: "ok", key, value: None, version, claim: "" }
    }

    pub fn read(f: &'a str, key: &'a str, value: Option<i64>, version: &'a str) -> Self {
        Said { f, kind: "ok", key, value, version, claim: "" }
    }

    pub fn strong(key: &'a str, value: Option<i64>, version: &'a str) -> Self {
        Said::read("strong-read", key, value, version)
    }

    pub fn kind(self, kind: &'a str) -> Self {
        Said { kind, ..self }
    }
}

impl Build {
    pub fn elect_within(mut self, ms: u64) -> Self {
        self.contract =
            self.contract.replace("\"durability\"", &format!("\"elect_within_ms\":{ms},\"durability\""));
        self
    }

    /// One operation of `process` at a node, with what it claims.
    pub fn does(mut self, process: u64, at: &str, said: Said, times: [u64; 2]) -> Self {
        let Said { f, kind, key, value, version: shown, claim } = said;
        let head = format!(r#""process":{process},"f":"{f}","key":"{key}","node":"{at}""#);
        let value = value.map_or("null".into(), |value| value.to_string());
        let asked = if f == "write" { value.as_str() } else { "null" };
        self.events.push((times[0], format!(r#"{head},"type":"invoke","value":{asked}"#)));
        let claim = if claim.is_empty() { String::new() } else { format!(r#","claim":{{{claim}}}"#) };
        if kind != "open" {
            let text = format!(r#"{head},"type":"{kind}","value":{value}{}{claim}"#, version(shown));
            self.events.push((times[1], text));
        }
        self
    }

    pub fn status(mut self, process: u64, at: &str, role: &str, term: Option<u64>, times: [u64; 2]) -> Self {
        let head = format!(r#""process":{process},"f":"status","node":"{at}""#);
        let term = term.map(|term| format!(r#","term":{term}"#)).unwrap_or_default();
        self.events.push((times[0], format!(r#"{head},"type":"invoke""#)));
        self.events.push((times[1], format!(r#"{head},"type":"ok","claim":{{"role":"{role}"{term}}}"#)));
        self
    }

    /// Every node says every 100 ms what it is: `roles` in the order of A, B and C, empty for silence.
    pub fn statuses(mut self, roles: [(&str, u64); 3], span: [u64; 2]) -> Self {
        for ms in (span[0]..span[1]).step_by(100) {
            for (place, (role, term)) in roles.iter().enumerate() {
                if !role.is_empty() {
                    let at = ["A", "B", "C"][place];
                    self = self.status(900 + place as u64, at, role, Some(*term), [ms, ms + 5]);
                }
            }
        }
        self
    }

    /// The directed links, cut from `from` until `until`, as the nemesis records it.
    pub fn cut(self, links: &[&str], from: u64, until: u64) -> Self {
        self.fault("partition", links, "", from, until, true)
    }

    /// `one` on one side, the other two on the other.
    pub fn isolate(self, one: &str, from: u64, until: u64) -> Self {
        let others = ["A", "B", "C"].into_iter().filter(|node| *node != one);
        let links: Vec<String> =
            others.flat_map(|node| [format!("{one}→{node}"), format!("{node}→{one}")]).collect();
        self.cut(&links.iter().map(String::as_str).collect::<Vec<_>>(), from, until)
    }

    pub fn pause(self, node: &str, from: u64, until: u64) -> Self {
        self.fault("pause", &[], node, from, until, true)
    }

    pub fn fault(self, f: &str, links: &[&str], target: &str, from: u64, until: u64, took: bool) -> Self {
        let quoted = if target.is_empty() { String::new() } else { format!("\"{target}\"") };
        let edge = |edge: &str, evidence: String| {
            let took = if edge == "end" { format!("\"took_effect\":{took},") } else { String::new() };
            format!(
                r#"{{"fault":{from},"edge":"{edge}","target":[{quoted}],"label":"{f} {target}",{took}"evidence":{{{evidence}}}}}"#
            )
        };
        let names: Vec<String> = links.iter().map(|link| format!("\"{link}\"")).collect();
        let began = if links.is_empty() { String::new() } else { format!("\"links\":[{}]", names.join(",")) };
        let ended = match links {
            [] => format!("\"stopped\":[\"{target}\"]"),
            _ => {
                let counts: Vec<String> =
                    names.iter().map(|name| format!("{name}:{{\"held_bytes\":9}}")).collect();
                format!("\"links\":{{{}}}", counts.join(","))
            }
        };
        self.event(from, f, None, &edge("begin", began)).event(until, f, None, &edge("end", ended))
    }

    pub fn settles(self, a: &[(&str, i64, &str)], b: &[(&str, i64, &str)], c: &[(&str, i64, &str)]) -> Self {
        self.event(20_001, "phase", None, "\"settle\"")
            .snapshot("A", a, [20_400, 20_410])
            .snapshot("B", b, [20_400, 20_410])
            .snapshot("C", c, [20_400, 20_410])
            .event(20_502, "phase", None, "\"done\"")
    }
}
