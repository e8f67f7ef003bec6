//! The lab's HTTP interface.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::replica::Replica;
use super::state::{MAX_TS, Write};
use crate::node::answer::{MAX_DEPTH, brief, is_deeper_than, json as answer};

/// The longest request body, bytes.
const MAX_BODY_BYTES: usize = 8 << 20;

/// What the handlers need.
pub struct App {
    /// The node.
    pub replica: Arc<Replica>,
    /// The peers as they were given.
    pub peers: Vec<String>,
}

type Shared = State<Arc<App>>;
type Body = Result<Bytes, BytesRejection>;

/// The lab's endpoints over `app`.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/put", post(put))
        .route("/get", get(read))
        .route("/replicate", post(replicate))
        .route("/status", get(status))
        .fallback(unknown_endpoint)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(app)
}

async fn put(State(app): Shared, body: Body) -> Result<Response, Refusal> {
    let mut body = Fields::parse(&app, body)?;
    let (key, value) = (body.text("key")?, body.value()?);
    let taken = app.replica.put(key.clone(), value.clone()).await;
    Ok(answer(
        StatusCode::OK,
        &json!({
            "ok": true, "node": app.replica.id, "key": key, "value": value, "ts": taken.ts,
            "origin": app.replica.id, "applied": taken.applied, "lamport": taken.lamport,
        }),
    ))
}

async fn read(
    State(app): Shared,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Result<Response, Refusal> {
    let refuse = |why: String| Refusal::new(&app, StatusCode::BAD_REQUEST, why);
    let Query(query) = query.map_err(|rejection| refuse(rejection.body_text()))?;
    let Some(key) = query.get("key") else {
        return Err(refuse("the query has no key; expected /get?key=…".into()));
    };
    let node = &app.replica.id;
    Ok(match app.replica.get(key).await {
        (Some(write), lamport) => answer(
            StatusCode::OK,
            &json!({
                "ok": true, "node": node, "key": key, "value": write.value, "ts": write.ts,
                "origin": write.origin, "lamport": lamport,
            }),
        ),
        (None, lamport) => answer(
            StatusCode::NOT_FOUND,
            &json!({"ok": false, "error": "not found", "node": node, "key": key, "lamport": lamport}),
        ),
    })
}

async fn replicate(State(app): Shared, body: Body) -> Result<Response, Refusal> {
    let mut body = Fields::parse(&app, body)?;
    let write =
        Write { key: body.text("key")?, value: body.value()?, ts: body.ts()?, origin: body.text("origin")? };
    let taken = app.replica.replicate(write).await;
    let answered = json!({
        "ok": true, "node": app.replica.id, "applied": taken.applied, "lamport": taken.lamport,
    });
    Ok(answer(StatusCode::OK, &answered))
}

async fn status(State(app): Shared) -> Response {
    let (entries, lamport) = app.replica.status().await;
    let store: serde_json::Map<String, Json> = entries
        .into_iter()
        .map(|(key, entry)| {
            let Write { value, ts, origin, .. } = &*entry.write;
            (key, json!({"value": value, "ts": ts, "origin": origin}))
        })
        .collect();
    let answered = json!({
        "ok": true, "node": app.replica.id, "lamport": lamport, "store": store, "peers": app.peers,
    });
    answer(StatusCode::OK, &answered)
}

async fn unknown_endpoint(State(app): Shared, uri: Uri) -> Refusal {
    let why = format!(
        "no endpoint {}; there are POST /put, GET /get?key=, POST /replicate and GET /status",
        uri.path()
    );
    Refusal::new(&app, StatusCode::NOT_FOUND, why)
}

async fn wrong_method(State(app): Shared, method: Method, uri: Uri) -> Refusal {
    let expected = if matches!(uri.path(), "/put" | "/replicate") { "POST" } else { "GET" };
    let why = format!("{} takes {expected}, not {method}", uri.path());
    Refusal::new(&app, StatusCode::METHOD_NOT_ALLOWED, why)
}

/// A request that was not understood.
struct Refusal {
    status: StatusCode,
    node: String,
    why: String,
}

impl Refusal {
    fn new(app: &App, status: StatusCode, why: String) -> Self {
        Refusal { status, node: app.replica.id.clone(), why }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        answer(self.status, &json!({"ok": false, "error": self.why, "node": self.node}))
    }
}

/// The fields of a JSON body, whatever content type it claims: students' clients send any.
struct Fields<'a> {
    app: &'a App,
    body: Json,
}

impl<'a> Fields<'a> {
    fn parse(app: &'a App, body: Body) -> Result<Self, Refusal> {
        let body = body.map_err(|rejection| Refusal::new(app, rejection.status(), rejection.body_text()))?;
        let refuse = |why| Err(Refusal::new(app, StatusCode::BAD_REQUEST, why));
        match serde_json::from_slice(&body) {
            Ok(body @ Json::Object(_)) => Ok(Fields { app, body }),
            Ok(_) => refuse("the body is not a JSON object".into()),
            Err(error) => refuse(format!("the body is not JSON: {error}")),
        }
    }

    fn refuse<T>(&self, why: String) -> Result<T, Refusal> {
        Err(Refusal::new(self.app, StatusCode::BAD_REQUEST, why))
    }

    fn text(&self, name: &str) -> Result<String, Refusal> {
        match self.body.get(name) {
            Some(Json::String(text)) => Ok(text.clone()),
            Some(other) => self.refuse(format!("{name:?} is {}, expected a string", brief(other))),
            None => self.refuse(format!("the body has no {name:?}")),
        }
    }

    fn ts(&self) -> Result<u64, Refusal> {
        match self.body.get("ts") {
            Some(ts) => match ts.as_u64().filter(|ts| *ts <= MAX_TS) {
                Some(ts) => Ok(ts),
                None => self.refuse(format!("\"ts\" is {}, expected an integer from 0 to 2^53", brief(ts))),
            },
            None => self.refuse("the body has no \"ts\"".into()),
        }
    }

    fn value(&mut self) -> Result<Json, Refusal> {
        match self.body.get_mut("value") {
            Some(value) if is_deeper_than(value, MAX_DEPTH) => {
                self.refuse(format!("\"value\" is nested deeper than {MAX_DEPTH} levels"))
            }
            Some(value) => Ok(value.take()),
            None => self.refuse("the body has no \"value\"".into()),
        }
    }
}
