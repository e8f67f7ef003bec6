//! The protocols of stores with a leader: what each answer means, and what it says of quorum and leader.

use std::path::Path;
use std::sync::{Arc, LazyLock, mpsc};

use harness::client::{Answer, Client, Protocol, Request};
use harness::history::{Claim, Outcome, Value};

use crate::serve::{PATIENT, answering, http, request, server};

/// Read once: it has many regular expressions.
fn protocol(name: &str) -> Arc<Protocol> {
    static READ: LazyLock<[Arc<Protocol>; 2]> = LazyLock::new(|| {
        ["quorum", "quorum-snake"].map(|name| Protocol::load(name, Path::new(".")).unwrap())
    });
    Arc::clone(READ.iter().find(|protocol| protocol.name() == name).unwrap())
}

/// `body` as the protocol `name` spells it: `leaderId` or `leader_id`.
fn spelt(name: &str, body: &str) -> String {
    let mut text = body.to_owned();
    if name == "quorum-snake" {
        for camel in
            ["leaderId", "leaderUrl", "achievedQuorum", "writeQuorum", "nodeRole", "nodeId", "totalKeys"]
        {
            let snake: String = camel
                .chars()
                .map(|c| if c.is_uppercase() { format!("_{}", c.to_lowercase()) } else { c.to_string() })
                .collect();
            text = text.replace(&format!("\"{camel}\""), &format!("\"{snake}\""));
        }
    }
    text
}

/// What the answer `status` with `body` is to the operation `f`.
async fn answer(name: &str, f: &str, status: u16, body: &str) -> Answer {
    let mut client = Client::new(protocol(name), answering(http(status, spelt(name, body))), PATIENT);
    let value = if f == "write" { Value::int(17) } else { Value::Nil };
    client.perform(&Request::new(f, "k1", &value)).await
}

#[test]
fn both_spellings_teach_the_same() {
    for name in ["quorum", "quorum-snake"] {
        let protocol = protocol(name);
        assert_eq!(protocol.name(), name);
        assert_eq!(
            protocol.operations().collect::<Vec<_>>(),
            ["write", "delete", "strong-read", "session-read", "eventual-read"]
        );
        assert!(protocol.has_snapshot() && protocol.has("status") && protocol.has("ready"));
        assert!(protocol.mutates("write") && protocol.mutates("delete") && !protocol.mutates("strong-read"));
        assert!(protocol.carries_value("write") && !protocol.carries_value("delete"));
        assert_eq!(protocol.local_read(), Some("eventual-read"));
    }
    let text = |name: &str| std::fs::read_to_string(format!("workloads/protocols/{name}.toml")).unwrap();
    let rules = |text: String| text.split_once("\n[ready]").unwrap().1.to_owned();
    assert_eq!(spelt_places(&rules(text("quorum"))), rules(text("quorum-snake")));
}

/// The file's places with underscores.
fn spelt_places(text: &str) -> String {
    let place = regex::Regex::new("\"/([a-z]+)([A-Z])([a-z]+)\"").unwrap();
    place
        .replace_all(text, |hit: &regex::Captures<'_>| {
            format!("\"/{}_{}{}\"", &hit[1], hit[2].to_lowercase(), &hit[3])
        })
        .into_owned()
}

