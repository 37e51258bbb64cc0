//! Bytes that came for streams and wait to be read, bounded over all lanes of a process: a visitor
//! who does not read costs a window, and no lane alone can see that they are too many.
//!
//! Who is shed must not depend on whose frame came last. A stalled stream has filled its window and
//! gets no more frames; those that get frames are being read. So all lanes look through their
//! streams while the budget is half used, and shed the ones nobody reads.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::yamux::Shared;

/// Unread bytes a stream may hold however much the budget is used. A stream with no more is never
/// shed, unless its owner has used up an allowance of its own ([`Budget::apart`]).
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
/// Owners who mustn't harm each other get budgets made by [`apart`](Self::apart). Each owner's lanes
/// together may use three quarters of what all others leave, but at least a 64th of the budget. The
/// rules above then hold for that allowance, and what comes in for that owner. Since many streams
/// with little unread are much, there are two rules for those as well:
///
/// - From three quarters of the allowance on: streams of which nothing was read while half of the
///   budget came in.
/// - With all of it used: whichever stream the next frame is for, if it has some unread and would
///   have more than a quarter of [`FAIR_SHARE`].
///
/// Worst case: `bytes` (and a 64th of it for each owner), and for each live stream [`FAIR_SHARE`]
/// (256 KiB if the peer opened it, until it is found stalled), and for each lane one frame (at most
/// 1 MiB). Streams of a lane that is gone are not shed: they count until they are read or dropped.
#[derive(Clone)]
pub struct Budget {
    books: Arc<Books>,
    /// Whose lanes these are, if others have lanes too.
    owner: Option<Arc<Owner>>,
}

/// What one owner's lanes use.
#[derive(Default)]
struct Owner {
    /// Below zero for a moment when a byte is read before it is counted.
    used: AtomicI64,
    /// Bytes ever counted: the clock by which its streams are found stalled.
    received: AtomicU64,
}

