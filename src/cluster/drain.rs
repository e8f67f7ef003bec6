//! Draining a node's stdout and stderr into its log, so that it never waits for a full pipe.

use std::io::{PipeReader, PipeWriter, Read as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::console::Console;
use super::log::{Lines, Log, Mark};

/// The draining of one life of a node. Dropping it ends the draining at once.
#[derive(Debug)]
pub(crate) struct Drain {
    done: Arc<Done>,
    /// Closing it tells the thread to stop, even while something still holds the node's end.
    _stop: PipeWriter,
}

#[derive(Debug, Default)]
struct Done {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Drain {
    /// Starts a thread that reads both streams to their end; `heard` hears the first one too, as that life of the node.
    pub(crate) fn start(
        node: &str,
        log: Arc<Log>,
        out: PipeReader,
        err: PipeReader,
        heard: Option<(Arc<dyn Console>, u64)>,
    ) -> std::io::Result<Self> {
        let (stopped, stop) = std::io::pipe()?;
        let done = Arc::new(Done::default());
        let told = Arc::clone(&done);
        std::thread::Builder::new().name(format!("log {node}")).spawn(move || {
            let hear = |bytes: &[u8]| {
                if let Some((console, life)) = &heard {
                    console.printed(*life, bytes);
                }
            };
            drain(&log, out, err, &stopped, hear);
            if let Some((console, life)) = &heard {
                console.closed(*life);
            }
            *told.flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
            told.changed.notify_all();
        })?;
        Ok(Self { done, _stop: stop })
    }

    /// Waits until everything that was printed is in the log, at most `limit`. Whether it is.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut flag = self.done.flag.lock().unwrap_or_else(PoisonError::into_inner);
        while !*flag {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            flag = self.done.changed.wait_timeout(flag, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

fn drain(log: &Log, out: PipeReader, err: PipeReader, stopped: &PipeReader, hear: impl Fn(&[u8])) {
    let mut streams = [(Some(out), Lines::new(Mark::Out)), (Some(err), Lines::new(Mark::Err))];
    let mut buffer = vec![0_u8; 64 * 1024];
    while streams.iter().any(|(pipe, _)| pipe.is_some()) {
        let ready: [bool; 3] = {
            // A closed stream's place is taken by the stop pipe, which is never read from.
            let fd = |index: usize| streams[index].0.as_ref().map_or(stopped.as_fd(), |pipe| pipe.as_fd());
            let wanted = [fd(0), fd(1), stopped.as_fd()];
            let mut polled = wanted.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut polled, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(_) => break,
            }
            polled.map(|fd| fd.any().unwrap_or(false))
        };
        if ready[2] {
            break;
        }
        for (place, ((pipe, lines), ready)) in streams.iter_mut().zip(ready).enumerate() {
            let Some(open) = pipe.as_mut().filter(|_| ready) else { continue };
            match open.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    if place == 0 {
                        hear(&buffer[..count]);
                    }
                    lines.push(log, &buffer[..count]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => {
                    lines.finish(log);
                    *pipe = None;
                }
            }
        }
    }
    for (_, lines) in &mut streams {
        lines.finish(log);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn draining_ends_with_the_stream_or_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(Log::create(&dir.path().join("A.log"), 1000, Instant::now()).unwrap());
        let (out, mut out_writer) = std::io::pipe().unwrap();
        let (err, err_writer) = std::io::pipe().unwrap();
        let drain = Drain::start("A", Arc::clone(&log), out, err, None).unwrap();
        out_writer.write_all(b"half a li").unwrap();
        drop(out_writer);
        assert!(!drain.wait(Duration::from_millis(10)), "stderr is still open");
        drop(err_writer);
        assert!(drain.wait(Duration::from_secs(20)));
        assert_eq!(log.tail(9), ["half a li"]);

        let (out, out_writer) = std::io::pipe().unwrap();
        let (err, _err_writer) = std::io::pipe().unwrap();
        let drain = Drain::start("A", log, out, err, None).unwrap();
        let done = Arc::clone(&drain.done);
        drop(drain);
        let flag = done.flag.lock().unwrap();
        let (flag, waited) =
            done.changed.wait_timeout_while(flag, Duration::from_secs(20), |flag| !*flag).unwrap();
        assert!(*flag && !waited.timed_out());
        drop(out_writer);
    }
}
