//! Letting go of a stream whose visitor may still be sending.
//!
//! A stream that is dropped with its request unread is reset (`NO_ERROR`), at once behind the answer. A visitor that
//! sends may hear of the reset before it has looked at the answer, and curl 7 then throws the answer away and reports
//! a broken stream, instead of the 401 or 413. So the stream is kept a little: there is no room for more of the
//! request on it, and who has read the answer ends it.

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
use tokio::time::timeout;

/// How long a visitor that sends without end has to look at its answer.
const LONGEST: Duration = Duration::from_secs(2);

/// Whether a request is over, told by whoever reads it when they let go of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Whole(Arc<AtomicBool>);

impl Whole {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Keeps the stream of an answer that went out, unless its request is over, until the visitor resets it or has had
    /// the time to.
    pub(super) async fn linger(&self, respond: &mut SendResponse<Bytes>) {
        if !self.0.load(Ordering::Acquire) {
            let _ = timeout(LONGEST, poll_fn(|cx| respond.poll_reset(cx))).await;
        }
    }
}
