//! A TCP connection that carries lines of text: one out, one or more back.
//!
//! The same care as over HTTP: whether anything of a request has left is known at every moment, and nothing is sent twice.

use std::io;
use std::time::Duration;

use humantime::format_duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::{Address, Broken};

/// Read at a time, bytes.
const READ_BYTES: usize = 16 * 1024;
/// The longest line, bytes: of a node that never ends one.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// A connection to one node, opened when it is first needed.
#[derive(Debug)]
pub(super) struct Line {
    address: Address,
    stream: Option<TcpStream>,
    sent: bool,
    /// Whether an answer is owed: to an exchange under way, or to one that was abandoned.
    owed: bool,
    /// What has come and was not asked for yet; lines are taken off its beginning.
    received: Vec<u8>,
    taken: usize,
}

impl Line {
    pub fn new(address: Address) -> Self {
        Self { address, stream: None, sent: false, owed: false, received: Vec::new(), taken: 0 }
    }

    pub fn disconnect(&mut self) {
        self.stream = None;
        self.owed = false;
        self.received.clear();
        self.taken = 0;
    }

    /// Sends `request` (a whole line) and reads lines until one is the `last`; all of them, joined. Within `timeout`; a
    /// connection that did not come to the end is given up, since it has lost its place; also where whoever asked went away.
    pub async fn exchange(
        &mut self,
        request: &[u8],
        last: impl Fn(&str) -> bool,
        timeout: Duration,
        limit_bytes: usize,
    ) -> Result<String, Broken> {
        if self.owed {
            self.disconnect();
        }
        (self.sent, self.owed) = (false, true);
        let done = tokio::time::timeout(timeout, self.attempt(request, last, limit_bytes)).await;
        let outcome = match done {
            Ok(outcome) => outcome,
            Err(_) if self.sent => {
                Err(Broken::NoAnswer(format!("no answer within {}", format_duration(timeout))))
            }
            Err(_) => Err(Broken::NotSent(format!("no connection within {}", format_duration(timeout)))),
        };
        self.owed = false;
        if outcome.is_err() {
            self.disconnect();
        }
        outcome
    }

    async fn attempt(
        &mut self,
        request: &[u8],
        last: impl Fn(&str) -> bool,
        limit_bytes: usize,
    ) -> Result<String, Broken> {
        // What came unasked belongs to no request: such a connection has lost its place.
        if self.stream.is_some() && (self.taken < self.received.len() || !self.is_quiet()) {
            self.disconnect();
        }
        let reused = self.stream.is_some();
        match self.send(request).await {
            Ok(()) => {}
            // The node had closed the connection, which the first write told: nothing left, so it is not a retry.
            Err(Broken::NotSent(_)) if reused => {
                self.disconnect();
                self.send(request).await?;
            }
            Err(broken) => return Err(broken),
        }
        let mut answer = String::new();
        loop {
            let line = self.next(MAX_LINE_BYTES).await?.ok_or_else(|| {
                let how = if answer.is_empty() { "without an answer" } else { "in mid-answer" };
                Broken::NoAnswer(format!("the connection was closed {how}"))
            })?;
            let done = last(&line);
            if !answer.is_empty() {
                answer.push('\n');
            }
            answer.push_str(&line);
            if done {
                return Ok(answer);
            }
            if answer.len() > limit_bytes {
                let reason = format!("the answer is longer than {limit_bytes} bytes");
                return Err(Broken::Garbage(reason, answer.into_bytes()));
            }
        }
    }

    /// Sends a line, on a new connection where there is none.
    pub async fn send(&mut self, request: &[u8]) -> Result<(), Broken> {
        if self.stream.is_none() {
            self.stream = Some(self.address.open().await?);
        }
        let Some(stream) = self.stream.as_mut() else { return Ok(()) };
        let mut rest = request;
        while !rest.is_empty() {
            match stream.write(rest).await {
                Ok(written) if written > 0 => {
                    self.sent = true;
                    rest = &rest[written..];
                }
                Ok(_) => return Err(self.torn("it takes no more")),
                Err(error) => return Err(self.torn(&error.to_string())),
            }
        }
        Ok(())
    }

    fn torn(&self, error: &str) -> Broken {
        match self.sent {
            true => Broken::NoAnswer(format!("the connection broke while sending: {error}")),
            false => Broken::NotSent(format!("nothing could be sent: {error}")),
        }
    }

    /// The next line, without its end; `None`: the connection was closed. A line that is no UTF-8 is shown with marks where it
    /// is not.
    pub async fn next(&mut self, limit_bytes: usize) -> Result<Option<String>, Broken> {
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.received[self.taken..]) {
                let line = &self.received[self.taken..self.taken + length];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let line = String::from_utf8_lossy(line).into_owned();
                self.taken += length + 1;
                return Ok(Some(line));
            }
            if self.taken > 0 {
                self.received.drain(..self.taken);
                self.taken = 0;
            }
            if self.received.len() > limit_bytes {
                let begin = self.received[..512.min(self.received.len())].to_vec();
                return Err(Broken::Garbage(format!("a line is longer than {limit_bytes} bytes"), begin));
            }
            let Some(stream) = self.stream.as_mut() else { return Ok(None) };
            self.received.reserve(READ_BYTES);
            match stream.read_buf(&mut self.received).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => {
                    return Err(Broken::NoAnswer(format!("the connection broke before the answer: {error}")));
                }
            }
        }
    }

    /// Whether whole lines are waiting that were read already.
    pub fn has_line(&self) -> bool {
        memchr::memchr(b'\n', &self.received[self.taken..]).is_some()
    }

    fn is_quiet(&self) -> bool {
        let would_block = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.stream.as_ref().is_some_and(|stream| stream.try_read(&mut [0]).is_err_and(would_block))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    /// Whether a request came, before the end.
    async fn request(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        while byte != *b"\n" {
            if stream.read_exact(&mut byte).await.is_err() {
                return false;
            }
        }
        true
    }

    #[test]
    fn a_late_answer_is_not_the_next_one_s() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut line = Line::new(listener.local_addr().unwrap().into());
            let mut first = {
                let asked = line.exchange(b"one\n", |_| true, SOON, 100);
                let mut asked = std::pin::pin!(asked);
                let heard = async {
                    let mut stream = listener.accept().await.unwrap().0;
                    assert!(request(&mut stream).await);
                    stream
                };
                // The node has the request, and whoever asked loses interest.
                tokio::select! {
                    _ = &mut asked => unreachable!("nobody has answered"),
                    stream = heard => stream,
                }
            };
            let node = async {
                tokio::select! {
                    true = request(&mut first) => first.write_all(b"1\n2\n").await.unwrap(),
                    accepted = listener.accept() => {
                        let mut second = accepted.unwrap().0;
                        assert!(request(&mut second).await);
                        second.write_all(b"2\n").await.unwrap();
                    }
                }
            };
            let (answer, ()) = tokio::join!(line.exchange(b"two\n", |_| true, SOON, 100), node);
            assert_eq!(answer, Ok("2".into()));
        });
    }
}
