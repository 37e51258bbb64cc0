//! Bytes that came for streams and wait to be read, bounded over all lanes of a process: a visitor
//! who does not read costs a window, and no lane alone can see that they are too many.
//!
//! Who is shed must not depend on whose frame came last. A stalled stream has filled its window and
//! gets no more frames; those that get frames are being read. So all lanes look through their
//! streams while the budget is half used, and shed the ones nobody reads.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::yamux::Shared;

/// Unread bytes a stream may always hold, however much the budget is used: a stream with no more
/// is never shed.
pub const FAIR_SHARE: usize = 64 << 10;

/// A bound on received bytes that wait to be read, in bytes, for all lanes whose
/// [`Config::receive_budget`](crate::Config::receive_budget) holds a clone.
///
/// Streams with more than [`FAIR_SHARE`] unread are shed ([`is_shed`](crate::is_shed)): reset both
/// ways, and their bytes thrown away at once, even if their owner never looks at them again.
///
/// - From half of the budget on: streams of which nothing was read while a quarter of the budget
///   came in for all lanes together.
/// - With all of it used: whichever stream the next frame is for.
///
/// Worst case: `bytes`, and for each live stream [`FAIR_SHARE`] (256 KiB if the peer opened it, until
/// it is found stalled), and for each lane one frame (at most 1 MiB). Streams of a lane that is gone
/// are not shed: they count until they are read or dropped.
#[derive(Clone)]
pub struct Budget(Arc<Books>);

struct Books {
    limit: AtomicU64,
    /// Bytes ever counted. Also the clock by which a stream is found stalled.
    received: AtomicU64,
    /// Bytes ever taken off again.
    released: AtomicU64,
    /// What `received` must reach before the lanes are woken again.
    next_sweep: AtomicU64,
    sweeps: AtomicU64,
    lanes: Mutex<Vec<Weak<Shared>>>,
}

impl Budget {
    /// A budget of `bytes`. A useful one holds thousands of [`FAIR_SHARE`]s: 256 MiB, say.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Books {
            limit: AtomicU64::new(bytes as u64),
            received: AtomicU64::new(0),
            released: AtomicU64::new(0),
            next_sweep: AtomicU64::new(0),
            sweeps: AtomicU64::new(0),
            lanes: Mutex::default(),
        }))
    }

    /// Bytes that wait to be read now, on all lanes.
    #[must_use]
    pub fn used(&self) -> u64 {
        // In this order: what is seen released was received before.
        let released = self.0.released.load(Ordering::Acquire);
        self.0.received.load(Ordering::Acquire).saturating_sub(released)
    }

    /// The bytes it was made with, or set to last.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed)
    }

    /// Changes the bound, from the next received frame on.
    pub fn set_limit(&self, bytes: usize) {
        self.0.limit.store(bytes as u64, Ordering::Relaxed);
    }

    /// Adds a lane to those that look for stalled streams when told to.
    pub(crate) fn join(&self, lane: &Arc<Shared>) {
        let mut lanes = self.lanes();
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.push(Arc::downgrade(lane));
    }

    /// Counts bytes, and tells all lanes to look for stalled streams if there are many by now.
    pub(crate) fn charge(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.is_pressed() {
            self.order_sweep();
        }
    }

    pub(crate) fn release(&self, bytes: usize) {
        // What is released was charged before: whoever sees this sees that.
        self.0.released.fetch_add(bytes as u64, Ordering::Release);
    }

    pub(crate) fn clock(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Whether a stream of which nothing was read since `clock` counts as stalled.
    pub(crate) fn is_stale(&self, clock: u64) -> bool {
        self.clock().saturating_sub(clock) >= self.limit() / 4
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.used() > self.limit() / 2
    }

    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes as u64) <= self.limit()
    }

    /// How often a sweep was ordered: a lane that sees a new number has to sweep.
    pub(crate) fn sweeps(&self) -> u64 {
        self.0.sweeps.load(Ordering::Acquire)
    }

    /// Wakes all lanes, unless that was done just now: hardly any stream has become stale since.
    fn order_sweep(&self) {
        let now = self.clock();
        let due = self.0.next_sweep.load(Ordering::Relaxed);
        let next = now + (self.limit() / 16).max(1);
        if now < due
            || self.0.next_sweep.compare_exchange(due, next, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return;
        }
        self.0.sweeps.fetch_add(1, Ordering::AcqRel);
        let lanes: Vec<_> = self.lanes().iter().filter_map(Weak::upgrade).collect();
        for lane in lanes {
            lane.requests.wake();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same budget, not one of the same size.
impl PartialEq for Budget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Budget {}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("used", &self.used()).field("limit", &self.limit()).finish()
    }
}