struct Books {
    limit: AtomicU64,
    /// Bytes ever counted. Also the clock by which a stream is found stalled, unless its owner has one.
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
        let books = Books {
            limit: AtomicU64::new(bytes as u64),
            received: AtomicU64::new(0),
            released: AtomicU64::new(0),
            next_sweep: AtomicU64::new(0),
            sweeps: AtomicU64::new(0),
            lanes: Mutex::default(),
        };
        Self { books: Arc::new(books), owner: None }
    }

    /// The same budget for the lanes of another owner, who can't use up all of it.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { books: Arc::clone(&self.books), owner: Some(Arc::default()) }
    }

    /// Bytes that wait to be read now, on all lanes.
    #[must_use]
    pub fn used(&self) -> u64 {
        // In this order: what is seen released was received before.
        let released = self.books.released.load(Ordering::Acquire);
        self.books.received.load(Ordering::Acquire).saturating_sub(released)
    }

    /// The bytes it was made with, or set to last.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.books.limit.load(Ordering::Relaxed)
    }

    /// Changes the bound, from the next received frame on.
    pub fn set_limit(&self, bytes: usize) {
        self.books.limit.store(bytes as u64, Ordering::Relaxed);
    }

    /// Adds a lane to those that look for stalled streams when told to.
    pub(crate) fn join(&self, lane: &Arc<Shared>) {
        let mut lanes = self.lanes();
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.push(Arc::downgrade(lane));
    }

    /// Counts bytes, and tells all lanes to look for stalled streams if there are many by now.
    pub(crate) fn charge(&self, bytes: usize) {
        self.books.received.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(owner) = &self.owner {
            owner.used.fetch_add(bytes as i64, Ordering::Relaxed);
            owner.received.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        if self.is_pressed() {
            self.order_sweep();
        }
    }

    pub(crate) fn release(&self, bytes: usize) {
        // What is released was charged before: whoever sees this sees that.
        self.books.released.fetch_add(bytes as u64, Ordering::Release);
        if let Some(owner) = &self.owner {
            owner.used.fetch_sub(bytes as i64, Ordering::Relaxed);
        }
    }

    /// What came in, for the owner if there are others.
    pub(crate) fn clock(&self) -> u64 {
        let received = self.owner.as_ref().map_or(&self.books.received, |owner| &owner.received);
        received.load(Ordering::Relaxed)
    }

    /// Whether a stream of which nothing was read since `clock` counts as stalled.
    pub(crate) fn is_stale(&self, clock: u64) -> bool {
        self.clock().saturating_sub(clock) >= self.limit() / 4
    }

    /// The same for a stream with little unread, which is let lie for longer, and for ever while its owner isn't short.
    pub(crate) fn is_stale_though_small(&self, clock: u64) -> bool {
        let is_short = || self.owner_used() > self.allowance() / 4 * 3;
        self.clock().saturating_sub(clock) >= self.limit() / 2 && self.owner.is_some() && is_short()
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.owner_used() > self.allowance() / 2
    }

    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.owner_used().saturating_add(bytes as u64) <= self.allowance()
    }

    /// What a stream may hold however much is used.
    pub(crate) fn fair_share(&self) -> usize {
        if self.owner.is_some() && self.owner_used() > self.allowance() { FAIR_SHARE / 4 } else { FAIR_SHARE }
    }

    /// What the owner's lanes use.
    fn owner_used(&self) -> u64 {
        let Some(owner) = &self.owner else { return self.used() };
        owner.used.load(Ordering::Relaxed).max(0).unsigned_abs()
    }

    /// What they may use.
    fn allowance(&self) -> u64 {
        if self.owner.is_none() {
            return self.limit();
        }
        let of_others = self.used().saturating_sub(self.owner_used());
        (self.limit().saturating_sub(of_others) / 4 * 3).max(self.limit() / 64)
    }

    /// How often a sweep was ordered: a lane that sees a new number has to sweep.
    pub(crate) fn sweeps(&self) -> u64 {
        self.books.sweeps.load(Ordering::Acquire)
    }

    /// Wakes all lanes, unless that was done just now: hardly any stream has become stale since.
    fn order_sweep(&self) {
        let now = self.books.received.load(Ordering::Relaxed);
        let due = self.books.next_sweep.load(Ordering::Relaxed);
        let next = now + (self.limit() / 16).max(1);
        if now < due
            || self.books.next_sweep.compare_exchange(due, next, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return;
        }
        self.books.sweeps.fetch_add(1, Ordering::AcqRel);
        let lanes: Vec<_> = self.lanes().iter().filter_map(Weak::upgrade).collect();
        for lane in lanes {
            lane.requests.wake();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.books.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same budget, not one of the same size.
impl PartialEq for Budget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.books, &other.books)
    }
}

impl Eq for Budget {}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("used", &self.used()).field("limit", &self.limit()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_may_use_three_quarters_of_what_others_leave() {
        let all = Budget::new(16 * FAIR_SHARE);
        let (greedy, modest) = (all.apart(), all.apart());
        assert!(all.has_room_for(16 * FAIR_SHARE), "alone it is all there is");
        assert!(greedy.has_room_for(12 * FAIR_SHARE) && !greedy.has_room_for(12 * FAIR_SHARE + 1));
        greedy.charge(12 * FAIR_SHARE);
        assert_eq!(greedy.fair_share(), FAIR_SHARE);
        assert!(modest.has_room_for(3 * FAIR_SHARE) && !modest.has_room_for(3 * FAIR_SHARE + 1));
        assert!(!modest.is_stale_though_small(0), "it isn't short, whatever the other does");
        assert!(greedy.is_stale_though_small(0), "nothing was read while three quarters came");
        assert!(!greedy.is_stale_though_small(greedy.clock()));
        modest.charge(2 * FAIR_SHARE);
        // What is left of it shrinks with what others use.
        assert_eq!(greedy.fair_share(), FAIR_SHARE / 4);
        assert_eq!(modest.fair_share(), FAIR_SHARE);
        greedy.release(12 * FAIR_SHARE);
        modest.release(2 * FAIR_SHARE);
        assert_eq!((all.used(), greedy.owner_used(), modest.owner_used()), (0, 0, 0));
        assert!(!greedy.is_pressed() && greedy.has_room_for(12 * FAIR_SHARE));
    }
}
