//! What harness and warden say to each other: one JSON object a line over a Unix socket, file descriptors beside it.
//!
//! Descriptors travel with the first byte of the message they belong to, so on arrival of a whole line its
//! descriptors are there and in order.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{self, ControlMessage, ControlMessageOwned, MsgFlags};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::process::Pid;
use crate::sandbox::Jail;

/// From the harness to the warden. The end of the stream means: kill everything and go.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// First of all: the run's mark, and the cluster's ports, on which wildcard binds are narrowed to loopback.
    Hello { run: String, guarded_ports: Vec<u16> },
    /// Start a process; three descriptors come along: its stdin, stdout and stderr.
    /// `links`: where the node is told that its peers are. `jail`: what it may not do.
    Start {
        node: String,
        argv: Vec<String>,
        env: Vec<(String, String)>,
        cwd: OsString,
        links: Vec<SocketAddr>,
        jail: Box<Jail>,
    },
    /// The end of this process has been noted: its pid may be used anew.
    Collect { pid: Pid },
}

/// How many descriptors come with a [`Request::Start`].
pub(crate) const STDIO: usize = 3;

/// From the warden to the harness.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Ready for requests.
    Ready,
    /// The process runs; `guard`: its wildcard binds are narrowed, and its connects are seen.
    Started { node: String, pid: Pid, guard: bool },
    /// The node connects or sends to one of the cluster's ports at an address that is none of its links.
    Connects { node: String, address: SocketAddr, datagrams: bool },
    /// It could not be started.
    Refused { node: String, error: String },
    /// It has ended; its pid is kept until [`Request::Collect`].
    Exited { node: String, pid: Pid, code: Option<i32>, signal: Option<i32> },
}

/// Sends one message.
///
/// # Errors
/// Those of sendmsg(2); `BrokenPipe` when the other side is gone.
pub(crate) fn send(stream: &UnixStream, message: &impl Serialize, fds: &[RawFd]) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut sent = 0;
    if !fds.is_empty() {
        let rights = [ControlMessage::ScmRights(fds)];
        sent = loop {
            match socket::sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&line)], &rights, NO_SIGPIPE, None)
            {
                Err(nix::errno::Errno::EINTR) => {}
                done => break done?,
            }
        };
    }
    let mut stream = stream;
    stream.write_all(&line[sent..])
}

#[cfg(target_os = "linux")]
const NO_SIGPIPE: MsgFlags = MsgFlags::MSG_NOSIGNAL;
/// The Rust runtime ignores SIGPIPE where there is no flag for it.
#[cfg(not(target_os = "linux"))]
const NO_SIGPIPE: MsgFlags = MsgFlags::empty();

#[cfg(target_os = "linux")]
const CLOSE_ON_EXEC: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const CLOSE_ON_EXEC: MsgFlags = MsgFlags::empty();

/// Takes messages and descriptors off a socket.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Waits for more and takes it in. `false`: the other side is gone.
    ///
    /// # Errors
    /// Those of recvmsg(2).
    pub(crate) fn fill(&mut self, stream: &UnixStream) -> io::Result<bool> {
        let mut chunk = [0_u8; 16 * 1024];
        let mut space = nix::cmsg_space!([RawFd; 8 * STDIO]);
        let mut iov = [IoSliceMut::new(&mut chunk)];
        let message = socket::recvmsg::<()>(stream.as_raw_fd(), &mut iov, Some(&mut space), CLOSE_ON_EXEC);
        let message = match message {
            Ok(message) => message,
            Err(nix::errno::Errno::EINTR) => return Ok(true),
            Err(nix::errno::Errno::ECONNRESET) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = control {
                // SAFETY: the kernel has just made these descriptors for this process; nobody else owns them.
                self.fds.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let count = message.bytes;
        self.bytes.extend_from_slice(&chunk[..count]);
        #[cfg(not(target_os = "linux"))]
        for fd in &self.fds {
            nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        }
        Ok(count > 0)
    }

    /// The next whole message that has arrived.
    ///
    /// # Errors
    /// `InvalidData` when it is not one.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(end) = memchr::memchr(b'\n', &self.bytes) else { return Ok(None) };
        let message = serde_json::from_slice(&self.bytes[..end]);
        self.bytes.drain(..=end);
        message.map(Some).map_err(io::Error::from)
    }

    /// Waits for the next message; `None`: the other side is gone.
    ///
    /// # Errors
    /// As [`fill`](Self::fill) and [`next`](Self::next).
    pub(crate) fn receive<T: DeserializeOwned>(&mut self, stream: &UnixStream) -> io::Result<Option<T>> {
        loop {
            if let Some(message) = self.next()? {
                return Ok(Some(message));
            }
            if !self.fill(stream)? {
                return Ok(None);
            }
        }
    }

    /// The descriptors of the message just taken.
    pub(crate) fn take_fds(&mut self) -> Option<[OwnedFd; STDIO]> {
        if self.fds.len() < STDIO {
            return None;
        }
        Vec::from_iter(self.fds.drain(..STDIO)).try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptors_however_large() {
        let (left, right) = UnixStream::pair().unwrap();
        let sender = std::thread::spawn(move || {
            for size in [1, 300_000] {
                let (reader, mut writer) = io::pipe().unwrap();
                write!(writer, "pipe {size}").unwrap();
                let start = Request::Start {
                    node: "A".into(),
                    argv: vec!["x".repeat(size)],
                    env: vec![],
                    cwd: "/".into(),
                    jail: Box::default(),
                    links: vec![],
                };
                let spare = [reader.as_raw_fd(), writer.as_raw_fd(), writer.as_raw_fd()];
                send(&left, &start, &spare).unwrap();
            }
        });
        let mut inbox = Inbox::default();
        for size in [1, 300_000] {
            let Some(Request::Start { argv, .. }) = inbox.receive(&right).unwrap() else {
                panic!("a start was expected")
            };
            assert_eq!(argv[0].len(), size);
            let [reader, writer, other] = inbox.take_fds().unwrap();
            drop((writer, other));
            let mut text = String::new();
            std::fs::File::from(reader).read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("pipe {size}"));
        }
        sender.join().unwrap();
        assert!(inbox.receive::<Request>(&right).unwrap().is_none(), "the sender is gone");
    }
}
