//! What the streams of a lane have handed to yamux and the wire has not taken yet. yamux keeps some
//! twelve frames of each stream, whatever the socket does; so behind a peer that stops reading a
//! thousand streams would hold a thousand times that.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::wire::Mark;

/// Bytes that wait at most, but for one frame of each thread and for what is small. A lone stream
/// never gets there.
const LIMIT: isize = 1 << 20;
/// What is no longer goes to yamux however much waits there. It takes turns with the others' frames
/// then, and not with all that wait.
pub(super) const SMALL: usize = 2 << 10;

#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Below zero for a moment, when the wire is faster than a stream at counting.
    bytes: AtomicIsize,
    /// As many as are in the list, so that nobody locks it for nothing.
    count: AtomicUsize,
    /// Streams that wait for room, longest first.
    waiting: Mutex<VecDeque<Arc<Mark>>>,
}

impl Backlog {
    /// Waits until there is room, or somebody thinks so.
    pub(super) fn poll_room(&self, mark: &Arc<Mark>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        mark.writer.register(cx.waker());
        if mark.set_waiting() {
            let mut waiting = self.lock();
            waiting.push_back(Arc::clone(mark));
            self.count.store(waiting.len(), Ordering::SeqCst);
        }
        // What was taken before we were in the list has woken nobody.
        if self.is_full() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Counts what yamux was given.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes.cast_signed(), Ordering::SeqCst);
    }

    /// Takes off what the wire took, and lets somebody else write.
    pub(super) fn take(&self, bytes: usize) {
        let left = self.bytes.fetch_sub(bytes.cast_signed(), Ordering::SeqCst) - bytes.cast_signed();
        if left <= LIMIT / 2 && self.count.load(Ordering::SeqCst) > 0 {
            // One a frame keeps it half full; with nothing left nobody would come by for the rest.
            self.wake(if left > 0 { 1 } else { usize::MAX });
        }
    }

    /// Has all who wait look again.
    pub(super) fn wake_all(&self) {
        self.wake(usize::MAX);
    }

    fn wake(&self, most: usize) {
        let mut waiting = self.lock();
        let most = most.min(waiting.len());
        let woken: Vec<_> = waiting.drain(..most).collect();
        self.count.store(waiting.len(), Ordering::SeqCst);
        drop(waiting);
        woken.iter().for_each(|mark| mark.call());
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) >= LIMIT
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Mark>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
