//! The load as a whole: what is asked, when, of whom, and what the history says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::client::Protocol;
use harness::history::recorder::Recorder;
use harness::history::{Outcome, Sessions, Value};
use harness::load::{self, LoadStats, Plan, Prober, Targets};
use harness::workload::LoadSpec;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::recorder::events;
use crate::serve::{HASTY, PATIENT, answering, http, lab2, nobody, request, server};

const OK: &str = r#"{"ok":true,"value":17,"ts":9,"origin":"B"}"#;

pub fn spec(clients: u32, rate: f64, duration_ms: u64) -> LoadSpec {
    LoadSpec {
        size: 0,
        subscribers: 0,
        repeat: 0.0,
        kind: "register".into(),
        clients,
        rate,
        duration: Duration::from_millis(duration_ms),
        keys: 4,
        rotate: None,
        burst: 1,
        mix: vec![("read".into(), 1), ("write".into(), 1)],
        sessions: Sessions::Sticky,
        routes: BTreeMap::new(),
    }
}

/// A load's surroundings.
pub struct Stage {
    _folder: TempDir,
    history: PathBuf,
    pub targets: Arc<Targets>,
    pub plan: Arc<Plan>,
}

impl Stage {
    fn new(spec: &LoadSpec, nodes: &[SocketAddr], timeout: Duration, max_in_flight: Option<u32>) -> Self {
        Self::speaking(lab2(), spec, nodes, timeout, max_in_flight)
    }

    pub fn speaking(
        protocol: Arc<Protocol>,
        spec: &LoadSpec,
        nodes: &[SocketAddr],
        timeout: Duration,
        max_in_flight: Option<u32>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let history = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&history).unwrap();
        let nodes: Vec<(String, SocketAddr)> =
            ["A", "B", "C"].iter().zip(nodes).map(|(id, address)| (id.to_string(), *address)).collect();
        let targets = Targets::new(protocol, recorder, &nodes, timeout, max_in_flight);
        let plan = Arc::new(Plan::new(spec, 42, nodes.len()));
        Self { _folder: folder, history, targets, plan }
    }

    pub async fn run(&self) -> LoadStats {
        let (_stop, stopped) = watch::channel(false);
        load::run(Arc::clone(&self.plan), Arc::clone(&self.targets), Instant::now(), stopped).await
    }

    pub fn events(&self) -> Vec<Json> {
        events(&self.history)
    }
}

fn three() -> [SocketAddr; 3] {
    [answering(http(200, OK)), answering(http(200, OK)), answering(http(200, OK))]
}

/// By process: its events in order.
fn by_process(events: &[Json]) -> BTreeMap<u64, Vec<&Json>> {
    let mut processes: BTreeMap<u64, Vec<&Json>> = BTreeMap::new();
    for event in events {
        processes.entry(event["process"].as_u64().unwrap()).or_default().push(event);
    }
    processes
}

#[tokio::test]
async fn the_history_is_the_plan_carried_out() {
    let spec = LoadSpec { rotate: Some(Duration::from_millis(200)), ..spec(6, 300.0, 600) };
    let stage = Stage::new(&spec, &three(), PATIENT, None);
    let stats = stage.run().await;
    let events = stage.events();
    assert_eq!(stats.counts.total() + stats.skipped_slots, 180, "slots that were used or missed: {stats:?}");
    assert_eq!(events.len() as u64, 2 * stats.counts.total());
    assert_eq!(stats.counts.ok, stats.counts.total(), "{stats:?}");
    assert_eq!(stats.nodes.iter().map(|node| node.counts.total()).sum::<u64>(), stats.counts.total());
    let mut values = BTreeSet::new();
    let keys: BTreeSet<Arc<str>> =
        stage.plan.keys_until(stage.targets.live().scheduled_until()).into_iter().collect();
    for (process, own) in by_process(&events) {
        let planned: Vec<_> = {
            let mut stream = stage.plan.stream(u32::try_from(process).unwrap());
            (0..200).map(|_| stream.next_planned()).collect()
        };
        for pair in own.chunks(2) {
            let [invoked, ended] = pair else { panic!("an invocation without an end: {pair:?}") };
            assert_eq!((&invoked["type"], &ended["type"]), (&json!("invoke"), &json!("ok")));
            assert_eq!((&invoked["key"], &invoked["f"]), (&ended["key"], &ended["f"]));
            assert_eq!(invoked["node"], ["A", "B", "C"][process as usize % 3]);
            assert!(keys.contains(invoked["key"].as_str().unwrap()));
            if invoked["f"] == "write" {
                let value = invoked["value"].as_u64().unwrap();
                assert!(values.insert(value), "{value} is written twice");
                let plan = &planned[((value - 1) / 6) as usize];
                assert_eq!(
                    (&plan.value, &*plan.key),
                    (&Value::int(value as i64), invoked["key"].as_str().unwrap())
                );
                assert_eq!(ended["version"], json!({"ts": 9, "origin": "B"}));
            } else {
                assert_eq!((&invoked["value"], &ended["value"]), (&Json::Null, &json!(17)));
            }
        }
    }
    assert!(!values.is_empty() && keys.len() > 4);
}

