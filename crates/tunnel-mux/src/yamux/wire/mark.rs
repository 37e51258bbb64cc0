//! What the frames of a stream have told so far. The wire writes it, the stream reads it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

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

/// The facts of one stream.
#[derive(Default)]
pub(in crate::yamux) struct Mark(AtomicU8);

impl Mark {
    /// For a stream that the peer opened, and perhaps shut down with the same frame.
    pub(super) fn announced(finished_by_peer: bool) -> Self {
        let finished = if finished_by_peer { PEER_FINISHED } else { 0 };
        Self(AtomicU8::new(ANNOUNCED | finished))
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
        let over = self.peer_reset() || (self.has(FINISHED) && self.peer_finished());
        self.has(ANNOUNCED) && !over
    }

    fn has(&self, fact: u8) -> bool {
        self.0.load(Ordering::Acquire) & fact != 0
    }

    fn set(&self, fact: u8) {
        self.0.fetch_or(fact, Ordering::AcqRel);
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mark")
            .field("announced", &self.has(ANNOUNCED))
            .field("finished", &self.has(FINISHED))
            .field("peer_finished", &self.peer_finished())
            .field("peer_reset", &self.peer_reset())
            .finish()
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

    /// Whether yamux must not be shown another new stream.
    pub(super) fn are_too_many(&self) -> bool {
        self.shared.holds_too_many()
    }
}
