//! Whose turn it is: the gate's, to let a request in, or the service's, to answer it.
//!
//! The gate and hyper's connection own each other's neighbour and can't reach it, so they meet in this small shared
//! state. It is locked for a few instructions at a time and there is one per connection.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::head::{Facts, Refusal};

/// What the gate makes of a head: what it says, or why it is refused.
pub(crate) type Verdict = Result<Facts, Refusal>;

/// The requests of one connection, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    phase: Phase,
    /// Whether there was ever a request.
    has_begun: bool,
    /// Whether the connection's end is to be an error for the visitor.
    cut: bool,
    gate: Option<Waker>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Over,
    /// The gate let a request in that the service hasn't seen yet.
    Begun(Box<Verdict>),
    Answering,
    Upgraded,
}

/// What the gate does after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Lets another one in.
    Request,
    /// Lets everything pass.
    Upgraded,
}

/// The right to answer one request. Dropped when the answer is over; only then the next request is let in.
#[derive(Debug)]
pub(crate) struct Turn(Turns);

impl Turns {
    /// The verdict on the request that hyper just passed on. There is one for each request.
    pub(crate) fn take(&self) -> Option<(Verdict, Turn)> {
        let mut inner = self.lock();
        match mem::replace(&mut inner.phase, Phase::Answering) {
            Phase::Begun(verdict) => Some((*verdict, Turn(self.clone()))),
            other => {
                inner.phase = other;
                None
            }
        }
    }

    /// Lets the connection's end be an error for the visitor if an answer is under way, or an upgrade.
    pub(crate) fn cut(&self) {
        let mut inner = self.lock();
        inner.cut |= !matches!(inner.phase, Phase::Over);
    }

    /// Whether no request is being answered.
    pub(crate) fn are_over(&self) -> bool {
        matches!(self.lock().phase, Phase::Over)
    }

    /// Whether there was ever a request.
    pub(crate) fn have_begun(&self) -> bool {
        self.lock().has_begun
    }

    pub(super) fn begin(&self, verdict: Verdict) {
        let mut inner = self.lock();
        inner.phase = Phase::Begun(Box::new(verdict));
        inner.has_begun = true;
    }

    pub(super) fn is_cut(&self) -> bool {
        self.lock().cut
    }

    /// Waits for the end of a turn.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut inner = self.lock();
        match inner.phase {
            Phase::Over => Poll::Ready(Next::Request),
            Phase::Upgraded => Poll::Ready(Next::Upgraded),
            Phase::Begun(_) | Phase::Answering => {
                match &mut inner.gate {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The answer is an upgrade: from now on all bytes pass. Whoever relays them may still [`cut`](Turns::cut).
    pub(crate) fn upgrade(self) -> Turns {
        self.0.lock().phase = Phase::Upgraded;
        self.0.clone()
    }

    /// The answer broke off where its end can't be told from a proper one: lets the connection's end be an error.
    pub(crate) fn cut(&self) {
        self.0.cut();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        if !matches!(inner.phase, Phase::Upgraded) {
            inner.phase = Phase::Over;
        }
        let gate = inner.gate.take();
        drop(inner);
        if let Some(gate) = gate {
            gate.wake();
        }
    }
}
