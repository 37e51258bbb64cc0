//! How many lanes a session is worth: a function of what was seen, so that every case can be written down.
//!
//! A lane more costs a handshake and some memory; a lane less makes visitors wait for each other. So it grows at the
//! first sign and shrinks only after a long time in which fewer would have done: whatever a client or its visitors
//! do, they can't make lanes come and go.

use std::time::Duration;

/// A session in use over a long path has this many: as many as the connections a browser makes to one host. Each has a
/// congestion window of its own, and visitors who come at once find lanes that are there already: streams can't move.
pub(super) const IN_USE: u32 = 6;
/// A best round trip from which lanes pay: below it a lost packet is repaired before anyone notices.
pub(super) const LONG_PATH: Duration = Duration::from_millis(10);
/// A round trip from which lanes pay whatever the best one was: something queues, and small requests with it.
pub(super) const SLOW_PATH: Duration = Duration::from_millis(100);
/// A round trip so many times the best one means that the path queues or loses packets.
pub(super) const INFLATED: u32 = 2;

/// What a session shows at one look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// When, on any clock.
    pub(super) at: Duration,
    /// Whether the path is a long one.
    pub(super) long: bool,
    /// Streams opened since the last look.
    pub(super) opened: u64,
    /// Streams there are.
    pub(super) live: usize,
    /// Streams a lane may carry.
    pub(super) capacity: usize,
    /// Lanes with bulk on them.
    pub(super) crowded: u32,
}

impl Look {
    /// Lanes that would do now.
    fn need(&self) -> u32 {
        // Another lane takes the client a few round trips: want it while there is still room.
        let by_count = self.live.saturating_mul(2).checked_div(self.capacity).unwrap_or(0);
        let by_count = u32::try_from(by_count).unwrap_or(u32::MAX).saturating_add(1);
        let in_use = if self.long && self.opened > 0 { IN_USE } else { 1 };
        // One lane is always left for small requests.
        let beside_bulk = if self.long && self.crowded > 0 { self.crowded.saturating_add(1) } else { 1 };
        by_count.max(in_use).max(beside_bulk)
    }
}

/// The most lanes that were of use lately.
#[derive(Debug)]
pub(super) struct Demand {
    max: u32,
    idle: Duration,
    lanes: u32,
    /// When that many were last of use.
    at: Duration,
    /// The most that were of use since.
    since: u32,
}

impl Demand {
    /// At most `max` lanes; one that was of no use for `idle` isn't wanted any more.
    pub(super) fn new(max: u32, idle: Duration) -> Self {
        Self { max: max.max(1), idle, lanes: 1, at: Duration::ZERO, since: 1 }
    }

    /// Takes a look; how many lanes there should be.
    pub(super) fn look(&mut self, look: Look) -> u32 {
        let need = look.need().min(self.max);
        if need >= self.lanes {
            (self.lanes, self.at, self.since) = (need, look.at, 1);
            return need;
        }
        self.since = self.since.max(need);
        if look.at.saturating_sub(self.at) >= self.idle {
            (self.lanes, self.at, self.since) = (self.since, look.at, 1);
        }
        self.lanes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn busy() -> Look {
        Look { long: true, opened: 1, capacity: 1024, ..Look::default() }
    }

    #[test]
    fn what_is_needed() {
        let idle = Look { capacity: 1024, ..Look::default() };
        for (look, lanes) in [
            (idle, 1),
            (Look { long: true, ..idle }, 1),
            (Look { opened: 1000, ..idle }, 1),
            (Look { crowded: 1, ..idle }, 1),
            (busy(), IN_USE),
            (Look { live: 511, ..idle }, 1),
            (Look { live: 512, ..idle }, 2),
            (Look { live: 2048, ..idle }, 5),
            (Look { long: true, crowded: 1, ..idle }, 2),
            (Look { crowded: 4, ..busy() }, IN_USE),
            (Look { crowded: 6, ..busy() }, 7),
            (Look { crowded: u32::MAX, ..busy() }, u32::MAX),
            (Look { live: usize::MAX, capacity: 0, ..idle }, 1),
        ] {
            assert_eq!(look.need(), lanes, "{look:?}");
        }
    }

    #[test]
    fn it_grows_at_once_and_shrinks_after_a_while_of_less() {
        let mut demand = Demand::new(16, 60 * S);
        assert_eq!(demand.look(busy()), IN_USE);
        assert_eq!(demand.look(Look { at: S, crowded: 7, ..busy() }), 8);
        assert_eq!(demand.look(Look { at: 60 * S, ..busy() }), 8, "59 s of less are not 60");
        assert_eq!(demand.look(Look { at: 61 * S, ..Look::default() }), IN_USE, "what was of use meanwhile");
        assert_eq!(demand.look(Look { at: 120 * S, ..Look::default() }), IN_USE);
        assert_eq!(demand.look(Look { at: 121 * S, ..Look::default() }), 1);
    }

    #[test]
    fn use_that_comes_and_goes_changes_nothing() {
        let mut demand = Demand::new(16, 60 * S);
        demand.look(busy());
        for t in 1..1000 {
            let look = Look { at: t * S, opened: u64::from(t % 30 == 0), long: true, ..Look::default() };
            assert_eq!(demand.look(look), IN_USE, "at {t}");
        }
    }

    #[test]
    fn there_are_never_too_many() {
        let mut demand = Demand::new(3, 60 * S);
        assert_eq!(demand.look(Look { crowded: 100, live: 1 << 20, ..busy() }), 3);
    }
}
