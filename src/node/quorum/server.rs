//! What clients ask: the course's interface, and what they need besides: versions and a session's token.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use serde_json::{Map, Value as Json, json};
use tokio::sync::Semaphore;

use super::internal;
use super::message::Version;
use super::node::Node;
use super::read::{self, Found, Unreachable};
use super::spelling::Spelling;
use super::state::Standing;
use super::write::{self, NotBegun, Written};
use crate::node::answer::{self, MAX_DEPTH, brief, is_deeper_than};

/// The longest value, bytes of JSON.
const MAX_VALUE_BYTES: usize = 1 << 20;
/// The longest key, bytes.
const MAX_KEY_BYTES: usize = 1024;
/// Reads and writes of clients under way at a time.
const MAX_UNDER_WAY: usize = 1024;
/// The header that carries a token where the query does not.
const TOKEN_HEADER: &str = "x-session-token";
/// The levels a read may ask for.
const LEVELS: [&str; 3] = ["strong", "eventual", "read_your_writes"];

/// What the handlers need.
pub struct App {
    /// The node.
    pub node: Arc<Node>,
    spelling: Spelling,
    room: Semaphore,
}

type Shared = State<Arc<App>>;
type Fields = Map<String, Json>;

impl App {
    /// Handlers over `node` that answer in `spelling`.
    pub fn new(node: Arc<Node>, spelling: Spelling) -> Arc<Self> {
        Arc::new(App { node, spelling, room: Semaphore::new(MAX_UNDER_WAY) })
    }

    /// A request that was not carried out, and why.
    pub fn refuse(&self, status: StatusCode, why: &str) -> Refusal {
        Refusal { status, why: why.to_owned(), node: self.node.id.clone(), spelling: self.spelling }
    }
}

/// A request that was not understood, or not carried out.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    why: String,
    node: String,
    spelling: Spelling,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal { status, why, node, spelling } = self;
        let fields = [("success", false.into()), ("error", why.into()), ("nodeId", node.into())];
        answer::json(status, &spelling.object(fields).into())
    }
}

