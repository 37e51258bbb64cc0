//! How near the process is to using all the memory it may use, and what follows for visitors: some are turned away,
//! in words, before the system ends the process and turns all away.
//!
//! ```text
//!   memory in use, of the budget:   … 75 % … 80 % … 85 % …
//!   Tight                              ends   begins         connections at rest are closed, once a second
//!   Full                                      ends   begins  no new visitors, and stalled ones hold less
//! ```
//! Whoever is being served goes on, and so do clients: a client's connection carries many visitors.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::shared::Shared;

/// Tells a server how much memory its process uses, so that it keeps to
/// [`Limits::memory`](crate::Limits::memory). Asked four times a second, from the server's runtime: it must not wait.
pub trait MemoryGauge: Send + Sync + 'static {
    /// Bytes in use, or more than that: what is cheap to know. `None` if it can't be told now.
    fn at_most(&self) -> Option<u64>;

    /// Bytes in use, without what the allocator keeps free for later. Asked only while [`at_most`](Self::at_most) is near
    /// the budget: once a second, or whenever that grows. Default: the same.
    fn in_use(&self) -> Option<u64> {
        self.at_most()
    }
}

/// A function that tells the bytes in use.
impl<F: Fn() -> Option<u64> + Send + Sync + 'static> MemoryGauge for F {
    fn at_most(&self) -> Option<u64> {
        self()
    }
}

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(250);
/// How often connections at rest are closed, and the exact figure is asked for if the rough one doesn't grow.
const PATIENCE: Duration = Duration::from_secs(1);

/// What stalled visitors may hold while memory is full, as a share of what they may hold otherwise.
const UNREAD_SHARE: usize = 4;

/// How it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Level {
    #[default]
    Calm,
    Tight,
    Full,
}

impl Level {
    /// What follows when so much of the budget is in use.
    fn next(self, used: u64, budget: u64) -> Self {
        let is_over = |percent: u64| used >= budget / 100 * percent;
        if is_over(if self == Self::Full { 80 } else { 85 }) {
            Self::Full
        } else if is_over(if self >= Self::Tight { 75 } else { 80 }) {
            Self::Tight
        } else {
            Self::Calm
        }
    }
}

/// How it stands now, for everybody who decides something by it.
#[derive(Debug)]
pub(crate) struct Load {
    level: AtomicU8,
    used: AtomicU64,
    draining: CancellationToken,
    resting: Mutex<CancellationToken>,
}

impl Load {
    pub(crate) fn new(draining: &CancellationToken) -> Self {
        Self {
            level: AtomicU8::default(),
            used: AtomicU64::default(),
            draining: draining.clone(),
            resting: Mutex::new(draining.child_token()),
        }
    }

    /// Whether new visitors are turned away.
    pub(crate) fn is_full(&self) -> bool {
        self.level.load(Ordering::Relaxed) >= Level::Full as u8
    }

    /// Bytes in use, as last seen; `None` if nobody looks.
    pub(crate) fn used(&self) -> Option<u64> {
        Some(self.used.load(Ordering::Relaxed)).filter(|used| *used > 0)
    }

    /// Cancelled when a connection at rest is to be closed: because memory is tight, or when the server drains. One
    /// that isn't at rest just then asks for the next one.
    pub(crate) fn resting(&self) -> CancellationToken {
        self.lock().clone()
    }

    fn close_resting(&self) {
        // Whoever hears of it and asks again must get the next one.
        let former = std::mem::replace(&mut *self.lock(), self.draining.child_token());
        former.cancel();
    }

    fn set(&self, level: Level, used: u64) {
        self.level.store(level as u8, Ordering::Relaxed);
        self.used.store(used, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks how it stands, for ever.
///
/// # Cancel safety
/// Cancel safe; it stays as it was seen last.
pub(crate) async fn watch(shared: Shared, gauge: Arc<dyn MemoryGauge>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut level = Level::Calm;
    // When the exact figure was asked for last, and at what rough one.
    let mut looked = None::<(Instant, u64)>;
    loop {
        ticks.tick().await;
        let config = shared.settings.full();
        let Some(budget) = config.limits.memory else {
            shared.load.set(Level::Calm, 0);
            level = Level::Calm;
            continue;
        };
        let Some(mut used) = gauge.at_most() else { continue };
        if level != Level::Calm || level.next(used, budget) != Level::Calm {
            // Growth is looked at each time.
            if looked.is_some_and(|(when, most)| when.elapsed() < PATIENCE && used <= most) {
                continue;
            }
            looked = Some((Instant::now(), used));
            used = gauge.in_use().unwrap_or(used);
        }
        let former = level;
        level = former.next(used, budget);
        shared.load.set(level, used);
        if level >= Level::Tight {
            shared.load.close_resting();
        }
        if level == Level::Full {
            shared.unread.set_limit(config.limits.unread_bytes / UNREAD_SHARE);
        } else if former == Level::Full {
            shared.unread.set_limit(config.limits.unread_bytes);
        }
        match (former, level) {
            (Level::Calm | Level::Tight, Level::Full) => {
                warn!(used, budget, "memory is nearly full: no new visitors until some of it is free again");
            }
            (Level::Full, Level::Calm | Level::Tight) => info!(used, budget, "new visitors are let in again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_ends_below_where_it_begins() {
        let mut level = Level::Calm;
        for (used, expected) in [
            (0, Level::Calm),
            (799, Level::Calm),
            (800, Level::Tight),
            (750, Level::Tight),
            (749, Level::Calm),
            (850, Level::Full),
            (849, Level::Full),
            (800, Level::Full),
            (799, Level::Tight),
            (849, Level::Tight),
            (2000, Level::Full),
            (1, Level::Calm),
        ] {
            level = level.next(used, 1000);
            assert_eq!(level, expected, "{used}");
        }
    }

    #[tokio::test]
    async fn who_rests_hears_of_it_and_who_asks_again_waits() {
        let draining = CancellationToken::new();
        let load = Load::new(&draining);
        let former = load.resting();
        load.close_resting();
        assert!(former.is_cancelled() && !load.resting().is_cancelled());
        let now = load.resting();
        draining.cancel();
        assert!(now.is_cancelled() && load.resting().is_cancelled());
    }
}
