//! The lanes of a session: which there are, which one the next stream goes to, and which one can go.
//!
//! Only the server opens streams. So a lane that is taken out of choice here and carries none never carries one
//! again, and can be closed without asking anybody.

use std::{
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tunnel_mux::{Activity, Opener, Reservation, Vacancy};

/// What bulk on a lane counts for when a lane is chosen, in streams opened since the last look. Small requests go
/// elsewhere, as on a path that loses packets each loss of a download holds up all behind it; while a burst of new
/// downloads doesn't end up on the only lane that carried none at the last look.
const BULK_WEIGHT: u64 = 32;
/// A socket that takes nothing for so long has a queue behind it.
const BLOCKED: Duration = Duration::from_millis(20);

/// The lanes of one session.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    // Held to reserve a place or to change the list, a few comparisons long. Under the write lock nobody is
    // between choosing a lane and having a place on it.
    all: RwLock<Vec<Lane>>,
}

#[derive(Debug)]
struct Lane {
    number: u32,
    opener: Opener,
    activity: Activity,
    /// A further lane, whose client beats on it.
    beats: AtomicBool,
    /// Streams opened since the last look.
    opened: AtomicU64,
    /// `Activity::bulk_bytes` at the last look.
    bulk_seen: AtomicU64,
    /// Whether a stream moved bulk between the last two looks.
    bulk: AtomicBool,
    /// No stream is opened on it any more.
    retired: bool,
}

/// All lanes at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// Lanes in use.
    pub(super) lanes: u32,
    /// Those with bulk on them.
    pub(super) crowded: u32,
    /// Streams opened since the last look.
    pub(super) opened: u64,
    /// Visitors' streams.
    pub(super) visitors: usize,
    /// Streams a lane may carry.
    pub(super) capacity: usize,
}

impl Lane {
    /// Streams but for the lane's own: control, or heartbeat.
    fn visitors(&self) -> usize {
        self.opener.live().saturating_sub(1)
    }

    /// Whether nobody is on it, not even a twin.
    fn is_empty(&self) -> bool {
        self.visitors() == 0 && self.opener.beside() == 0
    }

    fn is_usable(&self) -> bool {
        !self.retired && !self.opener.is_closed()
    }

    fn has_room(&self) -> bool {
        self.opener.live() < self.opener.capacity()
    }

    /// How many streams there may be for a twin to be one of them: twins are no reason to wait for answers, and 256
    /// streams may be without.
    fn most_for_twins(&self) -> usize {
        self.opener.capacity() / 8
    }

    fn has_room_for_twins(&self) -> bool {
        self.opener.live() + self.opener.beside() < self.most_for_twins()
    }

    fn is_crowded(&self) -> bool {
        self.bulk.load(Ordering::Relaxed) || self.activity.blocked_for() >= BLOCKED
    }

    /// What is outstanding: the less, the better.
    fn cost(&self) -> (u64, usize) {
        let bulk = if self.is_crowded() { BULK_WEIGHT } else { 0 };
        (self.opened.load(Ordering::Relaxed) + bulk, self.opener.live() + self.opener.beside())
    }
}

impl Lanes {
    /// Adds a lane, unless there are `max`.
    pub(super) fn add(&self, number: u32, opener: Opener, activity: Activity, max: u32) -> bool {
        let mut lanes = self.write();
        let has_room = lanes.len() < max as usize;
        if has_room {
            lanes.push(Lane {
                number,
                opener,
                activity,
                beats: AtomicBool::new(false),
                opened: AtomicU64::new(0),
                bulk_seen: AtomicU64::new(0),
                bulk: AtomicBool::new(false),
                retired: false,
            });
        }
        has_room
    }

    /// Notes that the client beats on a further lane.
    pub(super) fn set_beats(&self, number: u32) {
        if let Some(lane) = self.read().iter().find(|lane| lane.number == number) {
            lane.beats.store(true, Ordering::Release);
        }
    }

    pub(super) fn remove(&self, number: u32) {
        self.write().retain(|lane| lane.number != number);
    }

    pub(super) fn len(&self) -> usize {
        self.read().len()
    }

    /// How many take streams, now or once they have room.
    pub(super) fn usable(&self) -> usize {
        self.read().iter().filter(|lane| lane.is_usable()).count()
    }

    /// Whether there is one lane at most, nobody on it, and nobody was since the last look.
    pub(super) fn is_at_rest(&self) -> bool {
        let lanes = self.read();
        lanes.len() <= 1
            && lanes.iter().all(|lane| lane.visitors() == 0 && lane.opened.load(Ordering::SeqCst) == 0)
    }

