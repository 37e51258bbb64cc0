//! How many streams a lane carries, counted where each fact is known: `live` by the streams
//! themselves, `held` by the frames that pass the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::backlog::Backlog;
use super::requests::Requests;
use crate::Budget;

/// What the handles of a lane and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Opens waiting for the driver.
    pub(crate) requests: Requests,
    /// Told of each place that may be free. One waiter a place: it takes one, or finds that
    /// somebody else did, who will give it back.
    pub(crate) vacated: Arc<Notify>,
    /// Bytes on their way to the wire.
    pub(super) backlog: Backlog,
    receive_budget: Option<Budget>,
    capacity: usize,
    held_limit: usize,
    live: AtomicUsize,
    beside: AtomicUsize,
    held: AtomicUsize,
    lost: AtomicBool,
}

impl Shared {
    pub(super) fn new(capacity: usize, held_limit: usize, receive_budget: Option<Budget>) -> Self {
        Self {
            requests: Requests::default(),
            vacated: Arc::default(),
            backlog: Backlog::default(),
            receive_budget,
            capacity,
            held_limit,
            live: AtomicUsize::new(0),
            beside: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
        }
    }

    /// What unread bytes count against.
    pub(super) fn budget(&self) -> Option<&Budget> {
        self.receive_budget.as_ref()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Places taken, by streams alive or being opened.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Streams alive, or being opened, that take no place.
    pub(crate) fn beside(&self) -> usize {
        self.beside.load(Ordering::Acquire)
    }

    /// Streams yamux holds: the live ones, and the dropped ones it has not announced yet. Never
    /// fewer than yamux itself counts.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Only the wire knows.
    pub(super) fn set_held(&self, held: usize) {
        let before = self.held.swap(held, Ordering::AcqRel);
        if before >= self.open_limit() && !self.holds_too_many_to_open() {
            self.vacated.notify_waiters();
        }
    }

    /// Whether one more stream could take yamux to its limit, over which the session ends.
    pub(super) fn holds_too_many(&self) -> bool {
        self.held() + 1 >= self.held_limit
    }

    /// Whether no stream may be opened for now. It comes before the peer holds too many: the peer forgets dropped ones
    /// later than we do, and would reset what we open meanwhile.
    pub(super) fn holds_too_many_to_open(&self) -> bool {
        self.held() >= self.open_limit()
    }

    fn open_limit(&self) -> usize {
        self.held_limit / 4 * 3
    }

    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

/// Leave for one stream: a place on the lane, or none. Given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    shared: Arc<Shared>,
    place: Place,
}

/// What a stream has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A place that somebody may wait for.
    Awaited,
    Quiet,
    /// No place at all.
    Beside,
}

impl Permit {
    /// A place for a stream of ours, unless all are taken.
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let take = |live: usize| (live < shared.capacity).then_some(live + 1);
        shared.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok()?;
        Some(Self { shared: Arc::clone(shared), place: Place::Awaited })
    }

    /// Leave for a stream of ours that takes no place, while there are fewer than `most` streams in all. They are half
    /// the places at most: what yamux may hold has room for as many.
    pub(crate) fn take_none(shared: &Arc<Shared>, most: usize) -> Option<Self> {
        let most = most.min(shared.capacity / 2);
        let take = |beside: usize| (shared.live() + beside < most).then_some(beside + 1);
        shared.beside.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).ok()?;
        Some(Self { shared: Arc::clone(shared), place: Place::Beside })
    }

    /// A place for a stream the peer opened, which the wire has admitted already.
    pub(super) fn for_inbound(shared: &Arc<Shared>) -> Self {
        shared.live.fetch_add(1, Ordering::AcqRel);
        Self { shared: Arc::clone(shared), place: Place::Awaited }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Gives the place back while it is of use to nobody, because yamux holds too many streams: all
    /// that wait for a place are told when that changes.
    pub(super) fn give_back_quietly(mut self) {
        if self.place == Place::Awaited {
            self.place = Place::Quiet;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let taken = if self.place == Place::Beside { &self.shared.beside } else { &self.shared.live };
        taken.fetch_sub(1, Ordering::AcqRel);
        if self.place == Place::Awaited {
            self.shared.vacated.notify_one();
        }
    }
}
