//! Whether a client is still there. Runs beside the multiplexer, on timers and counters alone, so that it also
//! notices a multiplexer that has frozen.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};
use tunnel_mux::Activity;

use crate::session::Session;

/// The pings of one session and what came back.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    dead_after: Duration,
    session: Arc<Session>,
    activity: Activity,
}

impl Heartbeat {
    pub(super) fn new(
        interval: Duration,
        dead_after: Duration,
        session: Arc<Session>,
        activity: Activity,
    ) -> Self {
        Self { interval, dead_after, session, activity }
    }

    /// Pings the client until nothing has come from it for too long; says then for how long.
    ///
    /// Any byte on the lane counts as life: on a slow link heartbeats queue behind bulk, and that is no death.
    pub(super) async fn watch(self) -> Duration {
        // Looked at more often than pinged, so that a death is noticed within a second of its time.
        let mut ticks = tokio::time::interval(self.interval.min(LOOK));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.activity.bytes_read();
        let mut heard = Instant::now();
        let mut last_tick = Instant::now();
        let mut next_ping = Instant::now();
        loop {
            ticks.tick().await;
            let now = Instant::now();
            // A tick that comes far too late means that we slept, not the client: give it time to be heard.
            if now - last_tick > self.interval * 2 {
                heard = now;
            }
            last_tick = now;
            let read = self.activity.bytes_read();
            if read != seen {
                seen = read;
                heard = now;
                self.session.set_heard();
            }
            let silence = now - heard;
            if silence >= self.dead_after {
                return silence;
            }
            if now >= next_ping {
                next_ping = now + self.interval;
                self.session.ping();
            }
        }
    }
}

/// How often a session's counters are looked at, at least.
const LOOK: Duration = Duration::from_secs(1);
