//! How fast a client may change its tunnels. Each change is work under the registry's lock and a line of the log, and
//! costs whoever asks nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Changes that may come at once: twice the tunnels of a client, so that none waits when it comes back.
const BURST: u32 = 512;
/// One more after each of these.
const EACH: Duration = Duration::from_millis(20);

/// The pace of one session.
#[derive(Debug)]
pub(super) struct AskingPace {
    /// The changes so far are paid for by then.
    paid_until: Instant,
}

impl AskingPace {
    pub(super) fn new() -> Self {
        Self { paid_until: Instant::now() }
    }

    /// Waits until the next change may be made. Meanwhile the client's messages wait in its stream.
    ///
    /// # Cancel safety
    /// The change counts as made.
    pub(super) async fn turn(&mut self) {
        let now = Instant::now();
        self.paid_until = self.paid_until.max(now) + EACH;
        let due = self.paid_until.checked_sub(EACH * BURST).unwrap_or(now);
        if due > now {
            sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_free_and_what_follows_takes_its_time() {
        let mut pace = AskingPace::new();
        let start = Instant::now();
        for _ in 0..BURST {
            pace.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..50 {
            pace.turn().await;
        }
        assert_eq!(start.elapsed(), EACH * 50);
        tokio::time::advance(EACH * BURST * 2).await;
        let rested = Instant::now();
        for _ in 0..BURST {
            pace.turn().await;
        }
        assert_eq!(rested.elapsed(), Duration::ZERO, "no more than a burst is saved up");
        pace.turn().await;
        assert_eq!(rested.elapsed(), EACH);
    }
}
