//! What the model leaves: the history.

use std::fmt::Write as _;

use super::{Answer, Call, Fault, Role, SETTLE, Sim, Store};

pub const NAMES: [&str; 5] = ["A", "B", "C", "D", "E"];

pub fn pid(node: usize, life: u32) -> u32 {
    node as u32 + 100 + 10 * life
}

impl Sim {
    pub(super) fn contract(&mut self) {
        let names: Vec<String> = NAMES[..self.config.nodes].iter().map(|name| format!("{name:?}")).collect();
        let durability = if self.config.disk { "disk" } else { "memory" };
        let (write, read) = (self.config.write, self.config.read);
        let contract = format!(
            r#"{{"contract":{{"nodes":[{}],"durability":"{durability}","settle_within_ms":{},"write_quorum":{write},"read_quorum":{read},"elect_within_ms":2500}},"seed":1}}"#,
            names.join(","),
            SETTLE / super::MS
        );
        self.nemesis("run", None, &contract);
    }

    fn head(&self, call: &Call) -> String {
        let key = if call.f == "status" { String::new() } else { format!(r#","key":"k{}""#, call.key) };
        format!(r#""process":{},"f":"{}"{key},"node":"{}""#, call.process, call.f, NAMES[call.node])
    }

    pub(super) fn record_invoke(&mut self, id: usize) {
        let call = self.calls[id].clone();
        let value = call.value.map_or("null".into(), |value| value.to_string());
        let head = self.head(&call);
        self.line(&format!(r#"{head},"type":"invoke","value":{value}"#));
    }

    pub(super) fn record_completion(&mut self, id: usize, kind: &str, answer: Option<&Answer>) {
        let call = self.calls[id].clone();
        let mut text = format!(r#"{},"type":"{kind}""#, self.head(&call));
        let shown = answer.filter(|_| kind == "ok" && call.f != "delete").and_then(|answer| answer.value);
        let value = shown.or(call.value).map_or("null".into(), |value| value.to_string());
        let _ = write!(text, r#","value":{value}"#);
        let Some(answer) = answer else { return self.line(&text) };
        if let Some(version) = answer.version.filter(|_| self.config.versions && kind == "ok") {
            let _ = write!(text, r#","version":{{"ts":{version}}}"#);
        }
        let mut claim = Vec::new();
        claim.extend(answer.achieved.map(|achieved| format!(r#""achieved":{achieved}"#)));
        claim.extend(answer.acks.map(|acks| format!(r#""acks":{acks}"#)));
        claim.extend(answer.role.map(|role| {
            let role = match role {
                Role::Leader => "leader",
                Role::Candidate => "candidate",
                Role::Follower => "follower",
            };
            format!(r#""role":"{role}""#)
        }));
        claim.extend(answer.term.filter(|_| self.config.terms).map(|term| format!(r#""term":{term}"#)));
        claim.extend(answer.leader.map(|leader| format!(r#""leader":"{}""#, NAMES[leader])));
        let _ = write!(text, r#","claim":{{{}}}"#, claim.join(","));
        self.line(&text);
    }

    pub(super) fn record_snapshot(&mut self, node: usize, store: &Store) {
        let (process, name) = (200_000 + node, NAMES[node]);
        self.line(&format!(
            r#""process":{process},"type":"invoke","f":"snapshot","value":null,"node":"{name}""#
        ));
        let held = store.iter().filter_map(|(key, (value, version))| Some((key, (*value)?, version)));
        let entries: Vec<String> = held
            .map(|(key, value, version)| match self.config.versions {
                true => format!(r#""k{key}":{{"value":{value},"version":{{"ts":{version}}}}}"#),
                false => format!(r#""k{key}":{{"value":{value}}}"#),
            })
            .collect();
        let value = entries.join(",");
        self.line(&format!(
            r#""process":{process},"type":"ok","f":"snapshot","value":{{{value}}},"node":"{name}""#
        ));
    }

    pub(super) fn record_fault(&mut self, fault: usize, ended: bool) {
        let Some(what) = self.faults[fault].what.clone() else { return };
        let (f, target, label, evidence) = match &what {
            Fault::Kill(node) => {
                ("kill", format!("{:?}", NAMES[*node]), format!("kill {}", NAMES[*node]), String::new())
            }
            Fault::Pause(node) => {
                let name = format!("{:?}", NAMES[*node]);
                let stopped = if ended { format!("\"stopped\":[{name}]") } else { String::new() };
                ("pause", name, format!("pause {}", NAMES[*node]), stopped)
            }
            Fault::Cut(links) => {
                let names = links.iter().map(|(from, to)| format!("\"{}→{}\"", NAMES[*from], NAMES[*to]));
                let links = match ended {
                    true => format!(
                        "{{{}}}",
                        names.map(|name| format!("{name}:{{}}")).collect::<Vec<_>>().join(",")
                    ),
                    false => format!("[{}]", names.collect::<Vec<_>>().join(",")),
                };
                ("partition", String::new(), "partition".to_owned(), format!("\"links\":{links}"))
            }
        };
        let edge = if ended { r#""end","took_effect":true"# } else { "\"begin\"" };
        self.nemesis(
            f,
            None,
            &format!(r#"{{"fault":{fault},"edge":{edge},"target":[{target}],"label":"{label}","evidence":{{{evidence}}}}}"#),
        );
    }

    pub(super) fn nemesis(&mut self, f: &str, node: Option<usize>, value: &str) {
        let node = node.map(|node| format!(r#","node":"{}""#, NAMES[node])).unwrap_or_default();
        self.line(&format!(r#""process":"nemesis","type":"info","f":"{f}","value":{value}{node}"#));
    }

    fn line(&mut self, text: &str) {
        // Several things happen in one tick; their times differ as they would on a real clock.
        let time = self.now * 1_000 + self.index % 1_000;
        let time = time.max(self.last_ns + 1);
        self.last_ns = time;
        let _ = writeln!(self.out, r#"{{"index":{},"time":{time},{text}}}"#, self.index);
        self.index += 1;
    }
}
