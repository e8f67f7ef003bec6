//! Bytes of a file one after another, with the line they stand on. A window of 64 KiB, whatever the file's size.

use std::io::Read;

const WINDOW: usize = 64 * 1024;

/// A file under the reader's eye.
pub(super) struct Bytes<R> {
    input: R,
    window: Box<[u8]>,
    at: usize,
    end: usize,
    /// The current line, from 1.
    pub(super) line: u64,
    /// The first error of the file system; reading then looks like the end of the file.
    pub(super) failed: Option<std::io::Error>,
    /// Whether the file has been read to its end.
    done: bool,
    /// The byte before the current one, 0 at the start.
    last: u8,
}

impl<R: Read> Bytes<R> {
    pub(super) fn new(input: R) -> Self {
        Bytes::with_window(input, WINDOW)
    }

    /// A window of another size, at least one byte.
    pub(super) fn with_window(input: R, size: usize) -> Self {
        let window = vec![0; size.max(1)].into_boxed_slice();
        Bytes { input, window, at: 0, end: 0, line: 1, failed: None, done: false, last: 0 }
    }

    /// The current byte; `None` at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        if self.at < self.end { Some(self.window[self.at]) } else { self.refill() }
    }

    #[cold]
    fn refill(&mut self) -> Option<u8> {
        if self.end > 0 {
            self.last = self.window[self.end - 1];
        }
        self.at = 0;
        self.end = 0;
        while !self.done {
            match self.input.read(&mut self.window) {
                Ok(0) => self.done = true,
                Ok(count) => {
                    self.end = count;
                    return Some(self.window[0]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    self.done = true;
                }
            }
        }
        None
    }

    /// Goes past the current byte, which is no line break.
    #[inline]
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// Goes past the current byte and counts lines.
    #[inline]
    pub(super) fn bump_any(&mut self) {
        if self.window[self.at] == b'\n' {
            self.line += 1;
        }
        self.at += 1;
    }

    /// The byte before the current one.
    pub(super) fn previous(&self) -> u8 {
        if self.at > 0 { self.window[self.at - 1] } else { self.last }
    }

    /// Fills the window as far as it goes without moving, and shows it: to tell formats apart.
    pub(super) fn head(&mut self) -> &[u8] {
        let _ = self.peek();
        while self.end < self.window.len() && !self.done {
            match self.input.read(&mut self.window[self.end..]) {
                Ok(0) => self.done = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    self.done = true;
                }
            }
        }
        &self.window[self.at..self.end]
    }

    /// Whether all there is has come into the window, and nothing failed.
    pub(super) fn ended(&self) -> bool {
        self.done && self.failed.is_none()
    }

    /// What is left of the window: the fast path of strings and lines.
    pub(super) fn rest(&self) -> &[u8] {
        &self.window[self.at..self.end]
    }

    /// Goes past `count` bytes of [`Bytes::rest`] that hold no line break.
    pub(super) fn skip(&mut self, count: usize) {
        self.at += count;
    }
}
