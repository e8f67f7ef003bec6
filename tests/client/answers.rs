//! How answers of nodes written in many styles are read by the built-in protocol.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use harness::client::{Answer, Client, Protocol, Request};
use harness::history::{Number, Outcome, Value, Version};

use crate::serve::{PATIENT, answering, both, http, lab2, read, request, server, write};

async fn answers(bytes: Vec<u8>) -> (Answer, Answer) {
    both(answering(bytes), PATIENT).await
}

fn version(ts: i64, origin: &str) -> Option<Version> {
    Some(Version { ts: Number::Int(ts), origin: origin.into() })
}

#[tokio::test]
async fn the_labs_own_answers() {
    let (written, read) =
        answers(http(200, r#"{"ok":true,"node":"A","key":"k1","value":17,"ts":9,"origin":"B"}"#)).await;
    assert_eq!((written.outcome, read.outcome), (Outcome::Ok, Outcome::Ok));
    assert_eq!((written.value, read.value), (Value::int(17), Value::int(17)));
    assert_eq!((written.version, read.version), (version(9, "B"), version(9, "B")));
    assert_eq!((written.error, written.raw, read.raw), (None, None, None));
}

#[tokio::test]
async fn other_spellings_are_the_same_answer() {
    for body in [
        r#"{"value":"17","ts":"9","origin":"B"}"#,
        r#"{"val":17.0,"timestamp":9.0,"origin":"B"}"#,
        r#"{"value":17,"version":{"ts":9,"origin":"B"}}"#,
        r#"{"value":17,"ts":[9,"B"]}"#,
    ] {
        let (_, read) = answers(http(200, body)).await;
        assert_eq!(
            (read.outcome, read.value, read.version),
            (Outcome::Ok, Value::int(17), version(9, "B")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn the_answering_node_and_its_clock_are_no_version() {
    let (written, read) =
        answers(http(200, r#"{"ok":true,"node":"A","value":17,"lamport":12,"ts":9}"#)).await;
    assert_eq!((written.outcome, written.version), (Outcome::Ok, None));
    assert_eq!((read.value, read.version), (Value::int(17), None));
}

#[tokio::test]
async fn misses_in_each_of_their_ways() {
    for (status, body) in [
        (404, r#"{"ok":false,"error":"not found"}"#),
        (404, "<html>Not Found</html>"),
        (404, ""),
        (200, r#"{"ok":false,"error":"not found"}"#),
        (200, r#"{"ok":false,"error":"Key not found: k1"}"#),
        (200, r#"{"ok":false,"error":"key 'k1' not found"}"#),
        (200, r#"{"status":"not_found"}"#),
        (200, r#"{"status":"missing","value":null}"#),
        (200, r#"{"found":false}"#),
        (200, r#"{"ok":true,"value":null}"#),
        (200, r#"{"ok":false,"value":null}"#),
        (400, r#"{"error":"no such key"}"#),
    ] {
        let (_, read) = answers(http(status, body)).await;
        assert_eq!(
            (read.outcome, &read.value),
            (Outcome::Ok, &Value::Nil),
            "{status} {body}: {:?}",
            read.error
        );
    }
}

#[tokio::test]
async fn complaints_are_no_misses() {
    for (status, body) in [
        (200, r#"{"ok":false,"error":"peer timed out","value":null}"#),
        (200, r#"{"error":true,"value":null}"#),
        (200, r#"{"ok":false}"#),
        (400, r#"{"error":"missing key"}"#),
        (200, r#"{"ok":false,"error":"leader not found"}"#),
        (500, r#"{"error":"KeyError: not found"}"#),
        (503, ""),
    ] {
        let (_, read) = answers(http(status, body)).await;
        assert_eq!((read.outcome, read.raw), (Outcome::Fail, None), "{status} {body}");
    }
}

#[tokio::test]
async fn statuses_decide_where_no_rule_does() {
    let expected = [
        (200, r#"{"ok":true}"#, Outcome::Ok),
        (201, "", Outcome::Ok),
        (204, "", Outcome::Ok),
        (200, "OK", Outcome::Ok),
        (200, r#"{"ok":false,"error":"replication failed"}"#, Outcome::Info),
        (200, r#"{"error":"disk full"}"#, Outcome::Info),
        (200, r#"{"status":"error"}"#, Outcome::Info),
        (200, r#"{"ok":true,"error":null}"#, Outcome::Ok),
        (400, r#"{"ok":false,"error":"missing value"}"#, Outcome::Fail),
        (500, "Traceback (most recent call last)", Outcome::Info),
        (503, "", Outcome::Info),
    ];
    for (status, body, outcome) in expected {
        let (written, _) = answers(http(status, body)).await;
        assert_eq!((written.outcome, &written.raw), (outcome, &None), "{status} {body}: {:?}", written.error);
    }
    let (written, read) = answers(http(500, r#"{"error":"disk full"}"#)).await;
    assert_eq!(written.error.as_deref(), Some("status 500: disk full"));
    assert_eq!(read.error.as_deref(), Some("status 500: disk full"));
}

/// Not understood: unknown for a write, failed for a read, and kept to be shown.
async fn assert_not_understood(bytes: Vec<u8>, raw: &str) {
    let (written, read) = answers(bytes).await;
    assert_eq!((written.outcome, read.outcome), (Outcome::Info, Outcome::Fail));
    for answer in [written, read] {
        let kept = answer.raw.unwrap();
        assert!(kept.contains(raw), "{kept} should contain {raw}");
        assert!(kept.chars().count() <= 512);
        assert!(answer.error.is_some());
    }
}

#[tokio::test]
async fn what_is_not_understood_is_kept() {
    assert_not_understood(http(200, "<!DOCTYPE html><p>It works!"), "It works!").await;
    assert_not_understood(http(200, b"\xff\xfe\x00{}"), "\u{fffd}").await;
    assert_not_understood(http(200, "x".repeat(10 << 20)), "HTTP/1.1 200").await;
    assert_not_understood(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec(), "SSH-2.0").await;
    let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 100_000]].concat();
    assert_not_understood(endless, "HTTP/1.1 200").await;
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n";
    assert_not_understood(chunks.into(), "nonsense").await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    // To itself: a client that followed would never come back.
    let redirect = b"HTTP/1.1 302 Found\r\nLocation: /get?key=k1\r\nContent-Length: 4\r\n\r\nhere".to_vec();
    assert_not_understood(redirect, "here").await;
}

#[tokio::test]
async fn a_read_without_a_value_is_not_understood() {
    for body in [r#"{"ok":true}"#, "17 apples", "[[[", r#"{"data":{"value":17}}"#] {
        let (_, read) = answers(http(200, body)).await;
        assert_eq!((read.outcome, read.raw.as_deref()), (Outcome::Fail, Some(body)));
    }
}

#[tokio::test]
async fn deeply_nested_and_huge_numbers_do_no_harm() {
    let (_, read) = answers(http(200, "[".repeat(500_000))).await;
    assert_eq!(read.outcome, Outcome::Fail);
    let (_, read) = answers(http(200, format!("{{\"value\":{}}}", "9".repeat(400)))).await;
    assert_eq!(read.outcome, Outcome::Fail);
    let (_, read) = answers(http(200, r#"{"value":123456789012345678901234567890}"#)).await;
    assert_eq!(read.value, Value::Number(Number::Float(123456789012345678901234567890.0)));
}

async fn snapshot(bytes: Vec<u8>) -> Answer {
    let mut client = Client::new(lab2(), answering(bytes), PATIENT);
    client.perform(&Request::new("snapshot", "", &Value::Nil)).await
}

#[tokio::test]
async fn snapshots_in_each_of_their_shapes() {
    for body in [
        r#"{"node":"A","lamport":12,"store":{"k1":{"value":17,"ts":9,"origin":"B"},"k2":{"value":"3","ts":4,"origin":"A"}},"peers":[]}"#,
        r#"{"store":[{"key":"k1","value":17,"ts":9,"origin":"B"},{"key":"k2","val":3.0,"lamport":4,"origin":"A"}]}"#,
    ] {
        let answer = snapshot(http(200, body)).await;
        let held = answer.snapshot.unwrap();
        assert_eq!((held.len(), answer.outcome), (2, Outcome::Ok));
        assert_eq!((&held["k1"].value, &held["k1"].version), (&Value::int(17), &version(9, "B")));
        assert_eq!((&held["k2"].value, &held["k2"].version), (&Value::int(3), &version(4, "A")));
    }
    let bare = snapshot(http(200, r#"{"store":{"k1":17,"k2":"3"}}"#)).await.snapshot.unwrap();
    assert_eq!((&bare["k1"].value, &bare["k2"].version), (&Value::int(17), &None));
    let empty = snapshot(http(200, r#"{"store":{}}"#)).await;
    assert_eq!(empty.snapshot, Some(Arc::default()));
}

#[tokio::test]
async fn a_node_without_snapshots_says_so() {
    for bytes in [
        http(404, "Not Found"),
        http(501, "Unsupported method"),
        http(200, r#"{"node":"A","lamport":12}"#),
        http(200, r#"{"store":12}"#),
        http(200, r#"{"store":{"k1":[17,9,"B"]}}"#),
        http(200, "fine, thanks"),
    ] {
        let answer = snapshot(bytes).await;
        assert_eq!((answer.outcome, answer.unsupported), (Outcome::Fail, true));
    }
    let ill = snapshot(http(500, "")).await;
    assert_eq!((ill.outcome, ill.unsupported), (Outcome::Fail, false));
}

#[tokio::test]
async fn values_in_base64_are_the_text_they_stand_for() {
    let etcd = Protocol::load("etcd", Path::new(".")).unwrap();
    let header = r#""header":{"cluster_id":"1","member_id":"2","revision":"3","raft_term":"4"}"#;
    let found = format!(r#"{{{header},"kvs":[{{"key":"azE=","value":"MTc="}}],"count":"1"}}"#);
    let cases = [
        (200, found, Outcome::Ok, Value::int(17)),
        (200, format!("{{{header}}}"), Outcome::Ok, Value::Nil),
        (200, format!(r#"{{{header},"kvs":[{{"value":"not base64"}}]}}"#), Outcome::Fail, Value::Nil),
        (503, r#"{"error":"etcdserver: no leader","code":14}"#.to_owned(), Outcome::Fail, Value::Nil),
    ];
    for (status, body, outcome, value) in cases {
        let mut client = Client::new(Arc::clone(&etcd), answering(http(status, &body)), PATIENT);
        let read = read(&mut client).await;
        assert_eq!((read.outcome, &read.value), (outcome, &value), "{body}: {read:?}");
    }
    let (asked, told) = std::sync::mpsc::channel();
    let address = server(move |_, mut stream| {
        let _ = asked.send(request(&mut stream));
        let _ = stream.write_all(&http(200, "{}"));
    });
    let written = write(&mut Client::new(etcd, address, PATIENT)).await;
    assert_eq!(written.outcome, Outcome::Ok);
    let request = told.recv().unwrap().unwrap();
    assert!(request.ends_with(r#"{"key": "azE=", "value": "MTc="}"#), "{request}");
}
