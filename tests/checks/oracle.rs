//! The session guarantees straight from their definitions, pair by pair, against the checks on random histories.

use std::fmt::Write as _;
use std::path::Path;

use harness::check::{Verdict, find};
use harness::history::{Durability, History, Op, Value, Version, reader};
use harness::seed::Rng;

/// A random history, mostly wrong: sequential processes, random versions, restarts.
fn random(seed: u64) -> String {
    let mut rng = Rng::new(seed, "oracle");
    let durability = *rng.pick(&["disk", "memory"]).unwrap();
    let shown = rng.below(4);
    let mut events: Vec<(u64, String)> = Vec::new();
    let nodes = ["A", "B"];
    for (place, node) in nodes.iter().enumerate() {
        let mut at = 0;
        for life in 0..rng.below(3) {
            let line = |at: u64, f: &str| {
                let pid = 10 * place as u64 + life;
                (
                    at,
                    format!(
                        r#""process":"nemesis","type":"info","f":"{f}","node":"{node}","value":{{"pid":{pid}}}"#
                    ),
                )
            };
            events.push(line(at, "start"));
            let end = at + rng.between(20, 120);
            events.push(line(end, "exit"));
            at = end + rng.below(20);
        }
        events.push((
            at,
            format!(
                r#""process":"nemesis","type":"info","f":"start","node":"{node}","value":{{"pid":{}}}"#,
                99 - place
            ),
        ));
    }
    let mut written: Vec<Vec<(i64, i64)>> = vec![Vec::new(); 2];
    let mut clients: Vec<u64> = (0..3).map(|client| 1 + client).collect();
    let mut next = 1;
    while let Some(client) =
        (0..3).filter(|client| clients[*client as usize] < 130).min_by_key(|client| clients[*client as usize])
    {
        let from = clients[client as usize];
        let until = from + rng.between(1, 12);
        clients[client as usize] = until + rng.below(6);
        let (key, node) = (rng.below(2) as usize, *rng.pick(&nodes).unwrap());
        let version = |rng: &mut Rng, ts: i64, origin: &str, exposed: bool| match exposed && rng.below(5) > 0
        {
            true => format!(r#","version":{{"ts":{ts},"origin":"{origin}"}}"#),
            false => String::new(),
        };
        let head = format!(r#""process":{client},"key":"k{key}","node":"{node}""#);
        if rng.below(2) == 0 {
            let value = next;
            next += 1;
            let ts = from as i64 / 8 + rng.below(6) as i64;
            events.push((from, format!(r#"{head},"type":"invoke","f":"write","value":{value}"#)));
            let kind = if rng.below(6) == 0 { "info" } else { "ok" };
            written[key].push((value, ts));
            let version = if kind == "ok" {
                version(&mut rng, ts, node, shown != 0 && shown != 1)
            } else {
                String::new()
            };
            events.push((until, format!(r#"{head},"type":"{kind}","f":"write","value":{value}{version}"#)));
        } else {
            events.push((from, format!(r#"{head},"type":"invoke","f":"read","value":null"#)));
            let recent = written[key].len().saturating_sub(2);
            let read = match rng.below(20) {
                0 => None,
                _ => rng.pick(&written[key][recent..]).copied(),
            };
            let (value, version) = match read {
                None => ("null".into(), String::new()),
                Some((value, ts)) => {
                    let origin = *rng.pick(&nodes).unwrap();
                    (value.to_string(), version(&mut rng, ts, origin, shown != 0 && shown != 2))
                }
            };
            events.push((until, format!(r#"{head},"type":"ok","f":"read","value":{value}{version}"#)));
        }
    }
    let mut text = format!(
        "{{\"index\":0,\"time\":0,\"process\":\"nemesis\",\"type\":\"info\",\"f\":\"run\",\"value\":{{\"nodes\":[\"A\",\"B\"],\"durability\":\"{durability}\"}}}}\n"
    );
    events.sort_by_key(|(at, _)| *at);
    for (index, (at, line)) in events.iter().enumerate() {
        let _ = writeln!(text, r#"{{"index":{},"time":{at},{line}}}"#, index + 1);
    }
    text
}

struct Oracle<'h> {
    history: &'h History,
    disk: bool,
}

impl<'h> Oracle<'h> {
    fn ops(&self) -> impl Iterator<Item = &'h Op> + use<'h> {
        self.history.ops.iter()
    }

    fn answered(&self, f: &'static str) -> impl Iterator<Item = &'h Op> + use<'h> {
        self.ops().filter(move |op| &*op.f == f && op.is_ok())
    }

    fn writer(&self, value: &Value) -> Option<&'h Op> {
        self.ops().find(|op| &*op.f == "write" && op.value == *value).filter(|_| !value.is_nil())
    }

    fn version(&self, op: &'h Op) -> Option<&'h Version> {
        let own = op.version.as_ref().filter(|_| !(&*op.f == "read" && op.value.is_nil()));
        own.or_else(|| {
            let write = self.writer(&op.value)?;
            let told = || {
                let shown =
                    self.answered("read").find(|read| read.value == op.value && read.version.is_some());
                shown.filter(|_| write.outcome != harness::history::Outcome::Fail)?.version.as_ref()
            };
            write.version.as_ref().or_else(told)
        })
    }

    /// Whether no down time of the node touches the interval.
    fn steady(&self, node: &str, from: u64, until: u64) -> bool {
        let lives = &self.history.lives[node];
        lives.windows(2).all(|pair| pair[1].started_ns < from || pair[0].ended_ns.unwrap() > until)
    }

    fn own(&self, op: &Op) -> bool {
        let write = self.writer(&op.value);
        write.is_some_and(|write| write.is_ok() && write.node == op.node)
    }

    fn binds(&self, before: &Op, after: &Op) -> bool {
        let durable = self.disk && self.own(before);
        durable || self.steady(before.node.as_deref().unwrap(), before.invoked_ns, after.end_ns())
    }

    fn session(&self, before: &Op, after: &Op) -> bool {
        before.index < after.index && before.process == after.process && before.node == after.node
    }

    /// x ≺ w: w's node had shown x before.
    fn precedes(&self, x: &Op, w: &Op) -> bool {
        if x.index == w.index || x.key != w.key {
            return false;
        }
        let durable = self.disk && x.is_ok() && x.node == w.node && x.end_ns() < w.invoked_ns;
        let node = w.node.as_deref().unwrap();
        let shown = |op: &Op| {
            op.node == w.node
                && op.key == x.key
                && op.value == x.value
                && op.end_ns() < w.invoked_ns
                && self.steady(node, op.invoked_ns, w.end_ns())
        };
        durable || self.answered("read").chain(self.answered("write")).any(shown)
    }

    fn below(&self, low: &'h Op, high: &'h Op) -> Option<bool> {
        Some(self.version(low)? < self.version(high)?)
    }

    fn reads_own_writes(&self) -> u64 {
        let broken = |read: &&'h Op| {
            self.answered("write").any(|write| {
                self.session(write, read)
                    && write.key == read.key
                    && self.binds(write, read)
                    && match self.below(read, write) {
                        _ if read.value.is_nil() => true,
                        Some(below) => below,
                        None => self.writer(&read.value).is_some_and(|x| self.precedes(x, write)),
                    }
            })
        };
        self.answered("read").filter(broken).count() as u64
    }

    fn reads_monotonically(&self) -> u64 {
        let broken = |read: &&'h Op| {
            self.answered("read").any(|before| {
                let follows = self.session(before, read) && before.key == read.key && !before.value.is_nil();
                let steady = self.steady(read.node.as_deref().unwrap(), before.invoked_ns, read.end_ns());
                let other = |middle: &Op| {
                    self.session(before, middle)
                        && self.session(middle, read)
                        && middle.key == read.key
                        && !middle.value.is_nil()
                        && middle.value != read.value
                };
                let unversioned = self.version(before).or(self.version(read)).is_none();
                let back = before.value == read.value && unversioned;
                let gone = read.value.is_nil() && (self.version(before).is_some() || steady);
                let by_version = gone || self.below(read, before) == Some(true);
                let by_value = steady && back && self.answered("read").any(other);
                follows && ((by_version && self.binds(before, read)) || by_value)
            })
        };
        self.answered("read").filter(broken).count() as u64
    }

    fn writes_in_order(&self, after: &'static str) -> u64 {
        let broken = |write: &&'h Op| {
            self.answered(after).any(|before| {
                let versions = self.version(before).zip(self.version(write));
                self.session(before, write)
                    && !before.value.is_nil()
                    && self.binds(before, write)
                    && versions.is_some_and(|(before, write)| write.ts <= before.ts)
            })
        };
        self.answered("write").filter(broken).count() as u64
    }
}

#[test]
fn the_session_checks_agree_with_their_definitions() {
    let mut broken = [0_u64; 4];
    for seed in 0..2_000 {
        let text = random(seed);
        let history = reader::read_from(text.as_bytes(), Path::new("random")).unwrap();
        let oracle = Oracle { history: &history, disk: history.contract.durability == Durability::Disk };
        let expected = [
            ("read-your-writes", oracle.reads_own_writes()),
            ("monotonic-reads", oracle.reads_monotonically()),
            ("monotonic-writes", oracle.writes_in_order("write")),
            ("writes-follow-reads", oracle.writes_in_order("read")),
        ];
        for (place, (name, count)) in expected.into_iter().enumerate() {
            let result = find(name).unwrap().check(&history);
            assert_eq!(
                result.violations_total, count,
                "{name}, seed {seed}: {:#?}\n{text}",
                result.violations
            );
            assert_eq!(result.verdict == Verdict::Invalid, count > 0);
            broken[place] += u64::from(count > 0);
        }
    }
    assert!(
        broken.iter().all(|times| (100..1_950).contains(times)),
        "the histories are all alike: {broken:?}"
    );
}
