//! What the streams of a lane have handed to yamux and the wire has not taken yet. yamux keeps some
//! eleven frames of each stream, whatever the socket does; so behind a peer that stops reading a
//! thousand streams would hold 350 MiB. From some bytes on frames are small, and nobody waits for
//! anybody else.

use std::sync::atomic::{AtomicIsize, Ordering};

/// Bytes from which on frames are small. A dozen streams that move bulk don't get there.
const MANY: isize = 4 << 20;
/// A small frame, in bytes.
const SMALL: usize = 4 << 10;

#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Below zero for a moment, when the wire is faster than a stream at counting.
    bytes: AtomicIsize,
}

impl Backlog {
    /// What of `body` may be in a frame now.
    pub(super) fn piece<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        let is_full = self.bytes.load(Ordering::Relaxed) >= MANY;
        if is_full { &body[..body.len().min(SMALL)] } else { body }
    }

    /// Counts what yamux was given.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes.cast_signed(), Ordering::Relaxed);
    }

    /// Takes off what the wire took.
    pub(super) fn take(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes.cast_signed(), Ordering::Relaxed);
    }
}
