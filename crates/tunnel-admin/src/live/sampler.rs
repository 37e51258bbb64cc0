//! Looks at the engine every second, and at each tunnel every ten.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde::Deserialize;
use tokio::{
    sync::broadcast,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tunnel_server::ServerHandle;

use super::{
    history::{Codes, History, Sample, Series},
    tunnels::{LOOK, Tunnels},
};

/// Samples that a slow reader may lag behind.
const BACKLOG: usize = 16;

/// Which stretch of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Range {
    /// Ten minutes.
    #[default]
    #[serde(rename = "10m")]
    TenMinutes,
    /// A day.
    #[serde(rename = "24h")]
    Day,
}

/// What was seen so far.
#[derive(Debug)]
pub(crate) struct Sampler {
    seen: Arc<Mutex<Seen>>,
    samples: broadcast::Sender<Sample>,
}

#[derive(Debug, Default)]
struct Seen {
    whole: History,
    tunnels: Tunnels,
}

impl Sampler {
    pub(crate) fn new() -> Self {
        Self { seen: Arc::default(), samples: broadcast::Sender::new(BACKLOG) }
    }

    /// Looks until dropped.
    pub(crate) async fn run(&self, engine: &ServerHandle) {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut looked = 0;
        loop {
            ticks.tick().await;
            let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            let totals = engine.totals();
            let sample = self.seen().whole.take(at, totals);
            // Nobody may be looking.
            let _ = self.samples.send(sample);
            if at / LOOK != std::mem::replace(&mut looked, at) / LOOK {
                // With thousands of tunnels it takes milliseconds, and visitors' tasks would wait for them here.
                let (engine, seen) = (engine.clone(), self.seen.clone());
                let looking = spawn_blocking(move || {
                    let snapshot = engine.snapshot();
                    lock(&seen).tunnels.take(at, &snapshot);
                });
                // It has panicked otherwise, which was told where panics are told.
                let _ = looking.await;
            }
        }
    }

    /// Each second from now on.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Sample> {
        self.samples.subscribe()
    }

    /// The whole server's past.
    pub(crate) fn whole(&self, range: Range) -> Series {
        let seen = self.seen();
        match range {
            Range::TenMinutes => seen.whole.seconds(),
            Range::Day => seen.whole.minutes(),
        }
    }

    /// A tunnel's past.
    pub(crate) fn tunnel(&self, url: &str, range: Range) -> Series {
        let seen = self.seen();
        match range {
            Range::TenMinutes => seen.tunnels.fine(url),
            Range::Day => seen.tunnels.coarse(url),
        }
    }

    /// Visits of a tunnel in the last ten minutes, in ten seconds each.
    pub(crate) fn recent(&self, url: &str) -> Vec<u64> {
        self.seen().tunnels.recent(url)
    }

    /// What was refused, by code.
    pub(crate) fn codes(&self) -> Vec<Codes> {
        self.seen().whole.codes()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