#[tokio::test]
async fn without_a_rate_it_goes_as_fast_as_it_is_answered() {
    let stage = Stage::new(&spec(6, 0.0, 200), &three(), PATIENT, None);
    let stats = stage.run().await;
    assert!(stats.counts.ok >= 6 && stats.skipped_slots == 0, "{stats:?}");
    assert_eq!(stage.events().len() as u64, 2 * stats.counts.total());
}

#[tokio::test]
async fn a_late_client_skips_what_it_missed() {
    let slow = server(|_, mut stream| {
        while request(&mut stream).is_some() {
            std::thread::sleep(Duration::from_millis(100));
            stream.write_all(&http(200, OK)).unwrap();
        }
    });
    let stage = Stage::new(&spec(1, 100.0, 500), &[slow], PATIENT, None);
    let stats = stage.run().await;
    assert_eq!(stats.counts.total() + stats.skipped_slots, 50, "{stats:?}");
    assert!((1..=5).contains(&stats.counts.ok), "{stats:?}");
    assert!(stats.achieved_rate < 15.0 && stats.asked_rate == 100.0, "{stats:?}");
}

#[tokio::test]
async fn an_unknown_write_retires_its_process() {
    let mute = server(|_, mut stream| {
        while let Some(asked) = request(&mut stream) {
            if asked.starts_with("GET") {
                stream.write_all(&http(200, OK)).unwrap();
            }
        }
    });
    let stage = Stage::new(&spec(2, 0.0, 2500), &[mute], HASTY, None);
    let stats = stage.run().await;
    assert!(stats.counts.info >= 2 && stats.counts.ok > 0, "{stats:?}");
    let events = stage.events();
    let processes = by_process(&events);
    for (process, own) in &processes {
        // Concurrency is two clients and one prober.
        assert!(process % 3 < 2);
        let unknown: Vec<usize> = (0..own.len()).filter(|place| own[*place]["type"] == "info").collect();
        if let Some(first) = unknown.first() {
            assert_eq!(first + 1, own.len(), "process {process} went on after an unknown write");
            assert_eq!(own[*first]["error"], "no answer within 300ms");
        }
    }
    assert!(processes.contains_key(&3) && processes.contains_key(&4));
}

#[tokio::test]
async fn nobody_there_is_failure_after_failure() {
    let stage = Stage::new(&spec(3, 100.0, 600), &[nobody()], PATIENT, None);
    let stats = stage.run().await;
    assert!(stats.counts.fail > 0 && stats.counts.fail == stats.counts.total(), "{stats:?}");
    assert_eq!(by_process(&stage.events()).len(), 3);
}

