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
mod console;
mod decode;
mod http;
mod line;
pub mod protocol;
mod said;
mod talk;
mod template;
mod unread;
mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use answer::{Answer, Purpose, ValueKind};
pub use console::Console;
pub use http::Address;
pub use protocol::{Protocol, ProtocolError, ProtocolMistake, Transport};

use crate::history::{Entry, Outcome, Value};
use http::{Broken, Http, Reply};
use line::Line;
use unread::Unread;

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

/// Where a client finds its node.
#[derive(Clone, Debug)]
pub enum Way {
    /// At an address.
    Net(Address),
    /// At its standard input and output.
    Console(Arc<Console>),
}

impl From<SocketAddr> for Way {
    fn from(address: SocketAddr) -> Self {
        Way::Net(address.into())
    }
}

/// A session's connection to one node, kept open between operations where the node and the protocol allow it.
#[derive(Debug)]
pub struct Client {
    protocol: Arc<Protocol>,
    timeout: Duration,
    link: Link,
    /// A line that is put together.
    request: Vec<u8>,
    /// What was delivered before the subscription was confirmed.
    early: VecDeque<(Option<String>, Entry)>,
    /// What came on a subscription and was no delivery.
    unread: Unread,
}

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The topic, where the line names one, and the message.
    Message(Option<String>, Entry),
    /// A line that is no delivery, or its beginning; only some of them are told.
    Other(String),
}

#[derive(Debug)]
enum Link {
    Http(Box<Http>),
    Line(Box<Line>),
    Console(Arc<Console>),
}

impl Client {
    /// A client that is not yet connected. `timeout` bounds each operation as a whole: connecting, sending, answer.
    pub fn new(protocol: Arc<Protocol>, way: impl Into<Way>, timeout: Duration) -> Self {
        let link = match (way.into(), protocol.transport) {
            (Way::Console(console), _) => Link::Console(console),
            (Way::Net(address), Transport::Http) => {
                Link::Http(Box::new(Http::new(address, protocol.keep_alive)))
            }
            // Without a console there is nothing but the address to try.
            (Way::Net(address), Transport::Line | Transport::Stdio) => {
                Link::Line(Box::new(Line::new(address)))
            }
        };
        Self {
            protocol,
            timeout,
            link,
            request: Vec::new(),
            early: VecDeque::new(),
            unread: Unread::default(),
        }
    }

    /// Performs one operation. Whatever the node answers, or does not, this ends within the timeout and never panics.
    pub async fn perform(&mut self, request: &Request<'_>) -> Answer {
        self.perform_within(request, self.timeout).await
    }

    /// As [`Client::perform`], for an operation that has only so much of its time left.
    pub async fn perform_within(&mut self, request: &Request<'_>, timeout: Duration) -> Answer {
        let protocol = Arc::clone(&self.protocol);
        let Some(operation) = protocol.operation(request.f) else {
            let error = format!("the protocol {} does not teach `{}`", protocol.name, request.f);
            return Answer::broken(Outcome::Fail, request.value, error);
        };
        let purpose = operation.purpose;
        let limit_bytes = match purpose {
            // Many nodes say what they hold and who they are in one answer.
            Purpose::Snapshot | Purpose::Status | Purpose::History => MAX_SNAPSHOT_BYTES,
            _ => MAX_ANSWER_BYTES,
        };
        let answered = match &mut self.link {
            Link::Http(http) => {
                http.prepare(operation, request);
                http.exchange(timeout, limit_bytes).await.map(|reply| {
                    let Reply { status, body } = reply;
                    operation.reading.judge(purpose, protocol.value_kind, request.value, status, body)
                })
            }
            Link::Line(_) | Link::Console(_) => self.talk(operation, request, timeout, limit_bytes).await,
        };
        answered.unwrap_or_else(|broken| unanswered(broken, purpose, request.value))
    }

    /// Says a line; what came of it.
    async fn talk(
        &mut self,
        operation: &protocol::Operation,
        request: &Request<'_>,
        timeout: Duration,
        limit_bytes: usize,
    ) -> Result<Answer, Broken> {
        let Some(talk) = &operation.talk else {
            return Err(Broken::NotSent(format!("the protocol has no line for `{}`", operation.name)));
        };
        if !talk::fits_a_line(request.value) {
            return Err(Broken::NotSent(
                "the value has a line end in it, which would end the request".into(),
            ));
        }
        self.request.clear();
        talk.line.render(&mut self.request, request);
        self.request.push(b'\n');
        let (purpose, kind) = (operation.purpose, self.protocol.value_kind);
        match &mut self.link {
            Link::Console(console) => {
                console.say(&self.request, timeout).await?;
                Ok(Answer::ok(request.value.clone(), None))
            }
            Link::Line(line) => {
                let ends = |line: &str| talk.end.as_ref().is_none_or(|end| end.is_match(line));
                let subscribes = purpose == Purpose::Subscribe;
                let last =
                    |line: &str| ends(line) && !(subscribes && self.protocol.delivered(line).is_some());
                let mut body = line.exchange(&self.request, last, timeout, limit_bytes).await?;
                self.early.clear();
                if subscribes {
                    // A subscription may deliver before it is confirmed: what it delivers is no part of the answer.
                    let early = body.lines().filter_map(|line| self.protocol.delivered(line));
                    self.early.extend(early);
                    let answer = body.lines().filter(|line| self.protocol.delivered(line).is_none());
                    body = answer.collect::<Vec<_>>().join("\n");
                }
                let judged =
                    operation.reading.judge(purpose, kind, request.value, LINE_STATUS, body.as_bytes());
                // Lines have no status that could be told.
                let error = judged.error.map(|error| match error.strip_prefix("status 200: ") {
                    Some(line) => line.to_owned(),
                    None => error,
                });
                let judged = Answer { error, ..judged };
                match &talk.entry {
                    Some(entry) if judged.outcome == Outcome::Ok => {
                        Ok(entry.entries(&body, request.key, kind))
                    }
                    _ => Ok(judged),
                }
            }
            Link::Http(_) => Err(Broken::NotSent("lines are not said over HTTP".into())),
        }
    }

