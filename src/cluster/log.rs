//! A node's log: what it printed, line by line with receive times, in bounded space and without ever making it wait.
//!
//! ```text
//!      0.012 ---  started, pid 4711: python3 /home/ann/node.py --id A --port 8000
//!      0.231 out  listening on 8000
//!      3.001 err  Traceback (most recent call last):
//!      3.002 ---  ended: killed by signal 9 (SIGKILL)
//! ```
//!
//! Times are seconds since the run began, taken when the line's first byte arrived. `out+` and `err+` continue a line
//! that was split because it was too long.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Longer lines are split, so that a line without an end cannot grow for ever.
pub const MAX_LINE_BYTES: usize = 8 * 1024;
/// How many last lines are kept in memory.
pub const RING_LINES: usize = 200;
/// How many characters of each of them.
const RING_CHARS: usize = 512;
/// How many last lines the file ends with when it could not hold everything.
const CLOSING_LINES: usize = 50;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Out,
    Err,
    /// The harness's own remark.
    Harness,
}

/// How much a node has printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Lines, those dropped included.
    pub lines: u64,
    /// Bytes, those dropped included.
    pub bytes: u64,
    /// Lines that are not in the file because it had reached its limit.
    pub dropped_lines: u64,
    /// Bytes that are not in the file.
    pub dropped_bytes: u64,
    /// Whether the file could not be written (disk full …); output is drained all the same.
    pub write_failed: bool,
}

/// A node's log over all its lives.
#[derive(Debug)]
pub(crate) struct Log {
    epoch: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Bytes of node output the file may still take.
    room_bytes: u64,
    limit_bytes: u64,
    /// Whether something was dropped since the file was last closed off.
    owes_remark: bool,
    stats: LogStats,
    ring: VecDeque<String>,
    /// Lines formatted but not yet handed to the operating system.
    pending: Vec<u8>,
}

impl Log {
    /// Creates the file (and its directory), replacing what was there.
    pub(crate) fn create(path: &Path, limit_bytes: u64, epoch: Instant) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = File::create(path)?;
        let inner = Inner {
            file,
            room_bytes: limit_bytes,
            limit_bytes,
            owes_remark: false,
            stats: LogStats::default(),
            ring: VecDeque::with_capacity(RING_LINES),
            pending: Vec::new(),
        };
        Ok(Self { epoch, inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a remark of the harness. It has room beyond the limit.
    pub(crate) fn remark(&self, text: &str) {
        let mut inner = self.lock();
        let at = self.epoch.elapsed().as_secs_f64();
        inner.format(at, Mark::Harness, false, text);
        inner.flush();
    }

    /// Ends the file for now: says what was dropped, and how it ended.
    pub(crate) fn close_off(&self) {
        let mut inner = self.lock();
        if !std::mem::take(&mut inner.owes_remark) {
            return;
        }
        let at = self.epoch.elapsed().as_secs_f64();
        let LogStats { dropped_lines, dropped_bytes, .. } = inner.stats;
        let tail: Vec<String> =
            inner.ring.iter().rev().take(CLOSING_LINES).rev().map(String::clone).collect();
        let limit = inner.limit_bytes;
        let remark = format!("the limit of {limit} bytes is reached; what was printed last, shortened, was:");
        inner.format(at, Mark::Harness, false, &remark);
        for line in tail {
            inner.format(at, Mark::Harness, false, &format!("| {line}"));
        }
        let remark = format!("dropped {dropped_lines} lines ({dropped_bytes} bytes) beyond the limit");
        inner.format(at, Mark::Harness, false, &remark);
        inner.flush();
    }

    /// The last `count` lines, oldest first, without control characters.
    pub(crate) fn tail(&self, count: usize) -> Vec<String> {
        let inner = self.lock();
        let skipped = inner.ring.len().saturating_sub(count);
        inner.ring.iter().skip(skipped).cloned().collect()
    }

    pub(crate) fn stats(&self) -> LogStats {
        self.lock().stats
    }
}

impl Inner {
    fn format(&mut self, at_s: f64, mark: Mark, continued: bool, text: &str) {
        let name = match (mark, continued) {
            (Mark::Out, false) => "out ",
            (Mark::Out, true) => "out+",
            (Mark::Err, false) => "err ",
            (Mark::Err, true) => "err+",
            (Mark::Harness, _) => "--- ",
        };
        // Writing to a Vec cannot fail.
        let _ = writeln!(self.pending, "{at_s:>10.3} {name} {text}");
    }

    fn take(&mut self, at_s: f64, mark: Mark, continued: bool, line: &[u8]) {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        let cost = line.len() as u64 + 1;
        self.stats.lines += 1;
        self.stats.bytes += cost;
        if cost <= self.room_bytes {
            self.room_bytes -= cost;
            self.format(at_s, mark, continued, &text);
        } else {
            // No later, shorter line may slip in: the file is a prefix.
            self.room_bytes = 0;
            self.owes_remark = true;
            self.stats.dropped_lines += 1;
            self.stats.dropped_bytes += cost;
        }
        let mut kept = match self.ring.len() {
            RING_LINES => self.ring.pop_front().unwrap_or_default(),
            _ => String::new(),
        };
        kept.clear();
        let plain = text.chars().take(RING_CHARS).map(|char| match char {
            '\t' => ' ',
            char if char.is_control() => '\u{fffd}',
            char => char,
        });
        kept.extend(plain);
        self.ring.push_back(kept);
    }

    fn flush(&mut self) {
        if self.file.write_all(&self.pending).is_err() {
            self.stats.write_failed = true;
        }
        self.pending.clear();
    }
}

/// One stream of one life of a node, cut into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    mark: Mark,
    partial: Vec<u8>,
    partial_at_s: f64,
    continued: bool,
}

impl Lines {
    pub(crate) fn new(mark: Mark) -> Self {
        Self { mark, partial: Vec::new(), partial_at_s: 0.0, continued: false }
    }

