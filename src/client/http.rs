//! One keep-alive HTTP/1.1 connection that knows, at every moment, whether anything of a request has left.
//!
//! That knowledge is what `fail` (certainly not done) rests on, and what general clients hide: they pool, retry and
//! resend. Nothing here is ever sent twice.
//!
//! It is also lean, because the harness shares its machine with the nodes. In `benches/load.rs`, hyper's bare connections
//! take 20 µs of processor time a request, the server's share included; so does this with timeouts, templates and the
//! reading of answers on top, and the history has to fit into the same budget.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use humantime::format_duration;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Request;
use super::alarm::Alarm;
use super::protocol::Operation;
use super::wire::{self, Dechunker, Framing};

/// Buffers grown past this are given back after use.
const KEPT_CAPACITY_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 8 * 1024;
/// A connection out of use for less than this is asked about in the cheap way.
const SURELY_OPEN: Duration = Duration::from_micros(200);
/// Of garbage, so many bytes are kept to show.
const GARBAGE_BYTES: usize = 4 * 512;

/// Where a node's clients reach it. Clones share what they learn.
///
/// `localhost` is `::1` to some nodes, so where 127.0.0.1 refuses, `[::1]` is tried: until one of them first answers,
/// which is the node's for good. (Later, another process may well listen on the other.)
#[derive(Clone, Debug)]
pub struct Address {
    main: SocketAddr,
    other: Option<SocketAddr>,
    known: Arc<AtomicU8>,
}

const UNKNOWN: u8 = 0;
const MAIN: u8 = 1;
const OTHER: u8 = 2;

impl From<SocketAddr> for Address {
    fn from(main: SocketAddr) -> Self {
        let localhost = main.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
        let other = localhost.then(|| SocketAddr::new(Ipv6Addr::LOCALHOST.into(), main.port()));
        Self { main, other, known: Arc::new(AtomicU8::new(UNKNOWN)) }
    }
}

impl Address {
    /// The port; a node's own, however it is called by others.
    pub fn port(&self) -> u16 {
        self.main.port()
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        match (self.known.load(Ordering::Relaxed), self.other) {
            (OTHER, Some(other)) => open(other).await,
            (UNKNOWN, Some(other)) => match open(self.main).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    let stream = open(other).await.map_err(|_| error)?;
                    self.known.store(OTHER, Ordering::Relaxed);
                    Ok(stream)
                }
                opened => {
                    if opened.is_ok() {
                        self.known.store(MAIN, Ordering::Relaxed);
                    }
                    opened
                }
            },
            _ => open(self.main).await,
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        // Nobody listens there, and of all ports the kernel gave us that one: we are connected to ourselves.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Nobody listens there.
    Refused(String),
    /// Not a byte of the request was sent.
    NotSent(String),
    /// Some or all of it was, and no whole answer came.
    NoAnswer(String),
    /// What came is no answer; its beginning.
    Garbage(String, Vec<u8>),
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

/// A client's connection to one node.
#[derive(Debug)]
pub(super) struct Http {
    address: Address,
    keep_alive: bool,
    /// Taken out while an operation is under way, so that one that is abandoned takes the connection with it.
    stream: Option<(TcpStream, Instant)>,
    sent: bool,
    alarm: Option<Alarm>,
    request: Vec<u8>,
    scratch: Vec<u8>,
    received: Vec<u8>,
    chunks: Dechunker,
}

impl Http {
    pub fn new(address: Address, keep_alive: bool) -> Self {
        Self {
            address,
            keep_alive,
            stream: None,
            sent: false,
            alarm: None,
            request: Vec::with_capacity(512),
            scratch: Vec::with_capacity(128),
            received: Vec::with_capacity(READ_BYTES),
            chunks: Dechunker::default(),
        }
    }

    pub fn disconnect(&mut self) {
        self.stream = None;
    }

