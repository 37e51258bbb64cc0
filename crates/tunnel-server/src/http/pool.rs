//! Idle streams to one tunnel's upstream, so that the next request costs no new connection there.
//!
//! A pool belongs to one endpoint and so to one tunnel: what one tunnel's upstream says never reaches a visitor of
//! another. It is emptied whenever another client serves the endpoint.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub(super) use super::link::Link;

/// How long a stream is kept idle; up to twice that, as the sweep comes round no more often.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// How many idle streams are kept.
const MOST: usize = 64;

/// Idle streams, the last used on top.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    idle: Vec<(Link, Instant)>,
    generation: u64,
    is_closed: bool,
}

impl Pool {
    /// Gives up all idle streams, and those in use once they are done: another client serves the tunnel now.
    pub(crate) fn clear(&self) {
        let mut inner = self.lock();
        inner.generation += 1;
        let idle = std::mem::take(&mut inner.idle);
        drop(inner);
        drop(idle);
    }

    /// Gives up all streams for good.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.clear();
    }

    /// Counts the clients that have served the tunnel.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// A stream that was idle for less than `most`, if there is one.
    pub(super) fn take(&self, most: Duration) -> Option<Link> {
        let mut inner = self.lock();
        inner.idle.retain(|(link, _)| !link.sender.is_closed());
        // One that was put back this moment may not be ready for another request yet.
        let place =
            inner.idle.iter().rposition(|(link, since)| link.sender.is_ready() && since.elapsed() < most)?;
        Some(inner.idle.remove(place).0)
    }

    /// Keeps a stream whose exchange is over.
    pub(super) fn put(&self, link: Link) {
        let mut inner = self.lock();
        let is_wanted = !inner.is_closed && link.generation == inner.generation && !link.sender.is_closed();
        if is_wanted && inner.idle.len() < MOST {
            inner.idle.push((link, Instant::now()));
        }
    }

    /// Ends the streams that were idle for too long.
    pub(super) fn sweep(&self) {
        let mut inner = self.lock();
        inner.idle.retain(|(link, since)| !link.sender.is_closed() && since.elapsed() < IDLE);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
