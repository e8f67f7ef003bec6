//! How clients talk to nodes: protocol files and the transports they name.
//!
//! A [`Client`] is one session's connection to one node. It performs one operation at a time and tells what certainly
//! happened, what certainly did not, and what nobody can know (design §4):
//!
//! | what came of it | write | read |
//! |---|---|---|
//! | nothing was sent: refused, no connection in time | `fail` | `fail` |
//! | a kept connection turned out closed before a byte was sent | a new one is opened, in silence | the same |
//! | sent, then no whole answer: timeout, reset, closed in mid-answer | `info` | `fail` |
//! | an answer | as the [protocol](self::protocol) file says | the same |
//!
//! No request is ever sent twice, no redirect followed, no proxy asked.

mod alarm;
mod answer;
mod decode;
mod http;
pub mod protocol;
mod said;
mod template;
mod wire;

use std::sync::Arc;
use std::time::Duration;

pub use answer::{Answer, Purpose, ValueKind};
pub use http::Address;
pub use protocol::{Protocol, ProtocolError};

use crate::history::{Outcome, Value};
use http::{Broken, Http};

/// The longest body of an answer about one key.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;
/// The longest body of a snapshot.
pub const MAX_SNAPSHOT_BYTES: usize = 16 << 20;

/// One operation to perform.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which: a name of [`Protocol::operations`], or `snapshot`.
    pub f: &'a str,
    /// The key; empty for operations without one.
    pub key: &'a str,
    /// What to write; [`Value::Nil`] for operations without an argument.
    pub value: &'a Value,
    /// What the session was last given to carry; empty until there is something.
    pub token: &'a str,
}

impl<'a> Request<'a> {
    /// One of a session that carries nothing.
    pub fn new(f: &'a str, key: &'a str, value: &'a Value) -> Self {
        Self { f, key, value, token: "" }
    }
}

/// A session's connection to one node, kept open between operations where the node and the protocol allow it.
#[derive(Debug)]
pub struct Client {
    protocol: Arc<Protocol>,
    timeout: Duration,
    http: Http,
}

impl Client {
    /// A client that is not yet connected. `timeout` bounds each operation as a whole: connecting, sending, answer.
    pub fn new(protocol: Arc<Protocol>, address: impl Into<Address>, timeout: Duration) -> Self {
        let http = Http::new(address.into(), protocol.keep_alive);
        Self { protocol, timeout, http }
    }

    /// Performs one operation. Whatever the node answers, or does not, this ends within the timeout and never panics.
    pub async fn perform(&mut self, request: &Request<'_>) -> Answer {
        self.perform_within(request, self.timeout).await
    }

    /// As [`Client::perform`], for an operation that has only so much of its time left.
    pub async fn perform_within(&mut self, request: &Request<'_>, timeout: Duration) -> Answer {
        let Some(operation) = self.protocol.operation(request.f) else {
            let error = format!("the protocol {} does not teach `{}`", self.protocol.name, request.f);
            return Answer::broken(Outcome::Fail, request.value, error);
        };
        let purpose = operation.purpose;
        let limit_bytes = match purpose {
            // Many nodes say what they hold and who they are in one answer.
            Purpose::Snapshot | Purpose::Status => MAX_SNAPSHOT_BYTES,
            _ => MAX_ANSWER_BYTES,
        };
        self.http.prepare(operation, request);
        match self.http.exchange(timeout, limit_bytes).await {
            Ok(reply) => operation.reading.judge(
                purpose,
                self.protocol.value_kind,
                request.value,
                reply.status,
                reply.body,
            ),
            Err(Broken::Refused(error)) => {
                Answer { refused: true, ..Answer::broken(Outcome::Fail, request.value, error) }
            }
            Err(Broken::NotSent(error)) => Answer::broken(Outcome::Fail, request.value, error),
            Err(Broken::NoAnswer(error)) => Answer::broken(purpose.unanswered(), request.value, error),
            Err(Broken::Garbage(error, bytes)) => Answer {
                raw: Some(answer::quote(&bytes)),
                ..Answer::broken(purpose.unanswered(), request.value, error)
            },
        }
    }

    /// Whether the node gives a sign of life: any HTTP answer at all.
    ///
    /// # Errors
    /// What came instead, as a sentence.
    pub async fn ready(&mut self) -> Result<(), String> {
        let Some(operation) = self.protocol.operation("ready") else {
            return Err("the protocol teaches no sign of life".into());
        };
        self.http.prepare(operation, &Request::new("ready", "ready", &Value::Nil));
        match self.http.exchange(self.timeout, MAX_SNAPSHOT_BYTES).await {
            Ok(_) => Ok(()),
            Err(
                Broken::Refused(error)
                | Broken::NotSent(error)
                | Broken::NoAnswer(error)
                | Broken::Garbage(error, _),
            ) => Err(error),
        }
    }

    /// Closes the connection: what is asked next is asked on a new one.
    pub fn disconnect(&mut self) {
        self.http.disconnect();
    }

    /// What it speaks.
    pub fn protocol(&self) -> &Arc<Protocol> {
        &self.protocol
    }
}
