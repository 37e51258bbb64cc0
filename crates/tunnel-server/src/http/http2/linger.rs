//! Letting go of a stream whose visitor may still be sending.
//!
//! A stream that is dropped with its request unread is reset (`NO_ERROR`), at once behind the answer. A visitor that
//! sends may hear of the reset before it has looked at the answer, and curl 7 then throws the answer away and reports
//! a broken stream, instead of the 401 or 413. So the stream is kept a little: there is no room for more of the
//! request on it, and who has read the answer ends it.
//!
//! Who ends its request in the meantime isn't heard of here, and has its place among the connection's streams back at
//! once: so there are places of their own for those who linger, or one connection could have any number of them.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::h2::server::SendResponse;
use bytes::Bytes;
use tokio::{sync::Semaphore, time::timeout};

/// How many streams of one connection are kept so at once. Those beyond are reset behind their answers.
const MOST: usize = 100;

/// The places of one connection's streams that are kept.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Semaphore>);

/// Whether a request is over, told by whoever reads it when they let go of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Whole(Arc<AtomicBool>);

impl Places {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Whole {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Keeps the stream of an answer that went out, unless its request is over, until the visitor resets it or has had
    /// the time to, `longest`.
    pub(super) async fn linger(&self, respond: &mut SendResponse<Bytes>, places: &Places, longest: Duration) {
        if !self.0.load(Ordering::Acquire)
            && let Ok(_place) = places.0.try_acquire()
        {
            let _ = timeout(longest, poll_fn(|cx| respond.poll_reset(cx))).await;
        }
    }
}
