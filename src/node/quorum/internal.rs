//! What peers ask: `POST /internal/…`. Nothing is answered before it is on disk.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::bug::Bug;
use super::message::{Done, Get, Got, Heartbeat, Item, MAX_TERM, Repair, Replicate, Sync, Vote, Voted};
use super::node::Node;
use super::read;
use super::server::{App, Refusal};
use super::sync::compare;
use crate::node::answer;

/// The longest body, bytes: all keys with their versions.
const MAX_BODY_BYTES: usize = 64 << 20;

type Body = Result<Bytes, BytesRejection>;
type Shared = State<Arc<App>>;

/// The endpoints for peers.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/internal/heartbeat", post(heartbeat))
        .route("/internal/replicate", post(replicate))
        .route("/internal/repair", post(repair))
        .route("/internal/get", post(get))
        .route("/internal/vote", post(vote))
        .route("/internal/sync", post(sync))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn heartbeat(State(app): Shared, body: Body) -> Result<Response, Refusal> {
    let beat: Heartbeat = parse(&app, body)?;
    check_term(&app, beat.term)?;
    let node = &app.node;
    let (heard, promised) = node.change(|state, now| {
        let heard = state.hear(beat.term, &beat.leader_id, now);
        if heard.is_ok() {
            beat.settled.iter().for_each(|(key, version)| state.settle(key, *version));
        }
        (heard, state.promised_seq())
    });
    push_outbox(node);
    node.kept.on_disk(promised).await;
    Ok(done(node, heard, beat.term))
}

async fn replicate(State(app): Shared, body: Body) -> Result<Response, Refusal> {
    let Replicate { term, leader_id, item } = parse(&app, body)?;
    check_term(&app, term)?;
    check_item(&app, &item)?;
    let node = &app.node;
    let (heard, seq) = node.change(|state, now| {
        let heard = state.hear(term, &leader_id, now);
        let stored = if heard.is_ok() { state.apply(&item) } else { 0 };
        (heard, stored.max(state.promised_seq()))
    });
    push_outbox(node);
    node.kept.on_disk(seq).await;
    Ok(done(node, heard, term))
}

async fn repair(State(app): Shared, body: Body) -> Result<Response, Refusal> {
    let Repair { item } = parse(&app, body)?;
    check_item(&app, &item)?;
    app.node.store(&item).await;
    let term = app.node.kept.lock().term();
    Ok(done(&app.node, Ok(()), term))
}

async fn get(State(app): Shared, body: Body) -> Result<Response, Refusal> {
    let Get { key } = parse(&app, body)?;
    let item = read::eventual(&app.node, &key).await;
    let term = app.node.kept.lock().term();
    Ok(say_json(&Got { node_id: app.node.id.clone(), term, item }))
}

async fn vote(State(app): Shared, body: Body) -> Result<Response, Refusal> {
    let request: Vote = parse(&app, body)?;
    check_term(&app, request.term)?;
    let node = &app.node;
    let (granted, term, promised) =
        node.change(|state, now| (state.vote(&request, now), state.term(), state.promised_seq()));
    node.kept.on_disk(promised).await;
    Ok(say_json(&Voted { granted, node_id: node.id.clone(), term }))
}

async fn sync(State(app): Shared, body: Body) -> Result<Response, Refusal> {
    let theirs: Sync = parse(&app, body)?;
    Ok(say_json(&compare(&app.node, &theirs)))
}

/// The answer to a leader: `heard`, or the term that outranks its own.
fn done(node: &Node, heard: Result<(), u64>, term: u64) -> Response {
    let node_id = node.id.clone();
    match heard {
        Ok(()) => say_json(&Done { success: true, node_id, term }),
        Err(later) => {
            let body = json!({"success": false, "nodeId": node_id, "term": later});
            answer::json(StatusCode::CONFLICT, &body)
        }
    }
}

/// [`Bug::OverwritesOnHeal`]: what anti-entropy would spread is pushed at once.
fn push_outbox(node: &Arc<Node>) {
    if !node.has(Bug::OverwritesOnHeal) {
        return;
    }
    let items = node.change(|state, _| state.take_outbox());
    for peer in &node.peers {
        let (node, peer, items) = (Arc::clone(node), Arc::clone(peer), items.clone());
        tokio::spawn(async move {
            for item in items {
                let deadline = tokio::time::Instant::now() + read::DEADLINE;
                read::repair(Arc::clone(&node), Arc::clone(&peer), item, deadline).await;
            }
        });
    }
}

fn check_term(app: &App, term: u64) -> Result<(), Refusal> {
    if term <= MAX_TERM {
        return Ok(());
    }
    Err(app.refuse(StatusCode::BAD_REQUEST, &format!("term {term} is beyond {MAX_TERM}")))
}

fn check_item(app: &App, item: &Item) -> Result<(), Refusal> {
    if item.version.is_possible() {
        return Ok(());
    }
    Err(app
        .refuse(StatusCode::BAD_REQUEST, &format!("version {} is beyond what a leader gives", item.version)))
}

fn parse<T: DeserializeOwned>(app: &App, body: Body) -> Result<T, Refusal> {
    let body = body.map_err(|rejection| app.refuse(rejection.status(), &rejection.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| {
        app.refuse(StatusCode::BAD_REQUEST, &format!("the body is not what peers send: {error}"))
    })
}

fn say_json(message: &impl Serialize) -> Response {
    match serde_json::to_value(message) {
        Ok(body) => answer::json(StatusCode::OK, &body),
        Err(error) => answer::json(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": error.to_string()})),
    }
}
