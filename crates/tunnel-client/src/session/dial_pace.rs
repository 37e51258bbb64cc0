//! How often further lanes may be dialled: a server that asks for lanes and closes them again must not turn its
//! clients into a source of handshakes.

use std::time::Duration;

use tokio::time::Instant;

/// Lanes that may be dialled one after the other: all that a session may have by default.
const BURST: u32 = 16;
/// After a burst there is one more each time this has passed. A path that breaks its lanes is no better served by
/// more haste.
const INTERVAL: Duration = Duration::from_secs(5);

/// What is left of the allowance.
#[derive(Debug)]
pub(crate) struct DialPace {
    /// When the allowance will be whole again.
    whole_at: Instant,
}

impl DialPace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { whole_at: now }
    }

    /// When the next dial may begin; in the past if it may now.
    pub(crate) fn ready_at(&self) -> Instant {
        self.whole_at.checked_sub(INTERVAL * (BURST - 1)).unwrap_or(self.whole_at)
    }

    /// Notes a dial.
    pub(crate) fn take(&mut self, now: Instant) {
        self.whole_at = self.whole_at.max(now) + INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_at_a_time_and_a_burst_again_after_a_rest() {
        let start = Instant::now() + Duration::from_secs(3600);
        let mut pace = DialPace::new(start);
        let mut dials = |from: Instant, span: Duration| {
            let (mut now, mut count) = (from, 0);
            loop {
                now = now.max(pace.ready_at());
                if now > from + span {
                    return count;
                }
                pace.take(now);
                count += 1;
            }
        };
        assert_eq!(dials(start, Duration::ZERO), BURST);
        assert_eq!(dials(start + Duration::from_secs(1), Duration::from_secs(60)), 12);
        assert_eq!(dials(start + Duration::from_secs(3600), Duration::ZERO), BURST);
    }
}
