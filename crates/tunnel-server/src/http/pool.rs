//! Idle streams to one client's upstream, so that the next request costs no new connection there.
//!
//! A pool belongs to one client's tunnel: what an upstream says never reaches a visitor of another tunnel, and when the
//! client goes its streams go with it, while other clients of the name keep theirs.
//!
//! An idle stream is a visitor less that its client can take, and so gives way: to a new stream where it can't be used
//! itself, and where the client is full one to each visitor that this one refused.
//!
//! An upstream may end a stream at any time, and one that does just as a request comes takes that with it. For what
//! can't be sent again only [`FRESH`] streams are used, and none if the upstream ends those too.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::link::Idle;
use crate::{endpoint::Target, session::Session, shared::Shared};

/// How long a stream is kept idle; up to twice that, as the sweep comes round no more often.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// How long a stream may have been idle to be used for a request that can't be sent again: many upstreams close
/// theirs after 5 s, and one that closes just now would take the request with it.
pub(super) const FRESH: Duration = Duration::from_secs(2);

/// How many idle streams are kept.
const MOST: usize = 64;

/// Idle streams, the last used on top.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    idle: Vec<(Idle, Instant)>,
    /// When the upstream last ended a stream, without a word, that had hardly been idle.
    hasty: Option<Instant>,
    is_closed: bool,
    is_looked_after: bool,
    /// How many visitors its client has refused because it was full, as far as streams have given way to them.
    refused: Option<u64>,
    /// Of the task that looks after the idle ones.
    keeper: Option<Waker>,
}

impl Pool {
    /// Gives up all idle streams for good, and those in use once they are done: the client serves the tunnel no
    /// longer, or the server ends.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        let idle = std::mem::take(&mut inner.idle);
        let keeper = inner.keeper.take();
        drop(inner);
        drop(idle);
        keeper.into_iter().for_each(Waker::wake);
    }

    /// A stream of this session for a request that can be sent again or not, if there is one. None that shares its lane
    /// with a download, as long as there are lanes without: a new stream would be on one of those.
    pub(super) fn take(&self, is_repeatable: bool, session: &Session) -> Option<Idle> {
        let mut inner = self.lock();
        let most = if is_repeatable { IDLE } else { FRESH };
        if !is_repeatable && inner.hasty.is_some_and(|hasty| hasty.elapsed() < IDLE) {
            return None;
        }
        let mut place = inner.idle.len();
        while let Some(next) = place.checked_sub(1)
            && inner.idle[next].1.elapsed() < most
        {
            place = next;
            if session.is_crowded(inner.idle[place].0.lane) {
                continue;
            }
            let (link, since) = inner.idle.remove(place);
            // Whoever takes it will be woken in the keeper's stead.
            if !link.sender.poll_gone(&mut Context::from_waker(Waker::noop())) {
                return Some(link);
            }
            inner.note_end(since);
            if !is_repeatable {
                return None;
            }
        }
        None
    }

    /// Ends the stream that was idle for longest, if there is one: for one that is opened beside it.
    pub(super) fn give_way(&self) {
        let mut inner = self.lock();
        let oldest = (!inner.idle.is_empty()).then(|| inner.idle.remove(0));
        drop(inner);
        drop(oldest);
    }

    /// Notes how many visitors the client refused before the pool had any streams.
    pub(super) fn note_refused(&self, refused: u64) {
        self.lock().refused.get_or_insert(refused);
    }

    /// Ends one stream, of those that were idle for longest, for each visitor that the client has refused since this
    /// was last called. The others stay: who is refused may be served elsewhere, and they cost no new place.
    pub(super) fn make_room(&self, refused: u64) {
        let mut inner = self.lock();
        let before = inner.refused.unwrap_or(refused);
        inner.refused = Some(refused.max(before));
        let count = usize::try_from(refused.saturating_sub(before)).unwrap_or(usize::MAX);
        let count = count.min(inner.idle.len());
        let idle: Vec<_> = inner.idle.drain(..count).collect();
        drop(inner);
        drop(idle);
    }

    /// Keeps a stream whose exchange is over.
    pub(super) fn put(&self, link: Idle) {
        let mut inner = self.lock();
        let is_wanted = !inner.is_closed && link.sender.is_ready() && inner.idle.len() < MOST;
        let is_gone = |keeper: &Waker| link.sender.poll_gone(&mut Context::from_waker(keeper));
        if !is_wanted {
            return;
        }
        let now = Instant::now();
        if is_gone(inner.keeper.as_ref().unwrap_or(Waker::noop())) {
            inner.note_end(now);
        } else {
            inner.idle.push((link, now));
        }
    }

    /// A stream that was used again ended under its request, without a word.
    pub(super) fn set_hasty(&self) {
        self.lock().hasty = Some(Instant::now());
    }

    /// Ends the streams that were idle for too long.
    pub(super) fn sweep(&self) {
        let mut inner = self.lock();
        inner.idle.retain(|(_, since)| since.elapsed() < IDLE);
    }

    /// Lets go of idle streams that are of no more use, as soon as that is so. Ready once the pool is closed.
    fn poll_keep(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_closed {
            return Poll::Ready(());
        }
        inner.keeper = Some(cx.waker().clone());
        let mut last = None;
        inner.idle.retain(|(link, since)| {
            let is_gone = link.sender.poll_gone(cx);
            last = last.max(is_gone.then_some(*since));
            !is_gone
        });
        last.into_iter().for_each(|since| inner.note_end(since));
        Poll::Pending
    }

    /// How many idle streams there are.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.lock().idle.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// An upstream ended a stream that was idle `since` then.
    fn note_end(&mut self, since: Instant) {
        if since.elapsed() < FRESH {
            self.hasty = Some(Instant::now());
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The keeper has nothing left to do.
        self.lock().keeper.take().into_iter().for_each(Waker::wake);
    }
}

/// Sees to it that the idle streams of a target are looked after, by one task for all of them.
pub(super) fn look_after(target: &Arc<Target>, shared: &Shared) {
    if !std::mem::replace(&mut target.pool.lock().is_looked_after, true) {
        let crowded = target.session.crowded.subscribe();
        target.pool.note_refused(*crowded.borrow());
        shared.visitors.spawn(keep(Arc::downgrade(target), crowded, shared.clone()));
    }
}

/// Ends streams that their upstream ended, that were idle for too long, or whose client is full, until the pool is
/// closed or gone.
async fn keep(target: Weak<Target>, mut crowded: watch::Receiver<u64>, shared: Shared) {
    let over = || poll_fn(|cx| target.upgrade().map_or(Poll::Ready(()), |target| target.pool.poll_keep(cx)));
    loop {
        tokio::select! {
            biased;
            () = shared.stopping.cancelled() => break,
            () = shared.draining.cancelled() => break,
            () = over() => return,
            Ok(()) = crowded.changed() => {
                let refused = *crowded.borrow_and_update();
                target.upgrade().iter().for_each(|target| target.pool.make_room(refused));
            }
            () = sleep(IDLE) => target.upgrade().iter().for_each(|target| target.pool.sweep()),
        }
    }
    target.upgrade().iter().for_each(|target| target.pool.close());
}
