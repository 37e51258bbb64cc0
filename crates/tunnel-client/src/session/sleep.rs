//! Whether this machine slept while the client was offline: then whatever it waits for is over, or may never come.
//!
//! While a session lives, its own watchdog notices, by the same clocks; see `heartbeat`.

use std::time::Duration;

use tokio::time::Instant;

use super::clock::Moment;

/// A gap between two looks at the clocks that means sleep; looks are a second apart while offline.
const SLEEP: Duration = Duration::from_secs(10);

/// Both clocks when they were last looked at.
#[derive(Debug)]
pub(crate) struct SleepWatch {
    start: Instant,
    /// `None` while nobody watches: then looks may be far apart.
    seen: Option<Moment>,
}

impl SleepWatch {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, seen: None }
    }

    /// Looks at the clocks; whether the machine slept since the last look. Only looks that are `watching` count, and
    /// they must be closer together than ten seconds.
    pub(crate) fn slept(&mut self, watching: bool) -> bool {
        self.look(watching.then(|| Moment::now(self.start)))
    }

    fn look(&mut self, now: Option<Moment>) -> bool {
        let before = std::mem::replace(&mut self.seen, now);
        now.zip(before).is_some_and(|(now, before)| now.jumped(before, SLEEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_gap_between_two_looks_while_watching_is_sleep() {
        let at = |clock: u64, wall: u64| {
            Some(Moment { clock: Duration::from_secs(clock), wall: Duration::from_secs(1000 + wall) })
        };
        let mut watch = SleepWatch::new(Instant::now());
        assert!(!watch.look(at(0, 0)), "the first look");
        assert!(!watch.look(at(1, 1)));
        assert!(watch.look(at(2, 600)), "the monotonic clock stood still");
        assert!(!watch.look(at(3, 601)), "once");
        assert!(!watch.look(None));
        assert!(!watch.look(at(900, 1500)), "nobody watched meanwhile");
        assert!(watch.look(at(1000, 1600)), "the process was stopped");
    }
}
