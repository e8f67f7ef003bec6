//! Buffers that idle connections do not own: each worker keeps a few and lends them for the length of a read.

use std::cell::RefCell;

/// What one read takes in at most: smaller ones halve the throughput, larger ones gain nothing.
pub(super) const SIZE: usize = 64 * 1024;
/// Kept by each worker: the rest goes back to the allocator.
const KEPT: usize = 16;
/// Reads shorter than this are copied into a vector of their own size rather than pin a whole buffer.
const SHORT: usize = SIZE / 4;

thread_local! {
    static FREE: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// [`SIZE`] initialised bytes.
pub(super) type Buffer = Box<[u8]>;

pub(super) fn take() -> Buffer {
    FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
}

pub(super) fn give(buffer: Buffer) {
    FREE.with_borrow_mut(|free| {
        if buffer.len() == SIZE && free.len() < KEPT {
            free.push(buffer);
        }
    });
}

/// Bytes on their way, with as little memory around them as is worth the copy.
pub(super) struct Bytes {
    buffer: Buffer,
    start: usize,
    end: usize,
}

impl Bytes {
    /// `buffer[start..end]`; the buffer comes back when the bytes were few enough to be copied.
    pub fn keep(buffer: Buffer, start: usize, end: usize) -> (Self, Option<Buffer>) {
        if end - start >= SHORT {
            return (Self { buffer, start, end }, None);
        }
        let copy: Buffer = buffer[start..end].into();
        let end = copy.len();
        (Self { buffer: copy, start: 0, end }, Some(buffer))
    }

    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub fn advance(&mut self, by: usize) {
        self.start += by;
        debug_assert!(self.start <= self.end);
    }

    /// Memory it takes.
    pub fn footprint(&self) -> usize {
        self.buffer.len()
    }

    pub fn recycle(self) {
        give(self.buffer);
    }
}
