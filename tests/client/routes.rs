//! Whom operations are sent to: routes, hints, tokens, and who is thought to lead.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::client::Protocol;
use harness::history::Sessions;
use harness::load::{Prober, StatusWatch};
use harness::workload::{LoadSpec, Route};
use serde_json::{Value as Json, json};

use crate::load::{Stage, spec};
use crate::serve::{HASTY, PATIENT, http, nobody, request, server};

const DONE: &str = r#"{"success":true,"achievedQuorum":true,"acks":2,"term":1,"version":1000000001}"#;

fn quorum() -> Arc<Protocol> {
    Protocol::load("quorum", Path::new(".")).unwrap()
}

/// Writes alone, by `route`, for so long.
fn writes(clients: u32, duration_ms: u64, route: Route) -> LoadSpec {
    LoadSpec {
        mix: vec![("write".into(), 1)],
        routes: BTreeMap::from([("write".to_owned(), route)]),
        ..spec(clients, 100.0, duration_ms)
    }
}

fn stage(spec: &LoadSpec, nodes: &[SocketAddr], timeout: Duration) -> Stage {
    Stage::speaking(quorum(), spec, nodes, timeout, None)
}

/// A node that keeps what it was asked and answers it with what `answer` makes of that.
fn node(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let address = server(move |_, mut stream| {
        while let Some(text) = request(&mut stream) {
            let reply = answer(&text);
            log.lock().unwrap().push(text);
            if stream.write_all(&reply).is_err() {
                return;
            }
        }
    });
    (address, asked)
}

fn follower(hint: &str) -> Vec<u8> {
    http(503, json!({"success": false, "error": "not the leader", "leaderId": hint}).to_string())
}

fn count(asked: &Mutex<Vec<String>>) -> usize {
    asked.lock().unwrap().len()
}

/// Each operation's two events.
fn operations(stage: &Stage) -> Vec<(Json, Json)> {
    let mut open: BTreeMap<u64, Json> = BTreeMap::new();
    let mut pairs = Vec::new();
    for event in stage.events() {
        let process = event["process"].as_u64().unwrap();
        match open.remove(&process) {
            Some(invoked) => pairs.push((invoked, event)),
            None => assert!(open.insert(process, event).is_none()),
        }
    }
    assert!(open.is_empty(), "never completed: {open:?}");
    pairs
}

#[tokio::test]
async fn a_hint_is_followed_within_the_operation() {
    let (a, asked_a) = node(|_| follower("B"));
    let (b, asked_b) = node(|_| http(200, DONE));
    let stage = stage(&writes(1, 300, Route::Leader), &[a, b], PATIENT);
    let stats = stage.run().await;
    assert!(stats.counts.ok > 2 && stats.counts.ok == stats.counts.total(), "{stats:?}");
    assert_eq!(count(&asked_a), 1, "once it is known who leads, nobody else is asked");
    assert_eq!(count(&asked_b) as u64, stats.counts.ok);
    // What was sent to both is one operation with one value.
    let value = |text: &str| text.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(value(&asked_a.lock().unwrap()[0]), value(&asked_b.lock().unwrap()[0]));
    let operations = operations(&stage);
    for (place, (invoked, ended)) in operations.iter().enumerate() {
        assert_eq!(invoked["node"], if place == 0 { "A" } else { "B" });
        assert_eq!(
            (&ended["type"], &ended["node"], &ended["value"]),
            (&json!("ok"), &json!("B"), &invoked["value"])
        );
        assert_eq!(ended["claim"], json!({"achieved": true, "acks": 2, "term": 1}));
    }
    assert_eq!(operations.len() as u64, stats.counts.ok);
    assert_eq!((stats.nodes[0].counts.total(), stats.nodes[1].counts.ok), (0, stats.counts.ok));
    assert_eq!(stage.targets.live().in_flight(0) + stage.targets.live().in_flight(1), 0);
    assert_eq!(stage.targets.leaders().believed(), Some(1));
}

#[tokio::test]
async fn a_leader_may_be_named_by_its_address() {
    let (b, _) = node(|_| http(200, DONE));
    let hint = json!({"error": "not the leader", "leaderId": "x", "leaderUrl": format!("http://127.9.9.9:{}/", b.port())});
    let (a, _) = node(move |_| http(503, hint.to_string()));
    let stage = stage(&writes(1, 100, Route::Leader), &[a, b], PATIENT);
    let stats = stage.run().await;
    assert_eq!(stats.counts.ok, stats.counts.total());
    assert!(stats.counts.ok > 0);
    let targets = &stage.targets;
    assert_eq!(targets.place_of("A"), Some(0));
    assert_eq!(targets.place_of(&format!("localhost:{}", b.port())), Some(1));
    for nobody in ["", "C", "http://h", "http://h:", "http://h:1/", ":99999"] {
        assert_eq!(targets.place_of(nobody), None, "{nobody}");
    }
}

