//! Socket buffers that exist only while they hold bytes. They come from a small pool of the
//! thread, since a busy lane would otherwise allocate one for each burst.

use std::cell::RefCell;
use std::io;
use std::task::{Poll, ready};

/// Size of a buffer, in bytes: four TLS records.
pub(super) const BUFFER_SIZE: usize = 64 << 10;
/// Buffers a thread keeps. A driver uses two at a time, and holds on to one only while blocked.
const POOLED: usize = 4;

/// How much is copied in one go. From some 2,100 bytes on glibc copies with `rep movsb`, which is some fifteen times
/// slower on some of AMD's processors if the target's place in its page is a few bytes behind the source's: and frames
/// with their headers drift through all places.
const PIECE: usize = 2048;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A queue of bytes.
#[derive(Default)]
pub(super) struct Buffer {
    /// `Some` if and only if `start < end`, except within [`Buffer::poll_fill`].
    memory: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn filled(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory[self.start..self.end])
    }

    /// Bytes that can be put. Free space at the front counts once it is worth moving the rest.
    pub(super) fn room(&mut self) -> usize {
        if let Some(memory) = &mut self.memory
            && self.start >= BUFFER_SIZE / 2
        {
            // The front is at least as long as the rest.
            let (front, rest) = memory.split_at_mut(self.start);
            self.end -= self.start;
            self.start = 0;
            copy(&mut front[..self.end], &rest[..self.end]);
        }
        BUFFER_SIZE - self.end
    }

    /// Appends as much as there is room for; how much that was.
    pub(super) fn put(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        if taken > 0 {
            let memory = self.memory.get_or_insert_with(take_pooled);
            copy(&mut memory[self.end..self.end + taken], &bytes[..taken]);
            self.end += taken;
        }
        taken
    }

    /// Moves bytes out to `out`; how many.
    pub(super) fn take(&mut self, out: &mut [u8]) -> usize {
        let taken = out.len().min(self.filled().len());
        copy(&mut out[..taken], &self.filled()[..taken]);
        self.discard(taken)
    }

    /// Drops up to `bytes` from the front; how many.
    pub(super) fn discard(&mut self, bytes: usize) -> usize {
        let gone = bytes.min(self.end - self.start);
        self.start += gone;
        self.release_if_empty();
        gone
    }

    /// Lets `read` fill the buffer, which must be empty.
    pub(super) fn poll_fill(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.is_empty(), "filled over unread bytes");
        let result = read(self.memory.get_or_insert_with(take_pooled));
        if let Poll::Ready(Ok(n)) = result {
            self.end = n.min(BUFFER_SIZE);
        }
        self.release_if_empty();
        let n = ready!(result)?;
        Poll::Ready(Ok(n))
    }

    #[cfg(test)]
    pub(super) fn holds_memory(&self) -> bool {
        self.memory.is_some()
    }

    fn release_if_empty(&mut self) {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            if let Some(memory) = self.memory.take() {
                give_back(memory);
            }
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            give_back(memory);
        }
    }
}

/// Copies piece by piece, `to` being as long as `from`.
fn copy(to: &mut [u8], from: &[u8]) {
    debug_assert_eq!(to.len(), from.len(), "bytes would be left out");
    for (to, from) in to.chunks_mut(PIECE).zip(from.chunks(PIECE)) {
        to.copy_from_slice(from);
    }
}

fn take_pooled() -> Box<[u8]> {
    // A thread that is being torn down has no pool.
    let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
    pooled.unwrap_or_else(|| vec![0; BUFFER_SIZE].into_boxed_slice())
}

fn give_back(memory: Box<[u8]>) {
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < POOLED {
            pool.push(memory);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_memory_goes_back() {
        let mut buffer = Buffer::default();
        let all: Vec<u8> = (0..BUFFER_SIZE * 2).map(|i| (i % 251).to_le_bytes()[0]).collect();
        let (mut put, mut out) = (0, Vec::new());
        while out.len() < all.len() {
            put += buffer.put(&all[put..]);
            let mut piece = [0; 7001];
            let n = buffer.take(&mut piece);
            out.extend_from_slice(&piece[..n]);
        }
        assert!(out == all);
        assert!(buffer.is_empty() && !buffer.holds_memory());
    }

    #[test]
    fn a_full_buffer_takes_no_more() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.put(&vec![1; BUFFER_SIZE + 1]), BUFFER_SIZE);
        assert_eq!(buffer.put(&[1]), 0);
        buffer.discard(BUFFER_SIZE - 1);
        assert_eq!(buffer.room(), BUFFER_SIZE - 1);
    }

    #[test]
    fn a_read_without_result_leaves_no_memory_behind() {
        let mut buffer = Buffer::default();
        assert!(buffer.poll_fill(|_| Poll::Pending).is_pending());
        assert!(!buffer.holds_memory());
    }
}