    /// Puts the next request together.
    pub fn prepare(&mut self, operation: &Operation, request: &Request<'_>) {
        let out = &mut self.request;
        out.clear();
        out.extend_from_slice(operation.method.as_bytes());
        out.push(b' ');
        operation.path.render(out, request);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        write_address(out, self.address.main);
        if !self.keep_alive {
            out.extend_from_slice(b"\r\nConnection: close");
        }
        for (name, template) in &operation.headers {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            template.render(out, request);
        }
        if let Some(body) = &operation.body {
            self.scratch.clear();
            body.render(&mut self.scratch, request);
        }
        if operation.body.is_some() || operation.method == "POST" || operation.method == "PUT" {
            let length = if operation.body.is_some() { self.scratch.len() } else { 0 };
            out.extend_from_slice(b"\r\nContent-Length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
        if operation.body.is_some() {
            out.extend_from_slice(&self.scratch);
        }
    }

    /// Sends what was prepared, once, and reads the answer; both within `timeout`.
    pub async fn exchange(&mut self, timeout: Duration, limit_bytes: usize) -> Result<Reply<'_>, Broken> {
        self.sent = false;
        if self.received.capacity() > KEPT_CAPACITY_BYTES {
            self.received = Vec::with_capacity(READ_BYTES);
        }
        if self.chunks.body.capacity() > 0 {
            self.chunks = Dechunker::default();
        }
        let mut alarm = self.alarm.take().unwrap_or_default();
        let done = alarm.guard(timeout, self.attempt(limit_bytes)).await;
        self.alarm = Some(alarm);
        let place = match done {
            Some(done) => done?,
            None if self.sent => {
                return Err(Broken::NoAnswer(format!("no answer within {}", format_duration(timeout))));
            }
            None => {
                return Err(Broken::NotSent(format!("no connection within {}", format_duration(timeout))));
            }
        };
        let body = match place.body {
            Some((start, end)) => &self.received[start..end],
            None => &self.chunks.body,
        };
        Ok(Reply { status: place.status, body })
    }

    async fn attempt(&mut self, limit_bytes: usize) -> Result<Place, Broken> {
        let mut kept = self.stream.take().filter(|(stream, since)| is_quiet(stream, *since));
        let mut stream = loop {
            let reused = kept.is_some();
            let mut stream = match kept.take() {
                Some((stream, _)) => stream,
                None => self.address.connect().await.map_err(|error| self.unreachable(&error))?,
            };
            match self.send(&mut stream).await {
                Ok(()) => break stream,
                // The node had closed the connection, which the first write told: nothing left, so it is not a retry.
                Err(_) if !self.sent && reused => {}
                Err(error) if self.sent => {
                    return Err(Broken::NoAnswer(format!("the connection broke while sending: {error}")));
                }
                Err(error) => return Err(Broken::NotSent(format!("nothing could be sent: {error}"))),
            }
        };
        let (place, reusable) = self.receive(&mut stream, limit_bytes).await?;
        if reusable && self.keep_alive {
            self.stream = Some((stream, Instant::now()));
        }
        Ok(place)
    }

    async fn send(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let mut rest = self.request.as_slice();
        while !rest.is_empty() {
            let written = stream.write(rest).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.sent = true;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Reads one whole answer; where its body is, and whether the connection may be used again.
    async fn receive(&mut self, stream: &mut TcpStream, limit_bytes: usize) -> Result<(Place, bool), Broken> {
        self.received.clear();
        let head = loop {
            match wire::head(&self.received).map_err(|reason| self.garbage(reason))? {
                // 100 Continue and its like announce the answer; they are not it.
                Some(head) if head.status / 100 == 1 && head.status != 101 => {
                    self.received.drain(..head.len);
                }
                Some(head) => break head,
                None if self.more(stream).await? => {}
                None if self.received.is_empty() => {
                    return Err(Broken::NoAnswer("the connection was closed without an answer".into()));
                }
                None => return Err(Broken::NoAnswer("the connection was closed in mid-answer".into())),
            }
        };
        let body = match head.body {
            Framing::Length(length) => {
                let end = head.len.saturating_add(length);
                if length > limit_bytes {
                    return Err(self.garbage(wire::too_long(limit_bytes)));
                }
                while self.received.len() < end {
                    if !self.more(stream).await? {
                        return Err(Broken::NoAnswer("the connection was closed in mid-answer".into()));
                    }
                }
                Some((head.len, end))
            }
            Framing::UntilClose => {
                while self.more(stream).await? {
                    if self.received.len() - head.len > limit_bytes {
                        return Err(self.garbage(wire::too_long(limit_bytes)));
                    }
                }
                Some((head.len, self.received.len()))
            }
            Framing::Chunked => {
                let mut at = head.len;
                loop {
                    let done = self.chunks.advance(&self.received, &mut at, limit_bytes);
                    if done.map_err(|reason| self.garbage(reason))? {
                        break;
                    }
                    // Chunks of one byte are six on the wire.
                    if self.received.len() > limit_bytes.saturating_mul(8) + wire::MAX_HEAD_BYTES {
                        return Err(self.garbage(wire::too_long(limit_bytes)));
                    }
                    if !self.more(stream).await? {
                        return Err(Broken::NoAnswer("the connection was closed in mid-answer".into()));
                    }
                }
                return Ok((
                    Place { status: head.status, body: None },
                    head.keep_alive && at == self.received.len(),
                ));
            }
        };
        // Bytes beyond the answer belong to no request: such a connection has lost its place.
        let in_step = body.is_some_and(|(_, end)| end == self.received.len());
        Ok((Place { status: head.status, body }, head.keep_alive && in_step))
    }

    /// Waits for more bytes; false at the end of the stream.
    async fn more(&mut self, stream: &mut TcpStream) -> Result<bool, Broken> {
        if self.received.capacity() - self.received.len() < READ_BYTES / 2 {
            self.received.reserve(READ_BYTES);
        }
        match stream.read_buf(&mut self.received).await {
            Ok(count) => Ok(count > 0),
            Err(error) => Err(Broken::NoAnswer(format!("the connection broke before the answer: {error}"))),
        }
    }

    fn garbage(&self, reason: String) -> Broken {
        let kept = self.received.len().min(GARBAGE_BYTES);
        Broken::Garbage(reason, self.received[..kept].to_vec())
    }

    fn unreachable(&self, error: &io::Error) -> Broken {
        let address = self.address.main;
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Broken::Refused(format!("connection refused by {address}")),
            _ => Broken::NotSent(format!("no connection to {address}: {error}")),
        }
    }
}

/// An answer's status, and where in the received bytes its body is; `None`: it came in chunks.
struct Place {
    status: u16,
    body: Option<(usize, usize)>,
}

/// Whether a connection out of use `since` is still open and in step. It is not when its end of stream, its reset, or
/// bytes that nobody asked for are waiting.
fn is_quiet(stream: &TcpStream, since: Instant) -> bool {
    if since.elapsed() < SURELY_OPEN {
        // tokio's driver ran a moment ago, and remembers what it saw without a system call.
        let would_block = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        return stream.try_read(&mut [0]).is_err_and(would_block);
    }
    let mut byte = [std::mem::MaybeUninit::uninit()];
    // Asks the kernel, not tokio, which learns of a close only when its driver next runs.
    SockRef::from(stream).peek(&mut byte).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn write_address(out: &mut Vec<u8>, address: SocketAddr) {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{address}");
}