#[tokio::test]
async fn hints_in_a_circle_end() {
    let (a, asked_a) = node(|_| follower("B"));
    let (b, asked_b) = node(|_| follower("A"));
    let stage = stage(&writes(1, 200, Route::Leader), &[a, b], PATIENT);
    let stats = stage.run().await;
    assert!(stats.counts.fail > 0 && stats.counts.fail == stats.counts.total(), "{stats:?}");
    assert_eq!((count(&asked_a) + count(&asked_b)) as u64, 3 * stats.counts.fail);
}

#[tokio::test]
async fn what_may_have_happened_is_never_sent_on() {
    let maybe = json!({"success": false, "achievedQuorum": false, "leaderId": "B"}).to_string();
    for status in [200, 500, 503] {
        let maybe = maybe.clone();
        let (a, _) = node(move |_| http(status, &maybe));
        let (b, asked_b) = node(|_| http(200, DONE));
        let stage = stage(&writes(1, 100, Route::Leader), &[a, b], PATIENT);
        let stats = stage.run().await;
        assert!(stats.counts.info > 0 && stats.counts.info == stats.counts.total(), "{stats:?}");
        assert_eq!(count(&asked_b), 0);
    }
}

#[tokio::test]
async fn hints_are_followed_on_the_way_to_the_leader_only() {
    let (a, _) = node(|_| follower("B"));
    let (b, asked_b) = node(|_| http(200, DONE));
    let stage = stage(&writes(1, 100, Route::Sticky), &[a, b], PATIENT);
    let stats = stage.run().await;
    assert!(stats.counts.fail > 0 && stats.counts.fail == stats.counts.total(), "{stats:?}");
    assert_eq!(count(&asked_b), 0);
}

#[tokio::test]
async fn a_hop_has_the_time_that_is_left() {
    let (a, _) = node(|_| follower("B"));
    let b = server(|_, mut stream| while request(&mut stream).is_some() {});
    let stage = stage(&writes(1, 100, Route::Leader), &[a, b], HASTY);
    let stats = stage.run().await;
    assert!(stats.counts.info == 1, "{stats:?}");
    let (invoked, ended) = &operations(&stage)[0];
    assert_eq!(
        (&invoked["node"], &ended["node"], &ended["type"]),
        (&json!("A"), &json!("B"), &json!("info"))
    );
    let error = ended["error"].as_str().unwrap();
    let whole = error.contains("300ms") || !error.starts_with("no answer within ");
    assert!(!whole, "less than the whole 300 ms were left: {error}");
}

#[tokio::test]
async fn any_goes_on_where_nobody_listens_and_nowhere_else() {
    let (c, asked_c) = node(|_| http(200, DONE));
    let any = stage(&writes(1, 200, Route::Any), &[nobody(), nobody(), c], PATIENT);
    let stats = any.run().await;
    assert!(stats.counts.ok > 0 && stats.counts.ok == stats.counts.total(), "{stats:?}");
    assert!(operations(&any).iter().all(|(invoked, ended)| invoked["node"] == "A" && ended["node"] == "C"));

    let before = count(&asked_c);
    let (a, _) = node(|_| http(503, ""));
    let stats = stage(&writes(1, 200, Route::Any), &[a, c, c], PATIENT).run().await;
    assert_eq!(stats.counts.ok, 0, "{stats:?}");
    let none = stage(&writes(1, 200, Route::Any), &[nobody(), nobody(), nobody()], PATIENT).run().await;
    assert_eq!((none.counts.fail, none.counts.ok), (none.counts.total(), 0));
    assert_eq!(count(&asked_c), before);
}

#[tokio::test]
async fn a_leader_that_is_gone_is_forgotten() {
    // A goes on naming B, where nobody listens.
    let (a, asked_a) = node(|_| follower("B"));
    let stage = stage(&writes(1, 200, Route::Leader), &[a, nobody()], PATIENT);
    let stats = stage.run().await;
    assert!(stats.counts.fail > 0 && stats.counts.fail == stats.counts.total(), "{stats:?}");
    let asked = count(&asked_a) as u64;
    assert!((stats.counts.fail..=2 * stats.counts.fail).contains(&asked), "{asked} for {stats:?}");
}

/// Answers a token that counts up, the node's name before it; keeps the tokens it was shown.
fn counting(name: &'static str, info_at: Option<usize>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let next = AtomicUsize::new(0);
    node(move |_| {
        let number = next.fetch_add(1, Ordering::SeqCst);
        let status = if Some(number) == info_at { 500 } else { 200 };
        http(status, json!({"success": true, "token": format!("{name}{number}")}).to_string())
    })
}

