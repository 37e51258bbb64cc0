//! A client's signs of life: when it was last heard, and how long its answers take.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::demand::{INFLATED, LONG_PATH, SLOW_PATH};

/// What heartbeats and messages have told of a client.
#[derive(Debug)]
pub(super) struct Pulse {
    began: Instant,
    /// When a message of the client's was last heard, in milliseconds since the beginning.
    heard_ms: AtomicU64,
    /// The last heartbeat's round trip; 0 before the first.
    rtt_micros: AtomicU64,
    /// The shortest one; [`u64::MAX`] before the first.
    best_rtt_micros: AtomicU64,
    /// The number of the last heartbeat that was answered.
    answered: watch::Sender<u64>,
    /// That of the last one that was sent because somebody waits to feel the pulse.
    asked: AtomicU64,
}

/// How far away the client is. Nothing is known of that before the first heartbeat was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// The last heartbeat's round trip.
    rtt: Option<Duration>,
    /// The shortest one.
    best: Option<Duration>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            heard_ms: AtomicU64::new(0),
            rtt_micros: AtomicU64::new(0),
            best_rtt_micros: AtomicU64::new(u64::MAX),
            answered: watch::Sender::new(0),
            asked: AtomicU64::new(0),
        }
    }

    /// The number of a heartbeat that is sent now. It is the time, so that nothing must be remembered to know the round
    /// trip.
    pub(super) fn beat(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Takes the answer to a heartbeat. A number from the future is some other client's idea of a joke.
    pub(super) fn answer(&self, number: u64) {
        if let Some(rtt) = self.beat().checked_sub(number) {
            self.rtt_micros.store(rtt.max(1), Ordering::Relaxed);
            self.best_rtt_micros.fetch_min(rtt.max(1), Ordering::Relaxed);
            self.answered.send_replace(number);
        }
    }

    /// Waits until this heartbeat was answered, or a later one.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn answered(&self, number: u64) {
        // The sender is `self`'s, so waiting can't fail.
        let _ = self.answered.subscribe().wait_for(|answered| *answered >= number).await;
    }

    /// Waits until the client has answered a heartbeat that was sent from now on, by `send`, which is given its number.
    ///
    /// However many wait, one heartbeat is under way for them at a time: a lane may be lost with a thousand visitors,
    /// and the session's queue must hold what is said for them.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn felt(&self, send: impl Fn(u64)) {
        let since = self.beat();
        let mut answered = self.answered.subscribe();
        loop {
            let last = *answered.borrow_and_update();
            if last >= since {
                return;
            }
            let (asked, number) = (self.asked.load(Ordering::Relaxed), self.beat());
            // One that was sent before says nothing of now, but its answer is near: then the next one goes.
            let is_mine = asked <= last
                && self.asked.compare_exchange(asked, number, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if is_mine {
                send(number);
            }
            // The sender is `self`'s, so waiting can't fail.
            let _ = answered.changed().await;
        }
    }

    /// The last heartbeat's round trip; `None` before the first.
    pub(super) fn rtt(&self) -> Option<Duration> {
        match self.rtt_micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }

    pub(super) fn path(&self) -> Path {
        let best = self.best_rtt_micros.load(Ordering::Relaxed);
        Path { rtt: self.rtt(), best: (best != u64::MAX).then(|| Duration::from_micros(best)) }
    }

    /// Notes a message.
    pub(super) fn set_heard(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(now, Ordering::Relaxed);
    }

    /// How long there has been no message.
    pub(super) fn silent_for(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(heard)
    }

    /// Has the client be far away.
    #[cfg(test)]
    pub(super) fn set_far(&self) {
        self.best_rtt_micros.store(100_000, Ordering::Relaxed);
    }
}

impl Path {
    /// Whether a lost packet is repaired so late that somebody notices.
    pub(super) fn is_long(self) -> bool {
        // Not the latest round trip alone: on a busy machine it says more about the machine than about the path.
        self.best.is_some_and(|best| best >= LONG_PATH) || self.rtt.is_some_and(|rtt| rtt >= SLOW_PATH)
    }

    /// Whether the path queues or loses packets just now.
    pub(super) fn is_inflated(self) -> bool {
        self.is_long() && self.rtt.zip(self.best).is_some_and(|(rtt, best)| rtt >= best * INFLATED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn round_trips_tell_how_far_away_the_client_is() {
        let pulse = Pulse::new();
        assert_eq!(pulse.rtt(), None);
        assert!(!pulse.path().is_long());
        // How long the next answer takes, and whether the path then is long, and inflated.
        for (millis, is_long, is_inflated) in
            [(5, false, false), (99, false, false), (100, true, true), (5, false, false)]
        {
            let number = pulse.beat();
            tokio::time::advance(Duration::from_millis(millis)).await;
            pulse.answer(number);
            pulse.answered(number).await;
            assert_eq!(pulse.rtt(), Some(Duration::from_millis(millis)));
            let path = pulse.path();
            assert_eq!((path.is_long(), path.is_inflated()), (is_long, is_inflated), "{millis} ms");
        }
        pulse.answer(pulse.beat() + 1);
        assert_eq!(pulse.rtt(), Some(Duration::from_millis(5)), "an answer to nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_sign_of_life_shares_heartbeats_but_none_from_before() {
        let (pulse, sent) = (Pulse::new(), std::cell::RefCell::new(Vec::new()));
        let feel = || pulse.felt(|number| sent.borrow_mut().push(number));
        tokio::time::advance(Duration::from_millis(1)).await;
        tokio::join!(feel(), feel(), async {
            tokio::time::advance(Duration::from_millis(1)).await;
            tokio::join!(feel(), async {
                assert_eq!(*sent.borrow(), [1000], "one for all, as long as it is under way");
                pulse.answer(1000);
                while sent.borrow().len() == 1 {
                    tokio::task::yield_now().await;
                }
                pulse.answer(2000);
            });
        });
        assert_eq!(*sent.borrow(), [1000, 2000], "the first one's answer says nothing to who came later");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_message() {
        let pulse = Pulse::new();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(pulse.silent_for(), Duration::from_secs(3));
        pulse.set_heard();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(pulse.silent_for(), Duration::from_secs(2));
    }
}
