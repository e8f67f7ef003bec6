//! Nodes ask each other for the time: a line each way, over TCP, as links forward that.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::config::Member;
use super::node::Node;

/// Between two questions.
const PERIOD: Duration = Duration::from_millis(500);
/// An answer that takes longer tells nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest line, bytes.
const MAX_LINE: u64 = 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    /// The asker's clock, µs since 1970; the answer repeats it.
    t1: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    t1: i64,
    /// When the question came, by the answerer's clock.
    t2: i64,
    /// When the answer left.
    t3: i64,
}

/// Tells the time to whoever asks, for ever.
pub async fn tell(node: Arc<Node>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PERIOD).await;
            continue;
        };
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut stream = BufReader::new(stream);
            while let Some(Question { t1 }) = read(&mut stream).await {
                let t2 = node.clock.wall_us();
                if write(&mut stream, &Answer { t1, t2, t3: node.clock.wall_us() }).await.is_none() {
                    return;
                }
            }
        });
    }
}

/// Asks a member for the time, for ever.
pub async fn ask(node: Arc<Node>, index: usize, member: Member) {
    loop {
        let address = (member.host.as_str(), member.timesync_port);
        if let Ok(Ok(stream)) = timeout(PATIENCE, TcpStream::connect(address)).await {
            let _ = stream.set_nodelay(true);
            let mut stream = BufReader::new(stream);
            // An answer that comes too late would be taken for the next one's: with it goes the connection.
            while let Ok(Some(())) = timeout(PATIENCE, exchange(&node, index, &mut stream)).await {
                sleep(PERIOD).await;
            }
        }
        sleep(PERIOD).await;
    }
}

async fn exchange(node: &Node, index: usize, stream: &mut BufReader<TcpStream>) -> Option<()> {
    let sent = node.clock.wall_us();
    write(stream, &Question { t1: sent }).await?;
    let answer: Answer = read(stream).await?;
    let back = node.clock.wall_us();
    if answer.t1 == sent {
        node.clock.sample(index, sent, [answer.t2, answer.t3], back);
    }
    Some(())
}

async fn read<T: serde::de::DeserializeOwned>(stream: &mut BufReader<TcpStream>) -> Option<T> {
    let mut line = String::new();
    stream.take(MAX_LINE).read_line(&mut line).await.ok()?;
    serde_json::from_str(&line).ok()
}

async fn write(stream: &mut BufReader<TcpStream>, message: &impl Serialize) -> Option<()> {
    let mut line = serde_json::to_vec(message).ok()?;
    line.push(b'\n');
    stream.write_all(&line).await.ok()
}
