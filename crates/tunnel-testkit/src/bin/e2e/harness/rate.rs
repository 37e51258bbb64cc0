//! Visitors who come at a steady rate, however long each of them takes: what all kinds of load have in common.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Outcome, until};

/// Visitors coming.
#[derive(Debug)]
pub(super) struct Rate {
    answered: Arc<AtomicU64>,
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Rate {
    /// So many a second, numbered from 0; a visit says whether it was answered as it should be.
    pub(super) fn start<V>(per_second: u32, visit: impl Fn(u64) -> V + Send + 'static) -> Self
    where
        V: Future<Output = bool> + Send + 'static,
    {
        let (answered, stop) = (Arc::<AtomicU64>::default(), CancellationToken::new());
        let mut running = JoinSet::new();
        running.spawn(come(Duration::from_secs(1) / per_second, visit, answered.clone(), stop.clone()));
        Self { answered, stop, running }
    }

    /// Waits until so many more were answered.
    pub(super) async fn answers(&self, more: u64) -> Outcome {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        until("further answers", || Ok(self.answered.load(Ordering::Relaxed) >= goal)).await
    }

    /// Lets no more come, waits for those who are there, and says how many were answered in all.
    pub(super) async fn stop(mut self) -> u64 {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
        self.answered.load(Ordering::Relaxed)
    }
}

async fn come<V: Future<Output = bool> + Send + 'static>(
    every: Duration,
    visit: impl Fn(u64) -> V,
    answered: Arc<AtomicU64>,
    stop: CancellationToken,
) {
    // Late ticks are made up for: visitors don't come more slowly because others wait.
    let mut ticks = tokio::time::interval(every);
    let mut visits = JoinSet::new();
    for number in 0_u64.. {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        while visits.try_join_next().is_some() {}
        let (visit, answered) = (visit(number), answered.clone());
        visits.spawn(async move {
            if visit.await {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while visits.join_next().await.is_some() {}
}
