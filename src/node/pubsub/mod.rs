//! A publish/subscribe log, replicated by Raft.
//!
//! A producer publishes messages to topics, each with an id; the log puts all of them into one order, and every topic's
//! messages have offsets from 0 on. What clients are promised, and why it holds:
//!
//! - **An acknowledged message is never lost**: `OK` is said when a majority has it on disk and the leader of that time has
//!   committed it (`replica`: Raft, as in Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014).
//! - **One id is one message**, in the whole cluster and for ever. The ids are part of the replicated state (`topics`), so
//!   whoever does not know what became of a message publishes it again, at any node, before or after a failover.
//! - **`ERR` says what is known**: with any reason but `timeout` the message is not published and never will be by that command.
//! - **HISTORY shows committed messages alone**, at any node a prefix of what the leader has; with `--strong` all that was
//!   acknowledged before it was asked for.
//! - **A subscriber gets every offset in order**, from the first message that its node had not applied when it said `OK
//!   subscribed`, for as long as the connection lasts: whatever its node catches up on, in whichever way.
//! - **Hybrid time** (`entry`, `clock`): along the log, (corrected_ts, logical) grows strictly, and corrected_ts is as near to
//!   the cluster's time as exchanges of a few hundred microseconds can tell.
//! - **Time decides only when to try**, never what is true.
//!
//! Everything is kept in memory and, as a log of changes, on disk (`crate::node::kept`). Nothing is said before what it says is
//! on disk.

pub mod bug;
mod clock;
mod command;
mod config;
mod entry;
mod node;
mod peer;
mod replica;
mod rpc;
mod server;
mod timesync;
mod topics;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use self::bug::Bug;
use self::clock::Clock;
use self::config::Member;
use self::node::Node;
use self::replica::{Replica, Setup};
use super::kept::spawn_log_writer;
use super::log::Log;
use super::random;
use super::serve::{self, NodeError};

/// How often the replica looks whether something is due.
const TICK: Duration = Duration::from_millis(20);
/// How long a clean stop waits for the disk.
const GRACE: Duration = Duration::from_secs(5);

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name, one of those in the table.
    pub id: String,
    /// The cluster, as this node sees it; sorted by name.
    pub table: Table,
    /// Below it every node keeps its log in a directory of its name.
    pub data_root: PathBuf,
    /// Entries kept for followers that are behind.
    pub keep_entries: usize,
    /// The bug it has.
    pub bug: Option<Bug>,
    /// How far its clock is wrong, ms.
    pub clock_skew_ms: i64,
}

/// The nodes of a cluster, as one of them sees it.
#[derive(Clone, Debug)]
pub struct Table(Vec<Member>);

impl Table {
    /// The table in a YAML text.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        config::parse(text).map(Table)
    }

    /// The nodes' names.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|member| member.id.as_str())
    }
}

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// [`NodeError`]; a node that cannot write its log stops, as it could not keep what it promised.
pub fn run(options: Options) -> Result<(), NodeError> {
    serve::block_on(run_here(options))
}

async fn run_here(options: Options) -> Result<(), NodeError> {
    let Options { id, table: Table(table), data_root, keep_entries, bug, clock_skew_ms } = options;
    let members: Vec<String> = table.iter().map(|member| member.id.clone()).collect();
    let Some(me) = members.iter().position(|member| *member == id) else {
        let missing = std::io::Error::other(format!("the table has no node {id}"));
        return Err(NodeError::System("start", missing));
    };
    let own = &table[me];
    let (nodes, _) = serve::listen(&own.host, own.rpc_port).await?;
    let (clocks, _) = serve::listen(&own.host, own.timesync_port).await?;
    // Last: whoever reaches this one takes the node for ready.
    let (clients, address) = serve::listen(&own.host, own.port).await?;

    let path = data_root.join(&id).join("raft.log");
    let (log, recovered) = Log::open(&path)?;
    if recovered.torn_bytes > 0 {
        say!("{id}: cut {} bytes of an unfinished record off {}", recovered.torn_bytes, path.display());
    }
    let clock = Clock::new(members.len(), clock_skew_ms);
    let seed = random::below(u64::MAX);
    let setup = Setup { members: members.clone(), me, bug, keep_entries, seed };
    let replica = Replica::recover(setup, recovered.records, clock.now());
    say!(
        "{id}: listening on {address} (nodes: {}, time: {}), term {} and {} entries from {}, others: {}{}",
        own.rpc_port,
        own.timesync_port,
        replica.term(),
        replica.last(),
        path.display(),
        others(&table, me).map(|(_, member)| member.id.as_str()).collect::<Vec<_>>().join(", "),
        bug.map_or_else(String::new, |bug| format!(", bug: {}", bug.name())),
    );

    let mut senders = vec![None; members.len()];
    for (index, member) in others(&table, me) {
        let (sender, queue) = mpsc::channel(peer::QUEUE);
        senders[index] = Some(sender);
        tokio::spawn(peer::speak(member.clone(), queue));
    }
    let node = Node::new(&id, members, replica, clock, senders);
    let broken_log = spawn_log_writer(&node.kept, Some(log))?;
    tokio::spawn(Arc::clone(&node).follow_disk());
    tokio::spawn(tick(Arc::clone(&node)));
    tokio::spawn(peer::listen(Arc::clone(&node), nodes));
    tokio::spawn(timesync::tell(Arc::clone(&node), clocks));
    for (index, member) in others(&table, me) {
        tokio::spawn(timesync::ask(Arc::clone(&node), index, member.clone()));
    }
    tokio::spawn(server::serve(Arc::clone(&node), clients));

    serve::told_to_stop(broken_log).await?;
    node.change(|replica, _| replica.stop());
    // A disk that hangs must not keep the node from stopping: what waits for it was not promised to anybody.
    let _ = tokio::time::timeout(GRACE, node.kept.flush()).await;
    say!("{id}: stopped");
    Ok(())
}

fn others(table: &[Member], me: usize) -> impl Iterator<Item = (usize, &Member)> {
    table.iter().enumerate().filter(move |(index, _)| *index != me)
}

async fn tick(node: Arc<Node>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        node.change(Replica::tick);
    }
}