    /// What comes next to a client that has subscribed; `None`: the connection has ended. Waits for as long as it takes.
    pub async fn heard(&mut self) -> Option<Heard> {
        if let Some((named, entry)) = self.early.pop_front() {
            return Some(Heard::Message(named, entry));
        }
        let Link::Line(line) = &mut self.link else { return None };
        loop {
            let text = line.next(line::MAX_LINE_BYTES).await.ok()??;
            if let Some((named, entry)) = self.protocol.delivered(&text) {
                return Some(Heard::Message(named, entry));
            }
            if let Some(sample) = self.unread.sample(&text) {
                return Some(Heard::Other(sample));
            }
        }
    }

    /// Whether another line has been read already, so that [`Client::heard`] need not wait for it.
    pub fn has_more(&self) -> bool {
        !self.early.is_empty() || matches!(&self.link, Link::Line(line) if line.has_line())
    }

    /// Whether the node gives a sign of life: any HTTP answer at all, any line, or what the protocol says that it prints.
    ///
    /// # Errors
    /// What came instead, as a sentence.
    pub async fn ready(&mut self) -> Result<(), String> {
        if let Link::Console(console) = &self.link {
            return match console.is_ready() {
                true => Ok(()),
                false => Err(format!(
                    "it has not printed that it is ready (`{}`)",
                    self.protocol.ready_line.as_ref().map_or("", |ready| ready.as_str())
                )),
            };
        }
        let protocol = Arc::clone(&self.protocol);
        let Some(operation) = protocol.operation("ready") else {
            return Err("the protocol teaches no sign of life".into());
        };
        let request = Request::new("ready", "ready", &Value::Nil);
        let answered = match &mut self.link {
            Link::Http(http) => {
                http.prepare(operation, &request);
                http.exchange(self.timeout, MAX_SNAPSHOT_BYTES).await.map(|_| ())
            }
            _ => self.talk(operation, &request, self.timeout, MAX_ANSWER_BYTES).await.map(|_| ()),
        };
        answered.map_err(|broken| match broken {
            Broken::Refused(error)
            | Broken::NotSent(error)
            | Broken::NoAnswer(error)
            | Broken::Garbage(error, _) => error,
        })
    }

    /// Closes the connection: what is asked next is asked on a new one.
    pub fn disconnect(&mut self) {
        self.early.clear();
        match &mut self.link {
            Link::Http(http) => http.disconnect(),
            Link::Line(line) => line.disconnect(),
            Link::Console(_) => {}
        }
    }

    /// What it speaks.
    pub fn protocol(&self) -> &Arc<Protocol> {
        &self.protocol
    }
}

/// Lines have no status: rules that ask for one are for HTTP.
const LINE_STATUS: u16 = 200;

fn unanswered(broken: Broken, purpose: Purpose, value: &Value) -> Answer {
    match broken {
        Broken::Refused(error) => Answer { refused: true, ..Answer::broken(Outcome::Fail, value, error) },
        Broken::NotSent(error) => Answer::broken(Outcome::Fail, value, error),
        Broken::NoAnswer(error) => Answer::broken(purpose.unanswered(), value, error),
        Broken::Garbage(error, bytes) => {
            Answer { raw: Some(answer::quote(&bytes)), ..Answer::broken(purpose.unanswered(), value, error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_comes_before_a_subscription_is_confirmed_is_delivered() {
        let text = r#"
            transport = "line"
            deliver = '^MSG (?P<offset>\d+) (?P<value>.*)$'
            [ready]
            line = "PING"
            [publish]
            line = "PUB {{ key }} {{ value }}"
            [subscribe]
            line = "SUB {{ key }}"
            answer = [{ body = '^OK\b', outcome = "ok" }, { outcome = "not-understood" }]
        "#;
        let protocol = Arc::new(Protocol::parse(text, Path::new("p.toml"), "p").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let node = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            BufReader::new(&stream).read_line(&mut String::new()).unwrap();
            stream.write_all(b"MSG 1 m1\r\n\x1b[1mMSG 2 m2\x1b[m\nOK subscribed\nMSG 3 m3\n").unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let offsets = runtime.block_on(async {
            let mut client = Client::new(protocol, address, Duration::from_secs(60));
            let answer = client.perform(&Request::new("subscribe", "t", &Value::Nil)).await;
            assert_eq!(answer.outcome, Outcome::Ok, "{answer:?}");
            let mut offsets = Vec::new();
            while let Some(Heard::Message(_, entry)) = client.heard().await {
                offsets.push(entry.offset);
            }
            offsets
        });
        assert_eq!(offsets, [Some(1), Some(2), Some(3)]);
        node.join().unwrap();
    }
}
