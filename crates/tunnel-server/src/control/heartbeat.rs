//! Whether a client is still there. Runs beside the multiplexer, on timers and counters alone, so that it also
//! notices a multiplexer that has frozen.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
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
    /// Any byte on the lane counts as life: on a slow link heartbeats queue behind bulk, and that is no death. It
    /// sleeps until the next ping or the death, whichever comes first, so that a death is noticed when it is due.
    pub(super) async fn watch(self) -> Duration {
        let mut next_ping = Instant::now();
        let mut due = next_ping;
        // What was not heard while this machine slept says nothing of the client.
        let mut listening_since = next_ping;
        loop {
            sleep_until(due).await;
            let now = Instant::now();
            if now - due > self.interval * 2 {
                listening_since = now;
            }
            let silence = now - self.activity.last_read().max(listening_since);
            if silence >= self.dead_after {
                return silence;
            }
            if now >= next_ping {
                next_ping = now + self.interval;
                self.session.ping();
            }
            due = next_ping.min(now + (self.dead_after - silence));
        }
    }
}
