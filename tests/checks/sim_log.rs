//! What the model leaves: snapshots of its nodes, and the history.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Bug, CLIENTS, Entry, Event, MAIN, NODES, Shown, Sim, Snap, Version};

impl Sim {
    pub(super) fn poll(&mut self, node: usize) {
        let id = self.snaps.len();
        let process = CLIENTS + node;
        if !self.settling && self.snaps.iter().any(|snap| snap.process == process && snap.left > 0) {
            return;
        }
        if self.settling && self.snaps.iter().any(|snap| snap.process == process && snap.left > 0) {
            self.at(1, Event::Poll(node));
            return;
        }
        let life = self.nodes[node].life;
        let dead = !self.nodes[node].up;
        self.snaps.push(Snap {
            node,
            process,
            left: self.keys,
            life,
            dead,
            settling: self.settling,
            held: BTreeMap::new(),
        });
        self.line(&format!(
            r#""process":{process},"type":"invoke","f":"snapshot","value":null,"node":"{}""#,
            NODES[node]
        ));
        for key in 0..self.keys {
            let after = self.rng.between(0, 6);
            self.at(after, Event::Peek(id, key));
        }
    }

    pub(super) fn peek(&mut self, id: usize, key: usize) {
        let node = self.snaps[id].node;
        let alive = self.nodes[node].up && self.nodes[node].life == self.snaps[id].life;
        let place = if self.config.bug == Some(Bug::KeyCollision) { key & !1 } else { key };
        let entry = self.nodes[node].store.get(&place).copied();
        let snap = &mut self.snaps[id];
        snap.dead |= !alive;
        if let Some(entry) = entry {
            snap.held.insert(key, entry);
        }
        snap.left -= 1;
        if snap.left > 0 {
            return;
        }
        let (process, dead, settling, held) = (snap.process, snap.dead, snap.settling, snap.held.clone());
        let name = NODES[node];
        if dead {
            self.line(&format!(
                r#""process":{process},"type":"fail","f":"snapshot","node":"{name}","error":"reset""#
            ));
        } else {
            let entries = held.iter().map(|(key, (value, version))| {
                let version = self
                    .shown(false, *version)
                    .map(|text| format!(",\"version\":{text}"))
                    .unwrap_or_default();
                format!("\"k{key}\":{{\"value\":{value}{version}}}")
            });
            let entries: Vec<String> = entries.collect();
            let value = entries.join(",");
            self.line(&format!(
                r#""process":{process},"type":"ok","f":"snapshot","value":{{{value}}},"node":"{name}""#
            ));
        }
        if settling {
            self.last[node] = (!dead).then_some(held);
            let values = |held: &BTreeMap<usize, Entry>| {
                held.iter().map(|(key, entry)| (*key, entry.0)).collect::<Vec<_>>()
            };
            let held: Vec<_> = self.last.iter().flatten().map(values).collect();
            if held.len() == 3 && held.iter().all(|other| *other == held[0]) {
                let ms = self.now - MAIN;
                self.nemesis("converged", None, &format!("{{\"ms\":{ms}}}"));
                self.judge();
            }
            self.at(20, Event::Poll(node));
        }
    }

    pub(super) fn judge(&mut self) {
        self.nemesis("phase", None, "\"done\"");
        self.done = true;
    }

    fn shown(&self, ack: bool, version: Version) -> Option<String> {
        let (ts, origin) = (version.0, NODES[version.1]);
        match (self.config.shown, ack) {
            (Shown::Nothing, _) | (Shown::OnlyAcks, false) | (Shown::OnlyReads, true) => None,
            (Shown::NoOrigin, _) => Some(format!(r#"{{"ts":{ts}}}"#)),
            _ => Some(format!(r#"{{"ts":{ts},"origin":"{origin}"}}"#)),
        }
    }

    pub(super) fn event(&mut self, id: usize, kind: &str, error: Option<&str>) {
        let call = self.calls[id].clone();
        let (f, process, node, key) =
            (if call.write.is_some() { "write" } else { "read" }, call.process, NODES[call.node], call.key);
        let answer = call.answer.flatten().filter(|_| kind == "ok");
        let value =
            call.write.or(answer.map(|entry| entry.0)).map_or("null".into(), |value| value.to_string());
        let mut text = format!(
            r#""process":{process},"type":"{kind}","f":"{f}","key":"k{key}","value":{value},"node":"{node}""#
        );
        if let Some(version) = answer.and_then(|entry| self.shown(call.write.is_some(), entry.1)) {
            let _ = write!(text, r#","version":{version}"#);
        }
        if let Some(error) = error {
            let _ = write!(text, r#","error":"{error}""#);
        }
        self.line(&text);
    }

    pub(super) fn nemesis(&mut self, f: &str, node: Option<usize>, value: &str) {
        let node = node.map(|node| format!(r#","node":"{}""#, NODES[node])).unwrap_or_default();
        self.line(&format!(r#""process":"nemesis","type":"info","f":"{f}","value":{value}{node}"#));
    }

    pub(super) fn line(&mut self, text: &str) {
        // Several things happen in one tick; their times differ as they would on a real clock.
        let time = self.now * 1_000_000 + self.index;
        let _ = writeln!(self.out, r#"{{"index":{},"time":{time},{text}}}"#, self.index);
        self.index += 1;
    }
}