    /// Takes what has just arrived.
    pub(crate) fn push(&mut self, log: &Log, mut bytes: &[u8]) {
        let at_s = log.epoch.elapsed().as_secs_f64();
        let mut inner = log.lock();
        while !bytes.is_empty() {
            if self.partial.is_empty() {
                self.partial_at_s = at_s;
            }
            let room = MAX_LINE_BYTES - self.partial.len();
            let window = &bytes[..bytes.len().min(room)];
            let end = memchr::memchr(b'\n', window);
            let piece = &window[..end.unwrap_or(window.len())];
            let consumed = piece.len() + usize::from(end.is_some());
            if end.is_some() && self.partial.is_empty() {
                inner.take(at_s, self.mark, self.continued, piece);
                self.continued = false;
            } else {
                self.partial.extend_from_slice(piece);
                if end.is_some() || self.partial.len() == MAX_LINE_BYTES {
                    inner.take(self.partial_at_s, self.mark, self.continued, &self.partial);
                    self.partial.clear();
                    self.continued = end.is_none();
                }
            }
            bytes = &bytes[consumed..];
        }
        inner.flush();
    }

    /// The stream has ended: an unfinished last line is a line.
    pub(crate) fn finish(&mut self, log: &Log) {
        if !self.partial.is_empty() {
            let mut inner = log.lock();
            inner.take(self.partial_at_s, self.mark, self.continued, &self.partial);
            inner.flush();
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        _dir: tempfile::TempDir,
        path: std::path::PathBuf,
        log: Log,
    }

    fn fixture(limit_bytes: u64) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodes/A.log");
        let log = Log::create(&path, limit_bytes, Instant::now()).unwrap();
        Fixture { _dir: dir, path, log }
    }

    /// The file's lines without their times.
    fn lines(fixture: &Fixture) -> Vec<String> {
        let text = std::fs::read_to_string(&fixture.path).unwrap();
        text.lines().map(|line| line[11..].to_owned()).collect()
    }

    #[test]
    fn lines_are_put_together_across_reads() {
        let fixture = fixture(1000);
        let mut out = Lines::new(Mark::Out);
        let mut err = Lines::new(Mark::Err);
        out.push(&fixture.log, b"one\r\ntw");
        err.push(&fixture.log, b"oh\xff no\x1b[31m\n");
        out.push(&fixture.log, b"o\n\nrest");
        out.finish(&fixture.log);
        fixture.log.remark("done");
        let expected =
            ["out  one", "err  oh\u{fffd} no\u{1b}[31m", "out  two", "out  ", "out  rest", "---  done"];
        assert_eq!(lines(&fixture), expected);
        assert_eq!(fixture.log.tail(4), ["oh\u{fffd} no\u{fffd}[31m", "two", "", "rest"]);
    }

    #[test]
    fn a_line_without_end_is_split() {
        let fixture = fixture(1 << 20);
        let mut out = Lines::new(Mark::Out);
        for _ in 0..3 {
            out.push(&fixture.log, &vec![b'x'; MAX_LINE_BYTES - 1]);
        }
        out.push(&fixture.log, b"\nshort\n");
        let lines = lines(&fixture);
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("out  x") && lines[0].len() == MAX_LINE_BYTES + 5);
        assert!(lines[1].starts_with("out+ x") && lines[2].starts_with("out+ x"));
        assert_eq!(lines[3], "out  short");
    }

    #[test]
    fn beyond_the_limit_lines_are_counted_and_the_last_ones_kept() {
        let fixture = fixture(100);
        let mut out = Lines::new(Mark::Out);
        for number in 0..1000 {
            out.push(&fixture.log, format!("line {number}\n").as_bytes());
        }
        fixture.log.close_off();
        fixture.log.close_off();
        let lines = lines(&fixture);
        assert_eq!(lines[0], "out  line 0");
        assert_eq!(
            lines[13],
            "---  the limit of 100 bytes is reached; what was printed last, shortened, was:"
        );
        assert_eq!(lines[63], "---  | line 999");
        assert_eq!(lines[64..], ["---  dropped 987 lines (8796 bytes) beyond the limit"]);
        assert_eq!(fixture.log.tail(1), ["line 999"]);
        assert_eq!(fixture.log.tail(10_000).len(), RING_LINES);
        assert_eq!(fixture.log.stats().lines, 1000);
    }

    #[test]
    fn a_full_disk_does_not_stop_the_draining() {
        let mut fixture = fixture(1000);
        let reader = File::open(&fixture.path).unwrap();
        fixture.log.inner.get_mut().unwrap().file = reader;
        Lines::new(Mark::Out).push(&fixture.log, b"one\n");
        assert!(fixture.log.stats().write_failed);
        assert_eq!(fixture.log.tail(1), ["one"]);
    }
}