fn tokens(asked: &Mutex<Vec<String>>) -> Vec<String> {
    let token = |text: &String| {
        let line = text.lines().find_map(|line| line.strip_prefix("X-Session-Token: "));
        line.unwrap_or_else(|| panic!("no token in {text}")).to_owned()
    };
    asked.lock().unwrap().iter().map(token).collect()
}

#[tokio::test]
async fn a_token_is_carried_on_until_the_session_ends() {
    let (a, asked) = counting("t", Some(3));
    let stats = stage(&writes(1, 300, Route::Sticky), &[a], PATIENT).run().await;
    assert!(stats.counts.info == 1 && stats.counts.total() > 6, "{stats:?}");
    assert_eq!(tokens(&asked)[..6], ["", "t0", "t1", "t2", "", "t4"]);
}

#[tokio::test]
async fn a_token_goes_with_the_client_from_node_to_node() {
    let nodes = [counting("a", None), counting("b", None)];
    let addresses = [nodes[0].0, nodes[1].0];
    let spec = LoadSpec { sessions: Sessions::Roaming, ..writes(1, 400, Route::Roaming) };
    stage(&spec, &addresses, PATIENT).run().await;
    let seen: BTreeSet<String> = nodes.iter().flat_map(|(_, asked)| tokens(asked)).collect();
    for (place, other) in [(0, "b"), (1, "a")] {
        let shown = tokens(&nodes[place].1);
        assert!(shown.iter().any(|token| token.starts_with(other)), "{shown:?}");
    }
    // Each token was shown to one node once: there is one session.
    assert_eq!(seen.len(), count(&nodes[0].1) + count(&nodes[1].1));
}

fn with_role(role: &'static str, term: u64) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    node(move |_| http(200, json!({"role": role, "term": term, "leaderId": "B", "keys": []}).to_string()))
}

#[tokio::test]
async fn whoever_leads_is_found_out_by_asking_and_it_is_recorded() {
    let nodes = [with_role("leader", 1), with_role("leader", 2), with_role("follower", 2)];
    let addresses = [nodes[0].0, nodes[1].0, nodes[2].0];
    let stage = stage(&writes(2, 100, Route::Leader), &addresses, PATIENT);
    let runtime = tokio::runtime::Handle::current();
    let watch = StatusWatch::start(&runtime, &stage.targets, 2, Duration::from_millis(10));
    let leaders = stage.targets.leaders();
    while leaders.words().iter().any(|word| word.contains("not asked")) || leaders.leader().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        (leaders.leader(), leaders.leader_id().as_deref(), leaders.believed()),
        (Some(1), Some("B"), Some(1))
    );
    assert_eq!(
        leaders.words(),
        ["A says leader in term 1", "B says leader in term 2", "C says follower in term 2"]
    );
    watch.end().await;
    let operations = operations(&stage);
    assert!(operations.len() >= 3);
    for (invoked, ended) in operations {
        let place = ["A", "B", "C"].iter().position(|id| invoked["node"] == *id).unwrap();
        // Two clients, three probers of what is held, then these.
        assert_eq!((&invoked["f"], &invoked["process"]), (&json!("status"), &json!(5 + place)));
        assert_eq!((&ended["type"], &ended["value"]), (&json!("ok"), &Json::Null));
        let (role, term) = [("leader", 1), ("leader", 2), ("follower", 2)][place];
        assert_eq!(ended["claim"], json!({"term": term, "role": role, "leader": "B"}));
        assert!(invoked.get("key").is_none());
    }
    assert_eq!(stage.targets.live().counts().total(), 0, "what the harness asks is no load");
}

#[tokio::test]
async fn what_a_node_holds_is_its_own_copy() {
    let (a, asked) = node(|text| match text.split(' ').nth(1).unwrap() {
        "/status" => http(200, r#"{"role":"follower","term":1,"totalKeys":1,"keys":["k1"]}"#),
        "/key/k1?consistency=eventual" => http(200, r#"{"key":"k1","value":17}"#),
        _ => http(404, ""),
    });
    let stage = stage(&writes(1, 100, Route::Leader), &[a], PATIENT);
    let answer = Prober::new(&stage.targets, 1, 0).unwrap().snapshot(&["k1".into(), "k2".into()]).await;
    assert_eq!(answer.snapshot.unwrap().keys().map(|key| &**key).collect::<Vec<_>>(), ["k1"]);
    let paths: Vec<String> =
        asked.lock().unwrap().iter().map(|text| text.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(paths, ["/status", "/key/k1?consistency=eventual", "/key/k2?consistency=eventual"]);
}
