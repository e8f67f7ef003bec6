//! What passed over the links, in the run's folder: `messages.csv`, for the diagrams of the report and for whoever wants to know.
//!
//! ```text
//! from,to,kind,bytes,sent_ms,received_ms
//! A,B,tcp,212,1042.118,1042.131
//! B,A,udp,90,1043.002,
//! ```
//!
//! Times are the history's, in ms; without the second one the message was lost, or its receiver had gone. Rows are in the order in
//! which that was known.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::world::Shared;
use crate::network::Passage;

/// How often what has passed is written down.
const EVERY: Duration = Duration::from_millis(200);
/// Rows at most.
const MOST: u64 = 500_000;

/// Writes until it is told to end.
pub struct MessageLog {
    /// Dropped to end it.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<io::Result<u64>>>,
}

impl MessageLog {
    /// Begins to write to `path`, in the time of the run's history.
    ///
    /// # Errors
    /// When there can be no file, or no thread.
    pub fn start(shared: &Arc<Shared>, path: &Path) -> io::Result<Self> {
        let mut writer = Writer { out: BufWriter::new(File::create(path)?), rows: 0, beyond: 0 };
        writer.out.write_all(b"from,to,kind,bytes,sent_ms,received_ms\n")?;
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::clone(shared);
        let write = move || loop {
            let last = stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout);
            writer.take(&shared)?;
            if last {
                writer.out.flush()?;
                return Ok(writer.beyond);
            }
        };
        let thread = std::thread::Builder::new().name("messages".into()).spawn(write)?;
        Ok(MessageLog { stop: Some(stop), thread: Some(thread) })
    }

    /// Ends it; how many messages there was no room for.
    ///
    /// # Errors
    /// When they could not all be written.
    pub fn end(mut self) -> io::Result<u64> {
        self.join().unwrap_or(Ok(0))
    }

    fn join(&mut self) -> Option<io::Result<u64>> {
        drop(self.stop.take());
        // Should it have panicked, that has been told.
        self.thread.take()?.join().ok()
    }
}

impl Drop for MessageLog {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

struct Writer {
    out: BufWriter<File>,
    rows: u64,
    beyond: u64,
}

impl Writer {
    fn take(&mut self, shared: &Shared) -> io::Result<()> {
        let epoch = shared.recorder.clock();
        let mut written = Ok(());
        let beyond = shared.network.take_passages(|from, to, passage| {
            if self.rows >= MOST || written.is_err() {
                self.beyond += 1;
                return;
            }
            self.rows += 1;
            written = self.row(epoch, from, to, &passage);
        });
        self.beyond += beyond;
        written
    }

    fn row(&mut self, epoch: Instant, from: &str, to: &str, passage: &Passage) -> io::Result<()> {
        let ms = |at: Instant| at.saturating_duration_since(epoch).as_secs_f64() * 1e3;
        let kind = if passage.datagram { "udp" } else { "tcp" };
        write!(self.out, "{from},{to},{kind},{},{:.3},", passage.bytes, ms(passage.received))?;
        match passage.handed_on {
            Some(at) => writeln!(self.out, "{:.3}", ms(at)),
            None => writeln!(self.out),
        }
    }
}
