//! What the frames of a stream have told so far. The wire writes it, the stream reads it; and the
//! two meet here over the bytes in between, which the wire must be able to throw away.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::Stream as _;
use futures::task::{AtomicWaker, noop_waker_ref};

use super::unread::Unread;
use crate::LaneError;
use crate::yamux::Shared;

/// The peer shut down its side, and all of it has reached yamux.
const PEER_FINISHED: u8 = 1;
/// The peer reset the stream.
const PEER_RESET: u8 = 2;
/// The peer knows of the stream.
const ANNOUNCED: u8 = 4;
/// We shut down our side, and the peer was told.
const FINISHED: u8 = 8;
/// We reset the stream because nobody read it.
const SHED: u8 = 16;
/// Its owner let go of it.
const DROPPED: u8 = 32;

/// The facts of one stream, and what yamux gave us of it.
#[derive(Default)]
pub(in crate::yamux) struct Mark {
    facts: AtomicU8,
    unread: Unread,
    /// A writer that waits. yamux wakes its own only for what it is told, and not of a shed stream.
    pub(in crate::yamux) writer: AtomicWaker,
    /// `Some` while the stream has an owner. Waited for only in the moment it is shed: else the
    /// wire could not free the memory of a stream whose owner never polls it again.
    inner: Mutex<Option<::yamux::Stream>>,
}

impl Mark {
    /// For a stream we open.
    pub(super) fn new(unread: Unread) -> Self {
        Self { unread, ..Self::default() }
    }

    /// For a stream that the peer opened, and perhaps shut down with the same frame.
    pub(super) fn announced(finished_by_peer: bool, unread: Unread) -> Self {
        let finished = if finished_by_peer { PEER_FINISHED } else { 0 };
        Self { facts: AtomicU8::new(ANNOUNCED | finished), ..Self::new(unread) }
    }

    /// Keeps yamux's end of the stream until [`Mark::let_go`].
    pub(in crate::yamux) fn hold(&self, inner: ::yamux::Stream) {
        *self.lock() = Some(inner);
    }

    /// Works with yamux's end of the stream; `None` once it was let go of.
    pub(in crate::yamux) fn with<R>(
        &self,
        work: impl FnOnce(Pin<&mut ::yamux::Stream>, &Unread) -> R,
    ) -> Option<R> {
        self.lock().as_mut().map(|inner| work(Pin::new(inner), &self.unread))
    }

    /// Ends the stream for yamux, and throws away what nobody will read now.
    pub(in crate::yamux) fn let_go(&self) {
        self.set(DROPPED);
        self.discard();
        let inner = self.lock().take();
        drop(inner);
    }

    /// Throws away what is unread and lets no more in. The caller tells the peer, and sees to it
    /// that no body is under way.
    pub(super) fn shed(&self) {
        // First: a reader that finds nothing shall see why.
        self.set(SHED);
        self.discard();
        self.writer.wake();
    }

    pub(super) fn unread(&self) -> &Unread {
        &self.unread
    }

    pub(in crate::yamux) fn is_shed(&self) -> bool {
        self.has(SHED)
    }

    /// Whether nobody will read what comes.
    pub(super) fn wants_no_more(&self) -> bool {
        self.has(SHED | DROPPED)
    }

    pub(in crate::yamux) fn peer_finished(&self) -> bool {
        self.has(PEER_FINISHED)
    }

    pub(in crate::yamux) fn peer_reset(&self) -> bool {
        self.has(PEER_RESET)
    }

    /// An end counts only if it came before the reset: after it, nothing is known to be complete.
    pub(super) fn set_peer_finished(&self) {
        if !self.peer_reset() {
            self.set(PEER_FINISHED);
        }
    }

    pub(super) fn set_peer_reset(&self) {
        self.set(PEER_RESET);
    }

    pub(super) fn set_announced(&self) {
        self.set(ANNOUNCED);
    }

    pub(super) fn set_finished(&self) {
        self.set(FINISHED);
    }

    /// Whether a stream dropped in this state leaves the peer waiting for something.
    pub(super) fn needs_reset(&self) -> bool {
        // A shed stream was reset already.
        let over = self.has(PEER_RESET | SHED) || (self.has(FINISHED) && self.peer_finished());
        self.has(ANNOUNCED) && !over
    }

    fn has(&self, fact: u8) -> bool {
        self.facts.load(Ordering::Acquire) & fact != 0
    }

    fn set(&self, fact: u8) {
        self.facts.fetch_or(fact, Ordering::AcqRel);
    }

    fn discard(&self) {
        let mut inner = self.lock();
        let Some(inner) = inner.as_mut() else { return };
        // Chunk by chunk, uncopied. It stops short of polling an empty stream, in which yamux
        // would forget a reader's waker.
        let mut cx = Context::from_waker(noop_waker_ref());
        while self.unread.bytes() > 0 {
            let Poll::Ready(Some(Ok(chunk))) = Pin::new(&mut *inner).poll_next(&mut cx) else { break };
            self.unread.release(chunk.as_ref().len());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<::yamux::Stream>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mark")
            .field("announced", &self.has(ANNOUNCED))
            .field("finished", &self.has(FINISHED))
            .field("peer_finished", &self.peer_finished())
            .field("peer_reset", &self.peer_reset())
            .field("shed", &self.is_shed())
            .field("unread", &self.unread.bytes())
            .finish_non_exhaustive()
    }
}

/// The marks of all streams yamux holds: from just after it made one until its last frame, so the
/// map is never smaller than yamux's own.
pub(super) struct Marks {
    by_stream: HashMap<u32, Arc<Mark>>,
    shared: Arc<Shared>,
}

impl Marks {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { by_stream: HashMap::new(), shared }
    }

    pub(super) fn insert(&mut self, id: u32, mark: Mark) -> Result<Arc<Mark>, LaneError> {
        let mark = Arc::new(mark);
        match self.by_stream.entry(id) {
            Entry::Occupied(_) => return Err(LaneError::Protocol(format!("stream {id} opened twice"))),
            Entry::Vacant(place) => place.insert(Arc::clone(&mark)),
        };
        self.shared.set_held(self.by_stream.len());
        Ok(mark)
    }

    pub(super) fn get(&self, id: u32) -> Option<&Arc<Mark>> {
        self.by_stream.get(&id)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Arc<Mark>> {
        let mark = self.by_stream.remove(&id);
        // Peaks are rare and streams many: give the memory of a peak back.
        if self.by_stream.capacity() > 64 && self.by_stream.len() * 8 < self.by_stream.capacity() {
            self.by_stream.shrink_to(self.by_stream.len() * 2);
        }
        self.shared.set_held(self.by_stream.len());
        mark
    }

    /// For a new stream.
    pub(super) fn unread(&self) -> Unread {
        Unread::new(self.shared.budget())
    }

    /// Sheds stalled streams while the budget is short, but not `spared`; which ones.
    pub(super) fn sweep(&self, spared: Option<u32>) -> Vec<u32> {
        let Some(budget) = self.shared.budget() else { return Vec::new() };
        let mut shed = Vec::new();
        for (&id, mark) in &self.by_stream {
            if !budget.is_pressed() {
                break;
            }
            if mark.unread.is_stalled() && !mark.wants_no_more() && spared != Some(id) {
                mark.shed();
                shed.push(id);
            }
        }
        shed
    }

    /// Whether yamux must not be shown another new stream.
    pub(super) fn are_too_many(&self) -> bool {
        self.shared.holds_too_many()
    }
}
