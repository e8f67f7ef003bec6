//! How messages get from node to node: each node connects to each other one and only speaks on that connection; what it
//! hears comes on connections from the others. So a way that is cut in one direction is cut in that one alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::config::Member;
use super::node::Node;
use super::rpc::Envelope;

/// Messages that wait for one peer at most.
pub const QUEUE: usize = 512;
/// Messages written at once.
const BATCH: usize = 64;
/// A connection that is not there by then, or takes nothing for so long, is given up.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest message, bytes.
const MAX_LINE: u64 = 32 << 20;

/// Sends what comes by `queue` to `member`, for ever; what waits while there is no connection is dropped: it would be stale.
pub async fn speak(member: Member, mut queue: mpsc::Receiver<Bytes>) {
    loop {
        let address = (member.host.as_str(), member.rpc_port);
        if let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(address)).await {
            while queue.try_recv().is_ok() {}
            // Ended by whatever it is: the next connection is as good.
            let _ = stream.set_nodelay(true);
            deliver(stream, &mut queue).await;
        }
        if queue.is_closed() {
            return;
        }
        sleep(PAUSE).await;
    }
}

async fn deliver(mut stream: TcpStream, queue: &mut mpsc::Receiver<Bytes>) {
    let (mut reader, mut writer) = stream.split();
    let mut batch = Vec::new();
    let mut nothing = [0; 1];
    loop {
        batch.clear();
        tokio::select! {
            // Nobody speaks on this connection but this node: what can be read is its end.
            _ = reader.read(&mut nothing) => return,
            count = queue.recv_many(&mut batch, BATCH) => {
                if count == 0 || !matches!(timeout(PATIENCE, writer.write_all(&batch.concat())).await, Ok(Ok(()))) {
                    return;
                }
            }
        }
    }
}

/// Hears the other nodes, for ever.
pub async fn listen(node: Arc<Node>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            if let Err(error) = hear(&node, stream).await {
                say!("{}: a connection between nodes is closed: {error}", node.id);
            }
        });
    }
}

async fn hear(node: &Node, stream: TcpStream) -> Result<(), String> {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        // Torn off by the sender's death is an end like any other.
        let Ok(count) = (&mut stream).take(MAX_LINE).read_until(b'\n', &mut line).await else {
            return Ok(());
        };
        if count == 0 || (line.last() != Some(&b'\n') && (count as u64) < MAX_LINE) {
            return Ok(());
        }
        let envelope: Envelope =
            serde_json::from_slice(&line).map_err(|error| format!("no message: {error}"))?;
        let Envelope { from, to, rpc } = envelope;
        if to != node.id {
            return Err(format!("{from} takes this node for {to}"));
        }
        let Some(sender) = node.peer(&from) else {
            return Err(format!("{from} is not among the others in this node's table"));
        };
        if !rpc.is_possible() {
            return Err(format!("{from} sends a message no node could send"));
        }
        node.change(|replica, now| replica.step(sender, rpc, now));
    }
}