/// The endpoints for clients and peers.
pub fn router(app: Arc<App>) -> Router {
    let limited = Router::new()
        .route("/key/{key}", get(read).put(put).delete(delete).fallback(any(wrong_method)))
        .layer(DefaultBodyLimit::max(MAX_VALUE_BYTES))
        .layer(from_fn_with_state(Arc::clone(&app), make_room));
    Router::new()
        .route("/status", get(status))
        .merge(limited)
        .merge(internal::router())
        .fallback(unknown_endpoint)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

async fn make_room(State(app): Shared, request: Request, next: Next) -> Result<Response, Refusal> {
    let Ok(_room) = app.room.try_acquire() else {
        let why = format!("{MAX_UNDER_WAY} requests are under way, not one more fits");
        return Err(app.refuse(StatusCode::SERVICE_UNAVAILABLE, &why));
    };
    Ok(next.run(request).await)
}

// --- Writes ---

async fn put(
    State(app): Shared,
    key: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    let asked = Asked::parse(&app, key, query, &headers)?;
    let bad = |why: &str| app.refuse(StatusCode::BAD_REQUEST, why);
    let body = body.map_err(|rejection| app.refuse(rejection.status(), &rejection.body_text()))?;
    let value: Json = serde_json::from_slice(&body)
        .map_err(|error| bad(&format!("the body is not a JSON value: {error}")))?;
    if is_deeper_than(&value, MAX_DEPTH) {
        return Err(bad(&format!("the value is nested deeper than {MAX_DEPTH} levels")));
    }
    Ok(write_answer(&app, asked, Some(value)).await)
}

async fn delete(
    State(app): Shared,
    key: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Result<Response, Refusal> {
    let asked = Asked::parse(&app, key, query, &headers)?;
    Ok(write_answer(&app, asked, None).await)
}

async fn write_answer(app: &App, asked: Asked, value: Option<Json>) -> Response {
    let Asked { key, token, .. } = asked;
    let node = &app.node;
    let shown = value.clone().unwrap_or_default();
    let outcome = write::write(node, key.clone(), value).await;
    let leader = node.follow().borrow().leader.clone();
    let body = |success: bool, achieved: bool| {
        app.spelling.object([
            ("success", success.into()),
            ("key", key.clone().into()),
            ("value", shown.clone()),
            ("leaderId", json!(leader)),
            ("achievedQuorum", achieved.into()),
            ("writeQuorum", node.write_quorum.into()),
        ])
    };
    let (status, fields, error) = match outcome {
        Ok(Written { version, acks, achieved }) => {
            let mut fields = body(achieved, achieved);
            // Whoever gave the version led then, whoever leads now.
            let more = app.spelling.object([
                ("leaderId", node.id.clone().into()),
                ("acks", acks.into()),
                ("term", version.term().into()),
                ("version", json!(version)),
                ("token", json!(if achieved { token.max(version) } else { token })),
            ]);
            fields.extend(more);
            let unknown = "not enough replicas answered in time: the outcome is unknown";
            let status = if achieved { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            (status, fields, (!achieved).then(|| unknown.to_owned()))
        }
        Err(NotBegun::Refused) => {
            let why = "not all replicas can be reached: nothing was written";
            (StatusCode::SERVICE_UNAVAILABLE, body(false, false), Some(why.to_owned()))
        }
        Err(NotBegun::NotLeader) => {
            let mut fields = body(false, false);
            let url = leader.as_deref().and_then(|leader| node.url_of(leader));
            fields.extend(app.spelling.object([("leaderUrl", json!(url))]));
            let why = match &leader {
                Some(leader) if *leader == node.id => "this leader does not take writes yet".to_owned(),
                Some(leader) => format!("not the leader; {leader} is"),
                None => "not the leader, and none is known".to_owned(),
            };
            (StatusCode::SERVICE_UNAVAILABLE, fields, Some(why))
        }
    };
    say(status, fields, error)
}

// --- Reads ---

async fn read(
    State(app): Shared,
    key: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Asked { key, level, token } = Asked::parse(&app, key, query, &headers)?;
    let node = &app.node;
    let found: Result<Found, Unreachable> = match level {
        "eventual" => Ok(read::eventual(node, &key).await),
        "read_your_writes" => read::your_writes(node, &key, token).await,
        _ => read::strong(node, &key).await,
    };
    let role = node.follow().borrow().role;
    let answer = |value: Json| {
        app.spelling.object([
            ("key", key.clone().into()),
            ("value", value),
            ("nodeRole", role.name().into()),
            ("consistency", level.into()),
            ("nodeId", node.id.clone().into()),
        ])
    };
    let Ok(found) = found else {
        let why = "not enough replicas answered in time".to_owned();
        return Ok(say(StatusCode::SERVICE_UNAVAILABLE, answer(Json::Null), Some(why)));
    };
    let version = found.as_ref().map(|item| item.version);
    let value = found.filter(|item| !item.deleted).map(|item| item.value.clone());
    let (status, error) = match value {
        Some(_) => (StatusCode::OK, None),
        None => (StatusCode::NOT_FOUND, Some("not found".to_owned())),
    };
    let mut fields = answer(value.unwrap_or_default());
    fields.insert("version".into(), json!(version));
    fields.insert("token".into(), json!(token.max(version.unwrap_or_default())));
    Ok(say(status, fields, error))
}

async fn status(State(app): Shared) -> Response {
    let node = &app.node;
    let (Standing { term, role, leader, .. }, entries, seq) = node.change(|state, _| {
        let seq = crate::node::kept::Logged::seq(state);
        (state.standing(), state.entries().clone(), seq)
    });
    node.kept.on_disk(seq).await;
    let mut store = Map::new();
    let mut tombstones = Map::new();
    for (key, entry) in entries {
        let version = json!(entry.item.version);
        if entry.item.deleted {
            tombstones.insert(key, version);
        } else {
            store.insert(key, json!({"value": entry.item.value, "version": version}));
        }
    }
    let config = app.spelling.object([
        ("writeQuorum", node.write_quorum.into()),
        ("readQuorum", node.read_quorum.into()),
        ("totalNodes", node.total().into()),
    ]);
    let fields = app.spelling.object([
        ("nodeId", node.id.clone().into()),
        ("role", role.name().into()),
        ("term", term.into()),
        ("leaderId", json!(leader)),
        ("totalKeys", store.len().into()),
        ("keys", store.keys().cloned().collect()),
        ("config", config.into()),
        ("store", store.into()),
        ("tombstones", tombstones.into()),
    ]);
    say(StatusCode::OK, fields, None)
}

// --- What was asked ---

struct Asked {
    key: String,
    level: &'static str,
    /// The newest version the session was told of; 0 where it says none.
    token: Version,
}

impl Asked {
    fn parse(
        app: &App,
        key: Result<Path<String>, PathRejection>,
        query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
        headers: &HeaderMap,
    ) -> Result<Self, Refusal> {
        let bad = |why: &str| app.refuse(StatusCode::BAD_REQUEST, why);
        let Path(key) = key.map_err(|rejection| bad(&rejection.body_text()))?;
        if key.len() > MAX_KEY_BYTES {
            return Err(bad(&format!("the key has {} bytes, expected at most {MAX_KEY_BYTES}", key.len())));
        }
        let Query(query) = query.map_err(|rejection| bad(&rejection.body_text()))?;
        let level = query.get("consistency").map_or(LEVELS[0], String::as_str);
        let Some(level) = LEVELS.into_iter().find(|known| *known == level) else {
            let level = brief(&level.into());
            return Err(bad(&format!("consistency is {level}, expected one of {}", LEVELS.join(", "))));
        };
        let header = headers.get(TOKEN_HEADER).map(|token| String::from_utf8_lossy(token.as_bytes()));
        let token = query.get("token").map(String::as_str).or(header.as_deref()).unwrap_or("");
        let version = match token.trim() {
            "" => Some(0),
            token => token.parse().ok(),
        };
        let Some(version) = version else {
            let token = brief(&token.into());
            return Err(bad(&format!("the token is {token}, expected what an answer gave as \"token\"")));
        };
        Ok(Asked { key, level, token: Version(version) })
    }
}

async fn unknown_endpoint(State(app): Shared, uri: Uri) -> Refusal {
    let why = format!(
        "no endpoint {}; there are PUT, GET and DELETE /key/{{key}}, GET /status, and POST /internal/… for peers",
        brief(&uri.path().into())
    );
    app.refuse(StatusCode::NOT_FOUND, &why)
}

async fn wrong_method(State(app): Shared, method: Method, uri: Uri) -> Refusal {
    let expected = match uri.path() {
        "/status" => "GET",
        path if path.starts_with("/internal/") => "POST",
        _ => "PUT, GET or DELETE",
    };
    let why = format!("{} takes {expected}, not {method}", brief(&uri.path().into()));
    app.refuse(StatusCode::METHOD_NOT_ALLOWED, &why)
}

fn say(status: StatusCode, mut fields: Fields, error: Option<String>) -> Response {
    if let Some(error) = error {
        fields.insert("error".into(), error.into());
    }
    answer::json(status, &fields.into())
}
