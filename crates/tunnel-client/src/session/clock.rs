//! Noticing that this machine slept: its timers stood still, and whatever it knew of the network is old.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How often the clocks must be looked at for a jump to be seen soon.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    /// The monotonic clock, from any start. It may stand still while the machine sleeps.
    pub(crate) clock: Duration,
    /// The wall clock, from any start. It goes on, and may also be set.
    pub(crate) wall: Duration,
}

impl Moment {
    /// Now, with the monotonic clock counted from `start`.
    pub(crate) fn now(start: Instant) -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { clock: start.elapsed(), wall }
    }

    /// Whether more than `limit` has passed since `earlier` by one clock, or by one more than by the other: between
    /// two looks that should have been closer together, this machine was not running.
    pub(crate) fn jumped(self, earlier: Self, limit: Duration) -> bool {
        let passed = self.clock.saturating_sub(earlier.clock);
        let slept = self.wall.saturating_sub(earlier.wall).saturating_sub(passed);
        passed > limit || slept > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_sleep_are_seen_and_clocks_set_back_are_not() {
        let at = |clock, wall| Moment { clock: Duration::from_secs(clock), wall: Duration::from_secs(wall) };
        for (earlier, later, jumped) in [
            (at(5, 100), at(6, 101), false),
            (at(5, 100), at(6, 700), true),
            (at(5, 100), at(605, 700), true),
            (at(5, 100), at(6, 0), false),
            (at(5, 100), at(6, 110), false),
            (at(5, 100), at(15, 110), false),
        ] {
            assert_eq!(later.jumped(earlier, Duration::from_secs(10)), jumped, "{earlier:?} {later:?}");
        }
    }
}
