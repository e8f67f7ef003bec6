//! Clients, load and recorder against servers that answer well, badly, late or never.

#[path = "client/answers.rs"]
mod answers;
#[path = "client/connections.rs"]
mod connections;
#[path = "client/load.rs"]
mod load;
#[path = "client/protocols.rs"]
mod protocols;
#[path = "client/quorum.rs"]
mod quorum;
#[path = "client/recorder.rs"]
mod recorder;
#[path = "client/routes.rs"]
mod routes;
#[path = "client/serve.rs"]
mod serve;
