//! A deadline that is moved often and expires rarely.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A point in time that may be cleared and set again for the price of a clock reading. The timer behind it, made
/// when somebody first waits, keeps running towards an older point and is moved on when it gets there.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Sets the deadline, `after` from now.
    pub(crate) fn set(&mut self, after: Duration) {
        self.at = Instant::now().checked_add(after);
    }

    /// Sets the deadline unless there is one.
    pub(crate) fn set_if_clear(&mut self, after: Duration) {
        if self.at.is_none() {
            self.set(after);
        }
    }

    /// Takes the deadline away.
    pub(crate) fn clear(&mut self) {
        self.at = None;
    }

    /// Whether the deadline has passed; if it hasn't, the task is woken when it does (or earlier).
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.at else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while let Poll::Ready(()) = timer.as_mut().poll(cx) {
            if Instant::now() >= at {
                return true;
            }
            timer.as_mut().reset(at);
        }
        false
    }

    /// Passes on how a read or a write went, unless it has had to wait for longer than `patience`: that is
    /// [`TimedOut`](io::ErrorKind::TimedOut).
    pub(crate) fn bound<R>(
        &mut self,
        cx: &mut Context<'_>,
        patience: Duration,
        went: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if went.is_ready() {
            self.clear();
            return went;
        }
        self.set_if_clear(patience);
        if self.poll_expired(cx) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { went }
    }
}
