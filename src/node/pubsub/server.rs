//! Clients: lines over TCP, a command each.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::command::{self, Command};
use super::node::Node;
use super::replica::Answer;
use super::rpc::Outcome;
use super::topics::Placed;

/// How long a message may wait for a majority, and a strong read for the leader.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest line, bytes.
const MAX_LINE: u64 = 64 << 10;
/// Messages written at once.
const BATCH: usize = 256;
/// Topics that one connection may be subscribed to.
const MAX_TOPICS: usize = 64;
/// After an error of the listening socket.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves clients, for ever.
pub async fn serve(node: Arc<Node>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let node = Arc::clone(&node);
        tokio::spawn(async move { Connection::new(node, stream).run().await });
    }
}

/// Where answers and messages of subscriptions go, whole lines each.
type Writer = Arc<Mutex<OwnedWriteHalf>>;

struct Connection {
    node: Arc<Node>,
    reader: BufReader<tokio::net::tcp::OwnedReadHalf>,
    writer: Writer,
    topics: HashSet<String>,
    /// Ended with the connection.
    subscriptions: JoinSet<()>,
}

impl Connection {
    fn new(node: Arc<Node>, stream: TcpStream) -> Self {
        // Answers are small and somebody waits for each.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        Connection {
            node,
            reader: BufReader::new(reader),
            writer: Arc::new(Mutex::new(writer)),
            topics: HashSet::new(),
            subscriptions: JoinSet::new(),
        }
    }

    /// Answers commands one after the other until the client goes.
    async fn run(mut self) {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut line).await;
            if !matches!(read, Ok(count) if count > 0) {
                return;
            }
            if line.pop_if(|end| *end == b'\n').is_none() {
                if line.len() as u64 == MAX_LINE {
                    self.say(&format!("ERR usage the line is longer than {MAX_LINE} bytes\n")).await;
                }
                // Without its end a line may be the half of another command.
                return;
            }
            line.pop_if(|end| *end == b'\r');
            let command = match std::str::from_utf8(&line) {
                Ok(text) => command::parse(text),
                Err(_) => Err("the line is not UTF-8".into()),
            };
            let goes_on = match command {
                Ok(command) => self.carry_out(command).await,
                Err(usage) => self.say(&format!("ERR usage {usage}\n")).await,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Writes lines; `false`: nobody reads them any more.
    async fn say(&self, lines: &str) -> bool {
        self.writer.lock().await.write_all(lines.as_bytes()).await.is_ok()
    }

    async fn carry_out(&mut self, command: Command) -> bool {
        match command {
            Command::Ping => self.say("PONG\n").await,
            Command::Status => self.say(&format!("{}\n", self.node.status())).await,
            Command::Quit => false,
            Command::Publish { topic, id, text } => {
                let id = id.unwrap_or_else(|| self.node.fresh_id());
                let answer = publish(&self.node, topic, &id, text).await;
                self.say(&answer).await
            }
            Command::Subscribe { topic, from } => self.subscribe(topic, from).await,
            Command::History { topic, count, from, strong } => {
                if strong && !self.is_confirmed().await {
                    return self
                        .say("ERR unavailable no leader that a majority follows confirmed the read\n")
                        .await;
                }
                let placed = self.node.kept.lock().history(&topic, from, count);
                // The whole answer under one lock: no message of a subscription gets between its lines.
                let mut writer = self.writer.lock().await;
                for batch in placed.chunks(BATCH) {
                    if writer.write_all(lines("HISTORY", batch).as_bytes()).await.is_err() {
                        return false;
                    }
                }
                writer.write_all(b"OK history_end\n").await.is_ok()
            }
        }
    }

    async fn is_confirmed(&self) -> bool {
        let answer = self.node.ask(PATIENCE, |replica, ticket, now| replica.read(ticket, now)).await;
        matches!(answer, Some(Answer::Read { confirmed: true }))
    }

    async fn subscribe(&mut self, topic: String, from: Option<u64>) -> bool {
        if self.topics.contains(&topic) {
            return self.say(&format!("ERR usage {topic} is subscribed on this connection\n")).await;
        }
        if self.topics.len() == MAX_TOPICS {
            return self.say(&format!("ERR usage more than {MAX_TOPICS} topics on one connection\n")).await;
        }
        self.topics.insert(topic.clone());
        let applied = self.node.follow();
        let next = from.unwrap_or_else(|| self.node.kept.lock().topics().len(&topic));
        let goes_on = self.say(&format!("OK subscribed {topic}\n")).await;
        let (node, writer) = (Arc::clone(&self.node), Arc::clone(&self.writer));
        self.subscriptions.spawn(deliver(node, writer, applied, topic, next));
        goes_on
    }
}

/// Writes every message of a topic from the offset `next` on, as soon as it is applied. There is no queue to overflow: a
/// subscriber is a place in the log, and one that reads slowly is only behind.
async fn deliver(
    node: Arc<Node>,
    writer: Writer,
    mut applied: watch::Receiver<u64>,
    topic: String,
    mut next: u64,
) {
    loop {
        applied.mark_unchanged();
        loop {
            let (placed, end) = node.kept.lock().topics().deliver(&topic, next, BATCH);
            if end == next {
                break;
            }
            next = end;
            if writer.lock().await.write_all(lines("MSG", &placed).as_bytes()).await.is_err() {
                return;
            }
        }
        if applied.changed().await.is_err() {
            return;
        }
    }
}

fn lines(word: &str, placed: &[Placed]) -> String {
    let mut text = String::new();
    for (offset, post) in placed {
        let stamp = post.stamp;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{word} {} {} {offset} {} {} {} {} {}",
            post.topic, post.id, stamp.ts, stamp.corrected_ts, stamp.logical, post.clock, post.text
        );
    }
    text
}

/// What became of a message, as its producer hears it. Every ERR but `timeout` means that it is certainly not published and
/// never will be by this command.
async fn publish(node: &Node, topic: String, id: &str, text: String) -> String {
    let question = |replica: &mut super::replica::Replica, ticket, now| {
        replica.publish(ticket, topic, id.to_owned(), text, now);
    };
    match node.ask(PATIENCE, question).await {
        Some(Answer::Publish { outcome, redirected }) => match outcome {
            Outcome::Published if redirected => format!("OK REDIRECTED {id}\n"),
            Outcome::Published => format!("OK published {id}\n"),
            Outcome::Duplicate => format!("OK duplicate {id}\n"),
            Outcome::NotLeader if redirected => "ERR not_leader who was the leader is no longer\n".into(),
            Outcome::NotLeader => "ERR unavailable no leader is known\n".into(),
            Outcome::Busy => "ERR unavailable too many messages wait for a majority\n".into(),
            Outcome::Replaced => {
                format!(
                    "ERR not_committed {id} another leader's entry is in its place, it was not published\n"
                )
            }
        },
        // A read is no answer to this.
        Some(Answer::Read { .. }) | None => {
            format!("ERR timeout {id} nobody knows, it may be published now, later or never\n")
        }
    }
}