    /// Streams on all lanes and places for them.
    pub(super) fn load(&self) -> (usize, usize) {
        self.read().iter().filter(|lane| lane.is_usable()).fold((0, 0), |(live, capacity), lane| {
            (live + lane.opener.live(), capacity + lane.opener.capacity())
        })
    }

    pub(super) fn streams(&self) -> usize {
        self.read().iter().map(|lane| lane.opener.live()).sum()
    }

    /// Bytes received and sent.
    pub(super) fn bytes(&self) -> (u64, u64) {
        self.read().iter().fold((0, 0), |(read, written), lane| {
            (read + lane.activity.bytes_read(), written + lane.activity.bytes_written())
        })
    }

    /// When anything was last heard on any lane.
    pub(super) fn last_read(&self) -> Option<Instant> {
        self.read().iter().map(|lane| lane.activity.last_read()).max()
    }

    /// A place on the lane with the least outstanding, and the lane's number; `None` if no lane has one.
    pub(super) fn reserve(&self) -> Option<(Reservation, u32)> {
        let lanes = self.read();
        // A place that others took just now is seen in the next turn; each turn somebody gets one.
        for _ in 0..=lanes.len() {
            let open = lanes.iter().filter(|lane| lane.is_usable() && lane.has_room());
            let best = open.min_by_key(|lane| lane.cost())?;
            if let Ok(place) = best.opener.try_reserve() {
                best.opened.fetch_add(1, Ordering::SeqCst);
                return Some((place, best.number));
            }
        }
        None
    }

    /// Leave for a twin: on the best lane but this one, if that has no bulk and is nearly free. It takes no place that a
    /// visitor may need, and isn't counted among the streams opened: it carries little, for a moment, and says nothing
    /// of how many lanes are of use.
    pub(super) fn reserve_beside(&self, number: u32) -> Option<Reservation> {
        let lanes = self.read();
        let others = lanes.iter().filter(|lane| lane.number != number);
        let open = others.filter(|lane| lane.is_usable() && lane.has_room_for_twins() && !lane.is_crowded());
        let best = open.min_by_key(|lane| lane.cost())?;
        best.opener.try_reserve_beside(best.most_for_twins()).ok()
    }

    /// Whether there is bulk on this lane, but not on each that has room.
    pub(super) fn is_crowded_alone(&self, number: u32) -> bool {
        let lanes = self.read();
        lanes.len() > 1
            && lanes.iter().any(|lane| lane.number == number && lane.is_crowded())
            && lanes.iter().any(|lane| lane.is_usable() && lane.has_room() && !lane.is_crowded())
    }

    /// Whether a stream could be opened now.
    pub(super) fn has_room(&self) -> bool {
        self.read().iter().any(|lane| lane.is_usable() && lane.has_room())
    }

    pub(super) fn vacancies(&self) -> Vec<Vacancy> {
        self.read().iter().map(|lane| lane.opener.vacancy()).collect()
    }

    /// Looks at all lanes, and begins to count anew.
    pub(super) fn look(&self) -> Sight {
        let lanes = self.read();
        let mut sight = Sight::default();
        for lane in lanes.iter().filter(|lane| lane.is_usable()) {
            let moved = lane.activity.bulk_bytes();
            let is_bulk = lane.bulk_seen.swap(moved, Ordering::Relaxed) != moved;
            lane.bulk.store(is_bulk, Ordering::Relaxed);
            sight.lanes += 1;
            sight.crowded += u32::from(lane.is_crowded());
            sight.opened += lane.opened.swap(0, Ordering::Relaxed);
            sight.visitors += lane.visitors();
            sight.capacity = lane.opener.capacity();
        }
        sight
    }

    /// Takes the youngest further lane without visitors out of choice. One on which the client doesn't beat is left
    /// alone, since its streams can't be told apart; and all are while one is leaving.
    pub(super) fn retire_one(&self) -> Option<u32> {
        let mut lanes = self.write();
        if lanes.iter().any(|lane| lane.retired) {
            return None;
        }
        let idle =
            |lane: &&mut Lane| lane.is_usable() && lane.beats.load(Ordering::Acquire) && lane.is_empty();
        let lane = lanes.iter_mut().rev().find(idle)?;
        lane.retired = true;
        Some(lane.number)
    }

    /// Closes a lane that was retired.
    pub(super) fn close(&self, number: u32) {
        if let Some(lane) = self.read().iter().find(|lane| lane.number == number) {
            lane.opener.close();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<Lane>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Lane>> {
        self.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}
