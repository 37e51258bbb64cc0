//! Idle streams to one client's upstream, so that the next request costs no new connection there.
//!
//! A pool belongs to one client's tunnel: what an upstream says never reaches a visitor of another tunnel, and when the
//! client goes its streams go with it, while other clients of the name keep theirs.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::link::Idle;

/// How long a stream is kept idle; up to twice that, as the sweep comes round no more often.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// How many idle streams are kept.
const MOST: usize = 64;

/// Idle streams, the last used on top.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    idle: Vec<(Idle, Instant)>,
    is_closed: bool,
}

impl Pool {
    /// Gives up all idle streams for good, and those in use once they are done: the client serves the tunnel no
    /// longer, or the server ends.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        let idle = std::mem::take(&mut inner.idle);
        drop(inner);
        drop(idle);
    }

    /// A stream that was idle for less than `most`, if there is one.
    pub(super) fn take(&self, most: Duration) -> Option<Idle> {
        let mut inner = self.lock();
        inner.idle.retain(|(link, _)| !link.sender.is_closed());
        // One that was put back this moment may not be ready for another request yet.
        let place =
            inner.idle.iter().rposition(|(link, since)| link.sender.is_ready() && since.elapsed() < most)?;
        Some(inner.idle.remove(place).0)
    }

    /// Keeps a stream whose exchange is over.
    pub(super) fn put(&self, link: Idle) {
        let mut inner = self.lock();
        let is_wanted = !inner.is_closed && !link.sender.is_closed();
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
