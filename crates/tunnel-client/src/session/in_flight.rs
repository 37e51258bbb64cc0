//! How many visitors' streams a session carries: a session that is being left ends when it carries none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long a visitor waits for a place in a full client: the server ends an idle stream when it opens another in its
/// stead, and the place of that one is free a moment later.
const PATIENCE: Duration = Duration::from_millis(250);

/// A session's count.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    count: AtomicUsize,
    idle: Notify,
}

/// One visitor's place: in the session's count and, once it has one, in the client's limit.
#[derive(Debug)]
pub(crate) struct InFlight {
    gauge: Option<Arc<Gauge>>,
    place: Option<OwnedSemaphorePermit>,
}

impl Gauge {
    /// Counts one visitor.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.count.fetch_add(1, Ordering::AcqRel);
        InFlight { gauge: Some(Arc::clone(self)), place: None }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until there are no visitors, which may be now.
    pub(crate) async fn idle(&self) {
        loop {
            let mut next = std::pin::pin!(self.idle.notified());
            next.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            next.await;
        }
    }
}

impl InFlight {
    /// Takes a place in the client's limit, and waits a moment for one. Whether there is one.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn find_place(&mut self, room: &Arc<Semaphore>) -> bool {
        self.place = match Arc::clone(room).try_acquire_owned() {
            Ok(place) => Some(place),
            // Boxed, since it is rare: others' futures keep no room for it.
            Err(_full) => match Box::pin(timeout(PATIENCE, Arc::clone(room).acquire_owned())).await {
                Ok(Ok(place)) => Some(place),
                Ok(Err(_)) | Err(_) => None,
            },
        };
        self.place.is_some()
    }

    /// The same place, but a session that is being left doesn't wait for it: for what has no end.
    pub(crate) fn not_waited_for(mut self) -> Self {
        self.leave_gauge();
        self
    }

    fn leave_gauge(&mut self) {
        if let Some(gauge) = self.gauge.take()
            && gauge.count.fetch_sub(1, Ordering::AcqRel) == 1
        {
            gauge.idle.notify_waiters();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.leave_gauge();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_visitor_of_a_full_client_waits_a_moment_for_a_place() {
        let (gauge, room) = (Arc::<Gauge>::default(), Arc::new(Semaphore::new(1)));
        let (mut one, mut other) = (gauge.enter(), gauge.enter());
        assert!(one.find_place(&room).await);
        assert!(!other.find_place(&room).await);
        // The second is polled once the first waits.
        let (found, ()) = tokio::join!(other.find_place(&room), async { drop(one) });
        assert!(found);
        assert_eq!(gauge.count(), 1);
    }
}