#[tokio::test]
async fn what_answers_to_writes_mean() {
    use Outcome::{Fail, Info, Ok};
    let cases = [
        // The course's interface.
        (
            Ok,
            200,
            r#"{"success":true,"key":"k1","value":17,"leaderId":"A","achievedQuorum":true,"writeQuorum":2}"#,
        ),
        (Ok, 200, r#"{"success":true}"#),
        (Ok, 201, ""),
        (Info, 200, r#"{"success":true,"achievedQuorum":false}"#),
        (Info, 200, r#"{"success":false,"key":"k1","leaderId":"A"}"#),
        (Info, 200, r#"{"error":"disk full"}"#),
        (Info, 500, r#"{"success":false,"achievedQuorum":false,"acks":1}"#),
        (Fail, 503, r#"{"error":"Not the leader","leaderId":"B"}"#),
        (Fail, 503, r#"{"error":"not leader","leaderId":null}"#),
        (Fail, 503, r#"{"leaderId":"B"}"#),
        (Fail, 503, r#"{"success":false,"message":"I am not the leader. Ask B","achievedQuorum":false}"#),
        (Fail, 503, r#"{"error":"No leader elected yet"}"#),
        (Fail, 400, r#"{"error":"the body is not a JSON value"}"#),
        // The leader itself, which had too few replicas: it may have kept the value.
        (Info, 503, r#"{"success":false,"leaderId":"A","achievedQuorum":false,"writeQuorum":2}"#),
        (Info, 503, r#"{"error":"Write quorum not reached","leaderId":"A"}"#),
        (Info, 503, r#"{"error":"not enough replicas","leaderId":"A"}"#),
        (Info, 503, r#"{"error":"not the leader any more","leaderId":"B"}"#),
        (Info, 503, r#"{"error":"no longer the leader","leaderId":"B"}"#),
        (Info, 503, r#"{"error":"stepped down while replicating","leaderId":"B"}"#),
        (Info, 503, ""),
        (Info, 503, "Service Unavailable"),
        (Info, 504, r#"{"leaderId":"B"}"#),
        (Info, 200, "<!DOCTYPE html><p>hello"),
        // The bundled node.
        (
            Fail,
            503,
            r#"{"success":false,"leaderId":"quorum-1","leaderUrl":"http://h:1","achievedQuorum":false,"error":"not the leader; quorum-1 is"}"#,
        ),
        (
            Fail,
            503,
            r#"{"success":false,"leaderId":null,"achievedQuorum":false,"error":"not the leader, and none is known"}"#,
        ),
        (
            Fail,
            503,
            r#"{"success":false,"leaderId":"A","achievedQuorum":false,"error":"this leader does not take writes yet"}"#,
        ),
        (
            Fail,
            503,
            r#"{"success":false,"leaderId":"A","achievedQuorum":false,"error":"not all replicas can be reached: nothing was written"}"#,
        ),
        (
            Info,
            500,
            r#"{"success":false,"leaderId":"A","achievedQuorum":false,"acks":1,"error":"not enough replicas answered in time: the outcome is unknown"}"#,
        ),
    ];
    for name in ["quorum", "quorum-snake"] {
        for (outcome, status, body) in cases {
            for f in ["write", "delete"] {
                let answer = answer(name, f, status, body).await;
                assert_eq!(
                    answer.outcome, outcome,
                    "{name}: {f} answered {status} {body}: {:?}",
                    answer.error
                );
            }
        }
    }
    // Nothing there to delete: certainly nothing was deleted.
    assert_eq!(answer("quorum", "delete", 404, r#"{"error":"not found"}"#).await.outcome, Fail);
}

#[tokio::test]
async fn what_answers_to_reads_mean() {
    for name in ["quorum", "quorum-snake"] {
        for f in ["strong-read", "session-read", "eventual-read"] {
            let found =
                answer(name, f, 200, r#"{"key":"k1","value":"17","nodeRole":"Leader","version":3000000017}"#)
                    .await;
            assert_eq!((found.outcome, &found.value), (Outcome::Ok, &Value::int(17)));
            assert_eq!(found.version.unwrap().to_string(), "ts 3000000017");
            assert_eq!(found.claim.unwrap().role.as_deref(), Some("leader"));
            for (status, body) in
                [(404, r#"{"value":null,"error":"not found"}"#), (404, ""), (200, r#"{"value":null}"#)]
            {
                let missed = answer(name, f, status, body).await;
                assert_eq!(
                    (missed.outcome, missed.value, missed.version),
                    (Outcome::Ok, Value::Nil, None),
                    "{body}"
                );
            }
            // What was deleted has a version.
            let deleted = answer(name, f, 404, r#"{"value":null,"version":1000000002}"#).await;
            assert_eq!(deleted.version.unwrap().to_string(), "ts 1000000002");
            for (status, body) in
                [(503, r#"{"value":null,"error":"not enough replicas"}"#), (500, ""), (404, "<html>")]
            {
                let failed = answer(name, f, status, body).await;
                assert_eq!(failed.outcome, Outcome::Fail, "{status} {body}");
            }
        }
    }
}

#[tokio::test]
async fn claims_are_kept_whatever_the_outcome() {
    let claim = |answer: Answer| *answer.claim.unwrap();
    let body = r#"{"success":false,"leaderId":"A","achievedQuorum":false,"acks":1,"term":3}"#;
    let unknown = answer("quorum", "write", 500, body).await;
    assert_eq!(unknown.outcome, Outcome::Info);
    let expected =
        Claim { achieved: Some(false), acks: Some(1), term: Some(3), leader: Some("A".into()), role: None };
    assert_eq!(claim(unknown), expected);

    let status = r#"{"nodeId":"B","role":"CANDIDATE","term":4,"leaderId":null,"totalKeys":0,"keys":[]}"#;
    for name in ["quorum", "quorum-snake"] {
        let asked = answer(name, "status", 200, status).await;
        assert_eq!((asked.outcome, &asked.value), (Outcome::Ok, &Value::Nil));
        assert_eq!(claim(asked), Claim { role: Some("candidate".into()), term: Some(4), ..Claim::default() });
    }
    for body in [r#"{"term":4}"#, "[]", "hello"] {
        let asked = answer("quorum", "status", 200, body).await;
        assert_eq!((asked.outcome, asked.error.as_deref()), (Outcome::Fail, Some("the answer has no role")));
        assert_eq!(asked.raw.as_deref(), Some(body));
    }
}

#[tokio::test]
async fn a_leader_may_be_called_otherwise() {
    let text = "leader-word = 'Primary'\n[write]\npath = '/{{ key }}/{{ value }}'\nacks = '/by'\nachieved = '/met'\n\
                [status]\npath = '/'\nrole = '/state'\n";
    let protocol = Arc::new(Protocol::parse(text, Path::new("my.toml"), "my").unwrap());
    let ask = async |f: &str, body: &str| {
        let mut client = Client::new(Arc::clone(&protocol), answering(http(200, body)), PATIENT);
        *client.perform(&Request::new(f, "k1", &Value::int(1))).await.claim.unwrap()
    };
    assert!(ask("status", r#"{"state":"PRIMARY"}"#).await.leads());
    assert!(!ask("status", r#"{"state":"secondary"}"#).await.leads());
    // A list of those that have it, and a truth in quotes.
    let said = ask("write", r#"{"by":["A","C"],"met":"True"}"#).await;
    assert_eq!((said.acks, said.achieved), (Some(2), Some(true)));
}

#[tokio::test]
async fn requests_are_the_course_s() {
    let (sender, asked) = mpsc::channel();
    let node = server(move |_, mut stream| {
        while let Some(text) = request(&mut stream) {
            sender.send(text).unwrap();
            std::io::Write::write_all(&mut stream, &http(404, "")).unwrap();
        }
    });
    let mut client = Client::new(protocol("quorum"), node, PATIENT);
    let value = Value::int(17);
    let mut lines = Vec::new();
    for f in ["write", "delete", "strong-read", "session-read", "eventual-read", "status", "snapshot"] {
        client.perform(&Request { token: "t 1", ..Request::new(f, "k/1", &value) }).await;
        let text = asked.recv_timeout(PATIENT).unwrap();
        let carries = text.contains("\r\nX-Session-Token: t 1\r\n");
        assert_eq!(carries, !matches!(f, "status" | "snapshot"), "{text}");
        let body = text.split_once("\r\n\r\n").unwrap().1.to_owned();
        lines.push(format!("{} {body}", text.lines().next().unwrap().trim_end_matches(" HTTP/1.1")));
    }
    assert_eq!(
        lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>(),
        [
            "PUT /key/k%2F1 17",
            "DELETE /key/k%2F1",
            "GET /key/k%2F1?consistency=strong",
            "GET /key/k%2F1?consistency=read_your_writes",
            "GET /key/k%2F1?consistency=eventual",
            "GET /status",
            "GET /status",
        ]
    );
}

#[tokio::test]
async fn a_token_that_would_break_a_header_is_none() {
    let token = async |body: &str| answer("quorum", "write", 200, body).await.token;
    assert_eq!(token(r#"{"token":17}"#).await.as_deref(), Some("17"));
    assert_eq!(token(r#"{"token":"a b"}"#).await.as_deref(), Some("a b"));
    assert_eq!(token(r#"{"token":"a\r\nX-Evil: 1"}"#).await, None);
    assert_eq!(token(&format!(r#"{{"token":"{}"}}"#, "x".repeat(5000))).await, None);
    assert_eq!(token(r#"{"token":null}"#).await, None);
}