#[tokio::test]
async fn no_more_than_so_many_in_flight_at_a_node() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let busy = server(move |_, mut stream| {
        while request(&mut stream).is_some() {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            now.fetch_sub(1, Ordering::SeqCst);
            stream.write_all(&http(200, OK)).unwrap();
        }
    });
    let stage = Stage::new(&spec(8, 0.0, 400), &[busy], PATIENT, Some(2));
    let stats = stage.run().await;
    assert!(stats.counts.ok > 8, "{stats:?}");
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_load_can_be_stopped() {
    let stage = Stage::new(&spec(3, 50.0, 600_000), &three(), PATIENT, None);
    let (stop, stopped) = watch::channel(false);
    let load = load::run(Arc::clone(&stage.plan), Arc::clone(&stage.targets), Instant::now(), stopped);
    let watch_and_stop = async {
        while stage.targets.live().counts().ok == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.send(true).unwrap();
    };
    let (stats, ()) = tokio::join!(load, watch_and_stop);
    assert!(stats.counts.ok > 0 && stats.counts.total() < 30_000, "{stats:?}");
    assert_eq!(stage.events().len() as u64, 2 * stats.counts.total());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_ends_the_load() {
    let recorder = Recorder::create("/dev/full").unwrap();
    let nodes = [("A".to_owned(), answering(http(200, OK)))];
    let targets = Targets::new(lab2(), Arc::clone(&recorder), &nodes, PATIENT, None);
    let (_stop, stopped) = watch::channel(false);
    let plan = Arc::new(Plan::new(&spec(2, 0.0, 600_000), 42, 1));
    let stats = load::run(plan, targets, Instant::now(), stopped).await;
    assert!(recorder.has_failed() && stats.counts.total() <= 4, "{stats:?}");
}

#[tokio::test]
async fn what_was_not_understood_is_counted_and_shown() {
    let stage = Stage::new(&spec(2, 100.0, 300), &[answering(http(200, "<html>hi"))], PATIENT, None);
    let stats = stage.run().await;
    let node = &stats.nodes[0];
    assert_eq!((node.node.as_str(), node.not_understood), ("A", stats.counts.total()));
    let samples: BTreeSet<_> = node.samples.iter().map(|sample| (&*sample.f, &*sample.raw)).collect();
    assert_eq!(samples, BTreeSet::from([("read", "<html>hi"), ("write", "<html>hi")]));
}

/// A node with `/get` and no more: k1 and k3 are there, k2 is not; the fourth request for `ill` fails.
fn by_key(ill: bool) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let address = server(move |_, mut stream| {
        while let Some(request) = request(&mut stream) {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let answer = match path.as_str() {
                "/get?key=k1" | "/get?key=k3" => http(200, OK),
                "/get?key=k4" if ill => http(500, "ill"),
                _ => http(404, "not found"),
            };
            log.lock().unwrap().push(path);
            stream.write_all(&answer).unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_node_without_snapshots_is_read_key_by_key() {
    let keys: Vec<Arc<str>> = ["k1", "k2", "k3", "k4"].map(Arc::from).into();
    for (ill, outcome, kind) in [(false, Outcome::Ok, "ok"), (true, Outcome::Fail, "fail")] {
        let (address, asked) = by_key(ill);
        let stage = Stage::new(&spec(2, 0.0, 100), &[nobody(), address], PATIENT, Some(1));
        let mut prober = Prober::new(&stage.targets, 2, 1).unwrap();
        assert_eq!(prober.ready().await, Ok(()));
        let answer = prober.snapshot(&keys).await;
        assert_eq!(answer.outcome, outcome);
        let asked = asked.lock().unwrap().clone();
        assert_eq!(asked, ["/status", "/status", "/get?key=k1", "/get?key=k2", "/get?key=k3", "/get?key=k4"]);
        let events = stage.events();
        assert_eq!(events.len(), 2, "one operation: {events:?}");
        assert_eq!((&events[0]["f"], &events[0]["type"]), (&json!("snapshot"), &json!("invoke")));
        assert_eq!(
            (&events[1]["process"], &events[1]["type"], &events[1]["node"]),
            (&json!(3), &json!(kind), &json!("B"))
        );
        if ill {
            assert_eq!(events[1]["error"], "reading k4: status 500: ill");
        } else {
            let held = json!({"value": 17, "version": {"ts": 9, "origin": "B"}});
            assert_eq!(events[1]["value"], json!({"k1": held, "k3": held}));
        }
    }
}

#[tokio::test]
async fn a_protocol_without_snapshots_reads_key_by_key_at_once() {
    let text = "[read]\npath = '/get?key={{ key }}'\nvalue = '/value'\n[[read.answer]]\nstatus = 404\noutcome = 'miss'\n";
    let protocol = Arc::new(Protocol::parse(text, Path::new("bare.toml"), "bare").unwrap());
    let (address, asked) = by_key(false);
    let stage = Stage::speaking(protocol, &spec(1, 0.0, 100), &[address], PATIENT, None);
    let answer =
        Prober::new(&stage.targets, 1, 0).unwrap().snapshot(&[Arc::from("k1"), Arc::from("k2")]).await;
    assert_eq!(answer.snapshot.unwrap().keys().map(|key| &**key).collect::<Vec<_>>(), ["k1"]);
    assert_eq!(*asked.lock().unwrap(), ["/get?key=k1", "/get?key=k2"]);
}

#[tokio::test]
async fn a_snapshot_is_one_request_where_there_is_one() {
    let body = r#"{"node":"A","store":{"k1":{"value":17,"ts":9,"origin":"B"}}}"#;
    let stage = Stage::new(&spec(1, 0.0, 100), &[answering(http(200, body)), nobody()], PATIENT, None);
    let answer = Prober::new(&stage.targets, 1, 0).unwrap().snapshot(&[]).await;
    assert_eq!(answer.snapshot.unwrap().len(), 1);
    let refused = Prober::new(&stage.targets, 1, 1).unwrap().snapshot(&[Arc::from("k1")]).await;
    assert_eq!(refused.outcome, Outcome::Fail);
    assert!(Prober::new(&stage.targets, 1, 2).is_none());
    assert_eq!(stage.events().len(), 4);
}
