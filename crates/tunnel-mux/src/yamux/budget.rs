//! How many streams a lane carries, counted where each fact is known: `live` by the streams
//! themselves, `held` by the frames that pass the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::requests::Requests;

/// What the handles of a lane and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Opens waiting for the driver.
    pub(crate) requests: Requests,
    capacity: usize,
    held_limit: usize,
    live: AtomicUsize,
    held: AtomicUsize,
    lost: AtomicBool,
}

impl Shared {
    pub(super) fn new(capacity: usize, held_limit: usize) -> Self {
        Self {
            requests: Requests::default(),
            capacity,
            held_limit,
            live: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Permits given out.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Streams yamux holds: the live ones, and the dropped ones it has not announced yet. Never
    /// fewer than yamux itself counts.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Only the wire knows.
    pub(super) fn set_held(&self, held: usize) {
        self.held.store(held, Ordering::Release);
    }

    /// Whether one more stream could take yamux to its limit, over which the session ends.
    pub(super) fn holds_too_many(&self) -> bool {
        self.held() + 1 >= self.held_limit
    }

    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

/// A place in a lane's budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Shared>);

impl Permit {
    /// A place for a stream of ours, unless the budget is used up.
    pub(crate) fn within_budget(shared: &Arc<Shared>) -> Option<Self> {
        let take = |live: usize| (live < shared.capacity).then_some(live + 1);
        shared.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok()?;
        Some(Self(Arc::clone(shared)))
    }

    /// A place for a stream the peer opened, which the wire has admitted already.
    pub(super) fn for_inbound(shared: &Arc<Shared>) -> Self {
        shared.live.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::AcqRel);
    }
}
