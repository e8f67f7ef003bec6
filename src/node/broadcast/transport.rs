//! Frames over UDP, one a datagram, or over TCP, one a line. Either may lose them: when a buffer is full, a connection
//! ends, or nobody is there. `super::channel` makes up for it, so nothing here waits, retries or counts.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::message::{Frame, MAX_FRAME_BYTES};
use super::table::Table;
use crate::node::serve::{self, NodeError};

/// Bytes a socket buffers, if the system allows it: a burst of many peers at once.
const BUFFER_BYTES: usize = 1 << 20;
/// Frames on their way out to one peer, and in from all of them, at most; further ones are lost.
const QUEUE: usize = 256;
/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(100);
/// A connection that takes nothing for so long is given up.
const STUCK: Duration = Duration::from_secs(10);

/// A process's way to its peers.
#[derive(Debug)]
pub enum Transport {
    /// Datagrams.
    Udp {
        /// The only socket.
        socket: UdpSocket,
        /// By rank.
        peers: Vec<SocketAddr>,
    },
    /// Lines. Each process writes on the connections it made and reads from those it accepted.
    Tcp {
        /// By rank; its own leads nowhere.
        peers: Vec<Sender<Vec<u8>>>,
        /// What comes in.
        frames: Receiver<Frame>,
    },
}

impl Transport {
    /// Listens where the table says, and is ready to send.
    ///
    /// # Errors
    /// [`NodeError`]; also when a host has no address.
    pub async fn open(table: &Table, tcp: bool) -> Result<(Transport, SocketAddr), NodeError> {
        let own = &table.rows[table.me];
        let mut peers = Vec::new();
        for row in &table.rows {
            let host = format!("{}:{}", row.host, row.port);
            let address = (row.host.as_str(), row.port)
                .to_socket_addrs()
                .and_then(|mut found| found.next().ok_or_else(|| io::Error::other("it has no address")));
            peers.push(address.map_err(|error| NodeError::Peer { id: row.id.to_string(), host, error })?);
        }
        if tcp {
            let (listener, address) = serve::listen(&own.host, own.port).await?;
            let (sender, frames) = mpsc::channel(QUEUE);
            tokio::spawn(accept(listener, sender));
            let peers = peers.into_iter().enumerate().map(|(rank, address)| {
                let (sender, frames) = mpsc::channel(QUEUE);
                if rank != table.me {
                    tokio::spawn(write_lines(address, frames));
                }
                sender
            });
            return Ok((Transport::Tcp { peers: peers.collect(), frames }, address));
        }
        let refused = |error| NodeError::Listen { address: format!("{}:{}", own.host, own.port), error };
        let socket = UdpSocket::bind(peers[table.me]).await.map_err(refused)?;
        // A smaller buffer loses more, and that is made up for.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES);
        let address = socket.local_addr().map_err(refused)?;
        Ok((Transport::Udp { socket, peers }, address))
    }

    /// Sends `frame` to the peer with this rank, or loses it.
    pub fn send(&self, rank: usize, frame: &Frame) {
        match self {
            Transport::Udp { socket, peers } => {
                // A full buffer or an address that is not there now: lost.
                let _ = socket.try_send_to(&frame.encode(), peers[rank]);
            }
            Transport::Tcp { peers, .. } => {
                let mut line = frame.encode();
                line.push(b'\n');
                let _ = peers[rank].try_send(line);
            }
        }
    }

    /// Waits for a frame that is whole.
    pub async fn receive(&mut self, buffer: &mut [u8]) -> Option<Frame> {
        match self {
            Transport::Udp { socket, .. } => loop {
                // Errors are about datagrams sent earlier, to nobody.
                if let Ok((length, _)) = socket.recv_from(buffer).await
                    && let Some(frame) = Frame::decode(&buffer[..length])
                {
                    return Some(frame);
                }
            },
            Transport::Tcp { frames, .. } => frames.recv().await,
        }
    }

    /// A frame that is here already.
    pub fn try_receive(&mut self, buffer: &mut [u8]) -> Option<Frame> {
        match self {
            Transport::Udp { socket, .. } => {
                let (length, _) = socket.try_recv_from(buffer).ok()?;
                // One that is broken ends the round; the next begins at once.
                Frame::decode(&buffer[..length])
            }
            Transport::Tcp { frames, .. } => frames.try_recv().ok(),
        }
    }
}

async fn accept(listener: TcpListener, frames: Sender<Frame>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(read_lines(stream, frames.clone()));
            }
            // Out of file descriptors, say: they may come back.
            Err(_) => tokio::time::sleep(RECONNECT).await,
        }
    }
}

/// Reads frames until the connection ends, or sends what is no line of ours.
async fn read_lines(stream: TcpStream, frames: Sender<Frame>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let limit = MAX_FRAME_BYTES as u64 + 1;
    loop {
        line.clear();
        match (&mut reader).take(limit).read_until(b'\n', &mut line).await {
            Ok(length) if length > 0 && line.ends_with(b"\n") => line.truncate(length - 1),
            _ => return,
        }
        if let Some(frame) = Frame::decode(&line)
            && frames.send(frame).await.is_err()
        {
            return;
        }
    }
}

/// Writes to one peer as long as there is somebody to write for, over as many connections as it takes.
async fn write_lines(address: SocketAddr, mut lines: Receiver<Vec<u8>>) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            tokio::time::sleep(RECONNECT).await;
            // What waits is as old as the attempt; newer frames say more.
            while lines.try_recv().is_ok() {}
            if lines.is_closed() {
                return;
            }
            continue;
        };
        // A connection that is already gone says so when it is written to.
        let _ = stream.set_nodelay(true);
        loop {
            let Some(line) = lines.recv().await else { return };
            match tokio::time::timeout(STUCK, stream.write_all(&line)).await {
                Ok(Ok(())) => {}
                _ => break,
            }
        }
    }
}
