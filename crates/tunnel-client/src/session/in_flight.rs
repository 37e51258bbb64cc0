//! How many visitors' streams a session carries: a session that is being left ends when it carries none.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A session's count.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    count: AtomicUsize,
    idle: Notify,
}

/// One visitor's place: in the session's count and in the client's limit.
#[derive(Debug)]
pub(crate) struct InFlight {
    gauge: Option<Arc<Gauge>>,
    _permit: OwnedSemaphorePermit,
}

impl Gauge {
    /// A place for one visitor; `None` if the client has no room.
    pub(crate) fn enter(self: &Arc<Self>, room: &Arc<Semaphore>) -> Option<InFlight> {
        let permit = Arc::clone(room).try_acquire_owned().ok()?;
        self.count.fetch_add(1, Ordering::AcqRel);
        Some(InFlight { gauge: Some(Arc::clone(self)), _permit: permit })
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
